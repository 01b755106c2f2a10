"""Checkpoints of a run on disk: what a resumed run needs.

    workdir/checkpoints/<step>/            state, progress of the monitor
    workdir/checkpoints/<step>.damaged/    one that cannot be read; nothing reads it
    workdir/checkpoints/model/             the finished model, see `dgc_jax.apply.saved_model`

Orbax writes to a temporary folder and renames it, so that a killed run leaves whole checkpoints
only.
"""

import logging
import os
import shutil
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from dgc_jax import documents, processes, storage
from dgc_jax.errors import InputError, reason
from dgc_jax.names import utf8_path
from dgc_jax.train import options
from dgc_jax.train.monitor import Progress
from dgc_jax.train.state import TrainState

_LOG = logging.getLogger("dgc_jax")

_OF_MODEL = ("params", "centroids", "normalisation")
_KEPT = 2  # latest checkpoints; the best one is kept besides


class Checkpoints:
    """The checkpoints of one run: saved in the background, the latest two and the best kept.

    Each holds the configuration that it belongs to and a digest of every array. One that is
    damaged is told, and set aside as `<step>.damaged`.
    """

    def __init__(self, workdir: str, config: Mapping[str, Any]):
        """Opens the folder, made if missing; `config` is that of the run, as JSON values."""
        storage.quieten()
        self._folder = os.path.join(utf8_path(os.path.abspath(workdir)), "checkpoints")
        self._workdir, self._config = workdir, config
        if processes.first():
            for step in _steps(self._folder):
                if not _looks_whole(os.path.join(self._folder, str(step))):
                    self._set_aside(step)
        processes.wait()
        with storage.writing(self._folder):
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
        with storage.writing(self._folder):
            self._manager.save(
                int(state.step),
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(arrays),
                    progress=ocp.args.StandardSave(
                        {"labels": progress.labels, "settled": np.array(progress.settled, np.int32)}
                    ),
                ),
                metrics={"soft_information": soft_information},
                custom_metadata={"config": self._config, "checksums": storage.checksums(arrays)},
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
            self._manager.directory,
            expected="checkpoints of this version of dgc_jax",
            found=f"step {step} with other or damaged arrays ({reason(first)})",
            remedy="name another workdir, or delete that folder to begin anew",
        ) from first

    def _restore(
        self, step: int, state: TrainState, progress: Progress
    ) -> tuple[TrainState, Progress]:
        """One checkpoint."""
        about = self._manager.metadata(step).custom_metadata or {}
        if "config" in about and (told := options.difference(self._config, about["config"])):
            raise _OtherConfiguration(
                f"workdir={self._workdir}",
                expected="checkpoints of this configuration",
                found=f"step {step} of one that differs in {told}",
                remedy="name another workdir or delete that one",
            )
        for item in ("state", "progress"):
            storage.look_through(os.path.join(self._folder, str(step), item))
        wanted = {"labels": progress.labels, "settled": np.array(0, np.int32)}
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(jax.tree.map(_shape, _arrays(state))),
                progress=ocp.args.StandardRestore(wanted),
            ),
        )
        storage.check_sums(about.get("checksums"), restored["state"])
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
        with storage.writing(self._folder):
            try:
                self._manager.wait_until_finished()
            finally:
                self._manager.close()


class _OtherConfiguration(InputError):
    """Checkpoints of a run that was configured in another way."""


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
