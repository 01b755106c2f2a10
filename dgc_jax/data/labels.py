"""Label maps: which class each pixel of a scene truly belongs to, for scoring only.

Convention: uint8 `[row, column]`, 0 = unlabelled, then classes 1..C. Files number their classes in
their own ways; `unlabelled` names the number that means "not labelled". Where that is not 0, 0 is a
class like the others, so numbers below it move up by one: with 255, 0..C-1 become 1..C.

Formats: PNG, TIFF and BMP (palette or grey), NPY, MATLAB, ENVI classification, zarr, and polygons
drawn in LabelMe (https://github.com/wkentaro/labelme). A map of class fractions, as unmixing data
sets have, becomes the class with the largest share.
"""

import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import tensorstore as ts

from dgc_jax.data.formats import envi, matlab, variables
from dgc_jax.data.formats.envi_header import read_header
from dgc_jax.errors import InputError
from dgc_jax.names import utf8_path

IMAGES = (".png", ".tif", ".tiff", ".bmp")
SUFFIXES = (*IMAGES, ".npy", ".mat", ".json", ".zarr", ".hdr")
"""Endings by which label files are found beside scenes (ENVI data through their headers)."""

OUTSIDE = "background"
"""Name of what lies outside all LabelMe shapes, where that is a class."""

_IGNORE = "__ignore__"  # LabelMe's own word for pixels that are to have no label


class LabelMap(NamedTuple):
    """The truth of one scene.

    Attributes:
        labels: uint8 `[row, column]`, 0 = unlabelled, then 1..C.
        names: of the classes 1..C, if the file has them.
    """

    labels: np.ndarray
    names: tuple[str, ...] | None = None


def read_labels(
    path: str,
    shape: tuple[int, int] | None = None,
    *,
    unlabelled: int = 0,
    variable: str | None = None,
    classes: Sequence[str] | None = None,
) -> LabelMap:
    """Reads a label map.

    Args:
        path: of the file; `"file.mat:name"` also names the variable.
        shape: rows and columns of the scene, if known.
        unlabelled: the file's number for unlabelled pixels.
        variable: the array to read, in a MATLAB file: `[row, column]` numbers of classes, or
            fractions `[row, column, class]` or `[class, pixel]`.
        classes: names of the classes 1..C, in this order; LabelMe polygons must bear one of them.

    Returns:
        The map and the names of its classes: `classes`, or what the file says, or None.

    Raises:
        InputError: the file cannot be read as a label map of the scene.
    """
    if variable is None:
        path, variable = split_variable(path)
    if not os.path.exists(path):
        raise InputError(f"{path} does not exist: give the label map's path, or none.")
    suffix = os.path.splitext(path)[1].lower()
    names: Sequence[str] | None = classes
    if suffix == ".json":
        labels, names = _read_labelme(path, shape, unlabelled, classes)
    else:
        values, numbered = _read_numbers(path, suffix, shape, variable)
        labels = _renumbered(path, values, unlabelled)
        if names is None and numbered is not None:
            names = [name for number, name in enumerate(numbered) if number != unlabelled]
    if labels.ndim != 2:
        raise InputError(
            f"{path} has shape {list(labels.shape)}, but a label map is [row, column]."
        )
    if shape is not None and labels.shape != tuple(shape):
        raise InputError(
            f"{path} has {labels.shape[0]} x {labels.shape[1]} pixels (rows x columns), but its "
            f"scene has {shape[0]} x {shape[1]}: give the label map of this scene."
        )
    if classes is not None and labels.max(initial=0) > len(classes):
        raise InputError(
            f"{path} holds class {labels.max()}, but {len(classes)} classes are named: "
            f"{', '.join(classes)}."
        )
    return LabelMap(labels, None if names is None else tuple(names))


def split_variable(path: str) -> tuple[str, str | None]:
    """`"samson.mat:S_GT"` -> `("samson.mat", "S_GT")`; anything else stays, with None."""
    file, colon, variable = path.rpartition(":")
    if colon and file.lower().endswith(".mat") and not os.path.exists(path):
        return file, variable
    return path, None


