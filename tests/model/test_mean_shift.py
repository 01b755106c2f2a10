"""The mean shift against a direct sum over the window in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgc_jax.model.mean_shift import UnrolledMeanShift, mean_shift


def direct_sum(samples, valid, bandwidth, iterations, window):
    """Mean shift pixel by pixel, as the formula says."""
    samples = samples.astype(np.float64)
    batch, rows, columns, _ = samples.shape
    radius = window // 2
    out = np.zeros_like(samples)
    for b, r, c in np.ndindex(batch, rows, columns):
        if not valid[b, r, c]:
            continue
        box = np.s_[b, max(r - radius, 0) : r + radius + 1, max(c - radius, 0) : c + radius + 1]
        near = samples[box][valid[box]]
        z = samples[b, r, c]
        for _ in range(iterations):
            weights = np.exp(-((z - near) ** 2).sum(-1) / (2 * bandwidth**2))
            z = weights @ near / weights.sum()
        out[b, r, c] = z
    return out


def image(seed=0, rows=11, columns=14, unit=False):
    rng = np.random.default_rng(seed)
    samples = rng.normal(size=(2, rows, columns, 6)).astype(np.float32)
    if unit:
        samples /= np.linalg.norm(samples, axis=-1, keepdims=True)
    valid = rng.random((2, rows, columns)) > 0.2
    valid[0, 3:6, 4:9] = False  # a hole
    return samples, valid


@pytest.mark.parametrize("iterations", [0, 1, 5])
@pytest.mark.parametrize(("window", "unit"), [(5, True), (5, False), (3, False), (7, False)])
def test_equals_the_direct_sum_with_borders_and_holes(iterations, window, unit):
    samples, valid = image(unit=unit)
    got = mean_shift(samples, valid, 0.7, iterations=iterations, window=window)
    want = direct_sum(samples, valid, 0.7, iterations, window)
    np.testing.assert_allclose(got, want, atol=2e-5)


def test_what_lies_under_an_invalid_pixel_changes_nothing():
    samples, valid = image()
    poisoned = np.where(valid[..., None], samples, np.nan)
    np.testing.assert_array_equal(mean_shift(samples, valid, 0.7), mean_shift(poisoned, valid, 0.7))


def test_a_lone_valid_pixel_stays_where_it_is():
    samples, _ = image()
    valid = np.zeros(samples.shape[:3], bool)
    valid[0, 5, 5] = True
    got = mean_shift(samples, valid, 0.5)
    np.testing.assert_allclose(got[0, 5, 5], samples[0, 5, 5], rtol=1e-6)
    assert not np.any(np.delete(np.asarray(got).reshape(-1, 6), 5 * 14 + 5, axis=0))


def test_iterations_never_leave_the_range_of_the_window():
    samples, valid = image()
    valid[:] = True
    shifted = np.asarray(mean_shift(samples, valid, 0.3, iterations=10))
    padded = np.pad(samples, ((0, 0), (2, 2), (2, 2), (0, 0)), "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))
    assert np.all(shifted <= windows.max((-2, -1)) + 1e-5)
    assert np.all(shifted >= windows.min((-2, -1)) - 1e-5)


def scalar(samples, valid, bandwidth, probe, detach):
    return jnp.sum(mean_shift(samples, valid, bandwidth, iterations=3, detach=detach) * probe)


def test_the_full_gradient_passes_a_finite_difference_check():
    samples, valid = image(rows=6, columns=7)
    rng = np.random.default_rng(1)
    probe = rng.normal(size=samples.shape).astype(np.float32)
    gradient = jax.grad(scalar, argnums=(0, 2))(samples, valid, 0.7, probe, False)
    direction = rng.normal(size=samples.shape)

    def along(step, bandwidth=0.7):
        return np.sum(direct_sum(samples + step * direction, valid, bandwidth, 3, 5) * probe)

    slope = (along(1e-5) - along(-1e-5)) / 2e-5
    np.testing.assert_allclose(np.sum(np.asarray(gradient[0]) * direction), slope, rtol=1e-3)
    slope = (along(0, 0.7 + 1e-5) - along(0, 0.7 - 1e-5)) / 2e-5
    np.testing.assert_allclose(gradient[1], slope, rtol=1e-3)


def test_the_detached_gradient_is_that_of_the_last_shift_from_a_fixed_query():
    samples, valid = image(rows=6, columns=7)
    probe = np.random.default_rng(1).normal(size=samples.shape).astype(np.float32)
    direction = np.random.default_rng(2).normal(size=samples.shape)
    gradient = jax.grad(scalar)(samples, valid, 0.7, probe, True)
    query = direct_sum(samples, valid, 0.7, 2, 5)

    def last_shift(samples):
        total = 0.0
        for b, r, c in np.argwhere(valid):
            box = np.s_[b, max(r - 2, 0) : r + 3, max(c - 2, 0) : c + 3]
            near = samples[box][valid[box]]
            weights = np.exp(-((query[b, r, c] - near) ** 2).sum(-1) / (2 * 0.7**2))
            total += (weights @ near / weights.sum()) @ probe[b, r, c]
        return total

    slope = (last_shift(samples + 1e-5 * direction) - last_shift(samples - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose(np.sum(np.asarray(gradient) * direction), slope, rtol=1e-3)


def test_the_module_learns_its_bandwidth_from_where_it_is_told():
    samples, valid = image()
    module = UnrolledMeanShift(bandwidth=0.4)
    variables = module.init(jax.random.key(0), samples, valid)
    np.testing.assert_allclose(
        module.apply(variables, samples, valid), mean_shift(samples, valid, 0.4), atol=1e-6
    )
    gradient = jax.grad(lambda v: jnp.sum(module.apply(v, samples, valid)[..., 0] ** 2))(variables)
    assert abs(float(gradient["params"]["bandwidth"])) > 0
