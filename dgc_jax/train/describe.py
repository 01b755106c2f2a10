"""What the trained clusters are like over sample crops, and the tree that is chosen for them.

A tree made once depends on where the centroids happened to start. Therefore several banks are
found over the trained embedding, the trained one and others by k-means++; each is described by the
same crops and joined by each weighting of `dgc_jax.model.views`; and of all these trees that one
is taken whose cut agrees best with the cuts of the others. How well they agree is a number for the
user: what of the map would be the same with other starts.

Crops stream: one batch is held at a time, and what is kept are tables of clusters.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgc_jax import processes
from dgc_jax.errors import InputError
from dgc_jax.model import centroids, mixtures, views
from dgc_jax.model.model import Model
from dgc_jax.model.tree import cut_tree
from dgc_jax.train.state import embeddings

RARE = 0.01  # share of the sample pixels that stay below the similarity floor; measured
_COSINES = np.round(np.linspace(-1, 1, 20_001), 4)  # edges of a histogram

Sample = Iterable[tuple[np.ndarray, np.ndarray]]
"""Crops `[crop, row, column, band]` and their validity `[crop, row, column]`, pair by pair."""


class Described(NamedTuple):
    """The clusters of a bank.

    Attributes:
        bank: `[K, embedding]` unit centroids.
        clusters: what they are like.
        floor: the cosine to the nearest centroid that `RARE` of the pixels, or a few less, stay
            below. A pixel below it is unlike any cluster.
        tree: `[L - 1, 4]` linkage matrix over those with pixels.
        agreement: mean adjusted Rand index between the cut of this tree and those of the others; 1
            if there are no others.
    """

    bank: np.ndarray
    clusters: views.Description
    floor: float
    tree: np.ndarray
    agreement: float


def describe(model: Model, banks: np.ndarray, sample: Sample, *, clusters: int) -> Described:
    """Describes the clusters of several banks, and chooses one and its tree.

    Args:
        model: whose embedding it is.
        banks: `[bank, K, embedding]`, see `find_banks`.
        sample: crops that describe the clusters. Of many processes each has some.
        clusters: number of groups of the cuts that are compared.

    Raises:
        InputError: if no pixel of the sample is valid.
    """
    found, tables, floors = gather(model, banks, sample)
    if not found[0].counts.any():
        raise InputError(
            "clusters.sample",
            expected="crops with valid pixels",
            found="none",
            remedy="raise clusters.sample",
        )
    trees = [(b, views.linkage(one, a)) for b, one in enumerate(found) for a in views.WEIGHTINGS]
    cuts = [_groups(tree, found[b].counts, clusters) for b, tree in trees]
    choice = views.medoid(cuts, [[tables[a][b] for b, _ in trees] for a, _ in trees])
    chosen, tree = trees[choice.position]
    return Described(banks[chosen], found[chosen], floors[chosen], tree, choice.agreement)


def _groups(tree: np.ndarray, counts: np.ndarray, clusters: int) -> np.ndarray:
    """Group of each cluster, from 0; those without pixels are in the first, which costs nothing."""
    groups = np.zeros(len(counts), int)
    groups[counts > 0] = cut_tree(tree, clusters)
    return groups


def find_banks(
    model: Model,
    key: jax.Array,
    crops: np.ndarray,
    valid: np.ndarray,
    *,
    starts: int,
    pixels: int,
) -> np.ndarray:
    """The trained bank, and others that k-means++ finds.

    Args:
        model: the trained one.
        key: the key of the run.
        crops: `[crop, row, column, band]` reflectance; the same in all processes.
        valid: `[crop, row, column]` bool.
        starts: number of banks; 1 is the trained one alone.
        pixels: embeddings that a further bank is found from.

    Returns:
        `[starts, K, embedding]`.
    """
    trained = np.asarray(model.centroids)
    if starts == 1:
        return trained[None]
    z = embeddings(model, crops, valid)
    # Neither steps nor the start draw from this key.
    key = jax.random.fold_in(key, 2**32 - 3)
    banks = [trained]
    for number in range(1, starts):
        draw, begin = jax.random.split(jax.random.fold_in(key, number))
        some = np.asarray(jax.random.permutation(draw, len(z))[: max(pixels, len(trained))])
        banks.append(np.asarray(centroids.start(begin, jnp.asarray(z[some]), len(trained))))
    return processes.from_first(np.stack(banks))


def gather(
    model: Model, banks: np.ndarray, sample: Sample
) -> tuple[list[views.Description], Sequence[Sequence[np.ndarray]], list[float]]:
    """Describes the clusters of several banks over the same crops.

    Args:
        model: its network embeds the crops.
        banks: `[bank, K, embedding]`.
        sample: crops and their validity; of many processes each has some.

    Returns:
        A description a bank; `[a][b]` the table `[K, K]` of pixels that bank a has in one cluster
        and bank b in another; and a similarity floor a bank.
    """
    number, clusters = banks.shape[:2]
    weights = np.asarray(model.normalisation.bins)
    total = np.zeros((number, clusters, weights.shape[1]))
    overlap = np.zeros((number, clusters, clusters))
    near = np.zeros((number, clusters, clusters), np.int64)
    middle = np.zeros((number, clusters, clusters, clusters), np.int64)
    tables = np.zeros((number, number, clusters * clusters), np.int64)
    cosines = np.zeros((number, len(_COSINES) - 1), np.int64)
    most = 0
    for crops, valid in sample:
        if not len(crops):
            continue
        most = max(most, len(crops))
        crops, valid = (_filled(array, most) for array in (crops, valid))
        labels, similarity, soft = (np.asarray(x) for x in _assigned(model, banks, crops, valid))
        overlap += soft
        binned = crops[valid] @ weights
        for b in range(number):
            own = labels[b][valid].astype(np.int64)
            np.add.at(total[b], own, binned)
            whole = np.where(valid, labels[b], -1)
            near[b] += views.neighbours(whole, clusters)
            middle[b] += mixtures.between(whole, clusters, views.DISTANCE)
            cosines[b] += np.histogram(np.clip(similarity[b][valid], -1, 1), _COSINES)[0]
            for a in range(b + 1):
                pair = labels[a][valid].astype(np.int64) * clusters + own
                tables[a, b] += np.bincount(pair, minlength=clusters**2)
    total, overlap, near, middle, tables, cosines = (
        processes.summed(each) for each in (total, overlap, near, middle, tables, cosines)
    )
    square = tables.reshape(number, number, clusters, clusters)
    each = range(number)
    both = [[square[a, b] if a <= b else square[b, a].T for b in each] for a in each]
    found = []
    for b in range(number):
        counts = np.diagonal(both[b][b]).copy()
        means = total[b] / np.maximum(counts, 1)[:, None]
        found.append(views.Description(counts, means, overlap[b], near[b], middle[b]))
    rare = np.cumsum(cosines, axis=1) <= RARE * cosines.sum(axis=1, keepdims=True)
    return found, both, [float(_COSINES[np.count_nonzero(row)]) for row in rare]


def _filled(array: np.ndarray, number: int) -> np.ndarray:
    """The array `[crop, ...]` with zeros (invalid pixels) up to a number, for one compilation."""
    return np.pad(array, [(0, number - len(array)), *[(0, 0)] * (array.ndim - 1)])


@jax.jit
def _assigned(
    model: Model, banks: jax.Array, crops: jax.Array, valid: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Labels and greatest cosines `[bank, crop, row, column]`, overlaps `[bank, K, K]`."""
    z = model.embeddings(crops, valid)

    def one(bank: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        labels = centroids.nearest(z, bank)
        q = jnp.exp(centroids.assign(z, bank, model.temperature))
        member = jax.nn.one_hot(labels, len(bank)) * valid[..., None]
        overlap = jnp.einsum("crwj,crwk->jk", member, q)
        return labels, jnp.max(z @ bank.T, axis=-1), overlap

    return jax.lax.map(one, jnp.asarray(banks))
