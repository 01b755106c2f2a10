"""Cubes in HDF5 and NetCDF4 files, read block by block through h5py.

The cube is the only 3-D numeric dataset anywhere in the file, or the one named by its path. Around
it the CF conventions are followed as far as they say how to read numbers: `_FillValue` or
`missing_value`, `scale_factor`, and wavelengths as an attribute of the cube or a list anywhere in
the file, with its `units`; see `conventions`. The names of dimensions tell the axes; see
`dimensions`. EMIT L2A reflectance files (Green et al., LP DAAC EMITL2ARFL) are read by just that:
`reflectance` [downtrack, crosstrack, bands], `sensor_band_parameters/wavelengths` and
`good_wavelengths`. PRISMA's two cubes are read by `prisma`; other missions' layouts need `variable`
and `axes`.
"""

import contextlib
import math
import os
import re
from typing import Any

import h5py
import numpy as np
import tensorstore as ts

from dgc_jax.data.formats import (
    attributes,
    conventions,
    dimensions,
    lazy,
    limits,
    prisma,
    variables,
)
from dgc_jax.data.formats.raw import Raw
from dgc_jax.errors import InputError


def read(path: str, *, variable: str | None = None, axes: str | None = None) -> Raw:
    """Opens the cube of an HDF5 or NetCDF4 file.

    Args:
        path: of the file (.h5, .hdf5, .he5, .nc).
        variable: path of the dataset inside the file, for example `"data/reflectance"`.
        axes: its axes in the order of its shape, for example `"brc"`; see `variables`.

    Raises:
        InputError: not a whole HDF5 file, no such dataset, or a scale that cannot be applied.
    """
    file = open_file(path)
    fields = prisma.swath(file) if variable is None else None
    if fields is not None:
        for cube in ("VNIR_Cube", "SWIR_Cube"):
            check(path, file[f"{fields}/{cube}"])
        return prisma.read(path, file, fields)
    shapes = numeric_shapes(file)
    cubes = [name for name, shape in shapes.items() if len(shape) == 3]
    name = variables.choose(path, shapes, cubes, variable, "3-D numeric dataset")
    dataset = file[name]
    lists = _wavelength_lists(path, file, dataset, shapes)
    counts = {values.size for _, values, _ in lists}
    order, guess = variables.order_axes(
        path, name, dataset.shape, axes, counts, dimension_names(dataset)
    )
    place = order.index("b")
    bands = dataset.shape[place]
    coordinate, notes = _coordinate(path, dataset, place)
    wavelengths = coordinate
    if wavelengths is None:
        wavelengths, notes = variables.find_wavelengths(bands, lists)
    good, more = variables.find_good_bands(bands, _band_lists(path, file, dataset, shapes))
    found = conventions.packing(
        f"{path}: {name}",
        readable(dataset),
        dataset.dtype.newbyteorder("="),
        bands,
        own_fill(file, dataset),
    )
    store, scale, ignore = conventions.store(
        *_block_reader(path, dataset, order), dataset.dtype.newbyteorder("="), found
    )
    return Raw(
        store,
        wavelengths=wavelengths,
        scale=scale,
        ignore_value=ignore,
        good_bands=good,
        notes=(*(() if guess is None else (guess,)), *notes, *more, *found.notes),
    )


