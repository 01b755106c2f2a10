"""ENVI rasters: a text header (`.hdr`) beside a flat binary file, memory-mapped.

The binary file holds samples (columns), lines (rows) and bands in one of three orders: band
interleaved by pixel (BIP: row, column, band), by line (BIL: row, band, column), or band sequential
(BSQ: band, row, column). A cold crop of a BSQ file touches most of it.

The header is parsed by the `spectral` package. Around it stands what real exports need: any text
encoding, a missing byte order, upper-case keywords and interleaves, stray commas in lists; and the
file's size is compared with what the header promises before anything is read.

Source: ENVI header format (NV5 Geospatial, "ENVI Header Files").
"""

import codecs
import os
import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import spectral.io.envi

from dgc_jax.data.formats import lazy, variables
from dgc_jax.data.formats.raw import Raw
from dgc_jax.errors import InputError

DATA_SUFFIXES = (".raw", ".dat", ".img", ".bin", ".bil", ".bip", ".bsq", ".cube", "")
_TYPES = {
    "1": "u1", "2": "i2", "3": "i4", "4": "f4", "5": "f8",
    "12": "u2", "13": "u4", "14": "i8", "15": "u8",
}  # fmt: skip
# Stored order of the axes, and how to bring it to [row, column, band].
_INTERLEAVES = {"bip": ("rcb", (0, 1, 2)), "bil": ("rbc", (0, 2, 1)), "bsq": ("brc", (1, 2, 0))}
_NOT_LENGTHS = ("index", "wavenumber", "mhz", "ghz")  # units of ENVI that are not of a wavelength


def read(path: str, *, variable: str | None = None, axes: str | None = None) -> Raw:
    """Maps an ENVI raster, given its header or its data file.

    Args:
        path: of either file.
        variable: must be None: an ENVI file holds one array without a name.
        axes: must be None: the header's interleave says how the axes lie.

    Raises:
        InputError: a file of the pair is missing, the header cannot be understood, or the data
            file has not the size that the header promises.
    """
    for option, value in (("variable", variable), ("axes", axes)):
        if value is not None:
            raise InputError(
                f"{path} is an ENVI file, whose header says what it holds: leave "
                f"{option}={value!r} out."
            )
    header_path = find_header(path)
    if header_path is None:
        raise InputError(
            f"{path} has no ENVI header beside it: expected {os.path.basename(path)}.hdr or the "
            "same name ending in .hdr, so copy the header too."
        )
    header = read_header(header_path)
    notes: list[str] = []
    rows, columns, bands = (_count(header_path, header, k) for k in ("lines", "samples", "bands"))
    offset = _count(header_path, header, "header offset", 0)
    dtype = _dtype(header_path, header, notes)
    interleave = _text(header, "interleave").lower()
    if interleave not in _INTERLEAVES:
        raise InputError(
            f"{header_path}: interleave must be bil, bip or bsq, but it is "
            f"{interleave or 'missing'!r}: correct the header."
        )
    _refuse_unsupported(header_path, header)

    data_path = path if path != header_path else _find_data(header_path)
    _check_size(data_path, header_path, (rows, columns, bands), dtype, offset)
    order, to_cube = _INTERLEAVES[interleave]
    lengths = {"r": rows, "c": columns, "b": bands}
    stored = np.memmap(
        data_path, dtype, mode="r", offset=offset, shape=tuple(lengths[axis] for axis in order)
    )
    if interleave == "bsq" and bands > 1:
        notes.append(
            "Band-sequential (BSQ): each crop read from a cold disk touches most of the file; "
            "`dgc prepare` rewrites it for fast crops."
        )
    ignore_value = _numbers(header.get("data ignore value"))
    return Raw(
        store=lazy.array_store(stored.transpose(to_cube)),
        wavelengths=_wavelengths(header, bands, notes),
        scale=_scale(header, notes),
        ignore_value=float(ignore_value[0]) if ignore_value is not None else None,
        good_bands=_good_bands(header, bands, notes),
        geo=_geo(header),
        notes=tuple(notes),
        forget=lazy.forgetter(stored),
    )


def find_header(path: str) -> str | None:
    """The header of an ENVI pair of which one file is given, or None."""
    if path.lower().endswith(".hdr"):
        return path
    stem = os.path.splitext(path)[0]
    candidates = (path + ".hdr", stem + ".hdr", path + ".HDR", stem + ".HDR")
    return next((name for name in candidates if os.path.isfile(name)), None)


