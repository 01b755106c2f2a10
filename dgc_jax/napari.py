"""A reader for napari (0.5 or later): the maps of a workdir as Labels, with names and colours.

napari finds it through `napari.yaml`; neither it nor anything of JAX is imported here.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dgc_jax.data.formats.envi_header import read_header
from dgc_jax.data.labels import read_labels
from dgc_jax.errors import InputError

Layer = tuple[np.ndarray, dict[str, Any], str]


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[Layer]] | None:
    """The reader of a workdir, a folder of maps or one map; None for anything else.

    Args:
        path: what was dropped onto napari.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return read if paths and all(map(_headers, paths)) else None


def read(path: str | Sequence[str]) -> list[Layer]:
    """The maps as layers of napari.

    Args:
        path: of a workdir, of a folder of ENVI maps, or of the header of one.

    Returns:
        A Labels layer a map: `[row, column]` uint8, 0 = no data; its colours, and a table of the
        names of its clusters.

    Raises:
        InputError: if a map cannot be read.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return [_layer(header) for each in paths for header in _headers(each)]


def _headers(path: str) -> list[str]:
    """The headers of the label maps that a path stands for."""
    if os.path.isdir(os.path.join(path, "maps")):
        path = os.path.join(path, "maps")
    if os.path.isdir(path):
        inside = sorted(name for name in os.listdir(path) if name.lower().endswith(".hdr"))
        found = [os.path.join(path, name) for name in inside]
    else:
        found = [path] if path.lower().endswith(".hdr") else []
    return [header for header in found if _is_map(header)]


def _is_map(header: str) -> bool:
    try:
        about = read_header(header)
    except (InputError, OSError):
        return False
    return str(about.get("file type", "")).lower() == "envi classification"


def _layer(header: str) -> Layer:
    about, labels = read_header(header), read_labels(header).labels
    names, lookup = about.get("class names", []), about.get("class lookup", [])
    colours = np.array(lookup, np.float64).reshape(-1, 3) / 255
    table: dict[int | None, Any] = {None: (0.0, 0.0, 0.0, 0.0), 0: (0.0, 0.0, 0.0, 0.0)}
    table |= {value: (*colour, 1.0) for value, colour in enumerate(colours.tolist()) if value}
    about_layer = {
        "name": os.path.splitext(os.path.basename(header))[0],
        "colormap": table,
        "features": {"index": list(range(len(names))), "name": list(names)},
    }
    return labels, about_layer, "labels"