def read_map(
    path: str, shape: tuple[int, int] | None, variable: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """A label map in an HDF5 or NetCDF4 file.

    Args:
        path: of the file.
        shape: rows and columns of the scene, if known.
        variable: path of the dataset, if there are several that fit.

    Returns:
        Its numbers `[row, column]` and where it says that there is no data, bool of that shape.

    Raises:
        InputError: not a whole HDF5 file, or no such dataset.
    """
    with open_file(path) as file:
        name = variables.choose_map(path, numeric_shapes(file), shape, variable)
        dataset = file[name]
        values = whole(path, dataset)
        missing = conventions.missing(values, readable(dataset), own_fill(file, dataset))
        letters = [dimensions.letter(each) for each in dimension_names(dataset)]
    if letters == ["c", "r"]:
        return values.T, missing.T
    return values, missing


_SCALES = {"CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST"}
"""Attributes by which HDF5 ties dimension scales; reading damaged ones may take for ever."""


def readable(holder: h5py.Dataset | h5py.Group) -> dict[str, Any]:
    """The attributes that can be read; HDF5 allows types that h5py has no word for."""
    found = {}
    for key in holder.attrs:
        if key in _SCALES:
            continue
        with contextlib.suppress(OSError, TypeError, ValueError, KeyError, RuntimeError):
            found[key] = holder.attrs[key]
    return found


def own_fill(file: h5py.File, dataset: h5py.Dataset) -> list[Any]:
    """The number of what was never written, if whoever made the dataset chose one.

    Of bytes, the NetCDF library's own choice does not count: every byte may be data.
    """
    if dataset.dtype.kind not in "iuf":
        return []
    creation = dataset.id.get_create_plist()
    if creation.fill_value_defined() != h5py.h5d.FILL_VALUE_USER_DEFINED:
        return []
    value = dataset.fillvalue
    by_default = dataset.dtype.itemsize == 1 and value in (-127, 255)
    return [] if by_default and "_NCProperties" in file.attrs else [value]


def dimension_names(dataset: h5py.Dataset) -> list[str | None]:
    """Names of a dataset's axes: labels, attached scales, or an attribute that lists them."""
    names: list[str | None] = []
    for place in range(dataset.ndim):
        scales = _scales(dataset, place)
        named = [scale.name for scale in scales if scale.name]
        names.append(dataset.dims[place].label or (named[0] if named else None))
    if any(names):
        return names
    about = readable(dataset)
    for key in ("dimension_labels", "_ARRAY_DIMENSIONS", "dimension_names", "dimensions", "dims"):
        listed = attributes.text(attributes.find(about, key)) or ""
        words = [word for word in re.split(r"[\s,;()\[\]'\"]+", listed) if word]
        if len(words) == dataset.ndim and all(dimensions.letter(word) for word in words):
            return list(words)
    return []


def _scales(dataset: h5py.Dataset, place: int) -> list[h5py.Dataset]:
    """The dimension scales of an axis; none where references are broken.

    Read from the attribute: HDF5's own iterator over scales ends the process where it is damaged.
    """
    try:
        listed = dataset.attrs.get("DIMENSION_LIST", ())
        found = [dataset.file[reference] for reference in listed[place]] if len(listed) else []
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return []
    return [scale for scale in found if isinstance(scale, h5py.Dataset)]


def _coordinate(
    path: str, dataset: h5py.Dataset, place: int
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Wavelengths from the scale of the band axis, whatever it is called: `[band]` nm or None."""
    for scale in _scales(dataset, place):
        few = scale.size is not None and scale.size <= limits.LISTED
        if few and scale.shape == (dataset.shape[place],) and scale.dtype.kind in "iuf":
            found, notes = variables.find_wavelengths(scale.size, [_values(path, scale)])
            if found is not None:
                return found, notes
    return None, ()


def _values(path: str, dataset: h5py.Dataset) -> tuple[str, np.ndarray, str | None]:
    """Name, values and unit of a list of wavelengths."""
    about = readable(dataset)
    values = conventions.values(whole(path, dataset), about, f"{path}: {dataset.name}")
    unit = attributes.text(attributes.find(about, "units", "unit", "wavelength_units"))
    return dataset.name.strip("/"), values, unit


def open_file(path: str) -> h5py.File:
    """Opens an HDF5 file for reading; it is closed with the last object that refers to it."""
    if not os.path.isfile(path):
        raise InputError(path, found="does not exist or is not a file", remedy="check the path")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if _is_classic_netcdf(path):
            raise InputError(
                path,
                expected="NetCDF4",
                found="a classic NetCDF file",
                remedy="convert it, for example with `nccopy -k nc4`",
            ) from error
        reason = str(error).removeprefix("Unable to synchronously open file ").strip("()")
        raise InputError(
            path,
            found=f"could not be opened as HDF5 ({reason}), so it is of another format or cut "
            "short",
            remedy="copy or download it again",
        ) from error


def _is_classic_netcdf(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return stream.read(3) == b"CDF"
    except OSError:
        return False


def numeric_shapes(file: h5py.File) -> dict[str, tuple[int, ...]]:
    """Shapes of the file's numeric datasets by path, without text, references and the like.

    Args:
        file: open for reading; links out of the file are not followed.
    """
    shapes = {}

    def collect(name: str, item: object) -> None:
        if not isinstance(item, h5py.Dataset) or name.startswith("#"):
            return  # MATLAB keeps what its cells and objects refer to in `#refs#`
        if item.dtype.kind in "iuf" and item.shape and 0 not in item.shape:
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
    reader = _block_reader(path, dataset, order)
    return lazy.virtual_store(reader[0], reader[1], dataset.dtype.newbyteorder("="), reader[2])


def _block_reader(
    path: str, dataset: h5py.Dataset, order: str
) -> tuple[lazy.ReadBlock, tuple[int, int, int], tuple[int, int, int]]:
    """Reads blocks `[row, column, band]` of a 3-D dataset; its shape, and the best block's."""
    check(path, dataset)
    places = tuple(order.index(letter) for letter in "rcb")
    rows, columns, bands = (dataset.shape[place] for place in places)
    own = dataset.chunks or (1, 1, 1)

    def read_block(row: slice, column: slice, band: slice) -> np.ndarray:
        part = dict(zip("rcb", (row, column, band), strict=True))
        return dataset[tuple(part[letter] for letter in order)].transpose(places)

    shape = (rows, columns, bands)
    chunk = lazy.block_shape(shape, tuple(own[place] for place in places), dataset.dtype.itemsize)
    return read_block, shape, chunk


def whole(path: str, dataset: h5py.Dataset) -> np.ndarray:
    """All numbers of a dataset.

    Raises:
        InputError: it shows what lies in other files, is too large, or cannot be decompressed.
    """
    check(path, dataset)
    limits.check_whole(
        f"{path}: {dataset.name}", dataset.shape, dataset.dtype.itemsize, os.path.getsize(path)
    )
    return np.asarray(dataset[()])


def check(path: str, dataset: h5py.Dataset) -> None:
    """Refuses a dataset that cannot or should not be read.

    Raises:
        InputError: its numbers lie in other files (a file that was sent by somebody could show
            any file of the reader's so), its chunks are too large, or this HDF5 library cannot
            decompress it.
    """
    name = f"{path}: {dataset.name}"
    parts = dataset.virtual_sources() if dataset.is_virtual else []
    outside = [each[0] for each in dataset.external or ()]
    outside += [part.file_name for part in parts if part.file_name != "."]
    if outside:
        raise InputError(
            name,
            found=f"takes its numbers from other files ({outside[0]}), which is not followed",
            remedy="copy it into one file, for example with h5repack or h5py",
        )
    for part in parts:
        inner = dataset.file.get(part.dset_name)
        if not isinstance(inner, h5py.Dataset) or inner.is_virtual:
            raise InputError(
                name,
                found=f"is put together from {part.dset_name}, which is no plain dataset",
                remedy="copy it into one file, for example with h5py",
            )
        check(path, inner)
    if dataset.chunks:
        limits.check_chunk(
            name,
            dataset.chunks,
            dataset.shape,
            dataset.dtype.itemsize,
            lambda: os.path.getsize(path),
        )
    _check_filters(path, dataset)


def _check_filters(path: str, dataset: h5py.Dataset) -> None:
    creation = dataset.id.get_create_plist()
    for place in range(creation.get_nfilters()):
        code, _, _, label = creation.get_filter(place)
        if not h5py.h5z.filter_avail(code):
            raise InputError(
                path,
                found=f"{dataset.name} is compressed with {label.decode() or code}, which this "
                "HDF5 library does not have",
                remedy="rewrite it with gzip, for example with h5repack",
            )


def _wavelength_lists(
    path: str, file: h5py.File, dataset: h5py.Dataset, shapes: dict[str, tuple[int, ...]]
) -> list[tuple[str, np.ndarray, str | None]]:
    """Name, values and unit of what is called like wavelengths: the cube's own attributes first."""
    lists = []
    for holder in (dataset, dataset.parent, file):
        about = readable(holder)
        numeric = {key: attributes.numbers(value) for key, value in about.items()}
        shown = {key: value.shape for key, value in numeric.items() if value is not None}
        for key in variables.wavelength_names(shown):
            unit = attributes.text(
                attributes.find(about, "wavelength_units", f"{key}_units", f"{key}_unit")
            )
            lists.append((f"{holder.name}@{key}", np.asarray(numeric[key]), unit))
    shapes = {name: shape for name, shape in shapes.items() if math.prod(shape) <= limits.LISTED}
    named = variables.wavelength_names(shapes)
    standard = [
        name
        for name, shape in shapes.items()
        if name not in named
        and len(shape) == 1
        and shape[0] in dataset.shape
        and "wavelength" in (attributes.text(file[name].attrs.get("standard_name")) or "")
    ]
    return lists + [_values(path, file[name]) for name in named + standard]


def _band_lists(
    path: str, file: h5py.File, dataset: h5py.Dataset, shapes: dict[str, tuple[int, ...]]
) -> list[tuple[str, np.ndarray]]:
    """Name and values of what is called like a list of good or bad bands."""
    lists = []
    for holder in (dataset, dataset.parent, file):
        for key, value in readable(holder).items():
            flags = attributes.numbers(value) if variables.is_band_list(key) else None
            if flags is not None:
                lists.append((f"{holder.name}@{key}", flags))
    for name, shape in shapes.items():
        if variables.is_band_list(name) and max(shape) == math.prod(shape) <= limits.LISTED:
            lists.append((name, whole(path, file[name])))
    return lists
