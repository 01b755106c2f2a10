"""A finished run scored against label maps: `dgc evaluate`.

    evaluate("runs/dgc4", "{stem}_labels.png")["scores"]["mean_iou"]

Scenes are read as those of the training were, as far as nothing else is said.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rich.console

from dgc_jax import terminal
from dgc_jax.apply import view
from dgc_jax.apply.segmenter import Segmenter, load
from dgc_jax.commands.experiment import add_scene, scored
from dgc_jax.data.scenes import Scene
from dgc_jax.errors import InputError
from dgc_jax.phases import track
from dgc_jax.show import results
from dgc_jax.train import options


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
        reading: options of `dgc_jax.data.reading.Reading`, where scenes are to be read in another
            way than in training.
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
    as_trained = all(value is None for value in (reading or {}).values())
    own_maps = scenes is None and as_trained and (groups is None or becomes is not None)
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
            f"labels={labels}",
            expected="label maps beside the scenes",
            found="none",
            remedy="give a pattern such as {stem}_labels.png, in which {stem} is the scene's name",
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
            f"labels={labels}",
            expected="labelled pixels",
            found=f"none in {len(labelled)} label maps",
            remedy="check the files and unlabelled=",
        )
    names = labelled[0].classes or segmenter.classes
    numbers = options.background(config) if config.data.background else segmenter.background
    scores = scored(counts[:, np.array(shown) - 1], names, numbers, by_hand)
    classes_of = scores["cluster_to_class"].values()
    scores["cluster_to_class"] = dict(zip(map(str, shown), classes_of, strict=True))
    return {"scenes": [scene.cube.name for scene in labelled], "scores": scores}


def _as_table(table: Mapping[int, int] | None, clusters: Sequence[int]) -> list[int] | None:
    """`{cluster: class}` as one class for each cluster that is shown, 0 for none."""
    if table is None:
        return None
    unknown = [cluster for cluster in table if cluster not in clusters]
    if unknown:
        every = len(clusters) == clusters[-1]
        known = f"from 1 to {len(clusters)}" if every else ", ".join(map(str, clusters))
        raise InputError(
            "table=", expected=f"clusters {known}", found=unknown[0], remedy="correct it"
        )
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