def labelme_names(path: str) -> set[str]:
    """Names of the classes of a LabelMe file; those labelled `__ignore__` have none."""
    return {shape["label"] for shape in _labelme_shapes(path)[0]} - {_IGNORE}


def _read_numbers(
    path: str, suffix: str, shape: tuple[int, int] | None, variable: str | None
) -> tuple[np.ndarray, Sequence[str] | None]:
    """The numbers as they stand in the file, and the names of 0, 1, 2, ... if it has them."""
    if suffix in IMAGES:
        return _read_image(path), None
    if suffix == ".npy":
        return _read_npy(path), None
    if suffix == ".mat":
        return _read_matlab(path, shape, variable), None
    if os.path.isdir(path):
        return _read_zarr(path), None
    if suffix in (".hdr", *filter(None, envi.DATA_SUFFIXES)):
        return _read_envi(path)
    raise InputError(
        f"{path} is not a label map that can be read: expected one of {', '.join(SUFFIXES)}."
    )


def _renumbered(path: str, values: np.ndarray, unlabelled: int) -> np.ndarray:
    """The file's numbers as uint8: 0 = unlabelled, then 1..C."""
    if values.dtype.kind not in "iufb":
        raise InputError(f"{path} holds {values.dtype} values, expected numbers of classes.")
    numbers = np.where(np.isfinite(values), values, unlabelled)
    whole = numbers.astype(np.int64)
    if (whole != numbers).any():
        raise InputError(
            f"{path} holds {numbers[whole != numbers][0]:g}, expected whole numbers of classes."
        )
    labels = whole
    if unlabelled != 0:
        moved = whole + ((whole < unlabelled) | (unlabelled < 0))
        labels = np.where(whole == unlabelled, 0, moved)
    if labels.min(initial=0) < 0 or labels.max(initial=0) > 255:
        raise InputError(
            f"{path} holds numbers from {whole.min()} to {whole.max()}, expected at most 255 "
            "classes counted from 0 or 1: say with unlabelled which number means no label."
        )
    return labels.astype(np.uint8)


def _read_image(path: str) -> np.ndarray:
    try:
        with PIL.Image.open(path) as image:
            if image.mode not in ("1", "L", "P", "I", "F") and not image.mode.startswith("I;16"):
                raise InputError(
                    f"{path} is a colour picture ({image.mode}), but a label map holds one number "
                    "a pixel: save it as a palette or grey picture."
                )
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} could not be read as a picture: {error}.") from error


def _read_npy(path: str) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} could not be read as NPY: {error}.") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is an archive of several arrays: save the map with numpy.save.")
    return array


def _read_zarr(path: str) -> np.ndarray:
    driver = "zarr3" if os.path.exists(os.path.join(path, "zarr.json")) else "zarr"
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": utf8_path(path)}}
    try:
        store = ts.open(spec, read=True).result()
    except ValueError as error:
        reason = str(error).split(" [")[0]
        raise InputError(f"{path} could not be opened as a zarr label map: {reason}.") from error
    return store.read().result()


def _read_envi(path: str) -> tuple[np.ndarray, Sequence[str] | None]:
    raw = envi.read(path)
    if raw.store.shape[2] != 1:
        raise InputError(f"{path} has {raw.store.shape[2]} bands, but a label map has one.")
    header = read_header(envi.find_header(path) or path)
    names = header.get("class names")
    names = [name.strip() for name in names] if isinstance(names, list) else None
    return raw.store[:, :, 0].read().result(), names


