"""Watching training without labels: fixed probe crops, predicted at every "epoch".

The mutual information between the predictions of consecutive epochs (paper) says when the
clusters have settled. It also rewards collapse: if everything becomes one cluster, nothing
changes any more. Therefore three other numbers stand beside it, of which a collapse lowers all:
the entropy of the usage, the number of active clusters, and the soft information
H(mean q) - mean H(q), which is high when usage is even and every pixel is sure.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgc_jax.model import information
from dgc_jax.model.model import Model

ACTIVE = 1e-3  # share of the probe pixels from which on a cluster counts as active


class Progress(NamedTuple):
    """What the monitor remembers from one epoch to the next.

    Attributes:
        labels: `[probe, row, column]` int32 previous prediction, from 0; -1 before the first.
        settled: epochs in a row whose NMI was above the threshold.
    """

    labels: np.ndarray
    settled: int


def begin(valid: np.ndarray) -> Progress:
    """The progress before the first epoch, for probes of validity `[probe, row, column]`."""
    return Progress(np.full(valid.shape, -1, np.int32), 0)


@jax.jit
def predict(
    model: Model, crops: jax.Array, valid: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Predicts crops without augmentation.

    Args:
        model: as it is at the moment.
        crops: `[probe, row, column, band]` reflectance.
        valid: `[probe, row, column]` bool.

    Returns:
        Labels `[probe, row, column]` int32 from 0 (meaningless where invalid), the mean
        assignment `[K]`, and the mean entropy of the assignments in nats.
    """
    z = model.embeddings(crops, valid)
    log_q = model.assign(z)
    weights = valid.astype(jnp.float32)
    total = jnp.maximum(jnp.sum(weights), 1)
    q = jnp.exp(log_q) * weights[..., None]
    usage = jnp.sum(q, axis=(0, 1, 2)) / total
    return model.nearest(z), usage, -jnp.sum(q * log_q) / total


def observe(
    model: Model,
    crops: np.ndarray,
    valid: np.ndarray,
    before: Progress,
    *,
    threshold: float,
) -> tuple[Progress, dict[str, float]]:
    """Predicts the probes and compares with the previous epoch.

    Args:
        model: as it is at the moment.
        crops: `[probe, row, column, band]` reflectance.
        valid: `[probe, row, column]` bool.
        before: what `begin` or the previous call returned.
        threshold: NMI above which an epoch counts as settled.

    Returns:
        The new progress, and `monitor/...` numbers; those that compare are missing at the first
        epoch.
    """
    labels, usage, doubt = (np.asarray(x) for x in predict(model, crops, valid))
    clusters = len(usage)
    counts = np.bincount(labels[valid], minlength=clusters)
    spread = float(-np.sum(usage * np.log(np.maximum(usage, 1e-12)), dtype=np.float64))
    numbers = {
        "monitor/active_clusters": float(np.sum(counts > ACTIVE * counts.sum())),
        "monitor/entropy": information.entropy(counts),
        "monitor/soft_information": spread - float(doubt),
    }
    settled = 0
    if np.all(before.labels[valid] >= 0):
        table = np.zeros((clusters, clusters), np.int64)
        np.add.at(table, (before.labels[valid], labels[valid]), 1)
        nmi = information.normalised_mutual_information(table)
        numbers["monitor/nmi"] = nmi
        numbers["monitor/mutual_information"] = information.mutual_information(table)
        numbers["monitor/variation_of_information"] = information.variation_of_information(table)
        settled = before.settled + 1 if nmi >= threshold else 0
    return Progress(labels.astype(np.int32), settled), numbers
