"""The tree of the trained clusters: its levels, and ids that hold through all of them.

Training keeps more centroids than there are classes, because a balanced use of 64 centroids leaves
room for a lesion of 2 %, and a balanced use of 4 does not. Afterwards they are joined, two groups
at a time, along a tree (`dgc_jax.model.views` builds it). A tree of L leaves is a linkage matrix
`[L - 1, 4]` as of `scipy.cluster.hierarchy`, of which the order of the rows alone is used; cutting
it gives a level of 1 to L groups.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Integer, Real, UInt8

from dgc_jax.model import views

_GAP = 1.15  # least ratio of two joins between which a level stands out
_FINE = 32  # groups, above which nobody looks for a level


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


def merge(
    tree: Float[np.ndarray, "joins 4"],
    described: views.Description,
    bank: Float[np.ndarray, "K embedding"],
    clusters: int,
) -> Merge:
    """Numbers the groups of a tree at the level that is shown, and those of all other levels.

    Args:
        tree: `[L - 1, 4]` linkage matrix over the clusters that have pixels.
        described: the trained clusters; some must have pixels.
        bank: `[K', embedding]` unit centroids.
        clusters: number of groups at the level that is shown; fewer are left if fewer have pixels.
    """
    live = np.flatnonzero(described.counts > 0)
    leaves = number_leaves(tree, live, described.spectra, described.counts, bank, clusters)
    lookup = cut_ids(tree, live, leaves, min(clusters, len(live)))[leaves - 1]
    return Merge(lookup, leaves, live, tree)


def number_leaves(
    tree: Float[np.ndarray, "joins 4"],
    live: Int[np.ndarray, " joins+1"],
    spectra: Float[np.ndarray, "K band"],
    counts: Real[np.ndarray, " K"],
    bank: Float[np.ndarray, "K embedding"],
    clusters: int,
) -> UInt8[np.ndarray, " K"]:
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


def cut_tree(tree: Float[np.ndarray, "joins 4"], clusters: int) -> Int[np.ndarray, " joins+1"]:
    """Groups of the leaves when the tree is cut so that `clusters` groups are left.

    Args:
        tree: linkage matrix of n leaves.
        clusters: number of groups; at most n.

    Returns:
        `[n]` int group of each leaf, from 0, in the order of the groups' first leaves.
    """
    # Not scipy's, which takes the joins by their heights: where some are equal, or lower than those
    # of their parts (a weighted tree), in another order than the rows.
    leaves = len(tree) + 1
    groups = np.arange(leaves)
    members = {i: [i] for i in range(leaves)}
    for i in range(leaves - min(clusters, leaves)):
        left, right = int(tree[i, 0]), int(tree[i, 1])
        members[leaves + i] = members.pop(left) + members.pop(right)
    for group, leaf in enumerate(sorted(members.values(), key=min)):
        groups[leaf] = group
    return groups


def _members(tree: Float[np.ndarray, "joins 4"]) -> list[list[int]]:
    """The leaves in each leaf and in each group that a row of a linkage matrix joins."""
    members = [[leaf] for leaf in range(len(tree) + 1)]
    for left, right in tree[:, :2].astype(int):
        members.append(members[left] + members[right])
    return members


def cut_ids(
    tree: Float[np.ndarray, "joins 4"],
    live: Int[np.ndarray, " joins+1"],
    lookup: Integer[np.ndarray, " K"],
    clusters: int,
) -> UInt8[np.ndarray, " id"]:
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


def parents(
    tree: Float[np.ndarray, "joins 4"],
    live: Int[np.ndarray, " joins+1"],
    leaves: Integer[np.ndarray, " K"],
    clusters: int,
) -> Int[np.ndarray, " joins+1"]:
    """The cluster that each id of the finest level is parted from, on the way down the tree.

    Args:
        tree: `[L - 1, 4]` linkage matrix.
        live: `[L]` indices of the trained clusters that are its leaves.
        leaves: `[K']` ids at the finest level, see `number_leaves`.
        clusters: number of groups at the level that is shown.

    Returns:
        `[L]` int; 0 for the ids of the level that is shown, else a lower id.
    """
    found = np.zeros(len(live), int)
    for number in range(clusters + 1, len(live) + 1):
        found[number - 1] = cut_ids(tree, live, leaves, number - 1)[number - 1]
    return found


def of_ids(
    tree: Float[np.ndarray, "joins 4"],
    live: Int[np.ndarray, " joins+1"],
    leaves: Integer[np.ndarray, " K"],
) -> tuple[Float[np.ndarray, "left 4"], Integer[np.ndarray, " left+1"]]:
    """The tree over the ids of the finest level, of which one may have several trained clusters.

    Args:
        tree: `[len(live) - 1, 4]` linkage matrix.
        live: indices of the trained clusters that are its leaves.
        leaves: `[K']` id, 1..L, of each trained cluster, cut from this tree.

    Returns:
        `[L - 1, 4]` linkage matrix, and `[L]` the ids that are its leaves.
    """
    own = np.asarray(leaves)[live]
    ids = np.unique(own)
    node = np.searchsorted(ids, own).tolist()  # in the new tree, of each node of the old one
    joins, sizes = [], [1] * len(ids)
    for left, right, height, _ in tree.tolist():
        one, other = sorted((node[int(left)], node[int(right)]))
        if one != other:
            sizes.append(sizes[one] + sizes[other])
            joins.append((one, other, height, sizes[-1]))
            one = len(sizes) - 1
        node.append(one)
    return np.array(joins, float).reshape(-1, 4), ids


def standing_out(tree: Float[np.ndarray, "joins 4"], most: int = 4) -> list[int]:
    """Levels at which the next join is much longer than the one before, the largest gap first.

    The joins of what belongs together are short, and one that joins what does not is long: the
    level between them is worth a look (the gap of a dendrogram; no label is needed).

    Args:
        tree: `[L - 1, 4]` linkage matrix.
        most: levels to name.

    Returns:
        Ascending numbers of groups, from 2; fewer than `most` where joins grow evenly.
    """
    heights = np.maximum.accumulate(tree[:, 2])  # a weighted tree may have a shorter one after
    ratio = heights[1:] / np.maximum(heights[:-1], 1e-12)
    levels = len(tree) - np.arange(len(ratio))  # groups left after join i, before join i + 1
    order = np.argsort(-ratio, kind="stable")
    good = [i for i in order if ratio[i] >= _GAP and 2 <= levels[i] <= _FINE]
    return sorted(int(levels[i]) for i in good[:most])


def order_by_brightness(
    groups: Int[np.ndarray, " cluster"],
    spectra: Float[np.ndarray, "cluster band"],
    counts: Real[np.ndarray, " cluster"],
) -> UInt8[np.ndarray, " cluster"]:
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
