"""The bank of global centroids: its start, the assignment to it, its moving average, its tree.

The bank is `[cluster, embedding]` with rows of unit length. It is explicit state, not a
parameter: no gradient reaches it, it follows the assigned embeddings as an exponential moving
average. Training keeps more centroids than there are classes, because a balanced use of 32
centroids leaves room for a lesion of 2 %, and a balanced use of 4 does not; afterwards they are
merged along a tree over their mean spectra.

Source: Deep Global Clustering, sections "Unrolled mean shift" and "Centroid update"; k-means++:
Arthur & Vassilvitskii (2007), on the sphere: Hornik et al. (2012).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


def unit(vectors: jax.Array) -> jax.Array:
    """Scales `[..., embedding]` to length 1; zero vectors stay zero."""
    return vectors * jax.lax.rsqrt(jnp.sum(vectors**2, axis=-1, keepdims=True) + 1e-12)


# --- start


@functools.partial(jax.jit, static_argnames=("clusters", "restarts", "iterations"))
def start(
    key: jax.Array, embeddings: jax.Array, clusters: int, *, restarts: int = 5, iterations: int = 15
) -> jax.Array:
    """Spherical k-means++ with Lloyd iterations; the best of several restarts.

    Args:
        key: PRNG key.
        embeddings: `[pixel, embedding]`, of unit length.
        clusters: number of centroids K.
        restarts: independent starts.
        iterations: Lloyd iterations for each.

    Returns:
        `[K, embedding]` unit centroids with the least mean of 1 - cosine.
    """

    def once(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        bank = _lloyd(_plus_plus(key, embeddings, clusters), embeddings, iterations)
        return bank, jnp.mean(1 - jnp.max(embeddings @ bank.T, axis=1))

    banks, errors = jax.lax.map(once, jax.random.split(key, restarts))
    return banks[jnp.argmin(errors)]


@functools.partial(jax.jit, static_argnames="clusters")
def random_start(key: jax.Array, embeddings: jax.Array, clusters: int) -> jax.Array:
    """K random pixels as centroids: the start that makes the published method unstable."""
    chosen = jax.random.choice(key, embeddings.shape[0], (clusters,), replace=False)
    return embeddings[chosen]


def _plus_plus(key: jax.Array, embeddings: jax.Array, clusters: int) -> jax.Array:
    """k-means++: each next centroid is a pixel drawn in proportion to its distance 1 - cosine."""
    first = embeddings[jax.random.randint(key, (), 0, embeddings.shape[0])]
    bank = jnp.zeros((clusters, embeddings.shape[1])).at[0].set(first)

    def add(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        bank, distance = carry
        # Adding a tiny constant keeps the draw defined when every pixel is a centroid already.
        chosen = jax.random.categorical(jax.random.fold_in(key, i), jnp.log(distance + 1e-12))
        centroid = embeddings[chosen]
        distance = jnp.minimum(distance, jnp.maximum(1 - embeddings @ centroid, 0))
        return bank.at[i].set(centroid), distance

    distance = jnp.maximum(1 - embeddings @ first, 0)
    return jax.lax.fori_loop(1, clusters, add, (bank, distance))[0]


def _lloyd(bank: jax.Array, embeddings: jax.Array, iterations: int) -> jax.Array:
    """Lloyd's iterations on the sphere; a centroid without pixels stays where it is."""

    def step(_: int, bank: jax.Array) -> jax.Array:
        member = jax.nn.one_hot(jnp.argmax(embeddings @ bank.T, axis=1), bank.shape[0])
        total = member.T @ embeddings
        return jnp.where((jnp.sum(member, axis=0) > 0)[:, None], unit(total), bank)

    return jax.lax.fori_loop(0, iterations, step, bank)


# --- assignment and moving average


def assign(embeddings: jax.Array, bank: jax.Array, temperature: float) -> jax.Array:
    """Soft assignment of unit embeddings to the centroids.

    Args:
        embeddings: `[..., embedding]`, of unit length.
        bank: `[K, embedding]`.
        temperature: of the softmax over cosines; the published fixed "concentration".

    Returns:
        `[..., K]` logarithms of the probabilities softmax_k(z . c_k / temperature).
    """
    return jax.nn.log_softmax((embeddings @ bank.T) / temperature, axis=-1)


def nearest(embeddings: jax.Array, bank: jax.Array) -> jax.Array:
    """`[...]` int32 index of the nearest centroid of `[..., embedding]`, from 0."""
    return jnp.argmax(embeddings @ bank.T, axis=-1).astype(jnp.int32)


