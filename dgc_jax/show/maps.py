"""Label maps as files: PNG, ENVI classification, NPY and zarr, and the false-colour quicklook.

A label map is uint8 `[row, column]`, 0 = no data, 1..K = cluster. Colours are uint8
`[K + 1, 3]` sRGB with row 0 for no data (`dgc_jax.show.palette`), names are those of the clusters
1..K. Every file that holds labels reads back as the same numbers.

Source of the ENVI fields: NV5 Geospatial, ENVI Header Files.
"""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import spectral.io.envi
import tensorstore as ts
from PIL import Image

from dgc_jax.apply.tiles import Tile
from dgc_jax.data.cube import Cube
from dgc_jax.errors import InputError
from dgc_jax.files import replacing
from dgc_jax.names import utf8_path
from dgc_jax.show.palette import NO_DATA

UNUSED = "unused"
"""What an id below the highest is called that no pixel can have."""

_BLOCK = (64, 512)  # rows, columns read at a time: 40 MB with 301 bands
NATURAL = (640.0, 550.0, 460.0)  # nm: red, green, blue
_FALSE_COLOUR = (800.0, 650.0, 550.0)  # nm: near infrared, red, green; vegetation is red
_ZARR_CHUNK = 512


def quicklook(cube: Cube, *, largest: int = 1024) -> np.ndarray:
    """A false-colour picture of a scene, read window by window.

    Near infrared, red and green (20 nm about 800, 650 and 550 nm) where the wavelengths cover them,
    else three evenly spaced groups of bands, the longest as red. Each is stretched from its 1st to
    its 99th percentile over the shown pixels, but no more than three times as much as the one with
    the widest range, so that a channel of mere noise stays dim.

    Args:
        cube: the scene.
        largest: most pixels along a side; a larger scene is shown by evenly spaced pixels.

    Returns:
        `[row, column, 3]` uint8; invalid pixels have the grey of no data.
    """
    picture = Quicklook(cube.shape, cube.wavelengths, largest=largest)
    rows, columns, _ = cube.shape
    for top in range(0, rows, _BLOCK[0]):
        for left in range(0, columns, _BLOCK[1]):
            height, width = min(_BLOCK[0], rows - top), min(_BLOCK[1], columns - left)
            picture.add_window(top, left, *cube.read(top, left, height, width))
    return picture.finish()


