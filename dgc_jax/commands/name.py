"""Clusters named from hints at a few pixels: `dgc name`.

    name("runs/field", points="points.csv").path       # a view, for `--view` everywhere
    name("runs/field", labels="hints/{stem}.png", classes=["soil", "maize"])

`dgc_jax.model.naming` says by which rule, `dgc_jax.data.hints` how points are written.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import rich.console

from dgc_jax import terminal
from dgc_jax.apply import view
from dgc_jax.apply.segmenter import Segmenter, load
from dgc_jax.commands.merge import write_view
from dgc_jax.data.formats.geotiff import import_rasterio
from dgc_jax.data.hints import Hint, read_points
from dgc_jax.data.scenes import Scene
from dgc_jax.errors import InputError
from dgc_jax.model.cluster_tree import Group
from dgc_jax.model.naming import name_leaves
from dgc_jax.phases import track
from dgc_jax.show.geotiff import georeference
from dgc_jax.train import options


class Placed(NamedTuple):
    """Hints of one name in one cluster of the finest level.

    Attributes:
        where: they are, in words.
        cluster: id at the finest level, from 1; 0 where there is no data.
        name: what they say.
        number: of hints.
    """

    where: str
    cluster: int
    name: str
    number: int


class Named(NamedTuple):
    """A view made of hints.

    Attributes:
        path: of its file.
        groups: one of each name, see `dgc_jax.apply.view`.
        subtrees: of which these are made.
        hinted: ids of the clusters of the finest level with hints.
        contradicted: hints in clusters that got another name, and that name.
        missed: hints where there is no data.
    """

    path: str
    groups: tuple[Group, ...]
    subtrees: int
    hinted: list[int]
    contradicted: list[tuple[Placed, str]]
    missed: list[Placed]


def name(
    workdir: str,
    scenes: str | Sequence[str] | None = None,
    *,
    points: str | None = None,
    labels: str | None = None,
    classes: Sequence[str] | None = None,
    unlabelled: int | None = None,
    out: str | None = None,
    reading: Mapping[str, Any] | None = None,
    console: rich.console.Console | None = None,
) -> Named:
    """Writes the view that agrees best with hints.

    Args:
        workdir: folder of a finished run.
        scenes: paths, folders or globs that the hints are of; None: those of the training.
        points: file of points, see `dgc_jax.data.hints`.
        labels: instead, pattern of label maps of which most pixels may be unlabelled.
        classes: names of the classes 1, 2, ... of the label maps; None: what they say themselves.
        unlabelled: label value of unlabelled pixels; None: as in training.
        out: JSON file to write; None: as `dgc_jax.commands.merge.merge`.
        reading: options of `dgc_jax.data.reading.Reading`, where scenes are to be read in another
            way than in training.
        console: where progress is shown.

    Raises:
        InputError: if there is no model or no scene, or the hints cannot be read, lie outside the
            scenes, or are of fewer than two names.
    """
    if (points is None) == (labels is None):
        found = "none" if points is None else "both"
        raise InputError("dgc name", expected="points= or labels=", found=found, remedy="give one")
    console = console or terminal.Console()
    segmenter = load(workdir)
    config = options.of_run(
        segmenter.config,
        scenes,
        labels=labels or "",
        classes=list(classes) if classes else None,
        unlabelled=unlabelled,
        **(reading or {}),
    )
    opened = options.scenes(config, common_grid=False)
    if points is not None:
        placed = list(_of_points(segmenter, opened, points, console))
    else:
        placed = list(_of_labels(segmenter, opened, str(labels), console))
    return _written(workdir, segmenter, placed, out)


def _of_points(
    segmenter: Segmenter, scenes: Sequence[Scene], path: str, console: rich.console.Console
) -> Iterator[Placed]:
    """The clusters of points, scene by scene."""
    hints, is_geojson = read_points(path)
    of: dict[str, list[Hint]] = {}
    for hint in hints:
        of.setdefault(_find(scenes, hint, path).cube.name, []).append(hint)
    for scene in track([s for s in scenes if s.cube.name in of], "reading hints of", console):
        here = of[scene.cube.name]
        at = np.array([(hint.row, hint.column) for hint in here])
        if is_geojson:
            at = _pixels(scene, at)
        rows, columns, _ = scene.cube.shape
        outside = np.any((at < 0) | (at >= (rows, columns)), axis=1)
        if outside.any():
            first = int(np.argmax(outside))
            raise InputError(
                path,
                expected=f"a pixel of {scene.cube.name} ({rows} rows, {columns} columns) at "
                f"{here[first].where}",
                found=f"row {at[first, 0]:g}, column {at[first, 1]:g}",
                remedy="correct it",
            )
        at = at.astype(int)
        clusters = segmenter.finest_at(scene.cube, at)
        for hint, (row, column), cluster in zip(here, at.tolist(), clusters.tolist(), strict=True):
            where = f"{hint.where} ({scene.cube.name}, row {row}, column {column})"
            yield Placed(where, cluster, hint.name, 1)


def _find(scenes: Sequence[Scene], hint: Hint, path: str) -> Scene:
    if not hint.scene and len(scenes) == 1:
        return scenes[0]
    for scene in scenes:
        if hint.scene in (scene.cube.name, scene.cube.path):
            return scene
    some = ", ".join(scene.cube.name for scene in scenes[:5])
    raise InputError(
        path,
        expected=f"the name of a scene ({some}{', ...' if len(scenes) > 5 else ''}) at "
        f"{hint.where}",
        found=repr(hint.scene),
        remedy="correct it, or give the scenes to the command",
    )


def _pixels(scene: Scene, at: np.ndarray) -> np.ndarray:
    """Rows and columns `[point, 2]` of GeoJSON's y and x, whole numbers."""
    transform = None
    if scene.cube.geo:
        import_rasterio(f"Placing points in {scene.cube.path}")
        import rasterio.warp  # an extra; the line above tells how to get it

        crs, transform = georeference(scene.cube.geo)
        if crs is not None and transform is not None:
            x, y = rasterio.warp.transform("EPSG:4326", crs, at[:, 1], at[:, 0])
            at = np.stack([y, x], axis=1)
    if transform is not None:
        a, b, c, d, e, f = transform
        at = np.linalg.solve(np.array([[e, d], [b, a]]), (at - (f, c)).T).T
    return np.floor(at)


