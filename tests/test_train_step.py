"""One step of training, and the state that it starts from."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgc_jax import Batch, Encoder, InputError, Recipe, TrainState, create_state, train_step
from dgc_jax.model import normalisation
from dgc_jax.model.losses import Weights
from dgc_jax.train.state import Optimizer, encode
from dgc_jax.train.step import data_mesh, jitted_step

BANDS, CROP, CLUSTERS = 20, 16, 6
# One recipe for all tests: every other one is another program to compile.
RECIPE = Recipe(
    encoder=Encoder(embedding=8, features=(4, 4, 8)),
    optimizer=Optimizer(learning_rate=3e-3, warmup=1, steps=30),
    weights=Weights(anchor=5.0),
    kick=0.0,
)


@pytest.fixture(scope="module", autouse=True)
def quick_compilation() -> Iterator[None]:
    """Nearly all of the time of these tests is that of the compiler."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def materials(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Blocks of three noisy materials, `[..., row, column, band]`."""
    spectra = np.linspace([0.1, 0.8, 0.5], [0.2, 0.3, 0.5], BANDS, axis=1)  # [material, band]
    blocks = rng.integers(0, 3, (*shape, CROP // 4, CROP // 4)).repeat(4, -1).repeat(4, -2)
    return (spectra[blocks] + rng.normal(0, 0.02, (*blocks.shape, BANDS))).astype(np.float32)


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    crops = materials(rng, (3,))
    valid = np.ones(crops.shape[:3], bool)
    valid[0, :5], valid[1, 3:7, 2:9] = False, False
    return np.where(valid[..., None], crops, 0), valid


@pytest.fixture(scope="module")
def batch() -> Batch:
    rng = np.random.default_rng(1)
    crops = materials(rng, (2, 2))
    valid = np.ones(crops.shape[:4], bool)
    valid[0, 0, 4:7, 5:12] = valid[1, 1, :, :3] = False
    crops = np.where(valid[..., None], crops, 0)
    return Batch(crops, valid, np.array([[3, -4], [-5, 2]], np.int32))


def fresh(sample: tuple[np.ndarray, np.ndarray], seed: int = 0) -> TrainState:
    return create_state(
        jax.random.key(seed), RECIPE, *sample, clusters=CLUSTERS, bin_width=0, pixels=300
    )


def numbers(state: TrainState) -> dict[str, Any]:
    """What a step changes, on the host."""
    changing = {n: getattr(state, n) for n in ("step", "params", "opt_state", "centroids")}
    return jax.tree.map(np.array, changing)


def assert_equal(one: Any, other: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


def assert_close(one: Any, other: Any, **tolerance: float) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, other)


def after(state: TrainState, batch: Batch, steps: int = 1, share: int = 1) -> tuple[Any, Any]:
    """State and metrics after some compiled steps on a mesh for batches of `share`."""
    take = jitted_step(data_mesh(share))
    for _ in range(steps):
        state, metrics = take(state, batch)
    return numbers(state), jax.tree.map(np.array, metrics)


def test_sharded_and_donated_step_is_the_pure_function(
    sample: tuple[np.ndarray, np.ndarray], batch: Batch
) -> None:
    plain_state, plain = jax.jit(train_step)(fresh(sample), batch)  # op by op it takes 20 s
    state, metrics = after(fresh(sample), batch)
    assert_close(metrics, jax.tree.map(np.array, plain), rtol=2e-3, atol=2e-5)
    assert_close(state["centroids"], plain_state.centroids, rtol=0, atol=1e-5)
    assert int(plain_state.step) == int(state["step"]) == 1


def test_two_devices_train_as_one(sample: tuple[np.ndarray, np.ndarray], batch: Batch) -> None:
    assert data_mesh(1).size == 1
    assert data_mesh(2).size == 2
    one, one_metrics = after(fresh(sample), batch, steps=4, share=1)
    two, two_metrics = after(fresh(sample), batch, steps=4, share=2)
    assert_close(one_metrics, two_metrics, rtol=2e-3, atol=1e-5)
    assert_close(one["params"], two["params"], rtol=0, atol=1e-5)
    assert_close(one["centroids"], two["centroids"], rtol=0, atol=1e-5)


def test_state_is_donated_and_the_second_step_is_not_compiled_again(
    sample: tuple[np.ndarray, np.ndarray], batch: Batch
) -> None:
    take = jitted_step(data_mesh(1))
    state = fresh(sample)
    new, _ = take(state, batch)
    assert state.centroids.is_deleted()
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
    compiled: list[str] = []

    def note(event: str, _: float, **__: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    take(new, batch)
    assert not compiled
    jax.jit(lambda x: x + 1)(jnp.zeros(17))  # what is not compiled yet does get noted
    assert compiled
    jax.monitoring.clear_event_listeners()


def test_same_seed_gives_the_same_bits_and_another_seed_does_not(
    sample: tuple[np.ndarray, np.ndarray], batch: Batch
) -> None:
    first, metrics = after(fresh(sample), batch, steps=2)
    second, again = after(fresh(sample), batch, steps=2)
    assert_equal((first, metrics), (second, again))
    other, _ = after(fresh(sample, seed=1), batch, steps=2)
    assert np.abs(other["centroids"] - first["centroids"]).max() > 1e-3


def test_values_of_invalid_pixels_have_no_influence(
    sample: tuple[np.ndarray, np.ndarray], batch: Batch
) -> None:
    expected = after(fresh(sample), batch)
    for value in (1e6, np.nan, -np.inf):
        crops = np.where(batch.valid[..., None], batch.crops, np.float32(value))
        assert_equal(after(fresh(sample), batch._replace(crops=crops)), expected)


def test_metrics_name_every_term_and_the_loss_is_their_weighted_sum(
    sample: tuple[np.ndarray, np.ndarray], batch: Batch
) -> None:
    _, metrics = after(fresh(sample), batch, steps=3)
    names = ("compactness", "orthogonality", "consistency", "balance", "anchor")
    assert {name for name in metrics if name.startswith("loss/")} == {f"loss/{n}" for n in names}
    total = sum(getattr(RECIPE.weights, n) * metrics[f"loss/{n}"] for n in names)
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-5)
    assert metrics["usage"].shape == (CLUSTERS,)
    np.testing.assert_allclose(metrics["usage"].sum(), 1, rtol=1e-5)
    assert metrics["gradient_norm"] > 0


def test_bandwidth_starts_where_it_is_told_and_is_learned(
    sample: tuple[np.ndarray, np.ndarray], batch: Batch
) -> None:
    _, first = after(fresh(sample), batch)
    np.testing.assert_allclose(first["bandwidth"], RECIPE.mean_shift.bandwidth, rtol=1e-5)
    _, later = after(fresh(sample), batch, steps=4)
    assert abs(later["bandwidth"] - first["bandwidth"]) > 1e-4


def test_anchor_is_zero_until_the_encoder_moves(
    sample: tuple[np.ndarray, np.ndarray], batch: Batch
) -> None:
    _, first = after(fresh(sample), batch)
    np.testing.assert_allclose(first["loss/anchor"], 0, atol=1e-5)
    _, later = after(fresh(sample), batch, steps=4)
    assert later["loss/anchor"] > 1e-4


def test_centroids_follow_their_pixels_by_no_more_than_the_average_allows(
    sample: tuple[np.ndarray, np.ndarray], batch: Batch
) -> None:
    begin = np.array(fresh(sample).centroids)
    moved, _ = after(fresh(sample), batch)
    distance = np.linalg.norm(moved["centroids"] - begin, axis=1)
    # The chord of the greatest angle between c and 0.99 c + 0.01 t, asin(0.01 / 0.99).
    assert RECIPE.decay == 0.99
    assert 1e-5 < distance.max() < 0.0102
    np.testing.assert_allclose(np.linalg.norm(moved["centroids"], axis=1), 1, rtol=1e-5)


def test_steps_lower_the_loss(sample: tuple[np.ndarray, np.ndarray], batch: Batch) -> None:
    _, first = after(fresh(sample), batch)
    _, last = after(fresh(sample), batch, steps=25)
    assert last["loss"] < 0.9 * first["loss"]


def test_embeddings_of_the_sample_start_centred_and_uncorrelated(
    sample: tuple[np.ndarray, np.ndarray],
) -> None:
    state = fresh(sample)
    crops, valid = sample
    encoder = {name: np.asarray(v, np.float64) for name, v in state.params["encoder"].items()}
    constants = state.normalisation
    spectra = normalisation.normalise(normalisation.to_bins(crops, constants), constants)
    y = encode(RECIPE, state.params["encoder"], spectra, jnp.asarray(valid), raw=True)
    linear = np.asarray(spectra, np.float64)[valid] @ encoder["linear"]  # [pixel, embedding]
    mixed = np.asarray(y, np.float64)[valid] @ encoder["mix"]
    before = linear + mixed + encoder["offset"]
    np.testing.assert_allclose(before.mean(axis=0), 0, atol=1e-4)
    for part in (linear, mixed):
        covariance = np.cov(part.T, bias=True)
        apart = covariance - np.diag(np.diag(covariance))
        assert np.abs(apart).max() < 1e-3 * covariance.max()
    np.testing.assert_allclose(linear.var(axis=0).sum(), 1, rtol=1e-2)


def test_centroids_start_as_unit_vectors_apart_from_each_other(
    sample: tuple[np.ndarray, np.ndarray],
) -> None:
    bank = np.array(fresh(sample).centroids, np.float64)
    assert bank.shape == (CLUSTERS, 8)
    np.testing.assert_allclose(np.linalg.norm(bank, axis=1), 1, rtol=1e-5)
    cosines = bank @ bank.T - np.eye(CLUSTERS)
    assert cosines.max() < 0.999


def test_more_clusters_than_pixels_are_refused() -> None:
    crops = materials(np.random.default_rng(0), (1,))
    valid = np.zeros(crops.shape[:3], bool)
    valid[0, 0, :5] = True
    with pytest.raises(InputError, match="found 6 clusters for 5 pixels"):
        fresh((crops, valid))


def test_sample_without_a_valid_pixel_is_refused() -> None:
    crops = np.zeros((2, CROP, CROP, BANDS), np.float32)
    with pytest.raises(InputError, match="expected valid pixels, found none"):
        fresh((crops, np.zeros(crops.shape[:3], bool)))


def test_unknown_start_is_refused(sample: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(InputError, match=r"expected 'kmeans\+\+' or 'random', found 'best'"):
        create_state(jax.random.key(0), RECIPE, *sample, clusters=3, start="best")
