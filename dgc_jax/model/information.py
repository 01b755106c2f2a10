"""How much two labellings of the same pixels tell of each other, from their table of counts.

Logarithms are natural. The measures need no correspondence between the two sets of labels.

References:
    Meila 2007, Comparing clusterings: an information based distance (variation of information).
    Vinh, Epps & Bailey 2010, Information theoretic measures for clusterings comparison (NMI with
    the arithmetic mean of the entropies).
"""

import math

import numpy as np


def entropy(pixels: np.ndarray) -> float:
    """Entropy in nats of the distribution that `pixels` (counts of any shape) gives."""
    pixels = pixels[pixels > 0].astype(np.float64)
    shares = pixels / pixels.sum()
    return max(0.0, float(-(shares * np.log(shares)).sum()))


def mutual_information(counts: np.ndarray) -> float:
    """Mutual information in nats of the `[first, second]` table; NaN without pixels."""
    if not counts.any():
        return math.nan
    # From the joint's own ratios rather than as a difference of entropies, which would cancel.
    joint = counts / counts.sum()
    chance = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    met = joint > 0
    return max(0.0, float((joint[met] * np.log(joint[met] / chance[met])).sum()))


def normalised_mutual_information(counts: np.ndarray) -> float:
    """Mutual information over the mean of the two entropies, 0..1; NaN without pixels.

    1 when both maps are one single region, 0 when only one of them is.
    """
    if not counts.any():
        return math.nan
    mean_entropy = (entropy(counts.sum(1)) + entropy(counts.sum(0))) / 2
    return min(1.0, mutual_information(counts) / mean_entropy) if mean_entropy > 0 else 1.0


def variation_of_information(counts: np.ndarray) -> float:
    """`H(first | second) + H(second | first)` in nats: 0 for equal maps; NaN without pixels."""
    if not counts.any():
        return math.nan
    information = mutual_information(counts)
    return max(0.0, entropy(counts.sum(1)) + entropy(counts.sum(0)) - 2 * information)
