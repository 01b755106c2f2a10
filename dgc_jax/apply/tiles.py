"""A scene walked tile by tile, read, labelled and handed out at the same time.

A tile is read with a halo around it, and labelled as far as its inner part:

        +---------------+
        |  halo         |     read:    tile + 2 halo, invalid outside the image
        |   +-------+   |     written: tile
        |   | tile  |   |
        |   +-------+   |
        +---------------+

Tiles start at multiples of their side and come row by row, so that the lines of a file are read
from the disk once. Memory does not grow with the scene: a few tiles are on their way, and
after each row of tiles a memory-mapped file is let go of and free memory is given back.
"""

import collections
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from dgc_jax import heap
from dgc_jax.data.cube import Cube, Pending, Stored
from dgc_jax.data.formats import nodata

_READING = 4  # tiles that are being read ahead
_COMPUTING = 2  # tiles that are being computed
# Sides of tiles, pixels. On a CPU the arrays of a tile of 92 stay below the 32 MB from which on the
# C library asks the system for fresh pages every time; a tile of 112 costs a fifth more for it.
_SIDES = {"cpu": (64, 76, 84, 92)}
_LARGE_SIDES = (64, 96, 128)  # of accelerators: of 128, 256 and 504 an H100 was fastest with 128


class Tile(NamedTuple):
    """A labelled tile, without its halo, cut to the image.

    Attributes:
        row: of its upper left pixel.
        column: of its upper left pixel.
        labels: `[height, width]` uint8, 1..K, and 0 where there is no data.
        numbers: `[height, width, band]` what it was read from; anything where the label is 0.
        divisor: what to divide the numbers by to get reflectance.
        confidence: how sure the labels are, if that was asked for.
        finest: what the pixels are at the finest level, if that was asked for.
    """

    row: int
    column: int
    labels: np.ndarray
    numbers: np.ndarray
    divisor: float
    confidence: "TileConfidence | None"
    finest: "Finest | None"


class TileConfidence(NamedTuple):
    """How sure the labels of a window are; everything is 0 where there is no data.

    Attributes:
        probabilities: `[height, width, K]` float32 of the clusters.
        similarity: `[height, width]` float32 cosine to the nearest trained centroid: low for a
            pixel that is unlike any cluster, whichever is the nearest.
        margin: `[height, width]` float32, the greatest less the second probability, 0..1.
    """

    probabilities: np.ndarray | jax.Array
    similarity: np.ndarray | jax.Array
    margin: np.ndarray | jax.Array


class Finest(NamedTuple):
    """What the pixels of a window are at the finest level; 0 where there is no data.

    Attributes:
        labels: `[height, width]` uint8, 1..L.
        probabilities: `[height, width, L]` float32.
    """

    labels: np.ndarray | jax.Array
    probabilities: np.ndarray | jax.Array


class Confidence(NamedTuple):
    """How sure the labels of crops are; 0 and False where there is no data.

    Attributes:
        margin: `[batch, row, column]` float32, the greatest probability less the second, 0..1.
        similarity: `[batch, row, column]` float32 cosine to the nearest trained centroid.
        unlike: `[batch, row, column]` bool, pixels that are unlike any cluster: their similarity is
            below the model's floor. None for a model without one.
    """

    margin: jax.Array
    similarity: jax.Array
    unlike: jax.Array | None


Labelled = tuple[np.ndarray | jax.Array, TileConfidence | None, Finest | None]
"""Labels `[row, column]` of a window; perhaps how sure they are; perhaps the finest level."""


def best_side(rows: int, columns: int, halo: int) -> int:
    """The side of tiles for which the fewest pixels of a scene are computed, halos included.

    There are few to choose from, so that scenes of many sizes share a few compiled programs.
    """
    sides = _SIDES.get(jax.default_backend(), _LARGE_SIDES)
    return min(
        reversed(sides),
        key=lambda side: -(-rows // side) * -(-columns // side) * (side + 2 * halo) ** 2,
    )


def walk(
    cube: Cube,
    label: Callable[[Stored, bool], Labelled],
    side: int,
    halo: int,
    part: tuple[int, int] = (0, 1),
) -> Iterator[Tile]:
    """Labels the tiles of a scene; later ones are read and computed meanwhile.

    Args:
        cube: the scene.
        label: gives the labels of a window without waiting for them; its second argument says that
            no pixel is valid.
        side: of a tile, pixels.
        halo: pixels around it.
        part: (index, count): every count-th tile, from the index-th (0 is the first) on.
    """
    cube = cube.for_walking()
    rows, columns, _ = cube.shape
    whole = side + 2 * halo
    index, count = part
    corners = list(itertools.product(range(0, rows, side), range(0, columns, side)))[index::count]
    reading: collections.deque[Pending] = collections.deque()
    computing: collections.deque[tuple[int, int, Stored, Labelled]] = collections.deque()
    done = 0

    def finish() -> Tile:
        row, column, stored, (labels, confidence, finest) = computing.popleft()
        inner = np.s_[
            halo : halo + min(side, rows - row), halo : halo + min(side, columns - column)
        ]
        if confidence is not None:
            confidence = TileConfidence(*(np.asarray(each)[inner] for each in confidence))
        if finest is not None:
            finest = Finest(*(np.asarray(each)[inner] for each in finest))
        labels, numbers = np.asarray(labels)[inner], stored.numbers[inner]
        return Tile(row, column, labels, numbers, stored.divisor, confidence, finest)

    for number in range(len(corners) + _READING):
        if number < len(corners):
            row, column = corners[number]
            reading.append(cube.request(row - halo, column - halo, whole, whole))
        if number >= _READING:
            row, column = corners[number - _READING]
            stored = reading.popleft().stored()
            computing.append((row, column, stored, label(stored, _is_blank(stored))))
            if row > done:
                cube.forget()
                heap.trim()
            done = row
        if len(computing) > _COMPUTING:
            yield finish()
    while computing:
        yield finish()
    cube.forget()


def _is_blank(stored: Stored) -> bool:
    """Whether a window has no valid pixel; most are found to have one by a look at a few."""
    numbers, usable, _, ignored, checked = stored
    if checked or not usable.any():
        return not usable.any()
    for sparse in (np.s_[::8, ::8], np.s_[:, :]):
        some = numbers[sparse]
        full = some.any(axis=2) & usable[sparse]
        full &= ~nodata.missing(some, ignored)
        if full.any():
            return False
    return True
