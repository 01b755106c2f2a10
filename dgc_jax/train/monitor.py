"""Watching training without labels: fixed probe crops, predicted at every "epoch".

The mutual information between the predictions of consecutive epochs (paper) says when the
clusters have settled. It also rewards collapse: if everything becomes one cluster, nothing
changes any more. Therefore three other numbers stand beside it, of which a collapse lowers all:
the entropy of the usage, the number of active clusters, and the soft information
H(mean q) - mean H(q), which is high when usage is even and every pixel is sure.
"""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgc_jax import processes
from dgc_jax.model import centroids, information, normalisation
from dgc_jax.train.state import TrainState, embed

ACTIVE = 1e-3  # share of the probe pixels from which on a cluster counts as active
RARE = 0.01  # share of the sample pixels that stay below the similarity floor; measured
_COSINES = np.round(np.linspace(-1, 1, 20_001), 4)  # edges of a histogram


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
    state: TrainState, crops: jax.Array, valid: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Predicts crops without augmentation.

    Args:
        state: parameters, centroids and constants are used.
        crops: `[probe, row, column, band]` reflectance.
        valid: `[probe, row, column]` bool.

    Returns:
        Labels `[probe, row, column]` int32 from 0 (meaningless where invalid), the mean
        assignment `[K]`, and the mean entropy of the assignments in nats.
    """
    z = _embed(state, crops, valid)
    log_q = centroids.assign(z, state.centroids, state.recipe.temperature)
    weights = valid.astype(jnp.float32)
    total = jnp.maximum(jnp.sum(weights), 1)
    q = jnp.exp(log_q) * weights[..., None]
    usage = jnp.sum(q, axis=(0, 1, 2)) / total
    return centroids.nearest(z, state.centroids), usage, -jnp.sum(q * log_q) / total


def observe(
    state: TrainState,
    crops: np.ndarray,
    valid: np.ndarray,
    before: Progress,
    *,
    threshold: float,
) -> tuple[Progress, dict[str, float]]:
    """Predicts the probes and compares with the previous epoch.

    Args:
        state: the state of training.
        crops: `[probe, row, column, band]` reflectance.
        valid: `[probe, row, column]` bool.
        before: what `begin` or the previous call returned.
        threshold: NMI above which an epoch counts as settled.

    Returns:
        The new progress, and `monitor/...` numbers; those that compare are missing at the first
        epoch.
    """
    labels, usage, doubt = (np.asarray(x) for x in predict(state, crops, valid))
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


def _embed(state: TrainState, crops: jax.Array, valid: jax.Array) -> jax.Array:
    spectra = normalisation.to_bins(crops, state.normalisation)
    spectra = normalisation.normalise(jnp.where(valid[..., None], spectra, 0), state.normalisation)
    return embed(state.recipe, state.params, spectra, valid)[1]


@jax.jit
def _nearest(state: TrainState, crops: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Labels of crops, from 0, and the cosine of each pixel to its nearest centroid."""
    z = _embed(state, crops, valid)
    return centroids.nearest(z, state.centroids), jnp.max(z @ state.centroids.T, axis=-1)


def cluster_spectra(
    state: TrainState, sample: Iterable[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean binned reflectance of every cluster over sample crops, and the similarity floor.

    Args:
        state: the state of training.
        sample: pairs of crops `[crop, row, column, band]` and their validity
            `[crop, row, column]`; one pair is held at a time. Of many processes each has some.

    Returns:
        `[K, bin]` float64 mean reflectance (0 for clusters without pixels), `[K]` pixels, and the
        floor: the cosine to the nearest centroid that `RARE` of the pixels, or a few less, stay
        below. A pixel below it is unlike any cluster.
    """
    clusters = state.centroids.shape[0]
    weights = np.asarray(state.normalisation.bins)
    total, count = np.zeros((clusters, weights.shape[1])), np.zeros(clusters, np.int64)
    cosines = np.zeros(len(_COSINES) - 1, np.int64)
    for crops, valid in sample:
        if not len(crops):
            continue
        labels, similarity = (np.asarray(x)[valid] for x in _nearest(state, crops, valid))
        np.add.at(total, labels, crops[valid] @ weights)
        count += np.bincount(labels, minlength=clusters)
        cosines += np.histogram(np.clip(similarity, -1, 1), _COSINES)[0]
    total, count, cosines = (processes.summed(each) for each in (total, count, cosines))
    rare = np.cumsum(cosines) <= RARE * cosines.sum()
    floor = float(_COSINES[np.count_nonzero(rare)])
    return total / np.maximum(count, 1)[:, None], count, floor