def _read_matlab(path: str, shape: tuple[int, int] | None, variable: str | None) -> np.ndarray:
    found = matlab.open_variables(path, logical=True)
    maps = [name for name, size in found.shapes.items() if len(size) == 2 and min(size) > 1]
    fitting = [name for name in maps if found.shapes[name] == shape]
    wanted = "2-D numeric variable"
    if len(fitting) == 1:
        maps = fitting
    elif shape is not None and len(maps) != 1:
        maps, wanted = (
            fitting,
            f"2-D numeric variable of the scene's {shape[0]} x {shape[1]} pixels",
        )
    values = found.load(variables.choose(path, found.shapes, maps, variable, wanted))
    if shape is not None and values.ndim == 2 and values.shape[1] == shape[0] * shape[1]:
        # [class, pixel], the pixels running down the columns
        values = values.reshape((len(values), *shape), order="F").transpose(1, 2, 0)
    if values.ndim == 3:  # fractions [row, column, class]
        shares = np.nan_to_num(values.astype(np.float64))
        return np.where(shares.any(-1), shares.argmax(-1) + 1, 0)
    return values


def _read_labelme(
    path: str,
    shape: tuple[int, int] | None,
    unlabelled: int,
    classes: Sequence[str] | None,
) -> tuple[np.ndarray, Sequence[str]]:
    """Shapes painted in their order, and the names of the classes 1..C.

    What lies outside is unlabelled, or class 1 if another number is to mean unlabelled.
    """
    shapes, size = _labelme_shapes(path)
    size = size or shape
    if size is None:
        raise InputError(f"{path} does not say imageHeight and imageWidth: give the scene's shape.")
    found = labelme_names(path)
    if classes is None:
        classes = sorted(found) if unlabelled == 0 else [OUTSIDE, *sorted(found - {OUTSIDE})]
    unknown = found.difference(classes)
    if unknown:
        raise InputError(
            f"{path} has shapes labelled {', '.join(sorted(unknown))}, but the classes are "
            f"{', '.join(classes)}: name them all."
        )
    labels = np.full(size, 0 if unlabelled == 0 else 1, np.uint8)
    for item in shapes:
        name = item["label"]
        labels[_inside(path, item, size)] = 0 if name == _IGNORE else classes.index(name) + 1
    return labels, classes


def _labelme_shapes(path: str) -> tuple[list[dict[str, Any]], tuple[int, int] | None]:
    """The file's shapes, and the picture's rows and columns if it says."""
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream)
        shapes = [dict(shape) for shape in content["shapes"]]
        for shape in shapes:
            shape["label"] = str(shape["label"])
            shape["points"] = np.asarray(shape["points"], np.float64).reshape(-1, 2)
        height, width = content.get("imageHeight"), content.get("imageWidth")
        return shapes, (int(height), int(width)) if height and width else None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is not a LabelMe file ({error!r}): expected shapes.") from error


def _inside(path: str, item: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """`[row, column]` bool: pixels whose centre lies in a LabelMe shape.

    LabelMe's points are (x, y) in pixels from the picture's upper left corner, so the centre of
    pixel (row, column) is at (column + 0.5, row + 0.5).
    """
    from matplotlib.path import Path  # only here: it costs a third of a second to import

    points, kind = item["points"], item.get("shape_type", "polygon")
    inside = np.zeros(size, bool)
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        points = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    elif kind == "circle" and len(points) == 2:
        radius = np.hypot(*(points[1] - points[0]))
        turn = np.linspace(0, 2 * np.pi, 360, endpoint=False)
        points = points[0] + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    elif kind != "polygon" or len(points) < 3:
        raise InputError(
            f"{path} has a {kind} of {len(points)} points labelled {item['label']!r}, expected "
            "polygons, rectangles and circles: redraw it as a polygon."
        )
    limit = np.array(size[::-1])
    low = np.clip(np.floor(points.min(0)), 0, limit).astype(int)  # x, y
    high = np.clip(np.ceil(points.max(0)), 0, limit).astype(int)
    column, row = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
    centres = np.stack([column.ravel(), row.ravel()], axis=1) + 0.5
    if len(centres):
        inside[low[1] : high[1], low[0] : high[0]] = (
            Path(points).contains_points(centres).reshape(column.shape)
        )
    return inside
