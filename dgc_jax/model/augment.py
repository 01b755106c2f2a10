"""Augmentation of crops on the device, with the way back to the pixels that two crops share.

Crops arrive as views `[view, row, column, band]`, a batch's pairs laid end to end. They are
changed in two ways:

- *turns*, one of the 8 elements of the dihedral group per view, numbered `4 * flip + quarter`:
  the columns are reversed if flip is 1, then the crop is turned counter-clockwise by `quarter`
  quarter turns. They move pixels without mixing them, so `unturn` brings a prediction back
  exactly, and `align` then puts it on the pixels of the other crop of its pair;
- *spectral* changes, which leave every pixel where it is and have no need of a way back: a shift
  of the band grid (calibration, "smile"), brightness gain and spectral tilt (illumination, angle
  of the leaf), noise (detector), bands that read 0 (dead detector lines).

All functions are pure, take their key, keep shapes fixed under jit and work element by element
along the view axis, so that views may be sharded over devices. A strength of 0 adds no work.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from dgc_jax.config import Augmentation
from dgc_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Augment:
    """Strength of every augmentation; 0 switches it off.

    Attributes:
        flip: share of views that a fair coin flips (at 1, half of the views end up mirrored).
        turn: share of views turned by 0, 1, 2 or 3 quarter turns with equal chance.
        gain: standard deviation of the log brightness of a view (0.1: about 10 %).
        tilt: standard deviation of the log change at the last band, the opposite at the first
            band, linear in the band number between them.
        noise: standard deviation of the noise of a sample, in the unit of the crops: reflectance,
            or the data set's standard deviation where the crops are divided by it.
        band_dropout: share of the bands that read 0, drawn anew for each view.
        band_shift: greatest shift along the spectrum, in bands; the cost grows with it, and more
            than a few bands is no longer a calibration error.

    Raises:
        InputError: a strength is negative, not finite, or a share above 1.
    """

    flip: float = Augmentation.flip
    turn: float = Augmentation.turn
    gain: float = Augmentation.gain
    tilt: float = Augmentation.tilt
    noise: float = Augmentation.noise
    band_dropout: float = Augmentation.band_dropout
    band_shift: float = Augmentation.band_shift

    def __post_init__(self) -> None:
        for name, strength in dataclasses.asdict(self).items():
            most = 1.0 if name in ("flip", "turn", "band_dropout") else math.inf
            if not (0 <= strength <= most and math.isfinite(strength)):
                bound = "0 to 1" if most == 1 else "at least 0"
                raise InputError(
                    f"augment.{name}",
                    expected=f"a number of {bound}",
                    found=strength,
                    remedy="0 switches it off",
                )


def augment_views(
    key: jax.Array,
    crops: jax.Array,
    valid: jax.Array,
    augment: Augment,
    light: jax.typing.ArrayLike = 1.0,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Turns the views and changes their spectra.

    Args:
        key: random key.
        crops: `[view, row, column, band]`, square.
        valid: `[view, row, column]` bool.
        augment: the strengths.
        light: share of `gain` and `tilt` that is used, 0..1.

    Returns:
        Crops and validity of the same shapes, and the elements `[view]` to `unturn` by.
    """
    turns_key, spectra_key = jax.random.split(key)
    element = draw_turns(turns_key, crops.shape[0], augment)
    if augment.flip or augment.turn:
        crops, valid = turn(crops, element), turn(valid, element)
    return augment_spectra(spectra_key, crops, valid, augment, light), valid, element


def draw_turns(key: jax.Array, views: int, augment: Augment) -> jax.Array:
    """Draws an element of the dihedral group, 0..7, for each view.

    Args:
        key: random key.
        views: number of views.
        augment: `flip` and `turn` are used; both 1 makes the 8 elements equally likely.

    Returns:
        `[view]` int32; see the module for the numbering. 0 leaves a view as it is.
    """
    flip_key, turn_key, flipped_key, turned_key = jax.random.split(key, 4)
    flip = jnp.zeros(views, jnp.int32)
    quarter = jnp.zeros(views, jnp.int32)
    if augment.flip:
        chosen = jax.random.bernoulli(flipped_key, float(augment.flip), (views,))
        flip = jnp.where(chosen, jax.random.randint(flip_key, (views,), 0, 2), 0)
    if augment.turn:
        chosen = jax.random.bernoulli(turned_key, float(augment.turn), (views,))
        quarter = jnp.where(chosen, jax.random.randint(turn_key, (views,), 0, 4), 0)
    return 4 * flip + quarter


