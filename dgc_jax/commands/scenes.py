"""Scenes segmented by one process or many: first all label them by tiles, then each writes some.

Scenes are taken in groups of as many as there are processes, so that small scenes of a single tile
keep all of them busy, and one scene of many tiles does as well:

    labelling                              writing, once all have labelled the group
    process 0   tiles 0, 2, 4 of scene 0   maps and spectra of scene 0
                tiles 1, 3, 5 of scene 1
    process 1   tiles 1, 3, 5 of scene 0   maps and spectra of scene 1
                tiles 0, 2, 4 of scene 1

Every scene is read once; with a sieve a second time, for the spectra of what it leaves. Of many
processes, the labels of a scene go through one zarr store `<folder>/.<scene>.labels`, of which a
tile is a chunk, and how sure they are through `.<scene>.confidence`; what else each has gathered
goes through `.<scene>.parts/<process>.npz` and is merged by the process that writes the scene, and
by the first one for the report. No two processes write the same file. The folder is one that all
machines share.
"""

import contextlib
import glob
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import rich.console
import rich.progress
import tensorstore as ts

from dgc_jax import manifest, processes, terminal
from dgc_jax.apply import gather
from dgc_jax.apply.segmenter import Segmenter
from dgc_jax.apply.spectra import Spectra
from dgc_jax.apply.tiles import Tile
from dgc_jax.data.cube import Cube
from dgc_jax.errors import InputError, writing
from dgc_jax.names import utf8_path
from dgc_jax.phases import track
from dgc_jax.show import confidence as confidences
from dgc_jax.show import results, tables
from dgc_jax.show.portrait import Portrait
from dgc_jax.show.results import FORMATS, Gathered, Plan, Summary

S = TypeVar("S")
_SUFFIXES = (".labels", ".confidence", ".parts")
_REMEDY = "name a folder that all processes can write to"


def tell(error: InputError) -> None:
    """Tells what is wrong with a scene, on standard error."""
    print(f"dgc: {terminal.spoken(error)}", file=sys.stderr)


