"""Finding scenes and what lies beside them, and making them agree on their bands."""

import logging
import os
import pickle

import numpy as np
import PIL.Image
import pytest
import scipy.io
import spectral
import tensorstore as ts

from dgc_jax.data.find import find_scenes
from dgc_jax.data.formats.detect import scene_name
from dgc_jax.data.scenes import open_scenes
from dgc_jax.errors import InputError

ROWS, COLUMNS = 4, 5
GRID = np.linspace(400.0, 1000.0, 7)


def spectrum(wavelengths):
    """Reflectance that is linear in wavelength, so that interpolation is exact."""
    return np.asarray(wavelengths) / 2000.0


def write_envi(folder, name, wavelengths=GRID, ending=".img"):
    cube = np.broadcast_to(spectrum(wavelengths), (ROWS, COLUMNS, len(wavelengths)))
    metadata = {"wavelength": list(wavelengths), "wavelength units": "nm"}
    path = str(folder / f"{name}.hdr")
    spectral.envi.save_image(path, cube.astype(np.float32), metadata=metadata, ext=ending)
    return path


def write_npy(folder, name, bands=7):
    path = str(folder / f"{name}.npy")
    np.save(path, np.ones((ROWS, COLUMNS, bands), np.float32))
    return path


def write_zarr(folder, name):
    path = str(folder / f"{name}.zarr")
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": path},
        "metadata": {"attributes": {"wavelengths": list(GRID)}},
    }
    store = ts.open(spec, create=True, dtype=ts.float32, shape=(ROWS, COLUMNS, len(GRID))).result()
    store.write(np.broadcast_to(spectrum(GRID).astype(np.float32), store.shape)).result()
    return path


def write_labels(folder, name, value=1):
    PIL.Image.fromarray(np.full((ROWS, COLUMNS), value, np.uint8)).save(folder / name)
    return str(folder / name)


def names(paths):
    return [os.path.basename(path) for path in paths]


def test_a_folder_holds_one_scene_for_each_cube_and_nothing_else(tmp_path):
    write_envi(tmp_path, "a")
    write_envi(tmp_path, "b", ending=".raw")
    write_npy(tmp_path, "c")
    write_zarr(tmp_path, "d")
    write_labels(tmp_path, "a_labels.png")
    np.save(tmp_path / "b_labels.npy", np.ones((ROWS, COLUMNS)))
    spectral.envi.save_classification(str(tmp_path / "c_labels.hdr"), np.ones((ROWS, COLUMNS)))
    (tmp_path / "d.json").write_text("{}")
    (tmp_path / ".unfinished.zarr").mkdir()
    (tmp_path / "other").mkdir()
    found = find_scenes(str(tmp_path), companions=("{stem}_labels.*", None))
    assert names(found) == ["a.hdr", "b.hdr", "c.npy", "d.zarr"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["a.hdr", "ab.hdr", "c.npy"]),
        ("a*", ["a.hdr", "ab.hdr"]),
        ("a.*", ["a.hdr"]),
        ("*.img", ["a.img", "ab.img"]),
        ("[ac].*", ["a.hdr", "c.npy"]),
    ],
)
def test_a_glob_finds_each_scene_once(tmp_path, pattern, expected):
    write_envi(tmp_path, "a")
    write_envi(tmp_path, "ab")
    write_npy(tmp_path, "c")
    write_labels(tmp_path, "a_labels.png")
    found = find_scenes(str(tmp_path / pattern), companions=("{stem}_labels.*",))
    assert names(found) == expected


def test_several_paths_keep_their_order_and_count_once(tmp_path):
    b, a = write_npy(tmp_path, "b"), write_npy(tmp_path, "a")
    assert find_scenes((b, a, b)) == [b, a]
    assert find_scenes([b, str(tmp_path / "*.npy")]) == [b, a]


def test_a_remote_scene_is_left_to_the_reader():
    assert find_scenes("gs://bucket/scene.zarr/") == ["gs://bucket/scene.zarr/"]


def test_scenes_of_one_name_in_several_folders_are_told_apart_by_these(tmp_path, caplog):
    for folder in ("x/capture", "y/capture", "z"):
        (tmp_path / folder).mkdir(parents=True)
        write_npy(tmp_path / folder, "a")
    found = find_scenes(str(tmp_path))
    assert [scene_name(path) for path in found] == ["x_capture_a", "y_capture_a", "z_a"]
    assert [scene.cube.name for scene in open_scenes(str(tmp_path))] == list(map(scene_name, found))
    kept = pickle.loads(pickle.dumps(found))
    assert list(map(scene_name, kept)) == list(map(scene_name, found))
    assert "3 scenes are called 'a': they become x_capture_a, y_capture_a, z_a" in caplog.text


