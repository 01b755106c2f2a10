"""One step of training, and the state that it starts from."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgc_jax import Batch, Encoder, InputError, Recipe, TrainState, create_state, train_step
from dgc_jax.model import normalisation
from dgc_jax.model.augment import Augment
from dgc_jax.model.encoder import FIXED
from dgc_jax.model.losses import Weights
from dgc_jax.train.state import Optimizer
from dgc_jax.train.step import _balance, _shared_pixels, data_mesh, jitted_step

BANDS, CROP, CLUSTERS = 20, 16, 6
# One recipe for all tests: every other one is another program to compile.
RECIPE = Recipe(
    encoder=Encoder(embedding=8, features=(4, 4, 8)),
    optimizer=Optimizer(learning_rate=3e-3, warmup=1, steps=30),
    augment=Augment(gain=0.1, tilt=0.05, noise=0.01, band_dropout=0.05, band_shift=0.5),  # all
    weights=Weights(consistency=1.0, balance=1.0),
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
    for name in names:
        assert 0 <= metrics[f"loss/{name}"] <= 1


def test_steps_turn_and_blend_the_fixed_axes_and_leave_them_as_they_were(
    sample: tuple[np.ndarray, np.ndarray], batch: Batch
) -> None:
    before = numbers(fresh(sample))["params"]
    state, _ = after(fresh(sample), batch, steps=4)
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), before, state["params"])
    assert RECIPE.optimizer.weight_decay > 0
    assert {name for name, changed in moved["encoder"].items() if not changed} == set(FIXED)
    assert moved["mean_shift"] == {"bandwidth": True}
    first, second = (_adam(state["opt_state"], name) for name in ("mu", "nu"))
    for name in FIXED:  # not so small a gradient has reached them
        assert not np.any(first["encoder"][name])
        assert not np.any(second["encoder"][name])


def _adam(opt_state: Any, name: str) -> Any:
    found = jax.tree.leaves(opt_state, is_leaf=lambda node: hasattr(node, name))
    return next(getattr(node, name) for node in found if hasattr(node, name))


def test_weight_decay_draws_kernels_and_residuals_and_nothing_else(
    sample: tuple[np.ndarray, np.ndarray],
) -> None:
    params = jax.tree.map(np.ones_like, fresh(sample).params)
    optimizer = Optimizer(learning_rate=0.1, warmup=0, steps=10, weight_decay=0.5)
    updates = _first_update(optimizer, jax.tree.map(np.zeros_like, params), params)
    drawn = {name: float(np.min(update)) for name, update in updates["encoder"].items()}
    kernels = {"turn", "blend", *(f"{part}{i}" for part in ("band", "image") for i in range(2))}
    assert {name for name, update in drawn.items() if update} == {*kernels, "band2"}
    assert min(drawn.values()) == max(filter(None, drawn.values())) == pytest.approx(-0.05)
    assert not np.any(updates["mean_shift"]["bandwidth"])


def _first_update(optimizer: Optimizer, gradient: Any, params: Any) -> Any:
    change = optimizer.transformation()
    return jax.jit(lambda g, p: change.update(g, change.init(p), p)[0])(gradient, params)


@pytest.mark.parametrize("factor", [0.0, 10.0])
def test_the_bandwidth_alone_has_a_learning_rate_of_its_own(factor: float) -> None:
    params = {"encoder": {"kernel": np.ones((2, 3))}, "mean_shift": {"bandwidth": np.ones(())}}
    gradient = jax.tree.map(lambda x: 0.01 * x, params)
    plain, own = (
        _first_update(Optimizer(warmup=0, steps=10, bandwidth=rate), gradient, params)
        for rate in (1.0, factor)
    )
    assert_equal(plain["encoder"], own["encoder"])
    assert plain["mean_shift"]["bandwidth"] < 0
    np.testing.assert_allclose(
        own["mean_shift"]["bandwidth"], factor * plain["mean_shift"]["bandwidth"], rtol=1e-6
    )


def test_a_step_uses_its_share_of_the_light_and_keeps_it(
    sample: tuple[np.ndarray, np.ndarray], batch: Batch
) -> None:
    take, seen = jitted_step(data_mesh(1)), {}
    for light in (0.0, 0.25, 1.0):
        state, metrics = take(fresh(sample).replace(light=jnp.float32(light)), batch)
        assert state.light == light
        seen[light] = float(metrics["loss/consistency"])
    # Views in less different light are more alike.
    assert seen[0.0] < seen[0.25] < seen[1.0]


@pytest.mark.parametrize("displacement", [0, 1, 3, 5])
def test_balance_is_that_of_pairs_of_pixels_so_far_apart(displacement: int) -> None:
    rng = np.random.default_rng(displacement)
    side, clusters, pairs = 6, 3, 2
    q = rng.dirichlet(np.full(clusters, 0.3), (pairs, 2, side, side))
    valid = rng.random((pairs, 2, side, side)) < 0.8
    offset = np.array([[1, -2], [0, 1]], np.int32)
    d = displacement
    found = []
    for by in ((0, d), (d, 0), (d, d), (d, -d)) if d else ((0, 0),):
        joint, met = np.zeros((clusters, clusters)), 0
        for pair in range(pairs):
            for one in np.ndindex(side, side):  # in the first crop
                for other in np.ndindex(side, side):  # in the second
                    apart = np.subtract(one, other) - offset[pair]
                    if tuple(apart) == by and valid[pair, 0][one] and valid[pair, 1][other]:
                        joint += np.outer(q[pair, 0][one], q[pair, 1][other])
                        met += 1
        joint = (joint + joint.T) / 2 / max(met, 1)
        margin = joint.sum(0)
        information = np.sum(joint * np.log((joint + 1e-12) / (np.outer(margin, margin) + 1e-12)))
        found.append(1 - information / np.log(clusters) if met else 0.0)
    log_q = jnp.log(jnp.asarray(q.reshape(-1, side, side, clusters), jnp.float32))
    got = jax.jit(lambda *batch: _balance(_shared_pixels(*batch, displacement), displacement))(
        log_q, valid, offset
    )
    np.testing.assert_allclose(got, np.mean(found), rtol=1e-4)


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
    take, state = jitted_step(data_mesh(1)), fresh(sample)
    losses = []
    for _ in range(25):
        state, _ = take(state, batch)
    for start in (fresh(sample), state.replace(step=jnp.int32(0))):  # the same draws
        _, metrics = take(start, batch)
        losses.append(float(metrics["loss"]))
    assert losses[1] < 0.98 * losses[0]


def test_embeddings_of_the_sample_start_centred_and_uncorrelated(
    sample: tuple[np.ndarray, np.ndarray],
) -> None:
    state = fresh(sample)
    crops, valid = sample
    encoder = {name: np.asarray(v, np.float64) for name, v in state.params["encoder"].items()}
    constants = state.normalisation
    spectra = normalisation.normalise(normalisation.to_bins(crops, constants), constants)
    y = state.model.encode(spectra, jnp.asarray(valid), raw=True)
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
