"""Kills commands at random moments, repeats them, and compares with what an undisturbed one made.

    python -m tests.kill --kills 50 [--seed 0] [--commands "train;segment;..."]

Each case starts a command in a new folder, waits until its first file is there, kills it and all
its processes (SIGKILL; or one of two, and the other must then end by itself) after a share of the
time that the rest takes, drawn from [0, 1], and gives the same command again. What that leaves must
be equal, byte for byte but for times, and hold no temporary file. A table of the cases is printed;
exit status 1 if any failed.
"""

import argparse
import contextlib
import functools
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
SMALL = [
    f"--set={setting}"
    for setting in (
        "train.steps=6",
        "train.checkpoint_every=2",
        "clusters.sample=8",
        "clusters.train=12",
    )
]
COMMANDS = {
    "train": ["train", "{scenes}", "--preset=dgc2:tiny", "--out={out}", *SMALL],
    "segment": ["segment", "{run}", "{scenes}", "--out={out}", "--confidence", "--format=envi,png"],
    "report": ["report", "{run}", "--out={out}/report.html"],
    "prepare": ["prepare", "{scenes}", "--out={out}"],
    "merge": ["merge", "{run}", "--clusters=3", "--out={out}/view.json"],
    "stability": ["stability", "dgc2:tiny", "--set=data.scenes={scenes}", "--seeds=2",
                  "--workdir={out}", *SMALL],
}  # fmt: skip
"""The arguments of `dgc`, with the folders of scenes, of a finished run and of the output."""
for _name in ("train", "segment"):
    COMMANDS[f"{_name}, 2 processes"] = COMMANDS[_name]
    COMMANDS[f"{_name}, one of 2 processes"] = COMMANDS[_name]

_NOTICED = 90  # seconds in which a process must have noticed that another one is dead
_TIMES = re.compile(
    rb'"(seconds|data_wait|modified|made|since)": ?("[^"]*"|[-+.e\d]+)'
    rb'|"(report\.html|summary\.json)": (\d+|"\w+")'  # their sizes and checksums, in manifests
)
_UNFINISHED = re.compile(r"\.tmp$|\.dgc-|\.part$|\.unfinished$|orbax-checkpoint-tmp|\.damaged$")


class Case(NamedTuple):
    """One kill.

    Attributes:
        command: name of the command.
        share: of the time after its first file at which it was killed, 0..1.
        wrong: what was not as it should be; "" if nothing.
    """

    command: str
    share: float
    wrong: str


def scene(path: pathlib.Path, seed: int) -> None:
    """Writes two materials and noise, 24 x 24 pixels of 16 bands, as ENVI."""
    rng = np.random.default_rng(seed)
    wavelengths, rise = np.linspace(420, 960, 16), np.linspace(0, 1, 16)
    two = np.stack([0.05 + 0 * rise, 0.1 + 0.5 * (rise > 0.5)])
    labels = np.repeat(np.arange(24)[:, None] < 6 + 10 * seed, 24, axis=1).astype(int)
    numbers = two[labels] + rng.normal(0, 0.005, (24, 24, 16))
    numbers.astype("<f4").tofile(path.with_suffix(".raw"))
    path.with_suffix(".hdr").write_text(
        "ENVI\nsamples = 24\nlines = 24\nbands = 16\ndata type = 4\ninterleave = bip\n"
        "byte order = 0\nwavelength units = nm\n"
        f"wavelength = {{{', '.join(map(str, wavelengths))}}}\n"
    )


def arguments(name: str, base: pathlib.Path, out: pathlib.Path) -> list[str]:
    """The command of a name, on the scenes and the run of `base`."""
    places = {"scenes": base / "scenes", "run": base / "run", "out": out}
    words = [sys.executable, "-m", "dgc_jax", *(word.format(**places) for word in COMMANDS[name])]
    if not name.endswith("2 processes"):
        return words
    words += [f"--coordinator=localhost:{_port()}", "--num-processes=2"]
    both = [shlex.join([*words, f"--process-id={number}"]) for number in (1, 0)]
    return ["sh", "-c", f"{both[0]} & {both[1]}; status=$?; wait; exit $status"]