class Quicklook:
    """A quicklook that is gathered from windows in any order, see `quicklook`."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        wavelengths: np.ndarray | None,
        *,
        largest: int = 1024,
        centres: tuple[float, float, float] = _FALSE_COLOUR,
    ) -> None:
        """Starts an empty picture.

        Args:
            shape: rows, columns, bands of the scene.
            wavelengths: `[band]` nm, or None.
            largest: most pixels along a side.
            centres: of red, green and blue, nm; where the wavelengths cover them. `NATURAL` ones
                are stretched alike, from 0, so that grey stays grey.
        """
        rows, columns, bands = shape
        step = max(1, -(-max(rows, columns) // largest))
        self._rows = shown_positions(rows, -(-rows // step))
        self._columns = shown_positions(columns, -(-columns // step))
        self._alike = centres == NATURAL
        weights = _channel_weights(wavelengths, bands, centres)
        self._bands = np.flatnonzero(weights.any(axis=1))
        self._weights = weights[self._bands]
        self._values = np.zeros((len(self._rows), len(self._columns), 3), np.float32)
        self._valid = np.zeros(self._values.shape[:2], bool)

    def add(self, tile: Tile) -> None:
        """Adds a tile."""
        self.add_window(tile.row, tile.column, tile.numbers, tile.labels > 0, tile.divisor)

    def state(self) -> dict[str, np.ndarray]:
        """The values of the channels, and where they are known."""
        return {"values": self._values, "valid": self._valid}

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Adds what another one, begun alike, has of other windows."""
        self._values += state["values"]
        self._valid |= state["valid"]

    def add_window(
        self,
        row: int,
        column: int,
        numbers: np.ndarray,
        valid: np.ndarray,
        divisor: float = 1.0,
    ) -> None:
        """Adds a window.

        Args:
            row: of its upper left pixel.
            column: of its upper left pixel.
            numbers: `[height, width, band]`, reflectance times the divisor.
            valid: `[height, width]` bool.
            divisor: of the numbers.
        """
        height, width = valid.shape
        down = slice(*np.searchsorted(self._rows, (row, row + height)))
        across = slice(*np.searchsorted(self._columns, (column, column + width)))
        at = np.ix_(self._rows[down] - row, self._columns[across] - column)
        shown = numbers[(*(index[..., None] for index in at), self._bands)].astype(np.float32)
        shown[~valid[at]] = 0  # they may be NaN
        self._valid[down, across] = valid[at]
        self._values[down, across] = shown / np.float32(divisor) @ self._weights

    def finish(self) -> np.ndarray:
        """The picture, `[row, column, 3]` uint8."""
        values, valid = self._values, self._valid
        if not valid.any():
            return np.full(values.shape, NO_DATA, np.uint8)
        low, high = np.percentile(values[valid], (1, 99), axis=0)
        span = np.maximum(high - low, (high - low).max() / 3)
        if self._alike:
            low, span = np.zeros(3), np.full(3, high.max())
        stretched = (values - low) / np.where(span > 0, span, 1)
        picture = np.round(np.clip(stretched, 0, 1) * 255).astype(np.uint8)
        picture[~valid] = NO_DATA
        return picture


def shown_positions(size: int, shown: int) -> np.ndarray:
    """Which of `size` pixels a picture with `shown` pixels shows, `[shown]` int, ascending."""
    return np.arange(shown) * size // max(shown, 1)


def covers(wavelengths: np.ndarray | None, centres: tuple[float, float, float]) -> bool:
    """Whether there are bands within 20 nm of each of three wavelengths."""
    if wavelengths is None:
        return False
    return bool(np.abs(np.asarray(wavelengths)[:, None] - centres).min(axis=0).max() <= 20)


def _channel_weights(
    wavelengths: np.ndarray | None, bands: int, centres: tuple[float, float, float]
) -> np.ndarray:
    """What each band adds to red, green and blue of the picture, `[band, 3]` float32."""
    if wavelengths is not None:
        away = np.abs(np.asarray(wavelengths)[:, None] - centres)  # nm
        reach = 10.0
    if wavelengths is None or not covers(wavelengths, centres):
        away = np.abs(np.arange(bands)[:, None] + 0.5 - bands * np.array([5 / 6, 1 / 2, 1 / 6]))
        reach = bands / 60
    near = away <= np.maximum(reach, away.min(0))
    return (near / near.sum(0)).astype(np.float32)


def write_png(path: str | os.PathLike[str], labels: np.ndarray, colours: np.ndarray) -> None:
    """Writes a palette PNG whose pixel values are the labels; no data is transparent.

    Args:
        path: file to write.
        labels: `[row, column]` uint8.
        colours: `[cluster + 1, 3]` uint8.

    Raises:
        InputError: the file cannot be written.
    """
    check(labels, colours)
    image = Image.fromarray(labels)
    image.putpalette(colours.tobytes())
    with replacing(path) as temporary:
        image.save(temporary, format="png", transparency=0)


def write_npy(path: str | os.PathLike[str], labels: np.ndarray) -> None:
    """Writes the labels as a NumPy file.

    Args:
        path: file to write.
        labels: `[row, column]` uint8.

    Raises:
        InputError: the file cannot be written.
    """
    check(labels)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(file, labels, allow_pickle=False)


