"""The encoder against SciPy's correlation and direct sums in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from dgc_jax import InputError
from dgc_jax.model import encoder
from dgc_jax.model.encoder import Encoder, band_convolutions, choose_strides, masked_convolution


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def correlated(spectra, kernel, bias, stride):
    """SciPy's `[pixel, position, feature]` float64 of `[pixel, band, channel]`."""
    pixels, bands, channels = spectra.shape
    positions = (bands - len(kernel)) // stride + 1
    found = np.zeros((pixels, positions, len(bias))) + bias
    for pixel, feature, c in np.ndindex(pixels, len(bias), channels):
        line, taps = spectra[pixel, :, c].astype(float), kernel[:, c, feature].astype(float)
        found[pixel, :, feature] += scipy.signal.correlate(line, taps, "valid")[::stride]
    return found


@pytest.mark.parametrize("block", [1, 4, 100])
@pytest.mark.parametrize(("bands", "stride"), [(301, 7), (33, 1), (40, 4), (9, 1), (10, 2)])
def test_a_band_convolution_is_a_strided_correlation_along_the_bands(bands, stride, block):
    spectra, kernel, bias = normal(0, 5, bands, 3), normal(1, 9, 3, 4), normal(2, 4)
    layer = jnp.asarray(kernel), jnp.asarray(bias), stride
    got = band_convolutions(jnp.asarray(spectra.reshape(5, -1)), [layer], block)
    np.testing.assert_allclose(
        got, correlated(spectra, kernel, bias, stride).reshape(5, -1), atol=1e-4
    )


@pytest.mark.parametrize("block", [1, 3, 100])
@pytest.mark.parametrize(("bands", "strides"), [(301, (7, 4)), (33, (1, 2)), (40, (3, 1))])
def test_band_convolutions_in_blocks_are_one_after_the_other_with_a_relu(bands, strides, block):
    spectra = normal(0, 5, bands, 1)
    first = normal(1, 9, 1, 4), normal(2, 4), strides[0]
    second = normal(3, 3, 4, 6), normal(4, 6), strides[1]
    layers = [(jnp.asarray(k), jnp.asarray(b), stride) for k, b, stride in (first, second)]
    got = band_convolutions(jnp.asarray(spectra[:, :, 0]), layers, block)
    want = correlated(np.maximum(correlated(spectra, *first), 0), *second)
    np.testing.assert_allclose(got, want.reshape(5, -1), atol=1e-3)


def test_masked_convolution_puts_the_centre_in_place_of_invalid_neighbours():
    image, kernel, bias = normal(0, 2, 6, 7, 3), normal(1, 3, 3, 3, 4), normal(2, 4)
    valid = np.random.default_rng(3).random((2, 6, 7)) > 0.3
    got = masked_convolution(
        jnp.asarray(image), jnp.asarray(valid), jnp.asarray(kernel), jnp.asarray(bias)
    )
    for b, r, c in np.argwhere(valid):
        want = bias.astype(float)
        for i, j in np.ndindex(3, 3):
            y, x = r + i - 1, c + j - 1
            seen = 0 <= y < 6 and 0 <= x < 7 and valid[b, y, x]
            want = want + (image[b, y, x] if seen else image[b, r, c]).astype(float) @ kernel[i, j]
        np.testing.assert_allclose(got[b, r, c], want, atol=1e-4)


def test_a_constant_image_has_no_rim_at_borders_and_holes():
    spectrum = normal(0, 1, 1, 1, 31)
    spectra = np.broadcast_to(spectrum, (1, 12, 12, 31))
    valid = np.ones((1, 12, 12), bool)
    valid[0, 4:7, 5:9] = False
    module = Encoder()
    p = module.apply(module.init(jax.random.key(0), spectra, valid), spectra, valid)
    inside = np.asarray(p)[valid]
    np.testing.assert_allclose(inside, np.broadcast_to(inside[0], inside.shape), atol=1e-5)
    assert not np.any(np.asarray(p)[~valid])


@pytest.mark.parametrize("bands", [3, 5, 31, 47, 103, 156, 224, 301, 580, 978])
def test_any_band_count_leaves_one_position_and_unit_embeddings(bands):
    assert encoder._reach(choose_strides(bands), 9) >= 0.95 * bands
    spectra, valid = normal(1, 1, 8, 8, bands), np.ones((1, 8, 8), bool)
    module = Encoder()
    variables = module.init(jax.random.key(0), spectra, valid)
    assert "projection" not in variables["params"]
    p = module.apply(variables, spectra, valid)
    assert p.shape == (1, 8, 8, 32)
    np.testing.assert_allclose(np.linalg.norm(p, axis=-1), 1, atol=1e-5)


