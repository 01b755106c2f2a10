"""Which stored bands of a scene are used, at which wavelengths, and on which grid they are given.

Bands are ordered by ascending wavelength (nm, float64). Those that are kept can be interpolated
linearly onto the band grid of another scene.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dgc_jax.errors import InputError

Ranges = Sequence[Sequence[float]]
Taps = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Bands:
    """The bands of a scene.

    Attributes:
        index: `[kept band]` which stored bands are used, by ascending wavelength.
        centres: `[kept band]` their wavelengths, nm, or None.
        grid: `[band]` nm of the bands that they are interpolated onto; or None.
        taps: that interpolation: lower and upper kept band and the upper one's share, each
            `[band]`; or None.
    """

    index: np.ndarray
    centres: np.ndarray | None
    grid: np.ndarray | None = None
    taps: Taps | None = None

    def __len__(self) -> int:
        return len(self.index if self.taps is None else self.taps[0])

    @property
    def wavelengths(self) -> np.ndarray | None:
        """`[band]` nm of what a scene gives, or None."""
        return self.centres if self.taps is None else self.grid

    @property
    def span(self) -> tuple[int, int]:
        """The range of stored bands, first and one past the last, that covers the kept ones."""
        return int(self.index.min()), int(self.index.max()) + 1

    def pick(self, stored: np.ndarray) -> np.ndarray:
        """The kept bands of `[row, column, stored band]` numbers of the span, maybe a view."""
        index = self.index - self.index.min()
        if np.array_equal(index, np.arange(stored.shape[2])):
            return stored
        if np.array_equal(index[::-1], np.arange(stored.shape[2])):
            return stored[:, :, ::-1]
        return stored[:, :, index]

    def kept(self, keep: np.ndarray) -> "Bands":
        """Some of the bands, by bool `[band]`."""
        if self.taps is None or self.grid is None:
            return Bands(self.index[keep], None if self.centres is None else self.centres[keep])
        lower, upper, share = (tap[keep] for tap in self.taps)
        return dataclasses.replace(self, grid=self.grid[keep], taps=(lower, upper, share))

    def interpolate(self, reflectance: np.ndarray) -> np.ndarray:
        """`[row, column, kept band]` onto the grid, `[row, column, band]`; as it is without one."""
        if self.taps is None:
            return reflectance
        lower, upper, share = self.taps
        return reflectance[:, :, lower] * (1 - share) + reflectance[:, :, upper] * share


def chosen(path: str, bands: Bands, ranges: Ranges | None, drop: Ranges | None) -> np.ndarray:
    """Which bands of a scene are wanted, bool `[band]`.

    Args:
        path: of the scene.
        bands: what it has.
        ranges: what to keep, nm, ends included: `((450, 900),)`; None keeps all.
        drop: what to leave out of that, nm, ends included.

    Raises:
        InputError: the scene's wavelengths are unknown, or no band is left.
    """
    wavelengths = bands.wavelengths
    if wavelengths is None:
        raise InputError(
            path,
            found="does not say its wavelengths, so bands cannot be chosen in nm",
            remedy="give wavelengths=",
        )
    keep = np.ones(len(wavelengths), bool)
    if ranges is not None:
        keep = _within(wavelengths, ranges, "bands")
    if drop is not None:
        keep &= ~_within(wavelengths, drop, "drop")
    if not keep.any():
        raise InputError(
            path,
            found=f"has no band left of its {named(wavelengths)} by bands={ranges}, drop={drop}",
            remedy="correct these",
        )
    return keep


def on_grid(path: str, bands: Bands, wavelengths: Sequence[float] | np.ndarray) -> Bands:
    """The bands interpolated onto another grid.

    Args:
        path: of the scene.
        bands: what it has.
        wavelengths: `[band]` nm, ascending. They may lie beyond the scene's first and last band by
            half the distance to the next one.

    Raises:
        InputError: the scene's wavelengths are unknown or do not cover the grid.
    """
    grid, centres = np.asarray(wavelengths, np.float64), bands.centres
    if centres is None:
        raise InputError(
            path,
            found=f"does not say its wavelengths, so it cannot be brought to {named(grid)}",
            remedy="give wavelengths=",
        )
    first, last = centres[0], centres[-1]
    if len(centres) > 1:
        first, last = 1.5 * first - 0.5 * centres[1], 1.5 * last - 0.5 * centres[-2]
    if grid[0] < first or grid[-1] > last:
        raise InputError(
            path,
            expected=f"bands that cover the {named(grid)} asked for",
            found=named(centres),
            remedy="leave the scene out or keep fewer bands",
        )
    lower = np.clip(np.searchsorted(centres, grid, side="right") - 1, 0, len(centres) - 1)
    upper = np.minimum(lower + 1, len(centres) - 1)
    distance = np.maximum(centres[upper] - centres[lower], 1e-9)
    share = np.clip((grid - centres[lower]) / distance, 0, 1).astype(np.float32)
    return dataclasses.replace(bands, grid=grid, taps=(lower, upper, share))


def named(wavelengths: np.ndarray) -> str:
    """How many bands of `[band]` nm, and from where to where, in words."""
    return f"{len(wavelengths)} bands of {wavelengths[0]:.6g} to {wavelengths[-1]:.6g} nm"


def _within(wavelengths: np.ndarray, ranges: Ranges, argument: str) -> np.ndarray:
    """Which wavelengths lie in one of some ranges."""
    limits = np.asarray(ranges, np.float64).reshape(-1, 2) if np.size(ranges) % 2 == 0 else None
    if limits is None or (limits[:, 0] > limits[:, 1]).any():
        raise InputError(
            f"{argument}={ranges}",
            expected="ranges in nm, such as ((450, 900),)",
            remedy="correct them",
        )
    low, high = limits[:, :1], limits[:, 1:]  # [range, 1]
    return np.any((wavelengths >= low) & (wavelengths <= high), axis=0)
