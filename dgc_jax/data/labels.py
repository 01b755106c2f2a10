"""Label maps: which class each pixel of a scene truly belongs to, for scoring only.

Convention: uint8 `[row, column]`, 0 = unlabelled, then classes 1..C. Files number their classes in
their own ways; `unlabelled` names the number that means "not labelled". Where that is not 0, 0 is a
class like the others, so numbers below it move up by one: with 255, 0..C-1 become 1..C.

Where a file says itself which number means "no data" (GDAL's nodata of a TIFF, a transparent PNG
colour, ENVI's `data ignore value`, `_FillValue` and the like), those pixels are unlabelled too.

Formats: PNG, TIFF and BMP (palette or grey), NPY, MATLAB, ENVI classification, HDF5, NetCDF4, zarr,
and polygons drawn in LabelMe (https://github.com/wkentaro/labelme). A map of class fractions, as
unmixing data sets have, becomes the class with the largest share.
"""

import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import PIL.TiffImagePlugin

from dgc_jax.data.companions import BOMBS, open_picture
from dgc_jax.data.formats import conventions, envi, hdf5, limits, mat_file, variables, zarr
from dgc_jax.data.formats.detect import HDF5_SUFFIXES
from dgc_jax.data.formats.envi_header import read_header
from dgc_jax.errors import InputError, reading, reason

IMAGES = (".png", ".tif", ".tiff", ".bmp")
SUFFIXES = (*IMAGES, ".npy", ".mat", *HDF5_SUFFIXES, ".json", ".zarr", ".hdr")
"""Endings by which label files are found beside scenes (ENVI data through their headers)."""

OUTSIDE = "background"
"""Name of what lies outside all LabelMe shapes, where that is a class."""

_GDAL_NODATA, _SAMPLE_FORMAT, _BITS = 42113, 339, 258  # tags of a TIFF
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
        variable: the array to read, in a MATLAB, HDF5 or zarr file: `[row, column]` numbers of
            classes, or (MATLAB) fractions `[row, column, class]` or `[class, pixel]`.
        classes: names of the classes 1..C, in this order; LabelMe polygons must bear one of them.

    Returns:
        The map and the names of its classes: `classes`, or what the file says, or None.

    Raises:
        InputError: the file cannot be read as a label map of the scene.
    """
    if variable is None:
        path, variable = split_variable(path)
    if not os.path.exists(path):
        raise InputError(path, found="does not exist", remedy="give the label map's path, or none")
    suffix = os.path.splitext(path)[1].lower()
    names: Sequence[str] | None = classes
    if suffix == ".json":
        labels, names = _read_labelme(path, shape, unlabelled, classes)
    else:
        with reading(path):
            values, missing, numbered = _read_numbers(path, suffix, shape, variable)
        labels = _renumbered(path, values, unlabelled, missing)
        if names is None and numbered is not None:
            names = [name for number, name in enumerate(numbered) if number != unlabelled]
    if labels.ndim != 2:
        raise InputError(
            path,
            expected="a label map [row, column]",
            found=f"shape {list(labels.shape)}",
            remedy="save one number a pixel",
        )
    if shape is not None and labels.shape != tuple(shape):
        raise _other_size(path, labels.shape, shape)
    if classes is not None and labels.max(initial=0) > len(classes):
        raise InputError(
            path,
            expected=f"classes 0..{len(classes)}, which are named: {', '.join(classes)}",
            found=f"class {labels.max()}",
            remedy="name them all",
        )
    return LabelMap(labels, None if names is None else tuple(names))


def _other_size(path: str, found: Sequence[int], shape: tuple[int, int]) -> InputError:
    return InputError(
        path,
        expected=f"{shape[0]} x {shape[1]} pixels (rows x columns), as its scene has",
        found=f"{found[0]} x {found[1]}",
        remedy="give the label map of this scene",
    )


def split_variable(path: str) -> tuple[str, str | None]:
    """`"samson.mat:S_GT"` -> `("samson.mat", "S_GT")`; anything else stays, with None."""
    file, colon, variable = path.rpartition(":")
    if colon and file.lower().endswith((".mat", *HDF5_SUFFIXES)) and not os.path.exists(path):
        return file, variable
    return path, None


def labelme_names(path: str) -> set[str]:
    """Names of the classes of a LabelMe file; those labelled `__ignore__` have none."""
    return {shape["label"] for shape in _labelme_shapes(path)[0]} - {_IGNORE}


def _read_numbers(
    path: str, suffix: str, shape: tuple[int, int] | None, variable: str | None
) -> tuple[np.ndarray, np.ndarray | None, Sequence[str] | None]:
    """The numbers as they stand in the file, where it says that there are none, class names.

    The second is bool of the same shape or None; the names are those of 0, 1, 2, ... or None.
    """
    if suffix in IMAGES:
        return *_read_image(path, shape), None
    if suffix == ".npy":
        return _read_npy(path), None, None
    if suffix == ".mat":
        return _read_matlab(path, shape, variable), None, None
    if suffix in HDF5_SUFFIXES:
        return *hdf5.read_map(path, shape, variable), None
    if os.path.isdir(path):
        return *zarr.read_map(path, shape, variable), None
    if suffix in (".hdr", *filter(None, envi.DATA_SUFFIXES)):
        return _read_envi(path)
    raise InputError(
        path,
        expected=f"a label map, one of {', '.join(SUFFIXES)}",
        found="another format",
        remedy="export it as one of these",
    )


def _renumbered(
    path: str, values: np.ndarray, unlabelled: int, missing: np.ndarray | None
) -> np.ndarray:
    """The file's numbers as uint8: 0 = unlabelled or missing, then 1..C."""
    if values.dtype.kind not in "iufb":
        raise InputError(
            path,
            expected="numbers of classes",
            found=f"{values.dtype} values",
            remedy="save it as whole numbers",
        )
    known = np.isfinite(values) if missing is None else np.isfinite(values) & ~missing
    numbers = np.where(known, values, unlabelled)
    whole = numbers.astype(np.int64)
    if (whole != numbers).any():
        raise InputError(
            path,
            expected="whole numbers of classes",
            found=f"{numbers[whole != numbers][0]:g}",
            remedy="save it as whole numbers",
        )
    labels = whole
    if unlabelled != 0:
        moved = whole + ((whole < unlabelled) | (unlabelled < 0))
        labels = np.where(whole == unlabelled, 0, moved)
    if labels.min(initial=0) < 0 or labels.max(initial=0) > 255:
        raise InputError(
            path,
            expected="at most 255 classes counted from 0 or 1",
            found=f"numbers from {whole.min()} to {whole.max()}",
            remedy="say with unlabelled= which number means no label",
        )
    return labels.astype(np.uint8)


