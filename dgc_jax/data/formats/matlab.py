"""Cubes in MATLAB files: version 5 through scipy (in memory), version 7.3 through h5py (lazily).

How variables, fields of structs and cells are found, and which way round their axes lie, is in
`mat_file`. Besides 3-D arrays, many published scenes are matrices `[band, pixel]` whose pixels run
down the columns of the image first (MATLAB's order), with the image's size in two companions such
as `lines` and `cols` (Samson) or `nRow` and `nCol` (Jasper Ridge, Urban). A list of ones and zeros
called `bbl` tells the bad bands; see `variables`.
"""

import math
from collections.abc import Mapping

import h5py
import numpy as np
import tensorstore as ts

from dgc_jax.data.formats import hdf5, lazy, limits, mat_file, variables
from dgc_jax.data.formats.raw import Raw
from dgc_jax.errors import InputError

_ROWS = ("lines", "nlines", "line", "rows", "nrows", "row", "nrow", "nr", "h", "height")
_COLUMNS = ("cols", "ncols", "col", "ncol", "columns", "samples", "nsamples", "nc", "w", "width")
_DOUBT = (
    "MATLAB did not write this file, so its axes are taken in the order of HDF5, not in reverse: "
    "if the image is transposed, say so with axes=."
)
_COMPANIONS = "such as lines and cols, or nRow and nCol"


def read(path: str, *, variable: str | None = None, axes: str | None = None) -> Raw:
    """Opens the cube of a MATLAB file.

    Args:
        path: of the .mat file.
        variable: name of the cube, if there is more than one candidate.
        axes: its axes in MATLAB's order: `"rcb"`, `"brc"`, ... for 3-D arrays, `"bp"` or `"pb"`
            for matrices of pixels; see `variables` for what holds without.

    Raises:
        InputError: not a whole MATLAB file, no such variable, or no way to tell the image's size.
    """
    found = mat_file.open_variables(path)
    if not found.shapes:
        raise InputError(
            path,
            expected="an array of real numbers, perhaps in its structs and cells",
            found="none (objects, tables and sparse matrices are not read as cubes)",
            remedy="save the cube as a plain array",
        )
    size, size_note = _image_size(found)
    matrices = {} if size is None else _pixel_matrices(found.shapes, math.prod(size))
    if axes is not None and "p" in axes:
        if sorted(axes) != ["b", "p"]:
            raise InputError(
                f"axes={axes!r}", found="is not understood", remedy="for a matrix give 'bp' or 'pb'"
            )
        name = variables.choose(
            path,
            found.shapes,
            matrices,
            variable,
            f"matrix of pixels with companions {_COMPANIONS}",
        )
        return _read_matrix(path, found, name, axes, size, size_note)
    name = _choose_cube(path, found, matrices, variable, axes)
    if axes is None and name in matrices:
        return _read_matrix(path, found, name, matrices[name], size, size_note)
    if len(found.shapes[name]) == 2:
        raise InputError(
            path,
            found=f"{name} {list(found.shapes[name])} is a matrix",
            remedy="to read it as pixels give axes='bp' or 'pb' and the image's size in "
            f"companions {_COMPANIONS}",
        )
    lists = _wavelength_lists(found, name)
    counts = {values.size for _, values, _ in lists}
    order, guess = variables.order_axes(path, name, found.shapes[name], axes, counts)
    bands = found.shapes[name][order.index("b")]
    wavelengths, notes = variables.find_wavelengths(bands, lists)
    good, more = _good_bands(found, bands)
    if name in found.datasets:
        stored = order[::-1] if found.reverse else order
        store = hdf5.block_store(path, found.datasets[name], stored)
    else:
        cube = found.load(name).transpose([order.index(letter) for letter in "rcb"])
        store = lazy.array_store(cube)
    doubt = () if found.reverse or axes is not None else (_DOUBT,)
    guesses = () if guess is None else (guess,)
    return Raw(store, wavelengths, good_bands=good, notes=(*doubt, *guesses, *notes, *more))


def _choose_cube(
    path: str,
    found: mat_file.Variables,
    matrices: Mapping[str, str],
    variable: str | None,
    axes: str | None,
) -> str:
    """The named variable, the matrix that the companions describe, or the only 3-D array."""
    cubes = [name for name, shape in found.shapes.items() if len(shape) == 3]
    if variable is None and axes is None and len(matrices) == 1:
        # Samson's file also holds a small 3-D array, the truth: the image is the larger one.
        matrix = next(iter(matrices))
        sizes = {name: math.prod(found.shapes[name]) for name in (*cubes, matrix)}
        if max(sizes, key=lambda name: sizes[name]) == matrix:
            return matrix
    return variables.choose(path, found.shapes, cubes, variable)


