"""One way through a scene: its tiles are walked once and fed to everything that wants them.

    spectra, labels = TileSpectra(4, 301), ...
    feed(segmenter.walk(cube), [labels, spectra])

Several processes do the same, each with tiles of its own; then one of them merges what the others
have gathered: `write` puts the arrays of an accumulator into a file, `absorb` adds them to another.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from dgc_jax.apply.spectra import Spectra, combine, empty, measure
from dgc_jax.apply.tiles import Tile
from dgc_jax.errors import reading
from dgc_jax.files import replacing


class Taker(Protocol):
    """What takes the tiles of a scene, in any order."""

    def add(self, tile: Tile) -> None:
        """Takes a tile."""


class Accumulator(Taker, Protocol):
    """What can also be put together from what several processes took."""

    def state(self) -> dict[str, np.ndarray]:
        """The arrays that hold what was taken."""

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes what another one, begun alike, took of other tiles of the scene."""


class TileSpectra:
    """Mean and spread of the reflectance of each cluster that is shown.

    Attributes:
        spectra: of the tiles so far.
    """

    def __init__(self, clusters: int, bands: int) -> None:
        """Starts without pixels.

        Args:
            clusters: number of clusters K.
            bands: of the model.
        """
        self.spectra = empty(clusters, bands)

    def add(self, tile: Tile) -> None:
        """Takes a tile."""
        clusters = len(self.spectra.count)
        mine = measure(tile.numbers, tile.labels, clusters, divisor=tile.divisor)
        self.spectra = combine(self.spectra, mine)

    def state(self) -> dict[str, np.ndarray]:
        """Count, mean and squares."""
        return self.spectra._asdict()

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes the pixels of another one."""
        self.spectra = combine(self.spectra, Spectra(**state))


def feed(tiles: Iterable[Tile], takers: Sequence[Taker]) -> None:
    """Gives every tile to everything that takes them."""
    for tile in tiles:
        for each in takers:
            each.add(tile)


def write(path: str, accumulators: Mapping[str, Accumulator]) -> None:
    """Writes what accumulators hold to a file, NumPy's npz.

    Args:
        path: of the file; its folder is made if missing.
        accumulators: by a name.

    Raises:
        StorageError: the disk is full.
    """
    arrays = {
        f"{name}/{key}": value
        for name, each in accumulators.items()
        for key, value in each.state().items()
    }
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def absorb(path: str, accumulators: Mapping[str, Accumulator]) -> None:
    """Merges a file of `write` into accumulators that were begun alike.

    Args:
        path: of the file.
        accumulators: some of those that were written, by their names.

    Raises:
        InputError: if it cannot be read.
    """
    with (
        reading(path, "repeat the command"),
        open(path, "rb") as file,  # which NumPy leaves open if it is no archive
        np.load(file, allow_pickle=False) as arrays,
    ):
        for name, each in accumulators.items():
            begin = f"{name}/"
            each.merge({k.removeprefix(begin): arrays[k] for k in arrays if k.startswith(begin)})
