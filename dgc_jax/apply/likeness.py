"""Whether a scene is like those that a model was trained on, told when it has been segmented.

A model gives every pixel a label, whatever it is: of a scene whose numbers are 10,000 times larger
all pixels may get the same one. Three things are compared, over a sample of 9216 pixels at most:
the scene's brightness with that of the training, which the model keeps in its normalisation; the
share of pixels that are unlike any cluster; and, where the scene is interpolated onto the model's
bands, how far its own bands are apart. The bounds and what they were measured on: docs/data.md.
"""

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dgc_jax.apply.tiles import Tile
from dgc_jax.data import empty_bands, units
from dgc_jax.data.cube import Cube

if TYPE_CHECKING:
    from dgc_jax.apply.segmenter import Segmenter

_LOG = logging.getLogger("dgc_jax")

UNLIKE = 0.5
"""Share of pixels unlike any cluster above which a scene is unlike those trained on. Of these
scenes it is 0.01, see `dgc_jax.train.describe.RARE`."""

COARSE = 2.0
"""Distance of a scene's bands, in units of the model's bins (or of its bands where these are
further apart), above which interpolation between them hides what the model looks at."""

_BLOCK = 32  # pixels: all are of one shape, for one program


Windows = list[tuple[np.ndarray, np.ndarray]]
"""Reflectance `[row, column, band]` and validity `[row, column]`, as of `units.sample`."""


def watched(segmenter: "Segmenter", cube: Cube, tiles: Iterable[Tile]) -> Iterator[Tile]:
    """The tiles of a scene, and a warning after the last one if the scene is unlike.

    Args:
        segmenter: the model.
        cube: the scene, on the model's bands.
        tiles: of the scene, or some of them.
    """
    sample: Windows = [(np.zeros((0, 0, segmenter.bands), np.float32), np.zeros((0, 0), bool))]
    windows = empty_bands.windows(cube.shape[:2])
    for tile in tiles:
        sample += [_cut(tile, *window) for window in windows]
        yield tile
    for sentence in doubts(segmenter, cube, sample):
        _LOG.warning("%s", sentence)


