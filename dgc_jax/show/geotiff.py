"""Label maps as GeoTIFF, through rasterio (the extra `geo`): labels, colours, names and place.

A map is one band of uint8, 0 = no data, tiled and compressed, with a colour table and the scene's
coordinate system. TIFF has no place for names: GDAL and QGIS read them from `<map>.tif.aux.xml`,
which is written beside it, and tags `CLASS_1`, `CLASS_2`, ... repeat them inside.

Source: GDAL, GTiff driver and PAMDataset schema (https://gdal.org/en/stable/drivers/raster/gtiff.html).
"""

import contextlib
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from dgc_jax.data.formats.geotiff import import_rasterio
from dgc_jax.errors import InputError
from dgc_jax.show.files import replacing
from dgc_jax.show.maps import check, class_names

_TILE = 256  # pixels


def write_geotiff(
    path: str | os.PathLike[str],
    labels: np.ndarray,
    names: Sequence[str],
    colours: np.ndarray,
    geo: Mapping[str, Any] | None = None,
    description: str = "",
) -> None:
    """Writes a label map as GeoTIFF, and its class names beside it (`path` + `.aux.xml`).

    Args:
        path: file to write.
        labels: `[row, column]` uint8.
        names: name of each cluster.
        colours: `[cluster + 1, 3]` uint8.
        geo: the scene's georeference, see `georeference`.
        description: one line on what the map is.

    Raises:
        InputError: rasterio is missing, or the files cannot be written.
    """
    check(labels, colours, names)
    categories = "".join(f"<Category>{escape(name)}</Category>" for name in class_names(names))
    # The map is renamed last: where there is a map, there are names.
    with (
        replacing(path) as temporary,
        replacing(f"{os.fspath(path)}.aux.xml") as beside,
    ):
        with _written(path, temporary, labels[None], ("cluster",), 0, geo) as image:
            image.write_colormap(1, dict(enumerate(map(tuple, colours.tolist()))))
            image.update_tags(TIFFTAG_IMAGEDESCRIPTION=description or "label map")
            image.update_tags(**{f"CLASS_{k}": name for k, name in enumerate(names, 1) if name})
        with open(beside, "w", encoding="utf-8") as file:
            file.write(
                '<PAMDataset><PAMRasterBand band="1">'
                f"<CategoryNames>{categories}</CategoryNames>"
                "</PAMRasterBand></PAMDataset>\n"
            )


def write_geotiff_bands(
    path: str | os.PathLike[str],
    bands: np.ndarray,
    names: Sequence[str],
    geo: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Writes numbers of every pixel as GeoTIFF, NaN = no data.

    Args:
        path: file to write.
        bands: `[band, row, column]` float32.
        names: description of each band.
        geo: the scene's georeference, see `georeference`.
        tags: what else there is to say.

    Raises:
        InputError: rasterio is missing, or the file cannot be written.
    """
    with (
        replacing(path) as temporary,
        _written(path, temporary, bands, names, float("nan"), geo) as image,
    ):
        image.update_tags(**(tags or {}))


@contextlib.contextmanager
def _written(
    path: str | os.PathLike[str],
    temporary: str,
    bands: np.ndarray,
    names: Sequence[str],
    nodata: float,
    geo: Mapping[str, Any] | None,
) -> Iterator[Any]:
    """Writes `[band, row, column]`, and gives the open image for what is to be said of it."""
    rasterio = import_rasterio(f"Writing {os.fspath(path)}")
    crs, transform = georeference(geo or {})
    place = {} if transform is None else {"transform": rasterio.Affine(*transform)}
    if crs is not None:
        place["crs"] = crs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            with rasterio.open(
                temporary,
                "w",
                driver="GTiff",
                height=bands.shape[1],
                width=bands.shape[2],
                count=len(bands),
                dtype=bands.dtype.name,
                nodata=nodata,
                tiled=True,
                blockxsize=_TILE,
                blockysize=_TILE,
                compress="deflate",
                bigtiff="if_safer",
                **place,
            ) as image:
                image.write(bands)
                image.descriptions = tuple(names)
                yield image
        except rasterio.errors.RasterioError as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise InputError(
                f"{os.fspath(path)} cannot be written ({reason}); choose an output folder that "
                "can be."
            ) from error


def georeference(geo: Mapping[str, Any]) -> tuple[Any, list[float] | None]:
    """What a GeoTIFF says of a scene's place.

    Args:
        geo: a scene's georeference, see `dgc_jax.data.formats.raw.Raw`: `crs` and `transform`, or
            ENVI's `map info` and `coordinate system string` of a north-up image. A rotated or
            unreadable `map info` gives nothing.

    Returns:
        The coordinate system as rasterio's `CRS`, or None, and the six numbers of the transform, or
        None.
    """
    import rasterio.crs  # only here: it is an extra

    def parsed(text: str, esri: bool) -> Any:
        try:
            return rasterio.crs.CRS.from_wkt(text, morph_from_esri_dialect=esri)
        except rasterio.errors.CRSError:
            return None

    if geo.get("transform"):
        return parsed(geo.get("crs") or "", False), [float(x) for x in geo["transform"][:6]]
    info = geo.get("map info") or []
    parts = info if isinstance(info, list | tuple) else info.strip("{} ").split(",")
    words = [str(part).strip() for part in parts]
    try:
        x, y, east, north, width, height = (float(word) for word in words[1:7])
    except ValueError:
        return None, None
    turned = re.search(r"rotation\s*=\s*([-+.\deE]+)", " ".join(words))
    if width <= 0 or height <= 0 or (turned and float(turned[1]) != 0):
        return None, None
    # ENVI counts pixels from 1, and 1 is the upper left corner of the first one.
    transform = [width, 0.0, east - (x - 1) * width, 0.0, -height, north + (y - 1) * height]
    wkt = str(geo.get("coordinate system string") or "").strip("{} ")
    return (parsed(wkt, True) if wkt else _named(words)), transform


def _named(words: Sequence[str]) -> Any:
    """The coordinate system that `map info` names, if it is one on WGS-84."""
    import rasterio.crs

    if not any(re.fullmatch(r"WGS[-_ ]?(19)?84", word, re.IGNORECASE) for word in words):
        return None
    if words[0].lower() == "geographic lat/lon":
        return rasterio.crs.CRS.from_epsg(4326)
    if words[0].upper() == "UTM" and len(words) > 8 and words[7].isdecimal():
        south = words[8].lower().startswith("s")
        return rasterio.crs.CRS.from_epsg((32700 if south else 32600) + int(words[7]))
    return None
