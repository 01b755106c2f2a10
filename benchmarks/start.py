"""How long a command takes from Enter to its first line, and where its time goes; first and again.

    python -m benchmarks.start [--json FILE] [--small]

`dgc train` on the simulated leaves and `dgc segment` of one scene, each twice: with an empty folder
of compiled programs, and with the one that the first call has filled. A phase lasts from its line
to the next one's. The first call is the baseline of the second.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks import bench

ROOT = pathlib.Path(__file__).parents[1]

PHASES = (
    "looking at", "reading", "starting", "compiling", "step", "comparing", "describing", "saving",
    "segmenting", "writing spectra", "writing the report", "loading",
)  # fmt: skip


def timed(command: list[str], cache: str) -> dict[str, float]:
    """Seconds of each phase of a command, of its first line and of all of it; CPU seconds."""
    environment = os.environ | {"DGC_CACHE": cache, "PYTHONUNBUFFERED": "1"}
    began, before = time.perf_counter(), os.times()
    found: dict[str, float] = {}
    phase, since = "", began
    with subprocess.Popen(
        [sys.executable, "-m", "dgc_jax", *command],
        stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            now = time.perf_counter()
            found.setdefault("first line", now - began)
            new = next((name for name in PHASES if line.startswith(name)), phase)
            if new != phase:
                found[phase] = found.get(phase, 0.0) + now - since
                phase, since = new, now
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    end, after = time.perf_counter(), os.times()
    found[phase] = found.get(phase, 0.0) + end - since
    found.pop("", None)
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return found | {"all": end - began, "all, CPU": cpu}


def measure(small: bool) -> dict[str, Any]:
    """The table of both commands."""
    preset = "tiny" if small else "dgc4"
    size = "80" if small else "256"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        cache = os.path.join(folder, "cache")
        leaves = ["--set", "data.leaves.scenes=1", "--set", f"data.leaves.size={size}"]
        given = ["train", "--preset", "tiny", *leaves, "--out", os.path.join(folder, "one")]
        timed(given, cache)  # writes the scene that is segmented, and a model
        timed(["train", "--preset", preset, "--set", "train.steps=0", "--out",
               os.path.join(folder, "none")], cache)  # simulates the leaves  # fmt: skip
        (scene,) = [
            str(path)
            for path in pathlib.Path(cache).glob("leaves-*/leaf_00.zarr")
            if len(list(path.parent.glob("*.zarr"))) == 1
        ]
        for what, command in (
            (f"training ({preset})", ["train", "--preset", preset, "--out"]),
            (
                f"segmenting ({size} x {size})",
                ["segment", os.path.join(folder, "one"), scene, "--out"],
            ),
        ):
            compiled = pathlib.Path(cache, "compiled")
            if compiled.exists():
                compiled.rename(f"{compiled}-{len(rows)}")
            first, again = (
                timed([*command, os.path.join(folder, re.sub(r"\W", "", what) + turn)], cache)
                for turn in ("1", "2")
            )
            for name, seconds in first.items():
                row = {"command": what, "phase": name, "first, s": seconds, "again, s": again[name]}
                rows.append(row | {"first / again": seconds / max(again[name], 1e-3)})
    notes = [
        "standard output is a pipe; on a terminal the same phases have spinners and bars",
        '"first" is with an empty folder of compiled programs, "again" with that of the first',
    ]
    return {"title": "Start", "rows": rows, "notes": notes}


if __name__ == "__main__":
    bench.main(__doc__, measure)
