"""What `dgc train`, `dgc resume` and `launch.py` have in common: a run with a workdir to go on in.

    workdir/config.json     the configuration, see `dgc_jax.train.loop`
    workdir/command.json    the command that asked for it, and the folder that it was given in

Ctrl-C ends a run in two lines that say how to go on; the last checkpoint stands.
"""

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from dgc_jax import configuration, documents, heap, lock, names
from dgc_jax.config import check
from dgc_jax.errors import on_a_device
from dgc_jax.files import replacing

_NOTE = "command.json"


class _Note(TypedDict):
    """What it holds."""

    command: str
    directory: str


INTERRUPTED = 130
"""Exit status after Ctrl-C, that of shells."""


def train(
    config: Any, workdir: str, command: Sequence[str], joining: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Trains, or goes on where an earlier run of the same command stopped.

    Args:
        config: whatever `dgc_jax.config.configure` takes.
        workdir: folder of the run; made if missing.
        command: the program and its arguments, to be kept in the workdir.
        joining: arguments of `dgc_jax.processes.joined`, where many processes train together.

    Returns:
        The content of `summary.json`.

    Raises:
        InputError: if the configuration, the scenes or the workdir cannot be used.
        DivergedError: if a loss is not finite.
        SystemExit: after Ctrl-C, with status `INTERRUPTED`.
    """
    heap.keep()
    with _telling_how_to_go_on(workdir):
        from dgc_jax import processes  # here, because JAX takes seconds to import
        from dgc_jax.commands import experiment
        from dgc_jax.train import loop

        with on_a_device(), processes.joined(**(joining or {})):
            checked = check(config)
            loop.claim(workdir, checked)  # before the note, which must not replace another run's
            with processes.agreeing(f"workdir={workdir}"):
                if processes.first():
                    with lock.alone(workdir, "workdir"):
                        _note(workdir, command)
            return experiment.run(checked, workdir)


def resume(workdir: str, joining: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Goes on with a run, in the folder that its command was given in.

    Args:
        workdir: folder of the run, of whatever program made it.
        joining: as in `train`.

    Returns:
        The content of `summary.json`.

    Raises:
        InputError: if the folder is no run's, or its scenes are not there any more.
        DivergedError: if a loss is not finite.
        SystemExit: after Ctrl-C, with status `INTERRUPTED`.
    """
    heap.keep()
    with _telling_how_to_go_on(workdir):
        config = configuration.of_workdir(workdir)
        told = _noted(workdir)
        from dgc_jax import processes  # here, because JAX takes seconds to import
        from dgc_jax.commands import experiment

        here, there = os.getcwd(), told.get("directory", os.getcwd())
        with on_a_device(), processes.joined(**(joining or {})), contextlib.ExitStack() as stack:
            if told and processes.first():
                print(f"Going on with: {told['command']}", flush=True)
            if not os.path.isdir(there):
                print(
                    f"note: {names.text(there)}, in which the command was given, is not there any "
                    "more; scenes are looked for from here.",
                    file=sys.stderr,
                )
            elif os.path.realpath(there) != os.path.realpath(here):
                stack.enter_context(contextlib.chdir(there))  # where paths of scenes start from
                workdir = os.path.join(here, workdir)
            return experiment.run(config, workdir)


@contextlib.contextmanager
def _telling_how_to_go_on(workdir: str) -> Iterator[None]:
    place = os.path.abspath(workdir)
    try:
        yield
    except KeyboardInterrupt:
        if os.path.exists(os.path.join(place, "config.json")):
            steps = [int(name) for name in _listed(os.path.join(place, "checkpoints"))]
            kept = f"the checkpoint of step {max(steps)} stands" if steps else "no checkpoint yet"
            lines = f"Interrupted: {kept}.", f"Go on with: dgc resume {shlex.quote(workdir)}"
        else:
            lines = "Interrupted before anything was written.", "Go on with the same command."
        print("", *map(names.text, lines), sep="\n", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def _listed(folder: str) -> list[str]:
    """The numbers in a folder of checkpoints."""
    return [name for name in os.listdir(folder) if name.isdigit()] if os.path.isdir(folder) else []


def _note(workdir: str, command: Sequence[str]) -> None:
    content = {
        "command": names.text(shlex.join(command)),
        "arguments": list(command),
        "directory": os.getcwd(),
    }
    path = os.path.join(workdir, _NOTE)
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)


def _noted(workdir: str) -> dict[str, Any]:
    """What `_note` wrote; nothing of runs that `dgc_jax.run` or earlier versions made."""
    path = os.path.join(workdir, _NOTE)
    try:
        return documents.read(path, _Note, "the command of a run", "delete it")
    except FileNotFoundError:
        return {}