def test_strides_are_those_of_the_method_at_301_bands():
    assert choose_strides(301) == (7, 4, 1)


def test_the_spectral_network_never_mixes_pixels():
    spectra, valid = normal(1, 1, 8, 8, 31), np.ones((1, 8, 8), bool)
    module = Encoder()
    variables = module.init(jax.random.key(0), spectra, valid)
    changed = spectra.copy()
    changed[0, 4, 4] += 1
    difference = np.abs(
        module.apply(variables, spectra, valid, raw=True)
        - module.apply(variables, changed, valid, raw=True)
    ).max(-1)[0]
    rows, columns = np.nonzero(difference > 1e-6)
    assert rows.min() == columns.min() == 4 - encoder.RADIUS
    assert rows.max() == columns.max() == 4 + encoder.RADIUS


def test_values_under_invalid_pixels_never_reach_their_neighbours():
    spectra, valid = normal(1, 1, 8, 8, 31), np.ones((1, 8, 8), bool)
    valid[0, 3:5, 2:4] = False
    module = Encoder()
    variables = module.init(jax.random.key(0), spectra, valid)
    poisoned = np.where(valid[..., None], spectra, np.nan)
    np.testing.assert_array_equal(
        module.apply(variables, spectra, valid), module.apply(variables, poisoned, valid)
    )


def test_given_strides_that_leave_several_positions_are_projected():
    spectra, valid = normal(1, 1, 8, 8, 301), np.ones((1, 8, 8), bool)
    module = Encoder(strides=(4, 4, 4))
    variables = module.init(jax.random.key(0), spectra, valid)
    assert variables["params"]["projection"]["kernel"].shape == (3 * 32, 32)
    assert module.apply(variables, spectra, valid).shape == (1, 8, 8, 32)


@pytest.fixture(scope="module")
def trained():
    """An encoder whose maps and residuals are all random, as none are when they are drawn."""
    spectra, valid = normal(1, 2, 6, 6, 31), np.ones((2, 6, 6), bool)
    valid[0, 1:3, 2:5] = False
    module = Encoder(embedding=8, features=(4, 4, 8))
    params = dict(module.init(jax.random.key(0), spectra, valid)["params"])
    for seed, name in enumerate(("linear", "mix", "offset", "turn", "blend")):
        params[name] = 0.5 * normal(seed, *params[name].shape)
    return module, params, spectra, valid


@pytest.mark.parametrize("residuals", [0, 1])
def test_the_embedding_is_the_unit_sum_of_fixed_maps_and_their_residuals(trained, residuals):
    module, params, spectra, valid = trained
    params = {**params, **{n: residuals * params[n] for n in ("turn", "blend")}}
    y = np.asarray(module.apply({"params": params}, spectra, valid, raw=True), np.float64)
    maps = {name: params[name].astype(np.float64) for name in ("linear", "mix", "offset")}
    want = spectra @ maps["linear"] + maps["offset"] + y @ maps["mix"]  # the affine map alone
    if residuals:
        want = want + (spectra @ maps["linear"] + maps["offset"]) @ params["turn"]
        want = want + y @ maps["mix"] @ params["blend"]
    want /= np.linalg.norm(want, axis=-1, keepdims=True)
    got = module.apply({"params": params}, spectra, valid)
    np.testing.assert_allclose(got, np.where(valid[..., None], want, 0), atol=1e-5)


def test_residuals_are_drawn_as_zero(trained):
    module, _, spectra, valid = trained
    drawn = module.init(jax.random.key(3), spectra, valid)["params"]
    assert not np.any(drawn["turn"])
    assert not np.any(drawn["blend"])
    np.testing.assert_array_equal(drawn["mix"], np.eye(8))


def test_the_gradient_reaches_all_but_the_fixed_maps(trained):
    module, params, spectra, valid = trained
    aim = normal(9, 2, 6, 6, 8)
    gradient = jax.grad(lambda p: jnp.sum(aim * module.apply({"params": p}, spectra, valid)))(
        params
    )
    still = {name for name, slope in gradient.items() if not np.any(slope)}
    assert still == set(encoder.FIXED)
    assert all(np.isfinite(slope).all() for slope in gradient.values())


@pytest.mark.parametrize(
    ("kernel", "bands", "fits"), [(9, 5000, True), (8, 31, True), (3, 16, True), (3, 31, False)]
)
def test_a_kernel_that_does_not_reach_across_the_bands_is_refused(kernel, bands, fits):
    if fits:
        assert encoder._reach(choose_strides(bands, kernel), kernel) >= 0.95 * bands
    else:
        with pytest.raises(InputError, match=r"kernel: .* across 31 bands.*found 3; raise"):
            choose_strides(bands, kernel)
