"""zarr (v2), zarr3 and n5 arrays, local or remote, through TensorStore's own drivers.

A path may be a folder or a URL (`file://`, `gs://`, `s3://`, `http://`, `https://`); which of the
three formats it is, is read from the metadata file in it. Dimension names tell the axes (xarray's
`_ARRAY_DIMENSIONS`, zarr3's `dimension_names`; see `dimensions`), else the wavelengths, else they
are `[row, column, band]`, as TensorStore counts them. Attributes are understood as `dgc prepare`
writes them (`wavelengths` in nm, `scale`, `ignore_value`, `geo`) and by the CF conventions (see
`conventions`); the fill value of the array itself is no data, too. Wavelengths and bad-band lists
may be arrays of the same group.
"""

import functools
import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorstore as ts

from dgc_jax.data import checksums
from dgc_jax.data.formats import attributes, conventions, dimensions, lazy, limits, variables
from dgc_jax.data.formats.raw import Raw
from dgc_jax.errors import InputError, reason
from dgc_jax.names import utf8_path

_METADATA = {"zarr3": "zarr.json", "zarr": ".zarray", "n5": "attributes.json"}
_LOOKED_AT = 10_000  # files of a store among which links are looked for
_DEPTH = 3  # how far below a group its arrays are looked for


def is_store(folder: str) -> bool:
    """Whether a local folder holds an array or a group of one of the three formats."""
    return any(os.path.isfile(os.path.join(folder, f)) for f in (*_METADATA.values(), ".zgroup"))


def read(path: str, *, variable: str | None = None, axes: str | None = None) -> Raw:
    """Opens an array.

    Args:
        path: folder or URL of an array, or of a group with arrays in it.
        variable: path of the array within the group.
        axes: order of the stored axes, such as `"brc"`; None is `"rcb"`.

    Raises:
        InputError: there is no array, there are several, it is not a three-dimensional one, or it
            is a prepared scene of which a file is missing.
    """
    if "://" not in path:
        checksums.check(path)
    try:
        folder = _folder(path, variable or "")
        driver, metadata = _identify(folder)
        if driver is None:
            path = f"{path}/{variable.strip('/')}" if variable else path
            shapes = _members(path, folder, metadata)
            cubes = [name for name, shape in shapes.items() if len(shape) == 3]
            # A group without a list of its members (remote, not consolidated) has none to offer.
            variable = variables.choose(path, shapes, cubes, None, "3-D array that can be listed")
            folder = _folder(path, variable)
            driver, metadata = _identify(folder)
            group = path
        else:
            group, shapes = _siblings(path, variable)
        store = _open(folder, driver or "zarr", lazy.CONTEXT)
        about = _attributes(folder, driver, metadata)
        names = _dimension_names(driver, metadata, about)
        lists = _wavelength_lists(group, shapes, names, about)
        flags = [
            (name, _load(group, name)[0])
            for name, shape in shapes.items()
            if variables.is_band_list(name) and len(shape) == 1 and shape[0] <= limits.LISTED
        ]
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            path,
            found=f"cannot be opened as a zarr, zarr3 or n5 array ({reason(error)})",
            remedy="check the address",
        ) from error

    name = variable or "the array"
    counts = {values.size for _, values, _ in lists}
    order, guess = variables.order_axes(path, name, store.shape, axes, counts, names)
    bands = store.shape[order.index("b")]
    wavelengths, notes = variables.find_wavelengths(bands, lists)
    for key, value in about.items():
        if variables.is_band_list(key) and (listed := attributes.numbers(value)) is not None:
            flags.insert(0, (f"The attribute {key!r}", listed))
    good, more = variables.find_good_bands(bands, flags)
    scale, geo = _number(about.get("scale")), about.get("geo")
    dtype = store.dtype.numpy_dtype
    fill = [] if store.fill_value is None else [store.fill_value]
    found = conventions.packing(f"{path}: {name}", about, dtype, bands, fill)
    if conventions.is_plain(found, dtype):
        factor = 1.0 / float(found.factor)
        ignore = float(found.missing[0]) if found.missing else None
        store = store.transpose([order.index(axis) for axis in "rcb"])
    else:
        store, factor, ignore = _unpacked(folder, driver or "zarr", order, found)
    return Raw(
        store,
        wavelengths=wavelengths,
        scale=factor * (scale if scale is not None and scale > 0 else 1.0),
        ignore_value=ignore,
        good_bands=good,
        geo=geo if isinstance(geo, dict) else {},
        notes=(*(() if guess is None else (guess,)), *notes, *more, *found.notes),
    )


