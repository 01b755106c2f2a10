"""What the benchmarks share: arguments, timing, what they print and write, calls that run alone."""

import argparse
import concurrent.futures
import datetime
import json
import multiprocessing
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import rich.console

from dgc_jax.files import replacing


def main(doc: str, measure: Callable[[bool], dict[str, Any]]) -> None:
    """Measures, prints, and writes what was asked for.

    Args:
        doc: docstring of the benchmark's module.
        measure: gives the table, `title`, `rows` and `notes`; told whether the input is tiny.
    """
    args = parser(doc).parse_args()
    tell(measure(args.small), args.json)


def parser(doc: str) -> argparse.ArgumentParser:
    """The arguments that every benchmark takes, for one whose module docstring is given."""
    found = argparse.ArgumentParser(description=doc.split("\n", 1)[0])
    found.add_argument("--json", help="file for the results")
    found.add_argument("--small", action="store_true", help="a test of it, with a tiny input")
    return found


def tell(result: dict[str, Any], path: str | None) -> None:
    """Prints the rows and notes of a benchmark, and writes it as JSON if a path is given."""
    console = rich.console.Console()
    rows = ("  ".join(f"{name} {cell(v)}" for name, v in row.items()) for row in result["rows"])
    for line in (*rows, *result["notes"]):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if path:
        write(path, json.dumps(result, indent=1))


def cell(value: Any) -> str:
    """A value of a table as it is shown; None was not measured."""
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def write(path: str | os.PathLike[str], text: str) -> None:
    """Writes a whole file."""
    with replacing(path) as temporary:
        pathlib.Path(temporary).write_text(text, encoding="utf-8")


def here(*packages: str) -> dict[str, Any]:
    """What results are told with: the date, the machine, versions of Python and of packages."""
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "versions": {"Python": platform.python_version()} | {p: version(p) for p in packages},
    }


def in_turn(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, tuple[float, float]]:
    """Median wall and CPU seconds of each call; they take turns, so that other load meets all.

    The first turn, which compiles and fills caches, does not count.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            took = time.perf_counter() - wall, time.process_time() - cpu
            if turn:
                found[name].append(took)
    median = statistics.median
    return {
        name: (median(wall for wall, _ in each), median(cpu for _, cpu in each))
        for name, each in found.items()
    }


def table_of(script: str, tree: pathlib.Path, small: bool) -> dict[str, Any]:
    """The table of a benchmark of some files, run by their own code in a process of its own.

    Args:
        script: name of the benchmark.
        tree: folder of the files, of this revision or another one.
        small: whether its input is tiny.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    package = (tree / "benchmarks" / "__init__.py").exists()  # else they were single scripts
    named = ["-m", f"benchmarks.{script}"] if package else [f"benchmarks/{script}.py"]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "result.json")
        done = subprocess.run(
            [sys.executable, *named, "--json", str(path), *["--small"] * small],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": str(tree)},
            check=False,
        )
        done.check_returncode()
        return json.loads(path.read_text(encoding="utf-8"))


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def configuration(small: bool) -> Any:
    """The default configuration, for four clusters of the simulated scenes."""
    from configs import default  # only here: not every benchmark has one

    config = default.get_config()
    config.clusters.final = 4
    if small:
        config.data.leaves.update(scenes=2, size=48)
        config.data.update(crop=32, batch=2, sample=4)
        config.clusters.train = 6
        config.centroids.pixels = 500
    return config
