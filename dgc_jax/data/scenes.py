"""A data set: files found by path, folder or glob, opened as cubes that agree on their bands.

Convention: what belongs to a scene lies beside it and is found by a pattern in which `{stem}` is
the scene's name, for example `{stem}_labels.*` for `leaf_07_labels.png` beside `leaf_07.hdr`.
"""

import dataclasses
import fnmatch
import glob
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dgc_jax.config import Data
from dgc_jax.data import arrays, layouts, others
from dgc_jax.data.cube import Cube, open_cube
from dgc_jax.data.formats import enmap, envi, geotiff, zarr
from dgc_jax.data.formats.detect import scene_name, scene_stem
from dgc_jax.data.labels import (
    OUTSIDE,
    SUFFIXES,
    LabelMap,
    labelme_names,
    read_labels,
    split_variable,
)
from dgc_jax.errors import InputError

_LOG = logging.getLogger("dgc_jax")
# Endings of files.
_SCENE_SUFFIXES = (".hdr", ".mat", ".h5", ".hdf5", ".he5", ".nc", ".npy", *geotiff.SUFFIXES)
_SAME_BAND = 0.1  # nm: closer centres count as the same band
_OUTPUTS = ({"config.json", "metrics.jsonl"}, {"areas.csv", "spectra.csv"})  # of ours hold these
_NAMED = 4  # of several things that are named in a message
_LABELS = "{stem}_labels.*"


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
    labels: str | None = _LABELS,
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
    wrong: dict[str, str] | None = None,
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
    beside = {"mask": mask, "dark": dark, "white": white}
    given = _listed(scenes, (labels, *beside.values()), beside)
    paths = [scene for scene in given if isinstance(scene, str)]
    if isinstance(scenes, str) and scenes == "leaves" and classes is None:
        from dgc_jax.data.simulation import leaves  # only here: simulating needs more libraries

        classes = leaves.CLASSES
    masks, darks, whites, maps = (
        dict(zip(paths, _companions(paths, pattern, what), strict=True))
        for what, pattern in (*beside.items(), ("labels", labels))
    )
    names = _array_names(given)
    opened: list[Scene] = []
    for scene, name in zip(given, names, strict=True):
        named = None if classes is None else tuple(classes)
        try:
            if isinstance(scene, str):
                cube = open_recognised(
                    scene,
                    mask=masks[scene],
                    dark=darks[scene] if dark else dark,
                    white=whites[scene] if white else white,
                    variable=variable,
                    axes=axes,
                    wavelengths=wavelengths,
                    scale=scale,
                )
                one = Scene(cube, maps[scene], unlabelled, named)
            elif isinstance(scene, Scene):
                one = scene
            elif arrays.is_array(scene):
                cube = arrays.as_cube(scene, wavelengths=wavelengths, axes=axes, name=name)
                one = Scene(cube, None, unlabelled, named)
            else:
                one = Scene(arrays.as_cube(scene), None, unlabelled, named)
            if common_grid:
                first = opened[0].cube if opened else None
                one = dataclasses.replace(one, cube=_on_common_grid(one.cube, first, bands, drop))
        except InputError as error:
            if wrong is None or not isinstance(scene, str):
                raise
            wrong[scene] = str(error)
            continue
        opened.append(one)
    if len(paths) < len(given):
        _refuse_same_names((scene.cube.name, scene.cube.path) for scene in opened)
    return _with_common_names(opened)