def _read_image(path: str, shape: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Numbers, and where they are the picture's nodata (TIFF) or transparent colour (PNG)."""
    try:
        with open_picture(path) as image:
            if shape is not None and image.size != shape[::-1]:
                raise _other_size(path, image.size[::-1], shape)
            if image.mode not in ("1", "L", "P", "I", "F") and not image.mode.startswith("I;16"):
                raise InputError(
                    path,
                    expected="a label map, which holds one number a pixel",
                    found=f"a colour picture ({image.mode})",
                    remedy="save it as a palette or grey picture",
                )
            values = np.asarray(image)
            said = image.info.get("transparency")
            if isinstance(said, bytes):  # opacity of each palette entry
                said = [index for index, opacity in enumerate(said) if opacity == 0]
            if isinstance(image, PIL.TiffImagePlugin.TiffImageFile):
                said = image.tag_v2.get(_GDAL_NODATA)
                # Pillow takes signed bytes for unsigned ones, and unsigned 32 bits for signed ones.
                signed = image.tag_v2.get(_SAMPLE_FORMAT, (1,))[0] == 2
                if (values.dtype, signed) in ((np.uint8, True), (np.int32, False)):
                    whole = image.tag_v2.get(_BITS, (8,))[0] == 8 * values.dtype.itemsize
                    values = values.view(np.int8 if signed else np.uint32) if whole else values
    except InputError:
        raise
    except (OSError, ValueError, EOFError, SyntaxError, AttributeError, *BOMBS) as error:
        raise InputError(
            path, found=f"could not be read as a picture ({reason(error)})", remedy="save it as PNG"
        ) from error
    if isinstance(said, str):
        said = said.rstrip("\0")
    return values, conventions.missing(values, {"nodata": said}, ())


def _read_npy(path: str) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy parses headers with Python's own parser, which raises much
        raise InputError(
            path,
            found=f"could not be read as NPY ({reason(error)})",
            remedy="save the map with numpy.save",
        ) from error
    if not isinstance(array, np.ndarray):
        raise InputError(
            path,
            expected="one array",
            found="an archive of several arrays",
            remedy="save the map with numpy.save",
        )
    return np.array(array)


def _read_envi(path: str) -> tuple[np.ndarray, np.ndarray | None, Sequence[str] | None]:
    raw = envi.read(path)
    if raw.store.shape[2] != 1:
        raise InputError(
            path,
            expected="a label map, which has one band",
            found=f"{raw.store.shape[2]} bands",
            remedy="give the label map",
        )
    header = read_header(envi.find_header(path) or path)
    names = header.get("class names")
    names = [name.strip() for name in names] if isinstance(names, list) else None
    with reading(path):
        values = raw.store[:, :, 0].read().result()
    return values, conventions.missing(values, {"nodata": raw.ignore_value}, ()), names


def _read_matlab(path: str, shape: tuple[int, int] | None, variable: str | None) -> np.ndarray:
    found = mat_file.open_variables(path)
    shapes = {**found.shapes, **found.flags}
    values = found.load(variables.choose_map(path, shapes, shape, variable))
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
        raise InputError(
            path, found="does not say imageHeight and imageWidth", remedy="give the scene's shape"
        )
    if shape is not None and size != tuple(shape):
        raise _other_size(path, size, shape)
    limits.check_image(path, *size)
    found = labelme_names(path)
    if classes is None:
        classes = sorted(found) if unlabelled == 0 else [OUTSIDE, *sorted(found - {OUTSIDE})]
    if len(classes) > 255:
        raise InputError(
            path, expected="at most 255 classes", found=len(classes), remedy="join some"
        )
    unknown = found.difference(classes)
    if unknown:
        raise InputError(
            path,
            expected=f"shapes of the classes {', '.join(classes)}",
            found=f"shapes labelled {', '.join(sorted(unknown))}",
            remedy="name them all",
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
            if not np.isfinite(shape["points"]).all():
                raise ValueError("points that are no numbers")
        height, width = content.get("imageHeight"), content.get("imageWidth")
        return shapes, (int(height), int(width)) if height and width else None
    except (OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise InputError(
            path,
            expected="a LabelMe file: shapes with labels and points, and the picture's size",
            found=f"something else ({reason(error)})",
            remedy="save it with LabelMe",
        ) from error


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
            path,
            expected="polygons, rectangles and circles",
            found=f"a {kind} of {len(points)} points labelled {item['label']!r}",
            remedy="redraw it as a polygon",
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
