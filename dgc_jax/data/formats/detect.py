"""Which format a scene's file is of, and what its scene is called."""

import os
import re
from pathlib import PurePath

from dgc_jax import names
from dgc_jax.data.formats import enmap, envi, geotiff, npy, zarr
from dgc_jax.data.formats.raw import Raw
from dgc_jax.errors import InputError, reading

HDF5_SUFFIXES = (".h5", ".hdf5", ".he5", ".nc")
_SUFFIXES = (".mat", *HDF5_SUFFIXES, ".npy", *geotiff.SUFFIXES, ".zarr", ".zarr3", ".n5")
MEMORY = "<memory>/"
"""How the paths of scenes begin that were handed over as arrays, see `dgc_jax.data.arrays`."""

# What cameras' software adds to the name of a capture that it has processed.
PRODUCT = (
    r"[ _.-](?:nuc|rd|rf|wr|or|rad(?:iance)?|rfl|refl(?:ectance)?|corr(?:ected)?|"
    r"cal(?:ib(?:rated)?)?|float32|u16|geo|ortho|warped|\d+pctwhiteref)"
)
_HEADWALL = re.compile(rf"(raw_\d+)((?:{PRODUCT})*)", re.IGNORECASE)  # number of its first line
_ENMAP = (enmap.METADATA, "-SPECTRAL_IMAGE", "-SPECTRAL_IMAGE_COG")


def read(path: str, *, variable: str | None = None, axes: str | None = None) -> tuple[str, Raw]:
    """Opens a file of any format.

    Args:
        path: file, folder or URL.
        variable: which array of the file, if it holds several.
        axes: order of its axes, if the file does not say.

    Returns:
        The format's name ("ENVI", "MATLAB", "HDF5", "NPY", "GeoTIFF", "EnMAP" or "zarr") and what
        the reader found.

    Raises:
        InputError: the file is missing, of no known format, or its reader refuses it.
    """
    with reading(path):
        return _read(path, variable, axes)


def _read(path: str, variable: str | None, axes: str | None) -> tuple[str, Raw]:
    from dgc_jax.data.formats import hdf5, matlab  # only here: h5py and scipy take time to import

    if "://" in path or zarr.is_store(path):
        return "zarr", zarr.read(path, variable=variable, axes=axes)
    if path.startswith(MEMORY):
        raise InputError(
            path,
            found="was handed over in memory, so no file of it is known",
            remedy="give the scene itself, or the path of its file",
        )
    if not os.path.exists(path):
        raise InputError(path, found="does not exist", remedy="check the path")
    if os.path.isdir(path):
        raise InputError(
            path,
            expected="a zarr, zarr3 or n5 array",
            found="a folder of something else",
            remedy="give one scene in it",
        )
    lower = path.lower()
    if lower.endswith(".mat"):
        return "MATLAB", matlab.read(path, variable=variable, axes=axes)
    if lower.endswith(HDF5_SUFFIXES):
        return "HDF5", hdf5.read(path, variable=variable, axes=axes)
    if lower.endswith(".npy"):
        return "NPY", npy.read(path, variable=variable, axes=axes)
    if enmap.metadata_path(path) is not None:
        return "EnMAP", enmap.read(path, variable=variable, axes=axes)
    if lower.endswith(geotiff.SUFFIXES):
        return "GeoTIFF", geotiff.read(path, variable=variable, axes=axes)
    suffix = os.path.splitext(lower)[1]
    if suffix == ".hdr" or suffix in envi.DATA_SUFFIXES or envi.find_header(path) is not None:
        return "ENVI", envi.read(path, variable=variable, axes=axes)
    raise InputError(
        path,
        expected=f"ENVI (.hdr beside the data), {', '.join(_SUFFIXES)}, or a URL of zarr or n5",
        found="no known format",
        remedy="export it as one of these",
    )


class ScenePath(str):
    """The path of a scene that is called otherwise than its file.

    Attributes:
        scene: what it is called.
    """

    scene = ""


def scene_name(path: str) -> str:
    """What a scene is called: `leaf_07` of `scenes/leaf_07.raw.hdr`, as text (`dgc_jax.names`).

    Headwall's software calls every file `raw_0` and names its folder: the scene is called as that
    is, with the file's name behind it if the folder holds more than one.
    """
    if isinstance(path, ScenePath):
        return names.text(path.scene)
    stem = scene_stem(path)
    found = None if "://" in path else _HEADWALL.fullmatch(stem)
    folder = os.path.dirname(os.path.abspath(path)) if found else ""
    if found and os.path.basename(folder):
        parts = {other[1].lower() for other in map(_HEADWALL.fullmatch, _stems(folder)) if other}
        which = f"_{found[1]}" if len(parts - {found[1].lower()}) else ""
        stem = os.path.basename(folder) + which + found[2]
    return names.text(stem)


def _stems(folder: str) -> list[str]:
    try:
        return [scene_stem(os.path.join(folder, name)) for name in os.listdir(folder)]
    except OSError:
        return []


def scene_stem(path: str) -> str:
    """File name without folder and endings, by which other files of the scene are found."""
    name = PurePath(path.rstrip("/")).name
    known = (*_SUFFIXES, ".hdr", *envi.DATA_SUFFIXES, *_ENMAP)
    endings = [re.escape(suffix) for suffix in known if suffix]
    plain = re.sub(rf"(?i)(?<=.)({'|'.join(endings)})+$", "", name)
    stem, ending = os.path.splitext(path)
    if plain == name and ending and any(map(os.path.isfile, (stem + ".hdr", stem + ".HDR"))):
        return os.path.basename(stem)  # ENVI data of an ending of their own
    return plain


def files_of(path: str) -> list[str]:
    """The files that a scene of this path is read from, as far as they are there.

    An ENVI header goes with its data, of whatever ending; EnMAP metadata go with their image. Too
    many are no harm: they tell whether a scene has changed.

    Args:
        path: file, folder or URL.
    """
    if "://" in path or os.path.isdir(path):
        return [path]
    folder, name = os.path.split(path)
    if enmap.metadata_path(path) is not None:
        same = scene_name(path)
        beside = [n for n in os.listdir(folder or ".") if scene_name(n) == same]
    elif (header := envi.find_header(path)) is not None:
        stem = os.path.splitext(os.path.basename(header))[0]
        endings = dict.fromkeys(s for e in envi.DATA_SUFFIXES for s in (e, e.upper()))
        beside = [os.path.basename(header), *(stem + ending for ending in endings)]
        if not any(os.path.isfile(os.path.join(folder, n)) for n in beside[1:]):
            beside += [n for n in os.listdir(folder or ".") if n.startswith(f"{stem}.")]
    else:
        beside = [f"{name}.aux.xml", f"{name}.msk"]
    found = (os.path.join(folder, each) for each in sorted({name, *beside}))
    return [each for each in found if os.path.isfile(each) or os.path.basename(each) == name]
