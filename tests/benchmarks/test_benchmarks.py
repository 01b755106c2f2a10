"""The benchmarks of speed run, on tiny inputs, and give a table."""

import json
import os
import pathlib
import shutil
from typing import Any

import pytest
from conftest import ROOT, TinyRun, python


def small(script: str, folder: pathlib.Path) -> dict[str, Any]:
    """The table of a benchmark, run in a process of its own with a cache of its own."""
    result = folder / "result.json"
    cache = {"DGC_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    done = python("-m", f"benchmarks.{script}", "--small", "--json", result, **cache)
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_whole_scenes_are_timed_and_their_memory_is_measured(tmp_path: pathlib.Path) -> None:
    table = small("segment", tmp_path)
    timed = [row for row in table["rows"] if "s" in row]
    assert [row["what"] for row in timed] == 2 * [
        "read the files once",
        "MiniBatchKMeans(4).predict",
        "segment",
    ]
    for row in timed:
        assert row["s"] > 0
        assert (row["x reading"] == 1) == (row["what"] == "read the files once")
    weighed = [row for row in table["rows"] if "RSS, MiB" in row]
    assert [row["what"] for row in weighed] == 2 * ["memory, 200 rows", "memory, 1600 rows"]
    assert all(0 < row["RSS, anonymous, MiB"] <= row["RSS, MiB"] for row in weighed)
    assert [path.name for path in (tmp_path / "cache").glob("tall*")] == []


@pytest.mark.slow
def test_readers_are_timed_against_memmap(tmp_path: pathlib.Path) -> None:
    table = small("reader", tmp_path)
    assert [row["reader"] for row in table["rows"]] == [
        "numpy.memmap",
        *3 * ["raw ENVI BIL"],
        *3 * ["prepared zarr3"],
    ]
    first, *others = table["rows"]
    assert first["warm, x memmap"] == 1
    for row in others:
        expected = row["warm, ms a crop"] / first["warm, ms a crop"]
        assert row["warm, x memmap"] == pytest.approx(expected, abs=0.01)


@pytest.mark.skipif(
    shutil.which("chromium") is None and "CI" not in os.environ, reason="no Chromium is installed"
)
@pytest.mark.slow
def test_the_report_is_weighed_and_opened(tiny_run: TinyRun) -> None:
    from benchmarks import report

    result = report.measure(str(tiny_run.workdir))
    written, empty, opened = result["rows"]
    assert written["MB"] == opened["MB"]
    size = (tiny_run.workdir / "report.html").stat().st_size / 1e6
    assert written["MB"] == pytest.approx(size, rel=0.02)
    assert empty["MB"] < 1e-4 < opened["MB"]
    assert 0 < empty["s"] < opened["s"]
    assert opened["x empty page"] > 1
