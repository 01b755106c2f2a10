"""Scenes as sharded zarr3: the layout from which crops are read fastest.

A crop of a BSQ or compressed file touches most of the file; here a scene is cut into inner chunks
of 32 x 32 pixels x all bands, uncompressed, so that a 64 x 64 crop costs at most nine short reads.
Inner chunks are packed into shards of some tens of megabytes, so that a scene is a handful of
files. What a file's header says (wavelengths, scale, ignore value, georeference) becomes
attributes, which `open_cube` understands.

Source: Zarr v3 specification, sharding codec (https://zarr-specs.readthedocs.io).
"""

import itertools
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import rich.markup
import rich.progress
import tensorstore as ts

from dgc_jax import manifest
from dgc_jax.data import checksums, provenance
from dgc_jax.data.cube import Cube
from dgc_jax.errors import InputError, writing
from dgc_jax.names import utf8_path

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
            "kvstore": {"driver": "file", "path": utf8_path(path)},
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


def store_path(cube: Cube, out: str | os.PathLike[str]) -> str:
    """Where `prepare` writes a scene."""
    return os.path.join(os.fspath(out), f"{cube.name}.zarr")


def made_from(cube: Cube) -> dict[str, Any]:
    """What a prepared scene is made from, as the manifest of its folder records it."""
    return provenance.made_from(cube) | {"bands": provenance.bands(cube)}


def why_unprepared(cube: Cube, out: str | os.PathLike[str]) -> str | None:
    """Why `prepare` would write a scene (again), or None if it is finished.

    Args:
        cube: the scene.
        out: folder of `<name>.zarr`.

    Returns:
        None, or words to follow "because", which are none for the first time.

    Raises:
        InputError: if the folder's manifest cannot be read.
    """
    return manifest.why_unfinished(out, "prepared", cube.name, made_from(cube))


def prepare(
    cube: Cube,
    out: str | os.PathLike[str],
    progress: rich.progress.Progress | None = None,
) -> bool:
    """Rewrites a scene as sharded zarr3, in constant memory (a few shards).

    Stored numbers keep their type and scale factor; with references or on another band grid they
    become float32 reflectance. Bands that the cube leaves out are left out, and pixels that its
    mask leaves out become zero in all bands, which is no data. A scene that is finished, see
    `dgc_jax.manifest`, is not written again; what an interrupted run left, or one of other options
    or of another scene of the name, is.

    Args:
        cube: the scene.
        out: folder to write `<name>.zarr` into; made if missing.
        progress: gets one bar for the scene.

    Returns:
        Whether the scene was written, False if it was there.

    Raises:
        InputError: something else of that name is there, the folder cannot be written, or the scene
            cannot be read.
    """
    path = store_path(cube, out)
    computed = cube.calibration.by_references or cube.bands.taps is not None
    dtype = np.dtype(np.float32) if computed else cube.store.dtype.numpy_dtype
    if os.path.realpath(path) == os.path.realpath(cube.path):
        raise InputError(
            f"out={os.fspath(out)}",
            expected="a folder without the scene",
            found=f"{cube.path} in it",
            remedy="name another one",
        )
    file = os.path.basename(path)
    wanted = {("prepared", cube.name): [file]}
    source = made_from(cube)
    if why_unprepared(cube, out) is None:
        return False
    manifest.refuse_clashes(out, "out", wanted)
    unfinished = f"{path}.part"
    with writing(path, "check the folder's permissions and free space"):
        os.makedirs(out, exist_ok=True)
        manifest.begin(out, "prepared", cube.name, [file])
        store = create_store(
            unfinished,
            cube.shape,
            dtype,
            wavelengths=cube.wavelengths,
            scale=cube.scale,
            ignore_value=None if computed else cube.ignore_value,
            geo=cube.geo,
        )
        _copy(cube, store, computed, progress)
        checksums.write(unfinished)
        shutil.rmtree(path, ignore_errors=True)
        os.rename(unfinished, path)
        manifest.finish(out, "prepared", cube.name, source, [file])
    return True


def _copy(
    cube: Cube, store: ts.TensorStore, computed: bool, progress: rich.progress.Progress | None
) -> None:
    """Streams a scene into its store, shard by shard: one is read while another is written."""
    rows, columns, _ = cube.shape
    task = None
    if progress is not None:
        task = progress.add_task(rich.markup.escape(cube.name), total=rows * columns)
    read = _reflectance if computed else _stored
    shard = store.chunk_layout.write_chunk.shape or (rows, columns)
    windows = _windows(rows, columns, shard[0] or rows, shard[1] or columns)
    writing: ts.WriteFutures | None = None
    try:
        for (row, column, height, width), block in read(cube, windows):
            if writing is not None:
                writing.result()
            writing = store[row : row + height, column : column + width].write(block)
            if progress is not None and task is not None:
                progress.advance(task, height * width)
    finally:  # else it might still write when the folder is made anew
        if writing is not None:
            writing.result()


_Window = tuple[int, int, int, int]  # row, column, height, width


def _windows(rows: int, columns: int, height: int, width: int) -> list[_Window]:
    corners = itertools.product(range(0, rows, height), range(0, columns, width))
    return [(r, c, min(height, rows - r), min(width, columns - c)) for r, c in corners]


def _reflectance(cube: Cube, windows: list[_Window]) -> Iterator[tuple[_Window, np.ndarray]]:
    for window in windows:
        yield window, cube.read(*window)[0]  # zero, thus no data, where not valid


def _stored(cube: Cube, windows: list[_Window]) -> Iterator[tuple[_Window, np.ndarray]]:
    for window in windows:
        row, column, height, width = window
        block = cube.read_stored(*window)
        if cube.mask is not None:
            unusable = ~cube.mask[row : row + height, column : column + width]
            block = np.where(unusable[:, :, None], block.dtype.type(0), block)
        yield window, block
