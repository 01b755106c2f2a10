"""The rivals: clusterings of single spectra, by scikit-learn, which a user would try first.

Each is fitted to a sample of the training scenes' spectra and then labels every pixel of any
scene by its own spectrum alone. Spectra are `[pixel, band]` float32 reflectance; labels count
from 1.

- `K-means, KIND`: on the reflectance (`raw`), the z-score of each band over the sample (`band`),
  the logarithm (`log`) or spectra of unit length (`L2`), all bands.
- `PCA + GMM`: the first 10 principal components of the raw reflectance, Gaussian mixture with
  full covariances.
- `K-means N, merged`: N clusters of L2-normalised spectra averaged to 20 nm bins, merged to K
  along a tree: average linkage on the cosine distance of the clusters' mean raw spectra. Measured
  before as the strongest of them.

K-means takes the best of 5 k-means++ starts, as many as the centroids of this package get.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import scipy.cluster.hierarchy
import sklearn.cluster
import sklearn.decomposition
import sklearn.mixture

from dgc_jax.model.tree import cut_tree

RESTARTS = 5
COMPONENTS = 10

Labels = dict[str, np.ndarray]
Labeller = Callable[[np.ndarray], Labels]
Features = Callable[[np.ndarray], np.ndarray]

METHODS = (
    "K-means, raw",
    "K-means, band",
    "K-means, log",
    "K-means, L2",
    "PCA + GMM",
    "K-means 64, merged",
    "K-means 32, merged",
)
"""Names of the baselines, as `fit` takes them."""

PLAIN = METHODS[:4]
"""Those that are K-means with K clusters."""

UNMERGED = "unmerged"
"""Name of the segmentation before merging, where there is one."""


def fit(
    method: str, sample: np.ndarray, weights: np.ndarray, clusters: Sequence[int], seed: int
) -> Labeller:
    """Fits a baseline.

    Args:
        method: one of `METHODS`.
        sample: `[pixel, band]` reflectance.
        weights: `[band, bin]` averaging weights of the 20 nm bins.
        clusters: numbers of clusters K.
        seed: of everything random.

    Returns:
        A function from `[pixel, band]` reflectance to `{"2": labels, ...}`, `[pixel]` uint8 from
        1 for each K, and for merged baselines the labels before merging.
    """
    if method in PLAIN:
        of = _features(method.removeprefix("K-means, "), sample)
        return _together({str(k): _k_means(of, sample, k, seed) for k in clusters})
    if method == "PCA + GMM":
        number = min(COMPONENTS, sample.shape[1])
        axes = sklearn.decomposition.PCA(number, random_state=seed).fit(sample)
        reduced = axes.transform(sample).astype(np.float64)
        return _together({str(k): _mixture(axes.transform, reduced, k, seed) for k in clusters})
    over = int(method.removeprefix("K-means ").removesuffix(", merged"))
    return _merged(sample, weights, over, clusters, seed)


def merge_by_cosine(spectra: np.ndarray, clusters: int) -> np.ndarray:
    """Merges clusters by average linkage on the cosine distance of their mean spectra.

    Args:
        spectra: `[cluster, band]` mean spectra.
        clusters: number of groups K that are left.

    Returns:
        `[cluster]` uint8 group of each cluster, from 1.
    """
    tree = scipy.cluster.hierarchy.linkage(
        np.asarray(spectra, np.float64), method="average", metric="cosine"
    )
    return (cut_tree(tree, clusters) + 1).astype(np.uint8)


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
    if kind == "log":
        # A hundredth of the mean is added, for pixels that are black but for noise.
        offset = np.float32(0.01 * sample.mean())
        return lambda spectra: np.log(np.maximum(spectra, 0) + offset)
    return unit_length


def _k_means(of: Features, sample: np.ndarray, clusters: int, seed: int) -> Features:
    model = sklearn.cluster.KMeans(clusters, n_init=RESTARTS, random_state=seed)
    model.fit(np.ascontiguousarray(of(sample)))
    return lambda spectra: (model.predict(np.ascontiguousarray(of(spectra))) + 1).astype(np.uint8)


def _mixture(project: Features, reduced: np.ndarray, clusters: int, seed: int) -> Features:
    model = sklearn.mixture.GaussianMixture(
        clusters, covariance_type="full", max_iter=200, random_state=seed
    ).fit(reduced)
    return lambda spectra: (model.predict(project(spectra).astype(np.float64)) + 1).astype(np.uint8)


def _merged(
    sample: np.ndarray, weights: np.ndarray, over: int, clusters: Sequence[int], seed: int
) -> Labeller:
    over = min(over, len(sample))
    label = _k_means(lambda spectra: unit_length(spectra @ weights), sample, over, seed)
    labels = label(sample)
    live = np.unique(labels)
    means = np.stack([sample[labels == k].mean(axis=0, dtype=np.float64) for k in live])
    tables = {}
    for k in clusters:
        tables[str(k)] = np.ones(over + 1, np.uint8)
        tables[str(k)][live] = merge_by_cosine(means, k)

    def predict(spectra: np.ndarray) -> Labels:
        own = label(spectra)
        return {UNMERGED: own} | {name: table[own] for name, table in tables.items()}

    return predict


def _together(each: Mapping[str, Features]) -> Labeller:
    return lambda spectra: {name: label(spectra) for name, label in each.items()}
