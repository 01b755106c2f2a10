"""The report of a finished run, made again, of other scenes, or with a view: `dgc report`.

    report("runs/dgc16")                          # runs/dgc16/report.html
    report("runs/dgc16", ["new/*.hdr"], out="new.html")

Scenes are read as those of the training were, as far as nothing else is said.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import rich.console

from dgc_jax import documents, lock, manifest, names, terminal
from dgc_jax.apply import view
from dgc_jax.apply.segmenter import Segmenter, load
from dgc_jax.data import provenance
from dgc_jax.errors import InputError
from dgc_jax.files import still_there
from dgc_jax.phases import phase, track
from dgc_jax.show import rival
from dgc_jax.show.portrait import Portrait
from dgc_jax.show.report import write_report
from dgc_jax.train import options
from dgc_jax.train.log import history


def report(
    workdir: str,
    scenes: str | Sequence[str] | None = None,
    *,
    out: str | None = None,
    labels: str | None = None,
    view_path: str | None = None,
    reading: Mapping[str, Any] | None = None,
    console: rich.console.Console | None = None,
) -> str:
    """Writes the report of a finished run, on its own scenes or on others.

    Args:
        workdir: folder of a finished run.
        scenes: paths, folders or globs; None: those of the training.
        out: file to write; None: `report.html` in the workdir.
        labels: pattern of label maps beside the scenes, "" for none; None: that of the training.
        view_path: JSON file of `dgc merge`, with which the page opens.
        reading: options of `dgc_jax.data.reading.Reading`, where scenes are to be read in another
            way than in training.
        console: where progress is shown.

    Returns:
        The path of the report.

    Raises:
        InputError: if there is no model, no scene, no label map where they are asked for, or the
            file cannot be written, because another process is at work in its folder, say.
    """
    console = console or terminal.Console()
    path = out or os.path.join(workdir, "report.html")
    if os.path.isdir(path):
        raise InputError(
            f"out={path}", expected="a file to write", found="a folder", remedy="name a file"
        )
    segmenter = load(workdir)
    groups = None if view_path is None else view.read(view_path, segmenter)
    config = options.of_run(segmenter.config, scenes, labels=labels, **(reading or {}))
    portraits = []
    found = options.scenes(config, common_grid=False)
    if labels and not any(scene.labels_path for scene in found):
        raise InputError(
            f"labels={labels}",
            expected="label maps beside the scenes",
            found="none",
            remedy="give a pattern such as {stem}_labels.png, in which {stem} is the scene's "
            'name, or "" for none',
        )
    source = {"model": segmenter.content, "view": segmenter.seen}
    if groups is not None:
        source["view"] = view.apply(segmenter, groups).seen
    source |= provenance.of_labels(found) | provenance.of_scenes(found)
    folder, name = os.path.split(os.path.abspath(path))
    with lock.alone(folder, "out"):
        # Only what the manifest knows is safe from it, as the user names the file.
        manifest.refuse_clashes(folder, "out", {("report", name): [name]}, foreign=False)
        with phase(console, "fitting plain k-means, to compare with"):
            centres = rival.fit(segmenter, [scene.cube for scene in found])
        for scene in track(found, "segmenting", console):
            portraits.append(Portrait(segmenter, scene, len(found), centres))
            portraits[-1].look(segmenter, scene.cube)
        manifest.begin(folder, "report", name, [name])
        with phase(console, "writing the report"):
            write_report(
                path,
                segmenter,
                portraits,
                title=names.text(os.path.basename(os.path.abspath(workdir))),
                summary=read_summary(workdir),
                history=history(workdir),
                groups=groups,
                stability=_stability(workdir, segmenter),
            )
        manifest.finish(folder, "report", name, source, [name])
        still_there(folder, [name])
    return path


class _Summary(TypedDict):
    """What `summary.json` holds that is read again; earlier versions wrote less."""

    steps: int
    seconds: float
    seed: int
    clusters: int
    stopped_because: str
    nmi_between_epochs: float | None
    scores: dict[str, Any] | None
    stopped_early: NotRequired[bool]
    device: NotRequired[str]
    light: NotRequired[float]
    training: NotRequired[str | None]
    training_because: NotRequired[str | None]
    agreement: NotRequired[float | None]


def read_summary(workdir: str) -> dict[str, Any] | None:
    """The content of a run's `summary.json`, or None if there is none.

    Raises:
        InputError: it is something else.
    """
    path = os.path.join(workdir, "summary.json")
    try:
        return documents.read(path, _Summary, "the summary of a run", "delete it")
    except FileNotFoundError:
        return None


class _Seed(TypedDict):
    model: str


class _Pairs(TypedDict):
    mean: float
    min: float


class _Level(TypedDict):
    clusters: int
    ari: _Pairs


class _Suggested(TypedDict):
    in_words: str


class _Stability(TypedDict):
    """What `stability.json` holds that a report shows."""

    seeds: list[_Seed]
    levels: list[_Level]
    suggested: _Suggested


def _stability(workdir: str, segmenter: Segmenter) -> dict[str, Any] | None:
    """What `dgc stability` has found of the seeds that this run is one of, or None."""
    path = os.path.normpath(os.path.join(os.path.abspath(workdir), os.pardir, "stability.json"))
    try:
        found = documents.read(path, _Stability, "what dgc stability has found", "delete it")
    except FileNotFoundError:
        return None
    return found if any(seed["model"] == segmenter.identity for seed in found["seeds"]) else None
