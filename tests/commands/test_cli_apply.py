"""`dgc segment` and `dgc evaluate`: what they write, skip, report and refuse."""

import csv
import json
import pathlib
import shutil
import sys

import click.testing
import numpy as np
import PIL.Image
import pytest
import rasterio
import spectral.io.envi
import tensorstore as ts
from conftest import TinyRun

from dgc_jax import InputError, load, open_cube
from dgc_jax.apply import metrics
from dgc_jax.apply.sieve import sieve
from dgc_jax.cli import main
from dgc_jax.commands.evaluate import evaluate
from dgc_jax.data.cube import Cube, Pending
from dgc_jax.data.simulation import leaves
from dgc_jax.lock import alone

FORMATS = "npy,png,envi,zarr,geotiff"


def dgc(*arguments: object) -> click.testing.Result:
    result = click.testing.CliRunner().invoke(main, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception  # a traceback is never right
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Two scenes with label maps beside them, and one file that is no scene."""
    folder = tmp_path_factory.mktemp("new")
    for number in range(2):
        reflectance, labels = leaves.simulate(number, leaves.Leaves(size=40, scenes=2, seed=8))
        spectral.io.envi.save_image(
            str(folder / f"new{number}.hdr"),
            reflectance[: 40 - 7 * number],
            dtype=np.float32,
            metadata={
                "wavelength": np.linspace(400, 1000, 301).tolist(),
                "wavelength units": "nm",
                "map info": "{UTM, 1, 1, 500000, 4000000, 2, 2, 33, North, WGS-84}",
            },
        )
        PIL.Image.fromarray(labels[: 40 - 7 * number]).save(folder / f"new{number}_labels.png")
    (folder / "broken.npy").write_bytes(b"no array")
    return folder


def other_model(tiny_run: TinyRun, folder: pathlib.Path) -> pathlib.Path:
    """The tiny run's model, but for a number."""
    shutil.copytree(tiny_run.workdir / "checkpoints" / "model", folder / "checkpoints" / "model")
    about = folder / "checkpoints" / "model" / "about.json"
    told = json.loads(about.read_text())
    about.write_text(json.dumps(told | {"similarity_floor": 0.123}))
    return folder


def read_csv(path: pathlib.Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_segment_writes_every_format_alike(
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out"
    scene = folder / "new1.hdr"
    result = dgc("segment", tiny_run.workdir, scene, "--out", out, "--format", FORMATS)
    assert result.exit_code == 0, result.output
    expected = load(str(tiny_run.workdir)).segment(open_cube(scene))
    assert expected.shape == (33, 40)
    np.testing.assert_array_equal(np.load(out / "new1.npy"), expected)
    with PIL.Image.open(out / "new1.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), expected)
    envi = spectral.io.envi.open(out / "new1.hdr", out / "new1.img")
    np.testing.assert_array_equal(envi.read_band(0), expected)
    assert envi.metadata["map info"][:2] == ["UTM", "1"]
    store = ts.open({"driver": "zarr3", "kvstore": f"file://{out}/new1.zarr/"}).result()
    np.testing.assert_array_equal(store.read().result(), expected)
    assert (out / "new1_overlay.png").exists()
    with rasterio.open(out / "new1.tif") as image:
        np.testing.assert_array_equal(image.read(1), expected)
        assert image.crs.to_epsg() == 32633
        assert image.transform[:6] == (2, 0, 500000, 0, -2, 4000000)


def test_geotiff_alone_is_skipped_and_read_back_on_a_rerun(
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out"
    call = ["segment", tiny_run.workdir, folder / "new1.hdr", "--out", out, "--format", "geotiff"]
    assert "new1: segmented" in dgc(*call).stdout
    areas = (out / "areas.csv").read_bytes()
    result = dgc(*call)
    assert "new1: complete already" in result.stdout
    assert (out / "areas.csv").read_bytes() == areas


def test_geotiff_without_rasterio_is_refused_before_anything_is_segmented(
    tiny_run: TinyRun,
    folder: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    out = tmp_path / "out"
    result = dgc("segment", tiny_run.workdir, folder, "--out", out, "--format", "npy,geotiff")
    assert result.exit_code == 2
    assert "pip install 'dgc_jax[geo]'" in result.stderr
    assert not out.exists()


def test_bad_scene_is_told_and_the_rest_go_on(
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    result = dgc("segment", tiny_run.workdir, folder, "--out", tmp_path / "out")
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("dgc: ")]
    assert len(errors) == 1
    assert "broken.npy: cannot be opened" in errors[0]
    assert "1 of 3 scenes failed" in result.stdout
    areas = read_csv(tmp_path / "out" / "areas.csv")
    assert {row["scene"] for row in areas} == {"new0", "new1"}


def test_only_bad_scenes_exit_with_2(
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out"
    result = dgc("segment", tiny_run.workdir, folder / "broken.npy", "--out", out)
    assert result.exit_code == 2
    assert not (out / "areas.csv").exists()


def test_rerun_skips_what_is_finished_and_sums_up_all(
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    scenes = [folder / "new0.hdr", folder / "new1.hdr"]
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert dgc("segment", tiny_run.workdir, *scenes, "--out", whole).exit_code == 0
    assert dgc("segment", tiny_run.workdir, scenes[0], "--out", out).exit_code == 0
    written = (out / "new0.hdr").stat().st_mtime_ns
    result = dgc("segment", tiny_run.workdir, *scenes, "--out", out)
    assert result.exit_code == 0
    assert "new0: complete already" in result.stdout
    assert "new1: segmented" in result.stdout
    assert (out / "new0.hdr").stat().st_mtime_ns == written
    for name in ("areas.csv", "spectra.csv"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_map_that_is_unfinished_in_one_format_is_made_again(
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    call = ["segment", tiny_run.workdir, folder / "new0.hdr", "--out", tmp_path / "out"]
    dgc(*call)
    (tmp_path / "out" / "new0_overlay.png").unlink()
    assert "new0: segmented" in dgc(*call).stdout
    assert (tmp_path / "out" / "new0_overlay.png").exists()


def test_spectra_are_means_over_the_pixels_of_all_scenes(
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    scenes = [folder / "new0.hdr", folder / "new1.hdr"]
    dgc("segment", tiny_run.workdir, *scenes, "--out", tmp_path, "--format", "npy")
    cubes = [open_cube(scene) for scene in scenes]
    pixels = np.concatenate([c.read(0, 0, *c.shape[:2])[0].reshape(-1, 301) for c in cubes])
    labels = np.concatenate([np.load(tmp_path / f"new{n}.npy").ravel() for n in range(2)])
    rows = read_csv(tmp_path / "spectra.csv")
    assert [float(row["wavelength_nm"]) for row in rows[:2]] == [400, 402]
    for cluster in np.unique(labels):
        mine = pixels[labels == cluster].astype(np.float64)
        mean = [float(row[f"cluster {cluster}_mean"]) for row in rows]
        spread = [float(row[f"cluster {cluster}_std"]) for row in rows]
        np.testing.assert_allclose(mean, mine.mean(0), rtol=1e-5)
        np.testing.assert_allclose(spread, mine.std(0), rtol=1e-4)


def test_scenes_are_read_as_options_say(
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    reflectance, _ = open_cube(folder / "new0.hdr").read(0, 0, 40, 40)
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "s.npy", np.moveaxis(reflectance, 2, 0))
    mask = np.ones((40, 40), np.uint8)
    mask[:, 30:] = 0
    np.save(tmp_path / "in" / "s_mask.npy", mask)
    arguments = ["--axes", "brc", "--mask", "{stem}_mask.npy", "--format", "npy"]
    result = dgc("segment", tiny_run.workdir, tmp_path / "in", "--out", tmp_path, *arguments)
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(np.load(tmp_path / "s.npy") > 0, mask > 0)


def test_sieved_maps_have_no_small_regions_and_their_own_spectra(
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    scene, plain, out = folder / "new0.hdr", tmp_path / "plain", tmp_path / "out"
    formats = ["--format", "npy"]
    assert dgc("segment", tiny_run.workdir, scene, "--out", plain, *formats).exit_code == 0
    result = dgc("segment", tiny_run.workdir, scene, "--out", out, *formats, "--sieve", 30)
    assert result.exit_code == 0
    before, labels = np.load(plain / "new0.npy"), np.load(out / "new0.npy")
    assert np.any(labels != before)  # there was something to sieve
    np.testing.assert_array_equal(labels, sieve(before, 30))
    reflectance, _ = open_cube(scene).read(0, 0, 40, 40)
    rows = read_csv(out / "spectra.csv")
    for cluster in np.unique(labels[labels > 0]):
        mean = [float(row[f"cluster {cluster}_mean"]) for row in rows]
        np.testing.assert_allclose(mean, reflectance[labels == cluster].mean(0), rtol=1e-4)


def test_maps_are_made_anew_for_every_other_way_of_making_them(
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out, scene = tmp_path / "out", tmp_path / "a" / "new0.hdr"
    for name in "ab":
        (tmp_path / name).mkdir()
        for ending in (".hdr", ".img"):
            shutil.copy(folder / f"new0{ending}", tmp_path / name)
    np.save(tmp_path / "half.npy", np.arange(1600).reshape(40, 40) < 800)
    segmenter = load(str(tiny_run.workdir))
    plain = segmenter.segment(open_cube(scene))

    def call(*more: object, of: pathlib.Path = scene) -> np.ndarray:
        """The map, made by a first call, and left as it is by a second."""
        words = ["segment", tiny_run.workdir, of, "--out", out, "--format", "npy", *more]
        result = dgc(*words)
        assert result.exit_code == 0, result.output
        told.append(next(x for x in result.stdout.splitlines() if x.startswith("new0")))
        assert "new0: complete already" in dgc(*words).stdout
        return np.load(out / "new0.npy")

    told: list[str] = []
    np.testing.assert_array_equal(call(), plain)
    masked = np.where(np.arange(1600).reshape(40, 40) < 800, plain, 0)
    half = segmenter.segment(open_cube(scene, mask=tmp_path / "half.npy"))
    np.testing.assert_array_equal(half > 0, masked > 0)
    np.testing.assert_array_equal(call("--mask", tmp_path / "half.npy"), half)
    np.testing.assert_array_equal(call("--sieve", 30), sieve(plain, 30))
    np.testing.assert_array_equal(call(of=tmp_path / "b" / "new0.hdr"), plain)
    stored = np.fromfile(scene.with_suffix(".img"), "<f4").reshape(40, -1)
    stored[::-1].tofile(scene.with_suffix(".img"))
    call()
    np.testing.assert_array_equal(np.load(out / "new0.npy"), segmenter.segment(open_cube(scene)))
    assert told[0] == "new0: segmented"
    assert told[1] == f"new0: segmented anew, because mask is {tmp_path}/half.npy, was none"
    assert told[2].startswith("new0: segmented anew, because sieve is 30, was 0, mask is none, was")
    assert f"scene is {tmp_path}/b/new0.hdr, was {scene}" in told[3]
    assert "because scene is" in told[4]
    assert told[4] != told[3]


def test_maps_that_were_copied_from_another_folder_are_those_of_their_model(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    copy, scene = tmp_path / "copy", f"{tiny_run.scenes}/leaf_00.zarr"
    shutil.copytree(tiny_run.workdir / "maps", copy)
    call = ["segment", tiny_run.workdir, scene, "--out", copy]
    assert "leaf_00: complete already" in dgc(*call).stdout
    other = other_model(tiny_run, tmp_path / "other")
    result = dgc("segment", other, scene, "--out", copy)
    assert result.exit_code == 0
    assert "leaf_00: segmented anew, because model is " in result.stdout
    assert f"note: {copy} also holds maps of leaf_01, of another model, view or sieve." in (
        result.stdout
    )
    (copy / "manifest.json").unlink()  # nothing tells what they were made from
    before = (copy / "leaf_00.img").read_bytes()
    result = dgc(*call)
    assert result.exit_code == 2
    assert "found leaf_00.hdr, of which manifest.json does not say" in result.stderr
    assert (copy / "leaf_00.img").read_bytes() == before


def test_killed_while_maps_are_made_anew_takes_them_neither_for_the_old_nor_the_new(
    tiny_run: TinyRun,
    folder: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call = ["segment", tiny_run.workdir, folder / "new0.hdr", "--out", tmp_path]
    assert dgc(*call).exit_code == 0
    plain = (tmp_path / "new0.img").read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dgc_jax.show.results.write_overlay", killed)
        dgc(*call, "--sieve", 40)
    assert (tmp_path / "new0.img").read_bytes() != plain
    result = dgc(*call)
    assert "new0: segmented anew, because its writing was interrupted" in result.stdout
    assert (tmp_path / "new0.img").read_bytes() == plain


def test_maps_made_anew_leave_no_old_one_in_another_format(
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    call = ["segment", tiny_run.workdir, folder / "new0.hdr", "--out", tmp_path]
    assert dgc(*call, "--format", "npy,zarr").exit_code == 0
    assert dgc(*call, "--format", "envi", "--sieve", 40).exit_code == 0
    labels = np.fromfile(tmp_path / "new0.img", np.uint8).reshape(40, 40)
    np.testing.assert_array_equal(np.load(tmp_path / "new0.npy"), labels)
    store = ts.open({"driver": "zarr3", "kvstore": f"file://{tmp_path}/new0.zarr/"}).result()
    np.testing.assert_array_equal(store.read().result(), labels)


@pytest.mark.parametrize(
    ("names", "more", "shared"),
    [
        (("a", "a_overlay"), ["--format", "png"], "a_overlay.png"),
        (("a", "a_margin"), ["--format", "npy", "--confidence"], "a_margin.npy"),
        (("spectra",), ["--format", "png"], "spectra.png"),
    ],
)
def test_scenes_whose_files_would_overwrite_others_are_refused(
    tiny_run: TinyRun, tmp_path: pathlib.Path, names: list[str], more: list[str], shared: str
) -> None:
    (tmp_path / "in").mkdir()
    paths = [tmp_path / "in" / f"{name}.npy" for name in names]
    for path in paths:
        np.save(path, np.full((9, 9, 301), 0.5, np.float32))
    result = dgc("segment", tiny_run.workdir, *paths, "--out", tmp_path / "out", *more)
    assert result.exit_code == 2
    assert f"found {shared} to be one of" in result.stderr
    assert not list((tmp_path / "out").iterdir())
    if len(paths) == 2:  # nor one after the other
        call = ["segment", tiny_run.workdir, "--out", tmp_path / "out", *more]
        assert dgc(*call, paths[0]).exit_code == 0
        result = dgc(*call, paths[1])
        assert result.exit_code == 2
        assert f"found {shared} to be one of" in result.stderr


def test_second_process_in_a_folder_of_maps_is_refused(
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    with alone(tmp_path, "--out"):
        result = dgc("segment", tiny_run.workdir, folder / "new0.hdr", "--out", tmp_path)
    assert result.exit_code == 2
    assert "expected a folder in which no other process is at work, found process" in result.stderr


def test_scene_is_read_once(
    tiny_run: TinyRun,
    folder: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = np.zeros((40, 40), int)
    request = Cube.request

    def counted(cube: Cube, row: int, column: int, height: int, width: int) -> Pending:
        seen[max(row, 0) : row + height, max(column, 0) : column + width] += 1
        return request(cube, row, column, height, width)

    monkeypatch.setattr(Cube, "request", counted)
    result = dgc("segment", tiny_run.workdir, folder / "new0.hdr", "--out", tmp_path)
    assert result.exit_code == 0
    assert (tmp_path / "new0_overlay.png").exists()
    np.testing.assert_array_equal(seen, 1)


def test_folder_of_the_scenes_is_refused_for_maps(tiny_run: TinyRun, folder: pathlib.Path) -> None:
    before = sorted(folder.iterdir())
    result = dgc("segment", tiny_run.workdir, folder / "new0.hdr", "--out", folder)
    assert result.exit_code == 2
    assert "expected a folder without the scenes" in result.stderr
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--format", "gif"], "expected some of envi, png, npy, zarr, geotiff, geojson, found gif"),
        (["--format", ""], "found none"),
        (["--sieve", "-1"], "Invalid value for '--sieve'"),
        ([], "Missing option '--out'"),
    ],
)
def test_bad_usage_of_segment_exits_with_2(
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path: pathlib.Path, arguments: list[str], told: str
) -> None:
    out = ["--out", tmp_path / "out"] if arguments else []
    result = dgc("segment", tiny_run.workdir, folder, *out, *arguments)
    assert result.exit_code == 2
    assert told in result.stderr


def test_segment_without_a_model_exits_with_2(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    result = dgc("segment", tmp_path, folder, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "expected the workdir of a finished run" in result.stderr


def test_segment_into_the_workdir_of_a_run_is_refused(
    tiny_run: TinyRun, folder: pathlib.Path
) -> None:
    result = dgc("segment", tiny_run.workdir, folder / "new0.hdr", "--out", tiny_run.workdir)
    assert result.exit_code == 2
    assert "found the workdir of a run" in result.stderr


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


def test_evaluating_other_scenes_segments_them(tiny_run: TinyRun, folder: pathlib.Path) -> None:
    scenes = [str(folder / "new0.hdr"), str(folder / "new1.hdr")]
    result = evaluate(str(tiny_run.workdir), "{stem}_labels.png", scenes)
    segmenter = load(str(tiny_run.workdir))
    counts = np.zeros((4, 3), np.int64)
    for number, scene in enumerate(scenes):
        with PIL.Image.open(folder / f"new{number}_labels.png") as picture:
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
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    PIL.Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "blank.png")
    with pytest.raises(InputError, match="expected labelled pixels, found none"):
        evaluate(str(tiny_run.workdir), str(tmp_path / "blank.png"), str(folder / "new0.hdr"))


def test_a_scene_without_a_valid_pixel_says_why(tiny_run: TinyRun, tmp_path: pathlib.Path) -> None:
    metadata = {"wavelength": np.linspace(400, 1000, 301).tolist(), "wavelength units": "nm"}
    zeros = np.zeros((20, 20, 301), np.float32)
    spectral.io.envi.save_image(str(tmp_path / "dark.hdr"), zeros, metadata=metadata)
    result = dgc("segment", tiny_run.workdir, tmp_path / "dark.hdr", "--out", tmp_path / "maps")
    assert result.exit_code == 0
    assert "No sampled pixels are valid in" in result.stdout
    assert "all of them are zero in all bands" in " ".join(result.stdout.split())