def test_two_files_of_one_name_in_one_folder_are_refused(tmp_path):
    write_npy(tmp_path, "a")
    write_envi(tmp_path, "a")
    with pytest.raises(InputError, match=r"a\.hdr and .*a\.npy: are both called 'a'"):
        find_scenes(str(tmp_path))


@pytest.mark.parametrize("pattern", ["", "*.hdr", "*_labels.png"])
def test_finding_nothing_names_the_place(tmp_path, pattern):
    write_labels(tmp_path, "a_labels.png")
    with pytest.raises(InputError, match=r"(folder|pattern) .*: expected scenes: ENVI"):
        find_scenes(str(tmp_path / pattern))
    with pytest.raises(InputError, match="scenes: expected paths, folders or globs, found none"):
        find_scenes(())


def test_labels_lie_beside_their_scene(tmp_path):
    write_envi(tmp_path, "a")
    write_envi(tmp_path, "b")
    write_labels(tmp_path, "a_labels.png", 3)
    first, second = open_scenes(str(tmp_path))
    np.testing.assert_array_equal(first.read_labels().labels, np.full((ROWS, COLUMNS), 3))
    assert first.cube.name == "a"
    assert second.read_labels() is None


@pytest.mark.parametrize(
    "labels", ["truth/{stem}.png", "{stem}.mat:gt", "truth/of_{stem}.*", "{stem}.p*"]
)
def test_label_patterns_may_name_a_folder_or_a_variable(tmp_path, labels):
    write_envi(tmp_path, "a")
    (tmp_path / "truth").mkdir()
    write_labels(tmp_path / "truth", "a.png", 2)
    write_labels(tmp_path, "a.png", 2)
    spectral.envi.save_classification(
        str(tmp_path / "truth" / "of_a.hdr"), np.full((ROWS, COLUMNS), 2, np.uint8)
    )
    scipy.io.savemat(tmp_path / "a.mat", {"gt": np.full((ROWS, COLUMNS), 2), "x": np.ones((3, 3))})
    (scene,) = open_scenes(str(tmp_path / "*.hdr"), labels=labels)
    np.testing.assert_array_equal(scene.read_labels().labels, np.full((ROWS, COLUMNS), 2))


def test_a_matlab_file_may_hold_both_the_cube_and_its_labels(tmp_path):
    content = {"x": np.ones((ROWS, COLUMNS, 3)), "gt": np.full((ROWS, COLUMNS), 2)}
    scipy.io.savemat(tmp_path / "a.mat", content)
    for labels in ("{stem}.mat:gt", f"{tmp_path}/a.mat:gt"):
        (scene,) = open_scenes(str(tmp_path), labels=labels)
        assert scene.cube.shape == (ROWS, COLUMNS, 3)
        np.testing.assert_array_equal(scene.read_labels().labels, content["gt"])


def test_an_explicit_label_file_must_exist_and_a_pattern_need_not(tmp_path):
    path = write_envi(tmp_path, "a")
    write_labels(tmp_path, "truth.png", 3)
    (scene,) = open_scenes(path, labels="truth.png")  # beside the scene
    assert scene.read_labels().labels.max() == 3
    with pytest.raises(InputError, match=r"labels=none\.png: does not exist"):
        open_scenes(path, labels="none.png")
    for labels in ("{stem}_none.*", "", None):
        assert open_scenes(path, labels=labels)[0].labels_path is None


def test_references_and_masks_beside_scenes_are_no_scenes(tmp_path):
    for name in ("a", "dark", "white"):
        write_envi(tmp_path, name)
    write_npy(tmp_path, "a_mask")
    given = ("{stem}_mask.*", str(tmp_path / "dark.hdr"), "white.img")
    assert names(find_scenes(str(tmp_path), companions=given)) == ["a.hdr"]


def test_two_label_files_of_one_scene_are_refused(tmp_path):
    path = write_envi(tmp_path, "a")
    write_labels(tmp_path, "a_labels.png")
    np.save(tmp_path / "a_labels.npy", np.ones((ROWS, COLUMNS)))
    with pytest.raises(InputError, match=r"one file for .*a_labels\.npy, .*a_labels\.png"):
        open_scenes(path)


def test_a_header_and_its_data_are_one_label_file(tmp_path):
    path = write_envi(tmp_path, "a")
    spectral.envi.save_classification(
        str(tmp_path / "a_labels.hdr"), np.full((ROWS, COLUMNS), 2, np.uint8)
    )
    assert open_scenes(path)[0].read_labels().labels.max() == 2


def test_labels_of_another_size_name_both(tmp_path):
    path = write_envi(tmp_path, "a")
    PIL.Image.fromarray(np.ones((3, 3), np.uint8)).save(tmp_path / "a_labels.png")
    with pytest.raises(InputError, match=r"expected 4 x 5 pixels.*, as its scene has, found 3 x 3"):
        open_scenes(path)[0].read_labels()


