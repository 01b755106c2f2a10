"""A whole run: what it leaves behind, and what it refuses."""

import itertools
import json
import os
import pathlib
import re

import numpy as np
import PIL.Image
import pytest
import spectral.io.envi
from conftest import TinyRun, log_of, read_csv, saved_steps

from dgc_jax import InputError, run
from dgc_jax.lock import alone

CLASSES = ("flat background", "textured background", "healthy leaf", "lesion")


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
    areas = read_csv(tiny_run.workdir / "areas.csv")
    for name in ("leaf_00", "leaf_01"):
        with PIL.Image.open(tiny_run.workdir / "maps" / f"{name}.png") as picture:
            counts = np.bincount(np.asarray(picture).ravel(), minlength=4)[1:]
        mine = [row for row in areas if row["scene"] == name]
        assert [int(row["pixels"]) for row in mine] == counts.tolist()
        assert sum(float(row["percent"]) for row in mine) == pytest.approx(100, abs=1e-3)
    spectra = read_csv(tiny_run.workdir / "spectra.csv")
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
    assert summary["nmi_between_epochs"] == log_of(tiny_run.workdir)[-1]["monitor/nmi"]
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
    entries = {entry["step"]: entry for entry in log_of(tiny_run.workdir)}
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
    # Of one material several maps differ by rounding alone, so that the start may be kept.
    assert summary["steps"] in ((0, 2) if clusters == 1 else (2,))
    assert summary["clusters"] == summary["active_clusters"] == clusters
    for entry in log_of(tmp_path / "run"):
        assert np.isfinite(list(entry.values())).all()
    with PIL.Image.open(tmp_path / "run" / "maps" / "scene.png") as picture:
        assert np.unique(np.asarray(picture)).tolist() == list(range(1, clusters + 1))


def test_more_clusters_than_pixels_are_refused(tiny_run: TinyRun, tmp_path: pathlib.Path) -> None:
    np.save(tmp_path / "scene.npy", SPECTRA[None])
    small = {**SMALL, "clusters__train": 3}
    config = tiny_run.config(data__scenes=str(tmp_path / "scene.npy"), **small)
    with pytest.raises(InputError, match="found 3 clusters for 2 pixels"):
        run(config, str(tmp_path / "run"))


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
