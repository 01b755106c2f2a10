"""Arrays that TensorStore cannot open itself, behind its interface, without loading them.

`array_store` takes a `numpy.memmap` (or any in-memory array): the store reads straight from the
mapped file, on TensorStore's own threads. `virtual_store` takes a function that reads one block,
for sources that must be asked through a library (h5py).

A store that wraps an in-memory array prints its whole content, so never put one into a message.
"""

from collections.abc import Callable

import numpy as np
import tensorstore as ts

# One for all scenes: neighbouring crops share chunks, so what was read is kept up to a limit (a
# warm crop of a zarr3 store: 0.3 ms against 1.2 ms), and a dead server is given up after seconds.
_RETRIES = {"max_retries": 4}
CONTEXT = ts.Context(
    {
        "cache_pool": {"total_bytes_limit": 256 * 2**20},
        "http_request_retries": _RETRIES,
        "gcs_request_retries": _RETRIES,
        "s3_request_retries": _RETRIES,
    }
)


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


def virtual_store(
    read_block: Callable[[slice, slice, slice], np.ndarray],
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