def move(
    key: jax.Array,
    bank: jax.Array,
    embeddings: jax.Array,
    probabilities: jax.Array,
    *,
    decay: float,
    noise: float,
    dead: float = 1e-3,
) -> jax.Array:
    """One step of the exponential moving average, after backpropagation.

    c_k <- unit(decay c_k + (1 - decay) unit(sum_i q_ik z_i)). A centroid with less than
    `dead / K` of the pixels has nothing to follow; it is kicked by noise until it meets some.

    Args:
        key: PRNG key of the kick.
        bank: `[K, embedding]`.
        embeddings: `[pixel, embedding]` unit embeddings, zero where invalid.
        probabilities: `[pixel, K]`, zero where invalid.
        decay: share of the old centroid that is kept.
        noise: standard deviation of a kick in each dimension.
        dead: share of an even usage below which a centroid counts as dead.
    """
    mass = jnp.sum(probabilities, axis=0)  # [K]
    target = unit(probabilities.T @ embeddings)
    moved = unit(decay * bank + (1 - decay) * target)
    kicked = unit(bank + noise * jax.random.normal(key, bank.shape))
    # A batch without pixels says nothing of any centroid: all stay, none is dead.
    alive = mass >= dead / bank.shape[0] * jnp.sum(mass)
    return jax.lax.stop_gradient(jnp.where(alive[:, None], moved, kicked))


# --- the tree


class Merge(NamedTuple):
    """How the trained clusters become fewer.

    Attributes:
        lookup: `[K']` uint8 id, from 1, of every trained cluster at the level asked for.
        leaves: `[K']` uint8 id, 1..L, at the finest level, from which those of all levels follow
            (`cut_ids`).
        live: `[L]` indices of the trained clusters that have pixels, the leaves of the tree.
        tree: `[L - 1, 4]` linkage matrix over them.
    """

    lookup: np.ndarray
    leaves: np.ndarray
    live: np.ndarray
    tree: np.ndarray


def merge(spectra: np.ndarray, counts: np.ndarray, bank: np.ndarray, clusters: int) -> Merge:
    """Merges the trained clusters along a tree and numbers the groups from dark to bright.

    Args:
        spectra: `[K', band]` mean reflectance of each trained cluster.
        counts: `[K']` its pixels; some cluster must have any.
        bank: `[K', embedding]` unit centroids.
        clusters: number of groups at the level that is shown; fewer are left if fewer have pixels.
    """
    live = np.flatnonzero(counts > 0)
    tree = merge_tree(spectra[live], counts[live])
    leaves = number_leaves(tree, live, spectra, counts, bank, clusters)
    lookup = cut_ids(tree, live, leaves, min(clusters, len(live)))[leaves - 1]
    return Merge(lookup, leaves, live, tree)


def number_leaves(
    tree: np.ndarray,
    live: np.ndarray,
    spectra: np.ndarray,
    counts: np.ndarray,
    bank: np.ndarray,
    clusters: int,
) -> np.ndarray:
    """Ids of the finest level from which those of every other one follow by `cut_ids`.

    At the level of `clusters` groups ids run from 1, dark to bright. On the way down from k to
    k + 1 groups the larger part of the group that is split, by pixels, keeps its id and the other
    becomes k + 1, so that a finer level adds ids and leaves the others as they were.

    A cluster without pixels gets the id of the centroid nearest to its own, for the pixels that it
    may meet in other scenes.

    Args:
        tree: `[L - 1, 4]` linkage matrix.
        live: `[L]` indices of the trained clusters that are its leaves, at most 255.
        spectra: `[K', band]` mean reflectance of each trained cluster.
        counts: `[K']` its pixels.
        bank: `[K', embedding]` unit centroids.
        clusters: number of groups at the level that is numbered by brightness.

    Returns:
        `[K']` uint8 id, 1..L, of each trained cluster; those in `live` have one of their own.
    """
    number = min(clusters, len(live))
    pixels = counts[live]
    ids = order_by_brightness(cut_tree(tree, number), spectra[live], pixels)
    members = _members(tree)
    for row in range(len(live) - number - 1, -1, -1):  # the last of these joins was the first split
        # Of equal parts the one with the first cluster keeps the id.
        parts = sorted(
            (members[int(node)] for node in tree[row, :2]),
            key=lambda part: (-pixels[part].sum(), min(part)),
        )
        ids[parts[1]] = len(live) - row
    nearest_live = np.argmax(bank @ bank[live].T, axis=1)
    nearest_live[live] = np.arange(len(live))
    return ids[nearest_live]