def turn(maps: jax.Array, element: jax.Array) -> jax.Array:
    """Applies to each view its element of the dihedral group.

    Args:
        maps: `[view, row, column, ...]`, as many rows as columns.
        element: `[view]` int32, 0..7.

    Returns:
        The turned maps, same shape.

    Raises:
        ValueError: the maps are not square.
    """
    transpose, rows, columns, position = _parts(maps, element)
    row, column = jnp.where(transpose, position[::-1], position)
    last = maps.shape[1] - 1
    return _look_up(
        maps, jnp.where(rows, last - row, row), jnp.where(columns, last - column, column)
    )


def unturn(maps: jax.Array, element: jax.Array) -> jax.Array:
    """Undoes `turn` exactly; same arguments, errors and result shape."""
    transpose, rows, columns, (row, column) = _parts(maps, element)
    last = maps.shape[1] - 1
    row = jnp.where(rows, last - row, row)
    column = jnp.where(columns, last - column, column)
    return _look_up(maps, jnp.where(transpose, column, row), jnp.where(transpose, row, column))


def augment_spectra(
    key: jax.Array,
    crops: jax.Array,
    valid: jax.Array,
    augment: Augment,
    light: jax.typing.ArrayLike = 1.0,
) -> jax.Array:
    """Shifts, scales, tilts and disturbs the spectra of each view.

    Args:
        key: random key.
        crops: `[view, row, column, band]`, 0 where invalid.
        valid: `[view, row, column]` bool.
        augment: `band_shift`, `gain`, `tilt`, `noise` and `band_dropout` are used, in this order;
            shift, gain, tilt and the hidden bands are one draw a view, noise one a sample.
        light: share of `gain` and `tilt` that is used, 0..1.

    Returns:
        The changed crops, same shape and type, 0 where invalid.
    """
    shift_key, gain_key, tilt_key, noise_key, dropout_key = jax.random.split(key, 5)
    views, bands = crops.shape[0], crops.shape[-1]
    if augment.band_shift:
        strength = augment.band_shift
        shift = jax.random.uniform(shift_key, (views,), minval=-strength, maxval=strength)
        crops = _shift_bands(crops, shift, math.ceil(strength))
    if augment.gain or augment.tilt:
        brighter = light * augment.gain * jax.random.normal(gain_key, (views, 1))
        steeper = light * augment.tilt * jax.random.normal(tilt_key, (views, 1))
        position = (2 * jnp.arange(bands) - (bands - 1)) / max(bands - 1, 1)  # [band], -1..1
        crops = crops * _per_band(jnp.exp(brighter + steeper * position[None]), crops)
    if augment.noise:
        noise = augment.noise * _white_noise(noise_key, crops.shape)
        crops = jnp.where(valid[..., None], crops + noise.astype(crops.dtype), 0)
    if augment.band_dropout:
        kept = jax.random.bernoulli(dropout_key, 1.0 - augment.band_dropout, (views, bands))
        # Zero rather than interpolated: spectra are smooth, a mean of neighbours hides nothing.
        crops = crops * _per_band(kept, crops)
    return crops


def align(second: jax.Array, offset: jax.Array, margin: int = 0) -> tuple[jax.Array, jax.Array]:
    """Puts maps of the second crops onto the pixels of the first ones.

    Args:
        second: `[batch, row, column, ...]`, not turned (see `unturn`).
        offset: `[batch, 2]` int32, (rows, columns) from the first to the second crop.
        margin: pixels around the first crop that are also looked at.

    Returns:
        `second` seen at the first crop's rows and columns and a margin around them, `[batch,
        row + 2 margin, column + 2 margin, ...]`, 0 where that pixel is not in the second crop; and
        bool of its first three axes, True where it is. Whether it is valid in both crops is for the
        caller to add.
    """
    height, width = second.shape[1:3]
    row = jnp.arange(-margin, height + margin)[None] - offset[:, :1]  # [batch, row]
    column = jnp.arange(-margin, width + margin)[None] - offset[:, 1:]  # [batch, column]
    row_shared = (row >= 0) & (row < height)
    column_shared = (column >= 0) & (column < width)
    shared = row_shared[:, :, None] & column_shared[:, None]
    row, column = jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)
    aligned = _look_up(second, row[:, :, None], column[:, None])
    return jnp.where(_over(shared, aligned), aligned, jnp.zeros((), aligned.dtype)), shared


