"""Files beside scenes that are no scenes, by name and by content; and companions that are missing.

Files are written by the libraries whose formats they are.
"""

import json
import logging

import numpy as np
import PIL.Image
import pytest
import rasterio
import scipy.io
import spectral
import tensorstore as ts

from dgc_jax.data.find import find_scenes
from dgc_jax.data.others import what_else
from dgc_jax.data.scenes import open_scenes
from dgc_jax.errors import InputError

SIZE = (6, 5)
CUBE = np.random.default_rng(0).uniform(0.1, 0.9, (*SIZE, 4)).astype(np.float32)
MAP = (np.arange(30).reshape(SIZE) % 3).astype(np.uint8)


def envi(folder, name, array=CUBE):
    path = str(folder / f"{name}.hdr")
    spectral.envi.save_image(path, array, ext=".img")
    return path


def names(paths):
    return [path.rpartition("/")[2] for path in paths]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("WHITEREF_leaf", "reference"),
        ("DARKREF_2024-05-03", "reference"),
        ("WhiteReference", "reference"),
        ("darkReference", "reference"),
        ("WHITEDARKREF_7", "reference"),
        ("leaf_white_ref", "reference"),
        ("Dark Current", "reference"),
        ("leaf-dark-frame2", "reference"),
        ("wref_01", "reference"),
        ("white", "reference"),
        ("dark_2", "reference"),
        ("leaf_dark", "reference"),
        ("white_leaf", "reference"),
        ("leafWhite", "reference"),
        ("Indian_pines_gt", "label map or mask"),
        ("pavia_groundtruth", "label map or mask"),
        ("pavia_ground_truth", "label map or mask"),
        ("leaf_labels", "label map or mask"),
        ("leafLabels", "label map or mask"),
        ("leaf_mask_2", "label map or mask"),
        ("leaf.mask", "label map or mask"),
        ("masks", "label map or mask"),
        ("leaf_classmap", "label map or mask"),
        ("leaf_classification", "label map or mask"),
        ("leaf_classes", "label map or mask"),
        ("mask_leaf", "label map or mask"),
        ("leaf_seg", "label map or mask"),
        ("EMIT_L2A_MASK_001_20240101", "label map or mask"),
        ("EMIT_L2A_RFL_001_20240101", None),
        ("leaf", None),
        ("white_oak", None),  # no scene is called oak
        ("darkness", None),
        ("soil_dark", None),
        ("masked_leaf", None),
        ("glabels", None),
        ("reference_field", None),
        ("other_seg", None),
        ("a_class", None),
    ],
)
def test_names_tell_references_and_truth_from_scenes(tmp_path, name, what):
    path = envi(tmp_path, name)
    assert what_else(path, {"leaf", name}) == what


def test_a_path_that_is_named_itself_is_told_by_its_partner(tmp_path):
    path = envi(tmp_path, "maize_GT")
    assert what_else(path, {"maize_GT", "wheat_GT"}, named=True) is None
    assert what_else(path, {"maize_GT", "maize"}, named=True) == "label map or mask"


def flat(folder, kind):
    """A label map that its name does not tell; its path."""
    path = folder / f"result.{kind}"
    match kind:
        case "hdr":
            spectral.envi.save_image(str(path), MAP[..., None], ext=".img")
        case "class.hdr":
            spectral.envi.save_classification(str(path), MAP, ext=".img")
        case "npy":
            np.save(path, MAP.astype(np.float64))
        case "one.npy":
            np.save(path, MAP[..., None])
        case "mat":
            scipy.io.savemat(path, {"x": MAP})
        case "tif":
            PIL.Image.fromarray(MAP).save(path)
        case "tiff":
            profile = {"width": 5, "height": 6, "count": 1, "dtype": "int16", "crs": "EPSG:32633"}
            transform = rasterio.Affine(2, 0, 5e5, 0, -2, 4e6)
            with rasterio.open(path, "w", "GTiff", transform=transform, **profile) as file:
                file.write(MAP.astype(np.int16), 1)
        case "zarr" | "zarr3":
            spec = {"driver": kind, "kvstore": {"driver": "file", "path": str(path)}}
            ts.open(spec, create=True, dtype=ts.uint8, shape=SIZE).result().write(MAP).result()
    return str(path)


def full(folder, kind):
    """A scene of the same format."""
    path = folder / f"result.{kind}"
    match kind:
        case "hdr":
            spectral.envi.save_image(str(path), (CUBE * 100).astype(np.int16), ext=".img")
        case "npy":
            np.save(path, CUBE)
        case "mat":
            scipy.io.savemat(path, {"x": CUBE, "gt": MAP})
        case "matrix.mat":
            content = {"Y": CUBE.reshape(30, 4).T, "lines": 6, "cols": 5}
            scipy.io.savemat(path, content)
        case "tif":
            profile = {"width": 5, "height": 6, "count": 4, "dtype": "uint8"}
            with rasterio.open(path, "w", "GTiff", **profile) as file:
                file.write((CUBE * 100).astype(np.uint8).transpose(2, 0, 1))
        case "pages.tif":
            pages = [PIL.Image.fromarray(np.full(SIZE, k + 1, np.uint8)) for k in range(4)]
            pages[0].save(path, save_all=True, append_images=pages[1:])
        case "zarr" | "zarr3":
            spec = {"driver": kind, "kvstore": {"driver": "file", "path": str(path)}}
            store = ts.open(spec, create=True, dtype=ts.float32, shape=CUBE.shape).result()
            store.write(CUBE).result()
    return str(path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    "kind", ["hdr", "class.hdr", "npy", "one.npy", "mat", "tif", "tiff", "zarr", "zarr3"]
)
def test_content_tells_a_map_that_no_name_tells(tmp_path, caplog, kind):
    envi(tmp_path, "leaf")
    path = flat(tmp_path, kind)
    assert names(find_scenes(str(tmp_path))) == ["leaf.hdr"]
    assert f"{names([path])[0]} (label map or mask)" in caplog.text


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    "kind", ["hdr", "npy", "mat", "matrix.mat", "tif", "pages.tif", "zarr", "zarr3"]
)
def test_content_leaves_scenes_of_every_format_alone(tmp_path, caplog, kind):
    envi(tmp_path, "leaf")
    path = full(tmp_path, kind)
    assert names(find_scenes(str(tmp_path))) == ["leaf.hdr", names([path])[0]]
    assert not caplog.records


