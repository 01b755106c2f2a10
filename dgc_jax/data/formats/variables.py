"""Which array of a file is the cube, how its axes lie, and which wavelengths belong to it.

MATLAB and HDF5 files hold named arrays and no convention says which is the image. The rules, used
by both readers:

- The cube is the only 3-D numeric array; with several, or none, the user names one.
- Axes are told by one letter each, `r` row, `c` column, `b` band, in the order in which the file's
  own world (MATLAB's `size`, HDF5's shape) lists them: `"brc"` is band-sequential.
- Untold, the names of the dimensions decide (see `dimensions`); without any, the axis with as many
  entries as the file has wavelengths is the band axis and rows come before columns. Without
  wavelengths the order is `"rcb"`, except for an array called `cube` that looks like the published
  leaf data set, whose `cube` is `[band, row, column]` with 301 bands
  (https://arxiv.org/abs/2512.24172).
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from dgc_jax.data.formats import dimensions, wavelengths
from dgc_jax.errors import InputError

_WAVELENGTH_NAMES = ("wavelengths", "wavelength", "wl", "wvl", "lambda", "bands")
_GOOD_NAMES = {"goodwavelengths", "goodbands", "goodband", "bbl", "badbandlist"}
_BAD_NAMES = {"badbands", "badband", "badwavelengths"}
_LISTED = 40  # names in a message, at most
_PUBLISHED_BANDS = 301


def listing(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The arrays of a file as people read them: `Y [156, 9025], lines [1, 1]`."""
    largest = sorted(shapes, key=lambda name: math.prod(shapes[name]))[-_LISTED:]
    shown = [f"{name} {list(shape)}" for name, shape in shapes.items() if name in largest]
    more = [f"and {len(shapes) - len(shown)} smaller ones"] if len(shown) < len(shapes) else []
    return ", ".join(shown + more) or "nothing"


def choose(
    path: str,
    shapes: Mapping[str, tuple[int, ...]],
    candidates: Collection[str],
    variable: str | None,
    wanted: str = "3-D numeric variable",
) -> str:
    """The variable to read: the one that was named, or the only candidate.

    Args:
        path: of the file, for the message.
        shapes: of every numeric variable of the file.
        candidates: the variables that could be meant.
        variable: what the user named, if anything.
        wanted: what a candidate is, for the message.

    Raises:
        InputError: the named one is not there, or there is not exactly one candidate.
    """
    if variable is not None:
        asked = _path(variable)
        for name in shapes:
            if asked == _path(name):
                return name
        within = [name for name in candidates if _path(name)[: len(asked)] == asked]
        if len(within) == 1:
            return within[0]
        raise InputError(
            path,
            expected=f"a numeric variable {variable!r}",
            found=listing(shapes),
            remedy="name one of these",
        )
    if len(candidates) != 1:
        found = "no" if not candidates else "more than one"
        raise InputError(
            path,
            found=f"has {found} {wanted}",
            remedy=f"name the one to read with variable=, out of {listing(shapes)}",
        )
    return next(iter(candidates))


def choose_map(
    path: str,
    shapes: Mapping[str, tuple[int, ...]],
    shape: tuple[int, int] | None,
    variable: str | None,
) -> str:
    """The label map among a file's variables: the only matrix, or the only one of the scene's size.

    Args:
        path: of the file, for the message.
        shapes: of every numeric variable of the file.
        shape: rows and columns of the scene, if known.
        variable: what the user named, if anything.

    Raises:
        InputError: the named one is not there, or there is not exactly one that fits.
    """
    maps = [name for name, size in shapes.items() if len(size) == 2 and min(size) > 1]
    fitting = [name for name in maps if shapes[name] == shape]
    wanted = "2-D numeric variable"
    if len(fitting) == 1:
        maps = fitting
    elif shape is not None and len(maps) != 1:
        maps = fitting
        wanted = f"2-D numeric variable of the scene's {shape[0]} x {shape[1]} pixels"
    return choose(path, shapes, maps, variable, wanted)


def leaf(name: str) -> str:
    """The last part of a variable's path, in lower case: `data` of `hsi/Data` and `hsi.Data`."""
    return re.split(r"[/.]", name)[-1].lower()


def _path(name: str) -> list[str]:
    """`/hsi/Data`, `hsi.Data` and `hsi{1}/Data` as lists of parts; `(1)` and `{1}` are alike."""
    return [part for part in re.split(r"[/.(){}\[\]]+", name) if part]


