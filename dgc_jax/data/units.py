"""Whether numbers look like reflectance, and those of several scenes as if they were of one unit.

A file that lost its scale factor, raw counts and radiance open like any other file: only their size
tells. A scene is looked at through windows spread over it, 9216 pixels at most.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dgc_jax.data.cube import Cube
from dgc_jax.data.empty_bands import windows
from dgc_jax.errors import InputError

LARGE = 2.0
"""Reflectance rarely exceeds 1; if the brightest hundredth of the values is above this, or the
darkest below -1, they are no reflectance."""

SMALL = 0.01
"""If all but the brightest hundredth are below this, they were perhaps divided once too often."""

BRIGHTER, DARKER = 6.0, 10.0
"""Light and content change the mean of a scene by less than these factors; docs/data.md."""

MIXED = 30.0
"""Scenes of which some look like reflectance and others do not, and whose means differ by more than
this factor, are of different units."""

_NAMED = 4  # scenes in a message


class Numbers(NamedTuple):
    """The valid sampled values of a scene, after scaling.

    Attributes:
        level: mean over bands and pixels, without the brightest hundredth of the pixels (glints).
        least: of the values.
        low: quantile 0.01 of the values.
        median: of the values.
        high: quantile 0.99 of the values.
        greatest: of the values.
    """

    level: float
    least: float
    low: float
    median: float
    high: float
    greatest: float

    @property
    def unit(self) -> str:
        """`"reflectance"`, `"large"` or `"small"`: what they look like."""
        if self.high > LARGE or self.low < -1:
            return "large"
        return "small" if self.high < SMALL else "reflectance"


def sample(cube: Cube) -> list[tuple[np.ndarray, np.ndarray]]:
    """Windows spread over a scene, all of a small one.

    Returns:
        Reflectance `[row, column, band]` and validity `[row, column]` of each.

    Raises:
        InputError: the file cannot be read.
    """
    reading = [cube.request(*window) for window in windows(cube.shape[:2])]
    return [window.result() for window in reading]


def numbers(seen: Sequence[tuple[np.ndarray, np.ndarray]]) -> Numbers | None:
    """What the values of windows as of `sample` are like; None if no pixel is valid."""
    spectra = np.concatenate([reflectance[valid] for reflectance, valid in seen])
    if not len(spectra):
        return None
    pixels = np.sort(spectra.mean(axis=1, dtype=np.float64))
    level = pixels[: max(1, int(0.99 * len(pixels)))].mean()
    least, low, median, high, greatest = np.quantile(spectra, (0, 0.01, 0.5, 0.99, 1))
    return Numbers(*map(float, (level, least, low, median, high, greatest)))


def complaint(seen: Numbers, scale: float) -> str | None:
    """What looks wrong with the unit of a scene, in a sentence, or None.

    Args:
        seen: its numbers.
        scale: what they were divided by.
    """
    if seen.unit == "large":
        return (
            "Values are far beyond reflectance (0 to 1), so these may be raw counts or "
            "radiance, or a scale factor is missing: calibrate with white= and dark= (data.white "
            "and data.dark in training), or set the header's 'reflectance scale factor'."
        )
    if seen.unit == "small" and scale > 1:
        return (
            f"Values are very small: perhaps the file was divided by its scale factor {scale:g} "
            "already."
        )
    return None


def judge(found: Sequence[tuple[Cube, Numbers]]) -> list[str]:
    """What the scenes of a training should be told of before it, in sentences.

    Args:
        found: the scenes and what `numbers` says of a sample of each.

    Raises:
        InputError: if they are of different units.
    """
    if not found:
        return []
    _refuse_mixed(found)
    told = []
    large = [(cube, seen) for cube, seen in found if complaint(seen, cube.scale)]
    if large:
        cube, seen = large[0]
        told.append(f"{_which(large, len(found))}: {complaint(seen, cube.scale)}")
    for (cube, seen), ratio in zip(found, brightness([seen for _, seen in found]), strict=True):
        if not usual(ratio):
            told.append(
                f"{cube.path} is {times(ratio)} the other scenes (mean {seen.level:.3g}): its "
                "scale factor may be missing or applied twice, its exposure another or its "
                "references wrong; compare it with another one by `dgc inspect`, or leave it out."
            )
    return told


def brightness(seen: Sequence[Numbers]) -> list[float]:
    """How many times as bright each scene is as the others are; 1 of one alone."""
    if len(seen) < 2:
        return [1.0] * len(seen)
    logs = np.log(np.maximum([each.level for each in seen], 1e-12))
    return [
        float(np.exp(log - np.median(np.delete(logs, number)))) for number, log in enumerate(logs)
    ]


def usual(ratio: float) -> bool:
    """Whether light and content may make a scene so many times as bright as others."""
    return 1 / DARKER <= ratio <= BRIGHTER


def times(ratio: float) -> str:
    """`"3,000 times as bright as"`, or for ratios below 1 `"3,000 times darker than"`."""
    factor = float(f"{max(ratio, 1 / max(ratio, 1e-12)):.2g}")
    figure = f"{factor:,.0f}" if factor >= 10 else f"{factor:g}"
    return f"{figure} times {'as bright as' if ratio >= 1 else 'darker than'}"


def _refuse_mixed(found: Sequence[tuple[Cube, Numbers]]) -> None:
    """Refuses scenes of which some look like reflectance and others do not."""
    groups: dict[str, list[tuple[Cube, Numbers]]] = {}
    for cube, seen in found:
        groups.setdefault(seen.unit, []).append((cube, seen))
    middle = {
        unit: float(np.median([seen.level for _, seen in group])) for unit, group in groups.items()
    }
    order = sorted(groups, key=lambda unit: middle[unit])
    darkest, brightest = order[0], order[-1]
    if middle[brightest] <= MIXED * max(middle[darkest], 1e-12):
        return
    told = " and ".join(
        f"{_which(groups[unit], len(found))} of mean {middle[unit]:.3g} ({_scales(groups[unit])})"
        for unit in (darkest, brightest)
    )
    raise InputError(
        "data.scenes",
        expected="numbers of one unit",
        found=f"{told}: some may be raw counts, radiance or without their scale factor, "
        "or lack the references that others have",
        remedy="calibrate all (data.white, data.dark), give the files their scale factor, "
        "or train on them apart",
    )


def _scales(group: Sequence[tuple[Cube, Numbers]]) -> str:
    kinds = {
        "by references" if cube.calibration.by_references else f"scale factor {cube.scale:g}"
        for cube, _ in group
    }
    return " or ".join(sorted(kinds))


def _which(group: Sequence[tuple[Cube, Numbers]], of: int) -> str:
    """`"2 of 3 scenes (a, b)"`."""
    names = ", ".join(cube.name for cube, _ in group[:_NAMED])
    more = ", ..." if len(group) > _NAMED else ""
    return f"{len(group)} of {of} scenes ({names}{more})"
