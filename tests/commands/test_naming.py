"""Names from a few hints: the rule against all namings there are, the files, the command."""

import csv
import itertools
import json
import pathlib
import shutil

import numpy as np
import PIL.Image
import pytest
import rasterio
import rasterio.warp
import scipy.cluster.hierarchy
from conftest import TinyRun, dgc

from dgc_jax import InputError, load, open_cube
from dgc_jax.apply import view
from dgc_jax.commands.name import name
from dgc_jax.data.hints import read_points
from dgc_jax.model.naming import name_leaves


def least(tree: np.ndarray, hints: np.ndarray, leaves: tuple[int, ...] | None = None) -> float:
    """The least cost of all namings of all nodes, or of those that name the leaves so."""
    number, names = hints.shape
    costs = []
    for of in itertools.product(range(names), repeat=number + len(tree)):
        if leaves is not None and of[:number] != leaves:
            continue
        cost = sum(hints[leaf].sum() - hints[leaf, of[leaf]] for leaf in range(number))
        for row, (left, right) in enumerate(tree[:, :2].astype(int)):
            weight = 0.5 - 0.25 * row / max(len(tree) - 1, 1)
            cost += weight * sum(of[child] != of[number + row] for child in (left, right))
        costs.append(cost)
    return min(costs)


@pytest.mark.parametrize("seed", range(8))
def test_names_cost_least_of_all_namings_of_the_tree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    leaves = 2 + seed % 4
    tree = scipy.cluster.hierarchy.linkage(rng.normal(size=(leaves, 2)), "ward")
    hints = rng.integers(0, 3, (leaves, 3)) * (rng.random((leaves, 3)) < 0.4)
    found = tuple(name_leaves(tree, hints).tolist())
    assert least(tree, hints, found) == pytest.approx(least(tree, hints))


def test_a_cluster_without_hints_goes_with_those_that_it_joins_first() -> None:
    # ((0, 1), (2, 3)), joined late with 4
    tree = np.array([[0, 1, 1, 2], [2, 3, 2, 2], [5, 6, 3, 4], [7, 4, 9, 5]], float)
    hints = np.zeros((5, 3))
    hints[0, 2] = hints[3, 1] = hints[4, 0] = 1
    assert name_leaves(tree, hints).tolist() == [2, 2, 1, 1, 0]


def test_the_more_frequent_name_wins_in_a_cluster_and_a_single_hint_is_enough_for_one() -> None:
    tree = np.array([[0, 1, 1, 2], [3, 2, 2, 3]], float)
    assert name_leaves(tree, np.array([[3, 2], [0, 1], [50, 0]])).tolist() == [0, 1, 0]


