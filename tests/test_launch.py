"""launch.py: what it prints and returns; and runs on data sets of every awkward kind."""

import json
import os
import pathlib
import sys

import ml_collections
import numpy as np
import PIL.Image
import pytest
import spectral.io.envi
from absl.testing import flagsaver
from conftest import ROOT, TinyRun, python

import launch
from dgc_jax import InputError, load, open_cube, run
from dgc_jax.data.simulation import leaves
from dgc_jax.train import options

# config_flags imports configuration files in a way that Python 3.11 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs launch.py in this process, with flags of its own; returns status, output, errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", ["launch.py", *arguments])  # config_flags looks there
        with flagsaver.flagsaver():
            status = launch.main(sys.argv)
        return status, *capsys.readouterr()

    return call


def flags(tiny_run: TinyRun, **changes: object) -> list[str]:
    return ["--config=configs/dgc4.py:tiny", *tiny_run.flags(**changes)]


def test_finished_run_is_told_and_exits_with_0(launched, tiny_run: TinyRun) -> None:
    status, out, err = launched(*flags(tiny_run), f"--workdir={tiny_run.workdir}")
    assert status == 0
    assert "is finished already" in out
    assert err == ""


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("def get_config(:", "SyntaxError: "),
        ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
        ("def get_config(variant=''):\n    return {}['scenes']", "KeyError: 'scenes'"),
    ],
)
def test_a_broken_configuration_is_told_in_one_line(
    launched, tmp_path: pathlib.Path, program: str, told: str
) -> None:
    path = tmp_path / "broken.py"
    path.write_text(program + "\n")
    status, _, err = launched(f"--config={path}")
    assert status == 2
    assert f"{path}: cannot be run as a configuration" in err
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "expected --config=configs/dgc4.py, found none"),
        (["--config=configs/none.py"], "found no 'configs/none.py'"),
        (["--config=configs/dgc4.py:huge"], "expected no variant or ':tiny'"),
        (
            ["--config=configs/dgc4.py", "--config.train.stepz=3"],
            "train.stepz: there is no such field; did you mean 'train.steps'?",
        ),
        (
            ["--config=configs/dgc4.py", "--config.trian.steps=3"],
            "trian.steps: there is no such field; did you mean 'train.steps'?",
        ),
        (["--config=configs/dgc4.py", "--config.qqqqqqq=3"], "qqqqqqq: there is no such field"),
        (["--config=configs/dgc4.py", "--config.train.steps=many"], "train.steps"),
        (["--config=configs/dgc4.py", "--config.data.overlap=(0.2,)"], "overlap: expected 2 num"),
        (["--config=configs/dgc4.py", "--config.model.features=(8,16)"], "expected 3 numbers"),
        (["--config=README.md"], "expected a configuration file"),
        (["--config", "configs/dgc4.py", "--config.data.crop=4"], "data.crop: expected a number"),
        (["--config=configs/dgc4.py", "--wrokdir=x"], "workdir"),
        (["--config=configs/dgc4.py", "scene.hdr"], "scene.hdr"),
        (
            ["--config=configs/dgc4.py", "--config.clusters.final=99"],
            "clusters.final: expected a number from 1 to",
        ),
    ],
)
def test_bad_usage_is_told_in_one_line_and_exits_with_2(
    launched, tmp_path: pathlib.Path, arguments: list[str], told: str
) -> None:
    status, _, err = launched(*arguments, f"--workdir={tmp_path / 'run'}")
    assert status == 2
    assert err.startswith("launch.py: ")
    assert told in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run" / "summary.json").exists()


def test_help_says_how_to_use_it(launched) -> None:
    status, out, _ = launched("--help")
    assert status == 0
    assert "python launch.py --config=configs/dgc4.py" in out


def test_workdir_of_a_run_that_never_began_is_free(launched, tmp_path: pathlib.Path) -> None:
    workdir = f"--workdir={tmp_path / 'run'}"
    status, _, err = launched("-c", "configs/dgc4.py", "--config.data.scenes=nowhere", workdir)
    assert status == 2
    status, _, err = launched("-c", "configs/dgc2.py", "--config.data.scenes=no_more", workdir)
    assert status == 2
    assert "no_more" in err  # the mended command is not told that the folder is another run's


def test_other_configuration_of_a_workdir_exits_with_2_and_names_the_fields(
    launched, tiny_run: TinyRun
) -> None:
    status, _, err = launched(*flags(tiny_run, seed=9), f"--workdir={tiny_run.workdir}")
    assert status == 2
    assert "differs in seed (0 there, 9 here)" in err


def test_process_ends_without_a_traceback(tmp_path: pathlib.Path) -> None:
    arguments = ["--config=configs/dgc4.py", "--config.data.scenes=nowhere"]
    arguments.append(f"--workdir={tmp_path / 'run'}")
    done = python("launch.py", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("launch.py: ")
    assert "nowhere" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["dgc2", "dgc4", "dgc16"])
def test_every_configuration_is_accepted(name: str) -> None:
    module = __import__(f"configs.{name}", fromlist=["get_config"])
    for variant in ("", "tiny"):
        config = module.get_config(variant)
        options.check(config)
        assert config.clusters.final == int(name.removeprefix("dgc"))
        recipe = options.recipe(config)
        assert recipe.optimizer.steps == config.train.steps
    with pytest.raises(InputError, match="':huge'"):
        module.get_config("huge")


