"""Label maps as GeoTIFF, through rasterio (the extra `geo`): labels, colours, names and place.

A map is one band of uint8, 0 = no data, tiled and compressed, with a colour table and the scene's
coordinate system. TIFF has no place for names: GDAL and QGIS read them from `<map>.tif.aux.xml`,
which is written beside it, and tags `CLASS_1`, `CLASS_2`, ... repeat them inside.

Source: GDAL, GTiff driver and PAMDataset schema (https://gdal.org/en/stable/drivers/raster/gtiff.html).
"""

import contextlib
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from dgc_jax.data.formats import place
from dgc_jax.data.formats.geotiff import import_rasterio
from dgc_jax.errors import InputError
from dgc_jax.files import replacing
from dgc_jax.names import utf8_path
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
                utf8_path(temporary),
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
                if transform is None:
                    _place_by_points(rasterio, image, geo or {})
                image.write(bands)
                image.descriptions = tuple(names)
                yield image
        except rasterio.errors.RasterioError as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise InputError(
                os.fspath(path),
                found=f"cannot be written ({reason})",
                remedy="choose an output folder that can be",
            ) from error


def _place_by_points(rasterio: ModuleType, image: Any, geo: Mapping[str, Any]) -> None:
    """Writes the ground control points and rational polynomials of a scene, if it has any."""
    if geo.get("gcps"):
        points = [rasterio.control.GroundControlPoint(*point) for point in geo["gcps"]]
        system = geo.get("gcps crs")
        image.gcps = points, rasterio.crs.CRS.from_wkt(system) if system else None
    if geo.get("rpcs"):
        image.rpcs = rasterio.rpc.RPC.from_gdal(geo["rpcs"])


def georeference(geo: Mapping[str, Any]) -> tuple[Any, list[float] | None]:
    """What a GeoTIFF says of a scene's place.

    Args:
        geo: a scene's georeference, see `dgc_jax.data.formats.raw.Raw`: `crs` and `transform`, or
            ENVI's `map info` and `coordinate system string`. An unreadable `map info` gives
            nothing.

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
    transform = place.transform(geo.get("map info"))
    if transform is None:
        return None, None
    wkt = str(geo.get("coordinate system string") or "").strip("{} ")
    if wkt:
        return parsed(wkt, True), transform
    code = place.epsg(geo["map info"])
    return (None if code is None else rasterio.crs.CRS.from_epsg(code)), transform


def pixel_size(geo: Mapping[str, Any]) -> float | None:
    """The side of a pixel in metres (of an oblong one that of a square as large).

    Args:
        geo: as for `georeference`.

    Returns:
        None if the scene does not tell it, as in longitude and latitude, or rasterio is missing.
    """
    if not geo:
        return None
    try:
        crs, transform = georeference(geo)
    except ImportError:
        return None
    if crs is None or transform is None or not crs.is_projected:
        return None
    a, b, _, d, e, _ = transform
    return float(math.sqrt(abs(a * e - b * d)) * crs.linear_units_factor[1])
