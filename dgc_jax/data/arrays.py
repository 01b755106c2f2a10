"""Scenes that Python holds already: arrays in memory and lazy ones, where a command has a path.

`as_cube` turns any of these into a `Cube`, and reads no pixels but those that `open_cube` would:

- a path or a `Cube`;
- a NumPy, JAX or dask array `[row, column, band]`; masked numbers are no data;
- an `xarray.DataArray` with dimensions in any order, told by their names (see
  `dgc_jax.data.formats.dimensions`). Others of length 1 are taken out. Its coordinates and
  attributes mean what they would in a file: wavelengths in their units along the band dimension,
  good or bad bands, and whatever is left undecoded of `scale_factor`, `add_offset`, `_FillValue`
  and `valid_range`. With a coordinate system (`spatial_ref`, as rioxarray has it) and evenly spaced
  `x` and `y` the scene lies on the map.

Neither xarray nor dask is imported here: who hands over their arrays has done so.
"""

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorstore as ts

from dgc_jax.data.cube import Cube, Path, open_cube, understood
from dgc_jax.data.empty_bands import windows
from dgc_jax.data.formats import attributes, conventions, dimensions, lazy, variables
from dgc_jax.data.formats.detect import MEMORY
from dgc_jax.data.formats.raw import Raw
from dgc_jax.errors import InputError

_ACCEPTED = (
    "a path, a Cube of dgc_jax, an xarray.DataArray, or a NumPy, JAX or dask array [row, column, "
    "band]"
)
_ADVICE = {  # by the package and name of a type
    "xarray.Dataset": "give one of its variables, such as dataset['reflectance']",
    "h5py.Dataset": "give the path of its file, with variable= of open_cube",
    "torch.Tensor": "give its .numpy()",
    "builtins.list": "give one scene, or np.asarray of the numbers",
    "builtins.tuple": "give one scene, or np.asarray of the numbers",
}


def as_cube(
    scene: Any,
    *,
    wavelengths: Sequence[float] | np.ndarray | Path | None = None,
    axes: str | None = None,
    name: str | None = None,
) -> Cube:
    """The scene as a cube, whatever it is given as; see the module.

    Args:
        scene: a path, a `Cube` (which is returned as it is), or an array of reflectance with three
            axes.
        wavelengths: of its bands, as for `open_cube`; instead of those that it knows itself.
        axes: what its axes are, such as `"brc"`; None: `"rcb"`, or what the dimensions' names say.
        name: what to call it, if it is an array; None: the name of a DataArray, or "scene".

    Raises:
        InputError: in one sentence, what was expected, what was found and what to do.
    """
    if isinstance(getattr(scene, "cube", None), Cube):
        scene = scene.cube  # of `open_scenes`
    if isinstance(scene, str | os.PathLike):
        return open_cube(scene, wavelengths=wavelengths, axes=axes)
    if isinstance(scene, Cube):
        if wavelengths is not None or axes is not None:
            raise InputError(
                scene.path,
                found="is a Cube, which knows its bands and axes",
                remedy="give wavelengths= and axes= to open_cube",
            )
        return scene
    if not is_array(scene):
        raise InputError("scene", expected=_ACCEPTED, found=_found(scene), remedy=_advice(scene))
    path = MEMORY + (name or array_name(scene)).replace("/", "_")
    if is_data_array(scene):
        return understood(path, "array", _of_data_array(path, scene, axes), wavelengths)
    if not _is_dask(scene):
        scene = np.asanyarray(scene)
    _check(path, scene)
    order, _ = variables.order_axes(path, "the array", scene.shape, axes or "rcb", ())
    if axes is None and wavelengths is not None and not isinstance(wavelengths, str | os.PathLike):
        _check_last_axis(path, scene.shape, len(wavelengths))
    scene = scene.transpose([order.index(axis) for axis in "rcb"])
    return understood(path, "array", _of_array(scene), wavelengths)


def is_array(scene: Any) -> bool:
    """Whether it is an array that `as_cube` takes, of any shape."""
    if isinstance(scene, np.ndarray) or is_data_array(scene) or _is_dask(scene):
        return True
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(scene, jax.Array)


