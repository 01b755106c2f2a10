"""Scenes segmented by many processes: first all label them by tiles, then each writes some.

Scenes are taken in groups of as many as there are processes, so that small scenes of a single tile
keep all of them busy, and one scene of many tiles does as well:

    labelling                              writing, once all have labelled the group
    process 0   tiles 0, 2, 4 of scene 0   maps and spectra of scene 0
                tiles 1, 3, 5 of scene 1
    process 1   tiles 1, 3, 5 of scene 0   maps and spectra of scene 1
                tiles 0, 2, 4 of scene 1

The labels of a scene go through one zarr store `<folder>/.<scene>.labels`, of which a tile is a
chunk, and how sure they are through `.<scene>.doubts`: no two processes write the same file. The
folder is one that all machines share.
"""

import contextlib
import glob
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import rich.console
import rich.progress
import tensorstore as ts

from dgc_jax import manifest, processes
from dgc_jax.apply.segmenter import Segmenter
from dgc_jax.apply.sieve import sieve
from dgc_jax.apply.spectra import Spectra
from dgc_jax.data.cube import Cube
from dgc_jax.data.formats.detect import scene_name
from dgc_jax.errors import InputError, StorageError, is_full, unwritten
from dgc_jax.names import utf8_path
from dgc_jax.show import confidence as sure
from dgc_jax.show import results, tables
from dgc_jax.show.results import FORMATS

_SUFFIXES = (".labels", ".doubts")

_Stores = list[ts.TensorStore]
"""Labels `[row, column]` uint8 of a scene, and perhaps margin and similarity."""


def segment_scenes(
    segmenter: Segmenter,
    paths: Sequence[str],
    open_scene: Callable[[str], Cube],
    folder: str,
    *,
    formats: Sequence[str] = ("envi", "png"),
    smallest: int = 0,
    confidence: bool = False,
    again: bool = False,
    console: rich.console.Console,
) -> tuple[list[results.Summary], dict[str, str | None]]:
    """Segments scenes and writes their maps, all processes together.

    What is wrong with a scene is told on standard error by the process that meets it; the other
    scenes go on.

    Args:
        segmenter: the model.
        paths: of the scenes.
        open_scene: opens one of them.
        folder: for the maps; made if missing.
        formats: some of `dgc_jax.show.results.FORMATS`.
        smallest: pixels that a region needs to stay, see `dgc_jax.apply.sieve`.
        confidence: also write how sure the labels are, see `dgc_jax.show.confidence`.
        again: leave scenes alone whose maps are finished, see `dgc_jax.manifest`.
        console: where progress is shown.

    Returns:
        The summaries of the scenes that went well, in order, and what is wrong with each scene, by
        path (None: nothing); the same in all processes, but for the words of what is wrong.
    """
    index, count = processes.part()
    wrong: dict[str, str | None] = dict.fromkeys(paths)
    pixels = np.zeros((len(paths), segmenter.clusters), np.int64)
    # Mean and squares of `Spectra`.
    moments = np.zeros((len(paths), 2, segmenter.clusters, segmenter.bands))
    begun: dict[int, dict[str, Any]] = {}  # what the scenes are made from; the first process's
    every: dict[int, results.Plan] = {}

    def finish(numbers: Iterable[int]) -> None:
        """Records scenes that all processes are known to have done with."""
        for number in numbers:
            source = begun.pop(number, None)
            path, plan = paths[number], every[number]
            if source is not None and plan.why is not None and wrong[path] is None:
                results.finish(segmenter, scene_name(path), folder, source, *plan[1:])

    for start in rich.progress.track(
        range(0, len(paths), count), "segmenting", console=console, disable=not processes.first()
    ):
        group = range(start, min(start + count, len(paths)))
        cubes: dict[int, Cube] = {}
        plans = {number: results.Plan("", tuple(formats), confidence) for number in group}
        for number in group:
            with _told(wrong, paths[number]):
                cubes[number] = segmenter.adapt(open_scene(paths[number]))
                if again:
                    plans[number] = results.plan(
                        segmenter, cubes[number], folder, formats,
                        smallest=smallest, confidence=confidence,
                    )  # fmt: skip
        plans = _agreed(plans)
        if processes.first():
            for number, cube in cubes.items():
                begun[number] = results.made_from(segmenter, cube, smallest)
                todo = plans[number]
                files = results.files(
                    cube.name, todo.formats, segmenter, confidence=todo.confidence
                )
                if todo.why is not None:
                    manifest.begin(folder, "maps", cube.name, files)
        labelled: dict[int, tuple[Cube, _Stores | None]] = {}
        for number, cube in cubes.items():
            with _told(wrong, paths[number]):
                part = ((index + number) % count, count)
                stores = None
                if plans[number].why is not None:
                    stores = _label(segmenter, cube, folder, part, plans[number].confidence)
                labelled[number] = cube, stores
        _share(wrong)
        finish(range(start))
        every |= plans
        mine = start + index
        if mine not in group or wrong[paths[mine]] is not None:
            continue
        with _told(wrong, paths[mine]):
            cube, stores = labelled[mine]
            if stores is None:
                labels = results.read_map(folder, cube.name, formats, cube.shape[:2])
            else:
                labels = sieve(stores[0].read().result(), smallest)
                results.write_maps(segmenter, cube, labels, folder, plans[mine].formats)
                for doubts in stores[1:]:
                    bands = doubts.read().result()
                    sure.write(segmenter, cube, labels, bands, folder, plans[mine].formats)
            spectra = results.summarise(segmenter, cube, labels).spectra
            pixels[mine], moments[mine] = spectra.count, (spectra.mean, spectra.squares)
            line = sure.read(folder, cube.name) if confidence else None
            sure.tell(console, cube.name, plans[mine].done(cube), line)
    _share(wrong)
    finish(range(len(paths)))
    if processes.first():
        clean(folder)
    pixels = processes.summed(pixels)
    for each in moments:  # scene by scene, because those of all processes are gathered
        each[:] = processes.summed(each)
    names = segmenter.names
    return [
        results.Summary(
            Spectra(pixels[number], *moments[number]),
            tables.areas_of(scene_name(path), pixels[number], names),
        )
        for number, path in enumerate(paths)
        if wrong[path] is None
    ], wrong


