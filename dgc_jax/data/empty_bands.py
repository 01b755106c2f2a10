"""Bands without data, and why a scene has no valid pixel, told from a small sample of it.

A pixel is valid if it has data in every band, so that one band of nothing but "no data" leaves no
pixel. Archives ship such bands: those in the water absorption of EnMAP and AVIRIS. They are bad
bands. A band is *empty* if at least 99 % (`EMPTY`) of the sampled pixels that have data in some
band have none in it. The sample is 16 pixels in the middle of the scene; only if none of these is
valid, or some of them have data in some bands only, nine windows spread over the scene are looked
at too. Files whose blocks are so large that a look costs more than `_AFFORDABLE` bytes are not
sampled when opened.
"""

import dataclasses
import math

import numpy as np

from dgc_jax.data.cube import Cube
from dgc_jax.data.formats import nodata
from dgc_jax.errors import InputError

EMPTY = 0.99
"""Share of the pixels with data in some band that have none in an empty one, at least."""

_HOLED = 0.5  # share of them that makes a band worth a note
_WINDOW, _WINDOWS = 32, 3  # pixels a side, windows along each axis
_FIRST = 16  # pixels of the first look
_FEWEST = 16  # pixels that have data in some band, to decide anything by
_AFFORDABLE = 6 * 2**20  # bytes that one look may read: some ten milliseconds
_SHOWN = 4  # ranges of bands in a message


def without_empty_bands(cube: Cube) -> Cube:
    """The scene without its empty bands, with a note for what was found.

    Args:
        cube: just opened, without references or another band grid.

    Returns:
        The cube itself if it has none or could not be sampled cheaply.
    """
    if not _worth_a_look(cube):
        return cube
    try:
        first = _present(cube, _middle(cube))
        some: np.ndarray = np.any(first, axis=-1)
        if some.any() and first[some].all():
            return cube
        present = np.concatenate([_present(cube, window) for window in windows(cube.shape[:2])])
    except InputError:  # whoever reads the scene is told
        return cube
    present = present[present.any(axis=-1)]  # [pixel, band]
    if len(present) < _FEWEST:
        return cube
    missing: np.ndarray = 1 - np.mean(present, axis=0)
    empty = missing >= EMPTY
    notes = []
    if empty.any():
        notes.append(
            f"{_named(cube, empty)} without data in at least {100 * EMPTY:g} % of the sampled "
            "pixels: left out, since nearly all pixels would be invalid; keep_bad_bands=True keeps "
            "them."
        )
    holed = ~empty & (missing >= _HOLED)
    if holed.any():
        notes.append(
            f"{_named(cube, holed)} without data in {100 * missing[holed].min():.0f} % of the "
            "sampled pixels or more, which makes them invalid: leave such bands out with bands= "
            "or drop=."
        )
    kept = ~empty
    return dataclasses.replace(
        cube,
        notes=(*cube.notes, *notes),
        bands=cube.bands.kept(kept),
    )


def why_invalid(cube: Cube) -> str | None:
    """Why no pixel of the sample is valid, as one sentence; None if one is.

    Args:
        cube: the scene; at most 9216 pixels of it are read.

    Raises:
        InputError: the file cannot be read.
    """
    present, zero, masked, dead = [], [], [], []
    for row, column, height, width in windows(cube.shape[:2]):
        if cube.read(row, column, height, width)[1].any():
            return None
        stored = cube.read_stored(row, column, height, width)
        present.append(_data(cube, stored).reshape(-1, stored.shape[2]))
        zero.append(~stored.any(axis=2).ravel())
        part = np.s_[row : row + height, column : column + width]
        mask = np.ones((height, width), bool) if cube.mask is None else cube.mask[part]
        masked.append(~mask.ravel())
        broken = ~cube.calibration.alive(column, width)
        dead.append(np.broadcast_to(broken, (height, width)).ravel())
    has: np.ndarray = np.concatenate(present)
    causes = {
        "the mask leaves none": np.concatenate(masked),
        "all of them are zero in all bands": np.concatenate(zero),
        "the references are dead in their columns": np.concatenate(dead),
        f"all of them hold no data ({_number(cube)}) in all bands": ~has.any(axis=1),
    }
    start = f"No sampled pixels are valid in {cube.path}: "
    for cause, where in causes.items():
        if where.all():
            return f"{start}{cause}; check that."
    some = has[has.any(axis=1)]
    missing = 1 - np.mean(some, axis=0) if len(some) else np.zeros(has.shape[1])
    holed = missing >= _HOLED
    if holed.any():
        return (
            f"{start}{_named(cube, holed)} without data ({_number(cube)}) in most of them: leave "
            "such bands out with bands= or drop=."
        )
    return f"{start}in each some band holds no data ({_number(cube)}); check that number."


