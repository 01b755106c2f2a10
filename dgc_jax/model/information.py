"""How much two labellings of the same pixels tell of each other, from their table of counts.

Logarithms are natural. The measures need no correspondence between the two sets of labels.

References:
    Hubert & Arabie 1985, Comparing partitions (adjusted Rand index).
    Meila 2007, Comparing clusterings: an information based distance (variation of information).
    Vinh, Epps & Bailey 2010, Information theoretic measures for clusterings comparison (NMI with
    the arithmetic mean of the entropies).
"""

import math

import numpy as np
from jaxtyping import Real


def entropy(pixels: Real[np.ndarray, "..."]) -> float:
    """Entropy in nats of the distribution that `pixels` (counts of any shape) gives."""
    pixels = pixels[pixels > 0].astype(np.float64)
    shares = pixels / pixels.sum()
    return max(0.0, float(-(shares * np.log(shares)).sum()))


def mutual_information(counts: Real[np.ndarray, "first second"]) -> float:
    """Mutual information in nats of the `[first, second]` table; NaN without pixels."""
    if not counts.any():
        return math.nan
    # From the joint's own ratios rather than as a difference of entropies, which would cancel.
    joint = counts / counts.sum()
    chance = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    met = joint > 0
    return max(0.0, float((joint[met] * np.log(joint[met] / chance[met])).sum()))


def normalised_mutual_information(counts: Real[np.ndarray, "first second"]) -> float:
    """Mutual information over the mean of the two entropies, 0..1; NaN without pixels.

    1 when both maps are one single region, 0 when only one of them is.
    """
    if not counts.any():
        return math.nan
    mean_entropy = (entropy(counts.sum(1)) + entropy(counts.sum(0))) / 2
    return min(1.0, mutual_information(counts) / mean_entropy) if mean_entropy > 0 else 1.0


def variation_of_information(counts: Real[np.ndarray, "first second"]) -> float:
    """`H(first | second) + H(second | first)` in nats: 0 for equal maps; NaN without pixels."""
    if not counts.any():
        return math.nan
    information = mutual_information(counts)
    return max(0.0, entropy(counts.sum(1)) + entropy(counts.sum(0)) - 2 * information)


def adjusted_rand_index(counts: Real[np.ndarray, "first second"]) -> float:
    """Adjusted Rand index, 1 for equal maps and about 0 for chance; NaN without pixels."""
    if not counts.any():
        return math.nan

    def pairs(pixels: Real[np.ndarray, "..."]) -> int:
        # Python integers are exact: 1e9 pixels have 5e17 pairs, and the index multiplies pairs.
        return sum(int(n) * (int(n) - 1) // 2 for n in pixels.ravel())

    together, in_class, in_cluster = pairs(counts), pairs(counts.sum(1)), pairs(counts.sum(0))
    total = pairs(counts.sum(keepdims=True))
    # (together - chance) / (mean - chance) with chance = in_class * in_cluster / total.
    above = 2 * (together * total - in_class * in_cluster)
    below = (in_class + in_cluster) * total - 2 * in_class * in_cluster
    return above / below if below else 1.0
