"""Checkpoints and the finished model on disk; the only module that knows Orbax.

    workdir/checkpoints/<step>/     state, progress of the monitor: what a resumed run needs
    workdir/checkpoints/<step>.damaged/    one that cannot be read; nothing reads it
    workdir/checkpoints/model/      the finished model: what applying it needs, config included

Orbax writes to a temporary folder and renames it, so that a killed run leaves whole checkpoints
only.
"""

import contextlib
import functools
import json
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, NotRequired, TypedDict

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from dgc_jax import documents, manifest, processes
from dgc_jax.errors import InputError, StorageError, find_full, reading, reason, unwritten
from dgc_jax.names import utf8_path
from dgc_jax.train import options
from dgc_jax.train.monitor import Progress
from dgc_jax.train.state import TrainState

_LOG = logging.getLogger("dgc_jax")

_MODEL, _ABOUT = "model", "about.json"
_OF_MODEL = ("params", "centroids", "normalisation")
_KEPT = 2  # latest checkpoints; the best one is kept besides


class Checkpoints:
    """The checkpoints of one run: saved in the background, the latest two and the best kept.

    Each holds the configuration that it belongs to and a digest of every array. One that is
    damaged is told, and set aside as `<step>.damaged`.
    """

    def __init__(self, workdir: str, config: Mapping[str, Any]):
        """Opens the folder, made if missing; `config` is that of the run, as JSON values."""
        _quieten()
        self._folder = os.path.join(utf8_path(os.path.abspath(workdir)), "checkpoints")
        self._workdir, self._config = workdir, config
        if processes.first():
            for step in _steps(self._folder):
                if not _looks_whole(os.path.join(self._folder, str(step))):
                    self._set_aside(step)
        processes.wait()
        with _writing(self._folder):
            self._manager = ocp.CheckpointManager(
                self._folder,
                options=ocp.CheckpointManagerOptions(
                    best_fn=_rank,  # without it the metrics are not written, and lost on a resume
                    preservation_policy=AnyPreservationPolicy(
                        [LatestN(_KEPT), BestN(get_metric_fn=_rank, n=1)]
                    ),
                    cleanup_tmp_directories=True,  # what killed runs have left
                ),
            )

    def save(self, state: TrainState, progress: Progress, *, soft_information: float) -> None:
        """Saves after the current step; `soft_information` ranks the checkpoints.

        Raises:
            StorageError: the disk is full; the checkpoints before stand.
        """
        arrays = _arrays(state)
        with _writing(self._folder):
            self._manager.save(
                int(state.step),
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(arrays),
                    progress=ocp.args.StandardSave(
                        {"labels": progress.labels, "settled": np.array(progress.settled, np.int32)}
                    ),
                ),
                metrics={"soft_information": soft_information},
                custom_metadata={"config": self._config, "checksums": checksums(arrays)},
            )

    def latest(self) -> int | None:
        """Number of the latest checkpoint, or None."""
        return self._manager.latest_step()

    def restore(self, state: TrainState, progress: Progress) -> tuple[TrainState, Progress]:
        """The latest whole checkpoint, in the shapes and shardings of the given state.

        Raises:
            InputError: if none is whole, or they are of another version of the model or of another
                configuration.
        """
        failed: dict[int, Exception] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            found = None
            try:
                found = self._restore(step, state, progress)
            except _OtherConfiguration:
                raise
            except Exception as error:  # Orbax raises whatever the damage happened to trigger
                failed[step] = error
            if processes.summed(np.array(found is None, np.int64)):
                failed.setdefault(step, ValueError("another process cannot read it"))
            elif found is not None:
                if processes.first():
                    for damaged in failed:
                        self._set_aside(damaged, reason(failed[damaged]))
                processes.wait()
                self._manager.reload()
                return found
        step, first = next(iter(failed.items()))
        raise InputError(
            f"{self._manager.directory}: expected checkpoints of this version of dgc_jax, found "
            f"step {step} with other or damaged arrays ({reason(first)}); name another workdir, or "
            "delete that folder to begin anew."
        ) from first

    def _restore(
        self, step: int, state: TrainState, progress: Progress
    ) -> tuple[TrainState, Progress]:
        """One checkpoint."""
        about = self._manager.metadata(step).custom_metadata or {}
        if "config" in about and (told := options.difference(self._config, about["config"])):
            raise _OtherConfiguration(
                f"--workdir={self._workdir}: expected checkpoints of this configuration, found "
                f"step {step} of one that differs in {told}; name another workdir or delete that "
                "one."
            )
        for item in ("state", "progress"):
            _look_through(os.path.join(self._folder, str(step), item))
        wanted = {"labels": progress.labels, "settled": np.array(0, np.int32)}
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(jax.tree.map(_shape, _arrays(state))),
                progress=ocp.args.StandardRestore(wanted),
            ),
        )
        _check_sums(about.get("checksums"), restored["state"])
        seen = restored["progress"]
        arrays = restored["state"]
        model = state.model.replace(**{name: arrays.pop(name) for name in _OF_MODEL})
        return (
            state.replace(model=model, **arrays),
            Progress(np.asarray(seen["labels"]), int(seen["settled"])),
        )

    def _set_aside(self, step: int, why: str = "it is not whole") -> None:
        place = os.path.join(self._folder, str(step))
        shutil.rmtree(f"{place}.damaged", ignore_errors=True)
        os.rename(place, f"{place}.damaged")
        _LOG.warning(
            "%s: the checkpoint of step %d is damaged (%s), and set aside as %d.damaged; the one "
            "before it is taken.", self._folder, step, why, step,
        )  # fmt: skip

    def close(self) -> None:
        """Waits for saves under way.

        Raises:
            StorageError: the disk is full; the checkpoints before stand.
        """
        with _writing(self._folder):
            try:
                self._manager.wait_until_finished()
            finally:
                self._manager.close()


