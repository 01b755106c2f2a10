"""How sure labels are, against float64 and in every file, and which pixels are unlike any."""

import csv
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Sequence

import click.testing
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rasterio
import scipy.special
import spectral.io.envi
import tensorstore as ts
from conftest import TinyRun
from PIL import Image

from dgc_jax import InputError, Segmenter, load, open_cube
from dgc_jax.apply import view
from dgc_jax.apply.sieve import sieve
from dgc_jax.cli import main
from dgc_jax.commands.merge import merge
from dgc_jax.data.cube import Cube, Pending
from dgc_jax.data.simulation import leaves
from dgc_jax.model import normalisation
from dgc_jax.show import confidence
from dgc_jax.train import describe, loop, options

GRID = np.linspace(400.0, 1000.0, 301)  # nm
LAMP = 0.05 + 0.8 * np.exp(-(((GRID - 650) / 6) ** 2) / 2)  # a line of emission: no leaf has one
SPOT = np.s_[10:22, 30:44]
HOLE = np.s_[0:6, 0:50]
FORMATS = "npy,png,envi,zarr,geotiff"


def dgc(*arguments: object) -> click.testing.Result:
    result = click.testing.CliRunner().invoke(main, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception  # a traceback is never right
    return result


@pytest.fixture(scope="module")
def segmenter(tiny_run: TinyRun) -> Segmenter:
    return load(str(tiny_run.workdir))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A scene like those of the training, and one with a lamp in it and a hole."""
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    for name in ("known", "lamp"):
        reflectance, _ = leaves.simulate(1, leaves.Leaves(size=56, scenes=2, seed=9))
        if name == "lamp":
            noise = 0.005 * rng.standard_normal((12, 14, 301))
            reflectance[SPOT] = LAMP + noise
            reflectance[HOLE] = 0
        spectral.io.envi.save_image(
            str(folder / f"{name}.hdr"),
            reflectance[:, :50],
            dtype=np.float32,
            metadata={
                "wavelength": GRID.tolist(),
                "wavelength units": "nm",
                "map info": "{UTM, 1, 1, 500000, 4000000, 2, 2, 33, North, WGS-84}",
            },
        )
    return folder


def truth(segmenter: Segmenter, path: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Margin and similarity (float64, NaN = no data) and labels of a scene taken as one image."""
    cube = open_cube(path)
    reflectance, valid = cube.read(0, 0, *cube.shape[:2])
    cosines = cosines_of(segmenter, reflectance[None], valid[None])[0]
    q = scipy.special.softmax(cosines / segmenter.model.temperature, axis=-1)
    ids = np.asarray(segmenter.tree.lookup)
    shares = np.stack([q[..., ids == k].sum(-1) for k in range(1, segmenter.clusters + 1)], -1)
    two = np.sort(shares, axis=-1)[..., -2:]
    margin, similarity = two[..., 1] - two[..., 0], cosines.max(axis=-1)
    labels = np.asarray(segmenter.predict(reflectance[None], valid[None]))[0]
    return np.where(valid, margin, np.nan), np.where(valid, similarity, np.nan), labels


def cosines_of(segmenter: Segmenter, crops: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """`[crop, row, column, K']` float64 cosines to the trained centroids."""

    @jax.jit
    def embedded(crops: jax.Array, valid: jax.Array) -> jax.Array:
        constants = segmenter.model.normalisation
        spectra = normalisation.to_bins(jnp.where(valid[..., None], crops, 0), constants)
        spectra = normalisation.normalise(spectra, constants)
        return segmenter.model.embed(spectra, valid)[1]

    z = embedded(crops, valid)
    return np.asarray(z, np.float64) @ np.asarray(segmenter.model.centroids, np.float64).T


def table(path: pathlib.Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pixels(path: pathlib.Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


# The floor


def test_floor_is_the_quantile_of_the_sample_pixels(
    tiny_run: TinyRun, segmenter: Segmenter
) -> None:
    config = tiny_run.config()
    crops, valid = zip(*loop.sample_batches(config, options.scenes(config), 16), strict=True)
    inside = np.concatenate(valid)
    ordered = np.sort(cosines_of(segmenter, np.concatenate(crops), inside).max(-1)[inside])
    assert len(ordered) == 2 * 48 * 48  # the tiles of both scenes, each pixel once
    floor, rare = segmenter.similarity_floor, int(describe.RARE * len(ordered))
    assert floor is not None
    assert rare == 46
    # So many pixels are below it, and a histogram's bin more would be one more.
    assert floor <= ordered[rare] + 1e-6
    assert floor > ordered[rare] - 1e-4 - 1e-6
    assert floor == pytest.approx(np.quantile(ordered, describe.RARE), abs=0.02)


def test_floor_is_below_every_pixel_where_they_are_few(
    tiny_run: TinyRun, segmenter: Segmenter
) -> None:
    config = tiny_run.config(clusters__sample=1, train__steps=1)
    crops, valid = next(loop.sample_batches(config, options.scenes(config), 1))
    valid = valid & (np.add.outer(np.arange(32), np.arange(32)) < 13)  # 91: none in a hundred
    assert 0 < valid.sum() < 100
    floor = describe.gather(segmenter.model, segmenter.model.centroids[None], [(crops, valid)])[2][
        0
    ]
    least = cosines_of(segmenter, crops, valid).max(-1)[valid].min()
    assert least - 1e-4 - 1e-6 < floor <= least + 1e-6


def test_model_of_an_earlier_version_has_no_floor_and_tells_margins_only(
    tiny_run: TinyRun, segmenter: Segmenter, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    model, out = tmp_path / "run" / "checkpoints" / "model", tmp_path / "out"
    shutil.copytree(tiny_run.workdir / "checkpoints" / "model", model)
    about = json.loads((model / "about.json").read_text())
    del about["similarity_floor"]
    (model / "about.json").write_text(json.dumps(about))
    old = load(str(tmp_path / "run"))
    assert old.similarity_floor is None
    crops = np.full((1, 8, 8, 301), 0.3, np.float32)
    told = old.confidence(crops)
    assert told.unlike is None
    np.testing.assert_array_equal(told.margin, segmenter.confidence(crops).margin)

    call = ["segment", tmp_path / "run", folder / "lamp.hdr", "--out", out, "--confidence"]
    result = dgc(*call)
    assert result.exit_code == 0, result.output
    assert "kept no similarity floor" in result.stdout.replace("\n", " ")
    assert "warning" not in result.stdout
    assert (out / "lamp_margin.png").exists()
    assert not (out / "lamp_unlike.png").exists()
    (line,) = table(out / "confidence.csv")
    assert (line["unlike_pixels"], line["unlike_percent"], line["similarity_floor"]) == ("", "", "")
    assert float(line["mean_margin"]) > 0
    assert "lamp: complete already" in dgc(*call).stdout


# Crops


def test_confidence_of_crops_is_that_of_float64(segmenter: Segmenter, folder: pathlib.Path) -> None:
    cube = open_cube(folder / "lamp.hdr")
    reflectance, valid = cube.read(0, 0, 56, 50)
    margin, similarity, _ = truth(segmenter, folder / "lamp.hdr")
    floor = segmenter.similarity_floor
    assert floor is not None
    for told in (
        segmenter.confidence(reflectance[None]),  # finds the hole on its own
        segmenter.confidence(reflectance[None], valid[None]),
        jax.jit(segmenter.confidence)(reflectance[None]),
    ):
        assert told.unlike is not None
        np.testing.assert_allclose(told.margin[0], np.nan_to_num(margin), atol=2e-5)
        np.testing.assert_allclose(told.similarity[0], np.nan_to_num(similarity), atol=1e-5)
        unlike = np.asarray(told.unlike)[0]
        clear = np.abs(similarity - floor) > 1e-5
        np.testing.assert_array_equal(unlike[clear], (similarity < floor)[clear])
        assert not unlike[HOLE].any()
    with pytest.raises(InputError, match="301 bands"):
        segmenter.confidence(reflectance[None, ..., :7])


def test_hole_is_not_unlike_though_its_similarity_is_below_the_floor(segmenter: Segmenter) -> None:
    told = dataclasses.replace(segmenter, similarity_floor=1.5).confidence(
        np.pad(np.full((1, 6, 6, 301), 0.3, np.float32), ((0, 0), (3, 3), (3, 3), (0, 0)))
    )
    expected = np.zeros((1, 12, 12), bool)
    expected[0, 3:9, 3:9] = True
    np.testing.assert_array_equal(told.unlike, expected)
    assert not np.asarray(told.margin)[~expected].any()


def test_margins_of_a_view_are_those_of_its_groups(
    segmenter: Segmenter, folder: pathlib.Path
) -> None:
    seen = view.apply(segmenter, view.join(segmenter, [[1, 3]]))
    margin, similarity, _ = truth(segmenter, folder / "known.hdr")
    grouped, same, _ = truth(seen, folder / "known.hdr")
    reflectance, valid = open_cube(folder / "known.hdr").read(0, 0, 56, 50)
    told = seen.confidence(reflectance[None], valid[None])
    np.testing.assert_allclose(told.margin[0], grouped, atol=2e-5)
    np.testing.assert_allclose(told.similarity[0], similarity, atol=1e-5)
    np.testing.assert_array_equal(same, similarity)
    assert np.abs(grouped - margin).max() > 0.1


def test_a_single_cluster_has_no_rival(segmenter: Segmenter, folder: pathlib.Path) -> None:
    one = view.apply(segmenter, view.cut(segmenter, 1))
    reflectance, valid = open_cube(folder / "lamp.hdr").read(0, 0, 56, 50)
    np.testing.assert_allclose(one.confidence(reflectance[None]).margin[0], valid, atol=1e-5)


# What is unlike


def test_a_material_that_was_not_trained_on_is_unlike_and_the_rest_is_not(
    segmenter: Segmenter, folder: pathlib.Path
) -> None:
    unlike = {}
    for name in ("known", "lamp"):
        reflectance, _ = open_cube(folder / f"{name}.hdr").read(0, 0, 56, 50)
        flags = segmenter.confidence(reflectance[None]).unlike
        assert flags is not None
        unlike[name] = np.array(flags)[0]
    assert unlike["lamp"][SPOT].mean() > 0.95
    assert unlike["known"].mean() < 0.01
    unlike["lamp"][8:24, 28:46] = False  # the encoder and the mean shift reach 4 pixels around it
    assert unlike["lamp"].mean() < 0.01


# Files


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
    lines = table(out / "confidence.csv")
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


# Running again


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
