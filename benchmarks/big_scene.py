"""A large scene to measure on, and a model to apply to it.

The scene is a mosaic of the simulated leaf scenes: each block one of them, mirrored or turned, at
a brightness of its own, with noise of a few counts, so that no two blocks are alike. It is uint16,
reflectance times 10,000, as raw ENVI (BIL) and as `dgc prepare` writes it (zarr3).

The model has the default architecture with its start parameters: what a label costs does not
depend on what was learned.
"""

import json
import os
import pathlib
import shutil
from typing import TYPE_CHECKING

import numpy as np
import spectral.io.envi

from benchmarks import bench
from dgc_jax.data.cube import open_cube
from dgc_jax.data.prepare import prepare
from dgc_jax.data.simulation import leaves
from dgc_jax.files import replacing

if TYPE_CHECKING:
    from dgc_jax.apply.segmenter import Segmenter

_SMALL = {"scenes": 2, "size": 48, "bands": 31}


def segmenter(small: bool) -> "Segmenter":
    """A model of the default architecture for the bands of the scene."""
    # Only here: processes that read and do not compute start without JAX.
    from dgc_jax.apply.segmenter import Segmenter
    from dgc_jax.model.cluster_tree import ClusterTree
    from dgc_jax.show.palette import colours
    from dgc_jax.train import loop, options

    config = bench.configuration(small)
    if small:
        config.data.scenes = leaves.ensure(leaves.Leaves(**_SMALL), progress=False)
    scenes = options.scenes(config)
    cube = scenes[0].cube
    state = loop.first_state(config, scenes, *loop.sample_crops(config, scenes))
    names = tuple(f"cluster {k}" for k in range(1, 5))
    leaf_ids = np.arange(config.clusters.train, dtype=np.uint8) % 4 + 1
    return Segmenter(
        model=state.model,
        tree=ClusterTree(
            linkage=np.zeros((0, 4)),
            live=np.arange(0),
            leaves=leaf_ids,
            leaf_names=names,
            leaf_colours=colours(4),
            shown=np.arange(5, dtype=np.uint8),
            names=names,
            colours=colours(4),
        ),
        wavelengths=cube.wavelengths,
        bands=cube.shape[2],
        classes=None,
        background=None,
        config=config.to_dict(),
        identity="benchmark",
    )


def ensure(rows: int, columns: int, small: bool = False) -> tuple[str, str]:
    """The scene as ENVI header and as zarr store, made in the cache folder unless it is there."""
    parameters = leaves.Leaves(**_SMALL) if small else leaves.Leaves()
    shape = rows, columns, parameters.bands
    folder = os.path.join(leaves.cache_folder(), f"mosaic-{'x'.join(map(str, shape))}")
    header, store = (os.path.join(folder, name) for name in ("mosaic.hdr", "mosaic.zarr"))
    if os.path.exists(store):  # what is written last
        return header, store
    os.makedirs(folder, exist_ok=True)
    write_mosaic(header, shape, parameters)
    prepare(open_cube(header), folder)
    return header, store


def write_mosaic(header: str, shape: tuple[int, int, int], parameters: leaves.Leaves) -> None:
    """Writes the mosaic as BIL, block row by block row."""
    source = leaves.ensure(parameters, progress=False)
    blocks = [open_cube(f"{source}/leaf_{i:02d}.zarr") for i in range(parameters.scenes)]
    size, rng = parameters.size, np.random.default_rng(0)
    rows, columns, bands = shape
    with replacing(data_file(header)) as temporary, open(temporary, "wb") as file:
        for top in range(0, rows, size):
            band_of_rows = np.zeros((size, columns, bands), np.uint16)
            for left in range(0, columns, size):
                number = int(rng.integers(len(blocks)))
                block = blocks[number].read_stored(0, 0, size, size).astype(np.float32)
                block = np.rot90(block[:, :: rng.choice([-1, 1])], rng.integers(4))
                block = block * np.float32(rng.uniform(0.8, 1.2))
                block = block + 8 * rng.standard_normal(block.shape, np.float32)
                block = np.clip(np.round(block), 1, 65535)
                width = min(size, columns - left)
                band_of_rows[:, left : left + width] = block[:, :width]
            file.write(band_of_rows[: rows - top].transpose(0, 2, 1).tobytes())
    write_header(header, shape, leaves.wavelengths(parameters))


def write_header(header: str, shape: tuple[int, int, int], wavelengths: np.ndarray) -> None:
    """An ENVI header for uint16 BIL data of that shape."""
    fields = {
        "lines": shape[0],
        "samples": shape[1],
        "bands": shape[2],
        "data type": 12,
        "interleave": "bil",
        "byte order": 0,
        "reflectance scale factor": leaves.SCALE,
        "wavelength units": "nm",
        "wavelength": [f"{w:g}" for w in wavelengths],
    }
    spectral.io.envi.write_envi_header(header, fields)


def data_file(header: str) -> str:
    """The data beside a header."""
    return header.removesuffix(".hdr") + ".bil"


def files(path: str) -> list[str]:
    """The data files of a scene, which is a header or a store."""
    if path.endswith(".hdr"):
        return [data_file(path)]
    return [os.path.join(base, name) for base, _, names in os.walk(path) for name in names]


def write_tall(header: str, times: int, folder: str) -> str:
    """The scene repeated downwards, in another folder, as ENVI; returns its header."""
    tall = os.path.join(folder, "tall.hdr")
    cube = open_cube(header)
    assert cube.wavelengths is not None
    with open(data_file(tall), "wb") as file:
        for _ in range(times):
            with open(data_file(header), "rb") as source:
                shutil.copyfileobj(source, file, 1 << 23)
    write_header(tall, (cube.shape[0] * times, *cube.shape[1:]), cube.wavelengths)
    return tall


def link_tall(store: str, times: int, folder: str) -> str:
    """The zarr scene repeated downwards, in another folder, as links to its full shards.

    Rows of the last, partly filled shard are left out; those of the others come again in turn.
    """
    tall = os.path.join(folder, "tall.zarr")
    metadata = json.loads(pathlib.Path(store, "zarr.json").read_text(encoding="utf-8"))
    rows, columns, _ = metadata["shape"]
    shard = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    full = max(1, rows // shard[0])
    metadata["shape"][0] = rows * times
    for down in range(-(-rows * times // shard[0])):
        for across in range(-(-columns // shard[1])):
            target = os.path.join(tall, "c", str(down), str(across), "0")
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.link(os.path.join(store, "c", str(down % full), str(across), "0"), target)
    pathlib.Path(tall, "zarr.json").write_text(json.dumps(metadata), encoding="utf-8")
    return tall
