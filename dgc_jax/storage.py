"""Arrays on disk, by Orbax: what its folders must hold, and what of it is kept off the screen."""

import contextlib
import functools
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import tensorstore as ts

from dgc_jax import manifest
from dgc_jax.errors import StorageError, find_full, reason, unwritten
from dgc_jax.names import utf8_path

ABOUT = "about.json"
"""What a finished model has beside its arrays."""


def model_path(workdir: str) -> str:
    """Folder of a run's finished model, beside its checkpoints."""
    return os.path.join(utf8_path(os.path.abspath(workdir)), "checkpoints", "model")


@functools.cache
def quieten() -> None:
    """Keeps off the screen what Orbax says of every save, and what else fails beside a failure."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited")
    before = sys.unraisablehook

    def tell(what: Any) -> None:
        if str(what.exc_value) != "Event loop is closed":  # TensorStore, of writes given up
            before(what)

    sys.unraisablehook = tell


@contextlib.contextmanager
def writing(folder: str) -> Iterator[None]:
    """Tells in one sentence that the disk is full, whatever Orbax makes of it."""
    try:
        yield
    except Exception as error:
        if full := find_full(error):
            raise unwritten(folder, full) from error
        if not os.path.isdir(folder):
            raise StorageError(
                f"{folder} is not there any more ({reason(error)}); give the same command again."
            ) from error
        raise


def checksums(arrays: Any) -> dict[str, str]:
    """A fingerprint (SHA-256) of every array of a tree, by its path in the tree."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): manifest.digest(_plain(leaf))
        for path, leaf in jax.tree_util.tree_leaves_with_path(arrays)
    }


def check_sums(expected: Mapping[str, str] | None, arrays: Any) -> None:
    """Refuses arrays that are not those that were saved; earlier versions kept no checksums."""
    if expected is None:
        return
    found = checksums(arrays)
    differ = [name for name in expected if found.get(name) != expected[name]]
    if differ or len(found) != len(expected):
        raise ValueError(f"its array {(differ or list(found))[0]} is not what was saved")


def look_through(place: str) -> None:
    """Reads the values of a folder of arrays, which are small, before Orbax does.

    It reads them at once, and what fails after the first has its traceback on the screen.
    """
    if os.path.isfile(os.path.join(place, "manifest.ocdbt")):
        spec = {"driver": "ocdbt", "base": {"driver": "file", "path": place + os.sep}}
        values = ts.KvStore.open(spec).result()
        for name in values.list().result():
            values.read(name).result()


def _plain(leaf: Any) -> np.ndarray:
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.ascontiguousarray(leaf)
