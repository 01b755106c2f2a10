"""The regions of a label map as polygons: `<map>.geojson`, through rasterio (the extra `geo`).

A feature a region of one cluster whose pixels touch along edges, with holes; outer rings run
counterclockwise. With a coordinate system the corners are longitude and latitude (WGS 84), as
RFC 7946 wants; without one they are x = column and y = row of the corners of pixels, and the
collection says so in a member `coordinates`.

Source: RFC 7946; rasterio.features.shapes (GDAL's `GDALPolygonize`).
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dgc_jax.data.formats.geotiff import import_rasterio
from dgc_jax.errors import InputError
from dgc_jax.files import replacing
from dgc_jax.show.geotiff import georeference
from dgc_jax.show.maps import check

LARGEST = 1_000_000
"""Polygons of one map, at most: more are speckle that no program shows."""

Ring = list[tuple[float, float]]


def write_geojson(
    path: str | os.PathLike[str],
    labels: np.ndarray,
    names: Sequence[str],
    colours: np.ndarray,
    geo: Mapping[str, Any] | None = None,
) -> None:
    """Writes the regions of a label map.

    Args:
        path: file to write.
        labels: `[row, column]` uint8, 0 = no data, which becomes no polygon.
        names: name of each cluster.
        colours: `[cluster + 1, 3]` uint8.
        geo: the scene's georeference, see `dgc_jax.show.geotiff.georeference`.

    Raises:
        InputError: rasterio is missing, there are too many regions, or the file cannot be written.
    """
    check(labels, colours, names)
    import_rasterio(f"Writing {os.fspath(path)}")
    import rasterio.warp  # an extra; the line above tells how to get it

    crs, transform = georeference(geo or {})
    system = "pixels: x = column, y = row, from the upper left corner"
    if transform is not None:
        system = "WGS 84: longitude, latitude" if crs is not None else "the scene's own"
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(f'{{"type": "FeatureCollection", "coordinates": {json.dumps(system)},\n')
        file.write('"features": [')
        for number, (cluster, rings) in enumerate(_regions(labels)):
            if number == LARGEST:
                raise InputError(
                    os.fspath(path),
                    expected=f"at most {LARGEST:,} regions",
                    found="more",
                    remedy="take out small ones by sieve=",
                )
            pixels = round(sum(map(_area, rings)))  # holes run the other way
            placed = rings
            if transform is not None:
                a, b, c, d, e, f = transform
                placed = [[(a * x + b * y + c, d * x + e * y + f) for x, y in r] for r in rings]
                if crs is not None:
                    placed = [_degrees(rasterio.warp, crs, ring) for ring in placed]
            if sum(map(_area, placed[:1])) < 0:  # rows count downwards on most maps
                placed = [ring[::-1] for ring in placed]
            feature = {
                "type": "Feature",
                "properties": {
                    "cluster": cluster,
                    "name": names[cluster - 1],
                    "colour": f"#{bytes(colours[cluster].tolist()).hex()}",
                    "pixels": pixels,
                },
                "geometry": {"type": "Polygon", "coordinates": placed},
            }
            file.write(f"{',' if number else ''}\n{json.dumps(feature)}")
        file.write("\n]}\n")


def _regions(labels: np.ndarray) -> Iterator[tuple[int, list[Ring]]]:
    """Cluster and rings of each region, in pixels: the outer one first, of positive area."""
    import rasterio.features  # an extra, see `write_geojson`

    for shape, value in rasterio.features.shapes(labels, mask=labels > 0, connectivity=4):
        rings: list[Ring] = [list(map(tuple, ring)) for ring in shape["coordinates"]]
        turned = _area(rings[0]) < 0
        yield int(value), [ring[::-1] if turned else ring for ring in rings]


def _area(ring: Ring) -> float:
    """Signed area of a closed ring, positive if it runs from x to y."""
    x, y = np.array(ring, np.float64).T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2)


def _degrees(warp: Any, crs: Any, ring: Ring) -> Ring:
    longitude, latitude = warp.transform(crs, "EPSG:4326", *zip(*ring, strict=True))
    return [(round(x, 9), round(y, 9)) for x, y in zip(longitude, latitude, strict=True)]
