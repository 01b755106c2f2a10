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
import tensorboardX

from dgc_jax import processes


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
        path = os.path.join(workdir, "metrics.jsonl")
        kept: list[dict[str, float]] = []
        if first and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                kept = [entry for entry in map(_parsed, file) if entry and entry["step"] <= first]
        self._seen = {name: value for entry in kept for name, value in entry.items()}
        self._file: TextIO | None = None
        if processes.first():
            with open(f"{path}.tmp", "w", encoding="utf-8") as file:
                file.writelines(json.dumps(entry) + "\n" for entry in kept)
            os.replace(f"{path}.tmp", path)
            self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115  (closed by close)
            self._board = tensorboardX.SummaryWriter(
                os.path.join(workdir, "tensorboard"), purge_step=first + 1 if first else 0
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

        Args:
            step: steps taken.
            numbers: by name.
            pictures: `[row, column, 3]` uint8 by name, for TensorBoard alone.
        """
        entry = {"step": step} | numbers
        if self._file is not None:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step)
            for name, picture in (pictures or {}).items():
                self._board.add_image(name, picture, step, dataformats="HWC")
        self._seen |= entry
        self.last = entry
        return entry

    def close(self) -> None:
        """Ends the files."""
        if self._file is not None:
            self._file.close()
            self._board.close()


def _parsed(line: str) -> dict[str, float] | None:
    """One line of `metrics.jsonl`; None if a kill cut it short."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "step" in entry else None


def history(workdir: str) -> list[dict[str, float]]:
    """The lines of a run's `metrics.jsonl`; none if there is no such file."""
    try:
        with open(os.path.join(workdir, "metrics.jsonl"), encoding="utf-8") as file:
            return [entry for entry in map(_parsed, file) if entry]
    except FileNotFoundError:
        return []