def windows(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Row, column, height and width of windows spread over a scene of so many rows and columns."""
    return [
        (row, column, height, width)
        for row, height in _spread(size[0])
        for column, width in _spread(size[1])
    ]


def _spread(length: int) -> list[tuple[int, int]]:
    """Starts and lengths along an axis: all of a short one, or both ends and the middle."""
    if length <= _WINDOWS * _WINDOW:
        return [(0, length)]
    return [(round(start), _WINDOW) for start in np.linspace(0, length - _WINDOW, _WINDOWS)]


def _middle(cube: Cube) -> tuple[int, int, int, int]:
    width = min(_FIRST, cube.shape[1])
    return cube.shape[0] // 2, (cube.shape[1] - width) // 2, 1, width


def _worth_a_look(cube: Cube) -> bool:
    """Whether bands may be empty, and looking is cheap."""
    dtype = cube.store.dtype.numpy_dtype
    if cube.shape[2] == 1 or (dtype.kind != "f" and not cube.ignore_value):
        return False
    block = cube.store.chunk_layout.read_chunk.shape
    sides = [side or 0 for side in block or ()]
    if 0 in sides or not sides:
        return True  # in memory or memory-mapped
    blocks = math.ceil(cube.store.shape[2] / sides[2])
    return blocks * math.prod(sides) * dtype.itemsize <= _AFFORDABLE


def _present(cube: Cube, window: tuple[int, int, int, int]) -> np.ndarray:
    """`[pixel, band]` bool: where usable pixels of a window have data; False in all others."""
    row, column, height, width = window
    stored = cube.read_stored(*window)
    usable: np.ndarray = np.any(stored, axis=2)
    if cube.mask is not None:
        usable &= cube.mask[row : row + height, column : column + width]
    return (_data(cube, stored) & usable[:, :, None]).reshape(-1, stored.shape[2])


def _data(cube: Cube, stored: np.ndarray) -> np.ndarray:
    """`[row, column, band]` bool: which stored numbers are data."""
    return ~nodata.holes(stored, nodata.limits(cube.ignore_value, stored.dtype))


def _number(cube: Cube) -> str:
    return "NaN" if cube.ignore_value is None else f"{cube.ignore_value:g} or NaN"


def _named(cube: Cube, chosen: np.ndarray) -> str:
    """`3 bands (1340 to 1345, 1800 nm)`; by number, from 1, if wavelengths are unknown."""
    numbers, before, after = cube.bands.index + 1.0, "number ", ""
    if cube.bands.centres is not None:
        numbers, before, after = cube.bands.centres, "", " nm"
    edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen.astype(int), [0]])))
    runs = [(numbers[first], numbers[end - 1]) for first, end in edges.reshape(-1, 2)]
    shown = [f"{a:.6g}" if a == b else f"{a:.6g} to {b:.6g}" for a, b in runs[:_SHOWN]]
    more = f" and {len(runs) - _SHOWN} more ranges" if len(runs) > _SHOWN else ""
    count = int(chosen.sum())
    bands = "band" if count == 1 else "bands"
    return f"{count} {bands} ({before}{', '.join(shown)}{after}{more})"
