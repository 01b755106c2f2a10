"""One process at a time in a folder, whatever becomes of the process."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import pytest

from dgc_jax import InputError, manifest
from dgc_jax.lock import alone

HOLD = """
import sys, time
from dgc_jax.lock import alone
with alone(sys.argv[1], "out"):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(folder: pathlib.Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(folder)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_second_process_is_told_who_holds_a_folder_until_the_first_is_killed(
    tmp_path: pathlib.Path,
) -> None:
    folder = tmp_path / "w"
    with hold(folder) as holder:
        with pytest.raises(InputError) as told, alone(folder, "workdir"):
            raise AssertionError
        text = str(told.value)
        assert f"workdir={folder}: expected a folder in which no other process" in text
        assert f"process {holder.pid} on {socket.gethostname()}, since 20" in text
        assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]", text)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (folder / ".lock").exists()  # a name, which locks nothing
    with alone(folder, "workdir"):
        pass
    assert not os.listdir(folder)


def test_lock_is_free_again_after_an_error_and_is_one_within_a_process(
    tmp_path: pathlib.Path,
) -> None:
    with (
        pytest.raises(InputError, match=f"found process {os.getpid()} on"),
        alone(tmp_path, "out"),
        alone(tmp_path, "out"),
    ):
        raise AssertionError
    with alone(tmp_path, "out"):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(InputError, match="expected a folder that can be written"),
        alone(tmp_path / "file" / "w", "out"),
    ):
        pass


def test_manifest_takes_changes_of_many_processes_at_once(tmp_path: pathlib.Path) -> None:
    script = (
        "import sys; from dgc_jax import manifest\n"
        "for n in range(20): manifest.finish(sys.argv[1], 'maps', sys.argv[2] + str(n), {}, [])"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name]) for name in "ab"
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    names = {f"{name}{n}" for name in "ab" for n in range(20)}
    assert set(manifest.read(tmp_path)["maps"]) == names
    assert os.listdir(tmp_path) == ["manifest.json"]