def read_map(
    path: str, shape: tuple[int, int] | None, variable: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """A label map: an array, or the one of a group that fits.

    Args:
        path: folder.
        shape: rows and columns of the scene, if known.
        variable: path of the array within the group, if there are several that fit.

    Returns:
        Its numbers `[row, column]` and where it says that there is no data, bool of that shape.

    Raises:
        InputError: there is no such array.
    """
    if not is_store(path):
        raise InputError(
            path,
            expected="a zarr label map",
            found="a folder of something else",
            remedy="check the path",
        )
    try:
        folder = _folder(path, variable or "")
        driver, metadata = _identify(folder)
        if driver is None:
            shapes = _members(path, folder, metadata)
            folder = _folder(path, variables.choose_map(path, shapes, shape, None))
            driver, metadata = _identify(folder)
        store = _open(folder, driver or "zarr", lazy.OPENING)
        limits.check_whole(path, store.shape, store.dtype.numpy_dtype.itemsize)
        values = store.read().result()
        about = _attributes(folder, driver, metadata)
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            path,
            found=f"could not be opened as a zarr label map ({reason(error)})",
            remedy="copy it again",
        ) from error
    fill = [] if store.fill_value is None else [store.fill_value]
    missing = conventions.missing(values, about, fill)
    letters = [dimensions.letter(each) for each in _dimension_names(driver, metadata, about)]
    if letters == ["c", "r"]:
        return values.T, missing.T
    return values, missing


