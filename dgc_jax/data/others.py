"""Files in a folder of scenes that are no scenes: label maps, masks, white and dark references.

They are recognised by name or by content, whatever the options say. By name: a word such as
`labels`, `gt` or `mask` at the end, the words of the cameras' own software for references
(`WHITEREF_a`, `darkReference`, `White_Ref-2`), and weaker words such as `white` or `seg` if the
rest of the name is that of another file there. By content: what a header says is one band of whole
numbers, or a plain matrix.
"""

import json
import os
import re
import warnings
from collections.abc import Collection

import numpy as np

from dgc_jax.data.companions import open_picture
from dgc_jax.data.formats import envi
from dgc_jax.data.formats.detect import scene_name

_TRUTH = (
    "labels?|(?:label|gt|truth)[ _-]?(?:map|image|img)|gts?|(?:ground[ _-]?)?truth|masks?|"
    "class[ _-]?(?:map|ification|mask)s?|annotations?|annotated"
)
_TRUTH_LAST = re.compile(rf"(?:^|[ _.-])(?:{_TRUTH})[ _-]?\d*$", re.IGNORECASE)
_TRUTH_CAMEL = re.compile(r"(?<=[a-z0-9])(?:Labels?|GT|Gt|GroundTruth|Masks?|ClassMap)\d*$")
_REFERENCE = re.compile(
    r"(?<![a-z])(?:(?:white|dark|black|gr[ae]y)(?:[ _.-]*(?:and[ _.-]*)?dark)?[ _.-]*"
    r"(?:ref(?:erence)?s?|current|frames?|cal(?:ibration)?)"
    r"|ref(?:erence)?[ _.-]*(?:white|dark|black)|[wd]ref)(?![a-z])"
    r"|^(?:white|dark)[ _.\d-]*$",
    re.IGNORECASE,
)
# What the cameras' software adds to the name that a capture was given: Headwall and Specim the time
# (`white_2020_11_11_09_36_42`), HySpex camera and exposure (`dark_SWIR_384_SN3189_297us_..._raw`).
_ADDED = re.compile(
    r"(?:_[a-z0-9-]+)?_[a-z0-9-]+_SN\d+_.*$"
    r"|[_ -]\d{4}(?:[_-]\d\d){2}(?:[T _-]\d\d(?:[_:-]?\d\d){2})?$",
    re.IGNORECASE,
)
_FOLDERS = re.compile(r"^calibrations?$", re.IGNORECASE)  # of Specim: bad pixels, radiometry
# These tell something only if what is left is the name of another file.
_TRUTH_WEAK = re.compile(
    rf"^(?:{_TRUTH}|class(?:es)?|seg(?:mentation)?|valid|roi)[ _.-]+|"
    r"[ _.-]+(?:class(?:es)?|seg(?:mentation)?|valid(?:ity)?|rois?)$",
    re.IGNORECASE,
)
_COLOURS = "white|dark|black|ref|reference|background"
_REFERENCE_WEAK = re.compile(
    rf"^(?:{_COLOURS})[ _.-]+|[ _.-]+(?:{_COLOURS})$|(?<=[a-z0-9])(?:White|Dark)$", re.IGNORECASE
)
# EMIT's granules come as three files.
_EMIT = re.compile(r"^EMIT_L2A_(MASK|RFLUNCERT)_", re.IGNORECASE)
_WHOLE_NUMBERS = {"1", "2", "3", "12", "13", "14", "15"}  # ENVI's data types of whole numbers


def what_else(path: str, stems: Collection[str], *, named: bool = False) -> str | None:
    """What a file is if it is no scene: "reference", "label map or mask", or None for a scene.

    Args:
        path: of the file, or of a zarr folder.
        stems: names of all files and scenes there, see `scene_name`.
        named: whether the user gave this very path, beside others: then the word `mask` or the
            like in its name counts only if the rest of it is the name of another.
    """
    stem = scene_name(path)
    others = {other.lower() for other in stems if other != stem}
    if reference(stem, others) is not None:
        return "reference"
    last = _TRUTH_LAST.search(stem) or _TRUTH_CAMEL.search(stem)
    if last and (not named or stem[: last.start()].lower() in others):
        return "label map or mask"
    if _EMIT.match(stem) or _paired(_TRUTH_WEAK, stem, others) or _is_flat(path):
        return "label map or mask"
    return None