@pytest.mark.parametrize("labels", ["", "{stem}_lables.*", "{stem}_labels.*", None])
def test_label_maps_are_no_scenes_whatever_the_option_says(tmp_path, labels):
    np.save(tmp_path / "scene.npy", CUBE)
    np.save(tmp_path / "scene_labels.npy", np.repeat(MAP[..., None], 4, axis=2))  # like a cube
    np.save(tmp_path / "scene_mask.npy", CUBE > 0.5)
    opened = open_scenes(str(tmp_path), labels=labels)
    assert [scene.cube.name for scene in opened] == ["scene"]


def test_what_a_shell_made_of_a_glob_is_sorted_in_the_same_way(tmp_path, caplog):
    given = [envi(tmp_path, name) for name in ("a", "a_mask", "b", "DARKREF_a", "WHITEREF_a")]
    assert names(find_scenes(given)) == ["a.hdr", "b.hdr"]
    assert "a_mask.hdr (label map or mask), DARKREF_a.hdr (reference)" in caplog.text
    assert "data.white" in caplog.text


def test_a_path_alone_is_a_scene_and_a_folder_without_one_says_what_is_there(tmp_path, caplog):
    path = envi(tmp_path, "WHITEREF_a")
    assert find_scenes(path) == find_scenes([path]) == [path]
    assert not caplog.records
    with pytest.raises(InputError, match=r"no scene.*WHITEREF_a\.hdr \(reference\)"):
        find_scenes(str(tmp_path))


def test_files_that_an_option_names_are_left_out_without_a_word(tmp_path, caplog):
    for name in ("a", "DARKREF_a", "WHITEREF_a"):
        envi(tmp_path, name)
    given = ("WHITEREF_{stem}.hdr", "DARKREF_{stem}.hdr")
    assert names(find_scenes(str(tmp_path), companions=given)) == ["a.hdr"]
    assert not caplog.records


@pytest.mark.parametrize("option", ["mask", "dark", "white"])
def test_a_companion_that_some_scenes_lack_is_refused_with_their_names(tmp_path, option):
    for name in ("a", "b", "c"):
        envi(tmp_path, name)
        for what, value in (("white", 1.0), ("dark", 0.0)):
            if (option, name) != (what, "b"):
                envi(tmp_path, f"{name}_{what}", np.full((2, 5, 4), value, np.float32))
        if (option, name) != ("mask", "b"):
            PIL.Image.fromarray(np.full(SIZE, 255, np.uint8)).save(tmp_path / f"{name}_mask.png")
    given = {"white": "{stem}_white.hdr", "dark": "{stem}_dark.hdr", "mask": "{stem}_mask.png"}
    with pytest.raises(InputError, match=rf"{option}=.*: is missing for 1 of 3 scenes: b;"):
        open_scenes(str(tmp_path), **given)
    whole = open_scenes([str(tmp_path / "a.hdr"), str(tmp_path / "c.hdr")], **given)
    assert [scene.cube.name for scene in whole] == ["a", "c"]


def test_a_companion_that_no_scene_has_is_refused_and_an_empty_one_is_none(tmp_path):
    path = envi(tmp_path, "a")
    with pytest.raises(InputError, match=r"mask=\{stem\}_maks\.png: is missing for the scene: a;"):
        open_scenes(path, mask="{stem}_maks.png")
    assert open_scenes(path, mask="")[0].cube.mask is None


def test_missing_labels_are_told_and_score_no_less(tmp_path, caplog):
    for name in ("a", "b"):
        envi(tmp_path, name)
    open_scenes(str(tmp_path))
    assert not caplog.records  # most data have none
    with caplog.at_level(logging.WARNING):
        open_scenes(str(tmp_path), labels="{stem}_lables.*")
    assert "No labels {stem}_lables.* for 2 of 2 scenes: a, b." in caplog.text
    PIL.Image.fromarray(MAP).save(tmp_path / "a_labels.png")
    first, second = open_scenes(str(tmp_path))
    assert (first.labels_path is None, second.labels_path is None) == (False, True)
    assert "No labels {stem}_labels.* for 1 of 2 scenes: b." in caplog.text


def test_a_header_that_cannot_be_read_is_left_to_the_reader(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"nothing")
    (tmp_path / "b.mat").write_bytes(json.dumps({}).encode())
    assert names(find_scenes(str(tmp_path))) == ["a.npy", "b.mat"]
