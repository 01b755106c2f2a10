"""How much change of light the scenes bear: found from the data before the first step.

`augment.gain` and `augment.tilt` say what light does to a leaf under a lamp. Where materials differ
by less than that, such changes would teach the network to tell nothing apart. They are therefore
upper bounds: of both, the largest common share is used under which the clusters of sample crops and
those of the same crops in changed light still agree, with a normalised mutual information of
`augment.agreement`.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from dgc_jax.model import augment, information
from dgc_jax.train.state import TrainState

_STEPS = 8  # of the bisection: the share is found to 1/256
_CROPS = 24  # at most


def calibrate(
    state: TrainState, crops: np.ndarray, valid: np.ndarray, *, agreement: float
) -> TrainState:
    """Sets the share of the light changes that the scenes bear.

    The same draws of light are used for all shares, so that the agreement falls with the share but
    for single pixels, and a bisection finds where it crosses.

    Args:
        state: the state before the first step.
        crops: `[crop, row, column, band]` reflectance from all over the data set.
        valid: `[crop, row, column]` bool.
        agreement: least normalised mutual information, 0..1; 0 leaves the bounds as they are.

    Returns:
        The state with `light` set, 0..1; 1 where the bounds themselves leave the clusters alike.
    """
    bounds = state.recipe.augment
    if not agreement or not (bounds.gain or bounds.tilt):
        return state.replace(light=jnp.float32(1))
    crops, valid = crops[:_CROPS], valid[:_CROPS]
    plain = _labels(state, crops, valid, 0.0)
    low, high = 0.0, 1.0
    if agree(plain, _labels(state, crops, valid, high), len(state.centroids)) >= agreement:
        return state.replace(light=jnp.float32(high))
    for _ in range(_STEPS):
        share = (low + high) / 2
        if agree(plain, _labels(state, crops, valid, share), len(state.centroids)) >= agreement:
            low = share
        else:
            high = share
    return state.replace(light=jnp.float32(low))


def agree(first: np.ndarray, second: np.ndarray, clusters: int) -> float:
    """Normalised mutual information of two labellings `[pixel]`, from 0; 1 without pixels."""
    table = np.zeros((clusters, clusters), np.int64)
    np.add.at(table, (first, second), 1)
    return information.normalised_mutual_information(table) if len(first) else 1.0


def _labels(state: TrainState, crops: np.ndarray, valid: np.ndarray, share: float) -> np.ndarray:
    """Labels `[pixel]` of the valid pixels, from 0, in light changed by a share of the bounds."""
    # One crop at a time, so that memory does not grow with their number.
    return np.concatenate(
        [
            np.asarray(_in_light(state, crop[None], seen[None], np.uint32(number), share))[0][seen]
            for number, (crop, seen) in enumerate(zip(crops, valid, strict=True))
        ]
    )


@jax.jit
def _in_light(
    state: TrainState, crop: jax.Array, valid: jax.Array, number: jax.Array, share: jax.Array
) -> jax.Array:
    # Neither steps nor the start draw from this key.
    key = jax.random.fold_in(jax.random.fold_in(state.key, 2**32 - 2), number)
    bounds = dataclasses.replace(state.recipe.augment, noise=0.0, band_dropout=0.0, band_shift=0.0)
    model = state.model
    bins = augment.augment_spectra(key, model.bins(crop, valid), valid, bounds, share)
    return model.nearest(model.embed(model.normalise(bins), valid)[1])