def _parts(
    maps: jax.Array, element: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """What the elements are made of: reversed rows and columns, then a transposition.

    Returns:
        Whether to transpose, to reverse the rows and to reverse the columns, bool `[view, 1, 1]`;
        and the positions `[2, 1, row, column]` of the pixels of a map, row first.
    """
    if maps.shape[1] != maps.shape[2]:
        raise ValueError(f"only square maps can be turned, but these have shape {maps.shape}")
    element = element[:, None, None]
    transpose = element % 2 == 1
    rows = element % 4 >= 2
    columns = rows ^ transpose ^ (element >= 4)
    return transpose, rows, columns, jnp.indices(maps.shape[1:3])[:, None]


def _look_up(maps: jax.Array, row: jax.Array, column: jax.Array) -> jax.Array:
    """Takes from each map `[row, column, ...]` the pixels at its positions `[row, column]`.

    A look-up by pixel costs one pass over memory. Selecting between reversed and transposed maps
    costs as little by itself, but XLA fuses it into what follows and repeats it there.
    """

    def one(image: jax.Array, row: jax.Array, column: jax.Array) -> jax.Array:
        return image.at[row, column].get(mode="promise_in_bounds")

    return jax.vmap(one)(maps, row, column)


def _over(mask: jax.Array, maps: jax.Array) -> jax.Array:
    """Appends axes of length 1 until `mask` has as many as `maps`."""
    return mask.reshape(mask.shape + (1,) * (maps.ndim - mask.ndim))


def _per_band(factor: jax.Array, crops: jax.Array) -> jax.Array:
    """Shapes `[view, band]` to broadcast over `[view, row, column, band]`, in its type."""
    return factor[:, None, None].astype(crops.dtype)


def _shift_bands(crops: jax.Array, shift: jax.Array, reach: int) -> jax.Array:
    """Reads spectra at band + shift, linear between bands, the end bands continued beyond the ends.

    Args:
        crops: `[view, row, column, band]`.
        shift: `[view]` in bands, |shift| <= reach.
        reach: whole number of bands.
    """
    band = jnp.arange(crops.shape[-1])[None, None, None]
    first, last = crops[..., :1], crops[..., -1:]
    zero = jnp.zeros((), crops.dtype)
    shifted = jnp.zeros_like(crops)
    for whole in range(-reach, reach + 1):
        # A pad that drops as many bands as it adds fuses into the sum; an edge-padded copy of the
        # crops and its slices do not, and take twice as long.
        moved = jax.lax.pad(crops, zero, ((0, 0, 0),) * 3 + ((-whole, whole, 0),))
        moved = jnp.where(band + whole < 0, first, moved)
        moved = jnp.where(band + whole >= crops.shape[-1], last, moved)
        weight = jnp.maximum(0, 1 - jnp.abs(shift - whole)).astype(crops.dtype)
        shifted += _over(weight, crops) * moved
    return shifted


def _white_noise(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Independent samples of mean 0 and variance 1, evenly spread over 256 levels.

    Random bits are what costs: a normal deviate takes a 32-bit word and its inverse error
    function, ten million of them 0.15 s on two cores; four samples a word take 0.02 s. The
    encoder sums nine bands a kernel, after which the shape of the distribution is a bell anyway.
    """
    words = jax.random.bits(key, (*shape[:-1], -(-shape[-1] // 4)), jnp.uint32)
    levels = jax.lax.bitcast_convert_type(words, jnp.uint8)  # [..., word, 4]
    levels = levels.reshape(*shape[:-1], -1)[..., : shape[-1]].astype(jnp.float32)
    return (levels - 127.5) / math.sqrt((256**2 - 1) / 12)
