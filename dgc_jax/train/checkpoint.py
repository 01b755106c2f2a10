"""Checkpoints and the finished model on disk; the only module that knows Orbax.

    workdir/checkpoints/<step>/     state, progress of the monitor: what a resumed run needs
    workdir/checkpoints/model/      the finished model: what applying it needs, config included

Orbax writes to a temporary folder and renames it, so that a killed run leaves whole checkpoints
only.
"""

import json
import logging
import os
import shutil
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from dgc_jax.errors import InputError
from dgc_jax.names import utf8_path
from dgc_jax.train.monitor import Progress
from dgc_jax.train.state import TrainState

_MODEL = "model"
_OF_MODEL = ("params", "centroids", "normalisation")
_KEPT = 2  # latest checkpoints; the best one is kept besides


class Checkpoints:
    """The checkpoints of one run: saved in the background, the latest two and the best kept."""

    def __init__(self, workdir: str):
        # Orbax reports every save on the root logger of absl; a run has its own progress.
        logging.getLogger("absl").setLevel(logging.WARNING)
        self._manager = ocp.CheckpointManager(
            os.path.join(utf8_path(os.path.abspath(workdir)), "checkpoints"),
            options=ocp.CheckpointManagerOptions(
                best_fn=_rank,  # without it the metrics are not written, and lost on a resume
                preservation_policy=AnyPreservationPolicy(
                    [LatestN(_KEPT), BestN(get_metric_fn=_rank, n=1)]
                ),
            ),
        )

    def save(self, state: TrainState, progress: Progress, *, soft_information: float) -> None:
        """Saves after the current step; `soft_information` ranks the checkpoints."""
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(_arrays(state)),
                progress=ocp.args.StandardSave(
                    {"labels": progress.labels, "settled": np.array(progress.settled, np.int32)}
                ),
            ),
            metrics={"soft_information": soft_information},
        )

    def latest(self) -> int | None:
        """Number of the latest whole checkpoint, or None."""
        return self._manager.latest_step()

    def restore(self, state: TrainState, progress: Progress) -> tuple[TrainState, Progress]:
        """The latest checkpoint, in the shapes and shardings of the given state.

        Raises:
            InputError: if the checkpoint is that of another version of the model.
        """
        step = self._manager.latest_step()
        wanted = {"labels": progress.labels, "settled": np.array(0, np.int32)}
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(jax.tree.map(_shape, _arrays(state))),
                    progress=ocp.args.StandardRestore(wanted),
                ),
            )
        except ValueError as error:
            reason = str(error).strip().splitlines()[0].rstrip(".:")
            raise InputError(
                f"{self._manager.directory}: expected checkpoints of this version of dgc_jax, "
                f"found step {step} with other arrays ({reason}); name another workdir."
            ) from error
        seen = restored["progress"]
        arrays = restored["state"]
        model = state.model.replace(**{name: arrays.pop(name) for name in _OF_MODEL})
        return (
            state.replace(model=model, **arrays),
            Progress(np.asarray(seen["labels"]), int(seen["settled"])),
        )

    def close(self) -> None:
        """Waits for saves under way."""
        self._manager.wait_until_finished()
        self._manager.close()


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
    folder = os.path.join(workdir, "checkpoints")
    return os.path.isdir(folder) and any(name.isdigit() for name in os.listdir(folder))


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
    """Writes the finished model, in place of an earlier one; one process of a job does it."""
    folder = model_path(workdir)
    temporary = f"{folder}.unfinished"
    shutil.rmtree(temporary, ignore_errors=True)
    with ocp.StandardCheckpointer(multiprocessing_options=_alone()) as checkpointer:
        # As NumPy: Orbax takes an array on a device for a part that other processes complete.
        arrays = jax.tree.map(np.asarray, model.arrays)
        checkpointer.save(os.path.join(temporary, "arrays"), arrays)
    with open(os.path.join(temporary, "about.json"), "w", encoding="utf-8") as file:
        json.dump(model.about, file, indent=1)
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(temporary, folder)


def load_model(workdir: str) -> Model:
    """Reads the finished model of a run.

    Raises:
        InputError: if the folder holds no finished run.
    """
    folder = model_path(workdir)
    if not os.path.isfile(os.path.join(folder, "about.json")):
        started = os.path.isfile(os.path.join(workdir, "config.json"))
        found = "a run that has not finished" if started else "none"
        todo = (
            "repeat its command to complete it"
            if started
            else "name the workdir that launch.py printed"
        )
        raise InputError(
            f"{workdir}: expected the workdir of a finished run, found {found}; {todo}."
        )
    with open(os.path.join(folder, "about.json"), encoding="utf-8") as file:
        about = json.load(file)
    with ocp.StandardCheckpointer(multiprocessing_options=_alone()) as checkpointer:
        # As NumPy: a model trained on one kind of device loads on any other.
        target = jax.tree.map(
            lambda leaf: np.zeros(leaf.shape, leaf.dtype),
            checkpointer.metadata(os.path.join(folder, "arrays")).item_metadata.tree,
        )
        arrays = checkpointer.restore(os.path.join(folder, "arrays"), target)
    return Model(arrays, about)
