"""Cubes in GeoTIFF files, read window by window through rasterio (GDAL), the extra `geo`.

Bands are the TIFF's bands or, where it has several pages of one band and one size, its pages.
`geotiff_tags` finds their wavelengths and which of them are bad. A band that is called alpha is no
band but tells, like masks inside the file or beside it (`.msk`), which pixels are valid; the others
become zero in all bands, which is no data. GDAL's scale and offset make reflectance: one scale and
no offset are carried, bands that differ are read as float32 reflectance. Only the GTiff driver is
used, so that no file can refer to others.

Source: GDAL raster data model and GTiff driver (https://gdal.org/en/stable/drivers/raster).
"""

import json
import os
import re
import threading
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from dgc_jax.data.formats import geotiff_tags, lazy, place
from dgc_jax.data.formats.raw import Raw
from dgc_jax.errors import InputError
from dgc_jax.names import utf8_path

SUFFIXES = (".tif", ".tiff")
_Window = tuple[tuple[int, int], tuple[int, int]]


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
            task,
            found="needs rasterio, which is not installed",
            remedy="pip install 'dgc_jax[geo]'",
        ) from error
    return rasterio


def read(path: str, *, variable: str | None = None, axes: str | None = None) -> Raw:
    """Opens a GeoTIFF; reads no pixels.

    Args:
        path: of the .tif file.
        variable: must be None: the file holds one image without a name.
        axes: must be None: the file says how it lies.

    Raises:
        InputError: rasterio is missing, the file is no whole TIFF of real numbers, or its pages are
            not the bands of one image.
    """
    for option, value in (("variable", variable), ("axes", axes)):
        if value is not None:
            raise InputError(
                path,
                found="is a GeoTIFF, which says itself what it holds",
                remedy=f"leave {option}={value!r} out",
            )
    rasterio = import_rasterio(f"Reading {path}")
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            image = rasterio.open(utf8_path(path), driver="GTiff", NUM_THREADS="ALL_CPUS")
            pages = _pages(path, rasterio, image, notes)
            bands = geotiff_tags.bands(image, rasterio.enums.ColorInterp.alpha)
            if pages:
                bands = [_page_band(rasterio, page) for page in pages]
            geo = _georeference(image, notes)
    except rasterio.errors.RasterioError as error:
        raise InputError(
            path,
            found="could not be opened as a GeoTIFF "
            f"({str(error).splitlines()[0].rstrip('.')}), so it is of another format or "
            "cut short",
            remedy="copy or download it again",
        ) from error
    if image.dtypes[0].startswith("complex"):
        raise InputError(
            path,
            expected="real numbers",
            found=f"{image.dtypes[0]} numbers",
            remedy="export real ones",
        )
    dtype = np.dtype(image.dtypes[0])
    alpha = [b.number for b in bands if b.alpha and not geotiff_tags.is_spectral(b)]
    alpha = alpha if len(alpha) < len(bands) else []
    listed = [at for at, band in enumerate(bands) if not band.alpha or band.number not in alpha]
    bands = [bands[at] for at in listed]
    shape = (image.height, image.width, len(bands))
    height, width = image.block_shapes[0]
    together = shape[2] if image.interleaving == rasterio.enums.Interleaving.pixel else 1
    chunk = lazy.block_shape(shape, (height, width, together), dtype.itemsize)
    one_reader = threading.Lock()  # GDAL decodes with several threads, but a file is used by one
    visible = _visible(rasterio, image, alpha, notes)

    def read_block(row: slice, column: slice, band: slice) -> np.ndarray:
        window = ((row.start, row.stop), (column.start, column.stop))
        try:
            with one_reader:
                if pages:
                    block = np.stack([_read_page(rasterio, p, window) for p in pages[band]])
                else:
                    block = image.read([b.number for b in bands[band]], window=window)
                seen = None if visible is None else visible(window)
        except rasterio.errors.RasterioError as error:
            raise OSError(str(error.__cause__ or error)) from error  # what GDAL said
        if seen is not None:
            block[:, ~seen] = 0
        return block.transpose(1, 2, 0)  # [band, row, column] -> [row, column, band]

    gain = np.array([band.scale for band in bands])
    offset = np.array([band.offset for band in bands])
    if not (np.isfinite(gain).all() and np.isfinite(offset).all() and (gain > 0).all()):
        raise InputError(
            path, expected="positive scales", found=image.scales, remedy="correct them"
        )
    ignored = [band.nodata for band in bands]
    domains = [geotiff_tags.plain(image.tags(ns=domain)) for domain in ("ENVI", None)]
    wavelengths, more = geotiff_tags.wavelengths(bands, domains, listed)
    good, bad = geotiff_tags.good_bands(bands, domains, listed)
    about: dict[str, Any] = {
        "wavelengths": wavelengths, "good_bands": good, "geo": geo, "notes": (*notes, *more, *bad)
    }  # fmt: skip
    if (gain == gain[0]).all() and not offset.any() and len(set(map(str, ignored))) == 1:
        store = lazy.virtual_store(read_block, shape, dtype, chunk)
        ignore = None if ignored[0] is None or np.isnan(ignored[0]) else float(ignored[0])
        return Raw(store, scale=float(1 / gain[0]), ignore_value=ignore, **about)
    return Raw(lazy.scaled_store(read_block, shape, chunk, gain, offset, ignored), **about)


