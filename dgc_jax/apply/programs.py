"""The compiled programs of a model at work: from crops or stored numbers to labels."""

import functools

import jax
import jax.numpy as jnp

from dgc_jax.apply.tiles import Finest, Labelled, TileConfidence
from dgc_jax.data.formats import nodata
from dgc_jax.model.model import Model
from dgc_jax.model.normalisation import to_bins

embeddings = jax.jit(Model.embeddings)
"""The embeddings z `[batch, row, column, embedding]` of crops, 0 where invalid."""


@jax.jit
def labels(
    model: Model,
    lookup: jax.Array,
    crops: jax.Array,
    valid: jax.Array,
) -> jax.Array:
    """Labels `[batch, row, column]` of crops."""
    z = model.embeddings(crops, valid)
    return jnp.where(valid, lookup[model.nearest(z)], 0)


@functools.partial(jax.jit, static_argnames=("checked", "clusters", "finest"))
def window_labels(
    model: Model,
    lookup: jax.Array,
    numbers: jax.Array,
    usable: jax.Array,
    divisor: float,
    ignored: tuple[jax.Array, jax.Array] | None,
    leaves: jax.Array | None,
    *,
    checked: bool,
    clusters: int | None,
    finest: int | None,
) -> Labelled:
    """Labels of a `dgc_jax.data.cube.Stored`, whose rule of validity this is.

    Args:
        model: of K' centroids.
        lookup: `[K']` id shown of each trained centroid.
        numbers: `[row, column, band]`, see `Stored`, as are the next three.
        usable: `[row, column]` bool.
        divisor: of the numbers.
        ignored: numbers between these two mean no data; or None.
        leaves: `[K']` id at the finest level, or None.
        checked: whether `usable` tells all.
        clusters: number of ids shown, if it is asked how sure they are; else None.
        finest: number of ids at the finest level, if these are asked for; else None.
    """
    bins, valid = _bins(model, numbers, usable, divisor, ignored, checked=checked)
    z = model.embed(model.normalise(bins[None]), valid[None])[1][0]
    index = model.nearest(z)
    labels = jnp.where(valid, lookup[index], 0)
    confidence = fine = None
    if clusters is not None:
        confidence = _confidence(model, lookup, z, valid, clusters)
    if finest is not None and leaves is not None:
        shares = _shares(model, leaves, z, valid, finest)
        fine = Finest(jnp.where(valid, leaves[index], 0), shares)
    return labels, confidence, fine


def _bins(
    model: Model,
    numbers: jax.Array,
    usable: jax.Array,
    divisor: float,
    ignored: tuple[jax.Array, jax.Array] | None,
    *,
    checked: bool,
) -> tuple[jax.Array, jax.Array]:
    """Bins `[row, column, bin]` of stored numbers, 0 where invalid, and validity `[row, column]`.

    Stored numbers are by far the largest array here: they are looked at once if they are unsigned,
    whose sum says whether all are zero.
    """
    valid, constants = usable, model.normalisation
    weights = constants.bins
    unsigned = jnp.issubdtype(numbers.dtype, jnp.unsignedinteger)
    if unsigned:
        weights = jnp.concatenate([weights, jnp.ones_like(weights[:, :1])], axis=1)
    sums = to_bins(numbers.astype(jnp.float32), constants.replace(bins=weights))
    bins = sums[..., : constants.bins.shape[1]] / divisor
    if not checked:
        valid &= (sums[..., -1] > 0) if unsigned else jnp.any(numbers != 0, axis=-1)
        if jnp.issubdtype(numbers.dtype, jnp.floating):
            valid &= jnp.all(jnp.abs(numbers) <= nodata.LARGEST, axis=-1)
            valid &= jnp.all(jnp.isfinite(numbers / divisor), axis=-1)
        else:  # a mean is finite where all numbers are, by the divisor
            valid &= jnp.all(jnp.isfinite(bins), axis=-1)
    if ignored is not None:
        valid &= jnp.all((numbers < ignored[0]) | (numbers > ignored[1]), axis=-1)
    return jnp.where(valid[..., None], bins, 0), valid


@functools.partial(jax.jit, static_argnames="clusters")
def crop_confidence(
    model: Model,
    lookup: jax.Array,
    crops: jax.Array,
    valid: jax.Array,
    *,
    clusters: int,
) -> TileConfidence:
    """How sure the labels `[batch, row, column]` of crops are."""
    z = model.embeddings(crops, valid)
    return _confidence(model, lookup, z, valid, clusters)


def _confidence(
    model: Model,
    lookup: jax.Array,
    z: jax.Array,
    valid: jax.Array,
    clusters: int,
) -> TileConfidence:
    probabilities = _shares(model, lookup, z, valid, clusters)
    two = jax.lax.top_k(probabilities, min(2, clusters))[0]
    # With one cluster nothing competes.
    margin = two[..., 0] - two[..., 1] if clusters > 1 else two[..., 0]
    return TileConfidence(
        probabilities, jnp.where(valid, jnp.max(z @ model.centroids.T, axis=-1), 0), margin
    )


def _shares(
    model: Model,
    lookup: jax.Array,
    z: jax.Array,
    valid: jax.Array,
    clusters: int,
) -> jax.Array:
    q = jnp.exp(model.assign(z))
    member = jax.nn.one_hot(lookup - 1, clusters)  # [K', K]
    return jnp.where(valid[..., None], q @ member, 0)
