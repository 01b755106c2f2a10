"""How sure labels are, against float64, and which pixels are unlike any."""

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
from conftest import TinyRun, dgc, read_csv

from dgc_jax import InputError, Segmenter, load, open_cube
from dgc_jax.apply import view
from dgc_jax.train import describe, loop, options
from tests.apply import lamp
from tests.apply.lamp import HOLE, SPOT, cosines_of, truth


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return lamp.write(tmp_path_factory.mktemp("scenes"))


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
    (line,) = read_csv(out / "confidence.csv")
    assert (line["unlike_pixels"], line["unlike_percent"], line["similarity_floor"]) == ("", "", "")
    assert float(line["mean_margin"]) > 0
    assert "lamp: complete already" in dgc(*call).stdout


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
