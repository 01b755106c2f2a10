"""A finished run applied to other scenes, scored, and seen more coarsely: the `dgc` commands.

    segment("runs/dgc4", ["new/*.hdr"], "maps")
    merge("runs/dgc16", clusters=4)
    evaluate("runs/dgc4", "{stem}_labels.png")["scores"]["mean_iou"]

Scenes are read as those of the training were (variable, axes, masks, references, bands), as far as
nothing else is said.
"""

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rich.console

from dgc_jax import documents, lock, manifest, processes, terminal
from dgc_jax.apply import likeness, view
from dgc_jax.apply.segmenter import Segmenter, load
from dgc_jax.config import stored
from dgc_jax.data import empty_bands
from dgc_jax.data.cube import Cube
from dgc_jax.data.formats.detect import scene_name
from dgc_jax.data.formats.geotiff import import_rasterio
from dgc_jax.data.scenes import Scene, find_scenes, open_scenes
from dgc_jax.errors import InputError
from dgc_jax.experiment import add_scene, scored
from dgc_jax.files import replacing, still_there
from dgc_jax.model.cluster_tree import Group
from dgc_jax.phases import phase, track
from dgc_jax.show import confidence as sure
from dgc_jax.show import results, tables, together
from dgc_jax.train import options

_CONFIDENCE = "confidence.csv"

READING = ("variable", "axes", "wavelengths", "mask", "dark", "white", "scale")
"""Options of `dgc_jax.data.scenes.open_scenes` that may differ from the training's."""


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
) -> dict[str, str | None]:
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
        reading: some of `READING`, where scenes are to be read in another way than in training.
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
            f"--format: expected some of {', '.join(results.FORMATS)}, found "
            f"{', '.join(unknown) or 'none'}; correct it."
        )
    for name in ("geotiff", "geojson"):
        if name in formats:
            import_rasterio(f"--format {name}")  # told before hours of work
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
    how = {name: getattr(trained, name) for name in READING} | _given(reading)
    beside = (how["mask"], how["dark"], how["white"])
    paths = find_scenes(scenes, companions=("{stem}_labels.*", trained.labels, *beside))
    processes.same("SCENES", " ".join(map(scene_name, paths)))
    with contextlib.ExitStack() as stack:
        with processes.agreeing(f"--out={out}"):
            if processes.first():
                _check_folder(out, paths)
                stack.enter_context(lock.alone(out, "--out"))
                _check_files(out, segmenter, paths, formats, confidence)
                together.clean(out)  # what a job that was killed has left
        if processes.part()[1] > 1:
            summaries, wrong = together.segment_scenes(
                segmenter,
                paths,
                lambda path: _opened(path, how),
                out,
                formats=formats,
                smallest=sieve,
                confidence=confidence,
                again=True,
                console=console,
            )
        else:
            summaries, wrong = [], {}
            for path in track(paths, "segmenting", console):
                try:
                    cube = _opened(path, how)
                    summaries.append(
                        _segment_one(segmenter, cube, out, formats, sieve, confidence, console)
                    )
                    wrong[path] = None
                except InputError as error:
                    wrong[path] = str(error)
                    print(f"dgc: {error}", file=sys.stderr)
        if summaries and processes.first():
            with phase(console, "writing spectra and areas"):
                _sum_up(out, segmenter, summaries, confidence)
            _tell_of_others(out, paths, console)
            whole = [scene_name(path) for path, why in wrong.items() if why is None]
            of = [results.files(n, formats, segmenter, confidence=confidence) for n in whole]
            still_there(out, [manifest.NAME, *results.TABLES, *itertools.chain(*of)])
    return wrong


def _segment_one(
    segmenter: Segmenter,
    cube: Cube,
    out: str,
    formats: Sequence[str],
    sieve: int,
    confidence: bool,
    console: rich.console.Console,
) -> results.Summary:
    """Segments a scene if its maps are not finished, and says what was done and why."""
    todo = results.plan(segmenter, cube, out, formats, smallest=sieve, confidence=confidence)
    if todo.why is None:
        cube = segmenter.adapt(cube)
        labels = results.read_map(out, cube.name, formats, cube.shape[:2])
        summary = results.summarise(segmenter, cube, labels)
    else:
        labels, summary = results.segment_scene(
            segmenter, cube, out, todo.formats, smallest=sieve, confidence=todo.confidence
        )
        if not labels.any() and (why := empty_bands.why_invalid(cube)):
            console.print(f"note: {why}", soft_wrap=True, markup=False)
    line = sure.read(out, cube.name) if confidence else None
    sure.tell(console, cube.name, todo.done(cube), line)
    return summary


