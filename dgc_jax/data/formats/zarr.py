"""zarr (v2), zarr3 and n5 arrays, local or remote, through TensorStore's own drivers.

A path may be a folder or a URL (`file://`, `gs://`, `s3://`, `http://`, `https://`); which of the
three formats it is, is read from the metadata file in it. The axes are `[row, column, band]`, as
TensorStore counts them, unless told otherwise. Attributes are understood as `dgc prepare` writes
them: `wavelengths` (nm), `scale`, `ignore_value`, `geo`.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorstore as ts

from dgc_jax.data.formats import lazy, variables
from dgc_jax.data.formats.raw import Raw
from dgc_jax.errors import InputError
from dgc_jax.names import utf8_path

_METADATA = {"zarr3": "zarr.json", "zarr": ".zarray", "n5": "attributes.json"}
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
        InputError: there is no array, there are several, or it is not a three-dimensional one.
    """
    try:
        folder = _folder(path, variable or "")
        driver, metadata = _identify(folder)
        if driver is None:
            shapes = _members(path, folder, metadata)
            cubes = [name for name, shape in shapes.items() if len(shape) == 3]
            # A group without a list of its members (remote, not consolidated) has none to offer.
            variable = variables.choose(path, shapes, cubes, None, "3-D array that can be listed")
            folder = _folder(path, variable)
            driver, metadata = _identify(folder)
        store = ts.open(
            {
                "driver": driver,
                "kvstore": folder.spec().to_json(),
                "recheck_cached_data": "open",
                "recheck_cached_metadata": "open",
            },
            context=lazy.CONTEXT,
            read=True,
        ).result()
        attributes = metadata
        if driver == "zarr3":
            attributes = metadata.get("attributes", {})
        elif driver == "zarr":
            attributes = _read_json(folder, ".zattrs") or {}
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0].partition(" [")[0].rstrip(".")
        raise InputError(
            f"{path} cannot be opened as a zarr, zarr3 or n5 array ({reason}): check the address."
        ) from error

    order, _ = variables.order_axes(path, variable or "the array", store.shape, axes or "rcb", ())
    store = store.transpose([order.index(axis) for axis in "rcb"])
    return _with_attributes(store, attributes)


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
        f"{folder.url} holds none of {', '.join(_METADATA.values())} and .zgroup: expected the "
        "folder of a zarr, zarr3 or n5 array or group, so check the path."
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


def _with_attributes(store: ts.TensorStore, attributes: Mapping[str, Any]) -> Raw:
    """What an array's attributes say, each ignored if it is not what `dgc prepare` writes."""
    bands = store.shape[2]
    notes: tuple[str, ...] = ()
    wavelengths = None
    if isinstance(listed := attributes.get("wavelengths"), list):
        values = np.array([_number(w) for w in listed], np.float64)  # None becomes NaN
        wavelengths, notes = variables.find_wavelengths(
            bands, [("The attribute 'wavelengths'", values, None)]
        )
    scale = _number(attributes.get("scale"))
    geo = attributes.get("geo")
    return Raw(
        store,
        wavelengths=wavelengths,
        scale=scale if scale is not None and scale > 0 else 1.0,
        ignore_value=_number(attributes.get("ignore_value")),
        geo=geo if isinstance(geo, dict) else {},
        notes=notes,
    )


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None
