"""What training tells while it runs: `metrics.jsonl`, TensorBoard, and lines or a bar on screen."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

import numpy as np
import rich.console
import rich.progress
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from dgc_jax import documents, processes
from dgc_jax.errors import InputError, reason, unwritten
from dgc_jax.files import whole


@contextlib.contextmanager
def progress_bar(console: rich.console.Console, steps: int) -> Iterator[Any]:
    """Yields `advance(step, metrics)`: a bar on a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        shown = -1

        def line(step: int, metrics: dict[str, float]) -> None:
            nonlocal shown
            if metrics and metrics["step"] == step > shown:
                shown = step
                console.print(f"step {step}/{steps}  {_summary(metrics)}", highlight=False)

        yield line
        return
    columns = (
        rich.progress.TextColumn("training"),
        rich.progress.BarColumn(bar_width=16),  # leaves room for the numbers in 80 columns
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
        rich.progress.TextColumn("{task.fields[summary]}"),
    )
    with rich.progress.Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=steps, summary="")

        def bar(step: int, metrics: dict[str, float]) -> None:
            progress.update(task, completed=step, summary=_summary(metrics))

        yield bar


def _summary(metrics: dict[str, float]) -> str:
    shown = {
        "loss": "loss",
        "monitor/nmi": "NMI",
        "monitor/active_clusters": "active clusters",
    }
    return "  ".join(f"{text} {metrics[n]:.4g}" for n, text in shown.items() if n in metrics)


class Log:
    """`metrics.jsonl` and TensorBoard; a resumed run drops what its checkpoint has not seen.

    Only the first process writes; the others remember the numbers that they would have written.
    """

    def __init__(self, workdir: str, first: int):
        path = self._path = os.path.join(workdir, "metrics.jsonl")
        kept = [entry for entry in history(workdir) if entry["step"] <= first] if first else []
        self._seen = {name: value for entry in kept for name, value in entry.items()}
        self._file: TextIO | None = None
        if processes.first():
            with self._writing():
                with whole(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
                    file.writelines(json.dumps(entry) + "\n" for entry in kept)
                self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115  (closed by close)
                board = os.path.join(workdir, "tensorboard")
                os.makedirs(board, exist_ok=True)
                # Not its SummaryWriter, whose thread writes two minutes late, and dies in silence.
                self._board = EventsWriter(os.path.join(board, "events"), f".{os.getpid()}")
                purge = first + 1 if first else 0
                self._board.write_event(
                    Event(step=purge, session_log=SessionLog(status=SessionLog.START))
                )
        self._before = self._seen.get("seconds", 0.0)
        self._start = time.perf_counter()
        self.last = kept[-1] if kept else {}

    def seconds(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return self._before + time.perf_counter() - self._start

    def latest(self, name: str) -> float | None:
        """The number last written under that name; None if the file that told it is gone."""
        return self._seen.get(name)

    def write(
        self, step: int, numbers: dict[str, float], pictures: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, float]:
        """Writes the numbers of one step, and returns them with the step.

        All of it is with the operating system then, and outlives this process.

        Args:
            step: steps taken.
            numbers: by name.
            pictures: `[row, column, 3]` uint8 by name, for TensorBoard alone.

        Raises:
            StorageError: the disk is full.
        """
        entry = {"step": step} | numbers
        if self._file is not None:
            with self._writing():
                self._file.write(json.dumps(entry) + "\n")
                self._file.flush()
                for name, value in numbers.items():
                    self._show(step, summary.scalar(name, value))
                for name, picture in (pictures or {}).items():
                    self._show(step, summary.image(name, picture, dataformats="HWC"))
                self._board.flush()
        self._seen |= entry
        self.last = entry
        return entry

    def close(self) -> None:
        """Ends the files."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # all was written, or it has been told that not
                self._file.close()
            with contextlib.suppress(OSError):
                self._board.close()

    def _show(self, step: int, what: Summary) -> None:
        self._board.write_event(Event(step=step, wall_time=time.time(), summary=what))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unwritten(self._path, error) from error


def history(workdir: str) -> list[dict[str, float]]:
    """The lines of a run's `metrics.jsonl`; none if there is no such file.

    Raises:
        InputError: a line but the last, which a kill may have cut short, is something else.
    """
    path = os.path.join(workdir, "metrics.jsonl")
    try:
        with open(path, "rb") as file:
            lines = file.read(documents.LARGEST).splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(
            path, found=f"cannot be read ({reason(error)})", remedy="delete it"
        ) from error
    found = []
    for number, line in enumerate(lines, 1):
        try:
            entry = documents.parse(
                line, dict[str, float], f"{path}, line {number}", "numbers by name", "delete it"
            )
            if "step" not in entry:
                raise InputError(
                    f"{path}, line {number}", expected="a step", found="none", remedy="delete it"
                )
            found.append(entry)
        except InputError:
            if number < len(lines):
                raise
    return found