def segment_scenes(
    segmenter: Segmenter,
    scenes: Sequence[S],
    open_scene: Callable[[S], Cube],
    folder: str,
    *,
    formats: Sequence[str] = ("envi", "png"),
    smallest: int = 0,
    confidence: bool = False,
    again: bool = False,
    portrait_of: Callable[[S], Portrait] | None = None,
    wrong: Callable[[InputError], None] = tell,
    done: Callable[[Cube, Plan, np.ndarray], None] | None = None,
    console: rich.console.Console,
) -> tuple[list[Summary], list[InputError | None], list[Portrait]]:
    """Segments scenes and writes their maps, all processes together.

    What is wrong with a scene is told by the process that meets it; the other scenes go on.

    Args:
        segmenter: the model.
        scenes: what they are opened by.
        open_scene: opens one of them.
        folder: for the maps; made if missing.
        formats: some of `dgc_jax.show.results.FORMATS`.
        smallest: pixels that a region needs to stay, see `dgc_jax.apply.sieve`.
        confidence: also write how sure the labels are, see `dgc_jax.show.confidence`.
        again: leave scenes alone whose maps are finished, see `dgc_jax.manifest`.
        portrait_of: an empty portrait of a scene; None: there is no report.
        wrong: is called with what is wrong with a scene. It may raise if this process is alone.
        done: is called by the process that has written a scene.
        console: where progress is shown.

    Returns:
        The summaries of the scenes that went well, in order; what is wrong with each scene (None:
        nothing); and, in the first process, the portraits. The same in all processes, but for the
        portraits and the words of what is wrong.
    """
    index, count = processes.part()
    alone = count == 1
    why_not: list[InputError | None] = [None] * len(scenes)
    names: dict[int, str] = {}
    pixels = np.zeros((len(scenes), segmenter.clusters), np.int64)
    # Mean and squares of `Spectra`.
    moments = np.zeros((len(scenes), 2, segmenter.clusters, segmenter.bands))
    begun: dict[int, dict[str, Any]] = {}  # what the scenes are made from; the first process's
    every: dict[int, Plan] = {}
    portraits: list[Portrait] = []

    def finish(numbers: Iterable[int]) -> None:
        """Records scenes that all processes are known to have done with."""
        for number in numbers:
            source, plan = begun.pop(number, None), every[number]
            if source is not None and plan.why is not None and why_not[number] is None:
                results.finish(segmenter, names[number], folder, source, *plan[1:])
            if source is not None and not alone:
                for suffix in _SUFFIXES:  # the parts of all scenes would fill the disk
                    shutil.rmtree(_beside(folder, names[number], suffix), ignore_errors=True)

    @contextlib.contextmanager
    def told(number: int) -> Iterator[None]:
        """Notes and tells what is wrong with a scene."""
        try:
            yield
        except InputError as error:
            why_not[number] = error
            wrong(error)

    def merge(number: int, parts: Mapping[str, gather.Accumulator]) -> None:
        """Adds what the other processes have gathered of a scene to parts of one's own."""
        for other in range(count):
            if other != index:
                gather.absorb(_part(folder, names[number], other), parts)

    def opened(number: int) -> Cube:
        """A scene; what is to be done with it goes into `plans`."""
        cube = open_scene(scenes[number])
        names[number] = cube.name
        if again:
            plans[number] = results.plan(
                segmenter, cube, folder, formats, smallest=smallest, confidence=confidence
            )
        if processes.first():
            begun[number] = results.made_from(segmenter, cube, smallest)
        return segmenter.adapt(cube)

    def walked(number: int, cube: Cube) -> Gathered:
        """What this process gathers of a scene, which the others find beside the maps."""
        _, wanted, sure = plans[number]
        gathered = results.begin(
            segmenter,
            cube,
            wanted,
            smallest=smallest,
            portrait=None if portrait_of is None else portrait_of(scenes[number]),
            confidence=sure,
            into=None if alone else _SharedMaps(segmenter, cube, folder, sure),
        )
        gathered.walk(segmenter, cube, ((index + number) % count, count))
        if not alone:
            path = _part(folder, cube.name, index)
            with writing(path, _REMEDY):
                gather.write(path, gathered.parts())
        return gathered

    def write(number: int, cube: Cube) -> None:
        """Writes a scene that all have walked, or reads the maps that are finished."""
        if number in labelled:
            gathered = labelled[number]
            merge(number, gathered.parts())
            labels, summary = results.write(
                segmenter, cube, gathered, folder, plans[number].formats, smallest=smallest
            )
        else:
            labels = results.read_map(folder, cube.name, formats, cube.shape[:2])
            summary = results.summarise(segmenter, cube, labels)
        spectra = summary.spectra
        pixels[number], moments[number] = spectra.count, (spectra.mean, spectra.squares)
        if alone:
            finish([number])
        if done is not None:
            done(cube, plans[number], labels)

    def portrait(number: int, *, merged: bool) -> Portrait:
        """The portrait of a scene, which is all that is kept of it for the report."""
        found = labelled[number].portrait
        assert found is not None
        if not merged:
            merge(number, {"portrait": found})
        return found

    starts = range(0, len(scenes), count)
    shown = rich.progress.track(
        starts, "segmenting", console=console, disable=not processes.first()
    )
    for start in track(starts, "segmenting", console) if alone else shown:
        group = range(start, min(start + count, len(scenes)))
        cubes: dict[int, Cube] = {}
        labelled: dict[int, Gathered] = {}
        plans = {number: Plan("", tuple(formats), confidence) for number in group}
        for number in group:
            with told(number):
                cubes[number] = opened(number)
        plans = _agreed(plans)
        every |= plans
        for number, cube in cubes.items():
            why, wanted, sure = plans[number]
            if why is None and portrait_of is None:
                continue
            with told(number):
                if processes.first():
                    files = results.files(cube.name, wanted, segmenter, confidence=sure)
                    manifest.begin(folder, "maps", cube.name, files)
                labelled[number] = walked(number, cube)
        _share(why_not)
        if not alone:
            finish(range(start))
        mine = start + index
        if mine in group and why_not[mine] is None:
            with told(mine):
                write(mine, cubes[mine])
        if portrait_of is not None and processes.first():
            for number in group:
                if why_not[number] is None:
                    with told(number):
                        portraits.append(portrait(number, merged=number == mine))
    _share(why_not)
    finish(range(len(scenes)))
    if processes.first():
        clean(folder)
    pixels = processes.summed(pixels)
    for each in moments:  # scene by scene, because those of all processes are gathered
        each[:] = processes.summed(each)
    summaries = [
        Summary(
            Spectra(pixels[number], *moments[number]),
            tables.areas_of(names[number], pixels[number], segmenter.names),
        )
        for number, why in enumerate(why_not)
        if why is None
    ]
    return summaries, why_not, portraits


