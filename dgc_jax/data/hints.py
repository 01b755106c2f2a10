"""Hints of what is where: points that a person has named, and sparse label maps.

Points are a table (CSV, with commas, semicolons or tabs) with a line of column names,

    scene,row,column,name
    leaf_03,120,87,lesion

rows and columns counted from 0, `scene` left out or empty where there is but one; or GeoJSON (RFC
7946) of `Point` and `MultiPoint` features with the properties `name` and, where there are several
scenes, `scene`. Of a scene with a coordinate system GeoJSON means longitude and latitude, of others
x = column and y = row, 0, 0 being the upper left corner of the upper left pixel.
"""

import csv
import io
import math
from collections.abc import Iterator
from typing import Any, NamedTuple, NotRequired, TypedDict

from dgc_jax import documents
from dgc_jax.errors import InputError, reading

COLUMNS = ("scene", "row", "column", "name")


class Hint(NamedTuple):
    """A point that a person has named.

    Attributes:
        scene: name or path of its scene, "" if there is but one.
        row: of its pixel, from 0; y of GeoJSON.
        column: of its pixel, from 0; x of GeoJSON.
        name: what is there.
        where: in the file, such as "line 3".
    """

    scene: str
    row: float
    column: float
    name: str
    where: str


def read_points(path: str) -> tuple[list[Hint], bool]:
    """Reads points from a table or GeoJSON.

    Args:
        path: of the file; GeoJSON ends in `.geojson` or `.json`.

    Returns:
        The points, and whether they are GeoJSON's x and y, not rows and columns.

    Raises:
        InputError: the file cannot be read, or a point has no place or no name.
    """
    is_geojson = path.lower().endswith((".json", ".geojson"))
    found = list(_features(path) if is_geojson else _lines(path))
    if not found:
        raise InputError(path, expected="points", found="none", remedy="add some")
    for hint in found:
        if not hint.name:
            raise InputError(
                path, expected=f"a name at {hint.where}", found="none", remedy="add it"
            )
    return found, is_geojson


def _lines(path: str) -> Iterator[Hint]:
    what = f"a table with the columns {', '.join(COLUMNS)}"
    with reading(path, f"give {what}"):
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read(documents.LARGEST)
        first = text.partition("\n")[0]
        mark = max(",;\t", key=first.count)
        table = csv.DictReader(io.StringIO(text), delimiter=mark, skipinitialspace=True)
        names = {(name or "").strip().lower(): name for name in table.fieldnames or ()}
        missing = [name for name in COLUMNS[1:] if name not in names]
        if missing:
            raise InputError(
                path,
                expected=what,
                found=f"none called {missing[0]!r} in its first line",
                remedy="name the columns there",
            )
        for entry in table:
            if not any(entry.values()):
                continue
            cells = {name: (entry.get(key) or "").strip() for name, key in names.items()}
            where = f"line {table.line_num}"
            row, column = (_whole(path, where, name, cells[name]) for name in ("row", "column"))
            yield Hint(cells.get("scene", ""), row, column, cells["name"], where)


def _whole(path: str, where: str, name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number == math.floor(number)):
        raise InputError(
            path,
            expected=f"a whole number of pixels as {name} at {where}",
            found=repr(text),
            remedy="correct it",
        )
    return number


class _Geometry(TypedDict):
    type: str
    coordinates: NotRequired[list[Any]]


class _Feature(TypedDict):
    properties: dict[str, Any] | None
    geometry: _Geometry | None


class _Collection(TypedDict):
    features: list[_Feature]


def _features(path: str) -> Iterator[Hint]:
    what = "a GeoJSON FeatureCollection of points with the property `name`"
    remedy = "export points from a GIS, or give a table"
    found = documents.required(path, _Collection, what, remedy)
    for number, feature in enumerate(found["features"], 1):
        properties, geometry = feature["properties"] or {}, feature["geometry"]
        kind = None if geometry is None else geometry["type"]
        if geometry is None or kind not in ("Point", "MultiPoint"):
            raise InputError(
                path,
                expected="points",
                found=f"a {kind} as feature {number}",
                remedy="draw points, or areas as a label map for labels=",
            )
        places = geometry.get("coordinates", [])
        name, scene = (str(properties.get(key) or "").strip() for key in ("name", "scene"))
        for place in [places] if kind == "Point" else places:
            x, y = _xy(path, number, place)
            yield Hint(scene, y, x, name, f"feature {number}")


def _xy(path: str, number: int, place: Any) -> tuple[float, float]:
    if isinstance(place, list) and len(place) >= 2:
        x, y = place[:2]
        if all(isinstance(each, int | float) and abs(each) < 1e9 for each in (x, y)):
            return float(x), float(y)
    raise InputError(path, expected=f"two coordinates at feature {number}", found="others")