def order_axes(
    path: str,
    name: str,
    shape: tuple[int, ...],
    axes: str | None,
    wavelength_counts: Collection[int],
    names: Sequence[str | None] = (),
) -> tuple[str, str | None]:
    """The letters of a 3-D array's axes, as told or by the rules of this module.

    Args:
        path: of the file, for the message.
        name: of the array.
        shape: of the array.
        axes: what the user said.
        wavelength_counts: how many entries the file's lists of wavelengths have.
        names: of the array's dimensions, if it has any.

    Returns:
        The letters in the array's own order, and a note if they had to be guessed.

    Raises:
        InputError: `axes` does not name the array's three axes, or the array is not 3-D.
    """
    if len(shape) != 3:
        raise InputError(
            path,
            expected=f"{name} to have three axes, as a cube has",
            found=f"shape {list(shape)}",
            remedy="name another variable",
        )
    if axes is not None:
        if sorted(axes) != sorted("rcb"):
            raise InputError(
                f"axes={axes!r}",
                found=f"does not say how {name} {list(shape)} of {path} lies",
                remedy="give the letters r, c and b in the order of its axes, for example 'rcb' "
                "or 'brc'",
            )
        return axes, None
    named, note = dimensions.order(names)
    if named is not None:
        return named, note
    advice = f"if that is wrong, say so with axes= (shape {list(shape)})"
    matching = [axis for axis in range(3) if shape[axis] in wavelength_counts]
    if len(matching) == 1:
        order = "rc"[: matching[0]] + "b" + "rc"[matching[0] :]
        if order == "rcb":
            return order, None
        return order, f"Axes of {name} taken as {order!r} from the number of wavelengths; {advice}."
    if leaf(name) == "cube" and not matching and _looks_published(shape):
        return "brc", f"Axes of {name} taken as 'brc', as in the published leaf data; {advice}."
    return "rcb", f"Axes of {name} taken as 'rcb'; {advice}."


def _looks_published(shape: tuple[int, ...]) -> bool:
    """Whether [band, row, column] is the likelier reading: 301 first, or fewest and squarer."""
    first, second, third = shape
    if _PUBLISHED_BANDS in (first, third):
        return first == _PUBLISHED_BANDS
    squarer = max(second, third) / min(second, third) < second / first
    return first < min(second, third) and squarer


def find_wavelengths(
    bands: int, lists: Iterable[tuple[str, np.ndarray, str | None]]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The list of wavelengths that fits the cube.

    Args:
        bands: of the cube.
        lists: name, values and unit (or None) of everything that is called like wavelengths.

    Returns:
        `[band]` nm float64 or None, and notes.
    """
    notes = []
    for name, values, unit in lists:
        if values.size != bands:
            notes.append(f"{name} has {values.size} entries for {bands} bands: not used.")
            continue
        found, why = wavelengths.to_nanometres(values, unit)
        if why is not None:
            notes.append(f"{name} {why}.")
        if found is not None:
            return found, tuple(notes)
    return None, tuple(notes)


def wavelength_names(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The lists among a file's variables whose name says wavelength, the plainest word first."""
    rank = {word: place for place, word in enumerate(_WAVELENGTH_NAMES)}
    found = [
        name
        for name, shape in shapes.items()
        if leaf(name) in rank and max(shape, default=1) == math.prod(shape) > 1
    ]
    return sorted(found, key=lambda name: rank[leaf(name)])


def find_good_bands(
    bands: int, lists: Iterable[tuple[str, np.ndarray]]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Which bands are usable by the first list of ones and zeros that fits the cube.

    In `bbl` (ENVI's bad-band list), `good_bands` and `good_wavelengths` (EMIT) 1 is a usable band,
    in `bad_bands` it is a bad one.

    Args:
        bands: of the cube.
        lists: name and values of everything that `is_band_list`.

    Returns:
        `[band]` bool or None, and notes.
    """
    notes = []
    for name, values in lists:
        flags = np.asarray(values, np.float64).ravel()
        if flags.size != bands or not np.isin(flags, (0, 1)).all():
            notes.append(f"{name} is no list of ones and zeros for {bands} bands: not used.")
            continue
        return (flags == 1) ^ (_word(name) in _BAD_NAMES), tuple(notes)
    return None, tuple(notes)


def is_band_list(name: str) -> bool:
    """Whether a variable is called like a list of good or bad bands."""
    return _word(name) in _GOOD_NAMES | _BAD_NAMES


def _word(name: str) -> str:
    return re.sub(r"[^a-z]", "", leaf(name.rsplit("@")[-1]))
