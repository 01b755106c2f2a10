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
from typing import Any, Generic, TypeVar

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
    job = _Job(
        segmenter,
        scenes,
        open_scene,
        folder,
        wanted=Plan("", tuple(formats), confidence),
        smallest=smallest,
        again=again,
        portrait_of=portrait_of,
        wrong=wrong,
        done=done,
    )
    starts = range(0, len(scenes), job.count)
    shown = rich.progress.track(
        starts, "segmenting", console=console, disable=not processes.first()
    )
    for start in track(starts, "segmenting", console) if job.count == 1 else shown:
        job.segment(range(start, min(start + job.count, len(scenes))))
    return job.end(), job.why_not, job.portraits


class _Job(Generic[S]):
    """Scenes being segmented: what is known of them all so far, in this process.

    Attributes:
        count: processes.
        why_not: what is wrong with each scene, or None.
        portraits: of the scenes done, in the first process, if there is a report.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        scenes: Sequence[S],
        open_scene: Callable[[S], Cube],
        folder: str,
        *,
        wanted: Plan,
        smallest: int,
        again: bool,
        portrait_of: Callable[[S], Portrait] | None,
        wrong: Callable[[InputError], None],
        done: Callable[[Cube, Plan, np.ndarray], None] | None,
    ) -> None:
        """Takes what `segment_scenes` does; `wanted` is done with every scene, unless `again`."""
        self._segmenter, self._folder, self._smallest = segmenter, folder, smallest
        self._scenes, self._open, self._portrait_of = scenes, open_scene, portrait_of
        self._wanted, self._again, self._wrong, self._done = wanted, again, wrong, done
        self._index, self.count = processes.part()
        self.why_not: list[InputError | None] = [None] * len(scenes)
        self.portraits: list[Portrait] = []
        self._names: dict[int, str] = {}
        self._plans: dict[int, Plan] = {}
        self._made_from: dict[int, dict[str, Any]] = {}  # of scenes not recorded; the first's
        # Of `Spectra` by scene: its count, and its mean and squares.
        self._pixels = np.zeros((len(scenes), segmenter.clusters), np.int64)
        self._moments = np.zeros((len(scenes), 2, segmenter.clusters, segmenter.bands))

    def segment(self, group: range) -> None:
        """Segments as many scenes as there are processes, of which each writes one."""
        cubes: dict[int, Cube] = {}
        plans = dict.fromkeys(group, self._wanted)
        for number in group:
            with self._told(number):
                cubes[number], plans[number] = self._opened(number)
        self._plans |= _agreed(plans)
        walked: dict[int, Gathered] = {}
        for number, cube in cubes.items():
            if self._plans[number].why is None and self._portrait_of is None:
                continue
            with self._told(number):
                walked[number] = self._walked(number, cube)
        _share(self.why_not)
        if self.count > 1:
            self._record(range(group.start))
        mine = group.start + self._index
        if mine in group and self.why_not[mine] is None:
            with self._told(mine):
                self._write(mine, cubes[mine], walked.get(mine))
        if self._portrait_of is not None and processes.first():
            for number in group:
                if self.why_not[number] is None:
                    with self._told(number):
                        self._keep_portrait(number, walked[number], merged=number == mine)

    def end(self) -> list[Summary]:
        """Waits for the other processes; the summaries of the scenes that went well."""
        _share(self.why_not)
        self._record(range(len(self._scenes)))
        if processes.first():
            clean(self._folder)
        pixels = processes.summed(self._pixels)
        for each in self._moments:  # scene by scene, because those of all processes are gathered
            each[:] = processes.summed(each)
        return [
            Summary(
                Spectra(pixels[number], *self._moments[number]),
                tables.areas_of(self._names[number], pixels[number], self._segmenter.names),
            )
            for number, why in enumerate(self.why_not)
            if why is None
        ]

    @contextlib.contextmanager
    def _told(self, number: int) -> Iterator[None]:
        """Notes and tells what is wrong with a scene."""
        try:
            yield
        except InputError as error:
            self.why_not[number] = error
            self._wrong(error)

    def _opened(self, number: int) -> tuple[Cube, Plan]:
        """A scene, and what is to be done with it."""
        cube = self._open(self._scenes[number])
        self._names[number] = cube.name
        plan = self._wanted
        if self._again:
            plan = results.plan(
                self._segmenter,
                cube,
                self._folder,
                plan.formats,
                smallest=self._smallest,
                confidence=plan.confidence,
            )
        if processes.first():
            self._made_from[number] = results.made_from(self._segmenter, cube, self._smallest)
        return self._segmenter.adapt(cube), plan

    def _walked(self, number: int, cube: Cube) -> Gathered:
        """What this process gathers of a scene, which the others find beside the maps."""
        _, formats, confidence = self._plans[number]
        scene, segmenter = self._scenes[number], self._segmenter
        portrait = None if self._portrait_of is None else self._portrait_of(scene)
        if processes.first():
            files = results.files(cube.name, formats, segmenter, confidence=confidence)
            manifest.begin(self._folder, "maps", cube.name, files)
        alone = self.count == 1
        gathered = results.begin(
            segmenter,
            cube,
            formats,
            smallest=self._smallest,
            portrait=portrait,
            confidence=confidence,
            into=None if alone else _SharedMaps(segmenter, cube, self._folder, confidence),
        )
        gathered.walk(segmenter, cube, ((self._index + number) % self.count, self.count))
        if not alone:
            path = _part(self._folder, cube.name, self._index)
            with writing(path, _REMEDY):
                gather.write(path, gathered.parts())
        return gathered

    def _merge(self, number: int, parts: Mapping[str, gather.Accumulator]) -> None:
        """Adds what the other processes have gathered of a scene to parts of one's own."""
        for other in range(self.count):
            if other != self._index:
                gather.absorb(_part(self._folder, self._names[number], other), parts)

    def _write(self, number: int, cube: Cube, walked: Gathered | None) -> None:
        """Writes a scene that all have walked, or reads the maps that are finished."""
        plan = self._plans[number]
        if walked is not None:
            self._merge(number, walked.parts())
            labels, summary = results.write(
                self._segmenter,
                cube,
                walked,
                self._folder,
                plan.formats,
                smallest=self._smallest,
            )
        else:
            labels = results.read_map(self._folder, cube.name, plan.formats, cube.shape[:2])
            summary = results.summarise(self._segmenter, cube, labels)
        spectra = summary.spectra
        self._pixels[number], self._moments[number] = spectra.count, (spectra.mean, spectra.squares)
        if self.count == 1:
            self._record([number])
        if self._done is not None:
            self._done(cube, plan, labels)

    def _keep_portrait(self, number: int, walked: Gathered, *, merged: bool) -> None:
        """Keeps the portrait of a scene, which is all that the report needs of it."""
        assert walked.portrait is not None
        if not merged:
            self._merge(number, {"portrait": walked.portrait})
        self.portraits.append(walked.portrait)

    def _record(self, numbers: Iterable[int]) -> None:
        """Records scenes that all processes are known to have done with."""
        for number in numbers:
            made_from, plan = self._made_from.pop(number, None), self._plans[number]
            if made_from is None:
                continue
            name = self._names[number]
            if plan.why is not None and self.why_not[number] is None:
                results.finish(self._segmenter, name, self._folder, made_from, *plan[1:])
            if self.count > 1:
                for suffix in _SUFFIXES:  # the parts of all scenes would fill the disk
                    shutil.rmtree(_beside(self._folder, name, suffix), ignore_errors=True)


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