def _pages(path: str, rasterio: ModuleType, image: Any, notes: list[str]) -> list[str]:
    """GDAL's names of the pages of which each is a band; none if the first page is the image.

    Previews and masks, which are pages too, are not listed by GDAL.

    Raises:
        InputError: the pages are not the bands of one image.
    """
    names = sorted(image.subdatasets, key=lambda name: int(name.split(":")[1]))
    _refuse_hidden_pages(path, image, len(names))
    if len(names) < 2:
        return []
    kinds = []
    for name in names:
        with rasterio.open(name, driver="GTiff") as page:
            kinds.append((page.height, page.width, page.count, page.dtypes[0]))
    height, width, count, _ = kinds[0]
    if count == 1 and len(set(kinds)) == 1:
        notes.append(
            f"{len(names)} pages of {height} x {width} pixels are read as {len(names)} bands; "
            "`dgc prepare` rewrites them for fast crops."
        )
        return names
    if count > 1 and all(h * w < height * width for h, w, _, _ in kinds[1:]):
        notes.append(f"Of {len(names)} pages the first is read; the others are smaller.")
        return []
    listed = ", ".join(dict.fromkeys(f"{h} x {w} x {n} {kind}" for h, w, n, kind in kinds))
    raise InputError(
        path,
        expected="one image, or pages of one band and of one size as the bands of a scene",
        found=f"{len(names)} pages (rows x columns x bands: {listed})",
        remedy="save it as one image of many bands",
    )


def _refuse_hidden_pages(path: str, image: Any, pages: int) -> None:
    """Refuses what ImageJ and tifffile write where pages are only told by a text."""
    text = image.tags().get("TIFFTAG_IMAGEDESCRIPTION", "")
    told = re.search(r"^images=(\d+)$", text, re.MULTILINE) if text.startswith("ImageJ") else None
    number = int(told[1]) if told else 1
    if text.startswith("{") and '"shape"' in text:
        try:
            total = np.prod(json.loads(text)["shape"], dtype=float)
        except (ValueError, KeyError, TypeError):
            total = 1.0
        number = round(total / (image.height * image.width * image.count))
    if number > max(pages, 1):
        raise InputError(
            path,
            expected=f"the {number} images that it says it holds",
            found=f"{max(pages, 1)} as pages",
            remedy="save it as one image of many bands",
        )


def _page_band(rasterio: ModuleType, name: str) -> geotiff_tags.Band:
    """The band of a page, which TIFF's own description describes."""
    with rasterio.open(name, driver="GTiff") as page:
        band = geotiff_tags.bands(page, None)[0]
        described = band.description or page.tags().get("TIFFTAG_IMAGEDESCRIPTION", "")
        return band._replace(description=described)