def reference(stem: str, others: Collection[str]) -> tuple[str, str] | None:
    """What a name says of a reference; None if it is not that of one.

    Args:
        stem: the name, see `scene_name`.
        others: names of other files there, in lower case.

    Returns:
        Its kind, "white", "dark", "dark of white" or "other", and what is left of the name, in
        lower case: the scene that it belongs to, if it is that of one.
    """
    plain = _ADDED.sub("", stem)
    found = _REFERENCE.search(stem) or _REFERENCE.search(plain)
    if found is not None:
        stem = found.string
    else:
        weak = (w for w in _REFERENCE_WEAK.finditer(stem) if _without(w).lower() in others)
        found = next(weak, None)
    if found is None:
        return None
    word = found[0].lower().strip(" _.-")
    bright, dim = ("white" in word or word[0] == "w"), re.search("dark|black|^d", word) is not None
    kind = ("dark of white" if dim else "white") if bright else "dark" if dim else "other"
    return kind, _without(found).strip(" _.-").lower()


def folder(name: str) -> str | None:
    """What a folder among the scenes holds, by its name, if no scenes; as of `what_else`."""
    if _FOLDERS.match(name):
        return "calibration"
    if _TRUTH_LAST.search(name) or _TRUTH_CAMEL.search(name):
        return "label map or mask"
    return None if reference(name, ()) is None else "reference"


def _without(found: re.Match[str]) -> str:
    return found.string[: found.start()] + found.string[found.end() :]


def _paired(affix: re.Pattern[str], stem: str, others: Collection[str]) -> bool:
    """Whether a name without a word at one of its ends is that of another file."""
    return any(_without(found).lower() in others for found in affix.finditer(stem))


def _is_flat(path: str) -> bool:
    """Whether a file's header says that it holds one band of whole numbers, or a plain matrix.

    What cannot be read is left to the reader, which says what is wrong with it.
    """
    ending = os.path.splitext(path)[1].lower()
    try:
        if os.path.isdir(path):
            return _flat_zarr(path)
        if ending == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            return array.ndim == 2 or (array.shape[2:] == (1,) and array.dtype.kind in "biu")
        if ending in (".tif", ".tiff"):
            return _flat_tiff(path)
        if ending == ".mat":
            return _flat_matlab(path)
        header = envi.find_header(path)
        return header is not None and _flat_envi(header)
    except Exception:
        return False


def _flat_envi(header: str) -> bool:
    with open(header, "rb") as file:
        text = file.read().decode("latin-1")
    if re.search(r"^\s*file type\s*=\s*ENVI Classification", text, re.IGNORECASE | re.MULTILINE):
        return True
    fields = dict(re.findall(r"^\s*(bands|data type)\s*=\s*(\d+)\s*$", text.lower(), re.MULTILINE))
    return fields.get("bands") == "1" and fields.get("data type") in _WHOLE_NUMBERS


def _flat_tiff(path: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # large pictures are not decoded here
        with open_picture(path, ("TIFF",)) as image:
            whole = image.mode in ("1", "L", "P", "I") or image.mode.startswith("I;16")
            return whole and getattr(image, "n_frames", 1) == 1


def _flat_matlab(path: str) -> bool:
    from dgc_jax.data.formats import mat_file  # only here: it takes time to import

    found = mat_file.open_variables(path)
    for dataset in list(found.datasets.values())[:1]:
        dataset.file.close()
    shapes = [*found.shapes.values(), *found.flags.values()]
    sizes = [size for size in shapes if len(size) > 2 or min(size) > 1]
    return len(shapes) == 1 and len(sizes) == 1 and len(sizes[0]) == 2


def _flat_zarr(path: str) -> bool:
    for name in ("zarr.json", ".zarray"):
        if os.path.isfile(os.path.join(path, name)):
            with open(os.path.join(path, name), encoding="utf-8") as file:
                content = json.load(file)
            shape = content.get("shape", (0, 0, 0))
            kind = str(content.get("data_type") or content.get("dtype")).lstrip("<>|=")[0]
            return len(shape) == 2 or (len(shape) == 3 and shape[2] == 1 and kind in "biu")
    return False
