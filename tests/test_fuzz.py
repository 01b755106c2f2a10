"""Damaged files of every kind are read or refused; the long run is `python -m tests.fuzz`."""

import pathlib
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, TinyRun

from dgc_jax.errors import InputError

sys.path.insert(0, str(ROOT))  # the package is run from the clone

from tests.fuzz import __main__ as fuzz
from tests.fuzz import kinds, worker


def test_a_few_of_every_kind(tiny_run: TinyRun, tmp_path: pathlib.Path) -> None:
    every = list(kinds.KINDS) + list(kinds.of_run(tiny_run.workdir))
    wanted = fuzz.cases(every, 6 * len(every), 0)
    assert list(fuzz.failures(wanted, str(tiny_run.workdir), str(tmp_path))) == []


def test_every_kind_is_read_as_it_is_made(tiny_run: TinyRun, tmp_path: pathlib.Path) -> None:
    for name, kind in (kinds.KINDS | kinds.of_run(tiny_run.workdir)).items():
        folder = tmp_path / name
        folder.mkdir()
        kind.read(kind.make(folder))


def outcome(read: object, tmp_path: pathlib.Path) -> str:
    folder = tmp_path / str(time.monotonic_ns())
    folder.mkdir()
    kind = kinds.Kind(lambda place: kinds.KINDS["npy"].make(place), read)  # type: ignore[arg-type]
    return worker._one(kind, ("npy", 0), folder)


def raising(error: Exception) -> object:
    def read(_: pathlib.Path) -> None:
        raise error

    return read


def test_what_is_no_refusal_is_found(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "SECONDS", 0.3)
    before = worker.signal.signal(worker.signal.SIGALRM, worker._too_long)
    try:
        assert outcome(lambda path: None, tmp_path) == ""
        assert outcome(raising(InputError("x: expected a, found b; do c.")), tmp_path) == ""
        assert "KeyError: 'x'" in outcome(raising(KeyError("x")), tmp_path)
        assert outcome(lambda path: time.sleep(5), tmp_path) == "more than 0.3 s"
        assert "MemoryError" in outcome(lambda path: np.ones(worker.BYTES // 4), tmp_path)
    finally:
        worker.signal.signal(worker.signal.SIGALRM, before)


def test_cases_are_the_same_in_every_run(tmp_path: pathlib.Path) -> None:
    made = []
    for turn in ("a", "b"):
        folder = tmp_path / turn
        folder.mkdir()
        worker._one(kinds.Kind(kinds.KINDS["envi"].make, lambda path: None), ("envi", 5), folder)
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert made[0] == made[1]
    plain = tmp_path / "plain"
    plain.mkdir()
    kinds.KINDS["envi"].make(plain)
    assert {path.name: path.read_bytes() for path in plain.iterdir()} != made[0]
