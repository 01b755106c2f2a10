"""A finished run applied to other scenes: `dgc segment`.

    segment("runs/dgc4", ["new/*.hdr"], "maps")

Scenes are read as those of the training were (variable, axes, masks, references, bands), as far as
nothing else is said.
"""

import contextlib
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rich.console

from dgc_jax import lock, manifest, processes, terminal
from dgc_jax.apply import likeness, view
from dgc_jax.apply.segmenter import Segmenter, load
from dgc_jax.commands.scenes import clean, segment_scenes
from dgc_jax.config import stored
from dgc_jax.data import empty_bands
from dgc_jax.data.cube import Cube
from dgc_jax.data.find import LABELS, find_scenes
from dgc_jax.data.formats.detect import scene_name
from dgc_jax.data.formats.geotiff import import_rasterio
from dgc_jax.data.reading import Reading, of_options
from dgc_jax.data.scenes import open_data_set
from dgc_jax.errors import InputError
from dgc_jax.files import still_there
from dgc_jax.phases import phase
from dgc_jax.show import confidence as confidences
from dgc_jax.show import results, tables

_CONFIDENCE = "confidence.csv"


def segment(
    workdir: str,
    scenes: str | Sequence[str],
    out: str,
    *,
    formats: Sequence[str] = ("envi", "png"),
    view_path: str | None = None,
    sieve: int = 0,
    confidence: bool = False,
    reading: Mapping[str, Any] | None = None,
    console: rich.console.Console | None = None,
) -> dict[str, InputError | None]:
    """Segments scenes into a folder, with the spectra and areas of all of them together.

    A scene is not segmented again if its maps are finished, see `dgc_jax.manifest`; else it is
    told why. One that fails is told at once, in one line on standard error, and the others go on.
    Many processes (`dgc_jax.processes`) do it together.

    Args:
        workdir: folder of a finished run.
        scenes: paths, folders or globs.
        out: folder for `<scene>...`, `spectra.csv`, `spectra.png` and `areas.csv`.
        formats: some of `dgc_jax.show.results.FORMATS`.
        view_path: JSON file of `dgc merge`, clusters to be shown as one.
        sieve: regions of fewer pixels join their neighbours, see `dgc_jax.apply.sieve`; 0: none.
        confidence: also tell how sure the labels are, see `dgc_jax.show.confidence`.
        reading: options of `dgc_jax.data.reading.Reading`, where scenes are to be read in another
            way than in training.
        console: where progress is shown.

    Returns:
        What is wrong with each scene, by path; None where nothing is.

    Raises:
        InputError: if there is no model, no scene, or the folder cannot be used: another process
            is at work in it, or files would be overwritten that are not those of the scene.
        StorageError: the disk is full, or what was written was removed meanwhile.
    """
    console = console or terminal.Console()
    unknown = [name for name in formats if name not in results.FORMATS]
    if unknown or not formats:
        raise InputError(
            "formats=",
            expected=f"some of {', '.join(results.FORMATS)}",
            found=", ".join(unknown) or "none",
            remedy="correct it",
        )
    for name in ("geotiff", "geojson"):
        if name in formats:
            import_rasterio(f"the format {name}")  # told before hours of work
    formats = tuple(name for name in results.FORMATS if name in formats)
    if formats == ("geojson",):
        console.print("note: polygons are no map to go on from, so maps are written as PNG, too.")
        formats = ("png", "geojson")
    only_first = console if processes.first() else terminal.Console(quiet=True)
    with phase(only_first, "loading the model"):
        segmenter = load(workdir)
    if view_path is not None:
        segmenter = view.seen_through(segmenter, view_path)
    if confidence and segmenter.similarity_floor is None and processes.first():
        console.print(
            f"note: {workdir} was trained by an earlier version, which kept no similarity floor: "
            "margins are written, but no pixels are called unlike any cluster. Training again "
            "gives one.",
            soft_wrap=True,
        )
    if likeness.trained_on_large(segmenter) and processes.first():
        console.print(
            f"note: {workdir} was trained on numbers that are far beyond reflectance (0 to 1), raw "
            "counts or radiance perhaps: only scenes of the same unit, exposure and light are like "
            "those.",
            soft_wrap=True,
        )
    trained = stored(segmenter.config).data
    how = of_options(trained).but(reading)
    paths = find_scenes(scenes, companions=(LABELS, trained.labels, *how.patterns))
    processes.same("SCENES", " ".join(map(scene_name, paths)))
    with contextlib.ExitStack() as stack:
        with processes.agreeing(f"out={out}"):
            if processes.first():
                _check_folder(out, paths)
                stack.enter_context(lock.alone(out, "out"))
                _check_files(out, segmenter, paths, formats, confidence)
                clean(out)  # what a job that was killed has left
        summaries, why_not, _ = segment_scenes(
            segmenter,
            paths,
            lambda path: _opened(path, how),
            out,
            formats=formats,
            smallest=sieve,
            confidence=confidence,
            again=True,
            done=lambda cube, plan, labels: _tell(cube, plan, labels, out, confidence, console),
            console=console,
        )
        wrong = dict(zip(paths, why_not, strict=True))
        if summaries and processes.first():
            with phase(console, "writing spectra and areas"):
                _sum_up(out, segmenter, summaries, confidence)
            _tell_of_others(out, paths, console)
            whole = [scene_name(path) for path, why in wrong.items() if why is None]
            of = [results.files(n, formats, segmenter, confidence=confidence) for n in whole]
            still_there(out, [manifest.NAME, *results.TABLES, *itertools.chain(*of)])
    return wrong


