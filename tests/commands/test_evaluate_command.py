"""`dgc evaluate`: scores of trained and other scenes, and what it refuses."""

import json
import pathlib
import shutil

import numpy as np
import PIL.Image
import pytest
from conftest import TinyRun, dgc

from dgc_jax import InputError, load, open_cube
from dgc_jax.apply import metrics
from dgc_jax.commands.evaluate import evaluate
from dgc_jax.data.simulation import leaves


def test_evaluating_the_training_scenes_gives_the_scores_of_the_summary(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "scores.json"
    labels = ["--labels", "{stem}_labels.png"]
    result = dgc("evaluate", tiny_run.workdir, *labels, "--out", out)
    assert result.exit_code == 0, result.output
    with open(out, encoding="utf-8") as file:
        assert json.load(file) == {
            "scenes": ["leaf_00", "leaf_01"],
            "scores": tiny_run.summary["scores"],
        }
    assert "flat background" in result.stdout
    assert "0.972" in result.stdout  # the paper's number beside


def test_written_maps_are_used_unless_something_is_newer(
    tiny_run: TinyRun, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dgc_jax.apply.segmenter import Segmenter

    def refuse(*_: object) -> None:
        raise AssertionError("segmented again")

    monkeypatch.setattr(Segmenter, "segment", refuse)
    again = evaluate(str(tiny_run.workdir), "{stem}_labels.png")
    assert again["scores"] == tiny_run.summary["scores"]

    copy = tmp_path / "copy"
    shutil.copytree(tiny_run.workdir, copy)
    (copy / "checkpoints" / "model").touch()
    for name in ("leaf_00.hdr", "leaf_01.hdr"):
        (copy / "maps" / name).touch()
    evaluate(str(copy), "{stem}_labels.png")
    (copy / "maps" / "leaf_01.hdr").unlink()
    with pytest.raises(AssertionError, match="segmented again"):
        evaluate(str(copy), "{stem}_labels.png")


def test_evaluating_other_scenes_segments_them(tiny_run: TinyRun, new_scenes: pathlib.Path) -> None:
    scenes = [str(new_scenes / "new0.hdr"), str(new_scenes / "new1.hdr")]
    result = evaluate(str(tiny_run.workdir), "{stem}_labels.png", scenes)
    segmenter = load(str(tiny_run.workdir))
    counts = np.zeros((4, 3), np.int64)
    for number, scene in enumerate(scenes):
        with PIL.Image.open(new_scenes / f"new{number}_labels.png") as picture:
            truth = np.asarray(picture)
        counts += metrics.confusion(truth, segmenter.segment(open_cube(scene)), 4, 3)
    assert result["scenes"] == ["new0", "new1"]
    assert result["scores"] == metrics.scores(counts, leaves.CLASSES, leaves.BACKGROUND)


def test_table_names_background_and_unlabelled_are_those_given(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "scores.json"
    result = dgc(
        *("evaluate", tiny_run.workdir, "--labels", "{stem}_labels.png", "--out", out),
        *("--table", "1=4,3=2", "--classes", "o,a,b,c", "--unlabelled", "4", "--background", "2"),
    )
    assert result.exit_code == 0, result.output
    with open(out, encoding="utf-8") as file:
        scores = json.load(file)["scores"]
    assert scores["cluster_to_class"] == {"1": "c", "2": None, "3": "a"}
    counts = np.zeros((4, 3), np.int64)
    for name in ("leaf_00", "leaf_01"):
        with PIL.Image.open(f"{tiny_run.scenes}/{name}_labels.png") as picture:
            truth = (np.asarray(picture) + 1) % 5  # 4 means unlabelled, so 0 is a class
        with PIL.Image.open(tiny_run.workdir / "maps" / f"{name}.png") as picture:
            counts += metrics.confusion(truth, np.asarray(picture), 4, 3)
    assert scores == metrics.scores(counts, ["o", "a", "b", "c"], [3], [4, 0, 2])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--labels", "{stem}_truth.png"], "found none; give a pattern such as {stem}_labels.png"),
        (["--labels", "{stem}_labels.png", "--table", "4=1"], "from 1 to 3, found 4"),
        (["--labels", "{stem}_labels.png", "--table", "1:1"], "expected a class for each cluster"),
        (["--labels", "{stem}_labels.png", "--table", "1=1,1=2"], "expected a class for each"),
        (["--labels", "{stem}_labels.png", "--background", "x"], "--background: expected whole"),
        (["--labels", "{stem}_labels.png", "--background", "7"], "found (7,)"),
        (["--labels", "{stem}_labels.png", "--classes", "a,b"], "named: a, b, found class 4"),
        ([], "Missing option '--labels'"),
    ],
)
def test_bad_usage_of_evaluate_exits_with_2(
    tiny_run: TinyRun, arguments: list[str], told: str
) -> None:
    result = dgc("evaluate", tiny_run.workdir, *arguments)
    assert result.exit_code == 2
    assert told in result.stderr


def test_label_maps_without_a_labelled_pixel_are_refused(
    tiny_run: TinyRun, new_scenes: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    PIL.Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "blank.png")
    with pytest.raises(InputError, match="expected labelled pixels, found none"):
        evaluate(str(tiny_run.workdir), str(tmp_path / "blank.png"), str(new_scenes / "new0.hdr"))
