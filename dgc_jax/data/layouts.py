"""Folders as cameras' software leaves them: which files belong together, and scenes' names.

    Specim     NAME/capture/NAME.hdr, WHITEREF_NAME, DARKREF_NAME, WHITEDARKREF_NAME (the dark of
               the white); NAME/results/REFLECTANCE_NAME; NAME/calibrations/
    Headwall   NAME/raw_0.hdr, raw_2000.hdr, ... with WhiteReference and DarkReference beside them,
               beside their folder, or as folders of their own (white_2020_11_11_09_36_42/raw_0);
               raw_0_rd and raw_0_rd_rf are the same capture as radiance and reflectance
    HySpex     NAME_VNIR_1800_SN00841_HSNR1_24998us_2025-04-15T111238_raw.hdr and .hyspex; _rad and
               _ref are made of it
    Resonon    NAME.bil and .bil.hdr, references named by the user

References are taken only by captures that they fit: ENVI files of the same columns, bands and data
type, of which the header has no scale factor.

Sources: Specim IQ and Lumo user manuals; Headwall Hyperspec III and SpectralView; HySpex Ground
manual; Resonon Spectronon and Airborne user manuals.
"""

import functools
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dgc_jax.data import others
from dgc_jax.data.formats import envi
from dgc_jax.data.formats.detect import PRODUCT, ScenePath, scene_name, scene_stem
from dgc_jax.data.formats.detect import read as read_any
from dgc_jax.data.formats.envi_header import read_header
from dgc_jax.errors import InputError

_COUNTS = 2.0  # references of reflectance 1 that are counts have larger numbers
_PROCESSED = re.compile(rf"(?i)^(.+?)(?:{PRODUCT}|[ _.-]raw)+$")
_PREFIX = re.compile(r"(?i)^(reflectance|radiance)[ _.-]+(?=.)")
_ALONE = re.compile(r"(?i)raw|calibrated|radiance|reflectance")  # names of products by themselves
_REFLECTANCE = re.compile(
    r"(?i)(?<![a-z])(?:rf|wr|rfl|refl(?:ectance)?|cal(?:ib(?:rated)?)?)(?![a-z])"
)
_RADIANCE = re.compile(r"(?i)(?<![a-z])(?:rd|rad(?:iance)?)(?![a-z])")


class References(NamedTuple):
    """The references of a scene.

    Attributes:
        white: path of the white reference, or None.
        dark: path of the dark reference, or None.
        note: what was recognised, or why nothing is used; None: there is nothing.
    """

    white: str | None = None
    dark: str | None = None
    note: str | None = None


class _Reference(NamedTuple):
    path: str
    kind: str  # as of `others.reference`
    of: str  # what is left of its name


def references(scene: str) -> References:
    """The white and dark reference that lie with a scene, found by their names.

    A reference of the scene's own name comes first, then one in the scene's folder whose name is
    that of no other scene there, then one without a name in the folder above; of these there must
    be only one.

    Args:
        scene: path of the scene.
    """
    header = None if "://" in scene or os.path.isdir(scene) else envi.find_header(scene)
    if header is None or not os.path.isfile(header):
        return References()
    header = os.path.abspath(header)
    folder, stem = os.path.dirname(header), scene_stem(header).lower()
    there, stems = _listed(folder)
    if others.reference(stem, stems - {stem}) is not None:
        return References()  # it is one itself
    here = [each for each in there if each.of not in stems - {stem}]
    above = [
        each
        for each in _listed(os.path.dirname(folder))[0]
        if not re.search(r"[^\W\d_]", each.of) and os.path.dirname(each.path) != folder
    ]
    if not any(each.kind == "white" for each in here + above):
        return References()  # a dark reference alone gives no reflectance
    shape = _shape(header)
    if shape is None:
        return References()
    if shape[3] > 1:
        return References(note="It has a scale factor: references beside it are not used.")
    white, dark = (
        _choose(
            [
                [each for each in here if each.kind == kind and each.of in {stem, _name(header)}],
                [each for each in here if each.kind == kind],
                [each for each in here + above if each.kind == kind],
            ],
            shape,
        )
        for kind in ("white", "dark")
    )
    if white is None:
        return References(
            note="White references lie with it, but none is used: it is not clear which, or "
            "columns, bands or data type differ; name one by white= (data.white)."
        )
    name = os.path.basename(white.path)
    if shape[2] in ("4", "5") and not (_has_counts(header) and _has_counts(white.path)):
        return References(
            note=f"{name} is not used, since the scene's numbers are no raw counts; white= "
            "(data.white) uses it."
        )
    told = f"{_maker(header, name)}white reference {name}"
    told += f" and dark reference {os.path.basename(dark.path)}" if dark else ", no dark reference"
    return References(
        white.path,
        dark.path if dark else None,
        f"{told[0].upper()}{told[1:]}, by name and place; white= and dark= (data.white, "
        'data.dark) name others, and "" none.',
    )