def merge_tree(spectra: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Dendrogram of the clusters by the shape of their mean spectra.

    Ward's linkage of the spectra's square roots at unit length, that is, by Hellinger distance:
    the root lets differences among dark bands count, unit length lets a shaded part of a leaf join
    the leaf. Each cluster weighs the square root of its pixels: joining groups of weights u and v
    at a distance d costs u v / (u + v) d^2. With the pixels themselves as weights a small class
    would cost nothing to swallow; with equal weights the tree would follow the many small clusters
    of mixed pixels along edges. SciPy's Ward linkage has no weights, hence the loop.

    Args:
        spectra: `[cluster, band]` mean reflectance of each cluster.
        counts: `[cluster]` pixels; clusters without pixels must be left out by the caller.

    Returns:
        `[cluster - 1, 4]` linkage matrix of `scipy.cluster.hierarchy`: the two groups joined,
        the square root of twice the cost (Ward's distance for weights 1), the clusters in the
        new group.

    Raises:
        ValueError: if a cluster has no pixels.
    """
    if np.any(np.asarray(counts) <= 0):
        raise ValueError("merge_tree: every cluster needs pixels; leave out the empty ones.")
    means = np.sqrt(np.maximum(np.asarray(spectra, np.float64), 0))
    means = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    weights = np.sqrt(np.asarray(counts, np.float64))
    names, sizes = np.arange(len(means)), np.ones(len(means), int)
    tree = np.zeros((len(means) - 1, 4))
    for row in range(len(tree)):
        distance = np.sum((means[:, None] - means[None, :]) ** 2, axis=-1)
        share = weights[:, None] * weights[None, :] / (weights[:, None] + weights[None, :])
        cost = np.where(np.eye(len(means), dtype=bool), np.inf, share * distance)
        i, j = np.unravel_index(np.argmin(cost), cost.shape)  # i < j: the first of two equals
        both = weights[i] + weights[j]
        tree[row] = *sorted((names[i], names[j])), np.sqrt(2 * cost[i, j]), sizes[i] + sizes[j]
        means[i] = (weights[i] * means[i] + weights[j] * means[j]) / both
        weights[i], sizes[i], names[i] = both, sizes[i] + sizes[j], len(tree) + 1 + row
        means, weights = np.delete(means, j, axis=0), np.delete(weights, j)
        sizes, names = np.delete(sizes, j), np.delete(names, j)
    return tree


def cut_tree(tree: np.ndarray, clusters: int) -> np.ndarray:
    """Groups of the leaves when the tree is cut so that `clusters` groups are left.

    Args:
        tree: linkage matrix of n leaves.
        clusters: number of groups; at most n.

    Returns:
        `[n]` int group of each leaf, from 0, in the order of the groups' first leaves.
    """
    leaves = len(tree) + 1
    groups = np.arange(leaves)
    members = {i: [i] for i in range(leaves)}
    for i in range(leaves - min(clusters, leaves)):
        left, right = int(tree[i, 0]), int(tree[i, 1])
        members[leaves + i] = members.pop(left) + members.pop(right)
    for group, leaf in enumerate(sorted(members.values(), key=min)):
        groups[leaf] = group
    return groups


def _members(tree: np.ndarray) -> list[list[int]]:
    """The leaves in each leaf and in each group that a row of a linkage matrix joins."""
    members = [[leaf] for leaf in range(len(tree) + 1)]
    for left, right in tree[:, :2].astype(int):
        members.append(members[left] + members[right])
    return members


def cut_ids(tree: np.ndarray, live: np.ndarray, lookup: np.ndarray, clusters: int) -> np.ndarray:
    """The id that each cluster of a level takes when the tree is cut further up.

    A group takes the lowest id in it, and a cluster that joins no other keeps its own.

    Args:
        tree: `[len(live) - 1, 4]` linkage matrix.
        live: indices of the trained clusters that are its leaves.
        lookup: `[K']` id, 1..n, of each trained cluster at a lower level of the same tree, such as
            the finest.
        clusters: number of groups, 1..n.

    Returns:
        `[n]` uint8 id of the clusters 1..n.
    """
    groups = cut_tree(tree, clusters)
    ids = np.asarray(lookup)[live]
    lowest = np.array([ids[groups == group].min() for group in range(groups.max() + 1)])
    taken = np.arange(1, int(np.max(lookup)) + 1, dtype=np.uint8)
    taken[ids - 1] = lowest[groups]
    return taken


def order_by_brightness(groups: np.ndarray, spectra: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Renumbers groups 1..K from dark to bright by the mean reflectance of their pixels.

    Args:
        groups: `[cluster]` group of each cluster, from 0.
        spectra: `[cluster, band]` mean reflectance.
        counts: `[cluster]` pixels.

    Returns:
        `[cluster]` uint8 id of each cluster's group, from 1.
    """
    number = int(groups.max()) + 1
    mass = np.bincount(groups, counts, number)
    brightness = np.bincount(groups, counts * spectra.mean(axis=1), number) / np.maximum(mass, 1)
    rank = np.empty(number, np.uint8)
    rank[np.argsort(brightness, kind="stable")] = np.arange(1, number + 1)
    return rank[groups]
