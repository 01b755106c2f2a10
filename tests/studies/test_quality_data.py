"""The benchmark of quality finds data sets in a folder, and numbers their classes without gaps."""

import pathlib

import numpy as np
import pytest

from studies.quality import data_sets, vein_leaves


def write_scene(folder: pathlib.Path, name: str, bands: int, labels: np.ndarray | None) -> None:
    np.save(folder / f"{name}.npy", np.ones((8, 9, bands), np.float32))
    if labels is not None:
        np.save(folder / f"{name}_labels.npy", labels)


def test_scenes_of_a_folder_are_data_sets_and_numbered_ones_share_one(
    tmp_path: pathlib.Path,
) -> None:
    labels = np.tile(np.array([0, 1, 5, 5, 5, 7, 7, 7, 7], np.uint8), (8, 1))
    for name, bands in (("roof1", 5), ("roof2", 5), ("roof3", 6), ("town", 5), ("field_7", 4)):
        write_scene(tmp_path, name, bands, labels)
    write_scene(tmp_path, "bare", 5, None)
    found, left_out = data_sets.in_folder(str(tmp_path))
    names = {
        name: [pathlib.Path(path).stem for path in of["data.scenes"]] for name, of in found.items()
    }
    assert names == {
        "roof": ["roof1", "roof2"],
        "roof3": ["roof3"],
        "town": ["town"],
        "field_7": ["field_7"],
    }
    assert left_out == ["bare.npy is left out: it has no label map."]
    roof = data_sets.real_set("roof", found["roof"])
    assert (roof.final, roof.clusters) == (3, (3, 6))
    assert roof.sets["train"].truth.classes == ("class 1", "class 5", "class 7")
    assert np.unique(roof.sets["train"].truth.labels[1]).tolist() == [0, 1, 2, 3]
    about = data_sets.described(roof.sets["train"])
    assert about["rarest"] == pytest.approx(1 / 8)
    assert not about["anomaly"]


def test_classes_are_numbered_without_gaps_over_all_scenes() -> None:
    maps, values = data_sets.without_gaps([np.array([[0, 4, 0, 4]]), np.array([[9, 9, 4, 4]])])
    assert values == [4, 9]
    assert [m.tolist() for m in maps] == [[[0, 1, 0, 1]], [[2, 2, 1, 1]]]


def test_the_other_simulator_writes_scenes_with_truth(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "veins"
    vein_leaves.write(str(folder), scenes=1, seed=3, size=64, bands=8)
    labels = np.load(folder / "scene_00_labels.npy")
    assert np.unique(labels).tolist() == [1, 2, 3, 4]
    assert np.load(folder / "scene_00.npy").shape == (64, 64, 8)
    assert len(np.loadtxt(folder / "wavelengths.txt")) == 8
