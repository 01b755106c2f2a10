"""The processes in which `dgc stability` trains its seeds."""

import os
import pathlib
import subprocess
import sys
import time

import pytest
from conftest import ROOT, TinyRun, dgc

from dgc_jax import InputError
from dgc_jax.commands import seeds
from dgc_jax.errors import DivergedError, LostError

# config_flags imports configuration files in a way that Python 3.11 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

CONFIG = str(ROOT / "configs" / "dgc4.py:tiny")


@pytest.mark.parametrize(
    ("said", "status", "kind", "told"),
    [
        ("dgc: the loss is nan", 1, LostError, "seed 7: the loss is nan"),
        ("Traceback", 1, LostError, "status 1; see .*log"),
        ("", -9, LostError, "status -9; see .*log"),
        ("dgc: no scene", 2, InputError, "seed 7: no scene"),
    ],
)
def test_end_of_a_process_is_passed_on(
    tmp_path: pathlib.Path, said: str, status: int, kind: type[Exception], told: str
) -> None:
    log = tmp_path / "seed-7.log"
    log.write_text(f"step 1\n{said}\n", encoding="utf-8")
    code = f"import os; os.kill(os.getpid(), {-status}) if {status} < 0 else exit({status})"
    process = subprocess.Popen([sys.executable, "-c", code])
    process.wait()
    with pytest.raises(kind, match=told):
        seeds._check_end(seeds._Child(7, process, str(log), 0.0))


def test_process_of_a_seed_ends_when_its_parent_has_gone(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    arguments = [CONFIG, str(tmp_path / "run"), *tiny_run.flags(train__steps=10**6)]
    child = subprocess.Popen(
        [sys.executable, "-m", "dgc_jax.commands.seeds", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 100
    while not (tmp_path / "run" / "config.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert child.poll() is None  # it would go on for hours
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(timeout=100) == 1


def test_diverged_seed_ends_the_command_with_its_words_and_status_1(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object) -> None:
        raise DivergedError("the loss of step 3 is nan.")

    monkeypatch.setattr(seeds, "run", diverge)
    done = dgc("stability", CONFIG, "--seeds", 2, "--workdir", tmp_path / "runs")
    assert done.exit_code == 1
    assert done.stderr == "dgc: the loss of step 3 is nan.\n"


def test_processes_get_devices_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE", raising=False)
    assert seeds.devices() == ["3", "5"]
    two = [seeds.environment(slot, 2, seeds.devices()) for slot in range(2)]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in two] == ["3", "5"]
    assert all("XLA_PYTHON_CLIENT_PREALLOCATE" not in each for each in two)
    third = seeds.environment(2, 3, seeds.devices())  # shares a device, and so its memory
    assert third["CUDA_VISIBLE_DEVICES"] == "3"
    assert third["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert seeds.environment(0, 2, []) == dict(os.environ)


def test_devices_are_those_that_nvidia_smi_lists(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert seeds.devices() == []
    listing = tmp_path / "nvidia-smi"
    listing.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho 'GPU 1: B (UUID: y)'\n")
    listing.chmod(0o755)
    assert seeds.devices() == ["0", "1"]
