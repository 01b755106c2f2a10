"""What the report shows of one scene, gathered tile by tile: pictures, counts, sampled spectra.

Everything is that of the model's finest level, from which the page makes all others; only the
doubt is that of the clusters that the model shows. Maps have one byte a pixel, whose meaning the
page knows: label ids, doubt (the root of 1 less the margin), truth classes. They travel as
compressed bytes and not as PNG, because browsers that guard against fingerprinting falsify what a
page reads back from pictures.
Larger scenes are shown by evenly spaced pixels. Full spectra and probabilities are kept of a grid
of pixels, as many as the report's size allows, so that a click finds the spectrum of a pixel near.
"""

import base64
import io
import math
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from dgc_jax.apply import metrics
from dgc_jax.apply.gather import feed
from dgc_jax.apply.segmenter import Segmenter
from dgc_jax.apply.spectra import Spectra, combine, empty, measure
from dgc_jax.apply.tiles import Tile
from dgc_jax.data.cube import Cube
from dgc_jax.data.scenes import Scene
from dgc_jax.show.geotiff import pixel_size
from dgc_jax.show.maps import NATURAL, Quicklook, covers, shown_positions
from dgc_jax.show.rival import nearest

_PICTURES = 3_000_000  # pixels that all scenes of a report show together
_SAMPLES = 5_000_000  # bytes of sampled spectra and probabilities, all scenes together
_LARGEST, _SMALLEST = 1024, 96  # pixels along the longer side of a shown scene
_STEPS = 65535  # levels that a stored spectrum has between the least and greatest reflectance
_KEPT = ("labels", "doubt", "unlike", "plain", "spectra", "shares", "sampled")
"""Arrays of a portrait that are 0 where no tile was seen."""


