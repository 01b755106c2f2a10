"""`dgc segment`: what it writes, reports and refuses."""

import pathlib
import sys

import numpy as np
import PIL.Image
import pytest
import rasterio
import spectral.io.envi
import tensorstore as ts
from conftest import TinyRun, dgc, read_csv

from dgc_jax import load, open_cube
from dgc_jax.apply.sieve import sieve
from dgc_jax.data.cube import Cube, Pending
from dgc_jax.lock import alone

FORMATS = "npy,png,envi,zarr,geotiff"


def test_segment_writes_every_format_alike(
    tiny_run: TinyRun, new_scenes: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out"
    scene = new_scenes / "new1.hdr"
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


def test_geotiff_without_rasterio_is_refused_before_anything_is_segmented(
    tiny_run: TinyRun,
    new_scenes: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    out = tmp_path / "out"
    result = dgc("segment", tiny_run.workdir, new_scenes, "--out", out, "--format", "npy,geotiff")
    assert result.exit_code == 2
    assert "pip install 'dgc_jax[geo]'" in result.stderr
    assert not out.exists()


def test_bad_scene_is_told_and_the_rest_go_on(
    tiny_run: TinyRun, new_scenes: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    result = dgc("segment", tiny_run.workdir, new_scenes, "--out", tmp_path / "out")
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("dgc: ")]
    assert len(errors) == 1
    assert "broken.npy: cannot be opened" in errors[0]
    assert "1 of 3 scenes failed" in result.stdout
    areas = read_csv(tmp_path / "out" / "areas.csv")
    assert {row["scene"] for row in areas} == {"new0", "new1"}


def test_only_bad_scenes_exit_with_2(
    tiny_run: TinyRun, new_scenes: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out"
    result = dgc("segment", tiny_run.workdir, new_scenes / "broken.npy", "--out", out)
    assert result.exit_code == 2
    assert not (out / "areas.csv").exists()


def test_spectra_are_means_over_the_pixels_of_all_scenes(
    tiny_run: TinyRun, new_scenes: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    scenes = [new_scenes / "new0.hdr", new_scenes / "new1.hdr"]
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
    tiny_run: TinyRun, new_scenes: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    reflectance, _ = open_cube(new_scenes / "new0.hdr").read(0, 0, 40, 40)
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
    tiny_run: TinyRun, new_scenes: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    scene, plain, out = new_scenes / "new0.hdr", tmp_path / "plain", tmp_path / "out"
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
    tiny_run: TinyRun, new_scenes: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    with alone(tmp_path, "--out"):
        result = dgc("segment", tiny_run.workdir, new_scenes / "new0.hdr", "--out", tmp_path)
    assert result.exit_code == 2
    assert "expected a folder in which no other process is at work, found process" in result.stderr


def test_scene_is_read_once(
    tiny_run: TinyRun,
    new_scenes: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = np.zeros((40, 40), int)
    request = Cube.request

    def counted(cube: Cube, row: int, column: int, height: int, width: int) -> Pending:
        seen[max(row, 0) : row + height, max(column, 0) : column + width] += 1
        return request(cube, row, column, height, width)

    monkeypatch.setattr(Cube, "request", counted)
    result = dgc("segment", tiny_run.workdir, new_scenes / "new0.hdr", "--out", tmp_path)
    assert result.exit_code == 0
    assert (tmp_path / "new0_overlay.png").exists()
    np.testing.assert_array_equal(seen, 1)


def test_folder_of_the_scenes_is_refused_for_maps(
    tiny_run: TinyRun, new_scenes: pathlib.Path
) -> None:
    before = sorted(new_scenes.iterdir())
    result = dgc("segment", tiny_run.workdir, new_scenes / "new0.hdr", "--out", new_scenes)
    assert result.exit_code == 2
    assert "expected a folder without the scenes" in result.stderr
    assert sorted(new_scenes.iterdir()) == before


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
    tiny_run: TinyRun,
    new_scenes: pathlib.Path,
    tmp_path: pathlib.Path,
    arguments: list[str],
    told: str,
) -> None:
    out = ["--out", tmp_path / "out"] if arguments else []
    result = dgc("segment", tiny_run.workdir, new_scenes, *out, *arguments)
    assert result.exit_code == 2
    assert told in result.stderr


def test_segment_without_a_model_exits_with_2(
    new_scenes: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    result = dgc("segment", tmp_path, new_scenes, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "expected the workdir of a finished run" in result.stderr


def test_segment_into_the_workdir_of_a_run_is_refused(
    tiny_run: TinyRun, new_scenes: pathlib.Path
) -> None:
    result = dgc("segment", tiny_run.workdir, new_scenes / "new0.hdr", "--out", tiny_run.workdir)
    assert result.exit_code == 2
    assert "found the workdir of a run" in result.stderr


def test_a_scene_without_a_valid_pixel_says_why(tiny_run: TinyRun, tmp_path: pathlib.Path) -> None:
    metadata = {"wavelength": np.linspace(400, 1000, 301).tolist(), "wavelength units": "nm"}
    zeros = np.zeros((20, 20, 301), np.float32)
    spectral.io.envi.save_image(str(tmp_path / "dark.hdr"), zeros, metadata=metadata)
    result = dgc("segment", tiny_run.workdir, tmp_path / "dark.hdr", "--out", tmp_path / "maps")
    assert result.exit_code == 0
    assert "No sampled pixels are valid in" in result.stdout
    assert "all of them are zero in all bands" in " ".join(result.stdout.split())
