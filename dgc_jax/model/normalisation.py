"""From reflectance to what the encoder sees: bands averaged to bins, one common scale.

Averaging neighbouring bands to bins of some 20 nm takes the noise of the sensor's ends away
and costs no feature of a leaf, whose narrowest one, the red edge, is wider. After it comes one
division by the data set's standard deviation. No scene is ever normalised by its own statistics,
which would make the same material look different in two scenes.

Optional kinds: `global` (the division only), `band` (z-score of each bin), `snv` (standard
normal variate: each spectrum to zero mean, unit variance), `l2` (each spectrum to unit root mean
square), `log` (logarithm of the scaled reflectance: a gain becomes an offset). `snv` and `l2`
remove brightness, and with it the difference between a dark belt and a dark lesion; the last
three are for scenes with uneven light.
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Real

from dgc_jax.config import NORMALISATIONS as KINDS
from dgc_jax.config import Data
from dgc_jax.errors import InputError

_LARGEST = 1e30  # squares and sums of more cannot be held in 32 bits
_FAR = 10  # standard deviations of all others
_DROWNED = 1e-4  # of the data set's deviation, see `dgc_jax.train.state._axes`
_SOME = 10_000  # spectra by which a kind is tried


class Normalisation(flax.struct.PyTreeNode):
    """Constants fitted once to a data set, and kept with the model.

    Attributes:
        bins: `[band, bin]` averaging weights; every column sums to 1, or is 0 for a bin that is
            constant and far from all others, and left out.
        scale: `[]` standard deviation of the data set's binned reflectance.
        mean: `[bin]` mean of each bin over the data set, in units of `scale`.
        deviation: `[bin]` standard deviation of each bin, in units of `scale`.
        kind: one of `KINDS`.
    """

    bins: jax.Array
    scale: jax.Array
    mean: jax.Array
    deviation: jax.Array
    kind: str = flax.struct.field(pytree_node=False, default=Data.normalisation)


def bin_weights(
    bands: int, wavelengths: Real[np.ndarray, " {bands}"] | None, width: float
) -> Float32[np.ndarray, "{bands} bin"]:
    """Weights that average neighbouring bands.

    Args:
        bands: number of bands.
        wavelengths: `[band]` nm, ascending, or None; without them bins hold equally many bands,
            32 bins at most.
        width: width of a bin in nm; 0 keeps every band as it is.

    Returns:
        `[band, bin]` float32; a bin that no band falls into is left out.
    """
    if width <= 0:
        return np.eye(bands, dtype=np.float32)
    if wavelengths is None:
        group = np.arange(bands) // -(-bands // 32)
    else:
        # Bins start half a band early, so that rounding of the band centres cannot move a band.
        step = float(np.median(np.diff(wavelengths))) if bands > 1 else width
        group = np.floor((wavelengths - wavelengths[0] + step / 2) / width).astype(int)
    _, group = np.unique(group, return_inverse=True)
    weights = np.eye(group.max() + 1, dtype=np.float32)[group]  # [band, bin]
    return weights / weights.sum(axis=0, keepdims=True)


def fit(
    crops: Real[np.ndarray, "crop row column band"],
    valid: Bool[np.ndarray, "crop row column"],
    *,
    wavelengths: Real[np.ndarray, " band"] | None = None,
    width: float = Data.bin_width,
    kind: str = Data.normalisation,
) -> Normalisation:
    """Fits the constants to sample crops of the whole data set.

    Args:
        crops: `[crop, row, column, band]` reflectance.
        valid: `[crop, row, column]` bool.
        wavelengths: `[band]` nm, or None.
        width: width of a bin in nm, 0 for none.
        kind: one of `KINDS`.

    Raises:
        InputError: if `kind` is unknown, if no sampled pixel is valid or all are alike, also after
            the normalisation, if values are too large or small to be computed with, or if those of
            a few bands drown the others.
    """
    if kind not in KINDS:
        raise InputError("kind=", expected=f"one of {', '.join(KINDS)}", found=repr(kind))
    weights = bin_weights(crops.shape[-1], wavelengths, width)
    spectra = np.asarray(crops, np.float32)[np.asarray(valid)] @ weights  # [pixel, bin]
    if not len(spectra):
        raise InputError(
            "crops=",
            expected="valid pixels",
            found="none in the crops that were sampled",
            remedy="check the ignore value and mask= with `dgc inspect`",
        )
    highest = float(np.abs(spectra).max())
    if highest > _LARGEST or 0 < highest < 1 / _LARGEST:
        raise InputError(
            "crops=",
            expected="reflectance",
            found=f"values of up to {highest:.2g} in size, with which 32-bit numbers cannot "
            "be computed",
            remedy="check the files with `dgc inspect`, and give them another scale factor or "
            "ignore value",
        )
    tells = _tells(spectra)
    if not tells.all():
        weights, spectra = weights * tells, spectra * tells
    scale = float(np.std(spectra[:, tells], dtype=np.float64))
    # Rounding of the bins' means leaves a trace of a deviation in constant spectra.
    if not scale > 1e-6 * np.abs(spectra).max():
        raise InputError(
            "crops=",
            expected="spectra that differ",
            found=f"the value {spectra.flat[0]:g} in every valid pixel and band",
            remedy="check variable= and the files with `dgc inspect`",
        )
    spectra = spectra / np.float32(scale)
    _check_scales(spectra, weights, wavelengths)
    constants = Normalisation(
        bins=jnp.asarray(weights),
        scale=jnp.float32(scale),
        mean=jnp.asarray(spectra.mean(axis=0, dtype=np.float64), jnp.float32),
        deviation=jnp.asarray(np.maximum(spectra.std(axis=0, dtype=np.float64), 1e-3), jnp.float32),
        kind=kind,
    )
    some = np.asarray(normalise(jnp.asarray(spectra[:: max(1, len(spectra) // _SOME)]), constants))
    if _differ(spectra) and not _differ(some):
        raise InputError(
            "kind=",
            expected="spectra that differ",
            found=f"all alike after {kind!r} ({weights.shape[1]} bands after binning)",
            remedy="choose another one",
        )
    return constants


def _differ(spectra: Float[np.ndarray, "pixel bin"]) -> bool:
    """Whether the pixels of `[pixel, bin]` differ by more than rounding."""
    return bool(spectra.std(axis=0, dtype=np.float64).max() > 1e-6 * np.abs(spectra).max())


def _tells(spectra: Float[np.ndarray, "pixel bin"]) -> Bool[np.ndarray, " bin"]:
    """`[bin]` bool: which bins are not both constant and far from the values of all others.

    Such bins tell nothing, and their distance would count as the spread of the data set.
    """
    varies = spectra.std(axis=0, dtype=np.float64) > 1e-6 * np.abs(spectra).max(axis=0)
    if varies.all() or not varies.any():
        return np.ones_like(varies)
    others = spectra[:, varies]
    distance = np.abs(spectra[0] - others.mean(dtype=np.float64))
    return varies | (distance <= _FAR * others.std(dtype=np.float64))


def _check_scales(
    spectra: Float[np.ndarray, "pixel bin"],
    weights: Float[np.ndarray, "band bin"],
    wavelengths: Real[np.ndarray, " band"] | None,
) -> None:
    """Refuses data sets in which few bins drown the others.

    Args:
        spectra: `[pixel, bin]` in units of their deviation, 0 in bins that are left out.
        weights: `[band, bin]`, likewise.
        wavelengths: `[band]` nm, or None.

    Raises:
        InputError: half of the bins that vary, or more, vary by less than can be told apart.
    """
    sizes = np.abs(spectra).max(axis=0)
    spread = spectra.std(axis=0, dtype=np.float64)
    small = spread[spread > 1e-6 * sizes] < _DROWNED
    if np.count_nonzero(small) * 2 < max(len(small), 1):
        return
    band = int(np.argmax(weights[:, int(np.argmax(sizes))]))
    at, how = "", "in the file"
    if wavelengths is not None:
        at, how = f" ({wavelengths[band]:g} nm)", "with drop="
    raise InputError(
        "crops=",
        expected="bands of similar values",
        found=f"those of band {band}{at} {sizes.max() / np.median(sizes):.1g} times as "
        "large as those of most, which would drown them",
        remedy=f"leave it out {how}, or correct its values",
    )


def to_bins(
    crops: Float[Array | np.ndarray, "... band"], normalisation: Normalisation
) -> Float[Array, "... bin"]:
    """Averages `[..., band]` reflectance to `[..., bin]` in units of the data set's deviation."""
    weights = normalisation.bins
    return jnp.matmul(crops, weights, precision=jax.lax.Precision.HIGHEST) / normalisation.scale


def normalise(
    spectra: Float[Array, "... bin"], normalisation: Normalisation
) -> Float[Array, "... bin"]:
    """Applies the chosen kind to `[..., bin]` spectra that come from `to_bins`."""
    match normalisation.kind:
        case "band":
            shape = (1,) * (spectra.ndim - 1) + (-1,)
            return (spectra - normalisation.mean.reshape(shape)) / (
                normalisation.deviation.reshape(shape)
            )
        case "snv":
            centred = spectra - spectra.mean(-1, keepdims=True)
            return centred * jax.lax.rsqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-6)
        case "l2":
            return spectra * jax.lax.rsqrt(jnp.mean(spectra**2, -1, keepdims=True) + 1e-6)
        case "log":
            return jnp.log(jnp.maximum(spectra, 0) + 0.1)
        case _:
            return spectra
