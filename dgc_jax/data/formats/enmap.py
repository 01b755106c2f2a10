"""EnMAP Level 2A products: `...-SPECTRAL_IMAGE.TIF` with `...-METADATA.XML` beside it.

The image is int16, -32768 for no data; reflectance is `number * GainOfBand`, usually 1/10000. The
metadata list the centre wavelength of each band, by ascending wavelength, and which bands came from
which spectrometer. From about 900 to 1000 nm both have bands, which take turns and differ in level:
of these the VNIR's are called bad. So are bands that are constant by the metadata's statistics:
those in the water absorption hold nothing but "no data", and would make every pixel invalid.

Source: EnMAP Ground Segment, HSI Product Specification Level 1/2 (EN-PCV-ICD-2009-2).
"""

import dataclasses
import glob
import os
import re
from xml.etree import ElementTree

import numpy as np

from dgc_jax.data.formats import geotiff
from dgc_jax.data.formats.raw import Raw
from dgc_jax.errors import InputError

METADATA = "-METADATA.XML"
_IMAGE = re.compile(r"-SPECTRAL_IMAGE(_COG)?\.TIFF?$", re.IGNORECASE)
_NO_SCENE = re.compile(r"^ENMAP.*-QL_\w+\.TIFF?$", re.IGNORECASE)
_FILL = -32768.0


def metadata_path(path: str) -> str | None:
    """The metadata of an EnMAP product of which image or metadata are given, or None."""
    if path.upper().endswith(METADATA):
        return path
    metadata = _IMAGE.sub(METADATA, path)
    return metadata if metadata != path and os.path.isfile(metadata) else None


def is_extra(path: str) -> bool:
    """Whether a file is one of the quality layers and quicklooks of an EnMAP product."""
    return _NO_SCENE.search(os.path.basename(path)) is not None


def read(path: str, *, variable: str | None = None, axes: str | None = None) -> Raw:
    """Opens an EnMAP L2A product; reads no pixels.

    Args:
        path: of the spectral image or of the metadata.
        variable: must be None.
        axes: must be None.

    Raises:
        InputError: one of the two files is missing or not understood, or rasterio is missing.
    """
    metadata = metadata_path(path)
    if metadata is None:
        raise InputError(
            path, expected=f"{METADATA} beside it", found="none", remedy="copy the whole product"
        )
    raw = geotiff.read(_image(metadata), variable=variable, axes=axes)
    bands = raw.store.shape[2]
    try:
        root = ElementTree.parse(metadata).getroot()
        listed = root.findall(".//bandCharacterisation/bandID")
        wavelengths = _numbers(listed, "wavelengthCenterOfBand")
        gain, offset = _numbers(listed, "GainOfBand"), _numbers(listed, "OffsetOfBand")
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise InputError(
            metadata,
            found=f"cannot be read as EnMAP metadata ({error})",
            remedy="copy or download it again",
        ) from error
    if len(wavelengths) != bands:
        raise InputError(
            metadata,
            expected=f"the {bands} bands of the image beside it",
            found=f"{len(wavelengths)} bands",
            remedy="copy both files of one L2A product",
        )
    if (gain != gain[0]).any() or gain[0] <= 0 or offset.any():
        raise InputError(
            metadata,
            expected="one positive gain and no offset, as in L2A products",
            found=f"gains of {gain.min():g} to {gain.max():g} and offsets of {offset.min():g} "
            f"to {offset.max():g}",
            remedy="give one of these",
        )
    doubled = _doubled(root, wavelengths)
    constant = np.zeros(bands, bool)
    deviations = _numbers(root.findall(".//bandStatistics/bandID"), "stdDeviation", missing=1.0)
    if len(deviations) == bands and deviations.any():
        constant = deviations == 0
    notes = []
    if doubled.any():
        notes.append(
            f"{int(doubled.sum())} VNIR bands from {wavelengths[doubled].min():.1f} nm overlap "
            "with SWIR bands and are called bad."
        )
    if constant.any():
        notes.append(f"{int(constant.sum())} bands without any data are called bad.")
    return dataclasses.replace(
        raw,
        wavelengths=wavelengths,
        scale=float(1 / gain[0]),
        ignore_value=_FILL if raw.ignore_value is None else raw.ignore_value,
        good_bands=~(doubled | constant),
        notes=tuple(notes),
    )


def _image(metadata: str) -> str:
    stem = metadata[: -len(METADATA)]
    for path in sorted(glob.glob(f"{glob.escape(stem)}-*")):
        if _IMAGE.search(path):
            return path
    raise InputError(
        metadata,
        expected=f"a GeoTIFF image beside it, {os.path.basename(stem)}-SPECTRAL_IMAGE.TIF",
        found="none",
        remedy="copy it too, or give the header of an ENVI image",
    )


def _numbers(
    elements: list[ElementTree.Element], name: str, missing: float | None = None
) -> np.ndarray:
    """One child of each element as numbers, float64."""
    texts = [element.findtext(name) for element in elements]
    if missing is None and None in texts:
        raise ValueError(f"a band has no {name}")
    return np.array([missing if text is None else float(text) for text in texts], np.float64)


def _doubled(root: ElementTree.Element, wavelengths: np.ndarray) -> np.ndarray:
    """`[band]` bool: the VNIR's bands beyond the SWIR's first; none if the file does not say."""
    lists = []
    for camera in ("vnir", "swir"):
        text = root.findtext(f".//{camera}ProductQuality/expectedChannelsList") or ""
        numbers = [int(word) - 1 for word in re.findall(r"\d+", text)]
        lists.append([band for band in numbers if 0 <= band < len(wavelengths)])
    doubled = np.zeros(len(wavelengths), bool)
    vnir, swir = lists
    if vnir and swir:
        doubled[vnir] = wavelengths[vnir] >= wavelengths[swir].min()
        doubled[swir] = False
    return doubled
