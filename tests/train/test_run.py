"""A whole run: what it leaves behind, what it refuses, and that an interruption changes nothing."""

import csv
import itertools
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
import PIL.Image
import pytest
import rich.console
import spectral.io.envi
from conftest import ROOT, TinyRun

from dgc_jax import DivergedError, InputError, run
from dgc_jax.apply.saved_model import load_model
from dgc_jax.lock import alone
from dgc_jax.train import loop, options

CLASSES = ("flat background", "textured background", "healthy leaf", "lesion")


def lines(workdir: pathlib.Path) -> list[dict[str, float]]:
    """The entries of metrics.jsonl, without what the clock decides."""
    with open(workdir / "metrics.jsonl", encoding="utf-8") as file:
        entries = [json.loads(line) for line in file]
    return [{k: v for k, v in e.items() if k not in ("data_wait", "seconds")} for e in entries]


def assert_same_bits(one: pathlib.Path, other: pathlib.Path) -> None:
    first, second = (load_model(str(workdir)).arrays for workdir in (one, other))
    assert jax.tree.structure(first) == jax.tree.structure(second)
    jax.tree.map(np.testing.assert_array_equal, first, second)


def saved_steps(workdir: pathlib.Path) -> set[int]:
    return {int(name) for name in os.listdir(workdir / "checkpoints") if name.isdigit()}


def test_finished_workdir_holds_label_maps_of_every_scene(tiny_run: TinyRun) -> None:
    maps = tiny_run.workdir / "maps"
    for name in ("leaf_00", "leaf_01"):
        with PIL.Image.open(maps / f"{name}.png") as picture:
            labels = np.asarray(picture)
        with PIL.Image.open(maps / f"{name}_overlay.png") as picture:
            picture.load()
        envi = spectral.io.envi.open(maps / f"{name}.hdr", maps / f"{name}.img")
        assert labels.shape == (48, 48)
        assert set(np.unique(labels)) <= {1, 2, 3}
        np.testing.assert_array_equal(envi.read_band(0), labels)
        assert envi.metadata["class names"] == ["no data", "cluster 1", "cluster 2", "cluster 3"]


def test_finished_workdir_holds_tables_that_agree_with_the_maps(tiny_run: TinyRun) -> None:
    with open(tiny_run.workdir / "areas.csv", encoding="utf-8", newline="") as file:
        areas = list(csv.DictReader(file))
    for name in ("leaf_00", "leaf_01"):
        with PIL.Image.open(tiny_run.workdir / "maps" / f"{name}.png") as picture:
            counts = np.bincount(np.asarray(picture).ravel(), minlength=4)[1:]
        mine = [row for row in areas if row["scene"] == name]
        assert [int(row["pixels"]) for row in mine] == counts.tolist()
        assert sum(float(row["percent"]) for row in mine) == pytest.approx(100, abs=1e-3)
    with open(tiny_run.workdir / "spectra.csv", encoding="utf-8", newline="") as file:
        spectra = list(csv.DictReader(file))
    assert len(spectra) == 301
    assert float(spectra[0]["wavelength_nm"]) == 400
    brightness = [np.mean([float(row[f"cluster {k}_mean"]) for row in spectra]) for k in (1, 2, 3)]
    assert 0 < min(brightness) < max(brightness) < 1
    with PIL.Image.open(tiny_run.workdir / "spectra.png") as picture:
        picture.load()


def test_summary_says_how_the_run_went(tiny_run: TinyRun) -> None:
    with open(tiny_run.workdir / "summary.json", encoding="utf-8") as file:
        summary = json.load(file)
    assert summary == tiny_run.summary
    assert summary["steps"] == 12
    assert summary["seconds"] > 0
    assert summary["seed"] == 0
    assert summary["clusters"] == 3
    assert 1 <= summary["active_clusters"] <= 3
    assert 0 <= summary["nmi_between_epochs"] <= 1
    assert summary["nmi_between_epochs"] == lines(tiny_run.workdir)[-1]["monitor/nmi"]
    assert summary["stopped_because"] == "all 12 steps were taken"
    assert summary["stopped_early"] is False
    scores = summary["scores"]
    assert tuple(scores["iou"]) == CLASSES
    assert set(scores["cluster_to_class"]) == {"1", "2", "3"}
    for name in (
        *("mean_iou", "background_iou", "tissue_iou", "background_tissue_mean_iou"),
        *("accuracy", "kappa", "nmi", "ari"),
    ):
        assert -1 <= scores[name] <= 1


