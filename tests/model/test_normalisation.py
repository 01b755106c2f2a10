"""Bins, fitted constants and the kinds of normalisation against NumPy and SciPy in float64."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgc_jax.errors import InputError
from dgc_jax.model import normalisation
from dgc_jax.model.normalisation import bin_weights, fit, normalise, to_bins

VNIR = np.linspace(400, 1000, 301)  # 2 nm apart
# Three sensors side by side: steps of 1, 7 and 13 nm, with gaps of 180 and 420 nm.
IRREGULAR = np.concatenate(
    [np.arange(400, 460, 1.0), np.arange(640, 800, 7.0), np.arange(1220, 1500, 13.0)]
)


@pytest.mark.parametrize("wavelengths", [VNIR, IRREGULAR, VNIR + 0.001 * np.sin(VNIR)])
def test_a_bin_is_the_plain_mean_of_the_bands_within_20_nm(wavelengths):
    spectra = np.random.default_rng(0).random((5, len(wavelengths)))
    half = np.median(np.diff(wavelengths)) / 2
    edges = np.arange(wavelengths[0] - half, wavelengths[-1] + 20, 20)
    want, _, _ = scipy.stats.binned_statistic(wavelengths, spectra, "mean", edges)
    want = want[:, ~np.isnan(want[0])]  # no bin without bands
    weights = bin_weights(len(wavelengths), wavelengths, 20.0)
    assert weights.shape == (len(wavelengths), want.shape[1])
    np.testing.assert_allclose(spectra @ weights, want, rtol=1e-6)


@pytest.mark.parametrize("wavelengths", [VNIR, IRREGULAR])
@pytest.mark.parametrize("width", [3.0, 20.0, 150.0])
def test_every_band_is_in_one_bin_and_no_bin_is_empty_or_wider_than_asked(wavelengths, width):
    weights = bin_weights(len(wavelengths), wavelengths, width)
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-6)
    np.testing.assert_array_equal((weights > 0).sum(axis=1), 1)
    members = [wavelengths[column > 0] for column in weights.T]
    assert all(np.ptp(bands) < width for bands in members)
    assert np.all(np.diff([bands[0] for bands in members]) > 0)


@pytest.mark.parametrize(("bands", "bins"), [(301, 31), (100, 25), (33, 17), (32, 32), (3, 3)])
def test_without_wavelengths_at_most_32_bins_hold_equally_many_bands(bands, bins):
    weights = bin_weights(bands, None, 20.0)
    assert weights.shape == (bands, bins)
    sizes = (weights > 0).sum(axis=0)
    assert np.all(sizes[:-1] == sizes[0])
    assert sizes[-1] <= sizes[0]
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-6)


@pytest.mark.parametrize("wavelengths", [VNIR, None])
def test_width_zero_keeps_every_band(wavelengths):
    np.testing.assert_array_equal(bin_weights(301, wavelengths, 0.0), np.eye(301))


@pytest.mark.parametrize("wavelengths", [np.array([550.0]), None])
def test_a_single_band_is_a_single_bin(wavelengths):
    np.testing.assert_array_equal(bin_weights(1, wavelengths, 20.0), [[1]])


@pytest.fixture(scope="module")
def sample():
    """Crops with NaN under the invalid pixels, and the valid spectra binned in float64."""
    rng = np.random.default_rng(1)
    crops = rng.gamma(2.0, 0.2, (3, 4, 5, 301)).astype(np.float32)
    crops[..., 150:] += 0.4
    crops[..., :20] = 0.25  # constant over the data set: the z-score must not divide by 0
    valid = rng.random((3, 4, 5)) > 0.3
    crops[~valid] = np.nan
    binned = crops[valid].astype(np.float64) @ bin_weights(301, VNIR, 20.0)
    return crops, valid, binned


def test_the_constants_are_those_of_the_valid_pixels(sample):
    crops, valid, binned = sample
    fitted = fit(crops, valid, wavelengths=VNIR)
    np.testing.assert_allclose(fitted.scale, binned.std(), rtol=1e-5)
    scaled = binned / binned.std()
    np.testing.assert_allclose(fitted.mean, scaled.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(
        fitted.deviation, np.maximum(scaled.std(axis=0), 1e-3), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(fitted.bins, bin_weights(301, VNIR, 20.0))


FORMULAS = {
    "global": lambda x: x,
    "band": lambda x: (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-3),
    "snv": lambda x: (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True),
    "l2": lambda x: x * np.sqrt(x.shape[-1]) / np.linalg.norm(x, axis=-1, keepdims=True),
    "log": lambda x: np.log(x + 0.1),
}


@pytest.mark.parametrize("kind", normalisation.KINDS)
def test_each_kind_is_its_formula(sample, kind):
    crops, valid, binned = sample
    fitted = fit(crops, valid, wavelengths=VNIR, kind=kind)
    got = np.asarray(normalise(to_bins(crops, fitted), fitted))
    assert got.shape == (3, 4, 5, binned.shape[1])
    np.testing.assert_allclose(got[valid], FORMULAS[kind](binned / binned.std()), atol=2e-4)


@pytest.mark.parametrize(("kind", "blind"), [("global", False), ("snv", True), ("l2", True)])
def test_only_snv_and_l2_are_blind_to_brightness(sample, kind, blind):
    crops, valid, _ = sample
    fitted = fit(crops, valid, wavelengths=VNIR, kind=kind)
    plain, bright = (
        np.asarray(normalise(to_bins(gain * crops, fitted), fitted))[valid] for gain in (1, 1.5)
    )
    assert (np.abs(plain - bright).max() < 1e-4) == blind


def test_log_turns_a_gain_into_an_offset_and_survives_dark_noise(sample):
    crops, valid, _ = sample
    fitted = fit(crops, valid, wavelengths=VNIR, kind="log")
    spectra = jnp.array([[-1.0, 0.0, 50.0, 100.0]], jnp.float32)
    logs = np.asarray(normalise(spectra, fitted))[0]
    np.testing.assert_allclose(logs[:2], np.log(0.1), rtol=1e-6)
    np.testing.assert_allclose(logs[3] - logs[2], np.log(2), atol=2e-3)


def test_an_unknown_kind_is_refused_with_the_choices(sample):
    with pytest.raises(InputError, match=r"kind: .*global, band, snv.*'zscore'"):
        fit(sample[0], sample[1], kind="zscore")


def test_a_sample_without_valid_pixels_is_refused(sample):
    with pytest.raises(InputError, match=r"crops: expected valid pixels, found none"):
        fit(sample[0], np.zeros_like(sample[1]), wavelengths=VNIR)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.77])
def test_spectra_that_are_all_alike_are_refused_with_their_value(value):
    crops = np.full((1, 4, 4, 301), value, np.float32)
    with pytest.raises(InputError, match=f"spectra that differ, found the value {value:g} in"):
        fit(crops, np.ones((1, 4, 4), bool), wavelengths=VNIR)


# --- scenes that numbers cannot hold, or that one band would decide


def halves(bands: int, side: int = 16) -> np.ndarray:
    """`[1, side, side, band]` of two materials, with noise."""
    rng = np.random.default_rng(0)
    two = np.stack([np.linspace(0.1, 0.2, bands), np.linspace(0.5, 0.3, bands)])
    crops = two[(np.arange(side * side) // (side * side // 2)).reshape(side, side)]
    return (crops + rng.normal(0, 0.005, crops.shape))[None].astype(np.float32)


EVERYWHERE = np.ones((1, 16, 16), bool)


@pytest.mark.parametrize("factor", [1e-41, 1e-35, 1e32, 1e37])
def test_values_with_which_32_bits_cannot_compute_are_refused(factor):
    with pytest.raises(InputError, match="32-bit numbers cannot be computed"):
        fit(halves(6) * np.float32(factor), EVERYWHERE)


@pytest.mark.parametrize("factor", [1e-20, 1e-4, 1e4, 1e20])
@pytest.mark.parametrize("kind", ["global", "band", "snv", "l2", "log"])
def test_units_make_no_difference(factor, kind):
    one, other = (fit(halves(6) * np.float32(f), EVERYWHERE, kind=kind) for f in (1, factor))
    crops = halves(6)
    got = [np.asarray(normalise(to_bins(c, f), f)) for c, f in ((crops, one),)]
    again = np.asarray(normalise(to_bins(crops * np.float32(factor), other), other))
    np.testing.assert_allclose(again, got[0], rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("kind", ["snv", "l2"])
def test_one_band_that_its_normalisation_makes_all_alike_is_refused(kind):
    with pytest.raises(InputError, match=rf"kind: .* after '{kind}' \(1 bands"):
        fit(halves(1), EVERYWHERE, kind=kind)


@pytest.mark.parametrize("kind", ["global", "band"])
@pytest.mark.parametrize("wavelengths", [None, np.array([450.0, 500, 550, 600, 650, 700])])
def test_a_band_that_drowns_the_others_is_refused_by_name(kind, wavelengths):
    crops = halves(6) * np.array([1, 1, 1e6, 1, 1, 1], np.float32)
    named = "band 2" if wavelengths is None else r"band 2 \(550 nm\)"
    with pytest.raises(InputError, match=rf"found those of {named} 1e\+06 times as large"):
        fit(crops, EVERYWHERE, kind=kind, wavelengths=wavelengths)
    fit(crops / np.array([1, 1, 1e3, 1, 1, 1], np.float32), EVERYWHERE, kind=kind)


@pytest.mark.parametrize("kind", ["global", "band", "log"])
@pytest.mark.parametrize("value", [-50.0, 1e3, 1e9])
def test_a_constant_band_far_from_the_others_changes_nothing(kind, value):
    crops = halves(6)
    more = np.insert(crops, 3, value, axis=-1)
    plain, fitted = fit(crops, EVERYWHERE, kind=kind), fit(more, EVERYWHERE, kind=kind)
    want = np.asarray(normalise(to_bins(crops, plain), plain))
    got = np.asarray(normalise(to_bins(more, fitted), fitted))
    np.testing.assert_array_equal(np.ptp(got[..., 3]), 0)
    np.testing.assert_allclose(np.delete(got, 3, axis=-1), want, rtol=1e-6, atol=1e-6)


def test_a_constant_band_among_the_others_stays():
    crops = np.insert(halves(6), 3, 0.25, axis=-1)
    np.testing.assert_array_equal(fit(crops, EVERYWHERE).bins, np.eye(7))


@pytest.mark.parametrize("kind", normalisation.KINDS)
def test_a_scene_of_one_material_is_fitted(kind):
    fit(np.broadcast_to(np.float32([0.1, 0.3, 0.2]), (1, 16, 16, 3)), EVERYWHERE, kind=kind)