def write(path: pathlib.Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_of_points_is_read_as_a_spreadsheet_writes_it(
    tmp_path: pathlib.Path, mark: str
) -> None:
    path = tmp_path / "points.csv"
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file, delimiter=mark)
        table.writerows([["Name", "Row", "Column", "Scene", "by"], ["a, b", 3, 4.0, "x", "me"]])
        table.writerow([])
        table.writerow(["c", 5, 6, "", ""])
    found, is_geojson = read_points(str(path))
    assert not is_geojson
    assert [hint[:4] for hint in found] == [("x", 3, 4, "a, b"), ("", 5, 6, "c")]


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("p.csv", "scene,row,name\nx,1,a\n", "'column' in its first line"),
        ("p.csv", "scene,row,column,name\n", "expected points, found none"),
        ("p.csv", "scene,row,column,name\nx,1,2.5,a\n", "column at line 2, found '2.5'"),
        ("p.csv", "scene,row,column,name\nx,1,2,\n", "expected a name at line 2"),
        ("p.csv", "row,column,name\n1,nan,a\n", "found 'nan'"),
        ("p.json", "[1]", "is a list, not a JSON object"),
        ("p.json", '{"features": [{"properties": {}, "geometry": null}]}', "found a None"),
        (
            "p.geojson",
            '{"features": [{"properties": {"name": "a"}, "geometry": {"type": "Polygon"}}]}',
            "found a Polygon as feature 1",
        ),
        (
            "p.geojson",
            '{"features": [{"properties": {"name": "a"}, "geometry": '
            '{"type": "Point", "coordinates": ["x"]}}]}',
            "two coordinates at feature 1",
        ),
    ],
)
def test_what_is_no_table_of_points_is_refused(
    tmp_path: pathlib.Path, file: str, text: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        read_points(write(tmp_path / file, text))


def test_a_missing_file_is_refused(tmp_path: pathlib.Path) -> None:
    for file in ("none.csv", "none.json"):
        with pytest.raises(InputError, match=r"(?i)no such file"):
            read_points(str(tmp_path / file))


@pytest.fixture(scope="module")
def points(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Points with the names of what is there, of both scenes."""
    path = tmp_path_factory.mktemp("hints") / "points.csv"
    rng = np.random.default_rng(0)
    names = ("belt", "belt", "leaf", "lesion")
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["scene", "row", "column", "name"])
        for picture in sorted(pathlib.Path(tiny_run.scenes).glob("*_labels.png")):
            truth = np.asarray(PIL.Image.open(picture))
            for value in (1, 2, 3):
                at = np.argwhere(truth == value)
                for row, column in at[rng.permutation(len(at))[:3]]:
                    scene = picture.name.removesuffix("_labels.png")
                    table.writerow([scene, row, column, names[value - 1]])
    return path


def test_points_become_a_view_that_labels_them_as_they_are_named(
    tiny_run: TinyRun, points: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "view.json"
    done = dgc("name", tiny_run.workdir, "--points", points, "--out", out)
    assert done.exit_code == 0, done.output
    model = load(str(tiny_run.workdir))
    named = view.seen_through(model, out)
    hints = list(csv.DictReader(points.read_text("utf-8").splitlines()))
    wrong = 0
    for scene in {hint["scene"] for hint in hints}:
        labels = named.segment(f"{tiny_run.scenes}/{scene}.zarr")
        for hint in (hint for hint in hints if hint["scene"] == scene):
            found = named.names[labels[int(hint["row"]), int(hint["column"])] - 1]
            wrong += found != hint["name"]
            told = f"row {hint['row']}, column {hint['column']}): {hint['name']!r}"
            assert (found != hint["name"]) == (told in done.output.replace("\n", ""))
    assert wrong < len(hints) / 4  # in clusters of which more hints say something else
    assert {group.name for group in view.read(out, model)} <= {"belt", "leaf"}


def test_single_pixels_are_in_the_clusters_of_the_whole_scene(tiny_run: TinyRun) -> None:
    model = load(str(tiny_run.workdir))
    cube = open_cube(sorted(map(str, pathlib.Path(tiny_run.scenes).glob("*.zarr")))[0])
    whole = view.apply(model, view.cut(model, model.finest)).segment(cube)
    at = np.argwhere(np.random.default_rng(1).random(whole.shape) < 0.1)
    np.testing.assert_array_equal(model.finest_at(cube, at), whole[tuple(at.T)])


def test_sparse_label_maps_name_as_points_do(
    tiny_run: TinyRun, points: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    names = ["belt", "leaf"]
    by_points = name(str(tiny_run.workdir), points=str(points), out=str(tmp_path / "a.json"))
    scenes = tmp_path / "scenes"
    shutil.copytree(tiny_run.scenes, scenes)
    maps = {path.stem: np.zeros((48, 48), np.uint8) for path in scenes.glob("*.zarr")}
    for hint in csv.DictReader(points.read_text("utf-8").splitlines()):
        maps[hint["scene"]][int(hint["row"]), int(hint["column"])] = names.index(hint["name"]) + 1
    for scene, numbers in maps.items():
        PIL.Image.fromarray(numbers).save(scenes / f"{scene}_hints.png")
    by_maps = name(
        str(tiny_run.workdir),
        [str(scenes / "*.zarr")],
        labels="{stem}_hints.png",
        classes=names,
        out=str(tmp_path / "b.json"),
    )
    assert by_maps.groups == by_points.groups
    assert by_maps.hinted == by_points.hinted
    assert sum(h.number for h, _ in by_maps.contradicted) == len(by_points.contradicted)


def test_geojson_is_longitude_and_latitude_where_the_scene_has_a_coordinate_system(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    cube = open_cube(sorted(map(str, pathlib.Path(tiny_run.scenes).glob("*.zarr")))[0])
    reflectance, _ = cube.read(0, 0, *cube.shape[:2])
    assert cube.wavelengths is not None
    scene = tmp_path / "field.tif"
    transform = rasterio.Affine(0.5, 0, 399_960, 0, -0.5, 5_100_000)
    with rasterio.open(
        scene, "w", driver="GTiff", width=48, height=48, count=len(cube.wavelengths),
        dtype="float32", crs="EPSG:32632", transform=transform,
    ) as image:  # fmt: skip
        image.write(np.moveaxis(reflectance, -1, 0))
    (tmp_path / "nm.txt").write_text("\n".join(map(str, cube.wavelengths)))
    places = {"a": [(2, 3), (5, 40)], "b": [(24, 24), (30, 20)]}
    features, lines = [], ["row,column,name"]
    for of, pixels in places.items():
        for row, column in pixels:
            x, y = transform @ (column + 0.5, row + 0.5)
            (x,), (y,) = rasterio.warp.transform("EPSG:32632", "EPSG:4326", [x], [y])
            geometry = {"type": "Point", "coordinates": [x, y]}
            features.append({"type": "Feature", "properties": {"name": of}, "geometry": geometry})
            lines.append(f"{row},{column},{of}")
    (tmp_path / "p.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": features})
    )
    (tmp_path / "p.csv").write_text("\n".join(lines))
    found = [
        name(
            str(tiny_run.workdir),
            str(scene),
            points=str(tmp_path / file),
            reading={"wavelengths": str(tmp_path / "nm.txt")},
            out=str(tmp_path / f"{file}.json"),
        )
        for file in ("p.geojson", "p.csv")
    ]
    assert found[0].groups == found[1].groups
    assert found[0].hinted == found[1].hinted


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("leaf_00,1,1,belt\n", "found 'belt' alone"),
        ("leaf_00,1,48,belt\nleaf_00,24,24,leaf\n", "found row 1, column 48"),
        ("leaf_00,-1,1,belt\nleaf_00,24,24,leaf\n", "found row -1, column 1"),
        ("leaf_07,1,1,belt\nleaf_00,24,24,leaf\n", "found 'leaf_07'"),
        (",1,1,belt\nleaf_00,24,24,leaf\n", "found ''"),
    ],
)
def test_hints_that_cannot_be_followed_are_refused(
    tiny_run: TinyRun, tmp_path: pathlib.Path, lines: str, told: str
) -> None:
    path = write(tmp_path / "p.csv", "scene,row,column,name\n" + lines)
    done = dgc("name", tiny_run.workdir, "--points", path, "--out", tmp_path / "v.json")
    assert done.exit_code == 2
    assert told in done.output
    assert not (tmp_path / "v.json").exists()


def test_one_of_points_and_labels_is_asked_for(tiny_run: TinyRun) -> None:
    done = dgc("name", tiny_run.workdir)
    assert done.exit_code == 2
    assert "expected --points or --labels, found none" in done.output
