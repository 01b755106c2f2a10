"""Cubes in HDF5 and NetCDF4 files, read block by block through h5py.

The cube is the only 3-D numeric dataset anywhere in the file, or the one named by its path. Around
it the CF conventions are followed as far as they say how to read numbers: `_FillValue` or
`missing_value`, `scale_factor`, and wavelengths as an attribute of the cube or a list anywhere in
the file, with its `units`. EMIT L2A reflectance files (Green et al., LP DAAC EMITL2ARFL) are read
by just that: `reflectance` [downtrack, crosstrack, bands], `sensor_band_parameters/wavelengths` and
`good_wavelengths`. PRISMA's two cubes are read by `prisma`; other missions' layouts need `variable`
and `axes`.
"""

import math
import os
from typing import Any

import h5py
import numpy as np
import tensorstore as ts

from dgc_jax.data.formats import lazy, prisma, variables
from dgc_jax.data.formats.raw import Raw
from dgc_jax.errors import InputError

_GOOD_BANDS = ("good_wavelengths", "good_bands", "bbl")


def read(path: str, *, variable: str | None = None, axes: str | None = None) -> Raw:
    """Opens the cube of an HDF5 or NetCDF4 file.

    Args:
        path: of the file (.h5, .hdf5, .he5, .nc).
        variable: path of the dataset inside the file, for example `"data/reflectance"`.
        axes: its axes in the order of its shape, for example `"brc"`; see `variables`.

    Raises:
        InputError: not a whole HDF5 file, no such dataset, or numbers that need more than a factor.
    """
    file = open_file(path)
    fields = prisma.swath(file) if variable is None else None
    if fields is not None:
        return prisma.read(path, file, fields)
    shapes = numeric_shapes(file)
    cubes = [name for name, shape in shapes.items() if len(shape) == 3]
    name = variables.choose(path, shapes, cubes, variable, "3-D numeric dataset")
    dataset = file[name]
    lists = _wavelength_lists(file, dataset, shapes)
    counts = {values.size for _, values, _ in lists}
    order, guess = variables.order_axes(path, name, dataset.shape, axes, counts)
    bands = dataset.shape[order.index("b")]
    wavelengths, notes = variables.find_wavelengths(bands, lists)
    offset = _number(dataset.attrs, "add_offset", 0.0)
    if offset != 0.0:
        raise InputError(
            f"{path}: {name} has add_offset {offset:g}, but only multiples of reflectance can be "
            "read: store it without an offset."
        )
    factor = _number(dataset.attrs, "scale_factor", 1.0)
    if not (math.isfinite(factor) and factor > 0):
        raise InputError(f"{path}: {name} has scale_factor {factor:g}; it must be positive.")
    missing = _number(dataset.attrs, "missing_value", math.nan)
    ignore = _number(dataset.attrs, "_FillValue", missing)
    return Raw(
        store=block_store(path, dataset, order),
        wavelengths=wavelengths,
        scale=1.0 / factor,
        ignore_value=None if math.isnan(ignore) else ignore,
        good_bands=_good_bands(file, shapes, bands),
        notes=notes if guess is None else (guess, *notes),
    )


def open_file(path: str) -> h5py.File:
    """Opens an HDF5 file for reading; it is closed with the last object that refers to it."""
    if not os.path.isfile(path):
        raise InputError(f"{path} does not exist or is not a file.")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if _is_classic_netcdf(path):
            raise InputError(
                f"{path} is a classic NetCDF file, and only NetCDF4 can be read: convert it, for "
                "example with `nccopy -k nc4`."
            ) from error
        reason = str(error).removeprefix("Unable to synchronously open file ").strip("()")
        raise InputError(
            f"{path} could not be opened as HDF5 ({reason}): it is of another format or cut short; "
            "copy or download it again."
        ) from error


