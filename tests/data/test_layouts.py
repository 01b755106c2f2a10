"""Folders built as cameras' makers document them, calibrated against NumPy."""

import numpy as np
import pytest
import spectral

from dgc_jax.data.find import find_scenes
from dgc_jax.data.formats.detect import scene_name
from dgc_jax.data.scenes import open_scenes
from dgc_jax.errors import InputError

ROWS, COLUMNS, BANDS = 6, 5, 4
TRUE = np.random.default_rng(0).uniform(0.1, 0.9, (ROWS, COLUMNS, BANDS))
LIGHT = np.random.default_rng(1).uniform(150, 250, (COLUMNS, BANDS))  # counts a ms


def counts(reflectance, time, dark):
    """What a sensor stores of a reflectance in `time` ms."""
    return (
        np.round(np.broadcast_to(reflectance, (len(reflectance), COLUMNS, BANDS)) * LIGHT * time)
        + dark
    )


def write(path, array, ending=".raw", **fields):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"wavelength": [400, 600, 800, 1000], "wavelength units": "nm"} | fields
    spectral.envi.save_image(
        str(path), array.astype(np.uint16), dtype=np.uint16, interleave="bil", ext=ending,
        metadata=header,
    )  # fmt: skip


def specim(folder, name, time=8, white=8, white_dark=None):
    """A capture of a Specim camera."""
    capture = folder / name / "capture"
    write(capture / f"{name}.hdr", counts(TRUE, time, 100), tint=time)
    write(capture / f"DARKREF_{name}.hdr", counts(np.zeros((3, 1, 1)), time, 100), tint=time)
    offset = 100 if white_dark is None else white_dark
    write(capture / f"WHITEREF_{name}.hdr", counts(np.ones((3, 1, 1)), white, offset), tint=white)
    if white_dark is not None:
        dark = counts(np.zeros((3, 1, 1)), white, white_dark)
        write(capture / f"WHITEDARKREF_{name}.hdr", dark, tint=white)
    bad = folder / name / "calibrations" / "bpr" / "bprmap.hdr"
    write(bad, np.ones((1, COLUMNS, BANDS)))


def check(scene):
    found, valid = scene.cube.read(0, 0, ROWS, COLUMNS)
    assert valid.all()
    np.testing.assert_allclose(found, TRUE, atol=2e-3)


@pytest.mark.parametrize(("white", "white_dark"), [(8, None), (2, None), (3, 40)])
def test_specim_captures_are_calibrated_at_their_own_exposure(tmp_path, white, white_dark):
    for name in ("leaf_1", "leaf_2"):
        specim(tmp_path, name, white=white, white_dark=white_dark)
    scenes = open_scenes(str(tmp_path))
    assert [scene.cube.name for scene in scenes] == ["leaf_1", "leaf_2"]
    for scene in scenes:
        check(scene)
        notes = " ".join(scene.cube.notes)
        assert f"Specim: white reference WHITEREF_{scene.cube.name}.hdr" in notes
        assert ("times as long" in notes) == (white != 8)


def test_the_raw_capture_is_taken_and_not_its_processed_copy(tmp_path, caplog):
    specim(tmp_path, "7")
    copy = tmp_path / "7" / "results" / "REFLECTANCE_7.hdr"
    write(copy, TRUE * 10000, ".dat")
    (scene,) = open_scenes(str(tmp_path))
    check(scene)
    assert "REFLECTANCE_7.hdr (same capture as 7.hdr)" in caplog.text
    for path in (tmp_path / "7" / "capture").glob("WHITE*"):
        path.unlink()
    assert [path.rpartition("/")[2] for path in find_scenes(str(tmp_path))] == [copy.name]


@pytest.mark.parametrize("place", ["beside", "above", "folders"])
def test_headwall_scenes_are_called_as_their_folders(tmp_path, place):
    for name in ("plot_a", "plot_b"):
        write(tmp_path / name / "raw_0.hdr", counts(TRUE, 8, 100), "")
        where = {
            "beside": (
                tmp_path / name / "WhiteReference.hdr",
                tmp_path / name / "DarkReference.hdr",
            ),
            "above": (tmp_path / "whiteReference.hdr", tmp_path / "darkReference.hdr"),
            "folders": (
                tmp_path / "white_2020_11_11_09_36_42" / "raw_0.hdr",
                tmp_path / "dark_2020_11_11_09_30_02" / "raw_0.hdr",
            ),
        }[place]
        if not where[0].exists():
            write(where[0], counts(np.ones((3, 1, 1)), 8, 100), "")
            write(where[1], counts(np.zeros((3, 1, 1)), 8, 100), "")
    scenes = open_scenes(str(tmp_path))
    assert [scene.cube.name for scene in scenes] == ["plot_a", "plot_b"]
    for scene in scenes:
        check(scene)


