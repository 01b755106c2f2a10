"""Where a scene lies: ENVI's `map info` and the six numbers of an affine transform.

A transform (a, b, c, d, e, f) puts the upper left corner of pixel (row, column) at
x = a column + b row + c, y = d column + e row + f. `map info` names a projection, the pixel
(counted from 1) of a known position, that position, and width and height of a pixel, and perhaps
`rotation` in degrees. Its meaning is taken from GDAL's ENVI driver, whose choices are kept even
where they are odd: pixel sizes are turned by

    a = w cos r, b = w sin r, d = h sin r, e = -h cos r

the way from the known pixel to the corner is not turned, and 180 degrees means rows that run up.

Source: GDAL, `ENVIDataset::ProcessMapinfo` (https://gdal.org/en/stable/drivers/raster/envi.html).
"""

import math
import re
from collections.abc import Sequence
from typing import Any

_PARTS = {"seconds": 3600.0, "minutes": 60.0}  # of a degree, in `units=`


def words(info: Any) -> list[str]:
    """The entries of a `map info`, given as a list or as text with or without braces."""
    parts = info if isinstance(info, list | tuple) else str(info or "").strip("{} \n").split(",")
    return [str(part).strip() for part in parts]


def transform(info: Any) -> list[float] | None:
    """The six numbers of a `map info`, or None if it does not tell them.

    Args:
        info: as `words` takes it.
    """
    entries = words(info)
    try:
        x, y, east, north, width, height = (float(word) for word in entries[1:7])
        turn = math.radians(float(_option(entries, "rotation").partition(" ")[0] or 0))
    except ValueError:
        return None
    if not all(map(math.isfinite, (x, y, east, north, width, height, turn))) or not width * height:
        return None
    if _geographic(entries):
        part = _PARTS.get(_option(entries, "units").lower(), 1.0)
        east, north, width, height = (n / part for n in (east, north, width, height))
    corner = [east - (x - 1) * width, north + (y - 1) * height]
    if abs(abs(turn) - math.pi) < 1e-9:
        return [width, 0.0, corner[0], 0.0, height, corner[1]]
    cos, sin = math.cos(turn), math.sin(turn)
    return [width * cos, width * sin, corner[0], height * sin, -height * cos, corner[1]]


def epsg(info: Any) -> int | None:
    """The coordinate system that a `map info` names, if it is one on WGS-84 in its usual unit."""
    entries = words(info)
    if not any(re.fullmatch(r"WGS[-_ ]?(19)?84", word, re.IGNORECASE) for word in entries):
        return None
    unit = _option(entries, "units").lower()
    if _geographic(entries):
        return 4326 if unit in ("", "degrees", *_PARTS) else None
    if entries[0].upper() == "UTM" and len(entries) > 8 and entries[7].isdecimal():
        south = entries[8].lower().startswith("s")
        metres = unit in ("", "meters", "metres", "meter", "metre", "m")
        return (32700 if south else 32600) + int(entries[7]) if metres else None
    return None


def map_info(numbers: Sequence[float]) -> tuple[list[float], list[str]] | None:
    """What `map info` says of a transform: six numbers, and further entries for its end.

    Returns:
        Pixel, position and sizes, and `rotation=...` where it is turned; None if the transform is
        sheared or mirrored, which `map info` cannot tell.
    """
    a, b, c, d, e, f = numbers
    if b == d == 0:
        if a > 0 < e:
            return [1, 1, c, f, a, e], ["rotation=180"]
        return [1, 1, c, f, a, -e], []
    width, height, turn = math.hypot(a, b), math.hypot(d, e), math.atan2(b, a)
    again = (height * math.sin(turn), -height * math.cos(turn))
    if math.dist(again, (d, e)) > 1e-6 * height or abs(abs(turn) - math.pi) < 1e-9:
        return None
    return [1, 1, c, f, width, height], [f"rotation={math.degrees(turn):.12g}"]


def _option(entries: Sequence[str], name: str) -> str:
    """`20` of the entry `rotation=20`, "" if there is none of that name."""
    for entry in entries[7:]:
        key, equals, value = entry.partition("=")
        if equals and key.strip().lower() == name:
            return value.strip()
    return ""


def _geographic(entries: Sequence[str]) -> bool:
    return entries[0].lower().startswith("geographic")