def _tell(
    cube: Cube,
    plan: results.Plan,
    labels: np.ndarray,
    out: str,
    confidence: bool,
    console: rich.console.Console,
) -> None:
    """Says what was done with a scene and why, and how sure its labels are."""
    if plan.why is not None and not labels.any() and (why := empty_bands.why_invalid(cube)):
        console.print(f"note: {why}", soft_wrap=True, markup=False)
    line = confidences.read(out, cube.name) if confidence else None
    confidences.tell(console, cube.name, plan.done(cube), line)


def _sum_up(
    out: str, segmenter: Segmenter, summaries: Sequence[results.Summary], confidence: bool
) -> None:
    """Writes the tables of all scenes together."""
    results.write_summaries(out, segmenter, summaries)
    if confidence:
        scenes = sorted(summary.areas[0].scene for summary in summaries)
        source = {"model": segmenter.content, "view": segmenter.seen, "scenes": scenes}
        manifest.begin(out, "tables", "confidence", [_CONFIDENCE])
        lines = [confidences.read(out, summary.areas[0].scene) for summary in summaries]
        tables.write_confidence_csv(os.path.join(out, _CONFIDENCE), lines)
        manifest.finish(out, "tables", "confidence", source, [_CONFIDENCE])


def _tell_of_others(out: str, paths: Sequence[str], console: rich.console.Console) -> None:
    """Says which other maps the folder holds that were made in another way."""
    names = {scene_name(path) for path in paths}
    ways = {
        name: tuple(record.made_from.get(what) for what in ("model", "view", "sieve"))
        for name, record in manifest.read(out).get("maps", {}).items()
    }
    mine = {way for name, way in ways.items() if name in names}
    others = [name for name, way in ways.items() if name not in names and way not in mine]
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        console.print(
            f"note: {out} also holds maps of {', '.join(others[:3])}{more}, of another model, view "
            "or sieve.",
            markup=False, soft_wrap=True,
        )  # fmt: skip


def _opened(path: str, how: Reading) -> Cube:
    return open_data_set([path], how, labels=None)[0].cube


def _check_folder(out: str, paths: Sequence[str]) -> None:
    """Refuses the folder of the scenes and the workdir of a run."""
    folder = os.path.realpath(out)
    if folder in {os.path.dirname(os.path.realpath(path)) for path in paths}:
        raise InputError(
            f"out={out}",
            expected="a folder without the scenes",
            found="scenes in it",
            remedy="name another one, because maps have the names of their scenes",
        )
    if os.path.exists(os.path.join(out, "config.json")):
        raise InputError(
            f"out={out}",
            expected="a folder for maps",
            found="the workdir of a run",
            remedy="name another",
        )


def _check_files(
    out: str, segmenter: Segmenter, paths: Sequence[str], formats: Sequence[str], confidence: bool
) -> None:
    """Refuses to overwrite what is not of these scenes."""
    wanted = {
        ("maps", name): results.files(name, formats, segmenter, confidence=confidence)
        for name in map(scene_name, paths)
    }
    wanted["tables", "all"] = list(results.TABLES)
    if confidence:
        wanted["tables", "confidence"] = [_CONFIDENCE]
    manifest.refuse_clashes(out, "out", wanted)
