"""How stored numbers become reflectance: by a scale factor, or by references per column and band.

With references it is `(raw - dark) / (white - dark)`, by the mean lines of a dark and a white
reference; without them the stored number divided by the scale factor.
"""

import dataclasses
import os

import numpy as np

from dgc_jax.data import companions, exposure, layouts
from dgc_jax.data.formats.detect import read as read_any
from dgc_jax.errors import InputError, reading


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """What turns stored numbers of the kept bands into reflectance.

    Attributes:
        scale: what a stored number is divided by; 1 with references.
        dark: `[column, kept band]` float32 stored number of no light, or None.
        gain: `[column, kept band]` float32 reflectance per stored number above dark, 0 where the
            references are dead; or None.
    """

    scale: float = 1.0
    dark: np.ndarray | None = None
    gain: np.ndarray | None = None

    @property
    def by_references(self) -> bool:
        """Whether there are references."""
        return self.gain is not None

    def of_bands(self, keep: np.ndarray) -> "Calibration":
        """That of some of the bands, by bool `[kept band]`."""
        if self.dark is None or self.gain is None:
            return self
        return dataclasses.replace(self, dark=self.dark[:, keep], gain=self.gain[:, keep])

    def alive(self, column: int, width: int) -> np.ndarray:
        """`[column]` bool, where references tell something; without any everywhere."""
        if self.gain is None:
            return np.ones(width, bool)
        return np.asarray(np.all(self.gain[column : column + width] > 0, axis=1))

    def reflectance(self, stored: np.ndarray, column: int) -> np.ndarray:
        """Float32 reflectance of numbers `[row, column, kept band]`; it may not be finite.

        Args:
            stored: the numbers.
            column: of the upper left pixel.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            reflectance = stored.astype(np.float32)
            if self.dark is not None and self.gain is not None:
                window = slice(column, column + stored.shape[1])
                reflectance -= self.dark[window]
                reflectance *= self.gain[window]
            elif self.scale != 1:
                reflectance /= np.float32(self.scale)
        return reflectance

    def may_overflow(self, dtype: np.dtype) -> bool:
        """Whether finite numbers of a type may give reflectance that is not."""
        return dtype.kind == "f" and (self.by_references or self.scale < 1)


def by_references(
    path: str,
    bands: np.ndarray,
    size: tuple[int, int],
    white: str | os.PathLike[str],
    dark: str | os.PathLike[str] | None,
) -> tuple[Calibration, list[str]]:
    """The calibration by a white reference, and what there is to say of it.

    Args:
        path: of the scene.
        bands: `[kept band]` which stored bands are used.
        size: columns and stored bands of the scene.
        white: path of the white reference.
        dark: path of the dark reference, or None.

    Raises:
        InputError: a reference cannot be read, or fits neither the scene nor the other one.
    """
    white, dark = os.fspath(white), None if dark is None else os.fspath(dark)
    white_line = _line(white, path, bands, size)
    dark_line = np.zeros_like(white_line)
    notes = ["Reflectance by white and dark reference; a scale factor is not applied."]
    dark_of_white = None
    if dark is not None:
        dark_line = _line(dark, path, bands, size)
        dark_of_white = layouts.dark_of_white(white)
    white_dark = dark_line
    if dark_of_white is not None:
        white_dark = _line(dark_of_white, path, bands, size)
        notes.append(f"{os.path.basename(dark_of_white)} is the dark of the white reference.")
    factor, told = exposure.of_white(path, white, dark)
    notes += told
    gain = companions.reflectance_per_count(white_line, white_dark) / np.float32(factor)
    alive = np.all(gain > 0, axis=1)  # [column]
    dead = int((~alive).sum())
    if dead == len(alive):
        raise InputError(
            white,
            expected=f"a reference that is brighter than {dark_of_white or dark or '0'}",
            found="one that in every column somewhere is not",
            remedy="check that the white and dark references are not swapped",
        )
    if dead:
        notes.append(f"{dead} of {len(alive)} columns are dead in the references: no data there.")
    return Calibration(dark=dark_line.astype(np.float32), gain=gain), notes


def _line(reference: str, path: str, bands: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Mean line of a reference, `[column, kept band]`."""
    _, raw = read_any(reference)
    with reading(reference):
        return companions.mean_line(reference, raw.store, path, size)[:, bands]