def is_data_array(scene: Any) -> bool:
    """Whether it is an `xarray.DataArray`."""
    xarray = sys.modules.get("xarray")
    return xarray is not None and isinstance(scene, xarray.DataArray)


def array_name(scene: Any) -> str:
    """What a scene that `is_array` is called by itself."""
    named = scene.name if is_data_array(scene) else None
    return "scene" if named is None or not str(named).strip() else str(named).strip()


def like(
    scene: Any, values: np.ndarray, name: str, about: Mapping[str, Any], *, axes: str | None = None
) -> Any:
    """Numbers of the pixels of a scene in the same kind of container.

    Args:
        scene: as `as_cube` took it.
        values: `[row, column]` or `[row, column, NAME]`.
        name: what they are.
        about: attributes of them.
        axes: as `as_cube` took it.

    Returns:
        Of a DataArray one of its row and column dimension, in this order, and those of its
        coordinates that lie along them or along none; else the values themselves.
    """
    if not is_data_array(scene):
        return values
    array, order, _ = _arranged("", scene, axes)
    dims = [array.dims[order.index(letter)] for letter in "rc"]
    coords = {key: c for key, c in array.coords.items() if set(c.dims) <= set(dims)}
    more = [name] if values.ndim == 3 else []
    return type(scene)(values, coords, (*dims, *more), name=name, attrs=dict(about))


def identity(cube: Cube) -> str:
    """What to record of a scene that was handed over: its name, size, and a fingerprint.

    The fingerprint is of the wavelengths and of 9216 pixels at most, spread over the scene.

    Raises:
        InputError: they cannot be read.
    """
    digest = hashlib.sha256()
    if cube.wavelengths is not None:
        digest.update(np.round(cube.wavelengths, 6).tobytes())
    for window in windows(cube.shape[:2]):
        for part in cube.read(*window):
            digest.update(np.ascontiguousarray(part).tobytes())
    size = " x ".join(map(str, cube.shape))
    return f"{MEMORY}{cube.name} ({size}, {digest.hexdigest()[:12]})"


def _is_dask(scene: Any) -> bool:
    dask = sys.modules.get("dask.array")
    return dask is not None and isinstance(scene, dask.Array)


def _kind(scene: Any) -> str:
    package = type(scene).__module__.partition(".")[0]
    return f"{package}.{type(scene).__name__}"


def _found(scene: Any) -> str:
    return "nothing" if scene is None else f"a {_kind(scene).removeprefix('builtins.')}"


def _advice(scene: Any) -> str:
    return _ADVICE.get(_kind(scene), "convert it")


def _check(path: str, array: Any) -> None:
    """Refuses arrays that are no cube of real numbers."""
    if array.ndim != 3:
        more = "; a batch is for predict" if array.ndim == 4 else ""
        raise InputError(
            path,
            expected="an array [row, column, band]",
            found=f"one of shape {tuple(array.shape)}",
            remedy=f"give one scene with all its bands{more}",
        )
    if array.dtype.kind not in "biuf":
        raise InputError(
            path,
            expected="real numbers",
            found=f"{array.dtype} values",
            remedy="convert it with .astype('float32')",
        )
    if not all(isinstance(n, int | np.integer) for n in array.shape):
        raise InputError(
            path,
            expected="a dask array of known shape",
            found=array.shape,
            remedy="call its compute_chunk_sizes() first",
        )


def _check_last_axis(path: str, shape: tuple[int, ...], bands: int) -> None:
    """Refuses an array whose bands lie along another axis, by the number of wavelengths."""
    if shape[2] != bands and shape.count(bands) == 1:
        axes = "brc" if shape[0] == bands else "rbc"
        raise InputError(
            path,
            expected=f"[row, column, band] with {bands} bands",
            found=f"shape {shape}",
            remedy=f"transpose it, or make a cube of it by as_cube(array, axes={axes!r})",
        )