def _is_classic_netcdf(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return stream.read(3) == b"CDF"
    except OSError:
        return False


def numeric_shapes(file: h5py.File, logical: bool = False) -> dict[str, tuple[int, ...]]:
    """Shapes of the file's numeric datasets by path, without text, references and the like.

    Args:
        file: open for reading; links out of the file are not followed.
        logical: whether MATLAB's true/false arrays count.
    """
    kinds = "iufb" if logical else "iuf"
    foreign = {"char", "cell"} | (set() if logical else {"logical"})
    shapes = {}

    def collect(name: str, item: object) -> None:
        if not isinstance(item, h5py.Dataset) or name.startswith("#"):
            return  # MATLAB keeps what its cells and objects refer to in `#refs#`
        numbers = item.dtype.kind in kinds and _text(item.attrs.get("MATLAB_class")) not in foreign
        if numbers and item.shape and 0 not in item.shape and "MATLAB_empty" not in item.attrs:
            shapes[name] = tuple(item.shape)

    file.visititems(collect)
    return shapes


def block_store(path: str, dataset: h5py.Dataset, order: str) -> ts.TensorStore:
    """A 3-D dataset as a lazy store `[row, column, band]`.

    Args:
        path: of the file, for the message.
        dataset: to read.
        order: letters of its axes in the order of its shape.

    Raises:
        InputError: the dataset is compressed with a filter that is not there.
    """
    check_filters(path, dataset)
    places = tuple(order.index(letter) for letter in "rcb")
    shape = tuple(dataset.shape[place] for place in places)
    own = dataset.chunks or (1, 1, 1)
    dtype = dataset.dtype.newbyteorder("=")

    def read_block(row: slice, column: slice, band: slice) -> np.ndarray:
        part = dict(zip("rcb", (row, column, band), strict=True))
        return dataset[tuple(part[letter] for letter in order)].transpose(places)

    chunk = lazy.block_shape(shape, tuple(own[place] for place in places), dtype.itemsize)
    return lazy.virtual_store(read_block, shape, dtype, chunk)


def check_filters(path: str, dataset: h5py.Dataset) -> None:
    """Refuses a dataset that this HDF5 library cannot decompress."""
    creation = dataset.id.get_create_plist()
    for place in range(creation.get_nfilters()):
        code, _, _, label = creation.get_filter(place)
        if not h5py.h5z.filter_avail(code):
            raise InputError(
                f"{path}: {dataset.name} is compressed with {label.decode() or code}, which this "
                "HDF5 library does not have: rewrite it with gzip, for example with h5repack."
            )


def _wavelength_lists(
    file: h5py.File, dataset: h5py.Dataset, shapes: dict[str, tuple[int, ...]]
) -> list[tuple[str, np.ndarray, str | None]]:
    """Name, values and unit of what is called like wavelengths: the cube's own attributes first."""
    lists = []
    for holder in (dataset, dataset.parent, file):
        numeric = {
            key: np.shape(value)
            for key, value in holder.attrs.items()
            if np.asarray(value).dtype.kind in "iuf"
        }
        for key in variables.wavelength_names(numeric):
            unit = _text(holder.attrs.get("wavelength_units", holder.attrs.get(f"{key}_units")))
            lists.append((f"{holder.name}@{key}", np.asarray(holder.attrs[key]), unit))
    for name in variables.wavelength_names(shapes):
        lists.append((name, file[name][()], _text(file[name].attrs.get("units"))))
    return lists


def _good_bands(
    file: h5py.File, shapes: dict[str, tuple[int, ...]], bands: int
) -> np.ndarray | None:
    """`[band]` bool from a list of ones and zeros such as EMIT's `good_wavelengths`."""
    for name, shape in shapes.items():
        if name.rsplit("/")[-1].lower() in _GOOD_BANDS and math.prod(shape) == bands:
            return np.asarray(file[name][()]).ravel() != 0
    return None


def _number(attributes: h5py.AttributeManager, name: str, default: float) -> float:
    """A numeric attribute, which some writers store as a list of one."""
    value = np.asarray(attributes.get(name, default)).ravel()
    return float(value[0]) if value.size and value.dtype.kind in "iuf" else default


def _text(value: Any) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
