"""A data set: scenes opened as cubes that agree on their bands, with their label maps."""

import dataclasses
import logging
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dgc_jax.config import SIMULATED, Data
from dgc_jax.data import arrays, find, layouts
from dgc_jax.data.cube import Cube, open_as
from dgc_jax.data.labels import OUTSIDE, LabelMap, labelme_names, read_labels
from dgc_jax.data.reading import BESIDE, Reading
from dgc_jax.errors import InputError

_LOG = logging.getLogger("dgc_jax")
_SAME_BAND = 0.1  # nm: closer centres count as the same band


@dataclasses.dataclass(frozen=True)
class Scene:
    """One scene of a data set.

    Attributes:
        cube: the scene itself, on the data set's band grid.
        labels_path: its label map (`path` or `path:variable`), or None.
        unlabelled: the label file's number for unlabelled pixels.
        classes: names of the classes 1..C, if known.
    """

    cube: Cube
    labels_path: str | None = None
    unlabelled: int = Data.unlabelled
    classes: tuple[str, ...] | None = None

    def read_labels(self) -> LabelMap | None:
        """The label map (uint8 `[row, column]`, 0 = unlabelled) and class names, or None."""
        if self.labels_path is None:
            return None
        rows, columns, _ = self.cube.shape
        return read_labels(
            self.labels_path,
            (rows, columns),
            unlabelled=self.unlabelled,
            classes=self.classes,
        )


def open_scenes(
    scenes: Any,
    *,
    labels: str | None = find.LABELS,
    mask: str | None = None,
    variable: str | None = None,
    axes: str | None = None,
    bands: Sequence[Sequence[float]] | None = None,
    drop: Sequence[Sequence[float]] | None = None,
    unlabelled: int = Data.unlabelled,
    classes: Sequence[str] | None = None,
    dark: str | None = None,
    white: str | None = None,
    wavelengths: Sequence[float] | np.ndarray | str | None = None,
    scale: float | None = None,
    common_grid: bool = True,
    wrong: dict[str, InputError] | None = None,
) -> list[Scene]:
    """Opens a data set; reads no pixels.

    Args:
        scenes: `"leaves"` for the embedded data set (simulated when first used), or a path, a
            folder, a glob, an array or whatever else `dgc_jax.data.arrays.as_cube` takes, a `Scene`
            or a sequence of these.
        labels: pattern of the label maps, relative to each scene's folder; scenes without one have
            no labels. Without `{stem}` it is the path of a label map that must exist. A name after
            a colon picks a MATLAB variable: `"samson.mat:S_GT"`. Empty or None: no labels.
        mask: pattern or path of validity masks, told in the same way, but every scene must have
            one; so with `dark` and `white`. Arrays have no files beside them.
        variable: which array of a MATLAB or HDF5 file is the cube.
        axes: its axis order, see `formats.variables`.
        bands: ranges to keep, nm: `((450, 900),)`.
        drop: ranges to leave out, nm.
        unlabelled: the label files' number for unlabelled pixels.
        classes: names of the classes 1..C; those of the leaf scenes are known.
        dark: path or pattern of the dark reference; empty: none; None: that of the camera's folder
            if `white` is not given either, see `layouts.references`.
        white: path or pattern of the white reference; empty: none; None: that of the camera's
            folder, unless `scale` is given.
        wavelengths: band centres in nm, or a text file of them, instead of the files' own.
        scale: what to divide stored numbers by to get reflectance, instead of the files' own.
        common_grid: bring all on the chosen bands of the first; else each keeps its own bands, and
            `bands` and `drop` do nothing.
        wrong: gets what is wrong with each scene that cannot be used, by path; the others are
            returned. None: the first such scene is raised.

    Returns:
        The scenes in the order given, folders and globs sorted by name.

    Raises:
        InputError: nothing found, two scenes of one name, a scene that cannot be opened, a mask or
            reference that a scene lacks, or band grids that do not agree.
    """
    how = Reading(variable, axes, wavelengths, mask, dark, white, scale)
    return open_data_set(
        scenes,
        how,
        labels=labels,
        bands=bands,
        drop=drop,
        unlabelled=unlabelled,
        classes=classes,
        common_grid=common_grid,
        wrong=wrong,
    )