def dark_of_white(white: str) -> str | None:
    """The dark reference that was taken with a white one, at its exposure, or None (Specim)."""
    folder, name = os.path.split(white)
    other = re.sub(
        r"(?i)^(white)(ref)", r"\1" + ("DARK" if "REF" in name else "dark") + r"\2", name
    )
    path = os.path.join(folder, other)
    return path if other != name and os.path.isfile(path) else None


def _name(header: str) -> str:
    return scene_name(header).lower()


def _listed(folder: str) -> tuple[tuple[_Reference, ...], frozenset[str]]:
    """The references in a folder, and in folders of references there, and names of its captures."""
    try:
        return _read_folder(folder, os.stat(folder).st_mtime_ns)
    except OSError:
        return (), frozenset()


@functools.lru_cache(maxsize=64)  # of the scenes of a folder each asks
def _read_folder(folder: str, _: int) -> tuple[tuple[_Reference, ...], frozenset[str]]:
    with os.scandir(folder) as entries:
        listed = sorted((entry.name, entry.is_dir()) for entry in entries)
    headers = [name for name, is_folder in listed if not is_folder and _is_header(name)]
    stems = frozenset(scene_stem(name).lower() for name in headers)
    found = []
    for name in headers:
        stem = scene_stem(name)
        told = others.reference(stem, stems - {stem.lower()})
        if told is not None:
            found.append(_Reference(os.path.join(folder, name), *told))
    for name, is_folder in listed:
        told = others.reference(name, ()) if is_folder else None
        if told is not None:
            inside = [
                other for other in os.listdir(os.path.join(folder, name)) if _is_header(other)
            ]
            found += [_Reference(os.path.join(folder, name, other), *told) for other in inside]
    return tuple(found), stems


def _is_header(name: str) -> bool:
    return name.lower().endswith(".hdr") and not name.startswith(".")


def _choose(
    ranks: Sequence[Sequence[_Reference]], shape: tuple[str, str, str, float]
) -> _Reference | None:
    """The only reference of the first rank that has any of a scene's shape, or None."""
    for rank in ranks:
        fitting = [each for each in rank if (_shape(each.path) or ())[:3] == shape[:3]]
        if fitting:
            return fitting[0] if len(fitting) == 1 else None
    return None


def _shape(path: str) -> tuple[str, str, str, float] | None:
    """Columns, bands, data type and scale factor that an ENVI header tells, or None."""
    try:
        header = read_header(path)
        scale = re.match(r"[\d.eE+]+", str(header.get("reflectance scale factor", "1")))
        words = [str(header[key]).strip() for key in ("samples", "bands", "data type")]
        return words[0], words[1], words[2], float(scale[0]) if scale else 1.0
    except (InputError, KeyError, ValueError):
        return None