def _of_labels(
    segmenter: Segmenter, scenes: Sequence[Scene], pattern: str, console: rich.console.Console
) -> Iterator[Placed]:
    """The clusters of the labelled pixels, scene by scene."""
    labelled = [scene for scene in scenes if scene.labels_path is not None]
    if not labelled:
        raise InputError(
            f"labels={pattern}",
            expected="label maps beside the scenes",
            found="none",
            remedy="give a pattern such as {stem}_hints.png, in which {stem} is the scene's name",
        )
    for scene in track(labelled, "reading hints of", console):
        truth = scene.read_labels()
        assert truth is not None  # it has a path
        names = scene.classes or truth.names or ()
        at = np.argwhere(truth.labels > 0)
        clusters = segmenter.finest_at(scene.cube, at)
        pairs = np.stack([clusters, truth.labels[tuple(at.T)]], axis=1)
        for (cluster, number), count in zip(
            *np.unique(pairs, axis=0, return_counts=True), strict=True
        ):
            name = names[number - 1] if number <= len(names) else f"class {number}"
            yield Placed(scene.cube.name, int(cluster), name, int(count))


def _written(
    workdir: str, segmenter: Segmenter, placed: Sequence[Placed], out: str | None
) -> Named:
    """Applies the rule, and writes the view."""
    missed = [hint for hint in placed if hint.cluster == 0]
    usable = [hint for hint in placed if hint.cluster > 0]
    names = list(dict.fromkeys(hint.name for hint in usable))
    if len(names) < 2:
        found = f"{names[0]!r} alone" if names else "none"
        raise InputError(
            "hints",
            expected="two names or more at pixels with data",
            found=found,
            remedy="name also what it is not, such as the background",
        )
    joins, ids = segmenter.tree.joins
    table = np.zeros((segmenter.finest + 1, len(names)))
    for hint in usable:
        table[hint.cluster, names.index(hint.name)] += hint.number
    of_leaf = name_leaves(joins, table[ids])
    of = dict(zip(ids.tolist(), of_leaf.tolist(), strict=True))
    used = sorted(set(of.values()))
    members = [[k for k, name in of.items() if name == each] for each in used]
    groups = view.join(segmenter, members, [names[each] for each in used], level=segmenter.finest)
    return Named(
        write_view(workdir, segmenter, groups, out),
        groups,
        _subtrees(joins, of_leaf),
        sorted({hint.cluster for hint in usable}),
        [(h, names[of[h.cluster]]) for h in usable if names[of[h.cluster]] != h.name],
        missed,
    )


def _subtrees(joins: np.ndarray, of: np.ndarray) -> int:
    """Of how many subtrees of one name each a tree is made."""
    name = [*of.tolist(), *[None] * len(joins)]
    apart = 0
    for row, (left, right) in enumerate(joins[:, :2].astype(int)):
        if name[left] == name[right]:
            name[len(of) + row] = name[left]
        else:
            apart += (name[left] is not None) + (name[right] is not None)
    return apart or 1