def _agreed(plans: dict[int, results.Plan]) -> dict[int, results.Plan]:
    """What the first process wants done with each scene, for this one's reasons."""
    chosen = processes.from_first(
        np.array(
            [
                [plan.why is not None, plan.confidence, *(f in plan.formats for f in FORMATS)]
                for plan in plans.values()
            ],
            np.int32,
        )
    )
    return {
        number: results.Plan(
            (plans[number].why or "") if to_do else None,
            tuple(f for f, wanted in zip(FORMATS, formats, strict=True) if wanted),
            bool(confidence),
        )
        for number, (to_do, confidence, *formats) in zip(plans, chosen, strict=True)
    }


def _label(
    segmenter: Segmenter, cube: Cube, folder: str, part: tuple[int, int], confidence: bool
) -> _Stores:
    """Writes a part of the tiles, and gives the stores of all.

    Nobody waits for a store: whoever comes first makes it.
    """
    path = os.path.join(os.path.abspath(folder), f".{cube.name}")
    side = segmenter.tile_side(cube)  # of a tile and of a chunk
    shape = cube.shape[:2]
    try:
        stores = [_store(path + _SUFFIXES[0], np.uint8, shape, side)]
        if confidence:
            stores.append(_store(path + _SUFFIXES[1], np.float32, (len(sure.BANDS), *shape), side))
        for tile in segmenter.walk(cube, side, part=part, doubt=confidence):
            height, width = tile.labels.shape
            at = np.s_[..., tile.row : tile.row + height, tile.column : tile.column + width]
            stores[0][at].write(tile.labels).result()
            for doubts in stores[1:]:
                doubts[at].write(sure.bands_of(tile)).result()
    except (InputError, StorageError):
        raise
    except (OSError, ValueError) as error:
        if is_full(error):
            raise unwritten(path, error) from error
        reason = str(error).splitlines()[0].partition(" [")[0].rstrip(".")
        raise InputError(
            f"{path} cannot be written ({reason}): name a folder that all processes can write to."
        ) from error
    return stores


def _store(path: str, dtype: type, shape: tuple[int, ...], side: int) -> ts.TensorStore:
    """The store of numbers of every pixel, zero at first, of which a chunk is a tile."""
    chunk = [max(1, min(size, side)) for size in shape]
    grid = {"name": "regular", "configuration": {"chunk_shape": chunk}}
    return ts.open(
        {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": utf8_path(path) + os.sep},
            "metadata": {"chunk_grid": grid},
        },
        open=True,
        create=True,
        dtype=ts.dtype(dtype),
        shape=shape,
        fill_value=0,
    ).result()


def clean(folder: str) -> None:
    """Removes the stores of a folder, before a job begins and when its maps are written."""
    for suffix in _SUFFIXES:
        for path in glob.glob(os.path.join(glob.escape(folder), f".*{suffix}")):
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _told(wrong: dict[str, str | None], path: str) -> Iterator[None]:
    """Tells and notes what is wrong with a scene."""
    try:
        yield
    except InputError as error:
        wrong[path] = str(error)
        print(f"dgc: {error}", file=sys.stderr)


def _share(wrong: dict[str, str | None]) -> None:
    """Waits for all processes, and notes the scenes with which something is wrong in another."""
    failed = processes.summed(np.array([why is not None for why in wrong.values()], np.int64))
    for path, elsewhere in zip(list(wrong), failed, strict=True):
        if elsewhere and wrong[path] is None:
            wrong[path] = "another process cannot segment it; see what that one says"