def read_header(path: str) -> dict[str, Any]:
    """The fields of a header, names in lower case; values are strings or lists of strings.

    Raises:
        InputError: the file is not an ENVI header.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = [line.strip() for line in text.splitlines()]
    if not lines or not lines[0].upper().startswith("ENVI"):
        raise InputError(
            f"{path} is not an ENVI header: expected its first line to be 'ENVI'; check the file."
        )
    # spectral opens a file in the locale's encoding, whatever that is: give it plain ASCII.
    clean = "\n".join(["ENVI", *(line for line in lines[1:] if line)])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # keys in upper case are fine
        copy = os.path.join(folder, "header.hdr")
        with open(copy, "w", encoding="ascii", errors="backslashreplace") as file_out:
            file_out.write(clean)
        try:
            return dict(spectral.io.envi.read_envi_header(copy))
        except spectral.io.envi.EnviException as error:
            raise InputError(
                f"{path} cannot be parsed as an ENVI header: check that every '{{' is closed."
            ) from error


def _text(header: Mapping[str, Any], key: str) -> str:
    value = header.get(key, "")
    return (",".join(value) if isinstance(value, list) else value).strip()


def _numbers(value: str | Sequence[str] | None) -> np.ndarray | None:
    """The numbers of a field, however separated; None if there is none or one is no number."""
    words = re.split(r"[\s,;{}]+", value if isinstance(value, str) else ",".join(value or ()))
    try:
        return np.array([float(word) for word in words if word]) if any(words) else None
    except ValueError:
        return None


def _count(path: str, header: Mapping[str, Any], key: str, default: int | None = None) -> int:
    text = _text(header, key)
    if not text and default is not None:
        return default
    if not text.isdecimal() or (int(text) == 0 and default is None):
        raise InputError(
            f"{path}: {key!r} must be a whole number, but it is {text or 'missing'!r}: correct the "
            "header."
        )
    return int(text)


def _dtype(path: str, header: Mapping[str, Any], notes: list[str]) -> np.dtype:
    code = _text(header, "data type")
    if code not in _TYPES:
        raise InputError(
            f"{path}: 'data type' must be one of ENVI's real types ({', '.join(_TYPES)}), but it "
            f"is {code or 'missing'!r}: correct the header or export real numbers."
        )
    dtype = np.dtype(_TYPES[code])
    order = _text(header, "byte order")
    if order not in ("", "0", "1"):
        raise InputError(
            f"{path}: 'byte order' must be 0 (little endian) or 1 (big endian), but it is "
            f"{order!r}: correct the header."
        )
    if not order and dtype.itemsize > 1:
        notes.append("The header has no byte order: little endian assumed.")
    return dtype.newbyteorder(">" if order == "1" else "<")


def _refuse_unsupported(path: str, header: Mapping[str, Any]) -> None:
    if "spectral library" in _text(header, "file type").lower():
        raise InputError(f"{path} describes a spectral library, not an image: give an image.")
    for key in ("file compression", "major frame offsets", "minor frame offsets"):
        values = _numbers(header.get(key))
        if values is not None and values.any():
            raise InputError(
                f"{path}: {key!r} is set, which is not supported: export the image as a plain "
                "ENVI file."
            )


def _find_data(header_path: str) -> str:
    """The data file of a header: the same name without `.hdr`, or with a usual suffix."""
    stem = header_path[: -len(".hdr")]
    names = [stem + s for suffix in DATA_SUFFIXES for s in dict.fromkeys((suffix, suffix.upper()))]
    for name in names:
        if os.path.isfile(name):
            return name
    raise InputError(
        f"{header_path} has no data file beside it: expected {os.path.basename(stem)}, alone or "
        f"ending in {' '.join(s for s in DATA_SUFFIXES if s)}; copy the data file too."
    )


def _check_size(
    data_path: str, header_path: str, shape: tuple[int, int, int], dtype: np.dtype, offset: int
) -> None:
    rows, columns, bands = shape
    line = columns * bands * dtype.itemsize
    expected = offset + rows * line
    found = os.path.getsize(data_path)
    if found != expected:
        lines = max(0, found - offset) / line
        raise InputError(
            f"{data_path}: its header promises {expected} bytes ({rows} lines x {columns} samples "
            f"x {bands} bands of {dtype.name}, after {offset} bytes), but the file has {found} "
            f"bytes ({lines:.6g} lines): "
            + ("it was cut short, so copy it again" if found < expected else "it is too long")
            + f", or correct {os.path.basename(header_path)}."
        )


def _wavelengths(header: Mapping[str, Any], bands: int, notes: list[str]) -> np.ndarray | None:
    if "wavelength" not in header:
        return None
    unit = _text(header, "wavelength units")
    values = _numbers(header["wavelength"])
    if unit.lower() in _NOT_LENGTHS:
        notes.append(f"The header's wavelengths are in {unit}: not used.")
        return None
    if values is None:
        notes.append(
            "The header's list of wavelengths holds something else than numbers: not used."
        )
        return None
    wavelengths, more = variables.find_wavelengths(
        bands, [("the header's list of wavelengths", values, unit)]
    )
    notes.extend(note[0].upper() + note[1:] for note in more)
    return wavelengths


def _scale(header: Mapping[str, Any], notes: list[str]) -> float:
    if any(key in header for key in ("data gain values", "data offset values")):
        notes.append("The header's gain and offset values (to radiance) are not applied.")
    if not _text(header, "reflectance scale factor"):
        return 1.0
    values = _numbers(header["reflectance scale factor"])
    if values is None or not np.isfinite(values[0]) or values[0] <= 0:
        notes.append(
            f"Reflectance scale factor {_text(header, 'reflectance scale factor')!r} is not a "
            "positive number: not used."
        )
        return 1.0
    return float(values[0])


def _good_bands(header: Mapping[str, Any], bands: int, notes: list[str]) -> np.ndarray | None:
    if "bbl" not in header:
        return None
    values = _numbers(header["bbl"])
    if values is None or values.size != bands:
        count = 0 if values is None else values.size
        notes.append(f"The header's bad-band list has {count} entries for {bands} bands: not used.")
        return None
    return values > 0


def _geo(header: Mapping[str, Any]) -> dict[str, Any]:
    """Georeference as `spectral` writes it back: lists of strings, and WKT in its braces."""
    geo: dict[str, Any] = {}
    if "map info" in header:
        geo["map info"] = header["map info"]
    if "coordinate system string" in header:
        wkt = _text(header, "coordinate system string").strip("{}")
        geo["coordinate system string"] = f"{{{wkt}}}"
    return geo
