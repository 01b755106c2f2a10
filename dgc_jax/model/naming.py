"""Names for all clusters from hints at a few of their pixels, by the tree of the clusters.

A hint says of a pixel what it is, and so of the cluster that the pixel is in. Every node of the
tree, a cluster or a group that a join makes, gets one name, so that the clusters of a name are a
union of subtrees. Chosen are the names of least

    sum over hints of [its cluster has another name]  +  sum over changes of w(join)

where a change is a node with another name than the join above it. A change costs less than a
contradicted hint, w(join) falling from 1/2 at the first join to 1/4 at the last: among the names
that contradict fewest hints those with few changes are taken, high up in the tree, so that a
cluster without hints has the name of those that it is joined with first. Two hints of different
names in one cluster cannot both be followed; the more frequent name wins.

It is a Potts model on a tree, of which dynamic programming finds the least in two passes
(Felzenszwalb & Zabih 2011, section II).
"""

import numpy as np
from jaxtyping import Float, Int, Real

_FIRST, _LAST = 0.5, 0.25  # cost of a change at the first and the last join


def name_leaves(
    tree: Float[np.ndarray, "joins 4"], hints: Real[np.ndarray, "joins+1 name"]
) -> Int[np.ndarray, " joins+1"]:
    """The name of every cluster.

    Args:
        tree: `[L - 1, 4]` linkage matrix over the clusters, see `dgc_jax.model.tree`.
        hints: `[L, name]` how many hints of each name are in each cluster.

    Returns:
        `[L]` int index of each cluster's name; of names that cost the same the first.
    """
    leaves, names = hints.shape
    cost = np.zeros((leaves + len(tree), names))
    cost[:leaves] = hints.sum(axis=1, keepdims=True) - hints
    taken = np.tile(np.arange(names), (len(cost), 1))  # of a node, by the name of the join above
    children = tree[:, :2].astype(int)
    for row, pair in enumerate(children):
        change = _FIRST + (_LAST - _FIRST) * row / max(len(tree) - 1, 1)
        for node in pair:
            best = int(np.argmin(cost[node]))
            changed = cost[node, best] + change < cost[node]
            taken[node, changed] = best
            cost[leaves + row] += np.minimum(cost[node], cost[node, best] + change)
    of = np.zeros(len(cost), int)
    of[-1] = np.argmin(cost[-1])
    for row in range(len(tree) - 1, -1, -1):
        for node in children[row]:
            of[node] = taken[node, of[leaves + row]]
    return of[:leaves]
