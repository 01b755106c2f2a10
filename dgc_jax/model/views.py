"""What a trained cluster is like, in four views, and the tree that joins clusters alike in them.

A single distance loses what the map knows: two crops differ in the shape of their spectra, flat and
textured rubber in brightness, a roof and a road in what lies around them, and the dark side of a
leaf passes into its bright side where a lesion does not. A cluster k of n_k pixels has a mean
spectrum S_k; its pixels have assignments q_ij; N_kj says how often a pixel of cluster j lies four
pixels from one of k, to the right, below, or along a diagonal. It is seen as

    shape        unit(sqrt(S_k))                 the square root as in Hellinger's distance
    brightness   sqrt(S_k)
    passage      sqrt((P^t)_k),   P = rows(O + O^T),  O_kj = sum over pixels i of k of q_ij
    place        sqrt((P^2)_k),   P = rows(N)

where rows() makes each row sum to 1. Passage is a diffusion (Coifman & Lafon 2006): clusters that
divide a gradient between them lead into each other within a few steps, those apart do not. Place
is the neighbours of its neighbours. Each view is centred and divided by its total standard
deviation over the pixels, so that all count alike but for what a `Weighting` says; then groups
j, k are joined for which Ward's cost

    w_j w_k / (w_j + w_k) |v_j - v_k|^2          w_k = n_k^a at first

is least (Ward 1963; in the form of Lance & Williams 1967), where a mixture of other clusters
(`dgc_jax.model.mixtures`) is seen as its host is, and so joins it first. With the pixels
themselves as weights (a = 1) a small class would cost nothing to swallow; with equal weights
(a = 0) the tree would follow the many small clusters there are.

No single weighting does for all scenes: fields are told apart by their place, while on leaves of
many greens, some with lesions, long passage has to count most. `WEIGHTINGS` are those that vote:
trees of several banks by each are compared, and the one in the middle is taken (`medoid`).

All of it is NumPy in float64 over tables of clusters, gathered crop by crop; no map is needed.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int, Int64, Real

from dgc_jax.model import information, mixtures

DISTANCE = 4
"""Pixels from a pixel to the neighbours that say where a cluster lives; 1 and 8 do as well."""


class Weighting(NamedTuple):
    """How much the views and the clusters count.

    Attributes:
        exponent: a cluster weighs this power of its pixels.
        passage: how much passage counts, in squared distances, where shape and brightness count 1.
        place: how much place counts.
        steps: t, of the diffusion from a cluster into those its pixels are nearly in.
    """

    exponent: float
    passage: float
    place: float
    steps: int


WEIGHTINGS = (
    Weighting(0.5, 2.0, 1.0, 64),
    Weighting(0.75, 2.0, 1.0, 64),
    Weighting(0.5, 4.0, 0.6, 128),
    Weighting(0.75, 4.0, 0.6, 128),
)
"""Of the trees that vote; measured on fields, towns and leaves of two simulators."""


class Description(NamedTuple):
    """Sums over pixels that say what each cluster is like; those of several crops add.

    Attributes:
        counts: `[K]` int64 pixels.
        spectra: `[K, bin]` float64 mean reflectance; 0 for clusters without pixels.
        overlap: `[K, K]` float64, row k the sum over the pixels of k of their assignments.
        neighbours: `[K, K]` int64 pairs of pixels `DISTANCE` apart, symmetric.
        between: `[K, K, K]` int64, `[k, a, b]` how often a pixel of k is in the middle of one of a
            and one of b, `DISTANCE` away on opposite sides; see `dgc_jax.model.mixtures`.
    """

    counts: np.ndarray
    spectra: np.ndarray
    overlap: np.ndarray
    neighbours: np.ndarray
    between: np.ndarray


def neighbours(
    labels: Int[np.ndarray, "... row column"], clusters: int, distance: int = DISTANCE
) -> Int64[np.ndarray, "{clusters} {clusters}"]:
    """Counts how often clusters lie `distance` pixels apart.

    Args:
        labels: `[..., row, column]` integers from 0; -1 where invalid, which is no neighbour.
        clusters: number of clusters K.
        distance: pixels to the right, below, and along both diagonals.

    Returns:
        `[K, K]` int64, symmetric: each pair of pixels is counted from both ends.
    """
    d, rows, columns = distance, *labels.shape[-2:]
    table = np.zeros(clusters * clusters, np.int64)
    for down, right in ((0, d), (d, 0), (d, d), (d, -d)):
        if down >= rows or abs(right) >= columns:
            continue
        first = labels[..., : rows - down, max(0, -right) : columns - max(0, right)]
        second = labels[..., down:, max(0, right) : columns + min(0, right)]
        both = (first >= 0) & (second >= 0)
        pair = first[both].astype(np.int64) * clusters + second[both]
        table += np.bincount(pair, minlength=clusters * clusters)
    one_way = table.reshape(clusters, clusters)
    return one_way + one_way.T


def views(described: Description, weighting: Weighting) -> tuple[Float64[np.ndarray, "K _"], ...]:
    """The four views of each cluster, on one scale.

    Args:
        described: K clusters that all have pixels.
        weighting: how much passage and place count.

    Returns:
        Shape `[K, bin]`, brightness `[K, bin]`, passage `[K, K]` and place `[K, K]`, each with mean
        0 and total variance 1 over the pixels, but for the weights of passage and place (0 where
        all clusters are alike).
    """
    roots = np.sqrt(np.maximum(described.spectra, 0))
    length = np.linalg.norm(roots, axis=1, keepdims=True)
    passage = np.linalg.matrix_power(
        _rows(described.overlap + described.overlap.T), weighting.steps
    )
    place = np.linalg.matrix_power(_rows(described.neighbours), 2)
    shares = described.counts / described.counts.sum()
    shape, brightness, passage, place = (
        _standardised(view, shares)
        for view in (roots / np.maximum(length, 1e-12), roots, np.sqrt(passage), np.sqrt(place))
    )
    scaled = math.sqrt(weighting.passage) * passage, math.sqrt(weighting.place) * place
    return shape, brightness, *scaled


def _rows(table: np.ndarray) -> np.ndarray:
    """`[K, K]` with rows that sum to 1; a cluster that meets none is its own."""
    met = table.sum(axis=1, keepdims=True)
    return np.where(met > 0, table / np.where(met > 0, met, 1), np.eye(len(table)))


def _standardised(view: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Takes mean and total standard deviation away from `[K, feature]`, by the pixels' shares."""
    centred = view - shares @ view
    total = float(np.sqrt(shares @ np.sum(centred**2, axis=1)))
    size = float(np.sqrt(shares @ np.sum(view**2, axis=1)))
    # What rounding leaves of clusters that are all alike says nothing.
    return centred / total if total > 1e-7 * size else np.zeros_like(centred)


