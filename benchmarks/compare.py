"""Two revisions of this project measured in turn: ratios of their numbers, with their spread.

    python -m benchmarks.performance --compare REV [--only train_step,segment] [--turns 3]

The benchmarks of either revision are run by its own code, one after the other, so that other load
of the machine meets both. A ratio is REV's number by that of the files here: above 1, REV took
more.
"""

import contextlib
import pathlib
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks import bench

ROOT = pathlib.Path(__file__).parents[1]

Numbers = dict[tuple[str, ...], float]
"""Numbers of a table by the words of their rows and the name of their column."""


def compare(revision: str, scripts: list[str], turns: int, small: bool) -> list[dict[str, Any]]:
    """Rows of the table: of each number the median of its ratios, the least and the greatest.

    Args:
        revision: whatever Git takes for one.
        scripts: names of benchmarks that both revisions have.
        turns: how often each is run.
        small: whether their inputs are tiny.
    """
    rows = []
    with checkout(revision) as other:
        for script in scripts:
            pairs = [
                (
                    numbers(bench.table_of(script, other, small)),
                    numbers(bench.table_of(script, ROOT, small)),
                )
                for _ in range(turns)
            ]
            for key in pairs[0][1]:
                ratios = [old[key] / new[key] for old, new in pairs if new.get(key) and key in old]
                if ratios:
                    rows.append(
                        {
                            "benchmark": script,
                            "number": ", ".join(key),
                            f"{revision} / here": statistics.median(ratios),
                            "least": min(ratios),
                            "greatest": max(ratios),
                        }
                    )
    return rows


@contextlib.contextmanager
def checkout(revision: str) -> Iterator[pathlib.Path]:
    """The files of a revision, in a folder that is removed afterwards."""
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "revision")
        subprocess.run([*git, "add", "--quiet", "--detach", str(path), revision], check=True)
        try:
            yield path
        finally:
            subprocess.run([*git, "remove", "--force", str(path)], check=True)


def numbers(result: dict[str, Any]) -> Numbers:
    """The numbers of a table; of rows without words of their own by their place."""
    found: Numbers = {}
    for place, row in enumerate(result["rows"]):
        words = tuple(value for value in row.values() if isinstance(value, str))
        for column, value in row.items():
            if isinstance(value, int | float):
                key = (*(words or (str(place),)), column)
                found[(str(place), *key) if key in found else key] = float(value)
    return found
