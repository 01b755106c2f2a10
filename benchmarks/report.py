"""How large the report is, and how soon a browser shows it, against an empty page.

    python -m benchmarks.report [--json FILE] [--small]

A run of `configs/dgc16.py` on twelve simulated scenes, and its report opened by Chromium, five
times, until the page says that everything is drawn. Needs Playwright and a Chromium.
"""

import pathlib
import shutil
import statistics
import tempfile
import time
from typing import Any

import rich.console
from playwright.sync_api import sync_playwright

from benchmarks import bench
from configs import dgc16
from dgc_jax.commands.experiment import run
from dgc_jax.commands.report import report as write_report

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
_EMPTY = "<!doctype html><html data-ready><title>empty</title></html>"
_ROUNDS = 5


def trained(folder: str, small: bool) -> str:
    """A finished run on twelve scenes, or a short one on three small ones."""
    config = dgc16.get_config("tiny" if small else "")
    if not small:
        config.data.leaves.scenes = 12
    run(config, folder)
    return folder


def seconds_to_open(paths: list[pathlib.Path], chromium: str) -> list[float]:
    """Seconds from asking for each page until it is drawn; medians of several times, in turn."""
    times: list[list[float]] = [[] for _ in paths]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for turn in range(_ROUNDS + 1):
            for path, each in zip(paths, times, strict=True):
                page = browser.new_page()
                start = time.perf_counter()
                page.goto(path.as_uri())
                page.wait_for_selector("html[data-ready]", state="attached")
                if turn:  # the first warms the browser up
                    each.append(time.perf_counter() - start)
                page.close()
        browser.close()
    return [statistics.median(each) for each in times]


def measure(workdir: str) -> dict[str, Any]:
    """The table of a run's report."""
    notes = ["a run of 16 clusters; medians of five times; the empty page is the baseline"]
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder:
        report, empty = pathlib.Path(folder, "report.html"), pathlib.Path(folder, "empty.html")
        start = time.perf_counter()
        quiet = rich.console.Console(quiet=True)
        write_report(workdir, out=str(report), console=quiet)
        written = time.perf_counter() - start
        empty.write_text(_EMPTY, encoding="utf-8")
        megabytes = lambda path: path.stat().st_size / 1e6  # noqa: E731
        rows: list[dict[str, Any]] = [
            {"what": "segment and write the report", "MB": megabytes(report), "s": written}
        ]
        if chromium is None:
            return {"title": "Report", "rows": rows, "notes": [*notes, "no Chromium was found"]}
        pages = {"open an empty page": empty, "open the report": report}
        took = seconds_to_open(list(pages.values()), chromium)
        for (name, path), seconds in zip(pages.items(), took, strict=True):
            row = {"what": name, "MB": megabytes(path), "s": seconds}
            rows.append(row | {"x empty page": seconds / took[0]})
    return {"title": "Report", "rows": rows, "notes": notes}


def measure_run(small: bool) -> dict[str, Any]:
    """The table of a run that is made for it."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(trained(str(pathlib.Path(folder, "run")), small))


if __name__ == "__main__":
    bench.main(__doc__, measure_run)