def open_data_set(
    scenes: Any,
    how: Reading,
    *,
    labels: str | None = find.LABELS,
    bands: Sequence[Sequence[float]] | None = None,
    drop: Sequence[Sequence[float]] | None = None,
    unlabelled: int = Data.unlabelled,
    classes: Sequence[str] | None = None,
    common_grid: bool = True,
    wrong: dict[str, InputError] | None = None,
) -> list[Scene]:
    """The same as `open_scenes`, of a reading; its files may be patterns.

    Raises:
        InputError: see `open_scenes`.
    """
    given = _listed(scenes, how, labels)
    paths = [scene for scene in given if isinstance(scene, str)]
    if isinstance(scenes, str) and scenes == SIMULATED and classes is None:
        from dgc_jax.data.simulation import leaves  # only here: simulating needs more libraries

        classes = leaves.CLASSES
    readings = _readings(paths, how)
    maps = dict(zip(paths, find.beside(paths, labels, "labels"), strict=True))
    named = None if classes is None else tuple(classes)
    opened: list[Scene] = []
    for scene, name in zip(given, _array_names(given), strict=True):
        try:
            if isinstance(scene, Scene):
                one = scene
            elif isinstance(scene, str):
                cube = open_recognised(scene, readings[scene])
                one = Scene(cube, maps[scene], unlabelled, named)
            else:
                one = Scene(_of_array(scene, how, name), None, unlabelled, named)
            if common_grid:
                first = opened[0].cube if opened else None
                one = dataclasses.replace(one, cube=_on_common_grid(one.cube, first, bands, drop))
        except InputError as error:
            if wrong is None or not isinstance(scene, str):
                raise
            wrong[scene] = error
            continue
        opened.append(one)
    if len(paths) < len(given):
        _refuse_same_names((scene.cube.name, scene.cube.path) for scene in opened)
    return _with_common_names(opened)


def _of_array(scene: Any, how: Reading, name: str | None) -> Cube:
    """An array, or whatever else `as_cube` takes, as a cube."""
    if not arrays.is_array(scene):
        return arrays.as_cube(scene)
    return arrays.as_cube(scene, wavelengths=how.wavelengths, axes=how.axes, name=name)


def _readings(paths: Sequence[str], how: Reading) -> dict[str, Reading]:
    """The reading of each scene, with the files that are meant; empty for none stays so."""
    found = {
        name: find.beside(paths, pattern, name) if pattern else [pattern] * len(paths)
        for name, pattern in zip(BESIDE, how.patterns, strict=True)
    }
    of_each = zip(*found.values(), strict=True)
    return {
        path: dataclasses.replace(how, mask=mask or None, dark=dark, white=white)
        for path, (mask, dark, white) in zip(paths, of_each, strict=True)
    }


def _listed(scenes: Any, how: Reading, labels: str | None) -> list[Any]:
    """The scenes that are meant: paths, one a scene, and what was handed over otherwise."""
    companions = (labels, *how.patterns)
    several = isinstance(scenes, list | tuple)
    given = [
        os.fspath(scene) if isinstance(scene, os.PathLike) else scene
        for scene in (scenes if several else [scenes])
    ]
    if all(isinstance(scene, str) for scene in given):
        return list(find.find_scenes(given if several else given[0], companions=companions))
    alone = [name for name, pattern in zip(BESIDE, how.patterns, strict=True) if pattern]
    if alone and any(map(arrays.is_array, given)):
        raise InputError(
            f"{alone[0]}={getattr(how, alone[0])!r}",
            found="names a file beside each scene, and arrays have none",
            remedy="give arrays that are masked and calibrated, or the paths of files",
        )
    found: list[Any] = []
    for scene in given:
        if isinstance(scene, str):
            found += find.find_scenes(scene, companions=companions)
        else:
            found.append(scene)
    return found


