"""How clean a label map is, how well its edges lie, and how far two maps agree.

These stand beside the scores of `dgc_jax.apply.metrics`, which count pixels and are blind to
where they lie. Convention: a label map is integers `[row, column]`, 0 = no data or unlabelled,
1.. = clusters or classes; neighbours are the four nearest pixels.

References:
    Heller & Ghahramani 2005, Bayesian hierarchical clustering (dendrogram purity).
    Martin, Fowlkes & Malik 2004, Learning to detect natural image boundaries (boundary F-score).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.ndimage

from dgc_jax.apply import metrics
from dgc_jax.train.monitor import ACTIVE

STRAY = 10
"""Pixels; a connected region of fewer is stray."""

TOLERANCE = 2.0
"""Pixels; an edge this close to a true one counts as found."""


class Truth(NamedTuple):
    """What maps are judged against.

    Attributes:
        labels: one `[row, column]` uint8 map a scene, 0 = unlabelled, 1..C.
        classes: name of each class.
        background: classes that count as background, or None.
    """

    labels: list[np.ndarray]
    classes: tuple[str, ...]
    background: tuple[int, ...] | None


def stray_regions(labels: np.ndarray, least: int = STRAY) -> int:
    """Number of connected regions of one label that have fewer than `least` pixels.

    Args:
        labels: `[row, column]` integers; 0 belongs to no region.
        least: pixels from which on a region is not stray.
    """
    stray = 0
    for value in np.unique(labels[labels > 0]):
        regions, _ = scipy.ndimage.label(labels == value)  # 4-connected
        stray += int(np.count_nonzero(np.bincount(regions.ravel())[1:] < least))
    return stray


def boundary(labels: np.ndarray) -> np.ndarray:
    """Pixels with a neighbour of another label; neither of the two may be 0.

    Args:
        labels: `[row, column]` integers.

    Returns:
        `[row, column]` bool.
    """
    edge = np.zeros(labels.shape, bool)
    for one, other in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        first, second = labels[one], labels[other]
        differ = (first != second) & (first > 0) & (second > 0)
        edge[one] |= differ
        edge[other] |= differ
    return edge


def boundary_counts(
    labels: np.ndarray, truth: np.ndarray, tolerance: float = TOLERANCE
) -> np.ndarray:
    """Counts that the boundary F-score is made of; those of several scenes add.

    Args:
        labels: `[row, column]` map.
        truth: `[row, column]` true map; the edges of the map count where it is labelled.
        tolerance: pixels, Euclidean.

    Returns:
        `[4]` int64: edge pixels of the map near a true edge, edge pixels of the map, true edge
        pixels near an edge of the map, true edge pixels.
    """
    found, real = boundary(np.where(truth > 0, labels, 0)), boundary(truth)

    def near(edge: np.ndarray, other: np.ndarray) -> int:
        if not other.any():
            return 0
        distance = scipy.ndimage.distance_transform_edt(~other)
        return int(np.count_nonzero(distance[edge] <= tolerance))

    counts = [near(found, real), found.sum(), near(real, found), real.sum()]
    return np.array(counts, np.int64)


def boundary_f(counts: np.ndarray) -> float:
    """Harmonic mean of precision and recall of `boundary_counts`; NaN without a true edge."""
    near_found, found, near_real, real = (int(count) for count in counts)
    if real == 0:
        return math.nan
    if found == 0 or near_found + near_real == 0:
        return 0.0
    precision, recall = near_found / found, near_real / real
    return 2 * precision * recall / (precision + recall)


def pairwise_ari(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> float:
    """Adjusted Rand index between two segmentations of the same scenes, all pixels together.

    Args:
        first: one `[row, column]` map a scene.
        second: the same scenes, segmented otherwise; ids need not correspond.
    """
    sizes = [max((int(m.max()) for m in maps if m.size), default=1) for maps in (first, second)]
    counts = np.zeros((max(sizes[0], 1), max(sizes[1], 1)), np.int64)
    for one, other in zip(first, second, strict=True):
        counts += metrics.confusion(one, other, *counts.shape)
    return metrics.adjusted_rand_index(counts)


def dendrogram_purity(counts: np.ndarray, tree: np.ndarray) -> float:
    """How pure the smallest groups are that hold two pixels of a class.

    Two different pixels are drawn evenly from all pairs of one class; the smallest group of the
    tree that holds both is a leaf or a merge, and the share of that class among its pixels is
    their purity. This is its expectation over all pairs, exactly: pairs first meet in a leaf, or
    where a merge brings a pixel of either side together.

    Args:
        counts: `[class, leaf]` pixels.
        tree: `[leaf - 1, 4]` linkage matrix over the leaves in that order.

    Returns:
        0..1, 1 if every group before the last merges holds one class; NaN without a pair.
    """
    nodes = [leaf.astype(np.float64) for leaf in counts.T]
    pairs = [leaf * (leaf - 1) / 2 for leaf in nodes]
    for left, right in tree[:, :2].astype(int):
        pairs.append(nodes[left] * nodes[right])
        nodes.append(nodes[left] + nodes[right])
    pure = sum(
        float(met @ node) / node.sum() for met, node in zip(pairs, nodes, strict=True) if met.any()
    )
    total = float(np.sum(pairs))
    return pure / total if total else math.nan


def best_iou(counts: np.ndarray, of_class: int) -> float:
    """IoU of a class with the one cluster that fits it best, over labelled pixels.

    Args:
        counts: `[class, cluster]` pixels.
        of_class: row of the class.
    """
    right = counts[of_class]
    union = counts[of_class].sum() + counts.sum(axis=0) - right
    return float(np.max(right / np.maximum(union, 1)))


def confusion(maps: Sequence[np.ndarray], truth: Truth, clusters: int) -> np.ndarray:
    """`[class, cluster]` int64 pixels of all scenes together."""
    counts = np.zeros((len(truth.classes), clusters), np.int64)
    for labels, real in zip(maps, truth.labels, strict=True):
        counts += metrics.confusion(real, labels, *counts.shape)
    return counts


def measure(maps: Sequence[np.ndarray], truth: Truth, clusters: int) -> dict[str, Any]:
    """Every measure of one segmentation of a set of scenes.

    Args:
        maps: one `[row, column]` map a scene, 0 = no data, 1..clusters.
        truth: the same scenes' truth.
        clusters: number of clusters K.

    Returns:
        `background_iou`, `tissue_iou`, `background_tissue` (their mean), `iou` (each class, every
        cluster mapped by majority), `majority` (accuracy by that map), `accuracy` and
        `mean_iou_one_to_one` (mean over the classes; one to one by the Hungarian method),
        `rarest_iou` (the rarest class with its best cluster), `nmi`, `ari`, `stray` (regions a
        megapixel), `boundary_f`, `active` (clusters with at least 0.1 % of the pixels); None where
        a measure is not defined.
    """
    counts = confusion(maps, truth, clusters)
    edges, stray, pixels = np.zeros(4, np.int64), 0, np.zeros(clusters + 1, np.int64)
    for labels, real in zip(maps, truth.labels, strict=True):
        edges += boundary_counts(labels, real)
        stray += stray_regions(labels)
        pixels += np.bincount(labels.ravel(), minlength=clusters + 1)
    by_majority = metrics.scores(counts, truth.classes, truth.background, "majority")
    one_to_one = metrics.apply_table(counts, metrics.map_clusters(counts, "hungarian"))
    of_class = counts.sum(axis=1)
    rarest = int(np.argmin(np.where(of_class > 0, of_class, of_class.max() + 1)))
    inside, edge_score = int(pixels[1:].sum()), boundary_f(edges)
    return {
        "background_iou": by_majority.get("background_iou"),
        "tissue_iou": by_majority.get("tissue_iou"),
        "background_tissue": by_majority.get("background_tissue_mean_iou"),
        "iou": by_majority["iou"],
        "majority": by_majority["accuracy"],
        "accuracy": metrics.accuracy(one_to_one),
        "mean_iou_one_to_one": float(np.nanmean(metrics.iou(one_to_one))),
        "rarest_iou": best_iou(counts, rarest),
        "nmi": by_majority["nmi"],
        "ari": by_majority["ari"],
        "stray": stray / inside * 1e6 if inside else None,
        "boundary_f": None if math.isnan(edge_score) else edge_score,
        "active": int(np.count_nonzero(pixels[1:] >= max(ACTIVE * inside, 1))),
    }