def test_leaf_scenes_are_simulated_into_the_cache(
    tiny_run: TinyRun, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DGC_CACHE", str(tmp_path))
    changes = {"data__scenes": "leaves", "data__classes": None, "data__background": None}
    config = tiny_run.config(**changes, data__leaves__scenes=1, data__leaves__size=24)
    (scene,) = options.scenes(config)
    assert scene.cube.shape == (24, 24, 301)
    assert str(tmp_path) in scene.cube.path
    assert scene.classes == leaves.CLASSES
    assert options.background(config) == leaves.BACKGROUND


@pytest.mark.parametrize(
    ("unlabelled", "values", "classes"),
    [(0, (1, 3), (1, 3)), (255, (0, 2), (1, 3)), (2, (1, 3), (2, 3))],
)
def test_background_is_numbered_as_the_label_files_are(
    tiny_run: TinyRun, unlabelled: int, values: tuple[int, ...], classes: tuple[int, ...]
) -> None:
    config = tiny_run.config(data__unlabelled=unlabelled, data__background=values)
    assert options.background(config) == classes


def small(tiny_run: TinyRun, scenes: pathlib.Path, **changes: object) -> ml_collections.ConfigDict:
    """A configuration of two steps on other scenes."""
    return tiny_run.config(
        data__scenes=str(scenes),
        data__classes=None,
        data__background=None,
        data__crop=16,
        train__steps=2,
        train__checkpoint_every=2,
        clusters__train=4,
        clusters__final=2,
        **changes,
    )


def two_materials(rows: int, columns: int, bands: int) -> np.ndarray:
    """A bright and a dark half, `[row, column, band]`, 0..1, with noise."""
    rng = np.random.default_rng(rows)
    spectra = np.stack([np.linspace(0.1, 0.2, bands), np.linspace(0.9, 0.4, bands)])
    half = np.arange(columns) * 2 // columns
    return np.clip(spectra[half][None] + rng.normal(0, 0.02, (rows, columns, bands)), 0.01, 1)


@pytest.mark.slow
def test_twelve_bit_scenes_of_five_bands_smaller_than_a_crop_without_wavelengths(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number, size in enumerate([(11, 14), (30, 9)]):
        counts = np.round(two_materials(*size, 5) * 4095).astype(np.uint16)
        counts[0, 0] = 0  # no data
        spectral.io.envi.save_image(str(data / f"s{number}.hdr"), counts, interleave="bil")
    workdir = tmp_path / "run"
    summary = run(small(tiny_run, data), str(workdir))
    assert summary["scores"] is None
    assert summary["clusters"] == 2
    for name, size in (("s0", (11, 14)), ("s1", (30, 9))):
        with PIL.Image.open(workdir / "maps" / f"{name}.png") as picture:
            labels = np.asarray(picture)
        assert labels.shape == size
        assert np.count_nonzero(labels == 0) == 1
        assert labels[0, 0] == 0
    segmenter = load(str(workdir))
    assert segmenter.wavelengths is None
    assert segmenter.bands == 5
    assert segmenter.classes is None
    with PIL.Image.open(workdir / "maps" / "s0.png") as picture:
        again = segmenter.segment(open_cube(data / "s0.hdr"), tile=4)
        np.testing.assert_array_equal(again, np.asarray(picture))
    with open(workdir / "summary.json", encoding="utf-8") as file:
        assert json.load(file)["scores"] is None


def test_labels_with_their_own_unlabelled_number_give_scores(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    np.save(data / "s.npy", two_materials(20, 20, 5).astype(np.float32))
    truth = np.zeros((20, 20), np.uint8)
    truth[:, 10:] = 1
    truth[5] = 255
    PIL.Image.fromarray(truth).save(data / "s_labels.png")
    config = small(tiny_run, data, data__unlabelled=255)
    config.data.update(classes=("belt", "leaf"), background=(0,))
    scores = run(config, str(tmp_path / "run"))["scores"]
    assert set(scores["iou"]) == {"belt", "leaf"}
    assert scores["background_iou"] > 0.8  # the two materials are easy to tell apart
    assert scores["accuracy"] > 0.8


def test_scenes_without_a_valid_pixel_are_refused(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    np.save(data / "black.npy", np.zeros((20, 20, 9), np.float32))
    with pytest.raises(InputError, match=r"No sampled pixels are valid.*zero in all bands"):
        run(small(tiny_run, data), str(tmp_path / "run"))


def test_more_clusters_than_pixels_are_refused(tiny_run: TinyRun, tmp_path: pathlib.Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    np.save(data / "dots.npy", two_materials(1, 3, 5))
    with pytest.raises(InputError, match="found 4 clusters for 3 pixels"):
        run(small(tiny_run, data), str(tmp_path / "run"))


def test_workdir_below_a_file_exits_with_2(
    launched, tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "file").write_text("")
    status, _, err = launched(*flags(tiny_run), f"--workdir={tmp_path / 'file' / 'run'}")
    assert status == 2
    assert f"--workdir={os.fspath(tmp_path / 'file' / 'run')}" in err
