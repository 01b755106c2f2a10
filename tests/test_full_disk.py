"""A disk that is full ends a command in a sentence, harms nothing, and the rerun completes it.

The limit of the operating system on the size of a file stands for the disk: writing beyond it
fails in every library as writing to a full disk does.
"""

import contextlib
import errno
import os
import pathlib
import resource
import signal
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest
import rich.console
from conftest import TinyRun, dgc
from tensorboardX.proto import event_pb2

from dgc_jax import errors, storage
from dgc_jax.apply.saved_model import load_model
from dgc_jax.commands.experiment import run
from dgc_jax.commands.report import report
from dgc_jax.commands.segment import segment
from dgc_jax.errors import InputError, StorageError
from dgc_jax.files import replacing
from dgc_jax.train import checkpoint
from dgc_jax.train.log import Log

QUIET = rich.console.Console(quiet=True)


@contextlib.contextmanager
def full(limit: int) -> Iterator[None]:
    """No file may have more than so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def events(folder: pathlib.Path) -> set[tuple[str, int]]:
    """Tags and steps in TensorBoard's files, by their format: length, checksum, event, checksum."""
    found = set()
    for path in (folder / "tensorboard").iterdir():
        data, place = path.read_bytes(), 0
        while place + 12 <= len(data):
            (length,) = struct.unpack("<Q", data[place : place + 8])
            event = event_pb2.Event.FromString(data[place + 12 : place + 12 + length])
            place += 16 + length
            found |= {(value.tag, event.step) for value in event.summary.value}
    return found


@pytest.mark.parametrize("limit", [20_000, 60_000])
def test_training_on_a_full_disk_keeps_its_last_checkpoint_and_ends_with_the_same_bits_later(
    tiny_run: TinyRun, tmp_path: pathlib.Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    workdir, real = tmp_path / "run", checkpoint.Checkpoints.save

    def save(self, state, progress, **options) -> None:
        if int(state.step) < 6:
            real(self, state, progress, **options)
            self._manager.wait_until_finished()
        else:
            with full(limit):
                real(self, state, progress, **options)
                self._manager.wait_until_finished()

    monkeypatch.setattr(checkpoint.Checkpoints, "save", save)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - Orbax's own, of its thread
        run(tiny_run.config(), str(workdir), QUIET)
    sentence, status = errors.told(raised.value) or ("", None)
    assert status == 1
    assert "the disk is full (File too large): make room" in sentence
    assert "\n" not in sentence
    monkeypatch.undo()
    assert [p.name for p in (workdir / "checkpoints").iterdir() if p.name.isdigit()] == ["3"]
    run(tiny_run.config(), str(workdir), QUIET)
    assert not list((workdir / "checkpoints").glob("*tmp*"))
    sums = [load_model(str(w)) for w in (workdir, tiny_run.workdir)]
    assert storage.checksums(sums[0].arrays) == storage.checksums(sums[1].arrays)
    for one in (tiny_run.workdir / "maps").glob("*.img"):
        assert (workdir / "maps" / one.name).read_bytes() == one.read_bytes()


def test_segment_and_report_on_a_full_disk_end_in_a_sentence_and_complete_later(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out"
    segment(str(tiny_run.workdir), [tiny_run.scenes], str(tmp_path / "before"))  # compiles
    command = ["segment", str(tiny_run.workdir), tiny_run.scenes, "--out", str(out)]
    with full(2000):
        done = dgc(*command)
    assert done.exit_code == 1, done.output
    assert "cannot be written, because the disk is full (File too large): make room" in done.output
    assert not list(out.glob(".*tmp"))
    with full(20_000), pytest.raises(StorageError, match=r"\.png cannot be written"):
        segment(str(tiny_run.workdir), [tiny_run.scenes], str(out), console=QUIET)
    assert not any(segment(str(tiny_run.workdir), [tiny_run.scenes], str(out)).values())
    for one in (tiny_run.workdir / "maps").glob("*.img"):
        assert (out / one.name).read_bytes() == one.read_bytes()
    path = tmp_path / "report.html"
    with full(20_000), pytest.raises(StorageError, match=r"report\.html cannot be written"):
        report(str(tiny_run.workdir), out=str(path), console=QUIET)
    assert not path.exists()


def test_the_log_fails_at_once_and_does_not_wait(tmp_path: pathlib.Path) -> None:
    log = Log(str(tmp_path), 0)

    def write() -> None:
        for step in range(1000):
            log.write(step, {f"n{i}": 1.0 for i in range(12)})

    with full(4000), pytest.raises(StorageError, match=r"metrics\.jsonl cannot be written"):
        write()
    log.close()


def test_nothing_that_was_logged_is_lost_by_a_kill(tmp_path: pathlib.Path) -> None:
    program = textwrap.dedent(
        """
        import os, signal, sys
        import numpy as np
        from dgc_jax.train.log import Log
        log = Log(sys.argv[1], 0)
        for step in range(6):
            picture = {"probe": np.zeros((40, 40, 3), np.uint8)} if step % 5 == 0 else None
            log.write(step, {"loss": 1.0}, picture)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=100)
    assert done.returncode == -signal.SIGKILL
    want = {("loss", step) for step in range(6)} | {("probe", 0), ("probe", 5)}
    assert events(tmp_path) == want
    log = Log(str(tmp_path), 3)  # a resumed run drops what its checkpoint has not seen
    assert log.last == {"step": 3, "loss": 1.0}
    log.write(4, {"loss": 2.0})
    log.close()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 5


def test_a_full_disk_is_known_however_it_is_told() -> None:
    def raised(error: Exception, cause: Exception | None = None) -> Exception:
        try:
            raise error from cause
        except Exception as caught:
            return caught

    no_space = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/d/x")
    for error in (
        no_space,
        raised(ValueError("cannot save"), no_space),
        ValueError(
            'RESOURCE_EXHAUSTED: Failed writing: "x" [OS error 28: No space left on device]'
        ),
        RuntimeError("HDF5: errno = 122, Disk quota exceeded"),
        OSError("2304 requested and 2000 written"),  # NumPy's
    ):
        sentence, status = errors.told(error) or ("", 0)
        assert status == 1
        assert "the disk is full" in sentence
    assert errors.told(no_space)[0].startswith("/d/x: the disk is full (No space left")
    assert errors.told(OSError(errno.EACCES, "Permission denied")) is None
    assert errors.told(ValueError("ours")) is None
    assert errors.told(InputError("bad")) == ("bad", 2)


def test_refusals_to_write_and_full_disks_have_their_own_status(
    tmp_path: pathlib.Path,
) -> None:
    def write(path: pathlib.Path) -> None:
        with replacing(path) as name:
            pathlib.Path(name).write_bytes(bytes(5000))

    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose an output folder that can be"):
        write(tmp_path / "file" / "x")
    with full(1000), pytest.raises(StorageError, match="make room and give the same command"):
        write(tmp_path / "x")
    assert os.listdir(tmp_path) == ["file"]
