"""Attributes of HDF5, NetCDF and zarr arrays as text and as numbers, however they were written.

The same attribute is a number, a list of one, text, bytes or a list of texts, by which library
wrote it; NetCDF's string attributes are arrays of one, zarr's attributes are JSON, and xarray
writes the fill value of a zarr 3 array in base64. Names are compared without case and separators:
`Scale_Factor`, `scale factor` and `ScaleFactor` are one name.
"""

import base64
import binascii
import re
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np


def find(attributes: Mapping[str, Any], *names: str) -> Any:
    """The first attribute of one of some names, whatever its case and separators; or None."""
    there = {plain(key): value for key, value in attributes.items()}
    return next((there[name] for name in map(plain, names) if there.get(name) is not None), None)


def text(value: Any) -> str | None:
    """An attribute as text; equal entries of a list are one, others are joined by commas."""
    if value is None or type(value).__name__ == "Empty":
        return None
    entries = [_decoded(entry) for entry in np.asarray(value, dtype=object).ravel()]
    words = list(dict.fromkeys(str(entry).strip() for entry in entries))
    return ", ".join(words) if words else None


def numbers(value: Any) -> np.ndarray | None:
    """An attribute as a list of numbers, float64 or an integer type; None if it holds others."""
    if value is None or isinstance(value, bool) or type(value).__name__ == "Empty":
        return None
    array = np.asarray(value) if not isinstance(value, str | bytes) else np.array([value], object)
    if array.dtype.kind in "iuf":
        return array.ravel()
    if array.dtype.kind not in "OSU":
        return None
    found: list[float] = []
    for entry in array.ravel():
        entry = _decoded(entry)
        if isinstance(entry, str):
            try:
                found.extend(_parsed(entry))
            except ValueError:
                return None
        elif isinstance(entry, int | float | np.number) and not isinstance(entry, bool):
            found.append(float(entry))
        else:
            return None
    return np.array(found, np.float64) if found else None


def plain(name: str) -> str:
    """A name without case and separators."""
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def _decoded(entry: Any) -> Any:
    return entry.decode(errors="replace") if isinstance(entry, bytes) else entry


def _parsed(entry: str) -> list[float]:
    """The numbers of a text: `-9999`, `0, 10000`, `-9999.f` (CDL), base64 of a double (xarray)."""
    words = [word for word in re.split(r"[\s,;{}\[\]()]+", entry) if word]
    if len(words) == 1 and re.fullmatch(r"[A-Za-z0-9+/]{11}=", words[0]):
        try:
            return [struct.unpack("<d", base64.b64decode(words[0], validate=True))[0]]
        except (binascii.Error, struct.error) as error:
            raise ValueError(entry) from error
    if not words:
        raise ValueError(entry)
    return [float(re.sub(r"(?<=[\d.])(?:u?[bsl]|l{2}|f|d)$", "", word.lower())) for word in words]
