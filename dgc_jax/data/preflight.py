"""A look at all scenes of a data set before any work: a line each, and what disagrees.

Of every scene at most 9216 pixels are read. What cannot be used at all, and scenes of different
units, end the look with one message that names them all; whatever else is unlike the others is
marked, and is the user's to judge.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import rich.console

from dgc_jax.data import empty_bands, units
from dgc_jax.data.cube import Cube
from dgc_jax.data.scenes import Scene
from dgc_jax.errors import InputError

_LINES = 20  # of more scenes only those are shown that are marked
_NAMED = 6  # scenes in a message


class Seen(NamedTuple):
    """What a scene is like.

    Attributes:
        scene: the scene.
        numbers: of its values, or None if no sampled pixel is valid.
        valid: share of the sampled pixels.
        odd: whether its values look like those of another unit than reflectance.
        marks: what else looks wrong or is unlike the other scenes, a sentence each.
    """

    scene: Scene
    numbers: units.Numbers | None
    valid: float
    odd: bool = False
    marks: tuple[str, ...] = ()


def look(scenes: Sequence[Scene]) -> list[Seen]:
    """Looks at scenes, each for itself and beside the others.

    Raises:
        InputError: one cannot be read.
    """
    found = []
    for scene in scenes:
        sample = units.sample(scene.cube)
        share = float(np.mean(np.concatenate([usable.ravel() for _, usable in sample])))
        numbers = units.numbers(sample)
        odd = numbers is not None and units.complaint(numbers, scene.cube.scale) is not None
        found.append(Seen(scene, numbers, share, odd))
    return [one._replace(marks=tuple(_marks(one, found))) for one in found]


def check(seen: Sequence[Seen], wrong: Mapping[str, InputError]) -> list[str]:
    """Refuses what no training can be made of.

    Args:
        seen: what `look` found.
        wrong: why others could not be opened, by path.

    Returns:
        What a training should be told of all the same, a sentence each.

    Raises:
        InputError: some cannot be opened, have no valid pixel, or are of another unit.
    """
    if wrong:
        some = list(wrong.items())[:_NAMED]
        told = " ".join(f"({number}) {why}" for number, (_, why) in enumerate(some, 1))
        if len(wrong) == 1:
            raise some[0][1]  # the whole sentence
        more = f" And {len(wrong) - _NAMED} more." if len(wrong) > _NAMED else ""
        raise InputError(
            f"{len(wrong)} of {len(wrong) + len(seen)} scenes cannot be used", found=f"{told}{more}"
        )
    return units.judge([(s.scene.cube, s.numbers) for s in seen if s.numbers is not None])


def show(
    seen: Sequence[Seen], wrong: Mapping[str, InputError], console: rich.console.Console
) -> None:
    """Prints a table of scenes, what is marked of them, and every note of them once.

    What `check` tells is left to it.
    """
    whole = len(seen) + len(wrong) <= _LINES
    shown = [one for one in seen if whole or one.marks or one.odd]
    lines = [_TITLES, *map(_cells, shown)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines if shown else ():
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        _line(console, "  ".join(cells).rstrip())
    if not whole:
        _line(console, f"{len(seen) - len(shown)} of {len(seen)} scenes are alike, not listed.")
    for why in wrong.values():
        _line(console, f"! {why}")
    for sign, told in (("! ", [s.marks for s in seen]), ("note: ", [_notes(s) for s in seen])):
        for sentence in dict.fromkeys(each for some in told for each in some):
            those = [
                s.scene.cube.name for s, some in zip(seen, told, strict=True) if sentence in some
            ]
            named = ", ".join(those[:_NAMED]) + (", ..." if len(those) > _NAMED else "")
            _line(console, f"{sign}{named}: {sentence}")


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _notes(one: Seen) -> tuple[str, ...]:
    return one.scene.cube.notes


def _cells(one: Seen) -> list[str]:
    """The line of a scene in the table."""
    cube, values = one.scene.cube, "none"
    if one.numbers is not None:
        values = (
            f"{_UNITS[one.numbers.unit]}{_number(one.numbers.low)} to {_number(one.numbers.high)}"
        )
    return [
        cube.name,
        f"{cube.shape[0]} x {cube.shape[1]}",
        _bands(cube),
        values,
        _calibration(cube),
        f"{100 * one.valid:.0f} %",
        "no" if one.scene.labels_path is None else "yes",
        "!" if one.marks or one.odd else "",
    ]


_TITLES = ["scene", "pixels", "bands", "values", "calibration", "valid", "labels", ""]
_UNITS = {"reflectance": "", "large": "counts? ", "small": "small: "}


def _line(console: rich.console.Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _bands(cube: Cube) -> str:
    if cube.wavelengths is None:
        return f"{cube.shape[2]}, nm unknown"
    ends = f"{cube.wavelengths[0]:.5g}-{cube.wavelengths[-1]:.5g} nm"
    return f"{cube.shape[2]}, {ends}" + (", interpolated" if cube.bands.taps is not None else "")


def _calibration(cube: Cube) -> str:
    if cube.calibration.by_references:
        return "white reference" if cube.reading.dark is None else "white, dark"
    return "as stored" if cube.scale == 1 else f"1/{cube.scale:.6g}"


def _marks(one: Seen, all_of: Sequence[Seen]) -> list[str]:
    """What is unlike the most of the others, or looks wrong."""
    cube, found = one.scene.cube, []
    if one.numbers is None:
        found.append(empty_bands.why_invalid(cube) or "no sampled pixel is valid.")
    elif one.valid < 0.5:
        found.append(
            "only a minority of the sampled pixels are valid: check the ignore value, the mask and "
            "the references."
        )
    others = [_facts(each.scene) for each in all_of if each is not one]
    for what, value in _facts(one.scene).items():
        usual, number = (
            Counter(each[what] for each in others).most_common(1)[0] if others else ("", 0)
        )
        if usual != value and number > len(others) / 2:
            found.append(f"{what} {value}, where most others have {usual}.")
    return found


def _facts(scene: Scene) -> dict[str, str]:
    """In what the scenes of a data set should be alike."""
    cube = scene.cube
    return {
        "calibration": _calibration(cube),
        "stored bands": str(cube.store.shape[2]),
        "type": cube.store.dtype.name,
        "label map": "none" if scene.labels_path is None else "one",
    }
