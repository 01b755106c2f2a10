"""How far several models of the same scenes agree, at every level of their merge trees.

The models differ in the seed alone. What is kept of their maps is a table of counts for each pair
of models, `[K_first, K_second]` int64 at their finest levels, so that scenes stream and their
tables add. A coarser level needs no second look at the maps: joining clusters adds rows and
columns. Pixels count where both models say something; 0 is no data.

A level is that of so many groups. Where a *cut* is asked for, it is what
`dgc_jax.model.tree.cut_ids` gives: `[K]` the id, from 1, of each cluster's group. Groups are
in the order of these ids.

References:
    Hubert & Arabie 1985, Comparing partitions (adjusted Rand index, ARI).
    Vinh, Epps & Bailey 2010, Information theoretic measures for clusterings comparison (NMI).
    Hennig 2007, Cluster-wise assessment of cluster stability (best Jaccard overlap).
    Kuhn 1955, The Hungarian method for the assignment problem.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.signal
from scipy.optimize import linear_sum_assignment

from dgc_jax.apply import metrics

TOLERANCE = 0.02
"""Mean ARI by which a level may stay below the best one and still count as stable."""

Tables = Mapping[tuple[int, int], np.ndarray]
"""Counts of the pixels of each pair of models, `{(first, second): [K_first, K_second]}`."""


def count(maps: Sequence[np.ndarray], clusters: Sequence[int]) -> dict[tuple[int, int], np.ndarray]:
    """Counts how the clusters of each two models fall on each other in one scene.

    Args:
        maps: `[row, column]` uint8 of each model, 0 = no data, 1..K.
        clusters: number of clusters K of each model.

    Returns:
        `{(first, second): [K_first, K_second]}` int64 for first < second.

    Raises:
        InputError: if the maps differ in shape or hold other numbers.
    """
    return {
        (i, j): metrics.confusion(maps[i], maps[j], clusters[i], clusters[j])
        for i, j in itertools.combinations(range(len(maps)), 2)
    }


def add(tables: Tables | None, more: Tables) -> Tables:
    """Adds the counts of another scene; None is no scene yet."""
    return more if tables is None else {pair: tables[pair] + more[pair] for pair in more}


def between(tables: Tables, first: int, second: int) -> np.ndarray:
    """The counts `[K_first, K_second]` of two models, in any order."""
    return tables[first, second] if first < second else tables[second, first].T


def fold(counts: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The counts of two coarser maps.

    Args:
        counts: `[K_first, K_second]` int64 of the finest maps.
        rows: `[K_first]` cut of the first model.
        columns: `[K_second]` cut of the second.

    Returns:
        `[group, group]` int64.
    """
    down, across = (np.unique(cut, return_inverse=True)[1] for cut in (rows, columns))
    folded = np.zeros((down.max() + 1, across.max() + 1), np.int64)
    np.add.at(folded, (down[:, None], across[None, :]), counts)
    return folded


def pairwise(
    tables: Tables, cuts: Sequence[np.ndarray], measure: Callable[[np.ndarray], float]
) -> np.ndarray:
    """A measure of agreement between each two models at one level.

    Args:
        tables: counts at the finest levels.
        cuts: of each model, all at one level.
        measure: of a table of counts, such as `dgc_jax.apply.metrics.adjusted_rand_index`.

    Returns:
        `[model, model]` float64, symmetric, 1 on the diagonal.
    """
    values = np.eye(len(cuts))
    for i, j in tables:
        values[i, j] = values[j, i] = measure(fold(tables[i, j], cuts[i], cuts[j]))
    return values


def medoid(agreement: np.ndarray) -> int:
    """The model that agrees best with the others on average; the first of equal ones.

    Args:
        agreement: `[model, model]`, symmetric.
    """
    return int(np.argmax(agreement.sum(axis=1)))


def best_overlaps(counts: np.ndarray) -> np.ndarray:
    """How well each group of one map is found again in another: its best Jaccard overlap.

    max_j |A_i and B_j| / |A_i or B_j|, in pixels.

    Args:
        counts: `[group, group]` int64 of the two maps.

    Returns:
        `[group]` float64, 0..1, of the first map's groups; NaN for one without pixels.
    """
    mine, theirs = counts.sum(axis=1), counts.sum(axis=0)
    either = mine[:, None] + theirs[None, :] - counts
    return np.where(mine > 0, np.max(counts / np.maximum(either, 1), axis=1), np.nan)


def align(counts: np.ndarray, ids: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Gives the groups of a model the ids of the reference's groups that they match.

    One to one, so that the most pixels agree (Hungarian method).

    Args:
        counts: `[reference's group, model's group]` int64, square.
        ids: `[group]` ids of the reference's groups, ascending.
        cut: `[K]` of the model.

    Returns:
        `[K + 1]` uint8 table: the reference's id for each label of the model's finest map; 0 stays.
    """
    rows, columns = linear_sum_assignment(counts, maximize=True)
    matched = np.zeros(len(ids), np.uint8)
    matched[columns] = np.asarray(ids)[rows]
    group = np.unique(cut, return_inverse=True)[1]
    return np.concatenate([[0], matched[group]]).astype(np.uint8)


class Vote(NamedTuple):
    """What several maps say together.

    Attributes:
        labels: `[row, column]` uint8, the label that most maps give.
        votes: `[row, column]` uint8, how many maps give it; 0 where there is no data.
    """

    labels: np.ndarray
    votes: np.ndarray


def vote(maps: Sequence[np.ndarray]) -> Vote:
    """The label that most maps give each pixel.

    Of labels with equally many votes it is the one that the earliest map gives: that of the
    reference, if it is among them.

    Args:
        maps: `[row, column]` uint8 with the same ids, the reference's first; 0 = no data.
    """
    winner, most = np.zeros_like(maps[0]), np.zeros(maps[0].shape, np.uint8)
    for mine in maps:
        # Comparing map with map needs no memory for every label.
        votes = np.zeros(mine.shape, np.uint8)
        for other in maps:
            votes += mine == other
        better = votes > most
        winner[better], most[better] = mine[better], votes[better]
    most[winner == 0] = 0
    return Vote(winner, most)


class Stable(NamedTuple):
    """Which numbers of clusters the models agree on.

    Attributes:
        within: levels whose mean ARI is within the tolerance of the best.
        suggested: the finest of them.
        peaks: levels where the mean ARI has a local maximum that rises by at least the tolerance
            above the lowest level between it and a better one (topographic prominence).
    """

    within: tuple[int, ...]
    suggested: int
    peaks: tuple[int, ...]


def stable_levels(agreement: Mapping[int, float], tolerance: float = TOLERANCE) -> Stable:
    """Finds the levels that seeds agree on.

    ARI is corrected for chance, so that levels of few and many clusters compare.

    Args:
        agreement: mean ARI by number of clusters, which follow on each other.
        tolerance: see `Stable.within`.
    """
    levels = sorted(agreement)
    values = np.array([agreement[k] for k in levels])
    within = tuple(k for k in levels if agreement[k] >= values.max() - tolerance)
    walled = np.concatenate([[-np.inf], values, [-np.inf]])  # so that the ends may be peaks
    peaks = scipy.signal.find_peaks(walled, prominence=tolerance)[0] - 1
    return Stable(within, within[-1], tuple(levels[peak] for peak in peaks))