@functools.cache
def _port() -> int:
    """A free port, the same in all commands: a run keeps the command that made it."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def start(command: Sequence[str], base: pathlib.Path) -> subprocess.Popen[bytes]:
    variables = dict(os.environ) | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(base / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(ROOT),
    }
    with open(base / "log", "ab") as log:
        return subprocess.Popen(
            command, cwd=base, env=variables, stdout=log, stderr=log, start_new_session=True
        )


def complete(command: Sequence[str], base: pathlib.Path) -> None:
    process = start(command, base)
    if process.wait():
        raise RuntimeError(f"{command[-1]} ended with status {process.returncode}: {_last(base)}")


def _last(base: pathlib.Path) -> str:
    return (base / "log").read_bytes().decode(errors="replace").strip().rpartition("\n")[2]


@contextlib.contextmanager
def prepared() -> Iterator[pathlib.Path]:
    """A folder with two scenes and a finished run on them."""
    with tempfile.TemporaryDirectory(prefix="dgc-kill-") as name:
        base = pathlib.Path(name)
        (base / "scenes").mkdir()
        scene(base / "scenes/x", 0)
        scene(base / "scenes/y", 1)
        complete(arguments("train", base, base / "run"), base)
        yield base


def reference(name: str, base: pathlib.Path) -> tuple[dict[str, bytes], float]:
    """What the command makes undisturbed, and its seconds from the first file to the end."""
    out = base / f"{name}-out"
    command = arguments(name, base, out)
    for _ in range(2):  # the first compiles
        shutil.rmtree(out, ignore_errors=True)
        process = start(command, base)
        began = _wait_for_a_file(out, process)
        if process.wait():
            raise RuntimeError(f"{name} ended with status {process.returncode}: {_last(base)}")
        seconds = time.monotonic() - began
    return content(out), seconds


def kill(
    name: str, base: pathlib.Path, expected: tuple[dict[str, bytes], float], share: float
) -> Case:
    """Kills the command once, repeats it, and compares."""
    out = base / f"{name}-out"
    shutil.rmtree(out, ignore_errors=True)
    command = arguments(name, base, out)
    process = start(command, base)
    began = _wait_for_a_file(out, process)
    time.sleep(max(0.0, began + share * expected[1] - time.monotonic()))
    if "one of" in name:
        second = f"^{re.escape(sys.executable)} .* --process-id=1$"
        subprocess.run(["pkill", "-KILL", "-g", str(process.pid), "-f", second], check=False)
        try:
            process.wait(_NOTICED)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return Case(name, share, f"the other process was still at work after {_NOTICED} s")
    else:
        with contextlib.suppress(ProcessLookupError):  # it was faster this time
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    try:
        complete(command, base)
    except RuntimeError as error:
        return Case(name, share, str(error))
    return Case(name, share, compared(expected[0], content(out)))


def _wait_for_a_file(out: pathlib.Path, process: subprocess.Popen[bytes]) -> float:
    while process.poll() is None and not (out.is_dir() and any(out.iterdir())):
        time.sleep(0.002)
    return time.monotonic()


def content(out: pathlib.Path) -> dict[str, bytes]:
    """The files of a folder without times; of a run's arrays their checksums alone."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if not path.is_file() or "tensorboard" in name or path.name == ".lock":
            continue
        if re.search(r"checkpoints/\d+/|/arrays/", name):  # named and packed at random
            continue
        found[name] = _TIMES.sub(b"", path.read_bytes())
    return found


def compared(expected: dict[str, bytes], found: dict[str, bytes]) -> str:
    """In what a folder differs from another, in words; "" if in nothing."""
    left = [name for name in found if _UNFINISHED.search(name)]
    names = sorted(expected.keys() | found.keys())
    differ = [name for name in names if expected.get(name) != found.get(name)]
    return "; ".join(
        f"{what}: {', '.join(of[:5])}" for what, of in (("left", left), ("differ", differ)) if of
    )


def main() -> int:
    """Runs the cases; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill")
    parser.add_argument("--kills", type=int, default=50, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default=";".join(COMMANDS), help="with semicolons between")
    parser.add_argument("--json", help="file to write the cases to")
    asked = parser.parse_args()
    cases: list[Case] = []
    print("| command | kills | seconds from first file to end | wrong |\n|---|---|---|---|")
    with prepared() as base:
        for number, name in enumerate(asked.commands.split(";")):
            rng = np.random.default_rng([asked.seed, number])
            expected = reference(name, base)
            mine = [kill(name, base, expected, share) for share in rng.random(asked.kills)]
            wrong = [case for case in mine if case.wrong]
            print(f"| {name} | {len(mine)} | {expected[1]:.1f} | {len(wrong)} |", flush=True)
            for case in wrong:
                print(f"{name}, killed at {case.share:.3f}: {case.wrong}", file=sys.stderr)
            cases += mine
    if asked.json:
        pathlib.Path(asked.json).write_text(json.dumps([case._asdict() for case in cases]))
    return int(any(case.wrong for case in cases))


if __name__ == "__main__":
    sys.exit(main())
