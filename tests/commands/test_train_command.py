"""`dgc train` and `dgc resume`: the same runs as `launch.py` makes, without a clone."""

import json
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import TinyRun, dgc

from dgc_jax import presets
from dgc_jax.cli import main
from dgc_jax.commands import train as training
from dgc_jax.config import Config, configure

Seen = list[tuple[Config, str, list[str]]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Seen:
    """What is to be trained: configuration, workdir, command; nothing is."""
    found: Seen = []
    keep = lambda config, workdir, command, _=None: found.append((config, workdir, command))  # noqa: E731
    monkeypatch.setattr(training, "train", keep)
    monkeypatch.chdir(tmp_path)
    os.mkdir("field")
    return found


@pytest.mark.parametrize(
    ("words", "fields", "workdir"),
    [
        ([], {}, "runs/dgc4"),
        (["--preset", "paper:tiny"], presets.preset("paper:tiny"), "runs/paper-tiny"),
        (["field"], {"data.scenes": "field"}, "runs/field"),
        (["field/a.hdr"], {"data.scenes": "field/a.hdr"}, "runs/field"),
        (["x/field/*.hdr"], {"data.scenes": "x/field/*.hdr"}, "runs/field"),
        (["a.hdr", "b.hdr", "--out", "r"], {"data.scenes": ("a.hdr", "b.hdr")}, "r"),
        (["--clusters", 6, "--seed", 3], {"clusters.final": 6, "seed": 3}, "runs/dgc4"),
        (
            ["--set", "train.steps=7", "--set", "data.bands=((430,900),)", "--scale", "10000"],
            {"train.steps": 7, "data.bands": ((430, 900),), "data.scale": 10_000},
            "runs/dgc4",
        ),
        (["--white", "", "--mask", "{stem}_m.png"], {"data.white": "", "data.mask": "{stem}_m.png"},
         "runs/dgc4"),
        (
            ["--preset", "paper", "--clusters", 6],  # as many are trained as are shown
            configure(presets.preset("paper"), {"clusters": {"train": 6, "final": 6}}),
            "runs/paper",
        ),
    ],
)  # fmt: skip
def test_options_are_fields(seen: Seen, words: list[str], fields: Any, workdir: str) -> None:
    done = dgc("train", *words)
    assert done.exit_code == 0, done.output
    assert [(config, place) for config, place, _ in seen] == [(configure(fields), workdir)]
    assert seen[0][2] == ["dgc", "train", *map(str, words)]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--preset", "dcg4"], "did you mean 'dgc4'"),
        (
            ["--set", "train.step=3"],
            "train.step: there is no such field; did you mean 'train.steps'",
        ),
        (["--set", "train.steps"], "expected FIELD=VALUE"),
        (["--set", "train.steps=-1"], "train.steps: expected a"),
        (["--set", "seed=1", "--seed", "2"], "--set seed: expected it once"),
        (["--clusters", "0"], "clusters.final: expected a number from 1"),
        (["--preset", "nowhere/run"], "nowhere/run"),
    ],
)
def test_impossible_options_are_refused(seen: Seen, words: list[str], why: str) -> None:
    done = dgc("train", *words)
    assert done.exit_code == 2
    assert why in done.output
    assert not seen


def test_a_workdir_is_a_preset(seen: Seen, tiny_run: TinyRun) -> None:
    done = dgc("train", "--preset", tiny_run.workdir, "--seed", 4)
    assert done.exit_code == 0, done.output
    assert seen[0][0] == configure(tiny_run.config(), {"seed": 4})


def test_fields_are_listed_and_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = dgc("train", "--fields").output
    assert "train.steps               100" in listed
    monkeypatch.setenv("COMP_WORDS", "dgc train --set optim.learn")
    monkeypatch.setenv("COMP_CWORD", "3")
    monkeypatch.setenv("_DGC_COMPLETE", "bash_complete")
    completed = CliRunner().invoke(main, [], prog_name="dgc").output
    assert "optim.learning_rate=" in completed


def test_a_folder_that_is_no_run_is_not_resumed(tmp_path: pathlib.Path) -> None:
    done = dgc("resume", tmp_path)
    assert done.exit_code == 2
    assert str(tmp_path) in done.output


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_resume_ends_with_the_same_bits(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    os.symlink(tiny_run.scenes, tmp_path / "field")
    sets = [
        word
        for name, value in tiny_run.overrides.items()
        if name != "data.scenes"
        for word in ("--set", f"{name}={value}")
    ]
    command = [sys.executable, "-m", "dgc_jax", "train", "field", "--preset", "tiny", *sets]
    # What a shell starts in the background ignores SIGINT, and so would what the tests start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:  # fmt: skip
        signal.signal(signal.SIGINT, before)
        assert process.stdout is not None
        # The checkpoint of step 3 is begun by then, and is finished whatever happens.
        next((line for line in process.stdout if line.startswith("step 4/")), None)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == training.INTERRUPTED, errors
    assert "Traceback" not in errors
    told = errors.strip().splitlines()[-2:]
    assert told[0].startswith("Interrupted: the checkpoint of step ")
    assert told[1] == "Go on with: dgc resume runs/field"

    go_on = [sys.executable, "-m", "dgc_jax", "resume", str(tmp_path / "runs" / "field")]
    done = subprocess.run(go_on, cwd=tmp_path.parent, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert "Going on with: dgc train field --preset tiny" in done.stdout
    assert "resuming after step" in done.stdout
    names = ("leaf_00.img", "leaf_01.img")
    ours, theirs = (
        [np.fromfile(folder / "maps" / name, np.uint8) for name in names]
        for folder in (tmp_path / "runs" / "field", tiny_run.workdir)
    )
    np.testing.assert_array_equal(ours, theirs)
    noted = json.loads((tmp_path / "runs" / "field" / "command.json").read_text())
    assert noted["directory"] == str(tmp_path)
