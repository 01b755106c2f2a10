"""Which array of a file is the cube, how its axes lie, and which wavelengths belong to it.

MATLAB and HDF5 files hold named arrays and no convention says which is the image. The rules, used
by both readers:

- The cube is the only 3-D numeric array; with several, or none, the user names one.
- Axes are told by one letter each, `r` row, `c` column, `b` band, in the order in which the file's
  own world (MATLAB's `size`, HDF5's shape) lists them: `"brc"` is band-sequential.
- Untold, the axis with as many entries as the file has wavelengths is the band axis and rows come
  before columns. Without wavelengths the order is `"rcb"`, except for an array called `cube` that
  looks like the published leaf data set, whose `cube` is `[band, row, column]` with 301 bands
  (https://arxiv.org/abs/2512.24172).
"""

import math
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from dgc_jax.data.formats import wavelengths
from dgc_jax.errors import InputError

_WAVELENGTH_NAMES = ("wavelengths", "wavelength", "wl", "wvl", "lambda", "bands")
_PUBLISHED_BANDS = 301


def listing(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The arrays of a file as people read them: `Y [156, 9025], lines [1, 1]`."""
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "nothing"


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
        if variable.strip("/") not in shapes:
            raise InputError(
                f"{path} has no numeric variable {variable!r}: it holds {listing(shapes)}."
            )
        return variable.strip("/")
    if len(candidates) != 1:
        found = "no" if not candidates else "more than one"
        raise InputError(
            f"{path} has {found} {wanted}: name the one to read with variable=, "
            f"out of {listing(shapes)}."
        )
    return next(iter(candidates))


def order_axes(
    path: str,
    name: str,
    shape: tuple[int, ...],
    axes: str | None,
    wavelength_counts: Collection[int],
) -> tuple[str, str | None]:
    """The letters of a 3-D array's axes, as told or by the rules of this module.

    Args:
        path: of the file, for the message.
        name: of the array.
        shape: of the array.
        axes: what the user said.
        wavelength_counts: how many entries the file's lists of wavelengths have.

    Returns:
        The letters in the array's own order, and a note if they had to be guessed.

    Raises:
        InputError: `axes` does not name the array's three axes, or the array is not 3-D.
    """
    if len(shape) != 3:
        raise InputError(
            f"{path}: {name} has shape {list(shape)}, but a cube has three axes: name another "
            "variable."
        )
    if axes is not None:
        if sorted(axes) != sorted("rcb"):
            raise InputError(
                f"axes={axes!r} does not say how {name} {list(shape)} of {path} lies: give the "
                "letters r, c and b in the order of its axes, for example 'rcb' or 'brc'."
            )
        return axes, None
    advice = f"if that is wrong, say so with axes= (shape {list(shape)})"
    matching = [axis for axis in range(3) if shape[axis] in wavelength_counts]
    if len(matching) == 1:
        order = "rc"[: matching[0]] + "b" + "rc"[matching[0] :]
        if order == "rcb":
            return order, None
        return order, f"Axes of {name} taken as {order!r} from the number of wavelengths; {advice}."
    if name.rsplit("/")[-1] == "cube" and not matching and _looks_published(shape):
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
        if name.rsplit("/")[-1].lower() in rank and max(shape, default=1) == math.prod(shape) > 1
    ]
    return sorted(found, key=lambda name: rank[name.rsplit("/")[-1].lower()])