def _image_size(found: mat_file.Variables) -> tuple[tuple[int, int] | None, str]:
    """Rows and columns from companions, and the names of these."""

    def companion(words: tuple[str, ...]) -> tuple[str, int] | None:
        for name, shape in found.shapes.items():
            if name.lower() in words and math.prod(shape) == 1:
                value = float(found.load(name).item())
                if value.is_integer() and value > 0:
                    return name, int(value)
        return None

    rows, columns = companion(_ROWS), companion(_COLUMNS)
    if rows is None or columns is None:
        return None, ""
    return (rows[1], columns[1]), f"{rows[0]} and {columns[0]}"


def _pixel_matrices(shapes: Mapping[str, tuple[int, ...]], pixels: int) -> dict[str, str]:
    """Axes, `"bp"` or `"pb"`, of every matrix with one entry a pixel and more than one band."""
    return {
        name: "bp" if shape[1] == pixels else "pb"
        for name, shape in shapes.items()
        if len(shape) == 2 and pixels in shape and min(shape) > 1
    }


def _read_matrix(
    path: str,
    found: mat_file.Variables,
    name: str,
    axes: str,
    size: tuple[int, int] | None,
    size_note: str,
) -> Raw:
    """A matrix of pixels, column-major, as an image."""
    shape = found.shapes[name]
    if size is None:
        raise InputError(
            path,
            expected=f"the image's size in companions {_COMPANIONS}, to read {name} "
            f"{list(shape)} as pixels",
            found=variables.listing(found.shapes),
            remedy="save them with it",
        )
    rows, columns = size
    if len(shape) != 2 or shape[axes.index("p")] != rows * columns:
        raise InputError(
            path,
            found=f"{name} {list(shape)} cannot be read as axes={axes!r}, because {size_note} "
            f"say {rows} x {columns} = {rows * columns} pixels",
            remedy="correct them",
        )
    bands = shape[axes.index("b")]
    wavelengths, notes = variables.find_wavelengths(bands, _wavelength_lists(found, name))
    good, more = _good_bands(found, bands)
    if name in found.datasets:
        stored = axes[::-1] if found.reverse else axes
        store = _matrix_store(path, found.datasets[name], stored, rows, columns)
    else:
        matrix = found.load(name) if axes == "bp" else found.load(name).T
        # [band, pixel] -> [band, row, column] -> [row, column, band], all without a copy
        cube = matrix.reshape((bands, rows, columns), order="F").transpose(1, 2, 0)
        store = lazy.array_store(cube)
    note = (
        f"{name} {list(shape)} was reshaped, column by column, to the {rows} x {columns} pixels "
        f"that {size_note} say."
    )
    return Raw(store, wavelengths, good_bands=good, notes=(note, *notes, *more))


def _matrix_store(
    path: str, dataset: h5py.Dataset, stored: str, rows: int, columns: int
) -> ts.TensorStore:
    """A version 7.3 matrix of pixels as a lazy store; reads whole image columns.

    `stored` is the order of the dataset's own axes, `"bp"` or `"pb"`.
    """
    hdf5.check(path, dataset)
    bands = dataset.shape[stored.index("b")]

    def read_block(row: slice, column: slice, band: slice) -> np.ndarray:
        part = {"p": slice(column.start * rows, column.stop * rows), "b": band}
        block = dataset[tuple(part[letter] for letter in stored)]
        pixels = block if stored == "pb" else block.T  # [pixel, band]
        return pixels.reshape(-1, rows, pixels.shape[1]).transpose(1, 0, 2)[row]

    dtype = dataset.dtype.newbyteorder("=")
    block = lazy.block_shape((1, columns, bands), (1, 1, bands), rows * dtype.itemsize)
    return lazy.virtual_store(read_block, (rows, columns, bands), dtype, (rows, *block[1:]))


def _wavelength_lists(
    found: mat_file.Variables, cube: str
) -> list[tuple[str, np.ndarray, str | None]]:
    """What is called like wavelengths; what lies in the cube's own struct comes first."""
    own = cube.rpartition(".")[0]
    names = variables.wavelength_names(found.shapes)
    names = [name for name in names if math.prod(found.shapes[name]) <= limits.LISTED]
    names.sort(key=lambda name: not name.startswith(own))
    return [(name, found.load(name), None) for name in names]


def _good_bands(found: mat_file.Variables, bands: int) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """`[band]` bool or None, and notes."""
    sizes = {**found.shapes, **found.flags}
    names = [name for name in sizes if variables.is_band_list(name)]
    vectors = [n for n in names if max(sizes[n]) == math.prod(sizes[n]) <= limits.LISTED]
    return variables.find_good_bands(bands, [(name, found.load(name)) for name in vectors])
