"""Plain k-means of the spectra, beside the model's map in the report: what all would try first.

As many clusters as the model shows, fitted to windows from all over the scenes and applied to every
pixel by itself: no context, no training, no tree. A reader sees what these add, or that they add
nothing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.cluster.vq
import scipy.optimize

from dgc_jax.apply.segmenter import Segmenter
from dgc_jax.data.cube import Cube
from dgc_jax.data.sample import places
from dgc_jax.model.information import adjusted_rand_index

_WINDOWS, _SIDE, _PIXELS = 48, 32, 20_000  # what k-means is fitted to


def fit(segmenter: Segmenter, cubes: Sequence[Cube]) -> np.ndarray | None:
    """The centres of k-means (k-means++, Lloyd's iterations), always from the same pixels.

    Args:
        segmenter: whose number of clusters and bands are taken; not seen through a view.
        cubes: the scenes.

    Returns:
        `[K, band]` reflectance; None if the scenes have fewer pixels than clusters.

    Raises:
        InputError: if a scene does not cover the model's bands, or cannot be read.
    """
    cubes = [segmenter.adapt(cube) for cube in cubes]
    rng = np.random.default_rng(0)
    found = []
    for scene, row, column in places([cube.shape[:2] for cube in cubes], _SIDE, _WINDOWS, 0):
        crop, valid = cubes[scene].read(row, column, _SIDE, _SIDE)
        found.append(crop[valid])
        cubes[scene].forget()
    spectra = np.concatenate(found)
    spectra = spectra[rng.permutation(len(spectra))[:_PIXELS]].astype(np.float64)
    if len(np.unique(spectra, axis=0)) < segmenter.clusters:
        return None
    begin = _plus_plus(spectra, segmenter.clusters, rng)
    return np.asarray(scipy.cluster.vq.kmeans(spectra, begin, iter=1)[0])


def _plus_plus(spectra: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """k-means++ (Arthur & Vassilvitskii 2007): far pixels are drawn more often."""
    chosen = [int(rng.integers(len(spectra)))]
    distance = np.full(len(spectra), np.inf)
    while len(chosen) < number:
        distance = np.minimum(distance, np.sum((spectra - spectra[chosen[-1]]) ** 2, axis=1))
        chosen.append(int(rng.choice(len(spectra), p=distance / distance.sum())))
    return spectra[chosen]


def nearest(centres: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    """Index from 1 of the nearest centre `[K, band]` of spectra `[..., band]`, uint8."""
    half = 0.5 * np.sum(centres**2, axis=1)
    return (np.argmax(spectra @ centres.T - half, axis=-1) + 1).astype(np.uint8)


def compare(counts: np.ndarray, segmenter: Segmenter) -> dict[str, Any]:
    """How k-means' clusters go with the model's.

    Args:
        counts: `[k-means, L]` pixels of each pair of clusters, those of the model at its finest.
        segmenter: the model.

    Returns:
        `ids`: of the model's clusters that which each of k-means' overlaps most, one to one;
        `agreement`: adjusted Rand index of the two maps, None without pixels.
    """
    folded = np.zeros((len(counts), segmenter.clusters), np.int64)
    np.add.at(folded.T, segmenter.tree.shown[1:].astype(int) - 1, counts.T)
    rows, columns = scipy.optimize.linear_sum_assignment(-folded)
    ids = dict(zip(rows.tolist(), (columns + 1).tolist(), strict=True))
    agreement = adjusted_rand_index(folded)
    return {
        "ids": [0, *(ids.get(k, 0) for k in range(len(counts)))],
        "agreement": None if np.isnan(agreement) else agreement,
    }