def test_parts_of_a_headwall_capture_have_names_of_their_own(tmp_path):
    for first in (0, 2000):
        write(tmp_path / "plot" / f"raw_{first}.hdr", counts(TRUE, 8, 100), "")
    found = list(map(scene_name, find_scenes(str(tmp_path))))
    assert found == ["plot_raw_0", "plot_raw_2000"]


def test_hyspex_names_tell_camera_and_exposure(tmp_path):
    def name(what, time):
        return f"{what}_VNIR_1800_SN00841_HSNR1_{time}us_2025-04-15T111238_raw.hdr"

    write(tmp_path / name("leaf", 8000), counts(TRUE, 8, 100), ".hyspex")
    write(tmp_path / name("white", 2000), counts(np.ones((3, 1, 1)), 2, 100), ".hyspex")
    write(tmp_path / name("dark", 8000), counts(np.zeros((3, 1, 1)), 8, 100), ".hyspex")
    (scene,) = open_scenes(str(tmp_path))
    check(scene)
    assert "4 times as long" in " ".join(scene.cube.notes)


def test_resonon_shutters_and_gains_are_compared(tmp_path):
    write(tmp_path / "leaf.bil.hdr", counts(TRUE, 8, 100), "", shutter=8.0, gain=0.0)
    (tmp_path / "leaf.bil.").unlink(missing_ok=True)
    write(tmp_path / "white.hdr", counts(np.ones((3, 1, 1)), 4, 100), ".bil", shutter=4.0, gain=6.0)
    write(tmp_path / "dark.hdr", counts(np.zeros((3, 1, 1)), 8, 100), ".bil", shutter=8.0)
    (scene,) = open_scenes(str(tmp_path))
    check(scene)
    notes = " ".join(scene.cube.notes)
    assert "2 times as long" in notes
    assert "gain is 0 and that of white.hdr 6: not corrected" in notes


def test_guesses_are_overruled(tmp_path):
    specim(tmp_path, "a")
    (raw,) = open_scenes(str(tmp_path), white="")
    np.testing.assert_array_equal(raw.cube.read(0, 0, ROWS, COLUMNS)[0], counts(TRUE, 8, 100))
    (scaled,) = open_scenes(str(tmp_path), scale=10000)
    expected = counts(TRUE, 8, 100) / 10000
    np.testing.assert_allclose(scaled.cube.read(0, 0, ROWS, COLUMNS)[0], expected, rtol=1e-6)
    (undark,) = open_scenes(str(tmp_path), dark="")
    expected = counts(TRUE, 8, 100) / counts(np.ones((1, 1, 1)), 8, 100)
    np.testing.assert_allclose(undark.cube.read(0, 0, ROWS, COLUMNS)[0], expected, rtol=1e-5)
    white = str(tmp_path / "a" / "capture" / "WHITEREF_a.hdr")
    with pytest.raises(InputError, match=r"found both scale=10000 and .*WHITEREF_a"):
        open_scenes(str(tmp_path), scale=10000, white=white)


def test_a_reference_of_another_scene_or_size_is_not_taken(tmp_path):
    write(tmp_path / "a.hdr", counts(TRUE, 8, 100))
    write(tmp_path / "b.hdr", counts(TRUE, 8, 100))
    write(tmp_path / "WHITEREF_a.hdr", counts(np.ones((3, 1, 1)), 8, 0))
    first, second = open_scenes(str(tmp_path))
    assert first.cube.calibration.by_references
    assert not second.cube.calibration.by_references
    write(
        tmp_path / "WHITEREF_b.hdr",
        counts(np.ones((3, 1, 1)), 8, 0)[:, :, :3],
        wavelength=[1, 2, 3],
    )
    second = open_scenes(str(tmp_path))[1]
    assert not second.cube.calibration.by_references
    assert "none is used" in second.cube.notes[-1]