def _read_page(rasterio: ModuleType, name: str, window: _Window) -> np.ndarray:
    # Opened anew each time: hundreds of pages would be as many open files.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(name, driver="GTiff") as page:
            return page.read(1, window=window)


def _visible(
    rasterio: ModuleType, image: Any, alpha: list[int], notes: list[str]
) -> Callable[[_Window], np.ndarray] | None:
    """A function that tells `[row, column]` which pixels of a window are not masked out, or None.

    Args:
        rasterio: the package.
        image: that is open.
        alpha: bands of transparency, 0 = transparent.
        notes: gets one for each.
    """
    flag = rasterio.enums.MaskFlags
    none, whole, numbers = {flag.all_valid, flag.alpha}, flag.per_dataset, flag.nodata
    flags = image.mask_flag_enums
    masks = []
    if any(whole in each and not none & set(each) for each in flags[:1]):
        masks = [1]  # a mask in or beside the file, or NODATA_VALUES
    elif [numbers] != flags[0] or len({len(each) for each in flags}) > 1:
        masks = [
            index
            for index, each in zip(image.indexes, flags, strict=True)
            if index not in alpha and numbers not in each and not none & set(each)
        ]  # masks of their own
    if alpha:
        notes.append(
            f"Band {', '.join(map(str, alpha))} is called alpha (transparency), so it is no band "
            "of the scene but tells which pixels are valid; one of light needs a wavelength tag."
        )
    if masks:
        notes.append("The mask in or beside the file tells which pixels are valid.")
    if not alpha and not masks:
        return None

    def visible(window: _Window) -> np.ndarray:
        seen = [image.read(index, window=window) > 0 for index in alpha]
        seen += [image.read_masks(index, window=window) > 0 for index in masks]
        return np.all(seen, axis=0)

    return visible


def _georeference(image: Any, notes: list[str]) -> dict[str, Any]:
    """`crs` and `transform`, and the same as ENVI writes it where it can; else control points."""
    transform = image.transform
    geo: dict[str, Any] = {}
    if image.crs:
        geo["crs"] = image.crs.to_wkt()
    points, system = image.gcps
    if points and transform.is_identity:
        geo["gcps"] = [[float(n) for n in (p.row, p.col, p.x, p.y, p.z or 0)] for p in points]
        geo["gcps crs"] = system.to_wkt() if system else ""
    if image.rpcs:
        geo["rpcs"] = image.rpcs.to_gdal()
    for key, what in (("gcps", "Ground control points"), ("rpcs", "Rational polynomials (RPC)")):
        if key in geo:
            notes.append(f"{what} tell the place: kept in GeoTIFF maps, not in ENVI headers.")
    if image.tags(ns="GEOLOCATION"):
        notes.append("The place is told by geolocation arrays: not carried to maps.")
    if transform.is_identity:
        return geo
    geo["transform"] = [float(number) for number in transform[:6]]
    told = place.map_info(geo["transform"])
    if told is None:
        notes.append("The sheared or mirrored place is kept in GeoTIFF maps, not in ENVI headers.")
    else:
        corner, turned = told
        code = (image.crs.to_epsg() if image.crs else None) or 0
        start, end = ["Arbitrary"], []
        if 0 < code % 100 <= 60 and code // 100 in (326, 327):
            start, end = ["UTM"], [code % 100, "North" if code < 32700 else "South", "WGS-84"]
        elif image.crs and image.crs.is_geographic:
            start, end = ["Geographic Lat/Lon"], ["WGS-84"] if code == 4326 else []
        geo["map info"] = [str(part) for part in (*start, *corner, *end, *turned)]
        if image.crs:
            geo["coordinate system string"] = f"{{{image.crs.to_wkt(version='WKT1_ESRI')}}}"
    return geo