def write_envi(
    path_stem: str | os.PathLike[str],
    labels: np.ndarray,
    names: Sequence[str],
    colours: np.ndarray,
    geo: Mapping[str, Any] | None = None,
    description: str = "",
) -> None:
    """Writes an ENVI classification, `path_stem` + `.hdr` and `.img`; class 0 is "no data".

    Characters that would break the header (commas, braces, line ends) are replaced in names and
    description.

    Args:
        path_stem: where to write, without extension.
        labels: `[row, column]` uint8.
        names: name of each cluster.
        colours: `[cluster + 1, 3]` uint8.
        geo: the scene's georeference; its `map info` and `coordinate system string` are carried.
        description: one line on what the map is.

    Raises:
        InputError: the files cannot be written.
    """
    check(labels, colours, names)
    plain = [
        name and (_header_text(name).replace(",", ";") or f"cluster {k}")
        for k, name in enumerate(names, 1)
    ]
    header = {
        "description": _header_text(description) or "label map",
        "file type": "ENVI Classification",
        "data type": 1,
        "classes": len(colours),
        "class names": class_names(plain),
        "class lookup": colours.ravel().tolist(),
        "band names": ["cluster"],
        "data ignore value": 0,
    }
    _write_raw(os.fspath(path_stem), header, labels[None], geo)


def write_envi_bands(
    path_stem: str | os.PathLike[str],
    bands: np.ndarray,
    names: Sequence[str],
    geo: Mapping[str, Any] | None = None,
    description: str = "",
) -> None:
    """Writes numbers of every pixel as an ENVI image, `path_stem` + `.hdr` and `.img`.

    Args:
        path_stem: where to write, without extension.
        bands: `[band, row, column]` float32, NaN = no data, as ENVI takes it without being told.
        names: name of each band, without commas or braces.
        geo: as for `write_envi`.
        description: one line on what the image is.

    Raises:
        InputError: the files cannot be written.
    """
    header = {
        "description": _header_text(description),
        "file type": "ENVI Standard",
        "data type": 4,
        "band names": list(names),
    }
    _write_raw(os.fspath(path_stem), header, bands.astype("<f4", copy=False), geo)


def _write_raw(
    stem: str, header: dict[str, Any], bands: np.ndarray, geo: Mapping[str, Any] | None
) -> None:
    """Writes `[band, row, column]` with a header that says the rest."""
    header |= {
        "samples": bands.shape[2],
        "lines": bands.shape[1],
        "bands": bands.shape[0],
        "header offset": 0,
        "interleave": "bsq",
        "byte order": 0,
    }
    for field in ("map info", "coordinate system string"):
        if geo and geo.get(field):
            header[field] = _braced(geo[field])
    # The header is renamed last: where there is a header, there are data.
    with replacing(f"{stem}.hdr") as header_file, replacing(f"{stem}.img") as data_file:
        spectral.io.envi.write_envi_header(header_file, header)
        bands.tofile(data_file)


def _header_text(text: str) -> str:
    return " ".join(text.translate({ord("{"): "(", ord("}"): ")"}).split())


def _braced(value: str | Sequence[Any]) -> str:
    """A header value in braces, whether it came as its text or as the list of its parts."""
    text = value if isinstance(value, str) else ", ".join(str(part).strip() for part in value)
    return "{" + " ".join(text.split()).strip("{} ") + "}"


def write_zarr(
    path: str | os.PathLike[str], labels: np.ndarray, names: Sequence[str], colours: np.ndarray
) -> None:
    """Writes the labels as a zarr (version 3) array with `class_names` and `class_colors`.

    Args:
        path: folder to write; an older zarr array there is replaced, anything else is not.
        labels: `[row, column]` uint8.
        names: name of each cluster.
        colours: `[cluster + 1, 3]` uint8.

    Raises:
        InputError: the folder cannot be written, or holds something that is no zarr array.
    """
    check(labels, colours, names)
    about = {"class_names": class_names(names), "class_colors": colours.tolist()}
    write_zarr_array(path, labels, ("row", "column"), about)


