"""The scenes that paths, folders and globs mean, and the files that lie beside each.

Convention: what belongs to a scene lies beside it and is found by a pattern in which `{stem}` is
the scene's name, for example `{stem}_labels.*` for `leaf_07_labels.png` beside `leaf_07.hdr`.
"""

import fnmatch
import glob
import logging
import os
from collections.abc import Iterable, Mapping, Sequence

from dgc_jax.config import SIMULATED
from dgc_jax.data import layouts, others
from dgc_jax.data.formats import enmap, envi, geotiff, zarr
from dgc_jax.data.formats.detect import scene_name, scene_stem
from dgc_jax.data.labels import SUFFIXES, split_variable
from dgc_jax.errors import InputError

_LOG = logging.getLogger("dgc_jax")
LABELS = "{stem}_labels.*"
"""The pattern of label maps unless another one is given."""
# Endings of files.
_SCENE_SUFFIXES = (".hdr", ".mat", ".h5", ".hdf5", ".he5", ".nc", ".npy", *geotiff.SUFFIXES)
_OUTPUTS = ({"config.json", "metrics.jsonl"}, {"areas.csv", "spectra.csv"})  # of ours hold these
_NAMED = 4  # of several things that are named in a message


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
        raise InputError("scenes=", expected="paths, folders or globs", found="none")
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
        hint = " References are used by white= and dark= (data.white, data.dark)."
    if not scenes:
        raise InputError(
            ", ".join(given),
            found=f"holds no scene, by their names or contents: {told}",
            remedy="give scenes, or the path of one of these alone to have it taken for one",
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
    if item == SIMULATED:
        from dgc_jax.data.simulation import leaves  # only here: simulating needs more libraries

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
            where,
            expected="scenes: ENVI (.hdr), MATLAB (.mat), HDF5 (.h5, .nc), NPY, GeoTIFF (.tif) or "
            "zarr",
            found=f"{len(found)} files of which none is one",
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


def beside(paths: Sequence[str], pattern: str | None, what: str) -> list[str | None]:
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
            f"{what}={pattern}",
            found=f"is missing for {which}: {_some(missing)}",
            remedy="put the files beside their scenes or correct the pattern, give these scenes "
            f"apart, or leave {what} empty for all",
        )
    if len(missing) < len(paths) or pattern != LABELS:
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
            f"{what}={pattern}",
            found="does not exist",
            remedy="give the path of a file, or a pattern with {stem} for the scene's name",
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
            scene,
            expected=f"one file for {what}={pattern}",
            found=", ".join(found),
            remedy="give a pattern that fits one of them",
        )
    return found[0] + ending if found else None