def test_metrics_name_every_loss_and_what_the_monitor_sees(tiny_run: TinyRun) -> None:
    with open(tiny_run.workdir / "metrics.jsonl", encoding="utf-8") as file:
        entries = [json.loads(line) for line in file]
    assert [entry["step"] for entry in entries] == list(range(13))
    for entry in entries[1:]:
        terms = {name for name in entry if name.startswith("loss")}
        assert terms >= {
            *("loss", "loss/compactness", "loss/orthogonality", "loss/consistency"),
            "loss/balance",
        }
        assert all(np.isfinite(entry[name]) for name in terms)
        assert 0 <= entry["data_wait"] <= 1
    assert all(a["seconds"] <= b["seconds"] for a, b in itertools.pairwise(entries[1:]))
    for entry in entries[2::2]:
        assert 0 <= entry["monitor/nmi"] <= 1
        assert entry["monitor/mutual_information"] >= 0
        assert 1 <= entry["monitor/active_clusters"] <= 8
    assert os.listdir(tiny_run.workdir / "tensorboard")
    with open(tiny_run.workdir / "config.json", encoding="utf-8") as file:
        clusters = json.load(file)["clusters"]
    assert clusters == {"train": 8, "starts": 5, "final": 3, "sample": 16}


def test_run_without_a_terminal_tells_its_progress_in_lines(tiny_run: TinyRun) -> None:
    lines = iter(tiny_run.shown.splitlines())
    for begin in (
        "looking at 2 scenes", "scene ", "leaf_00 ", "leaf_01 ", "reading 4 crops",
        "starting", "light changes", "compiling", "step 0/12", "comparing", "describing", "saving",
        "segmenting 2 scenes", "writing spectra", "writing the report",
    ):  # fmt: skip
        assert any(line.startswith(begin) for line in lines), begin
    light = re.search(r"^light changes: gain (\S+), tilt (\S+) \((\d+)% of", tiny_run.shown, re.M)
    assert light is not None
    gain, tilt, percent = (float(number) for number in light.groups())
    assert 0 < percent <= 100
    assert (gain, tilt) == pytest.approx((0.002 * percent, 0.001 * percent), rel=0.2)
    assert re.search(r"^step 12/12  loss \S+", tiny_run.shown, re.MULTILINE)
    assert f"dgc segment {tiny_run.workdir}" in tiny_run.shown


def test_latest_two_checkpoints_and_the_best_are_kept(tiny_run: TinyRun) -> None:
    entries = {entry["step"]: entry for entry in lines(tiny_run.workdir)}
    seen = {s: entries[s - s % 2]["monitor/soft_information"] for s in (3, 6, 9, 12)}
    assert saved_steps(tiny_run.workdir) == {9, 12, max(seen, key=seen.__getitem__)}


