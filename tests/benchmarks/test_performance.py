"""The page of the benchmarks of speed: what was measured, and no more."""

import contextlib
import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks import bench, compare, performance


def measured(device: str, tables: dict[str, object]) -> dict[str, object]:
    return {
        "device": device,
        "date": "2026-01-02",
        "machine": "4 cores",
        "versions": {"jax": "1.2"},
        "tables": tables,
    }


def test_a_table_has_every_column_and_a_dash_where_nothing_was_measured() -> None:
    rows = [{"part": "read", "ms": 1.23456}, {"part": "write", "MiB": 7}]
    text = performance.table({"title": "Parts", "rows": rows, "notes": ["on a Monday"]})
    assert text.splitlines() == [
        "### Parts",
        "",
        "| part | ms | MiB |",
        "| --- | --- | --- |",
        "| read | 1.235 | - |",
        "| write | - | 7 |",
        "",
        "- on a Monday",
    ]


def test_the_page_has_a_section_for_each_device_in_the_order_of_the_benchmarks() -> None:
    table = {"title": "Second", "rows": [], "notes": []}
    page = performance.page(
        [
            measured("CPU", {"train_step": table, "mean_shift": table | {"title": "First"}}),
            measured("GPU", {}),
        ]
    )
    places = [page.index(text) for text in ("## CPU", "### First", "### Second", "## GPU")]
    assert places == sorted(places)


def test_a_benchmark_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 3)
    monkeypatch.setattr(performance.subprocess, "run", lambda *_, **__: failed)
    assert performance.measure("reader", small=True) == {
        "title": "reader",
        "rows": [],
        "notes": ["failed (3)"],
    }


def test_results_of_other_machines_and_of_other_benchmarks_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    old = {"title": "Reading", "rows": [], "notes": ["earlier"]}
    (tmp_path / "gpu.json").write_text(json.dumps(measured("GPU", {"reader": old})))
    (tmp_path / "cpu.json").write_text(json.dumps(measured("CPU", {"reader": old})))
    here = {**measured("CPU", {}), "file": "cpu.json"}
    del here["tables"]
    new = {"title": "Steps", "rows": [{"ms": 2}], "notes": []}
    monkeypatch.setattr(performance, "device", lambda: dict(here))
    monkeypatch.setattr(performance, "measure", lambda script, small: new)
    page = tmp_path / "page.md"
    command = ["performance.py", "--only", "train_step", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*command, "--page", str(page)])
    performance.main()
    saved = json.loads((tmp_path / "cpu.json").read_text())
    assert saved["tables"] == {"reader": old, "train_step": new}
    assert page.read_text().count("### Reading") == 2
    assert page.read_text().count("### Steps") == 1


def test_numbers_of_two_tables_meet_by_the_words_of_their_rows() -> None:
    rows = [{"part": "read", "ms": 2.0, "MiB": None}, {"part": "write", "ms": 3}, {"ms": 5.0}]
    found = compare.numbers({"rows": rows})
    assert found == {("read", "ms"): 2.0, ("write", "ms"): 3.0, ("2", "ms"): 5.0}


def test_ratios_are_of_the_revision_by_the_files_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    took = {tmp_path: iter([2.0, 6.0, 4.0]), compare.ROOT: iter([1.0, 2.0, 4.0])}
    monkeypatch.setattr(compare, "checkout", lambda revision: contextlib.nullcontext(tmp_path))
    monkeypatch.setattr(
        bench, "table_of", lambda _, tree, *__: {"rows": [{"part": "step", "ms": next(took[tree])}]}
    )
    assert compare.compare("abc", ["train_step"], turns=3, small=True) == [
        {
            "benchmark": "train_step",
            "number": "step, ms",
            "abc / here": 2.0,
            "least": 1.0,
            "greatest": 3.0,
        }
    ]


def test_a_revision_is_measured_by_its_own_code_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    def git(*arguments: str) -> None:
        named = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *named, *arguments], check=True)

    git("init", "--quiet")
    (tmp_path / "benchmarks").mkdir()
    script = tmp_path / "benchmarks" / "one.py"
    for number in (1, 2):
        script.write_text(
            "import json, sys\n"
            f"json.dump({{'rows': [{{'n': {number}}}]}}, open(sys.argv[2], 'w'))\n"
        )
        git("add", "-A")
        git("commit", "--quiet", "-m", str(number))
    monkeypatch.setattr(compare, "ROOT", tmp_path)
    with compare.checkout("HEAD~1") as tree:
        assert bench.table_of("one", tree, small=False)["rows"] == [{"n": 1}]
        assert bench.table_of("one", tmp_path, small=False)["rows"] == [{"n": 2}]
    assert not tree.exists()
    told = subprocess.run(
        ["git", "-C", str(tmp_path), "worktree", "list"], capture_output=True, text=True, check=True
    )
    assert len(told.stdout.splitlines()) == 1
