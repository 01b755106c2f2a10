"""What the tags of a GeoTIFF say of its bands: wavelengths, bad bands, transparency.

No standard says where. Looked at, in this order: tags of each band (`wavelength`, `bbl`, in the
default or the ENVI domain; `CENTRAL_WAVELENGTH_UM` in IMAGERY), lists in the tags of the image (the
ENVI domain, then the default one), and the bands' descriptions, such as "450.0 nm". Bad bands bear
0 in `bbl`, ENVI's list, which EnMAP-Box and QGIS write for each band.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dgc_jax.data.formats import variables
from dgc_jax.data.formats.envi_header import without_comment

_WITH_UNIT = re.compile(r"(\d+(?:\.\d*)?)\s*(nm|nanomet|um|µm|μm|micro)", re.IGNORECASE)
_WAVELENGTH = ("wavelength", "wavelengths", "centerwavelength", "centralwavelength")
_UNIT = ("wavelengthunits", "wavelengthunit")
_GOOD = ("bbl", "badbandlist", "badbandmultiplier", "badbandmultipliervalue", "goodwavelengths")
_UNCLEAR = ("badband", "badbands")  # 1 may mean bad, or be the multiplier of a good band
_YES, _NO = ("1", "true", "good", "yes"), ("0", "false", "bad", "no")

Tags = Mapping[str, str]


class Band(NamedTuple):
    """One band as GDAL tells it.

    Attributes:
        number: of the band in its image, from 1.
        tags: those of the default domain.
        envi: those of the ENVI domain.
        centre: `CENTRAL_WAVELENGTH_UM` of the IMAGERY domain, or None.
        description: or "".
        alpha: whether it is called transparency.
        nodata: its no-data number, or None.
        scale: what its numbers are multiplied by.
        offset: what is added then.
    """

    number: int
    tags: Tags
    envi: Tags
    centre: str | None
    description: str
    alpha: bool
    nodata: float | None
    scale: float
    offset: float


def bands(image: Any, alpha: Any) -> list[Band]:
    """The bands of an image that rasterio has opened.

    Args:
        image: to look at.
        alpha: rasterio's word for a band of transparency.
    """
    described, kinds, ignored = image.descriptions, image.colorinterp, image.nodatavals
    scales, offsets = image.scales, image.offsets  # each is asked of all bands at once
    return [
        Band(
            index,
            plain(image.tags(index)),
            plain(image.tags(index, ns="ENVI")),
            image.tags(index, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM"),
            described[index - 1] or "",
            kinds[index - 1] == alpha,
            ignored[index - 1],
            scales[index - 1],
            offsets[index - 1],
        )
        for index in image.indexes
    ]


def plain(tags: Tags) -> Tags:
    """The same with names in lower case, without spaces and underscores."""
    return {name.lower().replace("_", "").replace(" ", ""): value for name, value in tags.items()}


def is_spectral(band: Band) -> bool:
    """Whether a band has a wavelength of its own."""
    own = (*map(band.tags.get, _WAVELENGTH), *map(band.envi.get, _WAVELENGTH), band.centre)
    return any(own) or _described(band.description) is not None


def wavelengths(
    found: Sequence[Band], image: Sequence[Tags], listed: Sequence[int]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Wavelengths of bands.

    Args:
        found: the bands.
        image: tags of the image, of the ENVI and of the default domain.
        listed: `[band]` place of each in lists that count all bands of the file.

    Returns:
        `[band]` nm or None, and notes.
    """
    image_unit = _first([_pick(tags, _UNIT) for tags in image])
    units = [_pick(b.tags, _UNIT) or _pick(b.envi, _UNIT) for b in found]
    told = sorted({unit for unit in units if unit})
    if len(told) > 1:
        return None, (f"The bands' wavelengths are in {' and '.join(told)}: not used.",)
    own = [_pick(b.tags, _WAVELENGTH) or _pick(b.envi, _WAVELENGTH) for b in found]
    candidates: list[tuple[str, Sequence[Any], str | None]] = [
        ("band tags 'wavelength'", own, _first(told) or image_unit),
        ("band tags CENTRAL_WAVELENGTH_UM", [b.centre for b in found], "um"),
    ]
    for tags, domain in zip(image, ("ENVI tag", "tag"), strict=True):
        words = _words(_pick(tags, _WAVELENGTH) or "", listed)
        candidates.append((f"{domain} 'wavelength'", words, _pick(tags, _UNIT) or image_unit))
    described = [_described(b.description) for b in found]
    candidates += [
        ("band descriptions", described, "nm"),
        ("band descriptions", [b.description for b in found], None),
    ]
    lists = []
    for name, texts, unit in candidates:
        try:
            values = np.array([float(text) for text in texts])
        except (TypeError, ValueError):
            continue  # not there, or not for every band
        if values.size:
            lists.append((f"The list of {name}", values, unit))
    return variables.find_wavelengths(len(found), lists)


def good_bands(
    found: Sequence[Band], image: Sequence[Tags], listed: Sequence[int]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Which bands are good; arguments as for `wavelengths`.

    Returns:
        `[band]` bool, or None if the file does not say; and notes.
    """
    notes: list[str] = []
    own = [_pick(b.tags, _GOOD) or _pick(b.envi, _GOOD) for b in found]
    candidates: list[tuple[str, Sequence[str | None]]] = [("band tags", own)]
    for tags, domain in zip(image, ("ENVI tag", "tag"), strict=True):
        candidates.append((f"{domain} 'bbl'", _words(_pick(tags, _GOOD) or "", listed)))
    for name, texts in candidates:
        if not any(texts):
            continue
        marks = [_mark(text) for text in texts]
        if len(marks) == len(found) and None not in marks:
            return np.array(marks, bool), tuple(notes)
        notes.append(
            f"The bad-band list in the {name} has not 0 or 1 for each of {len(found)} bands: "
            "not used."
        )
    if any(_pick(tags, _UNCLEAR) for tags in (*image, *(b.tags for b in found))):
        notes.append("Tags 'bad_band' may mean either: not used; a list 'bbl' has 0 for bad bands.")
    return None, tuple(notes)


def _words(text: str, listed: Sequence[int]) -> list[str]:
    """Entries of a list such as `{450, 550}`; those of the bands, if it counts all of the file."""
    lines = "\n".join(map(without_comment, text.split("\n")))
    words = [word for word in re.split(r"[\s,;{}\[\]()]+", lines) if word]
    whole = bool(listed) and len(words) > len(listed) and len(words) > max(listed)
    return [words[place] for place in listed] if whole else words


def _mark(text: str | None) -> bool | None:
    """True for a good band, False for a bad one, None for neither; untold is good."""
    word = (text or "1").strip().lower()
    with contextlib.suppress(ValueError):
        word = f"{float(word):g}"
    return True if word in _YES else False if word in _NO else None


def _described(text: str) -> float | None:
    """The wavelength in a band's description, nm: 450 of "450.0 nm" or "blue (0.45 um)"."""
    found = _WITH_UNIT.search(text)
    if found is None:
        return None
    return float(found[1]) * (1 if found[2].lower().startswith("n") else 1000)


def _pick(tags: Tags, names: Sequence[str]) -> str | None:
    return _first([tags[name] for name in names if name in tags]) if tags else None


def _first(values: Sequence[str | None]) -> str | None:
    return next((value for value in values if value), None)