def linkage(described: Description, weighting: Weighting) -> Float64[np.ndarray, "joins 4"]:
    """The tree of the clusters that have pixels.

    Args:
        described: K clusters, of which L have pixels.
        weighting: how much views and clusters count.

    Returns:
        `[L - 1, 4]` linkage matrix of `scipy.cluster.hierarchy` over the clusters with pixels in
        their order: the two groups joined, the square root of twice the cost (Ward's distance for
        weights 1), the clusters in the new group.

    Raises:
        ValueError: if no cluster has pixels.
    """
    live = np.flatnonzero(described.counts > 0)
    if not len(live):
        raise ValueError("linkage: expected clusters with pixels, found none.")
    described = Description(
        described.counts[live],
        described.spectra[live],
        described.overlap[np.ix_(live, live)],
        described.neighbours[np.ix_(live, live)],
        described.between[np.ix_(live, live, live)],
    )
    every = np.concatenate(views(described, weighting), axis=1)
    every = every[mixtures.hosts(described.spectra, described.between)]
    return ward(every, described.counts.astype(np.float64) ** weighting.exponent)


def ward(
    points: Float[np.ndarray, "n feature"], weights: Real[np.ndarray, " n"]
) -> Float64[np.ndarray, "n-1 4"]:
    """Ward's linkage of weighted points, which SciPy's has no weights for.

    Args:
        points: `[n, feature]`.
        weights: `[n]`, above 0.

    Returns:
        `[n - 1, 4]` linkage matrix, see `linkage`.
    """
    number = len(points)
    weights = np.array(weights, np.float64)
    square = np.sum((points[:, None] - points[None, :]) ** 2, axis=-1)
    cost = weights[:, None] * weights[None, :] / (weights[:, None] + weights[None, :]) * square
    np.fill_diagonal(cost, np.inf)
    names, sizes = np.arange(number), np.ones(number)
    tree = np.zeros((number - 1, 4))
    for row in range(number - 1):
        i, j = np.unravel_index(np.argmin(cost), cost.shape)  # i < j: the first of two equals
        least = cost[i, j]
        tree[row] = *sorted((names[i], names[j])), np.sqrt(2 * least), sizes[i] + sizes[j]
        away = (weights[i] + weights) * cost[i] + (weights[j] + weights) * cost[j]
        away = (away - weights * least) / (weights[i] + weights[j] + weights)
        cost[i, :] = cost[:, i] = away
        cost[j, :] = cost[:, j] = cost[i, i] = np.inf
        weights[i], sizes[i], names[i] = weights[i] + weights[j], tree[row, 3], number + row
    return tree


class Choice(NamedTuple):
    """One of several cuts.

    Attributes:
        position: its position among them.
        agreement: mean adjusted Rand index between it and the others; 1 if there is no other.
    """

    position: int
    agreement: float


def medoid(
    groups: Sequence[Int[np.ndarray, " _"]],
    tables: Sequence[Sequence[Real[np.ndarray, "_ _"]]],
) -> Choice:
    """The grouping that agrees best with all the others, by the adjusted Rand index.

    A single cut is noisy; the one in the middle of several is less so, and how well they agree says
    how far to trust it.

    Args:
        groups: of each candidate `[K]` the group of each cluster, from 0.
        tables: `tables[a][b]`, `[K_a, K_b]` pixels that candidate a has in one cluster and b in
            another.

    Returns:
        The candidate and its agreement; the first of equals.
    """
    number = len(groups)
    if number == 1:
        return Choice(0, 1.0)
    onto = [np.eye(int(of.max()) + 1, dtype=np.int64)[of] for of in groups]
    agreement = np.zeros((number, number))
    for a in range(number):
        for b in range(a):
            folded = onto[a].T @ tables[a][b] @ onto[b]
            agreement[a, b] = agreement[b, a] = information.adjusted_rand_index(folded)
    mean = agreement.sum(axis=1) / (number - 1)
    best = int(np.argmax(np.round(mean, 9)))  # equal ones differ by rounding
    return Choice(best, float(mean[best]))
