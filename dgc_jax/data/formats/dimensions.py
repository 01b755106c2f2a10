"""Which axis of an array is which, by the names that its file gives to its dimensions.

NetCDF variables, HDF5 datasets with dimension scales or labels, and zarr arrays (xarray's
`_ARRAY_DIMENSIONS`, zarr 3's `dimension_names`) name their axes: `("wavelength", "y", "x")` is
`"brc"`. A name counts by the first of its words that is known: `YDim:grid`, `number_of_lines` and
`/nlat` are rows. Where two axes are known the third is what is left.
"""

import re
from collections.abc import Sequence

_WORDS = {
    "r": "y row line lat latitude rlat northing scan scanline height downtrack alongtrack",
    "c": "x col column sample lon longitude rlon easting pixel width crosstrack acrosstrack",
    "b": "band wavelength wl wvl wave lambda spectral spectrum channel wavenumber frequency b",
}
_LETTERS = {word: letter for letter, words in _WORDS.items() for word in words.split()}
_TRACKS = {
    "along_track": "r",
    "down_track": "r",
    "cross_track": "c",
    "across_track": "c",
    "spectral_sample": "b",
}


def letter(name: str | None) -> str | None:
    """`"r"`, `"c"` or `"b"` for the name of a dimension, None if it tells nothing."""
    if not name:
        return None
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.rsplit("/")[-1])
    plain = re.sub(r"[^a-z]+", "_", plain.lower()).strip("_")
    for phrase, meant in _TRACKS.items():
        if phrase in plain:
            return meant
    if plain in ("r", "c"):
        return plain
    words = plain.split("_")
    for word in (*({"x", "y"} & set(words)), *words):  # `pixel_y` is a row
        stems = [word.removesuffix("dim"), word.removeprefix("num"), word.removeprefix("n"), word]
        for stem in stems:
            if found := _LETTERS.get(stem) or _LETTERS.get(stem.removesuffix("s")):
                return found
    return None


def order(names: Sequence[str | None]) -> tuple[str | None, str | None]:
    """The letters of an array's three axes by the names of these.

    Args:
        names: of the axes, in the order of the array's shape; None or "" where one has none.

    Returns:
        The letters or None if the names do not tell, and a note if some of it had to be concluded.
    """
    if len(names) != 3:
        return None, None
    # A lone `c` is the column beside `r`, and the channel beside `y` and `x`.
    letters = [None if name == "c" and "r" not in names else letter(name) for name in names]
    known = [found for found in letters if found]
    shown = ", ".join(str(name or "?") for name in names)
    advice = "if that is wrong, say so with axes="
    if known == ["b"]:
        rest = iter("rc")
        found = "".join(one or next(rest) for one in letters)
        return found, f"Axes ({shown}) taken as {found!r}, rows before columns; {advice}."
    if len(known) != len(set(known)) or len(known) < 2:
        return None, None
    if len(known) == 3:
        return "".join(known), None
    place = letters.index(None)
    left = next(iter(set("rcb") - set(known)))
    found = "".join(one or left for one in letters)
    return found, (
        f"Axes ({shown}) taken as {found!r}, {names[place] or '?'!r} being what is left; {advice}."
    )
