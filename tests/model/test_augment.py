"""Augmentation: exact turns and their inverse, statistics of the spectral part, shared pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgc_jax.errors import InputError
from dgc_jax.model.augment import (
    Augment,
    align,
    augment_spectra,
    augment_views,
    draw_turns,
    turn,
    unturn,
)

OFF = Augment(flip=0, turn=0, gain=0, tilt=0, noise=0, band_dropout=0, band_shift=0)
KEY = jax.random.key(0)


def strength(**strengths):
    return Augment(**{name: strengths.get(name, 0.0) for name in vars(OFF)})


def oracle_turn(image, element):
    return np.rot90(image[:, ::-1] if element >= 4 else image, element % 4)


def spectra(key=KEY, *, crops, valid=None, **strengths):
    valid = jnp.ones(crops.shape[:3], bool) if valid is None else valid
    changed = jax.jit(augment_spectra, static_argnums=3)(key, crops, valid, strength(**strengths))
    assert changed.dtype == crops.dtype
    return np.asarray(changed, np.float64)


@pytest.mark.parametrize("trailing", [(), (3,), (2, 2)])
def test_turn_is_numpys_flip_then_quarter_turns_for_all_eight_elements(trailing):
    maps = np.random.default_rng(0).random((8, 5, 5, *trailing)).astype(np.float32)
    turned = jax.jit(turn)(maps, jnp.arange(8))
    for element in range(8):
        np.testing.assert_array_equal(turned[element], oracle_turn(maps[element], element))


def test_unturn_is_the_exact_inverse_for_all_eight_elements():
    maps = jnp.asarray(np.random.default_rng(1).random((8, 6, 6, 2)), jnp.float32)
    element = jnp.arange(8)
    np.testing.assert_array_equal(unturn(turn(maps, element), element), maps)
    np.testing.assert_array_equal(turn(unturn(maps, element), element), maps)


def test_maps_that_are_not_square_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3, 4\)"):
        turn(jnp.zeros((2, 3, 4)), jnp.zeros(2, jnp.int32))


@pytest.mark.parametrize(
    ("flip", "quarter", "expected"),
    [
        (1, 1, dict.fromkeys(range(8), 1 / 8)),
        (1, 0, {0: 1 / 2, 4: 1 / 2}),
        (0, 1, dict.fromkeys(range(4), 1 / 4)),
        (0.5, 0, {0: 3 / 4, 4: 1 / 4}),
        (0, 0.4, {0: 0.7, 1: 0.1, 2: 0.1, 3: 0.1}),
        (0, 0, {0: 1}),
    ],
)
def test_turns_are_drawn_as_often_as_their_strengths_say(flip, quarter, expected):
    element = np.asarray(draw_turns(KEY, 8000, strength(flip=flip, turn=quarter)))
    assert element.dtype == np.int32
    share = np.bincount(element, minlength=8) / element.size
    np.testing.assert_allclose(share, [expected.get(e, 0) for e in range(8)], atol=0.02)
    assert set(element.tolist()) == set(expected)


def test_strength_zero_is_the_identity_bit_for_bit_and_adds_no_work():
    crops = jnp.asarray(np.random.default_rng(2).normal(size=(4, 5, 5, 7)), jnp.float32)
    valid = crops[..., 0] > 0
    unchanged, still_valid, element = augment_views(KEY, crops, valid, OFF)
    assert unchanged is crops
    assert still_valid is valid
    assert not element.any()


@pytest.mark.parametrize(
    "strengths",
    [{"gain": 0.3}, {"tilt": 0.3}, {"noise": 0.3}, {"band_dropout": 0.3}, {"band_shift": 1.5}],
)
def test_every_strength_changes_the_crops_and_invalid_pixels_stay_zero(strengths):
    rng = np.random.default_rng(3)
    valid = jnp.asarray(rng.random((4, 5, 5)) < 0.6)
    crops = jnp.where(valid[..., None], jnp.asarray(rng.random((4, 5, 5, 40)), jnp.float32), 0)
    changed = spectra(crops=crops, valid=valid, **strengths)
    assert not changed[~np.asarray(valid)].any()
    assert (changed != np.asarray(crops)).any(axis=(1, 2, 3)).all()
    other = spectra(jax.random.key(1), crops=crops, valid=valid, **strengths)
    assert (changed != other).any()


def test_a_share_of_the_light_is_that_share_of_gain_and_tilt_and_of_nothing_else():
    rng = np.random.default_rng(8)
    crops, valid = jnp.asarray(rng.random((6, 3, 3, 12)), jnp.float32), jnp.ones((6, 3, 3), bool)

    @jax.jit(static_argnums=1)
    def seen(light, augment):
        return augment_views(KEY, crops, valid, augment, light)[0]

    full = Augment(gain=0.4, tilt=0.2)
    whole = augment_views(KEY, crops, valid, full)[0]
    np.testing.assert_allclose(seen(1.0, full), whole, rtol=1e-6, atol=1e-6)
    half = seen(1.0, Augment(gain=0.2, tilt=0.1))
    np.testing.assert_allclose(seen(0.5, full), half, rtol=1e-5, atol=1e-6)
    none = seen(1.0, Augment(gain=0, tilt=0))
    np.testing.assert_allclose(seen(0.0, full), none, rtol=1e-6, atol=1e-6)
    assert np.abs(none - half).max() > 0.05


def test_validity_turns_with_the_crops():
    rng = np.random.default_rng(4)
    valid = jnp.asarray(rng.random((16, 5, 5)) < 0.6)
    crops = jnp.where(valid[..., None], 1.0, jnp.zeros((16, 5, 5, 3)))
    changed, turned, element = augment_views(KEY, crops, valid, Augment())
    assert len(set(element.tolist())) > 3
    np.testing.assert_array_equal(unturn(turned, element), valid)
    assert not np.asarray(changed)[~np.asarray(turned)].any()


def test_gain_is_one_log_normal_factor_a_view():
    factor = spectra(crops=jnp.ones((4000, 2, 2, 3)), gain=0.2)
    same = np.broadcast_to(factor[:, :1, :1, :1], factor.shape)
    np.testing.assert_allclose(factor, same, rtol=2e-7)  # a unit in the last place
    log = np.log(factor[:, 0, 0, 0])
    assert log.mean() == pytest.approx(0, abs=4 * 0.2 / 4000**0.5)
    assert log.std() == pytest.approx(0.2, rel=0.05)


def test_tilt_is_a_log_linear_slope_about_the_middle_band():
    factor = spectra(crops=jnp.ones((4000, 1, 1, 5)), tilt=0.2)
    log = np.log(factor[:, 0, 0])  # [view, band]
    np.testing.assert_allclose(log, log[:, -1:] * [-1, -0.5, 0, 0.5, 1], atol=1e-6)
    assert log[:, -1].mean() == pytest.approx(0, abs=4 * 0.2 / 4000**0.5)
    assert log[:, -1].std() == pytest.approx(0.2, rel=0.05)


def test_a_single_band_has_no_tilt():
    np.testing.assert_array_equal(spectra(crops=jnp.ones((4, 2, 2, 1)), tilt=0.5), 1)


@pytest.mark.parametrize("bands", [7, 8])
def test_noise_is_white_with_the_given_standard_deviation(bands):
    noise = spectra(crops=jnp.zeros((4, 50, 50, bands)), noise=0.3)
    assert noise.mean() == pytest.approx(0, abs=4 * 0.3 / noise.size**0.5)
    assert noise.std() == pytest.approx(0.3, rel=0.01)
    assert np.abs(noise).max() <= 0.3 * 3**0.5  # evenly spread: sqrt(3) standard deviations
    for axis in range(4):
        a, b = (np.take(noise, range(s, noise.shape[axis] - 1 + s), axis) for s in (0, 1))
        assert abs(np.mean(a * b)) < 5 * 0.3**2 / a.size**0.5


def test_hidden_bands_read_zero_in_the_share_asked_for_and_others_are_untouched():
    crops = jnp.asarray(np.random.default_rng(5).random((400, 2, 2, 50)) + 1, jnp.float32)
    changed = spectra(crops=crops, band_dropout=0.2)
    hidden = changed == 0
    np.testing.assert_array_equal(hidden.all(axis=(1, 2)), hidden.any(axis=(1, 2)))
    np.testing.assert_array_equal(changed[~hidden], np.asarray(crops)[~hidden])
    assert hidden.mean() == pytest.approx(0.2, abs=4 * (0.2 * 0.8 / 20000) ** 0.5)


@pytest.mark.parametrize(
    ("greatest", "bands"), [(0.5, 12), (1.0, 12), (2.5, 12), (4.5, 3), (2.5, 1)]
)
def test_band_shift_is_linear_interpolation_with_clamped_ends(greatest, bands):
    spectrum = np.random.default_rng(6).random(bands).astype(np.float32)
    band = np.arange(float(bands))
    long = np.arange(21.0)  # a ramp as long as the greatest shift needs tells what it was
    ramp = jnp.broadcast_to(jnp.asarray(long, jnp.float32), (200, 1, 1, 21))
    shift = spectra(crops=ramp, band_shift=greatest)[:, 0, 0, 10] - 10
    crops = jnp.broadcast_to(jnp.asarray(spectrum), (200, 1, 1, bands))
    changed = spectra(crops=crops, band_shift=greatest)[:, 0, 0]
    assert np.abs(shift).max() <= greatest
    assert shift.std() == pytest.approx(greatest / 3**0.5, rel=0.15)
    for shifted, s in zip(changed, shift, strict=True):
        np.testing.assert_allclose(shifted, np.interp(band + s, band, spectrum), atol=5e-6)


def test_band_shift_does_not_wrap_around():
    impulse = jnp.zeros((200, 1, 1, 9)).at[..., -1].set(1.0)
    changed = spectra(crops=impulse, band_shift=3.0)
    assert not changed[..., :5].any()
    assert changed[..., 6].any()
    assert not spectra(crops=impulse[..., ::-1], band_shift=3.0)[..., 4:].any()


def test_views_sharded_over_two_devices_change_as_on_one():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rng = np.random.default_rng(8)
    views = jnp.asarray(rng.random((4, 5, 5, 9)), jnp.float32), jnp.ones((4, 5, 5), bool)
    spread = jax.device_put(
        views, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    )
    augment = jax.jit(augment_views, static_argnums=3)
    crops, _, element = augment(KEY, *views, Augment())
    spread_crops, _, spread_element = augment(KEY, *spread, Augment())
    assert len(spread_crops.sharding.device_set) == 2
    np.testing.assert_array_equal(element, spread_element)
    np.testing.assert_allclose(crops, spread_crops, rtol=1e-6)


def test_strengths_out_of_range_are_refused_by_name():
    with pytest.raises(InputError, match=r"augment\.flip: expected a number of 0 to 1, found 1\.5"):
        Augment(flip=1.5)
    with pytest.raises(InputError, match=r"augment\.noise: expected a number of at least 0"):
        Augment(noise=-0.1)
    with pytest.raises(InputError, match=r"augment\.gain"):
        Augment(gain=float("nan"))


def pair(offset, crop=6, bands=2):
    """Two crops of a scene whose value says where it is: 1000 row + column + band / 8."""
    corner = np.stack([np.full((len(offset), 2), 20), 20 + np.asarray(offset)], axis=1)
    position = corner[:, :, :, None, None] + np.indices((crop, crop))[None, None]
    value = 1000 * position[:, :, 0] + position[:, :, 1]  # [batch, 2, row, column]
    return jnp.asarray(value[..., None] + np.arange(bands) / 8, jnp.float32)


OFFSETS = jnp.array([[2, -3], [-1, 4], [0, 0], [5, 5], [-5, 0], [6, 1], [0, -9]], jnp.int32)


def test_align_brings_the_second_crop_onto_the_pixels_of_the_first():
    crops = pair(OFFSETS)
    aligned, shared = jax.jit(align)(crops[:, 1], OFFSETS)
    np.testing.assert_array_equal(
        np.asarray(shared).sum(axis=(1, 2)),
        np.prod(np.maximum(6 - np.abs(OFFSETS), 0), axis=1),
    )
    np.testing.assert_array_equal(aligned, np.where(shared[..., None], crops[:, 0], 0))


def test_align_keeps_the_type_and_takes_maps_without_a_band_axis():
    valid = jnp.ones((len(OFFSETS), 6, 6), bool)
    aligned, shared = align(valid, OFFSETS)
    assert aligned.dtype == bool
    np.testing.assert_array_equal(aligned, shared)


def test_shared_pixels_are_the_same_physical_pixels_through_all_pairs_of_turns():
    first_element, second_element, which = np.indices((8, 8, len(OFFSETS))).reshape(3, -1)
    element = jnp.asarray(np.stack([first_element, second_element], axis=1).ravel(), jnp.int32)
    crops = pair(OFFSETS)[which]  # [batch, 2, row, column, band]
    turned = turn(crops.reshape(-1, *crops.shape[2:]), element)  # a model would predict on these
    first, second = jnp.moveaxis(unturn(turned, element).reshape(crops.shape), 1, 0)
    aligned, shared = align(second, OFFSETS[which])
    np.testing.assert_array_equal(np.asarray(aligned)[shared], np.asarray(first)[shared])
    assert shared[which < 5].any(axis=(1, 2)).all()


def test_gradient_flows_through_align_and_turns_to_shared_pixels_only():
    crops = pair(OFFSETS)
    element = jnp.arange(len(OFFSETS), dtype=jnp.int32)
    weight = jnp.asarray(np.random.default_rng(7).random(crops[:, 1].shape), jnp.float32)

    def total(second):
        aligned, _ = align(unturn(second, element), OFFSETS)
        return (weight * aligned).sum()

    gradient = jax.jit(jax.grad(total))(crops[:, 1])
    back, shared = align(weight, -OFFSETS)  # linear: the gradient is the transposed map
    expected = turn(jnp.where(shared[..., None], back, 0), element)
    np.testing.assert_array_equal(gradient, expected)
