"""A whole experiment: train, merge, segment every training scene, score, write it all down.

A finished workdir holds, besides what training leaves there:

    maps/<scene>.png, <scene>_overlay.png, <scene>.hdr + .img     label maps
    spectra.csv, spectra.png, areas.csv                           what the clusters are
    summary.json                                                  how it went, and the scores
    report.html                                                   all of it, to look at and walk in

Many processes (`dgc_jax.processes`) train and segment together, and the first sums up.
"""

import contextlib
import itertools
import json
import os
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import rich.console

from dgc_jax import lock, manifest, names, processes, terminal
from dgc_jax.apply import metrics
from dgc_jax.apply.saved_model import SavedModel, save_model
from dgc_jax.apply.segmenter import Segmenter, load
from dgc_jax.commands.report import read_summary
from dgc_jax.commands.scenes import clean, segment_scenes, tell
from dgc_jax.config import SIMULATED, Config
from dgc_jax.data import provenance
from dgc_jax.data.scenes import Scene
from dgc_jax.errors import InputError, StorageError
from dgc_jax.files import replacing, still_there
from dgc_jax.model import tree
from dgc_jax.phases import phase
from dgc_jax.show import probes, results, rival
from dgc_jax.show.palette import of_spectra
from dgc_jax.show.portrait import Portrait
from dgc_jax.show.report import write_report
from dgc_jax.show.tables import print_scores
from dgc_jax.train import loop, options
from dgc_jax.train.checkpoint import has_checkpoint
from dgc_jax.train.log import history

_SUMMARY, _REPORT = "summary.json", "report.html"


def run(
    config: Any,
    workdir: str,
    console: rich.console.Console | None = None,
    scenes: Sequence[Scene] | None = None,
) -> dict[str, Any]:
    """Runs an experiment to its end, from wherever an earlier run of it stopped.

    One that is finished (see `dgc_jax.manifest`) is left as it is. If only some of its results are
    missing, these are written again.

    Args:
        config: a `dgc_jax.config.Config`, or what says a part of one: a mapping of fields, nested
            or by dotted names, or a `ConfigDict`; see `dgc_jax.config.configure`.
        workdir: folder of the run; made if missing.
        console: where progress and results are shown.
        scenes: the data set, opened already and on one band grid; None: that of `config.data`.

    Returns:
        The content of `summary.json`.

    Raises:
        InputError: if the configuration, the scenes or the workdir cannot be used: it is of
            another configuration, its scenes have changed since, or another process is at work.
        DivergedError: if a loss is not finite.
        StorageError: if the disk is full, or something was removed meanwhile.
    """
    console = console or terminal.Console(quiet=not processes.first())
    config = options.check(config)
    with contextlib.ExitStack() as stack:
        with processes.agreeing(f"workdir={workdir}"):
            if processes.first():
                stack.enter_context(lock.alone(workdir, "workdir"))
        loop.claim(workdir, config)
        return _run(config, workdir, console, scenes)


