"""What the attributes of an HDF5, NetCDF or zarr array say about its numbers.

    reflectance = stored number * scale_factor + add_offset

by the CF conventions, one factor and summand or one a band. Numbers equal to `_FillValue` or one of
`missing_value`, or outside `valid_range` (`valid_min`, `valid_max`), are no data; `_Unsigned` tells
that signed numbers are meant as unsigned ones, since classic NetCDF has no such type. NEON's
`Scale_Factor` divides, and its `Data_Ignore_Value` is no data. Names count in any case and with any
separators; see `attributes`.

Sources: CF conventions 1.11, sections 2.5.1 and 8.1 (https://cfconventions.org); NetCDF User's
Guide, attribute conventions; NEON.DP3.30006 (surface directional reflectance).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorstore as ts

from dgc_jax.data.formats import lazy, nodata
from dgc_jax.data.formats.attributes import find, numbers, plain, text
from dgc_jax.errors import InputError

_MISSING = (
    "_FillValue",
    "missing_value",
    "data_ignore_value",
    "ignore_value",
    "nodata",
    "nodata_value",
    "no_data_value",
)
_OTHER_SCALES = ("scale_factor", "reflectance_scale_factor")  # in other spellings than CF's
_INTEGER_FACTOR = 100.0  # integers times this or more are no reflectance: the factor divides


@dataclasses.dataclass(frozen=True)
class Packing:
    """How stored numbers become reflectance.

    Attributes:
        dtype: what the stored numbers are to be taken for; of the same size as they are.
        factor: what to multiply a number by, or `[band]` of them.
        offset: what to add to that, or `[band]` of them.
        missing: numbers of type `dtype` that mean "no data", without 0 and NaN.
        low: smallest number that is data, or None.
        high: largest number that is data, or None.
        notes: one sentence for each thing that was guessed or could not be used.
    """

    dtype: np.dtype
    factor: float | np.ndarray = 1.0
    offset: float | np.ndarray = 0.0
    missing: tuple[np.generic, ...] = ()
    low: float | None = None
    high: float | None = None
    notes: tuple[str, ...] = ()


def packing(
    where: str,
    attributes: Mapping[str, Any],
    dtype: np.dtype,
    bands: int = 1,
    fill: Sequence[Any] = (),
) -> Packing:
    """Reads the attributes of an array.

    Args:
        where: the file and the array, for messages.
        attributes: of the array.
        dtype: of its stored numbers.
        bands: how many entries a list of factors must have.
        fill: numbers that the container itself gives to what was never written.

    Raises:
        InputError: a scale or offset that is there cannot be applied.
    """
    notes: list[str] = []
    meant = _sign(attributes, dtype)
    factor = _factor(where, attributes, dtype, bands, notes)
    offset = _per_band(where, "add_offset", find(attributes, "add_offset"), bands, notes)
    if offset is None:
        offset = 0.0
    if np.any(~np.isfinite(offset)):
        raise InputError(where, expected="a finite add_offset", found=offset, remedy="correct it")
    other = numbers(find(attributes, "offset"))
    if find(attributes, "add_offset") is None and other is not None and other.any():
        notes.append(f"{where} has offset {text(find(attributes, 'offset'))}: not applied.")
    missing: list[np.generic] = []
    names = {plain(name) for name in _MISSING}
    for key, value in attributes.items():
        if plain(key) not in names or value is None:
            continue
        listed = numbers(value)
        if listed is None:
            notes.append(f"{where} has {key} {text(value)!r}, which is no number: not used.")
        else:
            held = _as_meant(listed, dtype, meant)
            if len(held) < np.isfinite(listed.astype(np.float64)).sum():
                notes.append(f"{where} has {key} {text(value)}, which {meant.name} cannot hold.")
            missing.extend(held)
    for value in fill:
        missing.extend(_as_meant(np.asarray(value).ravel(), dtype, meant))
    low, high = _valid_range(where, attributes, dtype, meant, (factor, offset), notes)
    kept = {float(number): number for number in missing if number != 0 and np.isfinite(number)}
    return Packing(meant, factor, offset, tuple(kept.values()), low, high, tuple(notes))


def is_plain(found: Packing, dtype: np.dtype) -> bool:
    """Whether one factor and one no-data number say it all, so that numbers stay as they are."""
    return (
        found.dtype == dtype
        and np.ndim(found.factor) == 0
        and not np.any(found.offset)
        and len(found.missing) <= 1
        and found.low is None
        and found.high is None
        and not any(dtype.kind in "iu" and abs(int(n)) >= 2**53 for n in found.missing)
    )


def store(
    read_block: lazy.ReadBlock,
    shape: tuple[int, int, int],
    chunk: tuple[int, int, int],
    dtype: np.dtype,
    found: Packing,
) -> tuple[ts.TensorStore, float, float | None]:
    """An array's numbers by what its attributes say, as a lazy store.

    With one factor, no offset and one no-data number they stay as they are. With one factor they
    keep their type: what is no data becomes one number, the first of those that mean it, or NaN.
    Everything else is read as float32 reflectance, NaN where there is no data.

    Args:
        read_block: as for `lazy.virtual_store`; gives the numbers as stored.
        shape: rows, columns, bands.
        chunk: rows, columns and bands read in one call.
        dtype: of the stored numbers, in native byte order.
        found: what the attributes say.

    Returns:
        `store`, `scale` and `ignore_value` as in `Raw`.
    """
    if is_plain(found, dtype):
        ignore = float(found.missing[0]) if found.missing else None
        made = lazy.virtual_store(read_block, shape, dtype, chunk)
        return made, 1.0 / float(found.factor), ignore
    hole = _hole(found)

    def read_meant(row: slice, column: slice, band: slice) -> np.ndarray:
        block = np.array(read_block(row, column, band), dtype, order="C")
        return block if block.dtype == found.dtype else block.view(found.dtype)

    def read_clean(row: slice, column: slice, band: slice) -> np.ndarray:
        block = read_meant(row, column, band)
        block[_is_missing(block, found)] = hole
        return block

    def read_reflectance(row: slice, column: slice, band: slice) -> np.ndarray:
        block = read_meant(row, column, band)
        with np.errstate(over="ignore", invalid="ignore"):  # such pixels are not valid
            scaled = block * _part(found.factor, band) + _part(found.offset, band)
        scaled[_is_missing(block, found)] = np.nan
        scaled[~block.any(axis=2)] = 0  # a block holds all bands, so this is no data
        return scaled.astype(np.float32)

    if hole is not None and np.ndim(found.factor) == 0 and not np.any(found.offset):
        made = lazy.virtual_store(read_clean, shape, found.dtype, chunk)
        ignore = float(hole) if np.isfinite(hole) and found.dtype.kind in "iu" else None
        return made, 1.0 / float(found.factor), ignore
    whole = (*chunk[:2], shape[2])
    return lazy.virtual_store(read_reflectance, shape, np.float32, whole), 1.0, None


def values(array: np.ndarray, attributes: Mapping[str, Any], where: str) -> np.ndarray:
    """A short array, such as a list of wavelengths, as its attributes mean it, float64.

    Args:
        array: its stored numbers, any shape.
        attributes: of the array.
        where: the file and the array, for messages.

    Returns:
        The numbers in the unit that the attributes name, NaN where there are none.
    """
    found = packing(where, attributes, array.dtype, array.size)
    meant = np.ascontiguousarray(array).view(found.dtype)
    unpacked = meant.astype(np.float64) * found.factor + found.offset
    return np.where(_is_missing(meant, found), np.nan, unpacked)


def missing(array: np.ndarray, attributes: Mapping[str, Any], fill: Sequence[Any]) -> np.ndarray:
    """Where a label map has no data by its attributes: bool, of the array's shape.

    Other than for reflectance, 0 counts if an attribute names it.

    Args:
        array: its stored numbers.
        attributes: of the array.
        fill: numbers that the container itself gives to what was never written.
    """
    names = {plain(name) for name in _MISSING}
    listed = [value for key, value in attributes.items() if plain(key) in names]
    out = np.zeros(array.shape, bool)
    for value in map(numbers, (*listed, *(number for number in fill if number != 0))):
        if value is not None:
            for number in _as_meant(value, array.dtype, array.dtype):
                span = nodata.limits(float(number), array.dtype)
                out |= array == number if span is None else nodata.holes(array, span)
    return out


def _sign(attributes: Mapping[str, Any], dtype: np.dtype) -> np.dtype:
    """The type that is meant: `_Unsigned` turns signed into unsigned, or back if it is false."""
    word = find(attributes, "_Unsigned")
    said = "" if word is None else (text(word) or "").lower()
    if dtype.kind == "i" and said in ("true", "1", "yes"):
        return np.dtype(f"{dtype.byteorder}u{dtype.itemsize}")
    if dtype.kind == "u" and said in ("false", "0", "no"):
        return np.dtype(f"{dtype.byteorder}i{dtype.itemsize}")
    return dtype


def _factor(
    where: str, attributes: Mapping[str, Any], dtype: np.dtype, bands: int, notes: list[str]
) -> float | np.ndarray:
    """What to multiply by: CF's factor, or one over NEON's."""
    name, divides = "scale_factor", False
    value = attributes.get(name)
    if value is None:
        for key, there in attributes.items():
            if plain(key) in map(plain, _OTHER_SCALES) and there is not None:
                name, value, divides = key, there, True
                break
    factor = _per_band(where, name, value, bands, notes)
    if factor is None:
        return 1.0
    if not (np.isfinite(factor).all() and np.all(np.asarray(factor) > 0)):
        shown = f"{factor:g}" if np.ndim(factor) == 0 else f"{np.asarray(factor).min():g} and more"
        raise InputError(where, expected=f"a positive {name}", found=shown, remedy="correct it")
    smallest, largest = float(np.min(factor)), float(np.max(factor))
    if divides and largest < 1:
        divides = False
        notes.append(f"{name} {largest:g} is below 1: numbers are multiplied by it.")
    elif not divides and dtype.kind in "iu" and smallest >= _INTEGER_FACTOR:
        divides = True
        notes.append(
            f"{name} {largest:g} would make whole numbers larger: they are divided by it; if that "
            "is wrong, correct the attribute."
        )
    return 1.0 / factor if divides else factor


def _per_band(
    where: str, name: str, value: Any, bands: int, notes: list[str]
) -> float | np.ndarray | None:
    """A number, or one a band where they differ; None if there is none."""
    if value is None:
        return None
    listed = numbers(value)
    if listed is None or not listed.size:
        notes.append(f"{where} has {name} {text(value)!r}, which is no number: not used.")
        return None
    if listed.size not in (1, bands):
        raise InputError(
            where,
            expected=f"one {name}, or one a band of {bands}",
            found=f"{listed.size} entries",
            remedy="correct the attribute",
        )
    listed = listed.astype(np.float64)
    return float(listed[0]) if (listed == listed[0]).all() else listed


def _as_meant(listed: np.ndarray, dtype: np.dtype, meant: np.dtype) -> list[np.generic]:
    """Numbers of an attribute in the type of the data; those that it cannot hold are left out."""
    if meant.kind == "f":
        with np.errstate(over="ignore"):
            return list(listed.astype(meant))
    if meant.kind not in "iu":
        return []
    found = []
    limits = np.iinfo(meant)
    for number in listed:
        if not np.isfinite(number) or number != int(number):
            continue
        whole = int(number)
        if meant != dtype and not limits.min <= whole <= limits.max:
            whole %= 2 ** (8 * meant.itemsize)  # -1 of a signed type is 65535 of the unsigned one
            whole -= (limits.max + 1) * 2 if whole > limits.max else 0
        if limits.min <= whole <= limits.max:
            found.append(meant.type(whole))
    return found


def _valid_range(
    where: str,
    attributes: Mapping[str, Any],
    dtype: np.dtype,
    meant: np.dtype,
    scaling: tuple[float | np.ndarray, float | np.ndarray],
    notes: list[str],
) -> tuple[float | None, float | None]:
    """The smallest and largest stored number that is data, None where there is no limit."""
    limits: list[float | None] = [None, None]
    kinds = set()
    for name, places in (("valid_range", (0, 1)), ("valid_min", (0,)), ("valid_max", (1,))):
        value = find(attributes, name)
        listed = None if value is None else numbers(value)
        if value is None:
            continue
        if listed is None or listed.size != len(places):
            notes.append(f"{where} has {name} {text(value)!r}: not used.")
            continue
        for place, number in zip(places, listed, strict=True):
            if np.isfinite(number):
                if meant != dtype:
                    number = (_as_meant(np.array([number]), dtype, meant) or [number])[0]
                limits[place] = float(number)
        kinds.add(listed.dtype.kind)
    low, high = limits
    if low is None and high is None:
        return None, None
    factor, offset = scaling
    if (
        dtype.kind in "iu"
        and np.ndim(factor) == np.ndim(offset) == 0
        and (factor, offset) != (1, 0)
    ):
        # By the NetCDF User's Guide a range of a wider type than the data's is one of reflectance;
        # so is one that would leave nothing of the data.
        unpacked = [None if n is None else (n - float(offset)) / float(factor) for n in limits]
        bounds = np.iinfo(meant)
        fits = all(n is None or bounds.min <= n <= bounds.max for n in unpacked)
        tiny = factor < 1 and all(n is None or abs(n) <= 1 for n in limits)
        if fits and ("f" in kinds or tiny):
            low, high = unpacked
    if low is not None and high is not None and low >= high:
        notes.append(f"{where} has a valid range of {low:g} to {high:g}: not used.")
        return None, None
    shown = " to ".join("any" if n is None else f"{n:g}" for n in (low, high))
    notes.append(f"Stored numbers outside the file's valid range ({shown}) are no data.")
    # A millionth to either side, against rounding where the limits were unpacked.
    room = [0.0 if n is None else 1e-6 * abs(n) for n in (low, high)]
    return (None if low is None else low - room[0], None if high is None else high + room[1])


def _is_missing(block: np.ndarray, found: Packing) -> np.ndarray:
    out = np.zeros(block.shape, bool)
    for number in found.missing:
        # Within GDAL's tolerance for floats, which files round; 64 bits do not pass through them.
        span = nodata.limits(float(number), block.dtype) if block.dtype.kind == "f" else None
        out |= block == number if span is None else nodata.holes(block, span)
    with np.errstate(invalid="ignore"):
        if found.low is not None:
            out |= block < found.low
        if found.high is not None:
            out |= block > found.high
    return out


def _hole(found: Packing) -> np.generic | None:
    """The number that is to stand for "no data"; None if a whole type has none to spare."""
    dtype = found.dtype
    if dtype.kind == "f":
        return dtype.type(math.nan)
    limits = np.iinfo(dtype)
    spare = [number for number in found.missing if abs(int(number)) < 2**53]
    if spare:
        return spare[0]
    if found.missing:
        return None
    if found.low is None and found.high is None:
        return dtype.type(0)  # nothing is to be replaced
    if found.low is not None and limits.min < min(found.low, 0):
        return dtype.type(limits.min)
    if found.high is not None and found.high < limits.max < 2**53:
        return dtype.type(limits.max)
    return None


def _part(value: float | np.ndarray, band: slice) -> float | np.ndarray:
    return value if np.ndim(value) == 0 else np.asarray(value)[band]
