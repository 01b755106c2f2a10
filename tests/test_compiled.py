"""Compiled programs kept for the next run: where, how many, and when not."""

import os
import pathlib
import sys
import zlib

import pytest

from dgc_jax import compiled
from dgc_jax.errors import InputError

THEIRS = (
    "JAX_COMPILATION_CACHE_DIR",
    "JAX_ENABLE_COMPILATION_CACHE",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
)


@pytest.fixture(autouse=True)
def fresh(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not imported JAX, whose variables are as they were afterwards."""
    for name in (*THEIRS, "DGC_COMPILED"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("DGC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delitem(sys.modules, "jax", raising=False)


def entry(folder: pathlib.Path, name: str, size: int, used: float) -> pathlib.Path:
    """A whole entry of about so many bytes, last used then."""
    path = folder / f"{name}-cache"
    path.write_bytes(zlib.compress(os.urandom(size)))
    os.utime(path, (used, used))
    return path


def test_jax_is_told_of_a_folder_of_the_user_alone(tmp_path: pathlib.Path) -> None:
    compiled.keep()
    folder = tmp_path / "cache" / "compiled"
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(folder)
    assert float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]) == 0
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("size", ["0", "off", "No"])
def test_it_can_be_switched_off(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DGC_COMPILED", size)
    compiled.keep()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


@pytest.mark.parametrize(("name", "value"), [(THEIRS[0], "/mine"), (THEIRS[1], "false")])
def test_variables_of_jax_hold(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    compiled.keep()
    assert os.environ[name] == value
    assert os.environ.get(THEIRS[0]) == (value if name == THEIRS[0] else None)


@pytest.mark.parametrize("size", ["-1", "many", "nan", "1e12"])
def test_impossible_sizes_are_refused(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DGC_COMPILED", size)
    with pytest.raises(InputError, match=r"^DGC_COMPILED: expected how many MB"):
        compiled.keep()


def test_a_folder_that_cannot_be_made_is_told_and_does_no_harm(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DGC_CACHE", str(tmp_path / "file"))
    compiled.keep()
    assert "note: programs are compiled anew in every run" in capsys.readouterr().err
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


def test_what_was_not_used_for_longest_goes_beyond_the_bound(tmp_path: pathlib.Path) -> None:
    entries = [entry(tmp_path, f"e{number}", 1000, 100.0 * number) for number in (3, 1, 4, 2)]
    size = entries[0].stat().st_size
    compiled.tidy(str(tmp_path), 2 * size + 100)
    assert sorted(path.name for path in tmp_path.glob("e*")) == ["e3-cache", "e4-cache"]


def test_entries_that_were_cut_short_are_removed(tmp_path: pathlib.Path) -> None:
    whole, short, empty = (entry(tmp_path, name, 1000, 1e9) for name in ("a", "b", "c"))
    short.write_bytes(short.read_bytes()[:500])
    empty.write_bytes(b"")
    compiled.tidy(str(tmp_path), 10**9)
    assert whole.exists()
    assert not short.exists()
    assert not empty.exists()
