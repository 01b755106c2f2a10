"""Clusters of mixed pixels, along edges, and what each of them is mostly made of.

Where a pixel covers two materials its spectrum is a mixture of theirs, and a bank of many centroids
gives such pixels clusters of their own: leaf and rubber together look as dark as a lesion does. A
tree that goes by likeness alone would join them to it. But a mixed pixel lies *between* what it is
mixed of. Say a pixel of cluster k is halfway between one of a and one of b, `views.DISTANCE` away
on opposite sides. It is mixed if the mean spectra nearly lie on a line in that order,

    S_k = (1 - t) S_a + t S_b + rest,      0.1 < t < 0.9,      |rest|^2 < 0.1 |S_b - S_a|^2

as linear mixing has it (Keshava & Mustard 2002). A cluster with more than `SHARE` of its pairs
mixed is a mixture; of all its mixed pairs together it has parts (1 - t) of a and t of b, and its
host is the material of which it has most. Veins and lesions are no mixtures: on either side of
them is the same leaf.
"""

import numpy as np
from jaxtyping import Float, Int, Int64

SHARE = 0.4
"""Of the pairs around a cluster's pixels; above it the cluster is a mixture. 0.3 and 0.5 do as
well."""

_ENDS = 0.1  # t this close to 0 or 1 is the material itself
_REST = 0.1  # largest square of the rest, of that of the distance


def between(
    labels: Int[np.ndarray, "... row column"], clusters: int, distance: int
) -> Int64[np.ndarray, "{clusters} {clusters} {clusters}"]:
    """Counts between which clusters the pixels of each lie.

    Args:
        labels: `[..., row, column]` integers from 0; -1 where invalid.
        clusters: number of clusters K.
        distance: pixels to either side, along rows, columns and both diagonals.

    Returns:
        `[K, K, K]` int64; `[k, a, b]` says how often a pixel of k has one of a on one side and one
        of b on the other. Each pair is counted both ways.
    """
    d, rows, columns = distance, *labels.shape[-2:]
    table = np.zeros(clusters**3, np.int64)
    for down, right in ((0, d), (d, 0), (d, d), (d, -d)):
        height, width = rows - 2 * down, columns - 2 * abs(right)
        if height < 1 or width < 1:
            continue

        def part(
            steps: int,
            down: int = down,
            right: int = right,
            size: tuple[int, int] = (height, width),
        ) -> np.ndarray:
            top, left = steps * down, abs(right) + (steps - 1) * right
            return labels[..., top : top + size[0], left : left + size[1]]

        one, middle, other = part(0), part(1), part(2)
        valid = (one >= 0) & (middle >= 0) & (other >= 0)
        triple = middle[valid].astype(np.int64) * clusters + one[valid]
        table += np.bincount(triple * clusters + other[valid], minlength=clusters**3)
    one_way = table.reshape(clusters, clusters, clusters)
    return one_way + one_way.transpose(0, 2, 1)


def hosts(
    spectra: Float[np.ndarray, "K bin"], table: Int[np.ndarray, "K K K"]
) -> Int[np.ndarray, " K"]:
    """The material that each cluster is, or is mostly made of.

    Args:
        spectra: `[K, bin]` mean reflectance of each cluster.
        table: `[K, K, K]` see `between`.

    Returns:
        `[K]` int index of a cluster; its own where it is no mixture.
    """
    number = len(spectra)
    parts, mixed = np.zeros((number, number)), np.zeros(number, bool)
    for k in range(number):
        one, other = np.nonzero(table[k])
        apart = (one != k) & (other != k) & (one != other)
        one, other = one[apart], other[apart]
        across = spectra[other] - spectra[one]
        length = np.maximum(np.sum(across**2, axis=1), np.finfo(np.float64).tiny)
        t = np.sum((spectra[k] - spectra[one]) * across, axis=1) / length
        rest = np.sum((spectra[k] - spectra[one] - t[:, None] * across) ** 2, axis=1)
        on_line = (t > _ENDS) & (t < 1 - _ENDS) & (rest < _REST * length)
        pairs = table[k, one, other] * on_line
        np.add.at(parts[k], one, pairs * (1 - t))
        np.add.at(parts[k], other, pairs * t)
        mixed[k] = pairs.sum() > SHARE * table[k].sum()
    found = np.arange(number)
    if mixed.all() or not mixed.any():
        return found
    parts /= np.maximum(parts.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    # A mixture may be of mixtures: follow the parts until all are materials. Those that only mix
    # with each other have none, which the factor keeps from being singular.
    among = np.eye(mixed.sum()) - (1 - 1e-9) * parts[np.ix_(mixed, mixed)]
    material = np.linalg.solve(among, parts[np.ix_(mixed, ~mixed)])
    ended = material.sum(axis=1) > 0.5
    found[np.flatnonzero(mixed)[ended]] = np.flatnonzero(~mixed)[material[ended].argmax(axis=1)]
    return found