def evaluate(
    workdir: str,
    labels: str,
    scenes: str | Sequence[str] | None = None,
    *,
    classes: Sequence[str] | None = None,
    background: Sequence[int] | None = None,
    unlabelled: int | None = None,
    table: Mapping[int, int] | None = None,
    view_path: str | None = None,
    reading: Mapping[str, Any] | None = None,
    console: rich.console.Console | None = None,
) -> dict[str, Any]:
    """Scores a finished run against label maps.

    Maps that the run itself has written of its own scenes are used if they are finished, see
    `dgc_jax.manifest`, and the view is no finer; other scenes are segmented.

    Args:
        workdir: folder of a finished run.
        labels: pattern of the label maps, such as `"{stem}_labels.png"`.
        scenes: paths, folders or globs; None: those of the training.
        classes: names of the classes 1, 2, ...; None: those of the training.
        background: label values that count as background; None: as in training.
        unlabelled: label value of unlabelled pixels; None: as in training.
        table: class (1, 2, ...) of each cluster, clusters left out having none; None: the best.
        view_path: JSON file of `dgc merge`, clusters to be shown as one.
        reading: some of `READING`, where scenes are to be read in another way than in training.
        console: where progress is shown.

    Returns:
        `scenes`, the names of those with labels, and `scores`, see `dgc_jax.apply.metrics.scores`.

    Raises:
        InputError: if there is no model, no scene, no label map, or one cannot be used.
    """
    console = console or terminal.Console()
    segmenter = model = load(workdir)
    groups = None if view_path is None else view.read(view_path, segmenter)
    becomes = None
    if groups is not None:
        becomes = segmenter.tree.becomes(groups)
        segmenter = view.apply(segmenter, groups)
    own_maps = scenes is None and not _given(reading) and (groups is None or becomes is not None)
    shown = [k for k, name in enumerate(segmenter.names, 1) if name]
    by_hand = _as_table(table, shown)
    config = options.of_run(
        segmenter.config,
        scenes,
        labels=labels,
        classes=None if classes is None else list(classes),
        background=None if background is None else list(background),
        unlabelled=unlabelled,
        **(reading or {}),
    )
    every = options.scenes(config, common_grid=False)
    labelled = [scene for scene in every if scene.labels_path is not None]
    if not labelled:
        raise InputError(
            f"--labels={labels}: expected label maps beside the scenes, found none; give a pattern "
            "such as {stem}_labels.png, in which {stem} is the scene's name."
        )
    counts = None
    for scene in track(labelled, "evaluating", console):
        found = _own_map(workdir, model, scene) if own_maps else None
        if found is None:
            found = segmenter.segment(scene.cube)
        elif becomes is not None:
            found = becomes[found]
        counts = add_scene(counts, scene, found, segmenter)
    if counts is None:
        raise InputError(
            f"--labels={labels}: expected labelled pixels, found none in {len(labelled)} label "
            "maps; check the files and --unlabelled."
        )
    names = labelled[0].classes or segmenter.classes
    numbers = options.background(config) if config.data.background else segmenter.background
    scores = scored(counts[:, np.array(shown) - 1], names, numbers, by_hand)
    classes_of = scores["cluster_to_class"].values()
    scores["cluster_to_class"] = dict(zip(map(str, shown), classes_of, strict=True))
    return {"scenes": [scene.cube.name for scene in labelled], "scores": scores}


