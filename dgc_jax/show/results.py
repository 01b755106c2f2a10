"""A scene segmented and written out in one pass; tables and pictures that sum up several scenes.

What each was made from stands in the `manifest.json` of its folder, see `dgc_jax.manifest`: a
scene's maps as a record of `maps`, what sums them up as `tables`.
"""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from dgc_jax import manifest
from dgc_jax.apply import gather
from dgc_jax.apply.gather import Accumulator, Taker, TileSpectra
from dgc_jax.apply.segmenter import Segmenter
from dgc_jax.apply.sieve import sieve
from dgc_jax.apply.spectra import Spectra, combine, empty, measure, merge
from dgc_jax.apply.tiles import Tile
from dgc_jax.data import provenance
from dgc_jax.data.cube import Cube
from dgc_jax.data.labels import read_labels
from dgc_jax.show import confidence as confidences
from dgc_jax.show import geojson, geotiff, maps, qgis, tables
from dgc_jax.show.overlay import write_overlay
from dgc_jax.show.portrait import Portrait

FORMATS = ("envi", "png", "npy", "zarr", "geotiff", "geojson")
"""Formats of label maps; each scene's overlay is written with `png`."""

TABLES = ("spectra.csv", "spectra.png", "areas.csv")
"""What `write_summaries` writes."""

_ENDINGS = {  # that which is read back comes first
    "envi": (".hdr", ".img", ".qml"),
    "png": (".png", "_overlay.png"),
    "npy": (".npy",),
    "zarr": (".zarr",),
    "geotiff": (".tif", ".tif.aux.xml", ".qml"),
    "geojson": (".geojson",),  # of which no map can be read back
}
_LINES = 64  # rows of a scene that are held at a time


class Summary(NamedTuple):
    """What is kept of a segmented scene.

    Attributes:
        spectra: mean and spread of the reflectance of each cluster.
        areas: one line a cluster.
    """

    spectra: Spectra
    areas: list[tables.Area]


