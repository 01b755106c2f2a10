"""The finished model of a run on disk: what applying it needs, its configuration included.

    workdir/checkpoints/model/arrays/       by Orbax
    workdir/checkpoints/model/about.json    everything else, the format's version, and checksums

It appears whole, in place of an earlier one.
"""

import json
import os
import shutil
from collections.abc import Mapping
from typing import Any, NamedTuple, NotRequired, TypedDict

import jax
import numpy as np
import orbax.checkpoint as ocp
from scipy.cluster import hierarchy

from dgc_jax import documents, storage
from dgc_jax.errors import InputError, reading

FORMAT = 1
"""Version of what is written. One is added when a reader of the last could not read it, or would
read it wrongly; models without a version are of 0, and lack what `SavedModel` says they may."""


class SavedModel(NamedTuple):
    """A finished model.

    Attributes:
        arrays: `params`, `centroids` `[K', embedding]`, and `bins`, `scale`, `mean`, `deviation`
            of the normalisation.
        about: JSON values: `config`, `wavelengths`, `bands`, `step`; `lookup`, the id of each
            trained centroid at `clusters.final`; `leaves`, that at the finest level, `live` and
            `tree`, see `dgc_jax.model.tree`; `names` and `colours` of the ids of the finest
            level; `classes`, `background`, `similarity_floor`. Models of earlier versions may have
            no `leaves`, their finest level being that of `lookup`, and no `similarity_floor`.
    """

    arrays: dict[str, Any]
    about: dict[str, Any]


def _alone() -> ocp.options.MultiprocessingOptions:
    """Spares Orbax waiting for the other processes of a job."""
    me = jax.process_index()
    return ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me})


def save_model(workdir: str, model: SavedModel) -> None:
    """Writes the finished model, in place of an earlier one; one process of a job does it.

    Raises:
        StorageError: the disk is full.
    """
    folder = storage.model_path(workdir)
    temporary = f"{folder}.unfinished"
    # As NumPy: Orbax takes an array on a device for a part that other processes complete.
    arrays = jax.tree.map(np.asarray, model.arrays)
    with storage.writing(os.path.dirname(folder)):
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        with ocp.StandardCheckpointer(multiprocessing_options=_alone()) as checkpointer:
            checkpointer.save(os.path.join(temporary, "arrays"), arrays)
        with open(os.path.join(temporary, storage.ABOUT), "w", encoding="utf-8") as file:
            about = model.about | {"format": FORMAT, "checksums": storage.checksums(arrays)}
            json.dump(about, file, indent=1)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(temporary, folder)


class _Version(TypedDict):
    """What is read first: the rest may be otherwise in a later format."""

    format: NotRequired[int]


class _About(TypedDict):
    """What `about.json` holds."""

    config: dict[str, Any]
    wavelengths: list[float] | None
    bands: int
    step: int
    lookup: list[int]
    live: list[int]
    tree: list[list[float]]
    names: list[str]
    colours: list[list[int]]
    classes: list[str] | None
    background: list[int] | None
    leaves: NotRequired[list[int]]
    similarity_floor: NotRequired[float | None]
    format: NotRequired[int]
    checksums: NotRequired[dict[str, str]]


def load_model(workdir: str) -> SavedModel:
    """Reads the finished model of a run.

    Raises:
        InputError: if the folder holds no finished run, its model is damaged, or a later version of
            dgc_jax has written it.
    """
    folder = storage.model_path(workdir)
    remedy = "copy the run again, or delete that folder and repeat the run's command"
    path = os.path.join(folder, storage.ABOUT)
    try:
        written = documents.read(path, _Version, "the description of a model", remedy)
        _check_format(path, written.get("format", 0))
        about = documents.read(path, _About, "the description of a model", remedy)
    except FileNotFoundError:
        started = os.path.isfile(os.path.join(workdir, "config.json"))
        found = "a run that has not finished" if started else "none"
        todo = (
            "repeat its command to complete it"
            if started
            else "name the workdir that launch.py printed"
        )
        raise InputError(
            workdir, expected="the workdir of a finished run", found=found, remedy=todo
        ) from None
    about.pop("format", None)
    kept = about.pop("checksums", None)
    place, me = os.path.join(folder, "arrays"), _alone()  # which fails where there is no device
    storage.quieten()
    with (
        reading(f"{folder}: the model", remedy),
        ocp.StandardCheckpointer(multiprocessing_options=me) as checkpointer,
    ):
        storage.look_through(place)
        # As NumPy: a model trained on one kind of device loads on any other.
        item = checkpointer.metadata(place).item_metadata
        if item is None:
            raise ValueError("its arrays are not there")
        target = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), item.tree)
        arrays = checkpointer.restore(place, target)
        storage.check_sums(kept, arrays)
    with reading(path, remedy):
        _check_about(about, len(arrays["centroids"]))
    return SavedModel(arrays, about)


def _check_format(path: str, written: int) -> None:
    """Refuses what a later version has written."""
    if written > FORMAT:
        raise InputError(
            path,
            expected=f"a model of format {FORMAT} or earlier",
            found=f"one of format {written}, which a later version of dgc_jax has written",
            remedy="update dgc_jax",
        )


def _check_about(about: Mapping[str, Any], clusters: int) -> None:
    """Sees that the numbers of a model go together; `clusters` are the trained ones."""
    leaves = about.get("leaves", about["lookup"])
    finest = len(about["live"]) if "leaves" in about else max(leaves, default=0)
    for name, ids, most in (("lookup", about["lookup"], finest), ("leaves", leaves, finest)):
        if len(ids) != clusters or not all(1 <= each <= min(most, 255) for each in ids):
            raise ValueError(f"its {name} are not an id for each of {clusters} clusters")
    live = about["live"]
    if not live or not all(0 <= each < clusters for each in live):
        raise ValueError("its live are not some of its clusters")
    if len(about["tree"]) != len(live) - 1 or any(len(row) != 4 for row in about["tree"]):
        raise ValueError("its tree does not join its clusters")
    if about["tree"]:
        hierarchy.is_valid_linkage(np.array(about["tree"], np.float64), throw=True, name="tree")
    if len(about["names"]) != finest:
        raise ValueError(f"its names are not one for each of {finest} clusters")
    colours = about["colours"]
    fine = len(colours) == finest + 1 and all(len(colour) == 3 for colour in colours)
    if not fine or not all(0 <= part <= 255 for colour in colours for part in colour):
        raise ValueError(f"its colours are not one for each of {finest} clusters")