class Portrait:
    """What the report shows of a scene; `add` is fed with all its tiles, in any order.

    Attributes:
        name: of the scene.
        shape: its rows and columns.
        pixels: `[L + 1]` int64, pixels of each label of the finest level.
        spectra: statistics of the L clusters.
        confusion: `[class, L]` int64, or None without labels.
        classes: names of the classes, or None.
        unlike: number of pixels unlike any cluster; None: the model has no similarity floor.
        rival: `[K, L]` int64 shown pixels of each cluster of plain k-means and label; or None.
        metres: side of a pixel, None where the scene does not say it.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        scene: Scene,
        scenes: int = 1,
        centres: np.ndarray | None = None,
    ) -> None:
        """Starts an empty portrait.

        Args:
            segmenter: the model, not seen through a view.
            scene: the scene, perhaps with labels.
            scenes: how many scenes share the report.
            centres: of plain k-means, see `dgc_jax.show.rival`; None: there is no such map.

        Raises:
            InputError: if its labels cannot be read, or its bands do not cover the model's.
        """
        cube, truth = segmenter.adapt(scene.cube), scene.read_labels()
        rows, columns, bands = cube.shape
        clusters = segmenter.finest
        self.confusion, self.classes = None, None
        self._truth, self._shown_truth = None, None
        if truth is not None and truth.labels.any():
            self._truth, self.classes = truth.labels, truth.names or segmenter.classes
            classes = max(len(self.classes or ()), int(truth.labels.max()))
            self.confusion = np.zeros((classes, clusters), np.int64)
        largest = int(np.clip(math.sqrt(_PICTURES / scenes), _SMALLEST, _LARGEST))
        step = max(1, -(-max(rows, columns) // largest))
        self.name, self.shape, self.metres = cube.name, (rows, columns), pixel_size(cube.geo)
        self._rows = shown_positions(rows, -(-rows // step))
        self._columns = shown_positions(columns, -(-columns // step))
        if self._truth is not None:
            self._shown_truth = self._truth[np.ix_(self._rows, self._columns)]
        self._quicklook = Quicklook(cube.shape, cube.wavelengths, largest=largest)
        self._natural = None
        if covers(cube.wavelengths, NATURAL):
            self._natural = Quicklook(
                cube.shape, cube.wavelengths, largest=largest, centres=NATURAL
            )
        self._labels, self._doubt, self._unlike = (
            np.zeros((len(self._rows), len(self._columns)), np.uint8) for _ in range(3)
        )
        self._floor = segmenter.similarity_floor
        self._centres, self._plain = centres, np.zeros_like(self._labels)
        self.rival = None if centres is None else np.zeros((len(centres), clusters), np.int64)
        number = max(4, _SAMPLES // scenes // (2 * bands + clusters))
        spacing = max(1, math.ceil(math.sqrt(rows * columns / number)))
        self._at = tuple(
            np.arange(min(size // 2, spacing // 2), size, spacing) for size in (rows, columns)
        )
        grid = tuple(map(len, self._at))
        self._spectra = np.zeros((*grid, bands), np.float32)  # 0 where there is no data
        self._shares = np.zeros((*grid, clusters), np.uint8)
        self._sampled = np.zeros(grid, np.uint8)  # their labels
        self.pixels = np.zeros(clusters + 1, np.int64)
        self.spectra = empty(clusters, bands)
        self.unlike = None if self._floor is None else 0

    def look(self, segmenter: Segmenter, cube: Cube) -> None:
        """Walks the whole scene; arguments as when the portrait was begun."""
        feed(segmenter.walk(cube, confidence=True, finest=True), [self])
        self.walked()

    def add(self, tile: Tile) -> None:
        """Adds a tile that was walked with `confidence` and `finest`."""
        assert tile.confidence is not None
        assert tile.finest is not None
        labels = np.asarray(tile.finest.labels)
        row, column, (height, width) = tile.row, tile.column, labels.shape
        for picture in filter(None, (self._quicklook, self._natural)):
            picture.add_window(row, column, tile.numbers, labels > 0, tile.divisor)
        self.pixels += np.bincount(labels.reshape(-1), minlength=len(self.pixels))
        mine = measure(tile.numbers, labels, len(self.spectra.count), divisor=tile.divisor)
        self.spectra = combine(self.spectra, mine)
        if self.confusion is not None and self._truth is not None:
            truth = self._truth[row : row + height, column : column + width]
            self.confusion += metrics.confusion(truth, labels, *self.confusion.shape)
        into, at = _hits((self._rows, self._columns), tile)
        self._labels[into] = labels[at]
        # Most margins are close to 1; the root of what is missing shows where they are not.
        apart = np.clip(1 - np.asarray(tile.confidence.margin)[at], 0, 1)
        self._doubt[into] = np.where(labels[at] > 0, np.round(255 * np.sqrt(apart)), 0)
        if self.unlike is not None:
            unlike = (labels > 0) & (np.asarray(tile.confidence.similarity) < self._floor)
            self._unlike[into] = unlike[at]
            self.unlike += int(np.count_nonzero(unlike))
        if self._centres is not None and self.rival is not None:
            shown = np.nan_to_num(tile.numbers[at].astype(np.float32) / np.float32(tile.divisor))
            plain = np.where(labels[at] > 0, nearest(self._centres, shown), 0)
            self._plain[into] = plain
            seen = plain > 0
            np.add.at(
                self.rival, (plain[seen].astype(int) - 1, labels[at][seen].astype(int) - 1), 1
            )
        into, at = _hits(self._at, tile)
        self._sampled[into] = labels[at]
        sampled = tile.numbers[at].astype(np.float32) / np.float32(tile.divisor)
        self._spectra[into] = np.where(labels[at][..., None] > 0, sampled, 0)
        self._shares[into] = np.round(255 * np.asarray(tile.finest.probabilities)[at])

    def walked(self) -> None:
        """Lets go of what only a walk needs: full maps of all scenes would add up."""
        self._truth = None

    def state(self) -> dict[str, np.ndarray]:
        """The arrays that hold what was gathered."""
        kept = {name: getattr(self, f"_{name}") for name in _KEPT}
        kept |= {f"spectra_{name}": value for name, value in self.spectra._asdict().items()}
        kept["pixels"] = self.pixels
        for name, value in (("confusion", self.confusion), ("rivals", self.rival)):
            if value is not None:
                kept[name] = value
        if self.unlike is not None:
            kept["unlike_pixels"] = np.array(self.unlike)
        for name, picture in self._pictures():
            kept |= {f"{name}_{key}": value for key, value in picture.state().items()}
        return kept

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Adds what another portrait of the scene, begun alike, gathered from other tiles."""
        for name in _KEPT:  # zero where its tiles are not
            mine = getattr(self, f"_{name}")
            mine += state[name]
        fields = {name: state[f"spectra_{name}"] for name in Spectra._fields}
        self.spectra = combine(self.spectra, Spectra(**fields))
        self.pixels += state["pixels"]
        if self.confusion is not None:
            self.confusion += state["confusion"]
        if self.rival is not None:
            self.rival += state["rivals"]
        if self.unlike is not None:
            self.unlike += int(state["unlike_pixels"])
        for name, picture in self._pictures():
            picture.merge({key: state[f"{name}_{key}"] for key in picture.state()})

    def _pictures(self) -> Iterator[tuple[str, Quicklook]]:
        """Those of the scene that there are."""
        yield "quicklook", self._quicklook
        if self._natural is not None:
            yield "natural", self._natural

    def brightness(self) -> float | None:
        """Median over the sampled pixels of their mean reflectance; None without data."""
        spectra = self._spectra[self._sampled > 0]
        return float(np.median(spectra.mean(axis=-1))) if len(spectra) else None

    def as_json(self) -> dict[str, Any]:
        """Everything the page needs of the scene."""
        known = self._sampled > 0
        at, spectra = np.argwhere(known), self._spectra[known]
        low, high = (float(f(spectra)) for f in (np.min, np.max)) if len(spectra) else (0.0, 1.0)
        levels = np.round((spectra - low) * (_STEPS / max(high - low, 1e-12)))
        return {
            "name": self.name,
            "rows": self.shape[0],
            "columns": self.shape[1],
            "metres": self.metres,
            "shown": [self._rows.tolist(), self._columns.tolist()],
            "quicklook": _picture(self._quicklook.finish()),
            "natural": None if self._natural is None else _picture(self._natural.finish()),
            "labels": squeezed(self._labels),
            "doubt": squeezed(self._doubt),
            "unlike": squeezed(self._unlike) if self._unlike.any() else None,
            "unlike_pixels": self.unlike,
            "rival": None if self.rival is None else squeezed(self._plain),
            "truth": None if self._shown_truth is None else squeezed(self._shown_truth),
            "pixels": self.pixels.tolist(),
            "confusion": None if self.confusion is None else self.confusion.tolist(),
            "samples": {
                "row": self._at[0][at[:, 0]].tolist(),
                "column": self._at[1][at[:, 1]].tolist(),
                "label": self._sampled[known].tolist(),
                "low": low,
                "high": high,
                "spectra": packed(levels.astype("<u2")),
                "probabilities": packed(self._shares[known]),
            },
        }


def _hits(positions: tuple[np.ndarray, ...], tile: Tile) -> tuple[Any, Any]:
    """Where a grid meets a tile: indices into the grid, and into the tile."""
    corner, size = (tile.row, tile.column), tile.labels.shape
    into = tuple(
        slice(*np.searchsorted(places, (start, start + length)))
        for places, start, length in zip(positions, corner, size, strict=True)
    )
    inside = (p[s] - start for p, s, start in zip(positions, into, corner, strict=True))
    return into, np.ix_(*inside)


def packed(array: np.ndarray) -> str:
    """The bytes of an array as base64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def squeezed(array: np.ndarray) -> str:
    """The bytes of an array, compressed (zlib), as base64."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 9)).decode()


def _picture(pixels: np.ndarray) -> str:
    """A data URL of `[row, column, 3]` uint8."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="jpeg", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
