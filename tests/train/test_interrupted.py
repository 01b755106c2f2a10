"""Runs that were interrupted, or have lost files, end as one that was not."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest
import rich.console
from conftest import ROOT, TinyRun, log_of, saved_steps

from dgc_jax import DivergedError, InputError, run
from dgc_jax.apply.saved_model import load_model
from dgc_jax.train import loop, options


def assert_same_bits(one: pathlib.Path, other: pathlib.Path) -> None:
    first, second = (load_model(str(workdir)).arrays for workdir in (one, other))
    assert jax.tree.structure(first) == jax.tree.structure(second)
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.slow
def test_run_killed_at_an_arbitrary_step_ends_with_the_same_bits(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    workdir = tmp_path / "run"
    process = subprocess.Popen(
        [
            sys.executable,
            "launch.py",
            "--config=configs/dgc4.py:tiny",
            f"--workdir={workdir}",
            *tiny_run.flags(),
        ],
        cwd=ROOT,
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "2"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    written, wanted = workdir / "metrics.jsonl", 7  # lines: steps 0 to 6
    while process.poll() is None:
        if written.exists() and written.read_bytes().count(b"\n") >= wanted:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    assert not (workdir / "summary.json").exists()
    assert max(saved_steps(workdir), default=0) < 12

    run(tiny_run.config(), str(workdir))
    assert_same_bits(workdir, tiny_run.workdir)
    assert log_of(workdir) == log_of(tiny_run.workdir)
    assert saved_steps(workdir) == saved_steps(tiny_run.workdir)


class Interruption(Exception):
    pass


def interrupted(patch: pytest.MonkeyPatch, at: int) -> None:
    """Makes training fail when it asks for the batch of a step."""
    read = loop.read_batches

    def read_until(*arguments: object, **options: object):
        first = options["first_step"]
        for number, item in enumerate(read(*arguments, **options), int(first)):
            if number == at:
                raise Interruption
            yield item

    patch.setattr(loop, "read_batches", read_until)


@pytest.mark.parametrize("at", [1, 4, 5])
def test_interrupted_run_stops_as_early_with_the_same_bits(
    tiny_run: TinyRun, tmp_path: pathlib.Path, at: int
) -> None:
    # Every NMI is above the threshold, so the third epoch, step 6, is the second that is settled.
    config = tiny_run.config(monitor__threshold=0.0, monitor__patience=3)
    whole = tmp_path / "whole"
    summary = run(config, str(whole))
    assert summary["steps"] == 6
    assert "3 epochs in a row" in str(summary["stopped_because"])
    assert summary["stopped_early"] is True

    workdir = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        interrupted(patch, at)
        with pytest.raises(Interruption):
            run(config, str(workdir))
    assert not (workdir / "summary.json").exists()
    with pytest.MonkeyPatch.context() as patch:
        if saved_steps(workdir):  # what light the scenes bear is in the checkpoint
            patch.setattr(
                loop, "calibrate", lambda state, *_, **__: state.replace(light=0 * state.light)
            )
        again = run(config, str(workdir))
    assert_same_bits(workdir, whole)
    assert log_of(workdir) == log_of(whole)
    assert {**again, "seconds": 0} == {**summary, "seconds": 0}


def test_run_killed_after_its_last_step_only_writes_what_is_missing(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(tiny_run.workdir, workdir)
    for name in ("summary.json", "areas.csv", "spectra.csv", "maps/leaf_01.hdr"):
        (workdir / name).unlink()
    shutil.rmtree(workdir / "checkpoints" / "model")
    summary = run(tiny_run.config(), str(workdir))
    assert {**summary, "seconds": 0} == {**tiny_run.summary, "seconds": 0}
    assert_same_bits(workdir, tiny_run.workdir)
    assert log_of(workdir) == log_of(tiny_run.workdir)
    for name in ("areas.csv", "spectra.csv", "maps/leaf_01.hdr"):
        assert (workdir / name).read_bytes() == (tiny_run.workdir / name).read_bytes()


def test_run_goes_on_without_its_log(tiny_run: TinyRun, tmp_path: pathlib.Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interrupted(patch, 4)
        with pytest.raises(Interruption):
            run(tiny_run.config(), str(tmp_path))
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.raises(InputError, match="a run that differs in seed"):  # it is still that run's
        run(tiny_run.config(seed=5), str(tmp_path))
    run(tiny_run.config(), str(tmp_path))
    assert_same_bits(tmp_path, tiny_run.workdir)
    assert log_of(tmp_path) == log_of(tiny_run.workdir)[4:]


def test_finished_run_that_has_lost_results_writes_them_anew_and_says_why(
    tiny_run: TinyRun, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(tiny_run.workdir, workdir)
    (workdir / "maps" / "leaf_01.img").write_bytes(b"short")
    run(tiny_run.config(), str(workdir))
    told = f"{workdir} are written anew, because leaf_01.img has 5 bytes, and had 2304"
    assert told in capsys.readouterr().out
    for name in ("leaf_00.img", "leaf_01.img", "manifest.json"):
        written, expected = workdir / "maps" / name, tiny_run.workdir / "maps" / name
        assert written.read_bytes() == expected.read_bytes()
    (workdir / "report.html").unlink()
    for step in saved_steps(workdir):
        shutil.rmtree(workdir / "checkpoints" / str(step))
    run(tiny_run.config(), str(workdir))  # which would train again
    said = capsys.readouterr().out
    assert "report.html is not there; its checkpoints are gone" in said
    assert "is finished already" in said


def edit(workdir: pathlib.Path, change: str, by: int) -> None:
    """Makes it look as if the files of a scene had changed since they were trained on."""
    path = workdir / "manifest.json"
    content = json.loads(path.read_text())
    (file,) = content["training"]["scenes"]["from"]["leaf_01: scene"]
    file[change] += by
    path.write_text(json.dumps(content))


def test_finished_run_of_scenes_that_have_changed_since_is_not_taken_for_theirs(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(tiny_run.workdir, workdir)
    edit(workdir, "modified", 1)
    with pytest.raises(
        InputError, match=r"found one of others \(.*leaf_01\.zarr has changed since"
    ):
        run(tiny_run.config(), str(workdir))


def test_training_goes_on_with_the_scenes_with_which_it_began(
    tiny_run: TinyRun, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir, console = tmp_path / "run", rich.console.Console()
    shutil.copytree(tiny_run.workdir, workdir)
    scenes = options.scenes(tiny_run.config())
    loop._note_scenes(str(workdir), scenes, console)
    assert not capsys.readouterr().out
    edit(workdir, "modified", 1)
    loop._note_scenes(str(workdir), scenes, console)  # copied anew, say
    said = capsys.readouterr().out
    assert re.search(r"warning: .*leaf_01\.zarr has changed since, of the same size", said)
    edit(workdir, "bytes", 1)
    with pytest.raises(InputError, match="expected the scenes with which its training began"):
        loop._note_scenes(str(workdir), scenes, console)
    with pytest.raises(InputError, match="leaf_01: scene is none"):
        loop._note_scenes(str(workdir), scenes[:1], console)


def test_loss_that_is_not_finite_stops_the_run_and_its_last_checkpoint_stands(
    tiny_run: TinyRun, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = loop.read_batches

    def with_infinity(*arguments: object, **options: object):
        for number, (plan, batch) in enumerate(
            read(*arguments, **options), int(options["first_step"])
        ):
            if number == 6:  # the batch of step 7
                batch.crops[0, 0][batch.valid[0, 0]] = np.inf
            yield plan, batch

    monkeypatch.setattr(loop, "read_batches", with_infinity)
    workdir = tmp_path / "run"
    with pytest.raises(DivergedError) as told:
        run(tiny_run.config(), str(workdir))
    assert "loss of step 7 is not finite" in str(told.value)
    assert not any(thread.name.startswith("crops") for thread in threading.enumerate())
    assert re.search(r"loss/compactness = \S+", str(told.value))
    assert re.search(r"on the scenes leaf_0[01](, leaf_01)?;", str(told.value))
    assert max(saved_steps(workdir)) == 6
    assert log_of(workdir)[-1]["step"] == 6
    monkeypatch.undo()
    run(tiny_run.config(), str(workdir))  # the cause mended, the run goes on from there
    assert_same_bits(workdir, tiny_run.workdir)
