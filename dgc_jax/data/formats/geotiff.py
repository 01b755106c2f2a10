"""Cubes in GeoTIFF files, read window by window through rasterio (GDAL), the extra `geo`.

Bands are the TIFF's bands. Their wavelengths are looked for where GDAL's drivers and the usual
tools leave them: band tags `wavelength` with `wavelength_units`, `CENTRAL_WAVELENGTH_UM` in the
IMAGERY domain, a list `wavelength` in the ENVI domain, and band descriptions such as "450.0 nm".
GDAL's scale and offset make reflectance: one scale and no offset are carried, bands that differ are
read as float32 reflectance. Only the GTiff driver is used, so that no file can refer to others.

Source: GDAL raster data model and GTiff driver (https://gdal.org/en/stable/drivers/raster).
"""

import os
import re
import threading
import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from dgc_jax.data.formats import lazy, variables
from dgc_jax.data.formats.raw import Raw
from dgc_jax.errors import InputError

SUFFIXES = (".tif", ".tiff")
_WITH_UNIT = re.compile(r"(\d+(?:\.\d*)?)\s*(nm|nanomet|um|µm|μm|micro)", re.IGNORECASE)


def import_rasterio(task: str) -> ModuleType:
    """The rasterio package.

    Args:
        task: what needs it, for the message.

    Raises:
        InputError: it is not installed.
    """
    # GDAL would keep 5 % of the machine's memory in blocks that TensorStore keeps already.
    os.environ.setdefault("GDAL_CACHEMAX", "64")  # MB
    try:
        import rasterio  # only here: it is an extra, and GDAL takes time to load
    except ImportError as error:
        raise InputError(
            f"{task} needs rasterio, which is not installed: pip install 'dgc_jax[geo]'."
        ) from error
    return rasterio


def read(path: str, *, variable: str | None = None, axes: str | None = None) -> Raw:
    """Opens a GeoTIFF; reads no pixels.

    Args:
        path: of the .tif file.
        variable: must be None: the file holds one image without a name.
        axes: must be None: the file says how it lies.

    Raises:
        InputError: rasterio is missing, or the file is no whole TIFF of real numbers.
    """
    for option, value in (("variable", variable), ("axes", axes)):
        if value is not None:
            raise InputError(
                f"{path} is a GeoTIFF, which says itself what it holds: leave "
                f"{option}={value!r} out."
            )
    rasterio = import_rasterio(f"Reading {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            image = rasterio.open(path, driver="GTiff", NUM_THREADS="ALL_CPUS")
            geo = _georeference(image)
    except rasterio.errors.RasterioError as error:
        raise InputError(
            f"{path} could not be opened as a GeoTIFF ({str(error).splitlines()[0].rstrip('.')}): "
            "it is of another format or cut short; copy or download it again."
        ) from error
    shape = (image.height, image.width, image.count)
    if image.dtypes[0].startswith("complex"):
        raise InputError(
            f"{path} holds {image.dtypes[0]} numbers: expected real ones, so export those."
        )
    dtype = np.dtype(image.dtypes[0])
    height, width = image.block_shapes[0]
    together = shape[2] if image.interleaving == rasterio.enums.Interleaving.pixel else 1
    chunk = lazy.block_shape(shape, (height, width, together), dtype.itemsize)
    one_reader = threading.Lock()  # GDAL decodes with several threads, but a file is used by one

    def read_block(row: slice, column: slice, band: slice) -> np.ndarray:
        window = ((row.start, row.stop), (column.start, column.stop))
        try:
            with one_reader:
                block = image.read(list(range(band.start + 1, band.stop + 1)), window=window)
        except rasterio.errors.RasterioError as error:
            raise OSError(str(error.__cause__ or error)) from error  # what GDAL said
        return block.transpose(1, 2, 0)  # [band, row, column] -> [row, column, band]

    nodata = image.nodatavals[0]
    ignore = None if nodata is None or not np.isfinite(nodata) else float(nodata)
    gain, offset = np.array(image.scales), np.array(image.offsets)
    if not (np.isfinite(gain).all() and np.isfinite(offset).all() and (gain > 0).all()):
        raise InputError(f"{path} has scales {image.scales}: they must be positive; correct them.")
    wavelengths, notes = _wavelengths(image)
    about: dict[str, Any] = {"wavelengths": wavelengths, "geo": geo, "notes": notes}
    if (gain == gain[0]).all() and not offset.any():
        store = lazy.virtual_store(read_block, shape, dtype, chunk)
        return Raw(store, scale=float(1 / gain[0]), ignore_value=ignore, **about)
    return Raw(lazy.scaled_store(read_block, shape, chunk, gain, offset, ignore), **about)


def _georeference(image: Any) -> dict[str, Any]:
    """`crs` and `transform`, and the same as ENVI writes it where the image is north-up."""
    transform = image.transform
    geo: dict[str, Any] = {}
    if image.crs:
        geo["crs"] = image.crs.to_wkt()
    if transform.is_identity:
        return geo
    geo["transform"] = [float(number) for number in transform[:6]]
    if transform.b == transform.d == 0 and transform.a > 0 > transform.e:
        corner = [1, 1, transform.c, transform.f, transform.a, -transform.e]
        code = (image.crs.to_epsg() if image.crs else None) or 0
        start, end = ["Arbitrary"], []
        if 0 < code % 100 <= 60 and code // 100 in (326, 327):
            start, end = ["UTM"], [code % 100, "North" if code < 32700 else "South", "WGS-84"]
        elif image.crs and image.crs.is_geographic:
            start, end = ["Geographic Lat/Lon"], ["WGS-84"] if code == 4326 else []
        geo["map info"] = [str(part) for part in (*start, *corner, *end)]
        if image.crs:
            geo["coordinate system string"] = f"{{{image.crs.to_wkt(version='WKT1_ESRI')}}}"
    return geo


def _wavelengths(image: Any) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """`[band]` nm or None, and notes."""
    bands = image.indexes
    tags = [_lower(image.tags(band)) for band in bands]
    units = [tag.get("wavelength_units", tag.get("wavelength_unit")) for tag in tags]
    imagery = [image.tags(band, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM") for band in bands]
    envi = _lower(image.tags(ns="ENVI"))
    described = [_described(text or "") for text in image.descriptions]
    listed = [word for word in re.split(r"[\s,;{}]+", envi.get("wavelength", "")) if word]
    envi_unit = envi.get("wavelength_units", envi.get("wavelength units"))
    candidates = [
        ("band tags 'wavelength'", [tag.get("wavelength") for tag in tags], units[0]),
        ("band tags CENTRAL_WAVELENGTH_UM", imagery, "um"),
        ("ENVI tag 'wavelength'", listed or [None], envi_unit),
        ("band descriptions", described, "nm"),
        ("band descriptions", image.descriptions, None),
    ]
    lists = []
    for name, texts, unit in candidates:
        try:
            lists.append((f"The list of {name}", np.array([float(text) for text in texts]), unit))
        except (TypeError, ValueError):
            continue  # not there, or not for every band
    return variables.find_wavelengths(len(bands), lists)


def _described(text: str) -> float | None:
    """The wavelength in a band's description, nm: 450 of "450.0 nm" or "blue (0.45 um)"."""
    found = _WITH_UNIT.search(text)
    if found is None:
        return None
    return float(found[1]) * (1 if found[2].lower().startswith("n") else 1000)


def _lower(tags: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in tags.items()}
