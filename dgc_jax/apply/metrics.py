"""How well a label map agrees with a truth map: counts first, every score from the counts.

A confusion matrix `[class, cluster]` of int64 pixel counts is all that is kept of the maps, so that
scenes and tiles stream and their matrices simply add. Row `c - 1` is truth class `c`, column
`k - 1` is cluster `k`. A pixel counts when truth and map both say something: truth 0 (unlabelled)
is left out, and so is map 0 (no data), because what is no data is decided by the sensor's file and
the user's mask and never by the clustering.

Cluster ids mean nothing by themselves. IoU, Dice, accuracy and kappa therefore need a table
cluster -> class (`map_clusters`); NMI, ARI and variation of information do not. Logarithms are
natural.

References:
    NMI, ARI and variation of information: `dgc_jax.model.information`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dgc_jax.errors import InputError
from dgc_jax.model.information import (
    adjusted_rand_index,
    normalised_mutual_information,
    variation_of_information,
)

_BLOCK = 1 << 22  # pixels counted at a time: the int64 copies stay below 100 MB


def confusion(truth: np.ndarray, labels: np.ndarray, classes: int, clusters: int) -> np.ndarray:
    """Counts how often each cluster fell on each class.

    Args:
        truth: `[row, column]` integers, 0 = unlabelled, 1..classes.
        labels: `[row, column]` integers, 0 = no data, 1..clusters.
        classes: number of classes C.
        clusters: number of clusters K.

    Returns:
        `[class, cluster]` int64; matrices of several tiles or scenes may be added.

    Raises:
        InputError: the two maps differ in shape, are not integers, or hold a value out of range.
    """
    truth, labels = np.asarray(truth), np.asarray(labels)
    if truth.shape != labels.shape:
        raise InputError(
            "the truth map",
            expected=f"the shape {labels.shape} of the label map",
            found=truth.shape,
            remedy="give a truth map of the same scene, pixel for pixel",
        )
    for name, values, most in (("truth", truth, classes), ("label", labels, clusters)):
        if not np.issubdtype(values.dtype, np.integer):
            raise InputError(
                f"the {name} map",
                expected=f"integers 0..{most}",
                found=f"numbers of type {values.dtype}",
                remedy="convert it first",
            )
        if values.size and (values.min() < 0 or values.max() > most):
            raise InputError(
                f"the {name} map",
                expected=f"integers 0..{most}",
                found=f"{values.min()}..{values.max()}",
                remedy="correct the map or the number of "
                f"{'classes' if name == 'truth' else 'clusters'}",
            )
    counts = np.zeros((classes + 1) * (clusters + 1), np.int64)
    flat_truth, flat_labels = truth.reshape(-1), labels.reshape(-1)
    for start in range(0, flat_truth.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        pairs = flat_truth[block].astype(np.int64) * (clusters + 1) + flat_labels[block]
        counts += np.bincount(pairs, minlength=counts.size)
    return counts.reshape(classes + 1, clusters + 1)[1:, 1:]


def fold(counts: np.ndarray, lookup: np.ndarray, clusters: int) -> np.ndarray:
    """The counts of a coarser map.

    Args:
        counts: `[class, cluster]` int64.
        lookup: `[cluster]` id in the coarser map, from 1, of each cluster.
        clusters: number of clusters of the coarser map.

    Returns:
        `[class, clusters]` int64.
    """
    return counts @ (np.asarray(lookup)[:, None] == np.arange(1, clusters + 1)).astype(np.int64)


def map_clusters(counts: np.ndarray, method: str | Sequence[int] = "auto") -> tuple[int, ...]:
    """Says which class each cluster stands for.

    Args:
        counts: `[class, cluster]` int64.
        method: "majority" (the class most of the cluster's pixels have; several clusters may share
            a class), "hungarian" (one to one, most pixels right in total), "auto" (hungarian when
            there are as many clusters as classes, else majority), or the table itself: a class
            1..C, or 0 for none, for each cluster.

    Returns:
        The class 1..C of each cluster; 0 where it stands for none (it never met a labelled pixel,
        or the one-to-one assignment had no class left).

    Raises:
        InputError: an unknown method, or a table that does not fit.
    """
    classes, clusters = counts.shape
    if not isinstance(method, str):
        table = tuple(int(value) for value in method)
        if len(table) != clusters or not all(0 <= value <= classes for value in table):
            raise InputError(
                "the cluster table",
                expected=f"one class 0..{classes} for each of {clusters} clusters",
                found=table,
                remedy="correct it",
            )
        return table
    if method not in ("auto", "majority", "hungarian"):
        raise InputError(
            "mapping=",
            expected='"auto", "majority" or "hungarian"',
            found=f'"{method}"',
            remedy="choose one of them",
        )
    if method == "hungarian" or (method == "auto" and classes == clusters):
        from scipy.optimize import linear_sum_assignment  # only here: it takes time to import

        table_array = np.zeros(clusters, int)
        rows, columns = linear_sum_assignment(counts, maximize=True)
        table_array[columns] = rows + 1
    else:
        table_array = np.where(counts.sum(0) > 0, counts.argmax(0) + 1, 0)
    return tuple(int(value) for value in table_array)


def apply_table(counts: np.ndarray, table: Sequence[int]) -> np.ndarray:
    """Adds up the columns of clusters that stand for the same class.

    Args:
        counts: `[class, cluster]` int64.
        table: class 1..C of each cluster, 0 for none.

    Returns:
        `[class, class + 1]` int64; column `c - 1` is what is predicted as class `c`, the last
        column what is predicted as no class at all (always wrong).
    """
    classes = counts.shape[0]
    mapped = np.zeros((classes, classes + 1), np.int64)
    for cluster, value in enumerate(table):
        mapped[:, value - 1] += counts[:, cluster]  # value 0 lands in the last column
    return mapped


def iou(mapped: np.ndarray) -> np.ndarray:
    """Intersection over union of each class; NaN for a class without truth pixels.

    Args:
        mapped: `[class, class + 1]` from `apply_table`.

    Returns:
        `[class]` float64.
    """
    right, truth, predicted = _marginals(mapped)
    return _ratio(right, truth + predicted - right, truth > 0)


def dice(mapped: np.ndarray) -> np.ndarray:
    """Dice coefficient (F1) of each class; NaN for a class without truth pixels.

    Args:
        mapped: `[class, class + 1]` from `apply_table`.

    Returns:
        `[class]` float64.
    """
    right, truth, predicted = _marginals(mapped)
    return _ratio(2 * right, truth + predicted, truth > 0)


def accuracy(mapped: np.ndarray) -> float:
    """Share of pixels whose cluster stands for their class; NaN without pixels."""
    total = int(mapped.sum())
    return int(np.trace(mapped)) / total if total else math.nan


def kappa(mapped: np.ndarray) -> float:
    """Cohen's kappa: agreement beyond chance; NaN without pixels or where chance explains all."""
    right, truth, predicted = _marginals(mapped)
    total = int(truth.sum())
    # Python integers: the products of marginals pass 2**63 from about 3e9 pixels on.
    chance = sum(int(t) * int(p) for t, p in zip(truth, predicted, strict=True))
    if total == 0 or chance == total**2:
        return math.nan
    return (total * int(right.sum()) - chance) / (total**2 - chance)


