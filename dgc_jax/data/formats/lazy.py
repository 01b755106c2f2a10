"""Arrays that TensorStore cannot open itself, behind its interface, without loading them.

`array_store` takes a `numpy.memmap` (or any in-memory array): the store reads straight from the
mapped file, on TensorStore's own threads. `virtual_store` takes a function that reads one block,
for sources that must be asked through a library (h5py, rasterio).

A store that wraps an in-memory array prints its whole content, so never put one into a message.
"""

import functools
import math
import mmap
import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorstore as ts

from dgc_jax.data.formats import nodata

# One for all scenes: neighbouring crops share chunks, so what was read is kept up to a limit (a
# warm crop of a zarr3 store: 0.3 ms against 1.2 ms), and a dead server is given up after seconds.
_REMOTE = ("http_request_retries", "gcs_request_retries", "s3_request_retries")
CONTEXT = ts.Context(
    {"cache_pool": {"total_bytes_limit": 256 * 2**20}}
    | {remote: {"max_retries": 4} for remote in _REMOTE}
)
# For reading a scene through once: only neighbouring windows share chunks. With the large cache
# the memory of a process that walks a tall scene creeps up, as chunks come and go in its heap.
_WALKING = ts.Context(
    {"cache_pool": {"total_bytes_limit": 32 * 2**20}}
    | {remote: {"max_retries": 4} for remote in _REMOTE}
)
# For opening: a wrong address is told sooner.
OPENING = ts.Context({remote: {"max_retries": 2, "initial_delay": "100ms"} for remote in _REMOTE})


_BLOCK_BYTES = 16 * 2**20  # at most, unless one chunk of the file is larger

ReadBlock = Callable[[slice, slice, slice], np.ndarray]


def array_store(array: np.ndarray) -> ts.TensorStore:
    """Wraps an array, usually a transposed `numpy.memmap`, as a store; nothing is copied.

    Args:
        array: `[row, column, band]`, any strides, any byte order.

    Returns:
        A store of the same shape, of the array's type in native byte order.
    """
    if array.dtype.isnative and array.flags.aligned:
        return ts.array(array)
    # ts.array takes the bytes of a foreign byte order as they stand: swap while reading instead.
    return virtual_store(
        lambda row, column, band: array[row, column, band],
        array.shape,
        array.dtype.newbyteorder("="),
        chunk=(16, 16, array.shape[2]),
        context=None,  # the operating system caches the file already
    )


def for_walking(store: ts.TensorStore) -> ts.TensorStore:
    """The same store with a small cache, if it is one that TensorStore reads from files itself."""
    if store.kvstore is None:
        return store
    return ts.open(store.spec(), context=_WALKING, read=True).result()


def forgetter(array: np.ndarray) -> Callable[[], None]:
    """A function that takes the pages of a mapped file out of this process's memory.

    They stay in the system's cache and come back when read again. Without it the resident memory
    of a process that reads through a file grows to the size of the file, although the system may
    take it back any time.

    Args:
        array: a `numpy.memmap`, or a view of one.

    Returns:
        A function that does nothing where there is no mapped file or no way to do it.
    """
    base = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        return functools.partial(base.madvise, mmap.MADV_DONTNEED)
    return lambda: None


def keeper(array: np.ndarray) -> Callable[[], None]:
    """A function that raises OSError if the file that an array is mapped from was cut short.

    To touch pages that are no more there ends the process by a signal (SIGBUS), without a word, so
    this is called before each window. A file that is cut in the moment between is not caught.

    Args:
        array: a `numpy.memmap`.
    """
    path = getattr(array, "filename", None)
    if path is None:  # not of a file with a name
        return lambda: None
    assert isinstance(array, np.memmap)
    needed = array.offset + array.nbytes

    def check() -> None:
        found = os.stat(path).st_size
        if found < needed:
            raise OSError(f"it was cut short: {needed} bytes when it was opened, {found} now")

    return check