def test_labelme_names_get_the_same_number_in_every_scene(tmp_path):
    for name, label in (("a", "leaf"), ("b", "blight")):
        write_envi(tmp_path, name)
        points = [[0, 0], [COLUMNS, 0], [COLUMNS, ROWS], [0, ROWS]]
        (tmp_path / f"{name}.json").write_text(
            f'{{"shapes": [{{"label": "{label}", "points": {points}}}]}}'
        )
    read = [scene.read_labels() for scene in open_scenes(str(tmp_path), labels="{stem}.json")]
    assert [r.names for r in read] == [("blight", "leaf")] * 2
    assert [r.labels.max() for r in read] == [2, 1]


def test_masks_are_found_like_labels(tmp_path):
    write_envi(tmp_path, "a")
    mask = np.ones((ROWS, COLUMNS), np.uint8)
    mask[1, 2] = 0
    PIL.Image.fromarray(mask).save(tmp_path / "a_mask.png")
    (scene,) = open_scenes(str(tmp_path), mask="{stem}_mask.png")
    np.testing.assert_array_equal(scene.cube.read(0, 0, ROWS, COLUMNS)[1], mask == 1)


def test_nearly_equal_grids_stay_as_they_are(tmp_path, caplog):
    write_envi(tmp_path, "a")
    write_envi(tmp_path, "b", GRID + 0.05)
    second = open_scenes(str(tmp_path))[1].cube
    np.testing.assert_allclose(second.wavelengths, GRID + 0.05)
    assert not caplog.records


def test_a_finer_grid_is_interpolated_onto_the_first_with_a_warning(tmp_path, caplog):
    write_envi(tmp_path, "a")
    write_envi(tmp_path, "b", np.linspace(390, 1010, 40))
    with caplog.at_level(logging.WARNING, "dgc_jax"):
        second = open_scenes(str(tmp_path))[1].cube
    np.testing.assert_allclose(second.wavelengths, GRID)
    expected = np.broadcast_to(spectrum(GRID), (2, 2, len(GRID)))
    np.testing.assert_allclose(second.read(0, 0, 2, 2)[0], expected, rtol=1e-5)
    assert "b.hdr (40 bands, 390.0-1010.0 nm) is interpolated" in caplog.text


def test_a_grid_that_does_not_cover_the_first_names_both_ranges(tmp_path):
    write_envi(tmp_path, "a")
    write_envi(tmp_path, "b", np.linspace(500, 1000, 7))
    with pytest.raises(InputError, match=r"(?=.*400)(?=.*500)(?=.*1000)"):
        open_scenes(str(tmp_path))


def test_a_band_range_is_kept_in_every_scene_before_grids_are_compared(tmp_path):
    write_envi(tmp_path, "a", np.linspace(400, 1000, 7))
    write_envi(tmp_path, "b", np.linspace(490, 1010, 14))  # covers 500-900, not 400-1000
    first, second = open_scenes(str(tmp_path), bands=((450, 950),), drop=((650, 750),))
    np.testing.assert_allclose(first.cube.wavelengths, [500, 600, 800, 900])
    np.testing.assert_allclose(second.cube.wavelengths, [500, 600, 800, 900])
    expected = np.broadcast_to(spectrum([500, 600, 800, 900]), (1, 1, 4))
    np.testing.assert_allclose(second.cube.read(0, 0, 1, 1)[0], expected, rtol=1e-5)


def test_without_wavelengths_the_numbers_of_bands_must_agree(tmp_path):
    write_npy(tmp_path, "a")
    write_npy(tmp_path, "b")
    write_envi(tmp_path, "c")
    assert [scene.cube.shape[2] for scene in open_scenes(str(tmp_path))] == [7, 7, 7]
    write_npy(tmp_path, "b", bands=6)
    with pytest.raises(InputError, match=r"b\.npy: expected the 7 bands of .*a\.npy, found 6"):
        open_scenes(str(tmp_path))


def test_leaves_are_the_embedded_data_set(tmp_path, monkeypatch):
    from dgc_jax.data.simulation import leaves

    write_zarr(tmp_path, "leaf_00")
    write_labels(tmp_path, "leaf_00_labels.png", 4)
    (tmp_path / "leaves.json").write_text("{}")
    monkeypatch.setattr(leaves, "ensure", lambda: str(tmp_path))
    (scene,) = open_scenes("leaves")
    assert scene.cube.name == "leaf_00"
    assert scene.read_labels().labels.max() == 4
    assert scene.read_labels().names == leaves.CLASSES


def test_a_label_pattern_may_be_a_full_path(tmp_path):
    (tmp_path / "scenes").mkdir()
    path = write_envi(tmp_path / "scenes", "a")
    write_labels(tmp_path, "a_labels.png", 3)
    (scene,) = open_scenes(path, labels=f"{tmp_path}/{{stem}}_labels.*")
    assert scene.read_labels().labels.max() == 3
