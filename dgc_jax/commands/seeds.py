"""Several seeds of one configuration, trained in turn or at once.

    folder/seed-<n>/      an ordinary run each
    folder/seed-<n>.log   what it said, if several were trained at once

A run that is finished is not trained again, and one that was interrupted goes on.
"""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import rich.console

from dgc_jax import compiled, configuration, heap
from dgc_jax.commands.experiment import run
from dgc_jax.errors import InputError, LostError, end, on_a_device, unwritten
from dgc_jax.names import show_all


def run_folder(folder: str, seed: int) -> str:
    """The workdir of a seed's run."""
    return os.path.join(folder, f"seed-{seed}")


def train_in_turn(
    path: str,
    fields: Sequence[str],
    folder: str,
    seeds: Sequence[int],
    console: rich.console.Console,
) -> None:
    """Trains one seed after the other, in this process.

    Args:
        path: preset, workdir or configuration file, see `dgc_jax.configuration.read`.
        fields: settings such as `--config.train.steps=10`.
        folder: where the runs are.
        seeds: to train.
        console: where progress and results are shown.

    Raises:
        InputError: if the configuration, the scenes or a workdir cannot be used.
        DivergedError: if a loss is not finite.
    """
    config = configuration.read(path, fields)
    for index, seed in enumerate(seeds, 1):
        console.rule(f"seed {seed} ({index} of {len(seeds)})", align="left")
        run(dataclasses.replace(config, seed=seed), run_folder(folder, seed), console)


class _Child(NamedTuple):
    seed: int
    process: subprocess.Popen[bytes]
    log: str
    begun: float


def train_at_once(
    path: str,
    fields: Sequence[str],
    folder: str,
    seeds: Sequence[int],
    at_once: int,
    console: rich.console.Console,
) -> None:
    """Trains several seeds at a time, each by a process of its own.

    Where there are several NVIDIA devices, each process gets one. The first process that fails
    ends the others, whose runs the same command goes on with. Arguments as `train_in_turn`.

    Args:
        path: preset, workdir or configuration file.
        fields: settings.
        folder: where the runs are.
        seeds: to train.
        at_once: how many processes there are at a time.
        console: where it is told which seeds are begun and done.

    Raises:
        InputError: if a process found something that cannot be used.
        LostError: if a process failed in another way.
    """
    waiting, running = list(seeds), dict[int, _Child]()
    environments = [environment(slot, at_once, devices()) for slot in range(at_once)]
    try:
        while waiting or running:
            for slot in range(at_once):
                if waiting and slot not in running:
                    child = _start(path, fields, folder, waiting.pop(0), environments[slot])
                    running[slot] = child
                    console.print(
                        f"seed {child.seed}: begun, see {child.log}", markup=False, soft_wrap=True
                    )
            time.sleep(0.05)
            for slot, child in list(running.items()):
                if child.process.poll() is not None:
                    del running[slot]
                    child.process.communicate()  # closes the pipe
                    _check_end(child)
                    seconds = time.monotonic() - child.begun
                    console.print(f"seed {child.seed}: done after {seconds:.0f} s")
    finally:
        for child in running.values():
            child.process.terminate()
        for child in running.values():
            child.process.communicate()


def environment(slot: int, at_once: int, found: Sequence[str]) -> dict[str, str]:
    """The environment of the process in a slot.

    Args:
        slot: number of the process among those at work, from 0.
        at_once: how many there are at a time.
        found: names of the NVIDIA devices, see `devices`; none: nothing is changed.
    """
    variables = dict(os.environ)
    if found:
        variables["CUDA_VISIBLE_DEVICES"] = found[slot % len(found)]
        if at_once > len(found):  # else the first process takes most of a device's memory
            variables.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    return variables


def devices() -> list[str]:
    """The NVIDIA devices that may be used, found without JAX, which would take their memory."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [word.strip() for word in given.split(",") if word.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    found = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number in range(len(found))]


def _start(
    path: str, fields: Sequence[str], folder: str, seed: int, variables: Mapping[str, str]
) -> _Child:
    workdir = run_folder(folder, seed)
    log = f"{workdir}.log"
    command = [sys.executable, "-m", "dgc_jax.commands.seeds", path, workdir, *fields]
    command.append(f"--config.seed={seed}")
    try:
        os.makedirs(folder, exist_ok=True)
        with open(log, "wb") as file:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=file, stderr=file, env=variables
            )
    except OSError as error:
        raise unwritten(log, error) from error
    return _Child(seed, process, log, time.monotonic())


def _check_end(child: _Child) -> None:
    """Passes on what a process that failed has said."""
    status = child.process.returncode
    if status == 0:
        return
    with open(child.log, encoding="utf-8", errors="replace") as file:
        told = [line.removeprefix("dgc: ").strip() for line in file if line.startswith("dgc: ")]
    if status == 2 and told:
        # The sentence is passed on as it is; that it was bad input is known by the status.
        raise InputError(f"seed {child.seed}", found=told[-1])
    why = told[-1] if told else f"its process ended with status {status}; see {child.log}."
    raise LostError(f"seed {child.seed}: {why}")


def main(arguments: Sequence[str]) -> int:
    """Trains one seed in a process of its own: PATH WORKDIR FIELDS...; returns the exit status.

    Standard input is a pipe that nothing is written to.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    threading.Thread(target=_end_with_parent, daemon=True).start()
    show_all()
    path, workdir, *fields = arguments
    try:
        compiled.keep()
        heap.keep()
        with on_a_device():
            run(configuration.read(path, fields), workdir)
    except Exception as error:
        status = end("dgc", error, {"workdir": "--workdir"})  # of `dgc stability`
        if status is None:
            raise
        return status
    return 0


def _end_with_parent() -> None:
    """Ends this process when its parent has gone, however that ended: the pipe then closes."""
    os.read(0, 1)  # sys.stdin has a lock, which would not let this process end
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
