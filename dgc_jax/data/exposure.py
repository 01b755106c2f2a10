"""How long a capture and its white reference were exposed, as their headers tell.

A sensor's numbers above dark grow with the exposure. A white reference that was exposed for another
time than the scene is brought to the scene's: reflectance is then

    (scene - dark) / ((white - dark of white) * exposure of scene / exposure of white)

Headers name the exposure `tint` (Specim), `shutter` (Resonon), `integration time` or `exposure`;
HySpex writes it into the names of files (`..._24998us_...`).

Source: Specim IQ user manual, "Reflectance transformation".
"""

import os
import re
from typing import NamedTuple

from dgc_jax.data.formats import envi
from dgc_jax.data.formats.envi_header import read_header
from dgc_jax.errors import InputError

_NUMBER = r"\d+(?:\.\d*)?(?:e[-+]?\d+)?|\.\d+"
_UNITS = {
    **dict.fromkeys(("us", "µs", "μs", "usec", "microseconds"), 1e-3),
    **dict.fromkeys(("ms", "msec", "milliseconds"), 1.0),
    **dict.fromkeys(("s", "sec", "seconds"), 1e3),
}  # in ms
_UNIT = "|".join(sorted(_UNITS, key=len, reverse=True))
_FIELD = re.compile(
    r"(?:sensor |camera |frame |detector )?(tint|t int|int(?:egration)? ?time|exposure(?: ?time)?|"
    rf"shutter(?: time)?)(?: ?[(\[ ](?:in )?({_UNIT})[)\]]?)?",
    re.IGNORECASE,
)
_GAIN = re.compile(r"(?:sensor |camera |analog(?:ue)? )*gain(?: ?[(\[ ]?db[)\]]?)?", re.IGNORECASE)
_VALUE = re.compile(rf"\s*({_NUMBER})\s*({_UNIT})?\s*", re.IGNORECASE)
_IN_NAME = re.compile(rf"[_-]({_NUMBER})(us|ms)(?=[_.-]|$)")  # HySpex


class Exposure(NamedTuple):
    """How a capture was exposed.

    Attributes:
        times: by the field's name, how long, and the unit in ms or None if it is not said.
        gains: by the field's name.
    """

    times: dict[str, tuple[float, float | None]]
    gains: dict[str, float]


def read(path: str) -> Exposure:
    """What the header of a capture, or else its name, says of its exposure.

    Args:
        path: of the capture; what is no ENVI file has only its name.
    """
    times: dict[str, tuple[float, float | None]] = {}
    gains: dict[str, float] = {}
    try:
        header_path = envi.find_header(path)
        header = {} if header_path is None else read_header(header_path)
    except InputError:  # its reader says so
        header = {}
    for name, text in header.items():
        value = _VALUE.fullmatch(text) if isinstance(text, str) else None
        if value is None:
            continue
        field = _FIELD.fullmatch(name)
        if field is not None and float(value[1]) > 0:
            unit = (field[2] or value[2] or "").lower()
            times[re.sub(r"\W", "", field[1].lower())] = float(value[1]), _UNITS.get(unit)
        elif _GAIN.fullmatch(name):
            gains[name] = float(value[1])
    in_name = _IN_NAME.search(os.path.basename(path))
    if not times and in_name is not None:
        times["name"] = float(in_name[1]), _UNITS[in_name[2]]
    return Exposure(times, gains)


def of_white(scene: str, white: str, dark: str | None) -> tuple[float, list[str]]:
    """By what the white reference above dark is multiplied to be exposed like the scene.

    Args:
        scene: path of the scene.
        white: path of its white reference.
        dark: path of its dark reference, or None.

    Returns:
        The factor, 1 where the headers say nothing, and what to note of it.
    """
    name, told = os.path.basename(white), []
    ours, theirs = read(scene), read(white)
    factor, why = _ratio(ours, theirs)
    if factor is None:
        told.append(
            f"The exposures of the scene and of {name} cannot be compared ({why}): they are taken "
            "as equal."
        )
    elif abs(factor - 1) > 1e-6:
        told.append(
            f"The scene was exposed {factor:.4g} times as long as {name} ({why}): the white "
            "reference above dark is multiplied by that."
        )
    for field in ours.gains.keys() & theirs.gains.keys():
        if ours.gains[field] != theirs.gains[field]:
            told.append(
                f"The scene's {field} is {ours.gains[field]:g} and that of {name} "
                f"{theirs.gains[field]:g}: not corrected, so reflectance may be too high or low."
            )
    if dark is not None:
        other, why = _ratio(ours, read(dark))
        if other is not None and abs(other - 1) > 1e-6:
            told.append(
                f"The scene was exposed {other:.4g} times as long as {os.path.basename(dark)} "
                f"({why}): the dark reference is subtracted as it is."
            )
    return factor or 1.0, told


def _ratio(ours: Exposure, theirs: Exposure) -> tuple[float | None, str]:
    """How many times as long one was exposed as another, and by which numbers.

    The ratio is 1 where neither says anything, None where they cannot be compared.
    """
    if not ours.times and not theirs.times:
        return 1.0, ""
    common = sorted(ours.times.keys() & theirs.times.keys())
    pairs = [(name, ours.times[name], theirs.times[name]) for name in common]
    if not pairs and len(ours.times) == len(theirs.times) == 1:  # of two names, with units
        pairs = [
            (f"{name}, {other}", ours.times[name], theirs.times[other])
            for name in ours.times
            for other in theirs.times
            if ours.times[name][1] and theirs.times[other][1]
        ]
    if not pairs:
        one = not (ours.times and theirs.times)
        return None, "only one tells its own" if one else "no field in common"
    ratios = []
    for name, mine, yours in pairs:
        if (mine[1] is None) != (yours[1] is None):
            return None, f"only one has a unit for {name}"
        ratios.append(mine[0] * (mine[1] or 1.0) / (yours[0] * (yours[1] or 1.0)))
    if max(ratios) - min(ratios) > 1e-3 * max(ratios):
        return None, "their fields contradict each other"
    name, mine, yours = pairs[0]
    units = " in their units" if mine[1] != yours[1] else ""
    return ratios[0], f"{name} {mine[0]:g} and {yours[0]:g}{units}"