def merge(
    workdir: str,
    *,
    clusters: int | None = None,
    groups: Sequence[Sequence[int]] | None = None,
    names: Sequence[str] = (),
    out: str | None = None,
) -> tuple[str, tuple[Group, ...]]:
    """Writes a view of a finished run: a level of its merge tree, or groups chosen by hand.

    Args:
        workdir: folder of a finished run.
        clusters: number of clusters at a level of the tree; None: `clusters.final`.
        groups: ids of the clusters of that level in each group; None: each is one of its own.
        names: names of the groups; without `groups` in the order of their ids. One of the three
            must be given.
        out: JSON file to write; None: `view-<number of groups>.json` in the workdir or, if that
            holds other groups, `view-<number of groups>-2.json` and so on.

    Returns:
        The path of the view, and its groups.

    Raises:
        InputError: if there is no model, the groups are wrong, or the file cannot be written.
    """
    if clusters is None and groups is None and not names:
        raise InputError(
            "dgc merge: expected --clusters, --groups or --names, found none; give --clusters for "
            "a level, --groups for groups of its clusters, --names to rename those that are shown."
        )
    segmenter = load(workdir)
    if groups is None:
        level = segmenter.clusters if clusters is None else clusters
        groups = [[group.id] for group in view.cut(segmenter, level)]
    found = view.join(segmenter, groups, names, level=clusters)
    return write_view(workdir, segmenter, found, out), found


def write_view(workdir: str, segmenter: Segmenter, groups: Sequence[Group], out: str | None) -> str:
    """Writes a view.

    Args:
        workdir: folder of the run.
        segmenter: its model.
        groups: the view.
        out: file to write; None: as for `merge`.

    Returns:
        Its path.

    Raises:
        InputError: if the file cannot be written.
    """
    content = json.dumps(view.as_json(segmenter, groups), indent=1)
    path = out or _view_path(workdir, len(groups), content)
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(content)
    return path


def _view_path(workdir: str, groups: int, content: str) -> str:
    """Where a view goes: the first name that is free or holds the same."""
    for number in itertools.count(1):
        path = os.path.join(workdir, f"view-{groups}{f'-{number}' if number > 1 else ''}.json")
        try:
            if documents.read(path, Any, "a view", "") == json.loads(content):
                return path
        except FileNotFoundError:
            return path
        except InputError:  # something else, which stays
            continue
    raise AssertionError


def _sum_up(
    out: str, segmenter: Segmenter, summaries: Sequence[results.Summary], confidence: bool
) -> None:
    """Writes the tables of all scenes together."""
    results.write_summaries(out, segmenter, summaries)
    if confidence:
        scenes = sorted(summary.areas[0].scene for summary in summaries)
        source = {"model": segmenter.content, "view": segmenter.seen, "scenes": scenes}
        manifest.begin(out, "tables", "confidence", [_CONFIDENCE])
        lines = [sure.read(out, summary.areas[0].scene) for summary in summaries]
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


def _opened(path: str, how: Mapping[str, Any]) -> Cube:
    return open_scenes([path], labels=None, **how)[0].cube


def _given(values: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (values or {}).items() if value is not None}


def _as_table(table: Mapping[int, int] | None, clusters: Sequence[int]) -> list[int] | None:
    """`{cluster: class}` as one class for each cluster that is shown, 0 for none."""
    if table is None:
        return None
    unknown = [cluster for cluster in table if cluster not in clusters]
    if unknown:
        every = len(clusters) == clusters[-1]
        known = f"from 1 to {len(clusters)}" if every else ", ".join(map(str, clusters))
        raise InputError(f"--table: expected clusters {known}, found {unknown[0]}; correct it.")
    return [table.get(cluster, 0) for cluster in clusters]


def _own_map(workdir: str, model: Segmenter, scene: Scene) -> np.ndarray | None:
    """The map that the run has written of a scene, if it is finished."""
    folder = os.path.join(workdir, "maps")
    try:
        if results.plan(model, scene.cube, folder).why is not None:
            return None
        return results.read_map(folder, scene.cube.name, ("envi",), scene.cube.shape[:2])
    except InputError:  # no manifest
        return None


def _check_folder(out: str, paths: Sequence[str]) -> None:
    """Refuses the folder of the scenes and the workdir of a run."""
    folder = os.path.realpath(out)
    if folder in {os.path.dirname(os.path.realpath(path)) for path in paths}:
        raise InputError(
            f"--out={out}: expected a folder without the scenes, found scenes in it; name another "
            "one, because maps have the names of their scenes."
        )
    if os.path.exists(os.path.join(out, "config.json")):
        raise InputError(
            f"--out={out}: expected a folder for maps, found the workdir of a run; name another."
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
    manifest.refuse_clashes(out, "--out", wanted)