def _array_names(given: Sequence[Any]) -> list[str | None]:
    """A name for each array, numbered where several have the same; None for other scenes."""
    own = [arrays.array_name(scene) if arrays.is_array(scene) else None for scene in given]
    return [
        f"{name}_{own[: place + 1].count(name)}" if name and own.count(name) > 1 else name
        for place, name in enumerate(own)
    ]


def _refuse_same_names(scenes: Iterable[tuple[str, str]]) -> None:
    """Refuses scenes (name, path) of which two have one name."""
    by_name: dict[str, str] = {}
    for name, path in scenes:
        if name in by_name:
            raise InputError(
                path,
                expected="scenes of different names, after which outputs are named",
                found=f"{by_name[name]}, which is called {name!r} too",
                remedy="rename one",
            )
        by_name[name] = path


def open_recognised(path: str, how: Reading) -> Cube:
    """Opens a scene with the references of its camera's folder, unless others are named.

    Args:
        path: of the scene.
        how: of this scene. References that are None are those of the folder, as `open_scenes` has
            it; empty: none.

    Raises:
        InputError: see `dgc_jax.data.cube.open_cube`.
    """
    found = layouts.References()
    white, dark = how.white, how.dark
    if white is None and how.scale is None:
        found = layouts.references(path)
        white = found.white
        dark = found.dark if dark is None else dark
    cube = open_as(path, dataclasses.replace(how, white=white, dark=dark))
    if found.note is None:
        return cube
    return dataclasses.replace(cube, notes=(*cube.notes, found.note))


def _on_common_grid(
    cube: Cube,
    first: Cube | None,
    bands: Sequence[Sequence[float]] | None,
    drop: Sequence[Sequence[float]] | None,
) -> Cube:
    """A scene with the bands that are wanted, on the first scene's grid if there is one."""
    chosen = cube if bands is None and drop is None else cube.with_bands(bands, drop)
    if first is None:
        return chosen
    ours, theirs = chosen.wavelengths, first.wavelengths
    if ours is None or theirs is None:
        if chosen.shape[2] != first.shape[2]:
            without = cube if ours is None else first
            raise InputError(
                cube.path,
                expected=f"the {first.shape[2]} bands of {first.path}",
                found=f"{chosen.shape[2]}, and {without.path} does not say its wavelengths",
                remedy="give scenes of one band grid",
            )
        return chosen
    if len(ours) == len(theirs) and np.abs(ours - theirs).max() <= _SAME_BAND:
        return chosen
    resampled = cube.on_grid(theirs)  # from all its bands: a cut one need not reach the ends
    _LOG.warning(
        "%s (%d bands, %.1f-%.1f nm) is interpolated onto the band grid of %s (%d bands, "
        "%.1f-%.1f nm).",
        *(cube.path, len(ours), ours[0], ours[-1]),
        *(first.path, len(theirs), theirs[0], theirs[-1]),
    )
    return resampled


def _with_common_names(scenes: list[Scene]) -> list[Scene]:
    """LabelMe files name their classes; all scenes must number the same names alike."""
    paths = [scene.labels_path for scene in scenes if scene.labels_path is not None]
    if not paths or scenes[0].classes is not None:
        return scenes
    if not all(path.lower().endswith(".json") for path in paths):
        return scenes
    names = set().union(*map(labelme_names, paths))
    if scenes[0].unlabelled != 0:
        names -= {OUTSIDE}
    classes = (*(() if scenes[0].unlabelled == 0 else (OUTSIDE,)), *sorted(names))
    return [dataclasses.replace(scene, classes=classes) for scene in scenes]