class TileMaps:
    """The labels of a scene and how sure they are, put together from tiles in memory.

    Attributes:
        labels: `[row, column]` uint8.
        confidence: `[2, row, column]` float32 margin and similarity; None: not asked for.
    """

    def __init__(self, shape: tuple[int, int], confidence: bool) -> None:
        """Starts without data.

        Args:
            shape: rows and columns of the scene.
            confidence: whether to keep how sure the labels are.
        """
        self.labels = np.zeros(shape, np.uint8)
        self.confidence = confidences.blank(shape) if confidence else None

    def add(self, tile: Tile) -> None:
        """Takes a tile."""
        height, width = tile.labels.shape
        at = np.s_[tile.row : tile.row + height, tile.column : tile.column + width]
        self.labels[at] = tile.labels
        if self.confidence is not None:
            self.confidence[:, *at] = confidences.bands_of(tile)

    def whole(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Labels and confidence of the scene."""
        return self.labels, self.confidence


class Maps(Taker, Protocol):
    """What `TileMaps` does; elsewhere many processes do it in a folder."""

    def whole(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Labels and confidence of the scene."""


class Gathered(NamedTuple):
    """What is gathered of a scene in one walk, so that its outputs can be written.

    Attributes:
        labels: of the scene and, perhaps, how sure they are.
        look: its quicklook; None: no output shows it.
        spectra: of its clusters; None: the portrait has them, or they must be read again.
        portrait: for the report, or None.
        confidence: whether to tell how sure the labels are.
    """

    labels: Maps
    look: maps.Quicklook | None
    spectra: TileSpectra | None
    portrait: Portrait | None
    confidence: bool

    def parts(self) -> dict[str, Accumulator]:
        """What can be merged with that of another process, by name."""
        each = {"look": self.look, "spectra": self.spectra, "portrait": self.portrait}
        return {name: one for name, one in each.items() if one is not None}

    def walk(self, segmenter: Segmenter, cube: Cube, part: tuple[int, int] = (0, 1)) -> None:
        """Walks the scene, or every count-th tile of it; `part` is that of `Segmenter.walk`."""
        seen = self.portrait is not None
        tiles = segmenter.walk(cube, part=part, confidence=self.confidence or seen, finest=seen)
        gather.feed(tiles, [self.labels, *self.parts().values()])
        if self.portrait is not None:
            self.portrait.walked()


def begin(
    segmenter: Segmenter,
    cube: Cube,
    formats: Sequence[str],
    *,
    smallest: int = 0,
    portrait: Portrait | None = None,
    confidence: bool = False,
    into: Maps | None = None,
) -> Gathered:
    """Begins to gather a scene.

    Args:
        segmenter: the model.
        cube: the scene, on the model's bands.
        formats: those of `FORMATS` in which it will be written.
        smallest: regions of fewer pixels will give way, see `dgc_jax.apply.sieve`; 0: none.
        portrait: of the scene, not yet looked at, which is complete after the walk.
        confidence: also tell how sure the labels are, see `dgc_jax.show.confidence`.
        into: what puts the maps together; None: memory.
    """
    return Gathered(
        TileMaps(cube.shape[:2], confidence) if into is None else into,
        maps.Quicklook(cube.shape, cube.wavelengths) if "png" in formats else None,
        TileSpectra(segmenter.clusters, segmenter.bands)
        if smallest < 2 and portrait is None
        else None,
        portrait,
        confidence,
    )


def write(
    segmenter: Segmenter,
    cube: Cube,
    gathered: Gathered,
    folder: str,
    formats: Sequence[str],
    *,
    smallest: int = 0,
) -> tuple[np.ndarray, Summary]:
    """Writes what was gathered of a whole scene as `<folder>/<scene>...`.

    With a sieve the scene is read again, for the spectra of what it leaves.

    Args:
        segmenter: the model.
        cube: the scene, on the model's bands.
        gathered: what was begun for the same formats and sieve, and has seen all tiles.
        folder: where to write; made if missing.
        formats: some of `FORMATS`, or none of them.
        smallest: regions of fewer pixels give way; 0: none.

    Returns:
        `[row, column]` uint8 labels, 0 = no data, 1..K; and the spectra and areas of them.

    Raises:
        InputError: if a file cannot be written, or the scene not read.
    """
    labels, confidence = gathered.labels.whole()
    if smallest >= 2:
        labels = sieve(labels, smallest)
        spectra = scene_spectra(cube, labels, segmenter.clusters)
    elif gathered.portrait is not None:  # which has measured them at the finest level
        spectra = merge(gathered.portrait.spectra, segmenter.tree.shown, segmenter.clusters)
    else:
        assert gathered.spectra is not None
        spectra = gathered.spectra.spectra
    look = None if gathered.look is None else gathered.look.finish()
    write_maps(segmenter, cube, labels, folder, formats, look)
    if confidence is not None:
        confidences.write(segmenter, cube, labels, confidence, folder, formats)
    return labels, Summary(spectra, tables.areas(cube.name, labels, segmenter.names))


def write_maps(
    segmenter: Segmenter,
    cube: Cube,
    labels: np.ndarray,
    folder: str,
    formats: Sequence[str],
    background: np.ndarray | None = None,
) -> None:
    """Writes the labels of a scene as `<folder>/<scene>...`.

    Args:
        segmenter: the model that they are of.
        cube: the scene.
        labels: `[row, column]` uint8, 0 = no data, 1..K.
        folder: where to write; made if missing.
        formats: some of `FORMATS`.
        background: `[row, column, 3]` uint8 quicklook for the overlay; None reads the scene.

    Raises:
        InputError: if a file cannot be written, or the scene not read.
    """
    stem = os.path.join(folder, cube.name)
    names, colours = segmenter.names, segmenter.colours

    def pictures() -> None:
        maps.write_png(f"{stem}.png", labels, colours)
        shown = maps.quicklook(cube) if background is None else background
        write_overlay(f"{stem}_overlay.png", shown, labels, colours, names)

    if {"envi", "geotiff"} & set(formats):
        qgis.write_style(f"{stem}.qml", names, colours)
    write: dict[str, Callable[[], None]] = {
        "envi": lambda: maps.write_envi(
            stem, labels, names, colours, cube.geo, f"dgc_jax clusters of {cube.name}"
        ),
        "png": pictures,
        "npy": lambda: maps.write_npy(f"{stem}.npy", labels),
        "zarr": lambda: maps.write_zarr(f"{stem}.zarr", labels, names, colours),
        "geotiff": lambda: geotiff.write_geotiff(
            f"{stem}.tif", labels, names, colours, cube.geo, f"dgc_jax clusters of {cube.name}"
        ),
        "geojson": lambda: geojson.write_geojson(
            f"{stem}.geojson", labels, names, colours, cube.geo
        ),
    }
    for name in formats:
        write[name]()


def files(
    name: str, formats: Sequence[str], segmenter: Segmenter | None = None, *, confidence: bool
) -> list[str]:
    """Names of the files that are written of a scene.

    Args:
        name: of the scene.
        formats: some of `FORMATS`.
        segmenter: the model, where it is told, too, how sure the labels are.
        confidence: whether it is.
    """
    found = [name + ending for each in formats for ending in _ENDINGS[each]]
    found = list(dict.fromkeys(found))  # two formats share a style
    if confidence and segmenter is not None:
        found += confidences.files(name, formats, segmenter.similarity_floor)
    return found


def made_from(segmenter: Segmenter, cube: Cube, smallest: int = 0) -> dict[str, Any]:
    """What the maps of a scene are made from, as the manifest records it.

    Args:
        segmenter: the model.
        cube: the scene.
        smallest: regions of fewer pixels give way.
    """
    model = {"model": segmenter.content, "view": segmenter.seen, "sieve": max(smallest, 0)}
    return model | provenance.made_from(cube)


class Plan(NamedTuple):
    """What is to be done with a scene.

    Attributes:
        why: it must be segmented, in words to follow "because"; "" for the first time; None: its
            maps are finished.
        formats: in which it is then written, those that it had among them.
        confidence: whether it is told, too, how sure the labels are.
    """

    why: str | None
    formats: tuple[str, ...]
    confidence: bool

    def done(self, cube: Cube) -> str:
        """What was done with the scene, in words."""
        if self.why is None:
            remote = "://" in cube.path and not cube.path.startswith("file://")
            return f"complete already{', unless the remote scene has changed' * remote}"
        return f"segmented anew, because {self.why}" if self.why else "segmented"


def plan(
    segmenter: Segmenter,
    cube: Cube,
    folder: str,
    formats: Sequence[str] = ("envi",),
    *,
    smallest: int = 0,
    confidence: bool = False,
) -> Plan:
    """Looks whether the maps of a scene are finished; arguments as for `begin`.

    Raises:
        InputError: if the folder's manifest cannot be read.
    """
    source = made_from(segmenter, cube, smallest)
    wanted = files(cube.name, formats, segmenter, confidence=confidence)
    why = manifest.why_unfinished(folder, "maps", cube.name, source, wanted)
    if why is None:
        return Plan(None, tuple(formats), confidence)
    record = manifest.get(folder, "maps", cube.name)
    had = {} if record is None else record.written_as
    both = tuple(each for each in FORMATS if each in {*formats, *had.get("formats", ())})
    return Plan(why, both, confidence or had.get("confidence") is True)


def finish(
    segmenter: Segmenter,
    name: str,
    folder: str,
    source: dict[str, Any],
    formats: Sequence[str],
    confidence: bool,
) -> None:
    """Records that the maps of a scene are finished.

    Args:
        segmenter: the model.
        name: of the scene.
        folder: where they are.
        source: `made_from` before the scene was read.
        formats: in which they were written.
        confidence: whether it was told, too, how sure the labels are.

    Raises:
        InputError: if the folder's manifest cannot be written.
    """
    manifest.finish(
        folder,
        "maps",
        name,
        source,
        files(name, formats, segmenter, confidence=confidence),
        written_as={"formats": list(formats), "confidence": confidence},
    )


def read_map(folder: str, name: str, formats: Sequence[str], shape: tuple[int, int]) -> np.ndarray:
    """Reads a map of `write` back, `[row, column]` uint8.

    Args:
        folder: where it was written.
        name: of the scene.
        formats: those it was written in; the first is read.
        shape: rows and columns of the scene.

    Raises:
        InputError: the file cannot be read, or is of another size than the scene.
    """
    return read_labels(os.path.join(folder, name + _ENDINGS[formats[0]][0]), shape).labels


def summarise(segmenter: Segmenter, cube: Cube, labels: np.ndarray) -> Summary:
    """Spectra and areas of a segmented scene; reads the scene once, by lines.

    Args:
        segmenter: the model.
        cube: the scene.
        labels: `[row, column]` uint8, 0 = no data, 1..K.
    """
    return Summary(
        scene_spectra(segmenter.adapt(cube), labels, segmenter.clusters),
        tables.areas(cube.name, labels, segmenter.names),
    )


def scene_spectra(cube: Cube, labels: np.ndarray, clusters: int) -> Spectra:
    """Spectra of the clusters of one scene, read by lines.

    Args:
        cube: the scene.
        labels: `[row, column]` uint8, 0 = no data.
        clusters: number of clusters K.
    """
    cube = cube.for_walking()
    rows, columns, bands = cube.shape
    spectra = empty(clusters, bands)
    windows = [(row, min(_LINES, rows - row)) for row in range(0, rows, _LINES)]
    ahead = [cube.request(row, 0, height, columns) for row, height in windows[:1]]
    for number, (row, height) in enumerate(windows):
        for later, tall in windows[number + 1 : number + 2]:
            ahead.append(cube.request(later, 0, tall, columns))
        stored = ahead.pop(0).stored()
        lines = labels[row : row + height]
        mine = measure(stored.numbers, lines, clusters, divisor=stored.divisor)
        spectra = combine(spectra, mine)
        cube.forget()
    return spectra


def over_scenes(segmenter: Segmenter, scenes: Sequence[Summary]) -> Spectra:
    """Statistics of the clusters over all scenes."""
    return functools.reduce(
        combine, (scene.spectra for scene in scenes), empty(segmenter.clusters, segmenter.bands)
    )


def write_summaries(folder: str, segmenter: Segmenter, scenes: Sequence[Summary]) -> None:
    """Writes `spectra.csv`, `spectra.png` and `areas.csv` of all scenes together."""
    manifest.begin(folder, "tables", "all", TABLES)
    spectra = over_scenes(segmenter, scenes)
    here = lambda name: os.path.join(folder, name)  # noqa: E731
    wavelengths, names = segmenter.wavelengths, segmenter.names
    tables.write_spectra_csv(here("spectra.csv"), wavelengths, spectra, names)
    tables.plot_spectra(here("spectra.png"), wavelengths, spectra, names, segmenter.colours)
    tables.write_areas_csv(here("areas.csv"), [row for scene in scenes for row in scene.areas])
    of = sorted({row.scene for scene in scenes for row in scene.areas})
    source = {"model": segmenter.content, "view": segmenter.seen, "scenes": of}
    manifest.finish(folder, "tables", "all", source, TABLES)
