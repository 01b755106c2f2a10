"""All benchmarks of speed and memory, on whatever device is here; results and their page.

    python -m benchmarks.performance [--only train_step,reader] [--render]
    python -m benchmarks.performance --compare REV [--only train_step,reader] [--turns 3]

Each benchmark is a script of its own, run one after the other in a process of its own, and gives
one table: `title`, `rows` (column: value) and `notes`. Together they go to
`benchmarks/results/<device>.json`; `docs/performance.md` is made from all such files, so that
what was measured on one machine stands beside what was measured on another. With a revision to
compare with nothing is written: ratios are printed, see `compare`.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

from benchmarks import bench
from benchmarks.compare import compare

ROOT = pathlib.Path(__file__).parents[1]

SCRIPTS = (
    "start", "mean_shift", "train_step", "precision", "reader", "segment", "scaling", "report",
)  # fmt: skip
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"

_HEAD = """# Performance

Written by `python -m benchmarks.performance` from `benchmarks/results/`. Times are medians of
repeated runs of compiled programs; a ratio is to the baseline of the same process or run, and is
what carries over to other machines. Nothing here is estimated: a device without a section was not
measured.
"""


def device() -> dict[str, Any]:
    """What the benchmarks run on, found in a process of its own: this one stays without JAX."""
    ask = "import jax; d = jax.devices(); print(d[0].platform, len(d), d[0].device_kind, sep='|')"
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    kind, number, name = told.stdout.strip().splitlines()[-1].split("|")
    label = f"CPU, {os.cpu_count()} cores" if kind == "cpu" else f"{number} x {name}"
    file = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-") + ".json"
    packages = ("jax", "jaxlib", "numpy", "tensorstore")
    return {"device": label, "file": file} | bench.here(*packages)


def measure(script: str, small: bool) -> dict[str, Any]:
    """The table of one benchmark, run in a process of its own, or why there is none."""
    try:
        return bench.table_of(script, ROOT, small)
    except subprocess.CalledProcessError as error:
        return {"title": script, "rows": [], "notes": [f"failed ({error.returncode})"]}


def table(result: dict[str, Any]) -> str:
    """A benchmark as Markdown."""
    rows = result["rows"]
    lines = [f"### {result['title']}", ""]
    if rows:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        lines += [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
        cells = ([bench.cell(row.get(name)) for name in columns] for row in rows)
        lines += [f"| {' | '.join(each)} |" for each in cells] + [""]
    return "\n".join(lines + [f"- {note}" for note in result["notes"]] + [""])


def page(measured: list[dict[str, Any]]) -> str:
    """The whole page, a section for each device."""
    parts = [_HEAD]
    for each in measured:
        packages = ", ".join(f"{name} {number}" for name, number in each["versions"].items())
        parts.append(f"## {each['device']}\n")
        parts.append(f"{each['date']}; {each['machine']}; {packages}.\n")
        parts += [table(each["tables"][name]) for name in SCRIPTS if name in each["tables"]]
    return "\n".join(parts).rstrip() + "\n"


def main() -> None:
    """Measures what is asked for, and makes the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", default=",".join(SCRIPTS), help="benchmarks, with commas between")
    parser.add_argument("--render", action="store_true", help="only make the page")
    parser.add_argument("--small", action="store_true", help="a test of them")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS, help="folder")
    parser.add_argument("--page", type=pathlib.Path, default=PAGE)
    parser.add_argument("--compare", metavar="REV", help="measure in turn with this revision")
    parser.add_argument("--turns", type=int, default=3, help="of comparing")
    args = parser.parse_args()
    if unknown := set(args.only.split(",")) - set(SCRIPTS):
        parser.error(f"--only: expected {', '.join(SCRIPTS)}, found {', '.join(sorted(unknown))}")
    if args.compare:
        rows = compare(args.compare, args.only.split(","), args.turns, args.small)
        print(table({"title": f"{args.compare} / here", "rows": rows, "notes": []}))
        return
    if not args.render:
        here = device()
        path = args.results / here.pop("file")
        args.results.mkdir(parents=True, exist_ok=True)
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        tables = before.get("tables", {})
        for script in args.only.split(","):
            tables[script] = measure(script, args.small)
            bench.write(path, json.dumps(here | {"tables": tables}, indent=1) + "\n")
    paths = sorted(path for path in args.results.glob("*.json"))
    bench.write(args.page, page([json.loads(path.read_text("utf-8")) for path in paths]))
    print(args.page)


if __name__ == "__main__":
    main()