def write_zarr_array(
    path: str | os.PathLike[str],
    array: np.ndarray,
    dimensions: Sequence[str],
    attributes: Mapping[str, Any],
) -> None:
    """Writes numbers as a zarr (version 3) array; no data is 0, or NaN among floats.

    Args:
        path: folder to write; an older zarr array there is replaced, anything else is not.
        array: the numbers.
        dimensions: name of each axis.
        attributes: what else there is to say, as JSON values.

    Raises:
        InputError: the folder cannot be written, or holds something that is no zarr array.
    """
    target = os.path.abspath(path)
    old = os.path.exists(target)
    if old and not os.path.isfile(os.path.join(target, "zarr.json")):
        raise InputError(
            target, found="exists and is no zarr array", remedy="move it away or write elsewhere"
        )
    with replacing(target) as temporary:
        try:
            store = ts.open(
                {
                    "driver": "zarr3",
                    "kvstore": {"driver": "file", "path": utf8_path(temporary) + os.sep},
                    "metadata": {
                        "chunk_grid": {
                            "name": "regular",
                            "configuration": {
                                "chunk_shape": [max(1, min(n, _ZARR_CHUNK)) for n in array.shape]
                            },
                        },
                        "codecs": [
                            {"name": "bytes", "configuration": {"endian": "little"}},
                            {"name": "zstd", "configuration": {"level": 3}},
                        ],
                        "data_type": array.dtype.name,
                        "fill_value": "NaN" if array.dtype.kind == "f" else 0,
                        "dimension_names": list(dimensions),
                        "attributes": dict(attributes),
                    },
                },
                create=True,
                shape=array.shape,
            ).result()
            store.write(array).result()
        except ValueError as error:  # how TensorStore reports a full or forbidden disk
            reason = re.split(r"[\n;]", str(error))[0]
            raise InputError(
                target,
                found=f"cannot be written ({reason})",
                remedy="choose an output folder that can be",
            ) from error
        if old:
            shutil.rmtree(target)


def class_names(names: Sequence[str]) -> list[str]:
    """A name for each label from 0 on, for formats that number them without gaps.

    Args:
        names: of the clusters 1..K; "" for an id that no pixel has.
    """
    return ["no data", *(name or UNUSED for name in names)]


def pixels_per_label(labels: np.ndarray, clusters: int) -> np.ndarray:
    """Counts how many pixels have each label.

    Args:
        labels: `[row, column]` uint8, none above `clusters`.
        clusters: number of clusters K.

    Returns:
        `[cluster + 1]` int64; row 0 counts no data.
    """
    pixels = np.zeros(clusters + 1, np.int64)
    for row in labels:  # by rows, because bincount makes an int64 copy
        pixels += np.bincount(row, minlength=clusters + 1)
    return pixels


def check(
    labels: np.ndarray, colours: np.ndarray | None = None, names: Sequence[str] | None = None
) -> None:
    """Refuses what is no label map, or colours and names that do not fit it.

    Args:
        labels: should be `[row, column]` uint8.
        colours: should be `[cluster + 1, 3]` uint8, a row for every label.
        names: should be one for each cluster that has a colour.

    Raises:
        ValueError: they are not.
    """
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise ValueError(f"a label map is uint8 [row, column], not {labels.dtype} {labels.shape}")
    if colours is None:
        return
    if colours.ndim != 2 or colours.shape[1] != 3 or colours.dtype != np.uint8:
        raise ValueError(f"colours are uint8 [cluster + 1, 3], not {colours.dtype} {colours.shape}")
    if labels.size and labels.max() >= len(colours):
        raise ValueError(f"label {labels.max()} has none of the {len(colours)} colours")
    if names is not None and len(names) != len(colours) - 1:
        raise ValueError(f"{len(names)} names do not fit {len(colours) - 1} clusters")
