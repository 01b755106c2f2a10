"""How much memory a file may take, found before any is.

Files say how large their chunks and lists are, and a file of 300 bytes may say anything. What is
read at once is bounded by what a scene can be, by how far numbers can be compressed, and by the
memory that is free.
"""

import math
import os
from collections.abc import Callable, Sequence

from dgc_jax.errors import InputError

LISTED = 100_000
"""Numbers in a list of wavelengths or bad bands, and bands of a scene, at most."""

_CHUNK = 2**30  # bytes of a chunk; 1000 x 1000 pixels of 301 bands in 16 bits have 0.6 * 10^9
_SMALL = 2**26  # bytes that any file may take
_RATIO = 1000  # as far as deflate, of all filters the best at it, compresses


def check_chunk(
    what: str,
    chunk: Sequence[int],
    shape: Sequence[int],
    itemsize: int,
    stored: Callable[[], int] | None = None,
) -> None:
    """Refuses chunks that are too large to be read.

    Args:
        what: of whom they are, such as `scene.h5: data/cube`, for the message.
        chunk: numbers a chunk, along each axis.
        shape: of the array, in the same order.
        itemsize: bytes a number.
        stored: bytes that the array takes on disk, looked up for large chunks only; None: unknown.

    Raises:
        InputError: they are larger than memory, than the array, or than can be stored in its files.
    """
    size = math.prod(chunk) * itemsize
    if size <= _SMALL:
        return
    inside = math.prod(map(min, chunk, shape)) * itemsize
    why = None
    if size > _CHUNK or size > available() / 2:
        why = f"{_bytes(min(_CHUNK, available() // 2))} can be read at once"
    elif size > 4 * inside:
        why = f"the whole array has {' x '.join(map(str, shape))}"
    elif stored is not None and size > _RATIO * max(on_disk := stored(), 1):
        why = f"its files have {_bytes(on_disk)}"
    if why is not None:
        raise InputError(
            what,
            found=f"has chunks of {' x '.join(map(str, chunk))} numbers ({_bytes(size)}), but "
            f"{why}",
            remedy="write it with smaller chunks",
        )


def check_whole(what: str, shape: Sequence[int], itemsize: int, stored: int | None = None) -> None:
    """Refuses an array that is too large to be read whole.

    Args:
        what: it is, for the message.
        shape: of the array.
        itemsize: bytes a number.
        stored: bytes of the file that it is compressed in, or None.

    Raises:
        InputError: it would take more than half of the free memory, or more than can be stored.
    """
    size = math.prod(shape) * itemsize
    if size <= _SMALL:
        return
    if size > available() / 2:
        raise InputError(
            what,
            found=f"has {' x '.join(map(str, shape))} numbers, which take {_bytes(size)} of "
            f"memory, and only {_bytes(available())} are free",
            remedy="convert it to a format that is read in parts (ENVI, zarr, HDF5 or MATLAB 7.3)",
        )
    if stored is not None and size > _RATIO * max(stored, 1):
        raise InputError(
            what,
            expected=f"the {' x '.join(map(str, shape))} numbers ({_bytes(size)}) that it says "
            "it has",
            found=f"{_bytes(stored)} in its file, so it is damaged",
            remedy="copy it again",
        )


def check_image(what: str, rows: int, columns: int) -> None:
    """Refuses pictures of more pixels than anything here can hold.

    Raises:
        InputError: no pixels, or more than 2^31.
    """
    if rows < 1 or columns < 1 or rows * columns > 2**31:
        raise InputError(
            what,
            expected="between one and 2^31 pixels",
            found=f"{rows} rows and {columns} columns",
            remedy="correct it, or cut it into parts",
        )


def folder_bytes(folder: str) -> int:
    """Bytes of all files in a local folder."""
    return sum(
        os.path.getsize(os.path.join(place, name))
        for place, _, names in os.walk(folder)
        for name in names
        if os.path.isfile(os.path.join(place, name))
    )


def available() -> int:
    """Bytes of memory that this process may still take without harming others."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        return 2**33


def _bytes(size: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} bytes"