def _of_array(array: Any) -> Raw:
    """A NumPy or dask array `[row, column, band]`."""
    if isinstance(array, np.ma.MaskedArray):

        def read_masked(row: slice, column: slice, band: slice) -> np.ndarray:
            part = array[row, column, band]
            return np.ma.filled(part.astype(np.float32), np.nan)

        chunk = (16, 16, array.shape[2])
        return Raw(lazy.virtual_store(read_masked, array.shape, np.float32, chunk, context=None))
    if isinstance(array, np.ndarray):
        return Raw(_in_memory(array), forget=lazy.forgetter(array))
    own = tuple(max(sizes) for sizes in array.chunks)

    def read_block(row: slice, column: slice, band: slice) -> np.ndarray:
        return np.asarray(array[row, column, band].compute())

    chunk = lazy.block_shape(array.shape, own, array.dtype.itemsize)
    return Raw(lazy.virtual_store(read_block, array.shape, _native(array.dtype), chunk))


def _in_memory(array: np.ndarray) -> ts.TensorStore:
    """An array in memory as a store, which copies nothing."""
    array = np.asarray(array)  # no subclass
    if array.dtype == np.longdouble and array.dtype.itemsize > 8:
        return lazy.array_store(array.astype(np.float64))  # TensorStore has no such type
    return lazy.array_store(array)


def _native(dtype: np.dtype) -> np.dtype:
    if dtype == np.longdouble and dtype.itemsize > 8:
        return np.dtype(np.float64)
    return dtype.newbyteorder("=")


def _arranged(path: str, array: Any, axes: str | None) -> tuple[Any, str, str | None]:
    """A DataArray with its three axes, their letters, and a note if some were concluded."""
    if axes is None:
        spare = [d for d, n in array.sizes.items() if n == 1 and not dimensions.letter(str(d))]
        array = array.squeeze(spare[: max(0, array.ndim - 3)])
    shown = ", ".join(f"{d}: {n}" for d, n in array.sizes.items())
    if array.ndim != 3:
        raise InputError(
            path,
            expected="a DataArray of rows, columns and bands",
            found=f"({shown})",
            remedy="choose from the other dimensions with .isel()",
        )
    names = [str(d) for d in array.dims]
    if axes is not None:
        return array, variables.order_axes(path, "the array", array.shape, axes, ())[0], None
    order, note = dimensions.order(names)
    if order is None:
        raise InputError(
            path,
            expected="dimensions whose names tell rows, columns and bands, such as y, x and "
            "wavelength",
            found=f"({shown})",
            remedy="rename them with .rename(), or give axes= to as_cube",
        )
    return array, order, note


def _of_data_array(path: str, array: Any, axes: str | None) -> Raw:
    array, order, note = _arranged(path, array, axes)
    _check(path, array)
    row, column, band = (array.dims[order.index(letter)] for letter in "rcb")
    variable = array.variable.transpose(row, column, band)
    about = _stored_attributes(array)
    found = conventions.packing(path, about, _native(variable.dtype), variable.shape[2])
    store, scale, ignore = _store(variable, found)
    listed, more = _wavelengths(path, array, band)
    flags = [
        *((str(key), c.values) for key, c in array.coords.items() if c.dims == (band,)),
        *((f"The attribute {key!r}", attributes.numbers(value)) for key, value in about.items()),
    ]
    flags = [
        (key, values)
        for key, values in flags
        if values is not None and values.dtype.kind in "biuf" and _is_band_list(key)
    ]
    good, notes = variables.find_good_bands(variable.shape[2], flags)
    return Raw(
        store,
        wavelengths=listed,
        scale=scale,
        ignore_value=ignore,
        good_bands=good,
        geo=_place(array, row, column),
        notes=(*([note] if note else []), *more, *notes, *found.notes, *_told(about, found)),
    )


def _is_band_list(key: str) -> bool:
    return variables.is_band_list(key.removeprefix("The attribute ").strip("'"))


def _stored_attributes(array: Any) -> dict[str, Any]:
    """The attributes, limits of packed numbers as those of the numbers that they became."""
    about, encoding = {str(key): value for key, value in array.attrs.items()}, array.encoding
    if "scale_factor" in encoding or "add_offset" in encoding:  # xarray has decoded them
        for key in ("valid_range", "valid_min", "valid_max"):
            limits = attributes.numbers(about.get(key))
            if limits is not None:
                limits = limits * encoding.get("scale_factor", 1.0)
                about[key] = limits + encoding.get("add_offset", 0.0)
    return about


