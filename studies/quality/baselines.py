"""The rivals: clusterings of single spectra, by scikit-learn, which a user would try first.

Each is fitted to a sample of the training scenes' spectra and then labels every pixel of any
scene by its own spectrum alone. Spectra are `[pixel, band]` float32 reflectance; labels count
from 1.

- `K-means, KIND`: on the reflectance (`raw`), the z-score of each band over the sample (`band`)
  or spectra of unit length (`L2`), all bands.
- `PCA + GMM`: the first 10 principal components of the raw reflectance, Gaussian mixture with
  full covariances.
- `K-means 64, merged`: 64 clusters of z-scored spectra, in the bins that DGC sees, joined along a
  tree of the same four views as DGC's (`dgc_jax.model.views`), chosen in the same way: of 5 fits
  and each exponent the tree whose cut agrees best with the others. What differs is the embedding.

K-means with K clusters takes the best of 5 k-means++ starts, as many as DGC has banks.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import sklearn.cluster
import sklearn.decomposition
import sklearn.mixture

from dgc_jax.model import mixtures, views
from dgc_jax.model.tree import cut_tree

RESTARTS = 5
COMPONENTS = 10
OVER = 64
"""Clusters that are merged, as many as DGC trains."""

Labels = dict[str, np.ndarray]
Labeller = Callable[[np.ndarray], Labels]
Features = Callable[[np.ndarray], np.ndarray]
Scene = tuple[np.ndarray, np.ndarray]  # reflectance [row, column, band], validity [row, column]

PLAIN = ("K-means, raw", "K-means, band", "K-means, L2")
"""Those that are K-means with K clusters."""

FIXED = (*PLAIN, "PCA + GMM")
"""Those that have K clusters from the first."""

MERGED = f"K-means {OVER}, merged"

METHODS = (*FIXED, MERGED)
"""Names of the baselines."""

UNMERGED = "unmerged"
"""Name of the segmentation before merging, where there is one."""


def fit(method: str, sample: np.ndarray, clusters: Sequence[int], seed: int) -> Labeller:
    """Fits a baseline that has K clusters from the first.

    Args:
        method: one of `FIXED`.
        sample: `[pixel, band]` reflectance.
        clusters: numbers of clusters K.
        seed: of everything random.

    Returns:
        A function from `[pixel, band]` reflectance to `{"2": labels, ...}`, `[pixel]` uint8 from
        1 for each K.
    """
    if method in PLAIN:
        of = _features(method.removeprefix("K-means, "), sample)
        return _together({str(k): _k_means(of, sample, k, seed, RESTARTS) for k in clusters})
    number = min(COMPONENTS, sample.shape[1])
    axes = sklearn.decomposition.PCA(number, random_state=seed).fit(sample)
    reduced = axes.transform(sample).astype(np.float64)
    return _together({str(k): _mixture(axes.transform, reduced, k, seed) for k in clusters})


def fit_merged(
    sample: np.ndarray,
    scenes: Sequence[Scene],
    weights: np.ndarray,
    final: int,
    seed: int,
    over: int = OVER,
) -> tuple[Features, np.ndarray]:
    """Fits K-means with many clusters and joins them along a tree of the four views.

    Args:
        sample: `[pixel, band]` reflectance that K-means is fitted to.
        scenes: that the clusters are described over.
        weights: `[band, bin]` averaging weights of the bins that are clustered.
        final: groups of the cuts that are compared, as `clusters.final`.
        seed: of everything random.
        over: number of clusters.

    Returns:
        A function from `[pixel, band]` reflectance to labels `[pixel]` uint8, 1.. in the order of
        the tree's leaves, and the tree, `[leaf - 1, 4]`.
    """
    binned = sample @ weights
    scaled = _features("band", binned)
    over = min(over, len(sample))
    fits = [_centres(scaled(binned), over, RESTARTS * seed + number) for number in range(RESTARTS)]
    every = [
        [_labelled(scaled(x[valid] @ weights), valid, centres) for x, valid in scenes]
        for centres in fits
    ]
    found = [
        describe(scenes, maps, weights, scaled, c) for maps, c in zip(every, fits, strict=True)
    ]
    trees = [(b, views.linkage(one, a)) for b, one in enumerate(found) for a in views.WEIGHTINGS]
    cuts = []
    for b, tree in trees:
        groups = np.zeros(over, int)
        groups[found[b].counts > 0] = cut_tree(tree, final)
        cuts.append(groups)
    tables = [[_table(every[a], every[b], over) for b in range(RESTARTS)] for a in range(RESTARTS)]
    choice = views.medoid(cuts, [[tables[a][b] for b, _ in trees] for a, _ in trees])
    chosen, tree = trees[choice.position]
    centres = fits[chosen][found[chosen].counts > 0]  # the others have no place in the tree

    def label(spectra: np.ndarray) -> np.ndarray:
        return (_distances(scaled(spectra @ weights), centres).argmin(axis=1) + 1).astype(np.uint8)

    return label, tree


def describe(
    scenes: Sequence[Scene],
    maps: Sequence[np.ndarray],
    weights: np.ndarray,
    scaled: Features,
    centres: np.ndarray,
) -> views.Description:
    """What the clusters of a K-means are like, as `dgc_jax.train.describe` says it of DGC's.

    K-means has no soft assignments, which passage needs. They are taken as those of a mixture of
    round Gaussians, softmax(-d^2 / (2 s^2)) of the distances d to the centres, where s^2 is the
    mean squared distance of a pixel to its nearest centre, divided by 1: not by the number of
    features, because distances among features that vary together do not grow with their number.

    Args:
        scenes: reflectance and validity.
        maps: `[row, column]` integers from 0, -1 where invalid.
        weights: `[band, bin]`.
        scaled: what K-means makes of binned spectra.
        centres: `[K, bin]`.
    """
    number = len(centres)
    total = np.zeros((number, weights.shape[1]))
    counts = np.zeros(number, np.int64)
    near = np.zeros((number, number), np.int64)
    middle = np.zeros((number, number, number), np.int64)
    least = 0.0
    for (reflectance, valid), labels in zip(scenes, maps, strict=True):
        binned, own = reflectance[valid] @ weights, labels[valid]
        member = np.eye(number, dtype=np.float32)[own]
        counts += np.bincount(own, minlength=number)
        total += member.T @ binned
        near += views.neighbours(labels, number)
        middle += mixtures.between(labels, number, views.DISTANCE)
        least += float(np.sum((scaled(binned) - centres[own]) ** 2))
    width = max(least / max(counts.sum(), 1), 1e-12)
    overlap = np.zeros((number, number))
    for (reflectance, valid), labels in zip(scenes, maps, strict=True):
        square = _distances(scaled(reflectance[valid] @ weights), centres)
        q = np.exp((square.min(axis=1, keepdims=True) - square) / (2 * width))
        q /= q.sum(axis=1, keepdims=True)
        overlap += np.eye(number, dtype=np.float32)[labels[valid]].T @ q
    means = np.maximum(total / np.maximum(counts, 1)[:, None], 0)
    return views.Description(counts, means, overlap, near, middle)


def unit_length(spectra: np.ndarray) -> np.ndarray:
    """Spectra `[pixel, band]` of Euclidean length 1; those of zeros stay zero."""
    length = np.linalg.norm(spectra, axis=1, keepdims=True)
    return spectra / np.maximum(length, 1e-6)


def _features(kind: str, sample: np.ndarray) -> Features:
    """What K-means sees; statistics are those of the sample."""
    if kind == "raw":
        return lambda spectra: spectra
    if kind == "band":
        mean, deviation = sample.mean(axis=0), np.maximum(sample.std(axis=0), 1e-6)
        return lambda spectra: (spectra - mean) / deviation
    return unit_length


def _k_means(of: Features, sample: np.ndarray, clusters: int, seed: int, starts: int) -> Features:
    model = sklearn.cluster.KMeans(clusters, n_init=starts, random_state=seed)
    model.fit(np.ascontiguousarray(of(sample)))
    return lambda spectra: (model.predict(np.ascontiguousarray(of(spectra))) + 1).astype(np.uint8)


def _centres(features: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    model = sklearn.cluster.KMeans(clusters, n_init=1, random_state=seed)
    return model.fit(np.ascontiguousarray(features)).cluster_centers_


def _distances(features: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """`[pixel, K]` squared distances."""
    square = np.sum(features**2, axis=1)[:, None] - 2 * features @ centres.T
    return np.maximum(square + np.sum(centres**2, axis=1), 0)


def _labelled(features: np.ndarray, valid: np.ndarray, centres: np.ndarray) -> np.ndarray:
    labels = np.full(valid.shape, -1, np.int64)
    labels[valid] = _distances(features, centres).argmin(axis=1)
    return labels


def _table(first: Sequence[np.ndarray], second: Sequence[np.ndarray], clusters: int) -> np.ndarray:
    """`[K, K]` pixels in each cluster of one segmentation and each of another."""
    pairs = [(a * clusters + b)[a >= 0] for a, b in zip(first, second, strict=True)]
    table = np.bincount(np.concatenate(pairs), minlength=clusters**2)
    return table.reshape(clusters, clusters)


def _mixture(project: Features, reduced: np.ndarray, clusters: int, seed: int) -> Features:
    model = sklearn.mixture.GaussianMixture(
        clusters, covariance_type="full", max_iter=200, random_state=seed
    ).fit(reduced)
    return lambda spectra: (model.predict(project(spectra).astype(np.float64)) + 1).astype(np.uint8)


def _together(each: Mapping[str, Features]) -> Labeller:
    return lambda spectra: {name: label(spectra) for name, label in each.items()}