def background_tissue(
    counts: np.ndarray, background: Sequence[int] = (1, 2)
) -> dict[str, float | None]:
    """The paper's score: every cluster by majority on background or tissue, then the two IoUs.

    Args:
        counts: `[class, cluster]` int64.
        background: classes (1..C) that are background; the others are tissue.

    Returns:
        `background_iou`, `tissue_iou` and their mean `background_tissue_mean_iou`; None for a side
        without truth pixels, which the mean leaves out.

    Raises:
        InputError: `background` names a class that does not exist, or all of them or none.
    """
    classes = counts.shape[0]
    if not set(background) < set(range(1, classes + 1)) or not background:
        raise InputError(
            "data.background",
            expected=f"some but not all of the classes 1..{classes}",
            found=tuple(background),
            remedy="correct it",
        )
    rows = np.array([value in background for value in range(1, classes + 1)])
    two = np.stack([counts[rows].sum(0), counts[~rows].sum(0)])
    values = iou(apply_table(two, map_clusters(two, "majority")))
    return {
        "background_iou": _or_none(values[0]),
        "tissue_iou": _or_none(values[1]),
        "background_tissue_mean_iou": _mean_or_none(values),
    }


def scores(
    counts: np.ndarray,
    class_names: Sequence[str],
    background: Sequence[int] | None = None,
    table: str | Sequence[int] | None = None,
) -> dict[str, Any]:
    """Every score of a run, as `summary.json` holds them.

    Args:
        counts: `[class, cluster]` int64, summed over the scenes.
        class_names: name of each class, all different.
        background: classes (1..C) that count as background, or None for data without such a
            division (the three background/tissue scores are then left out).
        table: how clusters become classes, see `map_clusters`; None for "auto".

    Returns:
        `iou` and `dice` (name -> value), `mean_iou`, `mean_dice`, `accuracy`, `kappa`, `nmi`,
        `ari`, `vi` (nats), `cluster_to_class` (cluster id as text -> class name or None) and, with
        `background`, what `background_tissue` gives. Plain Python numbers, None where a score is
        not defined (a class without truth pixels, which the means leave out), never NaN.

    Raises:
        InputError: names that do not fit the classes, or a bad `background` or `table`.
    """
    names = list(class_names)
    if len(names) != counts.shape[0] or len(set(names)) != len(names):
        raise InputError(
            "data.classes",
            expected=f"{counts.shape[0]} different names, one a class",
            found=tuple(names),
            remedy="correct it",
        )
    chosen = map_clusters(counts, "auto" if table is None else table)
    mapped = apply_table(counts, chosen)
    each_iou, each_dice = iou(mapped), dice(mapped)
    result: dict[str, Any] = {
        "iou": {name: _or_none(value) for name, value in zip(names, each_iou, strict=True)},
        "mean_iou": _mean_or_none(each_iou),
        "dice": {name: _or_none(value) for name, value in zip(names, each_dice, strict=True)},
        "mean_dice": _mean_or_none(each_dice),
    }
    if background is not None:
        result |= background_tissue(counts, background)
    return result | {
        "accuracy": _or_none(accuracy(mapped)),
        "kappa": _or_none(kappa(mapped)),
        "nmi": _or_none(normalised_mutual_information(counts)),
        "ari": _or_none(adjusted_rand_index(counts)),
        "vi": _or_none(variation_of_information(counts)),
        "cluster_to_class": {
            str(cluster): names[value - 1] if value else None
            for cluster, value in enumerate(chosen, 1)
        },
    }


def _marginals(mapped: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels right, true and predicted of each class, `[class]` int64 each."""
    return np.diagonal(mapped), mapped.sum(1), mapped.sum(0)[: len(mapped)]


def _ratio(above: np.ndarray, below: np.ndarray, defined: np.ndarray) -> np.ndarray:
    return np.where(defined, above / np.maximum(below, 1), np.nan)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _mean_or_none(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None
