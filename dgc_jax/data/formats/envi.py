"""ENVI rasters: a text header (`.hdr`) beside a flat binary file, memory-mapped.

The binary file holds samples (columns), lines (rows) and bands in one of three orders: band
interleaved by pixel (BIP: row, column, band), by line (BIL: row, band, column), or band sequential
(BSQ: band, row, column). A cold crop of a BSQ file touches most of it.

The file's size is compared with what the header promises before anything is read.

Source: ENVI header format (NV5 Geospatial, "ENVI Header Files").
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgc_jax.data.formats import lazy, place, variables
from dgc_jax.data.formats.envi_header import read_header
from dgc_jax.data.formats.raw import Raw
from dgc_jax.errors import InputError

DATA_SUFFIXES = (".raw", ".dat", ".img", ".bin", ".bil", ".bip", ".bsq", ".cube", "")
_TYPES = {
    "1": "u1", "2": "i2", "3": "i4", "4": "f4", "5": "f8",
    "12": "u2", "13": "u4", "14": "i8", "15": "u8",
}  # fmt: skip
# Stored order of the axes, and how to bring it to [row, column, band].
_INTERLEAVES = {"bip": ("rcb", (0, 1, 2)), "bil": ("rbc", (0, 2, 1)), "bsq": ("brc", (1, 2, 0))}


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
                path,
                found="is an ENVI file, whose header says what it holds",
                remedy=f"leave {option}={value!r} out",
            )
    header_path = find_header(path)
    if header_path is None:
        raise InputError(
            path,
            expected=f"an ENVI header beside it, {os.path.basename(path)}.hdr or the same name "
            "ending in .hdr",
            found="none",
            remedy="copy the header too",
        )
    header = read_header(header_path)
    notes: list[str] = []
    rows, columns, bands = (_count(header_path, header, k) for k in ("lines", "samples", "bands"))
    offset = _count(header_path, header, "header offset", 0)
    dtype = _dtype(header_path, header, notes)
    interleave = _text(header, "interleave").lower()
    if interleave not in _INTERLEAVES:
        raise InputError(
            header_path,
            expected="interleave bil, bip or bsq",
            found=repr(interleave or "missing"),
            remedy="correct the header",
        )
    _refuse_unsupported(header_path, header)

    data_path = path
    if path == header_path:
        expected = offset + rows * columns * bands * dtype.itemsize
        data_path = _find_data(header_path, expected, notes)
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
    return Raw(
        store=lazy.array_store(stored.transpose(to_cube)),
        wavelengths=_wavelengths(header, bands, notes),
        scale=_scale(header, notes),
        ignore_value=_number(header, "data ignore value", notes),
        good_bands=_good_bands(header, bands, notes),
        geo=_geo(header, notes),
        notes=tuple(notes),
        forget=lazy.forgetter(stored),
        intact=lazy.keeper(stored),
    )


def find_header(path: str) -> str | None:
    """The header of an ENVI pair of which one file is given, or None."""
    if path.lower().endswith(".hdr"):
        return path
    stem = os.path.splitext(path)[0]
    candidates = (path + ".hdr", stem + ".hdr", path + ".HDR", stem + ".HDR")
    return next((name for name in candidates if os.path.isfile(name)), None)


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
            path,
            expected=f"{key!r} to be a whole number",
            found=repr(text or "missing"),
            remedy="correct the header",
        )
    return int(text)


def _dtype(path: str, header: Mapping[str, Any], notes: list[str]) -> np.dtype:
    code = _text(header, "data type")
    if code not in _TYPES:
        raise InputError(
            path,
            expected=f"'data type' to be one of ENVI's real types ({', '.join(_TYPES)})",
            found=repr(code or "missing"),
            remedy="correct the header or export real numbers",
        )
    dtype = np.dtype(_TYPES[code])
    order = _text(header, "byte order")
    if order not in ("", "0", "1"):
        raise InputError(
            path,
            expected="'byte order' to be 0 (little endian) or 1 (big endian)",
            found=repr(order),
            remedy="correct the header",
        )
    if not order and dtype.itemsize > 1:
        notes.append("The header has no byte order: little endian assumed.")
    return dtype.newbyteorder(">" if order == "1" else "<")


def _refuse_unsupported(path: str, header: Mapping[str, Any]) -> None:
    if "spectral library" in _text(header, "file type").lower():
        raise InputError(
            path, expected="an image", found="a spectral library", remedy="give an image"
        )
    for key in ("file compression", "major frame offsets", "minor frame offsets"):
        values = _numbers(header.get(key))
        if values is not None and values.any():
            raise InputError(
                path,
                found=f"{key!r} is set, which is not supported",
                remedy="export the image as a plain ENVI file",
            )


def _find_data(header_path: str, expected: int, notes: list[str]) -> str:
    """The data file of a header: of its name, with a usual ending or with any.

    Args:
        header_path: of the header.
        expected: bytes that the header promises.
        notes: gets one if there is a choice.

    Raises:
        InputError: there is no such file, or several of the right size.
    """
    stem = header_path[: -len(".hdr")]
    names = [stem + s for suffix in DATA_SUFFIXES for s in dict.fromkeys((suffix, suffix.upper()))]
    usual = [name for name in names if os.path.isfile(name)]
    right = [name for name in usual if os.path.getsize(name) == expected]
    if not right:
        others = [name for name in _siblings(stem) if os.path.getsize(name) == expected]
        if len(others) > 1:
            raise InputError(
                header_path,
                expected="one file beside it that may be its data",
                found=f"{len(others)} of {expected} bytes "
                f"({', '.join(map(os.path.basename, others))})",
                remedy="give the data file",
            )
        right = others or usual
    if not right:
        raise InputError(
            header_path,
            expected=f"a data file beside it, {os.path.basename(stem)}, alone or with an ending "
            f"({' '.join(s for s in DATA_SUFFIXES if s)} or another, if it has "
            f"{expected} bytes)",
            found="none",
            remedy="copy the data file too",
        )
    if len(right) > 1:
        rest = ", ".join(os.path.basename(name) for name in right[1:])
        notes.append(f"{os.path.basename(right[0])} is read; {rest} beside it is not.")
    return right[0]


def _siblings(stem: str) -> list[str]:
    """Files called like a header but for their ending and for upper and lower case."""
    folder, name = os.path.split(stem)
    with os.scandir(folder or ".") as entries:
        found = [
            entry.name
            for entry in entries
            if os.path.splitext(entry.name)[0].lower() == name.lower()
            or entry.name.lower() == name.lower()
        ]
    return sorted(
        os.path.join(folder, other)
        for other in found
        if not other.lower().endswith(".hdr") and os.path.isfile(os.path.join(folder, other))
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
        why = "it was cut short, so copy it again" if found < expected else "it is too long"
        raise InputError(
            data_path,
            expected=f"{expected} bytes ({rows} lines x {columns} samples x {bands} bands of "
            f"{dtype.name}, after {offset} bytes) as its header promises",
            found=f"{found} bytes ({lines:.6g} lines)",
            remedy=f"{why}, or correct {os.path.basename(header_path)}",
        )


def _wavelengths(header: Mapping[str, Any], bands: int, notes: list[str]) -> np.ndarray | None:
    if "wavelength" not in header:
        return None
    unit = _text(header, "wavelength units") or _text(header, "wavelength unit")
    values = _numbers(header["wavelength"])
    if values is None:
        notes.append(
            "The header's list of wavelengths holds something else than numbers: not used."
        )
        return None
    wavelengths, more = variables.find_wavelengths(
        bands, [("The header's list of wavelengths", values, unit)]
    )
    notes.extend(more)
    return wavelengths


def _scale(header: Mapping[str, Any], notes: list[str]) -> float:
    if any(key in header for key in ("data gain values", "data offset values")):
        notes.append("The header's gain and offset values (to radiance) are not applied.")
    if not _text(header, "reflectance scale factor"):
        return 1.0
    value = _number(header, "reflectance scale factor", notes)
    if value is None or not np.isfinite(value) or value <= 0:
        notes.append(
            f"Reflectance scale factor {_text(header, 'reflectance scale factor')!r} is not a "
            "positive number: not used."
        )
        return 1.0
    return value


def _number(header: Mapping[str, Any], key: str, notes: list[str]) -> float | None:
    """The number of a field, which may have words behind it; None without one, which is noted."""
    text = _text(header, key)
    if not text.strip("{} "):
        return None
    found = re.match(r"[{\s]*([-+]?(?:\d+\.?\d*|\.\d+)(?:[ed][-+]?\d+)?|[-+]?nan|[-+]?inf)"
                     r"(?![\w.])", text, re.IGNORECASE)  # fmt: skip
    if found is None:
        if key == "data ignore value":
            notes.append(f"The header's {key} {text!r} is no number: not used.")
        return None
    rest = text[found.end() :].strip("{} ,;\n")
    if rest:
        notes.append(f"The header's {key} {text!r} is taken as {found[1]}.")
    return float(found[1].lower().replace("d", "e"))


def _good_bands(header: Mapping[str, Any], bands: int, notes: list[str]) -> np.ndarray | None:
    if "bbl" not in header:
        return None
    values = _numbers(header["bbl"])
    if values is None or values.size != bands:
        count = 0 if values is None else values.size
        notes.append(f"The header's bad-band list has {count} entries for {bands} bands: not used.")
        return None
    return values > 0


def _geo(header: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """Georeference as `spectral` writes it back: lists of strings, and WKT in its braces."""
    geo: dict[str, Any] = {}
    if "map info" in header:
        geo["map info"] = info = header["map info"]
        if place.transform(info) is None:
            notes.append("The header's map info is not understood: maps in GeoTIFF have no place.")
        elif not _text(header, "coordinate system string") and place.epsg(info) is None:
            system = place.words(info)[0]
            if system.lower() not in ("arbitrary", "pixel"):
                notes.append(
                    f"The header's map info ({system}) names a coordinate system that is not "
                    "understood: maps in GeoTIFF have a transform, but no system."
                )
    if "coordinate system string" in header:
        wkt = _text(header, "coordinate system string").strip("{}")
        geo["coordinate system string"] = f"{{{wkt}}}"
    for key in ("geo points", "rpc info"):
        if key in header:
            notes.append(f"The header's {key} are not carried to maps.")
    return geo