def virtual_store(
    read_block: ReadBlock,
    shape: tuple[int, ...],
    dtype: np.typing.DTypeLike,
    chunk: tuple[int, int, int],
    *,
    context: ts.Context | None = CONTEXT,
) -> ts.TensorStore:
    """A store whose chunks are read by a function.

    Args:
        read_block: called as `read_block(row, column, band)` with three slices, from several
            threads; returns that block, `[row, column, band]`.
        shape: rows, columns, bands.
        dtype: what `read_block` returns.
        chunk: rows, columns, bands read in one call; only whole chunks are ever read, so it should
            suit the source's layout.
        context: holds the cache of what was read; None keeps nothing.

    Returns:
        A read-only store `[row, column, band]`.
    """

    def fill(domain: ts.IndexDomain, block: np.ndarray, _: object) -> None:
        block[...] = read_block(*(slice(d.inclusive_min, d.exclusive_max) for d in domain))

    return ts.virtual_chunked(
        fill,
        dtype=ts.dtype(np.dtype(dtype)),
        shape=shape,
        chunk_layout=ts.ChunkLayout(
            read_chunk_shape=[min(c, n) for c, n in zip(chunk, shape, strict=True)]
        ),
        context=context or ts.Context(),
    )


def scaled_store(
    read_block: ReadBlock,
    shape: tuple[int, int, int],
    chunk: tuple[int, int, int],
    gain: np.ndarray,
    offset: np.ndarray,
    ignore_value: float | Sequence[float | None] | None = None,
) -> ts.TensorStore:
    """A store of float32 `stored * gain + offset`, for files whose bands differ in these numbers.

    The ignore value becomes NaN, and pixels that are zero in all stored bands stay zero: neither is
    valid.

    Args:
        read_block: as for `virtual_store`.
        shape: rows, columns, bands.
        chunk: rows, columns and bands read in one call; bands are raised to all of them.
        gain: `[band]` factors.
        offset: `[band]` summands.
        ignore_value: the stored number that means "no data", one for all bands or one for each,
            or None; 0 only counts in all bands.
    """
    each = list(ignore_value) if isinstance(ignore_value, Sequence) else [ignore_value] * shape[2]
    each = [None if number != number else number for number in each]  # NaN is never valid anyway

    def read_scaled(row: slice, column: slice, band: slice) -> np.ndarray:
        stored = read_block(row, column, band)
        with np.errstate(over="ignore", invalid="ignore"):  # such pixels are not valid
            scaled = (stored * gain + offset).astype(np.float32)
        for number in set(each):
            theirs = [place for place, other in enumerate(each) if other == number]
            part = stored if len(theirs) == len(each) else stored[:, :, theirs]
            span = nodata.limits(number, stored.dtype)
            if nodata.missing(part, span).any():
                lost = np.zeros(stored.shape, bool)
                lost[:, :, theirs] = nodata.holes(part, span)
                scaled[lost] = np.nan
        scaled[~stored.any(axis=2)] = 0
        return scaled

    return virtual_store(read_scaled, shape, np.float32, (*chunk[:2], shape[2]))


def block_shape(
    shape: tuple[int, ...], own: tuple[int, ...], itemsize: int
) -> tuple[int, int, int]:
    """Rows, columns and bands to read at once: whole chunks of the file, about one crop of pixels.

    Args:
        shape: of the cube, `[row, column, band]`.
        own: of the file's chunks, in the same order.
        itemsize: bytes a number.
    """
    block = [min(chunk, size) for chunk, size in zip(own, shape, strict=True)]
    # Bands first: every crop needs all of them. Then to 64 pixels a side, while memory allows.
    for axis, target in ((2, shape[2]), (0, min(64, shape[0])), (1, min(64, shape[1]))):
        others = itemsize * math.prod(block) // block[axis]
        affordable = max(1, _BLOCK_BYTES // (others * block[axis]))
        needed = -(-target // block[axis])
        block[axis] = min(block[axis] * min(needed, affordable), shape[axis])
    return block[0], block[1], block[2]