def _agreed(plans: dict[int, Plan]) -> dict[int, Plan]:
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
        number: Plan(
            (plans[number].why or "") if to_do else None,
            tuple(f for f, wanted in zip(FORMATS, formats, strict=True) if wanted),
            bool(confidence),
        )
        for number, (to_do, confidence, *formats) in zip(plans, chosen, strict=True)
    }


class _SharedMaps:
    """Labels, and perhaps how sure they are, of which several processes write tiles."""

    def __init__(self, segmenter: Segmenter, cube: Cube, folder: str, confidence: bool) -> None:
        """Opens the stores. Nobody waits for them: whoever comes first makes them."""
        shape = cube.shape[:2]
        bands: dict[str, tuple[type, tuple[int, ...]]] = {".labels": (np.uint8, shape)}
        if confidence:
            bands[".confidence"] = (np.float32, (len(confidences.BANDS), *shape))
        self._path = os.path.join(os.path.abspath(folder), f".{cube.name}")
        with writing(self._path, _REMEDY):
            self._stores = [
                _store(self._path + suffix, *of, segmenter.tile_side(cube))
                for suffix, of in bands.items()
            ]

    def add(self, tile: Tile) -> None:
        height, width = tile.labels.shape
        at = np.s_[..., tile.row : tile.row + height, tile.column : tile.column + width]
        with writing(self._path, _REMEDY):
            self._stores[0][at].write(tile.labels).result()
            for confidence in self._stores[1:]:
                confidence[at].write(confidences.bands_of(tile)).result()

    def whole(self) -> tuple[np.ndarray, np.ndarray | None]:
        labels, *confidence = (store.read().result() for store in self._stores)
        return labels, confidence[0] if confidence else None


def _beside(folder: str, name: str, suffix: str) -> str:
    """Where processes share what they have of a scene; `suffix` is one of `_SUFFIXES`."""
    return os.path.join(os.path.abspath(folder), f".{name}{suffix}")


def _part(folder: str, name: str, process: int) -> str:
    """The file of what a process has gathered of a scene."""
    return os.path.join(_beside(folder, name, ".parts"), f"{process}.npz")


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
    for suffix in (*_SUFFIXES, ".doubts"):  # the last one of earlier versions
        for path in glob.glob(os.path.join(glob.escape(folder), f".*{suffix}")):
            shutil.rmtree(path, ignore_errors=True)


def _share(why_not: list[InputError | None]) -> None:
    """Waits for all processes, and notes the scenes with which something is wrong in another."""
    failed = processes.summed(np.array([why is not None for why in why_not], np.int64))
    for number, elsewhere in enumerate(failed):
        if elsewhere and why_not[number] is None:
            told = "another process cannot segment it"
            why_not[number] = InputError("", found=told, remedy="see what that one says")