def _has_counts(header: str) -> bool:
    """Whether the middle line of a capture of floats holds numbers far beyond reflectance."""
    try:
        _, raw = read_any(header)
        line = raw.store[raw.store.shape[0] // 2].read().result()
    except (InputError, OSError, ValueError):
        return False
    return bool(np.nanmedian(line) > _COUNTS)


def _maker(header: str, white: str) -> str:
    if white.lower().startswith("whiteref_"):
        return "Specim: "
    if re.match(r"(?i)raw(?:_\d+)?$", scene_stem(header)):
        return "Headwall: "
    return "HySpex: " if re.search(r"_SN\d+_", header) else ""


def products(paths: Sequence[str]) -> dict[str, str]:
    """Of captures that are there raw and processed, all but the one to be read.

    That is the raw one if it has a white reference, else the one of reflectance, else the raw one.

    Args:
        paths: of all scenes.

    Returns:
        What each file that is left out is, by path.
    """
    families: dict[tuple[str, str], list[str]] = {}
    for path in paths:
        if "://" not in path:
            families.setdefault(_family(path), []).append(path)
    left: dict[str, str] = {}
    for family in families.values():
        if len({scene_stem(path) for path in family}) < 2:
            continue
        ranked = sorted(family, key=_rank)
        for other in ranked[1:]:
            if scene_stem(other) != scene_stem(ranked[0]):
                left[other] = f"same capture as {os.path.basename(ranked[0])}"
    return left


def _family(path: str) -> tuple[str, str]:
    """What the files of one capture have in common: folder and name."""
    folder, stem = os.path.dirname(os.path.abspath(path)), scene_stem(path)
    if os.path.basename(folder).lower() in ("capture", "results"):  # Specim
        folder = os.path.dirname(folder)
    if _ALONE.fullmatch(stem):
        return folder, ""
    stem = _PREFIX.sub("", stem)
    processed = _PROCESSED.match(stem)
    return folder, processed[1] if processed else stem


def _rank(path: str) -> tuple[int, int]:
    """How good a file of a capture is, 0 best; the shorter name of two alike."""
    stem = scene_stem(path)
    base = _family(path)[1]
    added = stem.replace(base, "", 1) if base else stem
    if _REFLECTANCE.search(added):
        return 1, len(stem)
    if _RADIANCE.search(added):
        return 3, len(stem)
    return (0 if references(path).white else 2), len(stem)


def named(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """The same paths, of which no two are called the same.

    Scenes of one name get the names of the folders in which they differ: `a/leaf.hdr` and
    `b/leaf.hdr` are `a_leaf` and `b_leaf`.

    Args:
        paths: of all scenes.

    Returns:
        The paths, and what to tell of them.

    Raises:
        InputError: two scenes of one name in one folder.
    """
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(scene_name(path), []).append(path)
    names, told = {path: name for name, group in groups.items() for path in group}, []
    for name, group in groups.items():
        if len(group) > 1:
            called = _distinct(name, group)
            names.update(zip(group, called, strict=True))
            some = ", ".join(called[:4]) + (", ..." if len(called) > 4 else "")
            told.append(f"{len(group)} scenes are called {name!r}: they become {some}.")
    by_name: dict[str, str] = {}
    for path, name in names.items():
        other = by_name.setdefault(name, path)
        if other != path:
            raise InputError(
                f"{other} and {path}",
                found=f"are both called {name!r}, and outputs are named after their scenes",
                remedy="rename one, or name the scenes by a glob such as '*.hdr'",
            )
    renamed = []
    for path in paths:
        if names[path] != scene_name(path):
            path, name = ScenePath(path), names[path]
            path.scene = name
        renamed.append(path)
    return renamed, told


def _distinct(name: str, group: Sequence[str]) -> list[str]:
    """Names of scenes of one name, with the folders before them in which they differ."""
    folders = [re.split(r"[/\\]", os.path.dirname(_whole(path))) for path in group]
    levels = list(zip(*folders, strict=False))
    shared = next((n for n, level in enumerate(levels) if len(set(level)) > 1), len(levels))
    folders = [each[shared:][::-1] for each in folders]
    depth = max(map(len, folders))
    padded = [(*each, *[""] * (depth - len(each))) for each in folders]  # innermost first
    chosen: list[int] = []
    for level in range(depth):
        values = [each[level] for each in padded]
        if len(set(values)) == 1:
            continue
        chosen.append(level)
        if len({tuple(each[k] for k in chosen) for each in padded}) == len(group):
            break
    return ["_".join([*filter(None, (each[k] for k in chosen[::-1])), name]) for each in padded]


def _whole(path: str) -> str:
    return path if "://" in path else os.path.abspath(path)