@functools.cache
def _quieten() -> None:
    """Keeps off the screen what Orbax says of every save, and what else fails beside a failure."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited")
    before = sys.unraisablehook

    def tell(what: Any) -> None:
        if str(what.exc_value) != "Event loop is closed":  # TensorStore, of writes given up
            before(what)

    sys.unraisablehook = tell


class _OtherConfiguration(InputError):
    """Checkpoints of a run that was configured in another way."""


@contextlib.contextmanager
def _writing(folder: str) -> Iterator[None]:
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


def _steps(folder: str) -> list[int]:
    """Steps of the checkpoints in a folder, whole or not."""
    if not os.path.isdir(folder):
        return []
    return sorted(int(name) for name in os.listdir(folder) if name.isdigit() and name.isascii())


def _looks_whole(checkpoint: str) -> bool:
    """Whether what Orbax reads of every checkpoint before it restores one is there."""
    for name in ("_CHECKPOINT_METADATA", "metrics/metrics"):
        try:
            documents.read(os.path.join(checkpoint, name), dict[str, Any], "numbers", "")
        except (InputError, FileNotFoundError):
            return False
    return all(os.path.isdir(os.path.join(checkpoint, name)) for name in ("state", "progress"))


def checksums(arrays: Any) -> dict[str, str]:
    """A fingerprint (SHA-256) of every array of a tree, by its path in the tree."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): manifest.digest(_plain(leaf))
        for path, leaf in jax.tree_util.tree_leaves_with_path(arrays)
    }


def _check_sums(expected: Mapping[str, str] | None, arrays: Any) -> None:
    """Refuses arrays that are not those that were saved; earlier versions kept no checksums."""
    if expected is None:
        return
    found = checksums(arrays)
    differ = [name for name in expected if found.get(name) != expected[name]]
    if differ or len(found) != len(expected):
        raise ValueError(f"its array {(differ or list(found))[0]} is not what was saved")


def _look_through(place: str) -> None:
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


def _rank(metrics: dict[str, float]) -> float:
    return metrics["soft_information"]


def _arrays(state: TrainState) -> dict[str, Any]:
    """Everything of the state that changes or was drawn, by name."""
    names = ("step", "opt_state", "key", "anchor", "light")
    return {name: getattr(state, name) for name in names} | {
        name: getattr(state.model, name) for name in _OF_MODEL
    }


def _shape(leaf: Any) -> Any:
    return ocp.utils.to_shape_dtype_struct(leaf)


def has_checkpoint(workdir: str) -> bool:
    """Whether a run has saved a state to go on from."""
    return bool(_steps(os.path.join(workdir, "checkpoints")))


class Model(NamedTuple):
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


def model_path(workdir: str) -> str:
    """Folder of a run's finished model."""
    return os.path.join(utf8_path(os.path.abspath(workdir)), "checkpoints", _MODEL)


def _alone() -> ocp.options.MultiprocessingOptions:
    """Spares Orbax waiting for the other processes of a job."""
    me = jax.process_index()
    return ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me})


def save_model(workdir: str, model: Model) -> None:
    """Writes the finished model, in place of an earlier one; one process of a job does it.

    Raises:
        StorageError: the disk is full.
    """
    folder = model_path(workdir)
    temporary = f"{folder}.unfinished"
    # As NumPy: Orbax takes an array on a device for a part that other processes complete.
    arrays = jax.tree.map(np.asarray, model.arrays)
    with _writing(os.path.dirname(folder)):
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        with ocp.StandardCheckpointer(multiprocessing_options=_alone()) as checkpointer:
            checkpointer.save(os.path.join(temporary, "arrays"), arrays)
        with open(os.path.join(temporary, _ABOUT), "w", encoding="utf-8") as file:
            json.dump(model.about | {"checksums": checksums(arrays)}, file, indent=1)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(temporary, folder)


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
    checksums: NotRequired[dict[str, str]]


def load_model(workdir: str) -> Model:
    """Reads the finished model of a run.

    Raises:
        InputError: if the folder holds no finished run, or its model is damaged.
    """
    folder = model_path(workdir)
    remedy = "copy the run again, or delete that folder and repeat the run's command"
    path = os.path.join(folder, _ABOUT)
    try:
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
            f"{workdir}: expected the workdir of a finished run, found {found}; {todo}."
        ) from None
    kept = about.pop("checksums", None)
    place, me = os.path.join(folder, "arrays"), _alone()  # which fails where there is no device
    _quieten()
    with (
        reading(f"{folder}: the model", remedy),
        ocp.StandardCheckpointer(multiprocessing_options=me) as checkpointer,
    ):
        _look_through(place)
        # As NumPy: a model trained on one kind of device loads on any other.
        item = checkpointer.metadata(place).item_metadata
        if item is None:
            raise ValueError("its arrays are not there")
        target = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), item.tree)
        arrays = checkpointer.restore(place, target)
        _check_sums(kept, arrays)
    with reading(path, remedy):
        _check_about(about, len(arrays["centroids"]))
    return Model(arrays, about)


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
    if len(about["names"]) != finest:
        raise ValueError(f"its names are not one for each of {finest} clusters")
    colours = about["colours"]
    fine = len(colours) == finest + 1 and all(len(colour) == 3 for colour in colours)
    if not fine or not all(0 <= part <= 255 for colour in colours for part in colour):
        raise ValueError(f"its colours are not one for each of {finest} clusters")