def _open(folder: ts.KvStore, driver: str, context: ts.Context) -> ts.TensorStore:
    """Opens an array; refuses one whose chunks cannot be read, or lie elsewhere."""
    store = ts.open(
        {
            "driver": driver,
            "kvstore": folder.spec().to_json(),
            "recheck_cached_data": "open",
            "recheck_cached_metadata": "open",
        },
        context=context,
        read=True,
    ).result()
    local = folder.spec().to_json()
    place = local["path"] if local.get("driver") == "file" else None
    if place is not None:
        _refuse_links(place)
    stored = None if place is None else functools.partial(limits.folder_bytes, place)
    inner, outer = (
        [part or size for part, size in zip(chunk or store.shape, store.shape, strict=True)]
        for chunk in (store.chunk_layout.read_chunk.shape, store.chunk_layout.write_chunk.shape)
    )
    itemsize = store.dtype.numpy_dtype.itemsize
    limits.check_chunk(folder.url, inner, store.shape, itemsize, stored)
    if outer != inner:  # chunks in shards, each of which begins or ends with a list of its chunks
        listed = [-(-n // m) for n, m in zip(outer, inner, strict=True)]
        limits.check_chunk(f"{folder.url}, as lists in its shards,", listed, listed, 16, stored)
    return store


def _refuse_links(folder: str) -> None:
    """Refuses a store that shows files from elsewhere, which whoever sent it chose.

    Only its first files are looked at: who wants to hide a link among a million files can, but not
    among those that are read first.
    """
    home = os.path.realpath(folder)
    seen = 0
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(place, name)
            seen += 1
            if os.path.islink(path) and not os.path.realpath(path).startswith(home + os.sep):
                raise InputError(
                    path,
                    found="is a link to a file outside of its store, which is not followed",
                    remedy="copy the store with what its links lead to (cp -rL)",
                )
        if seen > _LOOKED_AT:
            return


def _unpacked(
    folder: ts.KvStore, driver: str, order: str, found: conventions.Packing
) -> tuple[ts.TensorStore, float, float | None]:
    """An array whose numbers need more than a factor: store, scale and ignore value."""
    # Read with threads of its own, since those of the store that waits for it may all be waiting.
    inner = _open(folder, driver, ts.Context({"data_copy_concurrency": {"limit": 4}}))
    inner = inner.transpose([order.index(axis) for axis in "rcb"])
    own = inner.chunk_layout.read_chunk.shape or (1, 1, 1)
    dtype = inner.dtype.numpy_dtype
    shape = (inner.shape[0], inner.shape[1], inner.shape[2])
    chunk = lazy.block_shape(shape, tuple(n or 1 for n in own), dtype.itemsize)

    def read_block(row: slice, column: slice, band: slice) -> np.ndarray:
        return inner[row, column, band].read().result()

    return conventions.store(read_block, shape, chunk, dtype, found)


def _folder(path: str, inner: str) -> ts.KvStore:
    """The files of an array or group, by their names relative to it."""
    inner = f"{inner.strip('/')}/" if inner.strip("/") else ""
    if "://" in path:
        url = f"{path.rstrip('/')}/{inner}"
        return ts.KvStore.open(url, context=lazy.OPENING).result()
    spec = {"driver": "file", "path": f"{utf8_path(os.path.abspath(path))}/{inner}"}
    return ts.KvStore.open(spec).result()


def _read_json(folder: ts.KvStore, name: str) -> dict[str, Any] | None:
    found = folder.read(name).result()
    if found.state != "value":
        return None
    content = json.loads(found.value)
    if not isinstance(content, dict):
        raise ValueError(f"{name} is not a JSON object")
    return content


def _identify(folder: ts.KvStore) -> tuple[str | None, dict[str, Any]]:
    """Which driver reads the array in a folder, None for a group of arrays; and its metadata."""
    for driver, name in _METADATA.items():
        metadata = _read_json(folder, name)
        if metadata is not None:
            is_array = {
                "zarr3": metadata.get("node_type") == "array",
                "zarr": True,
                "n5": "dimensions" in metadata,
            }[driver]
            return driver if is_array else None, metadata
    if (metadata := _read_json(folder, ".zgroup")) is not None:
        return None, metadata
    raise InputError(
        folder.url,
        expected="the folder of a zarr, zarr3 or n5 array or group",
        found=f"none of {', '.join(_METADATA.values())} and .zgroup in it",
        remedy="check the path",
    )


def _members(
    path: str, folder: ts.KvStore, metadata: Mapping[str, Any]
) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays of a group: from its consolidated metadata, or by looking (local)."""
    consolidated = metadata.get("consolidated_metadata") or _read_json(folder, ".zmetadata") or {}
    shapes = {
        name.removesuffix("/.zarray"): tuple(entry["shape"])
        for name, entry in consolidated.get("metadata", {}).items()
        if "shape" in entry
    }
    if shapes or "://" in path:
        return shapes
    for parent, children, files in os.walk(path):
        inner = os.path.relpath(parent, path)
        if not any(name in files for name in (*_METADATA.values(), ".zgroup")):
            children.clear()
            continue
        driver, found = _identify(_folder(path, inner)) if inner != "." else (None, {})
        if driver is not None:
            shapes[inner] = tuple(found["dimensions" if driver == "n5" else "shape"])
        if driver is not None or inner.count(os.sep) + 1 >= _DEPTH:
            children.clear()
    return shapes


def _siblings(path: str, variable: str | None) -> tuple[str, dict[str, tuple[int, ...]]]:
    """The group that an array lies in, and its arrays' shapes; none if it cannot be listed."""
    group = path
    if variable is None:  # the array itself was given
        group = os.path.dirname(os.path.abspath(path))
        if "://" in path or not is_store(group):
            return path, {}
    try:
        folder = _folder(group, "")
        driver, metadata = _identify(folder)
        shapes = _members(group, folder, metadata) if driver is None else {}
    except (InputError, OSError, ValueError):
        return path, {}
    if variable is None:
        shapes = {name: shape for name, shape in shapes.items() if "/" not in name}
    return group, shapes


def _attributes(
    folder: ts.KvStore, driver: str | None, metadata: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The attributes of an array, wherever its format keeps them."""
    if driver == "zarr3":
        return metadata.get("attributes") or {}
    return metadata if driver == "n5" else _read_json(folder, ".zattrs") or {}


def _dimension_names(
    driver: str | None, metadata: Mapping[str, Any], about: Mapping[str, Any]
) -> list[str | None]:
    """Names of the axes in the order of the shape; none if the file does not say."""
    if driver == "n5":  # lists its axes in reverse, and says so nowhere
        return []
    names = metadata.get("dimension_names") or about.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, list):
        return []
    return [name if isinstance(name, str) else None for name in names]


def _load(group: str, name: str) -> tuple[np.ndarray, Mapping[str, Any]]:
    """A short array of a group, whole, and its attributes."""
    folder = _folder(group, name)
    driver, metadata = _identify(folder)
    about = _attributes(folder, driver, metadata)
    values = _open(folder, driver or "zarr", lazy.OPENING).read().result()
    return conventions.values(values, about, f"{group}: {name}"), about


def _wavelength_lists(
    group: str,
    shapes: Mapping[str, tuple[int, ...]],
    names: list[str | None],
    about: Mapping[str, Any],
) -> list[tuple[str, np.ndarray, str | None]]:
    """Name, values and unit of what may be wavelengths: the array's attributes first.

    Then the coordinate of its band axis if it holds wavelengths, then what is called like them.
    """
    lists: list[tuple[str, np.ndarray, str | None]] = []
    numeric = {key: attributes.numbers(value) for key, value in about.items()}
    listed = {key: value.shape for key, value in numeric.items() if value is not None}
    for key in variables.wavelength_names(listed):
        unit = attributes.text(
            attributes.find(about, "wavelength_units", f"{key}_units", f"{key}_unit")
        )
        lists.append((f"The attribute {key!r}", np.asarray(numeric[key]), unit))
    shapes = {name: shape for name, shape in shapes.items() if math.prod(shape) <= limits.LISTED}
    called = variables.wavelength_names(shapes)
    axis = [name for name in names if dimensions.letter(name) == "b"]
    for name, shape in shapes.items():
        if len(shape) == 1 and shape[0] > 1 and name not in called:
            found = _entry(group, name) if name.rsplit("/")[-1] in axis else None
            if found and variables.find_wavelengths(shape[0], [found])[0] is not None:
                lists.append(found)
    return lists + [_entry(group, name) for name in called]


def _entry(group: str, name: str) -> tuple[str, np.ndarray, str | None]:
    """Name, values and unit of an array of a group."""
    values, about = _load(group, name)
    return name, values, attributes.text(attributes.find(about, "units", "unit"))


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None
