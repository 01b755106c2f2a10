"""PRISMA Level 2C and 2D products (.he5): surface reflectance of two spectrometers in one file.

`HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields` holds `VNIR_Cube` and `SWIR_Cube`, uint16 [row, band,
column], coregistered. Attributes of the file's root give the rest: the centre wavelengths
`List_Cw_Vnir` and `List_Cw_Swir`, descending, 0 for bands that are not there; and what 0 and 65535
mean, `L2ScaleVnirMin` and `L2ScaleVnirMax`, the same for SWIR:

    reflectance = minimum + number * (maximum - minimum) / 65535

so that the two cubes are read as one of float32 reflectance. Pixels of 0 in all bands lie outside
the swath. From about 940 to 980 nm both spectrometers have bands that differ in level: of these the
VNIR's are called bad. The error matrices are not used.

L2D is a UTM grid; its corner coordinates are those of pixel centres (as in GDAL-based readers such
as prismaread). L2C has no map coordinates.

Source: ASI, PRISMA Products Specification Document, issue 2.3.
"""

import re
from typing import Any

import h5py
import numpy as np

from dgc_jax.data.formats import lazy
from dgc_jax.data.formats.raw import Raw
from dgc_jax.errors import InputError

_SWATHS = "HDFEOS/SWATHS"
_LARGEST = 65535  # of a stored number
_PIXEL = 30.0  # m


def swath(file: h5py.File) -> str | None:
    """Path of the data fields of a PRISMA L2C or L2D product, None for any other file."""
    for name in file.get(_SWATHS, ()):
        fields = f"{_SWATHS}/{name}/Data Fields"
        cubes = (f"{fields}/VNIR_Cube", f"{fields}/SWIR_Cube")
        if re.fullmatch(r"PRS_L2[CD]_HCO", name) and all(cube in file for cube in cubes):
            return fields
    return None


def read(path: str, file: h5py.File, fields: str) -> Raw:
    """Opens both cubes of a product as one.

    Args:
        path: of the file, for messages.
        file: open for reading.
        fields: what `swath` gave.

    Raises:
        InputError: an attribute is missing, or the two cubes do not fit each other.
    """
    try:
        cubes = [file[f"{fields}/{name}_Cube"] for name in ("VNIR", "SWIR")]
        centres = [_attribute(file, f"List_Cw_{name}") for name in ("Vnir", "Swir")]
        limits = [
            [_attribute(file, f"L2Scale{name}{end}")[0] for end in ("Min", "Max")]
            for name in ("Vnir", "Swir")
        ]
    except KeyError as error:
        raise InputError(
            path,
            found=f"is a PRISMA product without {error.args[0]}",
            remedy="copy or download it again",
        ) from error
    sizes = [(cube.shape[0], cube.shape[2]) for cube in cubes]
    if sizes[0] != sizes[1] or any(
        len(listed) != cube.shape[1] for listed, cube in zip(centres, cubes, strict=True)
    ):
        raise InputError(
            path,
            expected="VNIR_Cube and SWIR_Cube to fit each other and their wavelengths",
            found=f"shapes {list(cubes[0].shape)} and {list(cubes[1].shape)}, "
            f"{len(centres[0])} and {len(centres[1])} wavelengths",
            remedy="copy or download it again",
        )
    # Ascending in each cube, without the bands that are not there.
    order = [np.argsort(listed, kind="stable") for listed in centres]
    kept = [b[listed[b] > 0] for b, listed in zip(order, centres, strict=True)]
    vnir, swir = (listed[b] for b, listed in zip(kept, centres, strict=True))
    wavelengths = np.concatenate([vnir, swir])
    gain = np.concatenate(
        [
            np.full(len(b), (high - low) / _LARGEST)
            for b, (low, high) in zip(kept, limits, strict=True)
        ]
    )
    offset = np.concatenate(
        [np.full(len(b), low) for b, (low, _) in zip(kept, limits, strict=True)]
    )

    def read_block(row: slice, column: slice, band: slice) -> np.ndarray:
        parts = [cube[row, :, column][:, b] for cube, b in zip(cubes, kept, strict=True)]
        return np.concatenate(parts, axis=1).transpose(0, 2, 1)[:, :, band]

    shape = (*sizes[0], len(gain))
    own = cubes[0].chunks or (1, 1, 1)
    chunk = lazy.block_shape(shape, (own[0], own[2], shape[2]), cubes[0].dtype.itemsize)
    doubled = np.concatenate([vnir >= swir.min(), np.zeros(len(swir), bool)])
    notes = []
    if doubled.any():
        notes.append(
            f"{int(doubled.sum())} VNIR bands from {vnir[vnir >= swir.min()].min():.1f} nm overlap "
            "with SWIR bands and are called bad."
        )
    return Raw(
        lazy.scaled_store(read_block, shape, chunk, gain, offset),
        wavelengths=wavelengths,
        good_bands=~doubled,
        geo=_georeference(file, fields),
        notes=tuple(notes),
    )


def _attribute(file: h5py.File, name: str) -> np.ndarray:
    """A numeric attribute of the root, float64, one-dimensional; KeyError if there is none."""
    value = np.asarray(file.attrs.get(name, ""))
    if value.dtype.kind not in "iuf" or not value.size:
        raise KeyError(name)
    return value.astype(np.float64).ravel()


def _georeference(file: h5py.File, fields: str) -> dict[str, Any]:
    """ENVI's `map info` of an L2D product, if its attributes say the UTM zone."""
    try:
        code = int(_attribute(file, "Epsg_Code")[0])
        east = _attribute(file, "Product_ULcorner_easting")[0] - _PIXEL / 2
        north = _attribute(file, "Product_ULcorner_northing")[0] + _PIXEL / 2
    except KeyError:
        return {}
    if "PRS_L2D" not in fields or code // 100 not in (326, 327):
        return {}
    half = "North" if code // 100 == 326 else "South"
    info = ("UTM", 1, 1, east, north, _PIXEL, _PIXEL, code % 100, half, "WGS-84")
    return {"map info": [str(part) for part in info]}
