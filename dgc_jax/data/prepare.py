"""Scenes as sharded zarr3: the layout from which crops are read fastest.

A crop of a BSQ or compressed file touches most of the file; here a scene is cut into inner chunks
of 32 x 32 pixels x all bands, uncompressed, so that a 64 x 64 crop costs at most nine short reads.
Inner chunks are packed into shards of some tens of megabytes, so that a scene is a handful of
files. What a file's header says (wavelengths, scale, ignore value, georeference) becomes
attributes, which `open_cube` understands.

Source: Zarr v3 specification, sharding codec (https://zarr-specs.readthedocs.io).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorstore as ts

_SHARD_BYTES = 64 * 2**20


def create_store(
    path: str,
    shape: Sequence[int],
    dtype: np.typing.DTypeLike,
    *,
    wavelengths: Sequence[float] | np.ndarray | None = None,
    scale: float = 1.0,
    ignore_value: float | None = None,
    geo: Mapping[str, Any] | None = None,
    chunk: int = 32,
) -> ts.TensorStore:
    """Creates an empty (all zero: no data) zarr3 store for one scene, replacing what was there.

    Callers write to a temporary name beside the final one and rename the folder when complete.
    Writes that cover whole shards (`store.chunk_layout.write_chunk.shape`) are fastest.

    Args:
        path: the folder to create.
        shape: rows, columns, bands.
        dtype: type of the stored numbers.
        wavelengths: `[band]` band centres in nm, or None.
        scale: what to divide a stored number by to get reflectance.
        ignore_value: the stored number that means "no data", or None.
        geo: georeference as in `Raw.geo`.
        chunk: rows and columns of an inner chunk, pixels.

    Returns:
        The store, `[row, column, band]`, open for writing.
    """
    rows, columns, bands = (int(n) for n in shape)
    attributes: dict[str, Any] = {"scale": float(scale)}
    if wavelengths is not None:
        attributes["wavelengths"] = [float(w) for w in wavelengths]
    if ignore_value is not None and math.isfinite(ignore_value):  # JSON has no NaN, and NaN is
        attributes["ignore_value"] = float(ignore_value)  # never valid anyway
    if geo:
        attributes["geo"] = dict(geo)

    # A shard holds whole lines if it can (scenes are streamed by lines), and as many as fit.
    inner_bytes = chunk * chunk * bands * np.dtype(dtype).itemsize
    room = max(1, _SHARD_BYTES // inner_bytes)
    across = min(math.ceil(columns / chunk), room)
    down = min(math.ceil(rows / chunk), max(1, room // across))
    return ts.open(
        {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": path},
            "metadata": {"attributes": attributes, "dimension_names": ["row", "column", "band"]},
        },
        create=True,
        delete_existing=True,
        dtype=ts.dtype(np.dtype(dtype)),
        shape=[rows, columns, bands],
        chunk_layout=ts.ChunkLayout(
            read_chunk=ts.ChunkLayout.Grid(shape=[chunk, chunk, bands]),
            write_chunk=ts.ChunkLayout.Grid(shape=[chunk * down, chunk * across, bands]),
        ),
    ).result()
