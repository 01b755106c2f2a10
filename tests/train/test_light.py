"""How much light the scenes bear: on materials that differ by more, and by less, than the light."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from dgc_jax import Encoder, Recipe, TrainState, create_state
from dgc_jax.model.augment import Augment
from dgc_jax.model.mean_shift import UnrolledMeanShift
from dgc_jax.train import light
from dgc_jax.train.light import calibrate

BANDS, SIDE, CROPS, CLUSTERS, AGREEMENT = 12, 16, 4, 4, 0.9

Sample = tuple[np.ndarray, np.ndarray]


def sample(difference: float) -> Sample:
    """Four materials of one shape, the brightest this much brighter in logarithms than the next."""
    rng = np.random.default_rng(0)
    materials = 0.2 * np.exp(difference * np.arange(CLUSTERS))[:, None] * np.linspace(1, 2, BANDS)
    which = rng.integers(0, CLUSTERS, (CROPS, 4, 4)).repeat(4, axis=1).repeat(4, axis=2)
    crops = materials[which] * (1 + 0.002 * rng.normal(size=(CROPS, SIDE, SIDE, BANDS)))
    valid = rng.random((CROPS, SIDE, SIDE)) > 0.1
    return crops.astype(np.float32), valid


def begun(crops: np.ndarray, valid: np.ndarray, clusters: int = CLUSTERS, **bounds: float):
    # One convolution and one shift: quicker to compile.
    recipe = Recipe(
        encoder=Encoder(embedding=4, features=(4,), strides=(1,)),
        mean_shift=UnrolledMeanShift(iterations=1),
        augment=Augment(**{"gain": 0.1, "tilt": 0.05, **bounds}),
    )
    return create_state(
        jax.random.key(0), recipe, crops, valid, clusters=clusters, bin_width=0, whiten=0.0
    )


@pytest.fixture(scope="module")
def far() -> Sample:
    return sample(1.0)


@pytest.fixture(scope="module")
def near() -> Sample:
    return sample(0.05)


@pytest.fixture(scope="module")
def begun_near(near: Sample) -> TrainState:
    return begun(*near)


def agreement(state: TrainState, crops: np.ndarray, valid: np.ndarray, share: float) -> float:
    """Between labels in plain light and in a share of the bounds, by scikit-learn."""
    plain, changed = (light._labels(state, crops, valid, s) for s in (0.0, share))
    return normalized_mutual_info_score(plain, changed)


def test_bounds_that_leave_the_clusters_alike_are_used_in_full(far: Sample) -> None:
    state = begun(*far, gain=0.01, tilt=0.005)
    assert agreement(state, *far, 1.0) >= AGREEMENT
    assert calibrate(state, *far, agreement=AGREEMENT).light == 1


def test_materials_closer_than_the_light_bear_only_a_share_of_it(
    near: Sample, begun_near: TrainState
) -> None:
    state = calibrate(begun_near, *near, agreement=AGREEMENT)
    share = float(state.light)
    assert 0 < share < 0.5
    assert agreement(begun_near, *near, share) >= AGREEMENT
    assert agreement(begun_near, *near, share + 1 / 256) < AGREEMENT
    assert 256 * share == round(256 * share)  # what eight halvings reach
    # The share is of the bounds: half of them may be used twice as far.
    half = dataclasses.replace(state.recipe.augment, gain=0.05, tilt=0.025)
    state = begun_near.replace(recipe=dataclasses.replace(state.recipe, augment=half))
    again = calibrate(state, *near, agreement=AGREEMENT)
    assert again.light == pytest.approx(2 * share, abs=2 / 256)
    # What is asked for decides: less agreement bears more light.
    loose = calibrate(begun_near, *near, agreement=0.6)
    assert loose.light > share


def test_calibration_gives_the_same_bits_twice_and_changes_nothing_else(
    near: Sample, begun_near: TrainState
) -> None:
    one, other = (calibrate(begun_near, *near, agreement=AGREEMENT) for _ in range(2))
    assert one.light == other.light
    assert one.light.dtype == jnp.float32
    assert one.light.shape == ()
    untouched = jax.tree.leaves(one.replace(light=begun_near.light))
    pairs = zip(untouched, jax.tree.leaves(begun_near), strict=True)
    assert all(after is before for after, before in pairs)


def test_an_agreement_of_zero_or_bounds_of_zero_leave_the_light_as_it_is(
    near: Sample, begun_near: TrainState
) -> None:
    assert calibrate(begun_near, *near, agreement=0).light == 1
    dark = dataclasses.replace(begun_near.recipe.augment, gain=0.0, tilt=0.0)
    state = begun_near.replace(recipe=dataclasses.replace(begun_near.recipe, augment=dark))
    assert calibrate(state, *near, agreement=AGREEMENT).light == 1


def test_an_agreement_that_no_light_reaches_leaves_next_to_none(
    near: Sample, begun_near: TrainState
) -> None:
    tilted = dataclasses.replace(begun_near.recipe.augment, gain=1e4, tilt=0.0)
    state = begun_near.replace(recipe=dataclasses.replace(begun_near.recipe, augment=tilted))
    assert calibrate(state, *near, agreement=AGREEMENT).light == 0


@pytest.mark.parametrize("clusters", [1, 4])
def test_a_scene_of_one_even_material_gives_a_finite_share(clusters: int) -> None:
    spectrum = np.linspace(0.2, 0.4, BANDS, dtype=np.float32)
    crops = np.broadcast_to(spectrum, (CROPS, SIDE, SIDE, BANDS))
    valid = np.ones(crops.shape[:3], bool)
    state = calibrate(begun(crops, valid, clusters), crops, valid, agreement=AGREEMENT)
    assert 0 <= state.light <= 1


def test_agreement_is_scikit_learns_and_one_without_pixels() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 5, 400)
    second = np.where(rng.random(400) < 0.3, rng.integers(0, 5, 400), first)
    want = normalized_mutual_info_score(first, second)
    assert light.agree(first, second, 5) == pytest.approx(want, abs=1e-12)
    assert light.agree(first[:0], second[:0], 5) == 1
    assert light.agree(0 * first, 0 * first, 5) == 1