def _listed(
    scenes: Any, companions: Sequence[str | None], beside: Mapping[str, str | None]
) -> list[Any]:
    """The scenes that are meant: paths, one a scene, and what was handed over otherwise."""
    several = isinstance(scenes, list | tuple)
    given = [
        os.fspath(scene) if isinstance(scene, os.PathLike) else scene
        for scene in (scenes if several else [scenes])
    ]
    if all(isinstance(scene, str) for scene in given):
        return list(find_scenes(given if several else given[0], companions=companions))
    alone = [name for name, pattern in beside.items() if pattern]
    if alone and any(map(arrays.is_array, given)):
        raise InputError(
            f"{alone[0]}={beside[alone[0]]!r} names a file beside each scene, and arrays have "
            "none: give arrays that are masked and calibrated, or the paths of files."
        )
    found: list[Any] = []
    for scene in given:
        paths = find_scenes(scene, companions=companions) if isinstance(scene, str) else [scene]
        found += paths
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
                f"{by_name[name]} and {path} are both called {name!r}, and outputs are named after "
                "their scenes: rename one."
            )
        by_name[name] = path


def open_recognised(
    path: str,
    *,
    dark: str | None = None,
    white: str | None = None,
    scale: float | None = None,
    **options: Any,
) -> Cube:
    """Opens a scene with the references of its camera's folder, unless others are named.

    Args:
        path: of the scene.
        dark: path of the dark reference, empty for none; None: as `open_scenes` has it.
        white: path of the white reference, likewise.
        scale: what to divide stored numbers by to get reflectance, instead of the file's own.
        options: others of `open_cube`.

    Raises:
        InputError: see `open_cube`.
    """
    found = layouts.References()
    if white is None and scale is None:
        found = layouts.references(path)
        white = found.white
        dark = found.dark if dark is None else dark
    cube = open_cube(path, dark=dark or None, white=white or None, scale=scale, **options)
    if found.note is None:
        return cube
    return dataclasses.replace(cube, notes=(*cube.notes, found.note))


def find_scenes(scenes: str | Sequence[str], *, companions: Sequence[str | None] = ()) -> list[str]:
    """Paths of the scenes that are meant, each once.

    A folder or glob stands for the scenes in it and in its subfolders: an ENVI header and its data
    file are one scene, a zarr or n5 folder is one scene, and label maps, masks and references are
    none. Those that no option names are known by `dgc_jax.data.others`, and a warning says what was
    left out; a path that is given alone is always a scene. Of a capture that is there raw and
    processed one file is taken, see `layouts.products`. Scenes of one name in several folders are
    told apart by these, see `layouts.named`; `detect.scene_name` of a path gives the name.

    Args:
        scenes: as in `open_scenes`.
        companions: patterns and paths of files that are not scenes.

    Raises:
        InputError: nothing found, or two scenes of one name in one folder.
    """
    given = [scenes] if isinstance(scenes, str) else list(scenes)
    if not given:
        raise InputError("No scenes are given: expected paths, folders or globs.")
    paths: list[str] = []
    left: dict[str, str] = {}
    for item in given:
        paths += _expand(item, [pattern for pattern in companions if pattern], left)
    paths = list({os.path.realpath(p) if _is_local(p) else p: p for p in paths}.values())
    if left or len(paths) > 1 or paths != [os.path.expanduser(item) for item in given]:
        paths = _without_others(paths, given, left)
    paths, told = layouts.named(paths)
    for line in told:
        _LOG.warning("%s", line)
    return paths


def _without_others(paths: list[str], given: Sequence[str], left: Mapping[str, str]) -> list[str]:
    """The paths that are scenes, with a word on the others and on what was left before."""
    stems = {scene_name(path) for path in paths}
    named = {os.path.expanduser(item) for item in given}
    left = dict(left)
    for path in filter(_is_local, paths):
        what = others.what_else(path, stems, named=path in named)
        if what is not None:
            left[path] = what
    scenes = [path for path in paths if path not in left]
    products = layouts.products(scenes)
    left |= products
    scenes = [path for path in scenes if path not in products]
    if "reference" in left.values():  # those that belong to a scene are told with it
        used = {os.path.realpath(p) for path in scenes for p in layouts.references(path)[:2] if p}
        left = {
            path: what for path, what in left.items() if not _holds(os.path.realpath(path), used)
        }
    if not left:
        return scenes
    told = _some(f"{os.path.basename(path)} ({what})" for path, what in left.items())
    hint = ""
    if "reference" in left.values():
        hint = " References are used by --white and --dark (data.white, data.dark)."
    if not scenes:
        raise InputError(
            f"{', '.join(given)} holds no scene, by their names or contents: {told}; give scenes, "
            "or the path of one of these alone to have it taken for one."
        )
    _LOG.warning(
        "Left out, being no scenes by name or content: %s.%s Give the path of one alone to have it "
        "taken for a scene.",
        told,
        hint,
    )
    return scenes


