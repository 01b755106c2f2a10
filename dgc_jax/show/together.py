"""A scene labelled by many processes: each does some tiles, all write into one zarr store.

    process 0   tiles 0, 3, 6, ...  \
    process 1   tiles 1, 4, 7, ...   >  <folder>/.<scene>.labels  ->  the first writes maps
    process 2   tiles 2, 5, 8, ...  /

A tile is a chunk of the store, so that no two processes write the same file. Nobody waits before
its tiles are done: whoever comes first makes the store. A process on its own keeps the labels in
memory.
"""

import glob
import os
import shutil

import tensorstore as ts

from dgc_jax import processes
from dgc_jax.apply.segmenter import Segmenter
from dgc_jax.data.cube import Cube
from dgc_jax.errors import InputError

_TILE = 256  # pixels, side of a tile and of a chunk
_SUFFIX = ".labels"


def label(segmenter: Segmenter, cube: Cube, folder: str) -> ts.TensorStore:
    """Labels this process's tiles of a scene.

    Args:
        segmenter: the model.
        cube: the scene.
        folder: that of the maps, which all processes share; made if missing.

    Returns:
        The labels `[row, column]` uint8, 0 = no data, 1..K; complete when all processes have come
        back from here.

    Raises:
        InputError: if the scene does not cover the model's bands or cannot be read, or the folder
            cannot be written.
    """
    if processes.part()[1] == 1:
        return ts.array(segmenter.segment(cube))
    shape = cube.shape[:2]
    path = os.path.join(os.path.abspath(folder), f".{cube.name}{_SUFFIX}")
    chunk = [max(1, min(size, _TILE)) for size in shape]
    try:
        store = ts.open(
            {
                "driver": "zarr3",
                "kvstore": {"driver": "file", "path": path + os.sep},
                "metadata": {
                    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}}
                },
            },
            open=True,
            create=True,
            dtype=ts.uint8,
            shape=shape,
            fill_value=0,
        ).result()
        for row, column, labels in segmenter.tiles(cube, _TILE, part=processes.part()):
            height, width = labels.shape
            store[row : row + height, column : column + width].write(labels).result()
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0].partition(" [")[0].rstrip(".")
        raise InputError(
            f"{path} cannot be written ({reason}): name a folder that all processes can write to."
        ) from error
    return store


def clean(folder: str) -> None:
    """Removes the stores of a folder, whose maps are written or whose writers were killed."""
    for path in glob.glob(os.path.join(glob.escape(folder), f".*{_SUFFIX}")):
        shutil.rmtree(path, ignore_errors=True)
