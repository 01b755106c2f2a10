"""Wavelengths in nm, whatever a file says: the one place that understands units.

Lengths are multiplied; wavenumbers k (per length) and frequencies f become `1 / k` and `c / f`,
photon energies E `h c / E`, all in vacuum. A list is used only if its numbers can be what its unit
says: imagers see 100 nm to 100 um, and waves up to 10 cm only where the unit is one of radio and
terahertz work (mm, cm, m, Hz) or too small to be taken for another (nm). Without a unit numbers of
100 and more are nm, smaller ones um.

Band *numbers*, which many tools write in the place of unknown wavelengths, are no wavelengths:
0, 1, 2, ... and 1, 2, 3, ... in any unit, and whole numbers that start below 200 and go up by one
where they would be lengths, since no imager has bands at 5, 6, 7, ... um or 150, 151, ... nm.
"""

import re

import numpy as np

_LIGHT = 299_792_458.0  # m/s
_ENERGY = 1239.841984  # h c, eV nm
_METRES = {"n": 1.0, "u": 1e3, "m": 1e6, "c": 1e7, "": 1e9}  # in nm
_METRES |= {"nano": 1.0, "micro": 1e3, "milli": 1e6, "centi": 1e7}
_LENGTHS = {f"{prefix}m": factor for prefix, factor in _METRES.items()}
_LENGTHS |= {f"{p}met{end}": factor for p, factor in _METRES.items() for end in ("er", "re")}
_LENGTHS |= dict.fromkeys(("micron", "mu", "mcm"), 1e3)
_LENGTHS |= dict.fromkeys(("å", "a", "aa", "ang", "angstrom", "angstroem", "angström"), 0.1)
_LENGTHS |= dict.fromkeys(("ångström", "ångstrom", "ångstroem"), 0.1)
_LONG = [unit for unit, factor in _LENGTHS.items() if factor > 1e3]
_HERTZ = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15}
_HERTZ |= {"kilo": 1e3, "mega": 1e6, "giga": 1e9, "tera": 1e12, "peta": 1e15}
_FREQUENCIES = {f"{p}{end}": factor for p, factor in _HERTZ.items() for end in ("hz", "hertz")}
_WAVENUMBERS = ("wavenumber", "kayser", "rcm", "icm")  # without a length: per cm
_QUANTITIES = ("wavelength", "wavenumber", "frequency", "energy", "unit", "spectral")
_ABSENT = (
    "", "1", "-", "?", "unknown", "none", "n/a", "na", "nan", "null", "undefined", "unspecified",
    "unitles", "unitless", "dimensionles", "dimensionless", "wavelength",
)  # fmt: skip
_NUMBERED = ("index", "band", "bandnumber", "bandindex", "number", "channel", "pixel")
_LETTERS = {0xB5: "u", 0x3BC: "u", 0x207B: "-", 0x2212: "-", 0x2013: "-", 0xB9: "1"}
_SHORTEST, _LONGEST, _LONGEST_RADIO = 100.0, 1e5, 1e8  # nm


def to_nanometres(
    values: np.ndarray, unit: str | bytes | None = None
) -> tuple[np.ndarray | None, str | None]:
    """Wavelengths in nm, if the numbers are wavelengths.

    Args:
        values: one number a band.
        unit: as a file spells it, or None.

    Returns:
        `[band]` nm (float64, in the order given, so descending where wavenumbers ascend) or None;
        and the end of a sentence "the list ...": why it is not used or what was guessed, or None.
    """
    values = np.asarray(values, np.float64).ravel()
    if not values.size or not np.isfinite(values).all():
        return None, "holds something else than numbers: not used"
    said = (unit.decode("utf-8", "replace") if isinstance(unit, bytes) else unit or "").strip()
    word, guess = _plain(said), None
    low, high = values.min(), values.max()
    span = _span(values)
    if values.size > 1 and low == high:
        return None, f"is {low:g} in every band: not used"
    if word in _NUMBERED:
        return None, f"is in {said}, no unit of light: not used"
    untold = word in _ABSENT
    if untold:
        word = "um" if high < 100 else "nm"
        if word == "um" or low < 200 or high > 3000:
            guess = f"has no unit: {span} taken as {word}"
    if _counts(values, word, untold):
        return None, f"counts from {low:g} to {high:g}, as band numbers do: not used"
    longest = _LONGEST_RADIO if word in ("nm", *_LONG, *_FREQUENCIES) else _LONGEST
    with np.errstate(divide="ignore"):
        if word in _LENGTHS:
            found = values * _LENGTHS[word]
        elif (per := _per_length(word)) is not None:
            found = per / values
        elif word in _FREQUENCIES:
            found = _LIGHT * 1e9 / (values * _FREQUENCIES[word])
        elif word in ("ev", "electronvolt"):
            found = _ENERGY / values
        else:
            return None, f"is in {said!r}, a unit that is not known: not used"
    if found.min() >= _SHORTEST and found.max() <= longest:
        if found.max() < 300 and guess is None:
            guess = f"is in {said}, so it is ultraviolet ({_span(found)} nm): check the unit"
        return found, guess
    if untold:
        return None, f"holds {span}, which are no wavelengths of light: not used"
    return None, f"holds {span}, which are no wavelengths of light in its unit, {said}: not used"


def _span(values: np.ndarray) -> str:
    return f"{values.min():.6g} to {values.max():.6g}"


def _counts(values: np.ndarray, unit: str, untold: bool) -> bool:
    """Whether the numbers are those of bands, see above."""
    if values.size < 2 or (values % 1 != 0).any():
        return False
    steps = np.diff(values)
    by_one = bool((steps == 1).all() or (steps == -1).all())
    if by_one and values.min() in (0, 1):
        return True
    if untold and unit == "um":  # every second band, say
        return True
    return by_one and values.min() < 200 and unit in _LENGTHS and unit not in _LONG


def _plain(unit: str) -> str:
    """One spelling for many: `"Wavelength [µm]"`, `"Micrometers"` and `"UM"` without their looks.

    Returns:
        Lower case, without spaces and plural; `u` for the two letters mu, digits for superscripts.
    """
    text = unit.strip("\x00'\"{} ").lower().replace("âµ", "u")  # UTF-8 taken for latin-1
    text = text.translate(_LETTERS)
    bracket = re.search(r"[(\[]\s*([^-][^)\]]*?)\s*[)\]]", text)  # "Wavenumber (cm-1)", "[nm]"
    if bracket is not None:
        before = text[: bracket.start()].strip(" ,:")
        text = bracket[1] if before.removesuffix("s") in ("", *_QUANTITIES) else before
    text = re.sub(rf"^({'|'.join(_QUANTITIES)})s?\s*(in|,|:|/)\s*", "", text)
    text = re.sub(r"[\s_.]+", "", text)
    return text.removesuffix("s") if len(text) > 2 else text


def _per_length(word: str) -> float | None:
    """What to divide by a wavenumber of this unit to get nm, or None if it is none."""
    if word in _WAVENUMBERS:
        return 1e7
    found = (
        re.fullmatch(r"(?:1?/|per|inverse|reciprocal)(.+)", word)
        or re.fullmatch(r"(.+?)(?:\^|\*\*)?[({]*-1[)}]?", word)
    )  # fmt: skip
    return None if found is None else _LENGTHS.get(found[1])
