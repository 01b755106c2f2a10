"""First, do no harm: is the end of training better than its start, told without labels?

Start and end are compared on the same sample crops, un-augmented, by three numbers that a collapse
or an arbitrary map lowers, however small its loss:

    alive         clusters with more than 0.1 % of the pixels
    information   mutual information, in nats, of the clusters of pixels four apart: a map of the
                  scene says much of its neighbourhood, noise nothing, a single cluster nothing
    agreement     of the cuts of several banks, see `dgc_jax.train.describe`

Training hurt if it lost a fifth of the clusters, a tenth of the information, or more agreement than
chance moves; then the start is kept. How well this predicts accuracy was measured on labelled
scenes, see docs/method.md.
"""

from typing import NamedTuple

import numpy as np

from dgc_jax.model import information
from dgc_jax.train.describe import Described

ALIVE = 1e-3  # share of the pixels from which on a cluster counts
_CLUSTERS = 0.8  # share of the clusters that must live on
_INFORMATION = 0.9  # share of the information that must be left
_GAIN = 1.02  # information from which on training has helped
_AGREEMENT = 0.15  # loss of agreement that chance does not explain


class Measures(NamedTuple):
    """Label-free measures of a state, see the module."""

    alive: int
    information: float
    agreement: float


class Verdict(NamedTuple):
    """What training did.

    Attributes:
        training: `"helped"`, `"hurt"` or `"neither"`.
        why: in words.
        start: measures before the first step.
        end: measures after the last one.
    """

    training: str
    why: str
    start: Measures
    end: Measures


def measure(described: Described) -> Measures:
    """The measures of clusters described over sample crops."""
    counts, neighbours = described.clusters.counts, described.clusters.neighbours
    told = information.mutual_information(neighbours) if neighbours.any() else 0.0
    alive = int(np.count_nonzero(counts > ALIVE * counts.sum()))
    return Measures(alive, told, described.agreement)


def judge(start: Measures, end: Measures) -> Verdict:
    """Compares the end of training with its start."""
    losses = []
    if end.alive < _CLUSTERS * start.alive:
        losses.append(f"{end.alive} of {start.alive} clusters are alive")
    if end.information < _INFORMATION * start.information:
        losses.append(
            f"clusters tell {end.information:.2f} nats of those beside them, "
            f"{start.information:.2f} at the start"
        )
    if end.agreement < start.agreement - _AGREEMENT:
        losses.append(
            f"maps of several starts agree to {end.agreement:.2f}, "
            f"{start.agreement:.2f} at the start"
        )
    if losses:
        return Verdict("hurt", "; ".join(losses), start, end)
    gain = f"clusters tell {start.information:.2f} -> {end.information:.2f} nats of those beside"
    helped = end.information > _GAIN * start.information
    return Verdict("helped" if helped else "neither", f"{gain} them", start, end)