def _holds(path: str, used: set[str]) -> bool:
    """Whether a reference is one that is used, or its dark, or the folder of one."""
    stem = os.path.join(os.path.dirname(path), scene_stem(path))
    pairs = {os.path.join(os.path.dirname(p), scene_stem(p)) for p in used}
    pairs |= {
        os.path.join(os.path.dirname(dark), scene_stem(dark))
        for p in used
        if (dark := layouts.dark_of_white(p)) is not None
    }
    return stem in pairs or any(os.path.dirname(p) == path for p in used)


def _some(words: Iterable[str]) -> str:
    """Some words with commas between, and how many more there are."""
    words = list(words)
    more = len(words) - _NAMED
    return ", ".join(words[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _expand(item: str, companions: Sequence[str], left: dict[str, str]) -> list[str]:
    """The scenes that one path, folder, glob or the word `leaves` stands for.

    Args:
        item: what was given.
        companions: patterns and paths of files that are not scenes.
        left: gets the folders that hold other things, and what.
    """
    if item == "leaves":
        from dgc_jax.data.simulation import leaves

        item = leaves.ensure()
    if not _is_local(item):
        return [item]
    item = os.path.expanduser(item)
    if os.path.isdir(item) and not zarr.is_store(item):
        found, where = _walk(item, left), f"The folder {item}"
    elif glob.has_magic(item) and not os.path.exists(item):
        found, where = [], f"The pattern {item}"
        for path in sorted(glob.glob(item, recursive=True)):
            inside = os.path.isdir(path) and not zarr.is_store(path) and "**" not in item
            found += _walk(path, left) if inside else [path]
    else:
        return [item]
    found = sorted({path.rstrip("/"): None for path in found})
    scenes = []
    for path in found:
        data = os.path.splitext(path)[1].lower() in envi.DATA_SUFFIXES and os.path.isfile(path)
        header = envi.find_header(path) if data else None
        if any(_is_companion(file, companions) for file in (path, header) if file is not None):
            continue
        if os.path.isdir(path):
            keep = zarr.is_store(path)
        elif path.lower().endswith(_SCENE_SUFFIXES):
            keep = not enmap.is_extra(path)
        else:  # ENVI data stand for themselves only if their header was not found too
            keep = header is not None and header not in found
        if keep:
            scenes.append(path)
    if not scenes:
        raise InputError(
            f"{where} holds no scene: expected ENVI (.hdr), MATLAB (.mat), HDF5 (.h5, .nc), "
            f"NPY, GeoTIFF (.tif) or zarr, found {len(found)} files of which none is one."
        )
    return scenes


def _walk(folder: str, left: dict[str, str]) -> list[str]:
    """Files in a folder and its subfolders, and zarr folders; not those of runs and maps of ours.

    Args:
        folder: the folder.
        left: gets subfolders that hold label maps, references or calibrations by their names.
    """
    found: list[str] = []
    seen: set[str] = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        inside, folders[:] = sorted(folders) if real not in seen else [], []
        files = files if real not in seen else []
        seen.add(real)
        for name in inside:
            path = os.path.join(where, name)
            if name.startswith("."):
                continue
            if zarr.is_store(path):
                found.append(path)
            elif (what := others.folder(name)) is not None:
                if any(other.lower().endswith(_SCENE_SUFFIXES) for other in os.listdir(path)):
                    left[path] = what
            elif not any(mark <= set(os.listdir(path)) for mark in _OUTPUTS):
                folders.append(name)
        found += [os.path.join(where, name) for name in files if not name.startswith(".")]
    return found


def _is_local(path: str) -> bool:
    return "://" not in path


def _is_companion(path: str, patterns: Sequence[str]) -> bool:
    """Whether a file is a label map, mask or reference of some scene, not a scene."""
    name = os.path.basename(path)
    for pattern in patterns:
        file = split_variable(pattern)[0]
        if "{stem}" not in file:
            places = (file, os.path.join(os.path.dirname(path), file))
            pair = [*places, *filter(None, map(envi.find_header, places))]
            if file == pattern and os.path.abspath(path) in map(os.path.abspath, pair):
                return True  # but with `:variable` it may well be the scene's own file
            continue
        of_any = os.path.basename(file).replace("{stem}", "*")
        of_itself = os.path.basename(file).replace("{stem}", glob.escape(scene_stem(path)))
        # `{stem}.*` matches scenes themselves, which are no companions for that.
        if fnmatch.fnmatch(name, of_any) and not fnmatch.fnmatch(name, of_itself):
            return True
    return False


def _companions(paths: Sequence[str], pattern: str | None, what: str) -> list[str | None]:
    """The file of each scene that a pattern means, see `_companion`.

    Raises:
        InputError: a scene has no mask or reference, so that it would be read in another way than
            was asked for. Labels only score: a word that they are missing is enough.
    """
    found = [_companion(path, pattern, what) for path in paths]
    missing = [scene_name(path) for path, one in zip(paths, found, strict=True) if one is None]
    if not pattern or not missing:
        return found
    which = f"{len(missing)} of {len(paths)} scenes" if len(paths) > 1 else "the scene"
    if what != "labels":
        raise InputError(
            f"The {what} {pattern} is missing for {which}: {_some(missing)}; put the files beside "
            f"their scenes or correct the pattern, give these scenes apart, or leave {what} empty "
            "for all."
        )
    if len(missing) < len(paths) or pattern != _LABELS:
        _LOG.warning("No labels %s for %s: %s.", pattern, which, _some(missing))
    return found


def _companion(scene: str, pattern: str | None, what: str) -> str | None:
    """The file that a pattern means for a scene.

    Args:
        scene: path of the scene.
        pattern: with `{stem}`, relative to the scene's folder; or a path.
        what: it is, for the message.

    Returns:
        The path, with `:variable` if the pattern had it, or None if a pattern finds nothing.

    Raises:
        InputError: a path that does not exist, or a pattern that finds several files.
    """
    if not pattern:
        return None
    file, variable = split_variable(pattern)
    file, ending = os.path.expanduser(file), "" if variable is None else f":{variable}"
    folder = os.path.dirname(scene) if _is_local(scene) else ""
    if "{stem}" not in file:
        for path in (file, os.path.join(folder, file)):
            if os.path.exists(path):
                return path + ending
        raise InputError(
            f"The {what} {pattern} does not exist: give the path of a file, or a pattern with "
            "{stem} for the scene's name."
        )
    if not _is_local(scene):
        return None  # a remote folder cannot be searched
    name = file.replace("{stem}", glob.escape(scene_stem(scene)))
    found = sorted(glob.glob(os.path.join(glob.escape(folder), name)))
    if glob.has_magic(file):  # may find other things, such as ENVI data beside their header
        own = {os.path.realpath(path) for path in (scene, envi.find_header(scene) or scene)}
        found = [path for path in found if path.lower().endswith(SUFFIXES)]
        found = [path for path in found if variable or os.path.realpath(path) not in own]
    if len(found) > 1:
        raise InputError(
            f"{scene} has more than one file for the {what} {pattern}: {', '.join(found)}; give a "
            "pattern that fits one of them."
        )
    return found[0] + ending if found else None


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
                f"{cube.path} has {chosen.shape[2]} bands and {first.path} has {first.shape[2]}, "
                f"and {without.path} does not say its wavelengths: give scenes of one band grid."
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
