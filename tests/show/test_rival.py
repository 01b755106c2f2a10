"""Plain k-means beside the model's map, against scikit-learn and by hand."""

import pathlib

import numpy as np
import pytest
from conftest import TinyRun
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from dgc_jax import Segmenter, open_cube
from dgc_jax.show import rival


def test_it_is_as_good_as_k_means_of_another_library(
    segmenter: Segmenter, tiny_run: TinyRun
) -> None:
    cubes = [open_cube(str(p)) for p in sorted(pathlib.Path(tiny_run.scenes).glob("*.zarr"))]
    centres = rival.fit(segmenter, cubes)
    assert centres is not None
    assert centres.shape == (3, segmenter.bands)
    np.testing.assert_array_equal(rival.fit(segmenter, cubes), centres)
    spectra = np.concatenate([c.read(0, 0, 48, 48)[0].reshape(-1, segmenter.bands) for c in cubes])
    labels = rival.nearest(centres, spectra)
    np.testing.assert_array_equal(labels, cdist(spectra, centres).argmin(axis=1) + 1)
    other = KMeans(3, n_init=10, random_state=0).fit(spectra)
    ours = np.sum(cdist(spectra, centres, "sqeuclidean").min(axis=1))
    assert ours < 1.15 * other.inertia_


def test_its_clusters_take_the_ids_that_they_overlap_most(segmenter: Segmenter) -> None:
    rng = np.random.default_rng(0)
    finest = rng.integers(1, segmenter.finest + 1, 4000)
    shown = segmenter.tree.shown[finest]
    turned = np.array([0, 2, 3, 1])[shown]  # the run's 1 is k-means' 2
    plain = np.where(rng.random(4000) < 0.2, rng.integers(1, 4, 4000), turned)
    counts = np.zeros((3, segmenter.finest), np.int64)
    np.add.at(counts, (plain - 1, finest - 1), 1)
    found = rival.compare(counts, segmenter)
    assert found["ids"] == [0, 3, 1, 2]
    assert found["agreement"] == pytest.approx(adjusted_rand_score(shown, plain))


def test_too_few_different_pixels_give_no_rival(
    segmenter: Segmenter, tmp_path: pathlib.Path
) -> None:
    np.save(tmp_path / "even.npy", np.full((8, 8, segmenter.bands), 0.3, np.float32))
    assert rival.fit(segmenter, [open_cube(str(tmp_path / "even.npy"))]) is None