def _cut(
    tile: Tile, row: int, column: int, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """The part of a window that lies in a tile, perhaps empty."""
    row, column = row - tile.row, column - tile.column
    at = np.s_[
        max(row, 0) : max(row + height, 0),
        max(column, 0) : max(column + width, 0),
    ]
    return tile.numbers[at].astype(np.float32) / np.float32(tile.divisor), tile.labels[at] > 0


def doubts(segmenter: "Segmenter", cube: Cube, windows: Windows) -> list[str]:
    """What is unlike the scenes of the training, one sentence each.

    Args:
        segmenter: the model.
        cube: the scene, on the model's bands.
        windows: pixels from all over it.
    """
    found = [_bands(segmenter, cube)]
    seen = units.numbers(windows)
    if seen is not None:
        found.append(_brightness(segmenter, cube, seen) or _strange(segmenter, cube, windows))
    return [sentence for sentence in found if sentence]


class Trained(NamedTuple):
    """What the reflectance of the training's pixels was like.

    Attributes:
        level: its mean over pixels and bins.
        high: two standard deviations above the mean in the bin where that is most.
    """

    level: float
    high: float


def trained(segmenter: "Segmenter") -> Trained:
    """What the model's normalisation tells of its training."""
    constants = segmenter.model.normalisation
    mean, deviation = (np.asarray(x, np.float64) for x in (constants.mean, constants.deviation))
    scale = float(constants.scale)
    return Trained(float(mean.mean()) * scale, float((mean + 2 * deviation).max()) * scale)


def trained_on_large(segmenter: "Segmenter") -> bool:
    """Whether the numbers of the training were no reflectance, as far as their size tells."""
    return trained(segmenter).high > units.LARGE


def _brightness(segmenter: "Segmenter", cube: Cube, seen: units.Numbers) -> str | None:
    """Whether the scene is brighter or darker than light makes it."""
    theirs = trained(segmenter)
    ratio = seen.level / max(theirs.level, 1e-12)
    if _ordinary(ratio) and seen.unit != "reflectance":
        ratio = seen.high / theirs.high  # a scene with little that is bright in it
    if theirs.level <= 0 or _ordinary(ratio):
        return None
    return (
        f"{cube.path} is {units.times(ratio)} the scenes that the model was trained on (mean "
        f"{seen.level:.3g}, 99 % of the values below {seen.high:.3g}; theirs {theirs.level:.3g} "
        f"and {theirs.high:.3g}), so its labels may mean nothing: "
        f"{_reason(segmenter, cube, ratio > 1)}"
    )


def _ordinary(ratio: float) -> bool:
    return 1 / units.DARKER <= ratio <= units.BRIGHTER


def _reason(segmenter: "Segmenter", cube: Cube, brighter: bool) -> str:
    """The likely reason, and what to do about it."""
    data = segmenter.config["data"]
    if cube.calibration.by_references:
        return "check its white and dark references, their exposure and their order."
    if data.get("white"):
        return "the training's were calibrated by references and it is not; pass white= and dark=."
    if brighter:
        stored = "has no scale factor" if cube.scale == 1 else f"is divided by {cube.scale:g}"
        return (
            f"it {stored}, so that one may be missing or wrong ('reflectance scale factor' of ENVI "
            "headers, scale_factor elsewhere), or it holds raw counts or radiance; correct the "
            "file, or pass white= and dark=."
        )
    if cube.scale > 1:
        return (
            f"it may have been divided by its scale factor {cube.scale:g} already; take that out "
            "of the file's header."
        )
    unit = "raw counts or radiance" if trained_on_large(segmenter) else "another unit"
    return (
        f"the training's may be in {unit}, or it was divided by a scale factor twice; bring it "
        "to the unit of the training."
    )


def _strange(segmenter: "Segmenter", cube: Cube, windows: Windows) -> str | None:
    """Whether too many pixels are unlike any cluster."""
    if segmenter.similarity_floor is None:
        return None
    pixels = unlike = 0
    for crop, valid in _blocks(windows):
        found = np.asarray(segmenter.confidence(crop[None], valid[None]).unlike)
        pixels += int(np.count_nonzero(valid))
        unlike += int(np.count_nonzero(found))
    if unlike <= UNLIKE * pixels:
        return None
    unsure = "" if cube.wavelengths is not None else " (its wavelengths are not known)"
    return (
        f"{unlike / pixels:.0%} of the sampled pixels of {cube.path} are unlike any cluster of the "
        "model, so its labels may mean nothing: it may hold other materials, radiance instead of "
        f"reflectance (pass white= and dark=), or other bands{unsure}; see `dgc inspect`, and "
        "where they are by confidence=."
    )


def _blocks(windows: Windows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The windows in blocks of one shape, filled up with invalid pixels."""
    for reflectance, valid in windows:
        for row in range(0, valid.shape[0], _BLOCK):
            for column in range(0, valid.shape[1], _BLOCK):
                at = np.s_[row : row + _BLOCK, column : column + _BLOCK]
                if valid[at].any():
                    fill = [(0, _BLOCK - length) for length in valid[at].shape]
                    clean = np.where(valid[at][..., None], reflectance[at], 0)
                    yield np.pad(clean, (*fill, (0, 0))), np.pad(valid[at], fill)


def _bands(segmenter: "Segmenter", cube: Cube) -> str | None:
    """What was done to bring a scene to the model's bands, if its own are others or unknown."""
    theirs = segmenter.wavelengths
    if theirs is None:
        return None
    model = f"the model's {segmenter.bands} bands of {theirs[0]:.6g}-{theirs[-1]:.6g} nm"
    if cube.bands.centres is None:
        return (
            f"{cube.path} does not say its wavelengths, so its bands are taken for {model}; if "
            "they are others, pass wavelengths=."
        )
    if cube.bands.taps is None:
        return None
    centres = cube.bands.centres
    own = f"{len(centres)} bands of {centres[0]:.6g}-{centres[-1]:.6g} nm"
    lower, upper, share = cube.bands.taps
    between = (share > 0) & (share < 1)
    gaps = np.where(between, centres[upper] - centres[lower], 0.0)
    spacing = float(np.median(np.diff(theirs))) if len(theirs) > 1 else 0.0
    wide = gaps > COARSE * max(spacing, float(segmenter.config["data"]["bin_width"]))
    if not wide.any():
        return f"{cube.path} ({own}) is interpolated onto {model}."
    return (
        f"{cube.path} ({own}) is interpolated onto {model}, of which {np.count_nonzero(wide)} "
        f"({theirs[wide][0]:.0f}-{theirs[wide][-1]:.0f} nm) lie between bands that are up to "
        f"{gaps.max():.0f} nm apart, so its labels may mean nothing: train on scenes of such bands "
        "or leave those out of the training (data.bands, data.drop)."
    )
