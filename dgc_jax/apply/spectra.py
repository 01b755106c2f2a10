"""Mean spectrum and spread of each cluster, gathered tile by tile.

Counts, means and sums of squared deviations from the mean are combined pairwise, so that a scene
of any size streams through constant memory without the cancellation that sums of squares suffer.
Row `k - 1` belongs to cluster `k`; label 0 (no data) never enters. A cluster without pixels has
count, mean and squares 0.

Reference:
    Chan, Golub & LeVeque 1983, Algorithms for computing the sample variance.
"""

from typing import NamedTuple

import numpy as np

_BLOCK = 8192  # pixels; a block of 301 bands stays in the cache (1 s a million pixels)


class Spectra(NamedTuple):
    """Statistics of the reflectance of each cluster.

    Attributes:
        count: `[cluster]` int64, pixels.
        mean: `[cluster, band]` float64, mean reflectance.
        squares: `[cluster, band]` float64, sum of squared deviations from the mean.
    """

    count: np.ndarray  # type: ignore[assignment]  # hides tuple.count, which nobody misses
    mean: np.ndarray
    squares: np.ndarray


def empty(clusters: int, bands: int) -> Spectra:
    """Statistics of no pixels: the neutral element of `combine`."""
    return Spectra(
        np.zeros(clusters, np.int64), np.zeros((clusters, bands)), np.zeros((clusters, bands))
    )


def measure(
    reflectance: np.ndarray, labels: np.ndarray, clusters: int, *, divisor: float = 1.0
) -> Spectra:
    """Gathers the statistics of one tile.

    Args:
        reflectance: `[..., band]`, any real type; may be anything where the label is 0.
        labels: `[...]` integers, 0 = no data, 1..clusters.
        clusters: number of clusters K.
        divisor: what to divide stored numbers by, where they are not yet reflectance.

    Returns:
        Statistics `[cluster, band]`.

    Raises:
        ValueError: the shapes disagree or a label is out of range.
    """
    reflectance, labels = np.asarray(reflectance), np.asarray(labels)
    if reflectance.shape[:-1] != labels.shape:
        raise ValueError(f"reflectance {reflectance.shape} does not fit labels {labels.shape}")
    if labels.size and (labels.min() < 0 or labels.max() > clusters):
        raise ValueError(f"labels {labels.min()}..{labels.max()} are not within 0..{clusters}")
    bands = reflectance.shape[-1]
    pixels, flat = reflectance.reshape(-1, bands), labels.reshape(-1)
    total = empty(clusters, bands)
    for start in range(0, len(flat), _BLOCK):
        block, ids = pixels[start : start + _BLOCK], flat[start : start + _BLOCK]
        part = empty(clusters, bands)
        part.count[:] = np.bincount(ids, minlength=clusters + 1)[1:]
        for row in np.flatnonzero(part.count):
            members = block[ids == row + 1].astype(np.float64)
            part.mean[row] = members.mean(0)
            members -= part.mean[row]
            part.squares[row] = np.einsum("pb,pb->b", members, members)
        total = combine(total, part)
    return Spectra(total.count, total.mean / divisor, total.squares / divisor**2)


def combine(a: Spectra, b: Spectra) -> Spectra:
    """Statistics of the pixels of `a` and `b` together."""
    count = a.count + b.count
    share = (b.count / np.maximum(count, 1))[:, None]  # of b in the whole
    apart = b.mean - a.mean
    return Spectra(
        count,
        a.mean + apart * share,
        a.squares + b.squares + apart**2 * share * a.count[:, None],
    )


def standard_deviation(spectra: Spectra) -> np.ndarray:
    """Population standard deviation `[cluster, band]` float64; 0 for a cluster without pixels."""
    return np.sqrt(spectra.squares / np.maximum(spectra.count, 1)[:, None])


def merge(spectra: Spectra, lookup: np.ndarray, clusters: int | None = None) -> Spectra:
    """Joins clusters.

    Args:
        spectra: statistics of K clusters.
        lookup: `[K + 1]` integers, new id of each old id as in `lookup[label_map]`; new ids count
            from 1, and `lookup[0]` is 0. An old cluster sent to 0 is dropped.
        clusters: number of new clusters; None: `max(lookup)`.

    Returns:
        Statistics of the new clusters.

    Raises:
        ValueError: the lookup does not have K + 1 entries.
    """
    lookup = np.asarray(lookup)
    number, bands = spectra.mean.shape
    if lookup.shape != (number + 1,) or lookup[0] != 0:
        raise ValueError(f"lookup {lookup} is not 0 followed by new ids of {number} clusters")
    joined = empty(int(lookup.max()) if clusters is None else clusters, bands)
    for row, new in enumerate(lookup[1:]):
        if new:
            part = empty(len(joined.count), bands)
            for field, value in zip(part, spectra, strict=True):
                field[new - 1] = value[row]
            joined = combine(joined, part)
    return joined
