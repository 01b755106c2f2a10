"""Scenes unlike those that a model was trained on say so, and scenes like them do not."""

import dataclasses
import logging
import re

import numpy as np
import pytest
import spectral

from dgc_jax import open_cube
from dgc_jax.apply import likeness
from dgc_jax.commands.evaluate import evaluate
from dgc_jax.commands.segment import segment
from dgc_jax.data import units
from dgc_jax.data.simulation import leaves

pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.fixture(scope="module")
def unseen(tmp_path_factory):
    """Leaf scenes of another seed: reflectance `[row, column, band]` and wavelengths."""
    folder = tmp_path_factory.mktemp("unseen")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DGC_CACHE", str(folder))
        scenes = leaves.ensure(leaves.Leaves(scenes=2, size=48, seed=5), progress=False)
    cubes = [open_cube(f"{scenes}/leaf_0{number}.zarr") for number in (0, 1)]
    return [(cube.read(0, 0, 48, 48)[0], cube.wavelengths) for cube in cubes]


def write(folder, array, wavelengths=None, name="scene", **header):
    metadata = {} if wavelengths is None else {"wavelength": list(wavelengths)}
    path = str(folder / f"{name}.hdr")
    spectral.envi.save_image(path, array, metadata=metadata | header, ext=".img", force=True)
    return path


def told(segmenter, path, **options):
    cube = segmenter.adapt(open_cube(path, **options))
    return " ".join(likeness.doubts(segmenter, cube, units.sample(cube)))


@pytest.mark.parametrize("factor", [1 / 3, 0.5, 1, 2, 3])
def test_unseen_scenes_in_ordinary_light_are_no_news(segmenter, unseen, tmp_path, factor):
    for reflectance, wavelengths in unseen:
        path = write(tmp_path, (factor * reflectance).astype(np.float32), wavelengths)
        assert told(segmenter, path) == ""


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (1e4, r"\d,\d00 times as bright as .* has no scale factor.* raw counts or radiance"),
        (100, "times as bright as .* has no scale factor"),
        (30, "times as bright as .* has no scale factor"),
        (1e-2, "times darker than .* another unit"),
        (1e-4, "times darker than .* another unit"),
    ],
)
def test_scenes_of_another_scale_say_so(segmenter, unseen, tmp_path, caplog, factor, expected):
    for reflectance, wavelengths in unseen:
        path = write(tmp_path, (factor * reflectance).astype(np.float32), wavelengths)
        caplog.clear()
        segmenter.segment(open_cube(path))
        assert len(caplog.records) == 1
        assert path in caplog.text
        assert "labels may mean nothing" in caplog.text
        assert re.search(expected, caplog.text)


def test_the_reason_is_what_the_file_and_the_training_say(segmenter, unseen, tmp_path):
    reflectance, wavelengths = unseen[0]
    divided = {"reflectance scale factor": 10000}
    path = write(tmp_path, reflectance, wavelengths, **divided)
    assert "divided by its scale factor 10000 already" in told(segmenter, path)
    counts = write(tmp_path, (4000 * reflectance).astype(np.uint16), wavelengths, "counts")
    assert "pass white= and dark=" in told(segmenter, counts)
    calibrated = {**segmenter.config, "data": {**segmenter.config["data"], "white": "w.hdr"}}
    other = dataclasses.replace(segmenter, config=calibrated)
    assert "training's were calibrated by references and it is not" in told(other, counts)
    white = write(tmp_path, np.full((1, 48, 301), 40, np.uint16), wavelengths, "white")
    assert "check its white and dark references" in told(segmenter, counts, white=white)


@pytest.mark.parametrize(
    ("bound", "sign"), [(units.BRIGHTER, 1), (1 / units.DARKER, -1)], ids=["brighter", "darker"]
)
def test_brightness_has_a_bound_on_either_side(segmenter, unseen, tmp_path, bound, sign):
    _, wavelengths = unseen[0]
    theirs = likeness.trained(segmenter)
    # The clusters have no say here.
    blind = dataclasses.replace(segmenter, similarity_floor=-1.0)
    for factor, warned in ((1.01**-sign, False), (1.01**sign, True)):
        array = np.full((48, 48, 301), factor * bound * theirs.level, np.float32)
        path = write(tmp_path, array, wavelengths)
        assert ("the scenes that the model was trained on" in told(blind, path)) == warned