def _told(about: Mapping[str, Any], found: conventions.Packing) -> list[str]:
    """What to say of numbers that attributes change."""
    if np.all(found.factor == 1) and not np.any(found.offset):
        return []
    named = [key for key in about if attributes.plain(key) in ("scalefactor", "addoffset")]
    return [
        f"Its attributes {', '.join(named) or 'of scale'} are applied; if its numbers are "
        "reflectance already, take them out of .attrs."
    ]


def _store(variable: Any, found: conventions.Packing) -> tuple[ts.TensorStore, float, float | None]:
    """The numbers of an xarray variable `[row, column, band]`: `store`, `scale`, `ignore_value`."""
    dtype = _native(variable.dtype)
    data = getattr(variable, "_data", None)  # `data` would load what is still in a file
    if isinstance(data, np.ndarray) and conventions.is_plain(found, dtype):
        ignore = float(found.missing[0]) if found.missing else None
        return _in_memory(data), 1.0 / float(found.factor), ignore
    preferred = variable.encoding.get("preferred_chunks", {})
    own = tuple(
        max(variable.chunksizes[name]) if name in variable.chunksizes else preferred.get(name, 1)
        for name in variable.dims
    )

    def read_block(row: slice, column: slice, band: slice) -> np.ndarray:
        return np.asarray(variable[row, column, band].values)

    chunk = lazy.block_shape(variable.shape, own, dtype.itemsize)
    return conventions.store(read_block, variable.shape, chunk, dtype, found)


def _wavelengths(path: str, array: Any, band: Any) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Wavelengths of a DataArray: `[band]` nm or None, and notes."""
    along = {
        str(key): c
        for key, c in array.coords.items()
        if c.dims == (band,) and c.dtype.kind in "iuf" and c.size
    }
    named = variables.wavelength_names({key: c.shape for key, c in along.items()})
    others = [
        key
        for key, c in along.items()
        if key not in named and not variables.is_band_list(key)
        if key == str(band) or "wavelength" in (attributes.text(c.attrs.get("standard_name")) or "")
    ]
    lists: list[tuple[str, np.ndarray, str | None]] = []
    for key in (*named, *others):
        about = {str(word): value for word, value in along[key].attrs.items()}
        values = conventions.values(along[key].values, about, f"{path}: {key}")
        unit = attributes.find(about, "units", "unit", "wavelength_units")
        lists.append((key, values, attributes.text(unit)))
    about = {str(word): value for word, value in array.attrs.items()}
    numeric = {key: attributes.numbers(value) for key, value in about.items()}
    shapes = {key: value.shape for key, value in numeric.items() if value is not None}
    for key in variables.wavelength_names(shapes):
        unit = attributes.find(about, "wavelength_units", f"{key}_units", f"{key}_unit")
        listed = np.asarray(numeric[key])
        lists.append((f"The attribute {key!r}", listed, attributes.text(unit)))
    return variables.find_wavelengths(array.sizes[band], lists)


def _place(array: Any, row: Any, column: Any) -> dict[str, Any]:
    """Where a DataArray lies, see `formats.raw.Raw`; empty if it does not say."""
    system = next(
        (
            text
            for c in array.coords.values()
            for key in ("crs_wkt", "spatial_ref")
            if (text := c.attrs.get(key)) and isinstance(text, str)
        ),
        None,
    )
    steps = []
    for name in (column, row):
        if name not in array.coords or array.coords[name].dtype.kind not in "iuf":
            return {}
        centres = np.asarray(array.coords[name].values, np.float64)
        if len(centres) < 2:
            return {}
        step = (centres[-1] - centres[0]) / (len(centres) - 1)
        even = centres[0] + step * np.arange(len(centres))
        if not step or np.abs(centres - even).max() > 0.01 * abs(step):
            return {}
        steps.append((step, centres[0] - step / 2))
    if system is None:
        return {}
    (width, left), (height, top) = steps
    return {"crs": system, "transform": [width, 0.0, left, 0.0, height, top]}
