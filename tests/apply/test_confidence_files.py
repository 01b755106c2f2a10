"""`dgc segment --confidence`: its files, tables and pictures, and running again."""

import json
import pathlib
from collections.abc import Sequence

import numpy as np
import pytest
import rasterio
import spectral.io.envi
import tensorstore as ts
from conftest import TinyRun, dgc, read_csv
from PIL import Image

from dgc_jax import Segmenter
from dgc_jax.apply import view
from dgc_jax.apply.sieve import sieve
from dgc_jax.commands.merge import merge
from dgc_jax.data.cube import Cube, Pending
from dgc_jax.show import confidence
from tests.apply import lamp
from tests.apply.lamp import truth

FORMATS = "npy,png,envi,zarr,geotiff"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return lamp.write(tmp_path_factory.mktemp("scenes"))


def pixels(path: pathlib.Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture(scope="module")
def written(
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[pathlib.Path, str]:
    """Both scenes segmented with confidence into every format, and what was said."""
    out = tmp_path_factory.mktemp("written") / "out"
    call = ["segment", tiny_run.workdir, folder, "--out", out, "--format", FORMATS]
    result = dgc(*call, "--confidence")
    assert result.exit_code == 0, result.output
    return out, result.stdout


@pytest.mark.parametrize("name", ["known", "lamp"])
def test_every_format_holds_margin_and_similarity(
    written: tuple[pathlib.Path, str], segmenter: Segmenter, folder: pathlib.Path, name: str
) -> None:
    out, _ = written
    floor = segmenter.similarity_floor
    margin, similarity, labels = truth(segmenter, folder / f"{name}.hdr")
    bands = np.load(out / f"{name}_margin.npy")
    assert bands.dtype == np.float32
    np.testing.assert_allclose(bands, [margin, similarity], atol=2e-5)
    np.testing.assert_array_equal(np.load(out / f"{name}.npy"), labels)

    store = ts.open({"driver": "zarr3", "kvstore": f"file://{out}/{name}_margin.zarr/"}).result()
    np.testing.assert_array_equal(store.read().result(), bands)
    assert store.domain.labels == ("band", "row", "column")
    about = json.loads((out / f"{name}_margin.zarr" / "zarr.json").read_text())
    assert about["fill_value"] == "NaN"
    assert about["attributes"] == {
        "band_names": ["margin", "similarity"],
        "similarity_floor": floor,
    }

    with rasterio.open(out / f"{name}_margin.tif") as image:
        np.testing.assert_array_equal(image.read(), bands)
        assert image.descriptions == ("margin", "similarity")
        assert np.isnan(image.nodata)
        assert image.crs.to_epsg() == 32633
        assert image.transform[:6] == (2, 0, 500000, 0, -2, 4000000)
        assert float(image.tags()["similarity_floor"]) == floor
    with rasterio.open(out / f"{name}.tif") as image:  # the map itself stays as it was
        assert (image.count, image.nodata) == (1, 0)

    envi = spectral.io.envi.open(out / f"{name}_margin.hdr", out / f"{name}_margin.img")
    image = np.stack([envi.read_band(0), envi.read_band(1)])
    np.testing.assert_array_equal(image, bands)
    assert envi.metadata["band names"] == ["margin", "similarity"]
    assert envi.metadata["map info"][:2] == ["UTM", "1"]


def test_pictures_show_the_margin_and_what_is_unlike(
    written: tuple[pathlib.Path, str], segmenter: Segmenter
) -> None:
    out, _ = written
    margin, similarity = np.load(out / "lamp_margin.npy").astype(np.float64)
    hole = np.isnan(margin)
    assert hole.sum() == 6 * 50

    with Image.open(out / "lamp_margin.png") as image:
        assert image.mode == "L"
        assert image.info["transparency"] == 0
        grey = np.asarray(image)
    assert (grey[hole] == 0).all()
    assert grey[~hole].min() >= 1
    assert np.abs(grey[~hole] / 255 - margin[~hole]).max() <= 1 / 255

    picture, labels = pixels(out / "lamp_unlike.png"), pixels(out / "lamp.png")
    unlike = similarity < segmenter.similarity_floor
    assert unlike.sum() > 100
    np.testing.assert_array_equal((picture[..., :3] == confidence.UNLIKE).all(-1), unlike)
    np.testing.assert_array_equal(picture[..., 3] > 0, ~hole)
    for k in range(1, segmenter.clusters + 1):
        (colour,) = np.unique(picture[(labels == k) & ~unlike], axis=0)
        assert colour[:3].min() >= 178  # pale, in the hue of its cluster
        np.testing.assert_allclose(255 - colour[:3], 0.3 * (255 - segmenter.colours[k]), atol=1)


def test_table_and_screen_tell_the_scenes_numbers(
    written: tuple[pathlib.Path, str], segmenter: Segmenter, folder: pathlib.Path
) -> None:
    out, said = written
    lines = read_csv(out / "confidence.csv")
    assert [line["scene"] for line in lines] == ["known", "lamp"]
    for line in lines:
        margin, similarity, _ = truth(segmenter, folder / f"{line['scene']}.hdr")
        seen = ~np.isnan(margin)
        unlike = np.count_nonzero(similarity < segmenter.similarity_floor)
        assert int(line["pixels"]) == seen.sum()
        assert float(line["mean_margin"]) == pytest.approx(margin[seen].mean(), abs=1e-5)
        half = 100 * np.mean(margin[seen] < 0.5)
        assert float(line["percent_below_half"]) == pytest.approx(half, abs=0.05)
        assert int(line["unlike_pixels"]) == unlike
        assert float(line["unlike_percent"]) == pytest.approx(100 * unlike / seen.sum(), rel=1e-4)
        assert float(line["similarity_floor"]) == pytest.approx(segmenter.similarity_floor)
    share = 100 * unlike / seen.sum()
    assert 5 < share < 10
    assert f"lamp: segmented, {share:.1f} % of its pixels unlike any cluster" in said
    assert f"warning: {share:.1f} % of the pixels of lamp are unlike what the model was" in said
    assert said.count("warning") == 1


def test_a_scene_without_data_has_no_numbers(tmp_path: pathlib.Path) -> None:
    line = confidence.summarise("void", confidence.blank((4, 5)), 0.3)
    assert line == ("void", 0, None, None, 0, None, 0.3)


def test_margins_are_those_before_the_sieve(
    tiny_run: TinyRun,
    written: tuple[pathlib.Path, str],
    folder: pathlib.Path,
    tmp_path: pathlib.Path,
) -> None:
    call = ["segment", tiny_run.workdir, folder / "lamp.hdr", "--out", tmp_path, "--format", "npy"]
    assert dgc(*call, "--confidence", "--sieve", 30).exit_code == 0
    out, _ = written
    plain, labels = np.load(out / "lamp.npy"), np.load(tmp_path / "lamp.npy")
    assert np.any(labels != plain)
    np.testing.assert_array_equal(labels, sieve(plain, 30))
    np.testing.assert_array_equal(
        np.load(tmp_path / "lamp_margin.npy"), np.load(out / "lamp_margin.npy")
    )


def test_view_of_the_command_line_has_the_margins_of_its_groups(
    tiny_run: TinyRun, segmenter: Segmenter, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    path, _ = merge(str(tiny_run.workdir), groups=[[1, 3]], out=str(tmp_path / "v.json"))
    call = ["segment", tiny_run.workdir, folder / "known.hdr", "--out", tmp_path, "--format", "npy"]
    assert dgc(*call, "--view", path, "--confidence").exit_code == 0
    margin, similarity, _ = truth(view.seen_through(segmenter, path), folder / "known.hdr")
    bands = np.load(tmp_path / "known_margin.npy")
    np.testing.assert_allclose(bands, [margin, similarity], atol=2e-5)


def test_scene_is_read_once(
    tiny_run: TinyRun,
    folder: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = np.zeros((56, 50), int)
    request = Cube.request

    def counted(cube: Cube, row: int, column: int, height: int, width: int) -> Pending:
        seen[max(row, 0) : row + height, max(column, 0) : column + width] += 1
        return request(cube, row, column, height, width)

    monkeypatch.setattr(Cube, "request", counted)
    call = ["segment", tiny_run.workdir, folder / "known.hdr", "--out", tmp_path, "--confidence"]
    assert dgc(*call).exit_code == 0
    assert (tmp_path / "known_unlike.png").exists()
    np.testing.assert_array_equal(seen, 1)


def files(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_folder_may_be_segmented_without_and_then_with_confidence(
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    def call(out: str, scenes: Sequence[str], *more: object) -> str:
        paths = [folder / f"{name}.hdr" for name in scenes]
        result = dgc("segment", tiny_run.workdir, *paths, "--out", tmp_path / out, *more)
        assert result.exit_code == 0, result.output
        return result.stdout

    call("fresh", ["known", "lamp"], "--confidence")
    call("out", ["known", "lamp"])
    plain = files(tmp_path / "out")
    assert not any("margin" in name or "confidence" in name for name in plain)

    said = call("out", ["known"], "--confidence")  # its maps are there, its margins are not
    assert "known: segmented" in said
    said = call("out", ["known", "lamp"], "--confidence")
    assert "known: complete already, " in said
    assert "lamp: segmented" in said
    with_it = files(tmp_path / "out")
    assert with_it == files(tmp_path / "fresh")
    plain.pop("manifest.json")
    assert {name: with_it[name] for name in plain} == plain  # the maps are the same

    said = call("out", ["known", "lamp"])  # and without it nothing of it is touched
    assert "known: complete already\n" in said
    assert "lamp: complete already\n" in said
    assert files(tmp_path / "out") == with_it


@pytest.mark.parametrize(
    "missing", ["known_confidence.json", "known_margin.png", "known_margin.hdr"]
)
def test_what_a_killed_job_has_not_written_is_written_again(
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path: pathlib.Path, missing: str
) -> None:
    call = ["segment", tiny_run.workdir, folder / "known.hdr", "--out", tmp_path, "--confidence"]
    assert dgc(*call).exit_code == 0
    whole = files(tmp_path)
    (tmp_path / missing).unlink()
    assert "known: segmented" in dgc(*call).stdout
    assert files(tmp_path) == whole
    assert "known: complete already" in dgc(*call).stdout


def test_numbers_that_were_damaged_are_made_again(
    tiny_run: TinyRun, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    call = ["segment", tiny_run.workdir, folder / "known.hdr", "--out", tmp_path, "--confidence"]
    assert dgc(*call).exit_code == 0
    whole, text = files(tmp_path), tmp_path / "known_confidence.json"
    text.write_text("[1]".ljust(text.stat().st_size))
    result = dgc(*call)
    assert result.exit_code == 0, result.output
    assert "known: segmented anew, because" in result.stdout
    assert files(tmp_path) == whole