def _run(
    config: Config,
    workdir: str,
    console: rich.console.Console,
    scenes: Sequence[Scene] | None,
) -> dict[str, Any]:
    summary_path = os.path.join(workdir, "summary.json")
    why: str | None = None
    with processes.agreeing(f"workdir={workdir}"):
        if processes.first():
            why = _why_unfinished(config, workdir, console, scenes)
            if why is not None:
                found = options.names(config) if scenes is None else [s.cube.name for s in scenes]
                _check_names(found, workdir)
    if processes.from_first(why is None):
        summary = _summary(workdir)
        console.print(
            f"{workdir} is finished already ({summary['stopped_because']}).", soft_wrap=True
        )
        _point_at_results(workdir, console)
        return summary

    if why:
        console.print(
            f"The results in {workdir} are written anew, because {why}.",
            markup=False, soft_wrap=True,
        )  # fmt: skip
    maps = os.path.join(workdir, "maps")
    trained = loop.train(config, workdir, console, probes.pictures, scenes)
    with processes.agreeing(f"workdir={workdir}"):
        if processes.first():
            with phase(console, "saving the model"):
                save_model(workdir, merged(config, trained))
            clean(maps)  # what a job that was killed has left
            manifest.begin(workdir, "results", "run", [_SUMMARY])
    segmenter = load(workdir)
    with phase(console, "fitting plain k-means, to compare with"):
        centres = _rival(segmenter, trained.scenes, workdir)
    summaries, wrong, portraits = segment_scenes(
        segmenter,
        trained.scenes,
        lambda scene: scene.cube,
        maps,
        portrait_of=lambda scene: Portrait(segmenter, scene, len(trained.scenes), centres),
        wrong=_raise if processes.part()[1] == 1 else tell,
        console=console,
    )
    for scene, error in zip(trained.scenes, wrong, strict=True):
        if error is not None:
            raise error if error.subject == scene.cube.path else error.of(scene.cube.path)
    if not processes.first():
        processes.wait()
        return _summary(workdir)
    counts = None
    for portrait in portraits:
        if portrait.confusion is not None:
            shown = segmenter.tree.shown[1:]
            counts = _added(counts, metrics.fold(portrait.confusion, shown, segmenter.clusters))
    with phase(console, "writing spectra and areas"):
        results.write_summaries(workdir, segmenter, summaries)

    pixels = sum(scene.spectra.count for scene in summaries)
    summary = {
        "steps": int(trained.state.step),
        "seconds": round(trained.seconds, 3),
        "device": _devices(),
        "seed": config.seed,
        "clusters": segmenter.clusters,
        "active_clusters": int(np.count_nonzero(pixels)),
        "trained_clusters": config.clusters.train,
        "nmi_between_epochs": trained.metrics.get("monitor/nmi"),
        "stopped_because": trained.why,
        "stopped_early": trained.early,
        "light": round(float(trained.state.light), 4),
        "training": None if trained.verdict is None else trained.verdict.training,
        "training_because": None if trained.verdict is None else trained.verdict.why,
        "agreement": trained.described.agreement,
        "scores": None
        if counts is None
        else scored(counts, segmenter.classes, segmenter.background),
    }
    manifest.begin(workdir, "report", _REPORT, [_REPORT])
    with phase(console, "writing the report"):
        write_report(
            os.path.join(workdir, _REPORT),
            segmenter,
            portraits,
            title=names.text(os.path.basename(os.path.abspath(workdir))),
            summary=summary,
            history=history(workdir),
        )
    with replacing(summary_path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(summary, file, indent=1)
    labels = provenance.of_labels(trained.scenes)
    source = {"model": segmenter.content, "view": segmenter.seen} | labels
    source |= provenance.of_scenes(trained.scenes)
    manifest.finish(workdir, "report", _REPORT, source, [_REPORT])
    manifest.finish(workdir, "results", "run", labels, [_SUMMARY])
    of = [results.files(s.areas[0].scene, ("envi", "png"), confidence=False) for s in summaries]
    still_there(workdir, ["config.json", "metrics.jsonl", _SUMMARY, _REPORT, *results.TABLES])
    still_there(maps, itertools.chain(*of))
    processes.wait()
    if summary["scores"]:
        print_scores(summary["scores"], console)
    console.print(
        f"Stopped because {trained.why}, after {summary['seconds']:.0f} s.", soft_wrap=True
    )
    _point_at_results(workdir, console)
    return summary


def _why_unfinished(
    config: Config,
    workdir: str,
    console: rich.console.Console,
    scenes: Sequence[Scene] | None,
) -> str | None:
    """Why something is still to be done, in words to follow "because"; None: nothing is.

    Raises:
        InputError: if the run is finished, but its scenes are others now.
    """
    if not os.path.exists(os.path.join(workdir, _SUMMARY)):
        return ""
    before = manifest.get(workdir, "training", "scenes")
    if before is None:
        console.print(f"note: an earlier version made {workdir}, and kept no record of its scenes.")
        return None
    labels = None
    if (
        scenes is not None or config.data.scenes != SIMULATED
    ):  # which are what the configuration says
        try:
            scenes = options.scenes(config) if scenes is None else scenes
        except InputError as error:
            console.print(
                f"note: whether its scenes have changed cannot be told: {terminal.spoken(error)}",
                markup=False, soft_wrap=True,
            )  # fmt: skip
        else:
            labels = provenance.of_labels(scenes)
            if told := manifest.difference(before.made_from, provenance.of_scenes(scenes)):
                raise InputError(
                    f"workdir={workdir}",
                    expected="a finished run of these scenes",
                    found=f"one of others ({told})",
                    remedy="name another workdir or delete that one",
                )
    maps = os.path.join(workdir, "maps")
    parts = [
        (workdir, "results", "run", labels),
        (workdir, "report", _REPORT, None),
        (workdir, "tables", "all", None),
        *((maps, "maps", name, None) for name in manifest.read(maps).get("maps", {"": None})),
    ]
    why = next((why for part in parts if (why := manifest.why_unfinished(*part)) is not None), None)
    if why is not None and not has_checkpoint(workdir):
        console.print(
            f"note: of its results, {why}; its checkpoints are gone, so use dgc report and dgc "
            "segment to write them anew.",
            markup=False, soft_wrap=True,
        )  # fmt: skip
        return None
    return why


def _rival(segmenter: Segmenter, scenes: Sequence[Scene], workdir: str) -> np.ndarray | None:
    """The centres of plain k-means, fitted by the first process; None: too few pixels."""
    centres = None
    with processes.agreeing(f"workdir={workdir}"):
        if processes.first():
            centres = rival.fit(segmenter, [scene.cube for scene in scenes])
    # k-means drops clusters that have become empty, so their number is shared, too.
    own = 0 if centres is None else len(centres)
    number = int(processes.summed(np.array([own], np.int64))[0])
    given = np.zeros((number, segmenter.bands)) if centres is None else centres
    return processes.summed(np.asarray(given, np.float64)) if number else None


def _raise(error: InputError) -> None:
    raise error


def _check_names(scenes: Sequence[str], workdir: str) -> None:
    """Refuses scenes whose maps would overwrite one another, before hours of work."""
    wanted = {
        ("maps", name): results.files(name, ("envi", "png"), confidence=False) for name in scenes
    }
    maps = os.path.join(workdir, "maps")
    manifest.refuse_clashes(maps, "data.scenes", wanted, foreign=False)


def merged(config: Config, trained: loop.Trained) -> SavedModel:
    """The finished model: the trained clusters merged, numbered, named and coloured."""
    state, cube, described = trained.state, trained.scenes[0].cube, trained.described
    merge = tree.merge(described.tree, described.clusters, described.bank, config.clusters.final)
    number, finest = int(merge.lookup.max()), len(merge.live)
    if number < config.clusters.final:
        warnings.warn(
            f"only {number} of the trained clusters have pixels, fewer than clusters.final = "
            f"{config.clusters.final}; the model has {number} clusters.",
            stacklevel=2,
        )
    constants = state.normalisation
    centres = None
    if cube.wavelengths is not None:
        weights = np.asarray(constants.bins)
        centres = cube.wavelengths @ weights / weights.sum(axis=0)
    own = np.argsort(merge.leaves[merge.live])  # of the trained clusters in the tree, by id
    colours = of_spectra(
        described.clusters.spectra[merge.live][own],
        described.clusters.counts[merge.live][own],
        tree.parents(merge.tree, merge.live, merge.leaves, number),
        centres,
    )
    classes = next((scene.classes for scene in trained.scenes if scene.classes), None)
    return SavedModel(
        arrays={
            "params": state.params,
            "centroids": described.bank,
            "normalisation": {
                name: getattr(constants, name) for name in ("bins", "scale", "mean", "deviation")
            },
        },
        about={
            "config": options.as_json(config),
            "wavelengths": None if cube.wavelengths is None else cube.wavelengths.tolist(),
            "bands": cube.shape[2],
            "step": int(state.step),
            "lookup": merge.lookup.tolist(),
            "leaves": merge.leaves.tolist(),
            "live": merge.live.tolist(),
            "tree": merge.tree.tolist(),
            "names": [f"cluster {k}" for k in range(1, finest + 1)],
            "colours": colours.tolist(),
            "classes": classes,
            "background": options.background(config),
            "similarity_floor": described.floor,
            "agreement": described.agreement,
        },
    )


def add_scene(
    counts: np.ndarray | None, scene: Scene, labels: np.ndarray, segmenter: Segmenter
) -> np.ndarray | None:
    """Adds a scene's pixels to the confusion counts; a scene without labels adds nothing.

    Args:
        counts: `[class, cluster]` of the scenes before, or None.
        scene: the scene, perhaps with labels.
        labels: `[row, column]` uint8 map of it, 0 = no data, 1..K.
        segmenter: the model that made the map.

    Returns:
        `[class, cluster]` int64, or None as long as no scene had labels.

    Raises:
        InputError: if the scene's labels cannot be read.
    """
    truth = scene.read_labels()
    if truth is None or not truth.labels.any():
        return counts
    named = len(truth.names or segmenter.classes or ())
    classes = max(named, int(truth.labels.max()))
    return _added(counts, metrics.confusion(truth.labels, labels, classes, segmenter.clusters))


def _added(counts: np.ndarray | None, more: np.ndarray) -> np.ndarray:
    """Adds two `[class, cluster]` tables, of which one may know fewer classes."""
    if counts is None:
        return more
    total = np.zeros((max(len(counts), len(more)), more.shape[1]), np.int64)
    total[: len(counts)] += counts
    total[: len(more)] += more
    return total


def scored(
    counts: np.ndarray,
    classes: Sequence[str] | None,
    background: Sequence[int] | None,
    table: Sequence[int] | None = None,
) -> dict[str, Any]:
    """The scores of confusion counts, see `dgc_jax.apply.metrics.scores`.

    Args:
        counts: `[class, cluster]` int64.
        classes: names of the classes 1, 2, ..., as far as they are known.
        background: classes that count as background, or None.
        table: class of each cluster, 0 for none; None: the best one.
    """
    names = list(classes or ())[: len(counts)]
    names += [f"class {k}" for k in range(len(names) + 1, len(counts) + 1)]
    return metrics.scores(counts, names, background, table)


def _summary(workdir: str) -> dict[str, Any]:
    """The content of `summary.json`, which is there."""
    found = read_summary(workdir)
    if found is None:
        raise StorageError(f"{os.path.join(workdir, _SUMMARY)} is not there any more.")
    return found


def _devices() -> str:
    """What it was trained on, such as "1 x cpu"."""
    return f"{jax.device_count()} x {jax.devices()[0].device_kind}"


def _point_at_results(workdir: str, console: rich.console.Console) -> None:
    maps = os.path.join(workdir, "maps")
    console.print(f"Report: {os.path.join(workdir, 'report.html')}", markup=False, soft_wrap=True)
    console.print(f"Maps: {maps}/<scene>_overlay.png", markup=False, soft_wrap=True)
    console.print(f"Spectra: {os.path.join(workdir, 'spectra.png')}", markup=False, soft_wrap=True)
    console.print(f"Apply it: dgc segment {workdir} SCENES --out DIR", markup=False, soft_wrap=True)
