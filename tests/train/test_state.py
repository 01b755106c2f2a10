"""The start of training: the first embedding against NumPy's principal axes."""

import jax
import numpy as np
import pytest

from dgc_jax.model import normalisation
from dgc_jax.model.encoder import Encoder
from dgc_jax.train.state import Recipe, _axes, create_state


@pytest.mark.parametrize("whiten", [0.0, 0.75, 1.0])
def test_the_projection_divides_each_principal_axis_by_a_power_of_its_variance(whiten):
    rng = np.random.default_rng(0)
    data = rng.normal(size=(5000, 5)) @ rng.normal(size=(5, 5)) * [1, 10, 0.1, 1, 3]
    projected = (data - data.mean(0)) @ _axes(np.cov(data.T, bias=True), whiten, 5)
    variance = np.sort(np.linalg.eigvalsh(np.corrcoef(data.T)))[::-1]
    want = variance ** (1 - whiten) / np.sum(variance ** (1 - whiten))
    np.testing.assert_allclose(np.cov(projected.T, bias=True), np.diag(want), atol=1e-9)


def test_fewer_variables_than_dimensions_leave_the_rest_zero():
    projection = _axes(np.diag([4.0, 1.0]), 0.5, 6)
    assert projection.shape == (2, 6)
    assert np.count_nonzero(np.abs(projection).sum(0)) == 2


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(1)
    materials = rng.random((3, 40))
    crops = materials[rng.integers(0, 3, (6, 16, 16))] * rng.uniform(0.8, 1.2, (6, 16, 16, 1))
    valid = rng.random((6, 16, 16)) > 0.1
    return (crops + 0.01 * rng.normal(size=crops.shape)).astype(np.float32), valid


def test_without_the_network_the_embedding_starts_as_the_unit_principal_components(sample):
    crops, valid = sample
    recipe = Recipe(encoder=Encoder(embedding=8, features=(4, 4, 8)))
    state = create_state(
        jax.random.key(0), recipe, crops, valid, clusters=4, bin_width=0, whiten=0.75, network=0.0
    )
    pixels = crops[valid].astype(np.float64)
    standard = (pixels - pixels.mean(0)) / pixels.std(0)
    variance, axes = np.linalg.eigh(np.cov(standard.T, bias=True))
    top = np.argsort(-variance)[:8]
    floor = np.maximum(variance[top], 1e-4 * variance.max())
    components = standard @ axes[:, top] * floor ** (-0.75 / 2)
    components /= np.linalg.norm(components, axis=1, keepdims=True)

    spectra = normalisation.to_bins(crops, state.normalisation)
    p = recipe.encoder.apply({"params": state.params["encoder"]}, spectra, valid)
    p = np.asarray(p)[valid]
    # Axes have no sign of their own; cosines between pixels do not depend on it.
    some = np.random.default_rng(2).integers(0, len(p), (2, 500))
    want = np.sum(components[some[0]] * components[some[1]], axis=1)
    np.testing.assert_allclose(np.sum(p[some[0]] * p[some[1]], axis=1), want, atol=2e-3)


def test_two_seeds_start_from_the_same_clusters_where_the_data_have_them(sample):
    crops, valid = sample
    banks = [
        np.asarray(
            create_state(
                jax.random.key(seed), Recipe(), crops, valid, clusters=3, bin_width=0, network=0.0
            ).centroids
        )
        for seed in (0, 1)
    ]
    assert np.all((banks[0] @ banks[1].T).max(axis=1) > 0.999)