def test_few_bright_pixels_that_are_no_reflectance_have_a_bound(segmenter, unseen, tmp_path):
    _, wavelengths = unseen[0]
    theirs = likeness.trained(segmenter)
    assert units.BRIGHTER * theirs.high > 1.1 * units.LARGE
    blind = dataclasses.replace(segmenter, similarity_floor=-1.0)
    for factor, warned in ((0.99, False), (1.01, True)):
        array = np.full((48, 48, 301), 0.5 * theirs.level, np.float32)
        array[:2] = factor * units.BRIGHTER * theirs.high  # 4 % of the pixels
        path = write(tmp_path, array, wavelengths)
        assert ("the scenes that the model was trained on" in told(blind, path)) == warned


@pytest.mark.parametrize("tile", [8, 40, 200])
def test_tiles_are_watched_as_the_scene_is_sampled(segmenter, unseen, tmp_path, monkeypatch, tile):
    large = np.tile(unseen[0][0], (3, 2, 1))[:130]  # 130 rows: three windows, 96 columns: one
    large[3, 5] = 0  # no data
    cube = open_cube(write(tmp_path, large, unseen[0][1]))
    seen = []
    monkeypatch.setattr(likeness, "doubts", lambda _, __, windows: seen.extend(windows) or [])
    segmenter.segment(cube, tile=tile)
    expected = units.numbers(units.sample(segmenter.adapt(cube)))
    assert units.numbers(seen) == pytest.approx(expected)
    valid = sum(int(valid.sum()) for _, valid in seen)
    assert valid == sum(int(valid.sum()) for _, valid in units.sample(cube)) == 96 * 96 - 1


def test_the_share_of_pixels_unlike_any_cluster_has_a_bound(segmenter, unseen, tmp_path):
    path = write(tmp_path, *unseen[0])
    blocks = likeness._blocks(units.sample(segmenter.adapt(open_cube(path))))
    similarity = [
        np.asarray(segmenter.confidence(crop[None], valid[None]).similarity)[0][valid]
        for crop, valid in blocks
    ]
    ordered = np.sort(np.concatenate(similarity))
    assert len(ordered) == 48 * 48
    for share, warned in ((likeness.UNLIKE - 0.01, False), (likeness.UNLIKE + 0.01, True)):
        floor = float(ordered[int(share * len(ordered))])
        said = told(dataclasses.replace(segmenter, similarity_floor=floor), path)
        assert ("51% of the sampled pixels" in said and "unlike any cluster" in said) == warned
    assert told(dataclasses.replace(segmenter, similarity_floor=None), path) == ""


def test_bands_that_are_far_apart_say_so_and_near_ones_are_told_as_interpolated(
    segmenter, unseen, tmp_path
):
    reflectance, wavelengths = unseen[0]
    near = write(tmp_path, reflectance[:, :, ::20], wavelengths[::20], "near")  # 40 nm: the bound
    assert "near.hdr (16 bands of 400-1000 nm) is interpolated" in told(segmenter, near)
    assert "mean nothing" not in told(segmenter, near)
    far = write(tmp_path, reflectance[:, :, ::25], wavelengths[::25], "far")  # 50 nm
    assert "up to 50 nm apart, so its labels may mean nothing" in told(segmenter, far)
    kept = (wavelengths < 700) | (wavelengths > 760)  # a gap where the model has bands
    gap = write(tmp_path, reflectance[:, :, kept], wavelengths[kept], "gap")
    assert "31 (700-760 nm) lie between bands that are up to 64 nm apart" in told(segmenter, gap)


def test_a_scene_without_wavelengths_says_what_its_bands_are_taken_for(segmenter, unseen, tmp_path):
    path = write(tmp_path, unseen[0][0])
    assert "does not say its wavelengths" in told(segmenter, path)
    assert "wavelengths=" in told(segmenter, path)


def test_commands_pass_it_on(tiny_run, unseen, tmp_path, caplog):
    reflectance, wavelengths = unseen[0]
    data = tmp_path / "data"
    data.mkdir()
    write(data, reflectance, wavelengths, "good")
    write(data, (1e4 * reflectance).astype(np.int16), wavelengths, "bad")
    np.save(data / "bad_labels.npy", np.ones((48, 48), np.uint8))
    with caplog.at_level(logging.WARNING):
        wrong = segment(str(tiny_run.workdir), str(data), str(tmp_path / "maps"))
    assert set(wrong.values()) == {None}
    assert caplog.text.count("the scenes that the model was trained on") == 1
    assert "bad.hdr is" in caplog.text
    caplog.clear()
    evaluate(str(tiny_run.workdir), "{stem}_labels.*", str(data))
    assert "bad.hdr is" in caplog.text
