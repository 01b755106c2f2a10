"""Maps for QGIS, for GeoJSON readers and for napari, read by others than their writers."""

import importlib
import json
import pathlib
import tomllib
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import rasterio.crs
import rasterio.features
import rasterio.warp
import yaml

import dgc_jax
from dgc_jax import napari
from dgc_jax.errors import InputError
from dgc_jax.show import geojson, maps, qgis

NAMES = ["leaf & <stem>", "", 'rust "spots"', "Gerät\x0b"]
COLOURS = np.array([[0, 0, 0], [0, 114, 178], [1, 2, 3], [230, 159, 0], [255, 255, 255]], np.uint8)


@pytest.fixture
def labels() -> np.ndarray:
    """Patches with holes, islands in holes, diagonal touches, and no data."""
    found = np.random.default_rng(0).choice([0, 1, 3, 4], (40, 30)).astype(np.uint8)
    found[5:25, 5:25] = 1
    found[8:20, 8:20] = 3
    found[12:15, 12:15] = 0
    found[13, 13] = 4
    return found


def test_qgis_finds_our_colours_and_names(tmp_path: pathlib.Path) -> None:
    qgis.write_style(tmp_path / "a.qml", NAMES, COLOURS)
    root = ElementTree.parse(tmp_path / "a.qml").getroot()
    assert root.tag == "qgis"
    renderer = root.find("pipe/rasterrenderer")
    assert renderer is not None
    assert renderer.get("type") == "paletted"
    assert renderer.get("band") == "1"
    entries = [dict(entry.attrib) for entry in renderer.iterfind("colorPalette/paletteEntry")]
    assert entries == [
        {"value": "0", "color": "#000000", "label": "no data", "alpha": "0"},
        {"value": "1", "color": "#0072b2", "label": "leaf & <stem>", "alpha": "255"},
        {"value": "3", "color": "#e69f00", "label": 'rust "spots"', "alpha": "255"},
        {"value": "4", "color": "#ffffff", "label": "Gerät\ufffd", "alpha": "255"},
    ]


def read(path: pathlib.Path) -> dict:
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["type"] == "FeatureCollection"
    return found


def area(ring: list[list[float]]) -> float:
    x, y = np.array(ring).T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2)


def test_polygons_burnt_back_are_the_map(labels: np.ndarray, tmp_path: pathlib.Path) -> None:
    geojson.write_geojson(tmp_path / "a.geojson", labels, NAMES, COLOURS)
    found = read(tmp_path / "a.geojson")
    assert found["coordinates"].startswith("pixels: x = column, y = row")
    shapes = [(f["geometry"], f["properties"]["cluster"]) for f in found["features"]]
    burnt = rasterio.features.rasterize(shapes, labels.shape, fill=0, dtype="uint8")
    np.testing.assert_array_equal(burnt, labels)
    for feature in found["features"]:
        about, rings = feature["properties"], feature["geometry"]["coordinates"]
        assert about["name"] == NAMES[about["cluster"] - 1]
        assert about["colour"] == f"#{bytes(COLOURS[about['cluster']].tolist()).hex()}"
        assert area(rings[0]) > 0  # counterclockwise, as RFC 7946 has it
        assert all(area(hole) < 0 for hole in rings[1:])
        assert all(ring[0] == ring[-1] for ring in rings)
    for cluster in (1, 3, 4):
        pixels = [f["properties"] for f in found["features"]]
        counted = sum(each["pixels"] for each in pixels if each["cluster"] == cluster)
        assert counted == np.count_nonzero(labels == cluster)


def test_polygons_on_the_map_are_in_degrees(labels: np.ndarray, tmp_path: pathlib.Path) -> None:
    utm = rasterio.crs.CRS.from_epsg(32632)
    geo = {"crs": utm.to_wkt(), "transform": [2.0, 0, 500_000, 0, -2.0, 5_400_000]}
    geojson.write_geojson(tmp_path / "a.geojson", labels, NAMES, COLOURS, geo)
    found = read(tmp_path / "a.geojson")
    assert found["coordinates"].startswith("WGS 84")
    back = []
    for feature in found["features"]:
        assert area(feature["geometry"]["coordinates"][0]) > 0
        shape = rasterio.warp.transform_geom("EPSG:4326", utm, feature["geometry"], precision=4)
        back.append((shape, feature["properties"]["cluster"]))
    burnt = rasterio.features.rasterize(
        back, labels.shape, fill=0, dtype="uint8", transform=rasterio.Affine(*geo["transform"])
    )
    np.testing.assert_array_equal(burnt, labels)


def test_speckle_is_refused_and_nothing_is_left(
    labels: np.ndarray, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geojson, "LARGEST", 10)
    with pytest.raises(InputError, match=r"at most 10 regions, found more; take out .* by sieve="):
        geojson.write_geojson(tmp_path / "a.geojson", labels, NAMES, COLOURS)
    assert not list(tmp_path.iterdir())


def test_napari_finds_the_reader_by_its_manifest() -> None:
    path = pathlib.Path(dgc_jax.__file__).parent / "napari.yaml"
    manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
    (command,) = manifest["contributions"]["commands"]
    (reader,) = manifest["contributions"]["readers"]
    assert reader["command"] == command["id"]
    assert command["id"].startswith(f"{manifest['name']}.")
    assert reader["accepts_directories"]
    module, _, function = command["python_name"].partition(":")
    assert getattr(importlib.import_module(module), function) is napari.get_reader
    project = tomllib.loads((path.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"]["napari.manifest"] == {
        manifest["name"]: "dgc_jax:napari.yaml"
    }
    assert manifest["name"] == project["project"]["name"]  # as npe2 wants


def test_napari_is_given_labels_names_and_colours(
    labels: np.ndarray, tmp_path: pathlib.Path
) -> None:
    names = ["leaf", "", "rust", "soil"]
    folder = tmp_path / "run" / "maps"
    folder.mkdir(parents=True)
    maps.write_envi(folder / "a", labels, names, COLOURS)
    (folder / "notes.txt").write_text("x")
    maps.write_envi_bands(folder / "b", labels[None].astype(np.float32), ["margin"])
    for path in (tmp_path / "run", folder, folder / "a.hdr"):
        reader = napari.get_reader(str(path))
        assert reader is not None
        ((data, about, kind),) = reader(str(path))
        assert kind == "labels"
        np.testing.assert_array_equal(data, labels)
        assert about["name"] == "a"
        assert about["features"]["name"][3] == "rust"
        np.testing.assert_allclose(about["colormap"][3][:3], COLOURS[3] / 255)
        assert about["colormap"][0][3] == 0
    assert napari.get_reader(str(folder / "b.hdr")) is None
    assert napari.get_reader(str(tmp_path)) is None