def test_finished_run_says_so_and_changes_nothing(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    def files() -> dict[str, int]:
        found = (p for p in tiny_run.workdir.rglob("*") if p.is_file())
        return {str(p): p.stat().st_mtime_ns for p in found}

    before = files()
    assert run(tiny_run.config(), str(tiny_run.workdir)) == tiny_run.summary
    assert "is finished already (all 12 steps were taken)" in capsys.readouterr().out
    assert files() == before


def test_workdir_of_another_configuration_is_refused_with_the_fields(tiny_run: TinyRun) -> None:
    config = tiny_run.config(optim__learning_rate=0.5, train__steps=7)
    with pytest.raises(InputError) as told:
        run(config, str(tiny_run.workdir))
    assert "optim.learning_rate (0.001 there, 0.5 here)" in str(told.value)
    assert "train.steps (12 there, 7 here)" in str(told.value)
    assert "seed" not in str(told.value)


def test_workdir_that_cannot_be_written_is_refused(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="expected a folder that can be written"):
        run(tiny_run.config(), str(tmp_path / "file" / "run"))


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("clusters__final", 9, "clusters.final: expected a number from 1 to 8 .*found 9"),
        ("clusters__starts", 0, "clusters.starts: expected a number from 1 to 100, found 0"),
        ("augment__agreement", 1.5, "augment.agreement: expected a number from 0 to 1, found 1.5"),
        ("loss__displacement", 32, "loss.displacement: expected a number from 0 to 31 .*found 32"),
        ("optim__bandwidth", -1.0, "optim.bandwidth: expected a number from 0 to 1000, found -1"),
        ("data__batch", 0, "data.batch: expected a number from 1"),
        ("model__window", 4, "model.window: expected an odd number"),
        ("data__normalisation", "zscore", "data.normalisation: expected one of global, band"),
        ("train__precision", "float16", "train.precision: expected one of float32, bfloat16"),
        ("centroids__start", "best", r"centroids.start: expected one of kmeans\+\+, random"),
        ("data__overlap", (0.8, 0.2), "data.overlap: expected the least share before"),
        ("data__scenes", "nothing_here/*.hdr", "nothing_here"),
    ],
)
def test_bad_values_are_refused_by_name(
    tiny_run: TinyRun, tmp_path: pathlib.Path, field: str, value: object, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        run(tiny_run.config(**{field: value}), str(tmp_path / "run"))


SPECTRA = np.array([[0.1, 0.3, 0.6], [0.5, 0.4, 0.2]], np.float32)
SMALL = {
    "clusters__train": 2,
    "clusters__final": 2,
    "data__classes": None,
    "data__background": None,
    "data__crop": 8,
    "data__sample": 2,
    "model__embedding": 4,
    "model__features": (2, 2, 4),
    "model__iterations": 1,
    "train__steps": 2,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:only 1 of the trained clusters:UserWarning")
@pytest.mark.parametrize(
    ("scene", "clusters"),
    [
        (np.broadcast_to(SPECTRA[0], (9, 9, 3)), 1),  # of one material
        (SPECTRA[None], 2),  # of two pixels
        (SPECTRA[np.add.outer(np.arange(9), np.arange(9)) % 2], 2),
    ],
)
def test_scene_of_next_to_nothing_is_trained_on(
    tiny_run: TinyRun, tmp_path: pathlib.Path, scene: np.ndarray, clusters: int
) -> None:
    np.save(tmp_path / "scene.npy", scene)
    config = tiny_run.config(data__scenes=str(tmp_path / "scene.npy"), **SMALL)
    summary = run(config, str(tmp_path / "run"))
    assert summary["steps"] == 2
    assert summary["clusters"] == summary["active_clusters"] == clusters
    for entry in lines(tmp_path / "run"):
        assert np.isfinite(list(entry.values())).all()
    with PIL.Image.open(tmp_path / "run" / "maps" / "scene.png") as picture:
        assert np.unique(np.asarray(picture)).tolist() == list(range(1, clusters + 1))


def test_more_clusters_than_pixels_are_refused(tiny_run: TinyRun, tmp_path: pathlib.Path) -> None:
    np.save(tmp_path / "scene.npy", SPECTRA[None])
    small = {**SMALL, "clusters__train": 3}
    config = tiny_run.config(data__scenes=str(tmp_path / "scene.npy"), **small)
    with pytest.raises(InputError, match="found 3 clusters for 2 pixels"):
        run(config, str(tmp_path / "run"))


@pytest.mark.slow
def test_run_killed_at_an_arbitrary_step_ends_with_the_same_bits(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    workdir = tmp_path / "run"
    flags = [f"--config.{name}={value}" for name, value in tiny_run.overrides.items()]
    process = subprocess.Popen(
        [
            sys.executable,
            "launch.py",
            "--config=configs/dgc4.py:tiny",
            f"--workdir={workdir}",
            *flags,
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
    assert lines(workdir) == lines(tiny_run.workdir)
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
    assert lines(workdir) == lines(whole)
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
    assert lines(workdir) == lines(tiny_run.workdir)
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
    assert lines(tmp_path) == lines(tiny_run.workdir)[4:]


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


def test_second_process_in_a_workdir_is_refused_and_told_who_is_there(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    with (
        alone(tmp_path, "--workdir"),
        pytest.raises(InputError, match=f"workdir={tmp_path}: .*found process {os.getpid()} on"),
    ):
        run(tiny_run.config(), str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_scenes_whose_maps_would_overwrite_one_another_are_refused_before_training(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    for name in ("a", "a_overlay"):
        np.save(tmp_path / f"{name}.npy", SPECTRA[None])
    config = tiny_run.config(data__scenes=str(tmp_path / "*.npy"), **SMALL)
    with pytest.raises(InputError, match=r"found a_overlay\.png to be one of maps a_overlay and"):
        run(config, str(tmp_path / "run"))


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
    assert lines(workdir)[-1]["step"] == 6
    monkeypatch.undo()
    run(tiny_run.config(), str(workdir))  # the cause mended, the run goes on from there
    assert_same_bits(workdir, tiny_run.workdir)
