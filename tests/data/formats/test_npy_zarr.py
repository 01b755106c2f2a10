"""NPY, zarr, zarr3 and n5 arrays, local and by URL, against what was written into them."""

import functools
import http.server
import json
import shutil
import socket
import threading
import time

import numpy as np
import pytest
import tensorstore as ts

from dgc_jax.data.cube import open_cube
from dgc_jax.data.prepare import create_store, prepare
from dgc_jax.errors import InputError

VALUES = np.random.default_rng(0).integers(1, 1000, (6, 8, 5)).astype("u2")
CENTRES = [400.0, 500.0, 600.0, 700.0, 800.0]


def read_all(path, **options):
    cube = open_cube(path, **options)
    reflectance, valid = cube.read(0, 0, *cube.shape[:2])
    assert valid.all()
    return reflectance


def write(path, driver, values=VALUES, attributes=None):
    """An array as TensorStore's driver writes it, without anything of ours."""
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": str(path)}}
    if attributes:
        spec["metadata"] = {"attributes": attributes} if driver == "zarr3" else attributes
    store = ts.open(spec, create=True, dtype=ts.dtype(values.dtype), shape=values.shape).result()
    store.write(values).result()
    return path


@pytest.mark.parametrize("dtype", ["u1", "i2", ">u2", "f4", ">f8", "f2", "i8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_any_type_and_order_is_read_as_saved(tmp_path, dtype, order):
    values = np.asarray(VALUES % 120 + 1, dtype, order=order)
    np.save(tmp_path / "a.npy", values)
    np.testing.assert_array_equal(read_all(tmp_path / "a.npy"), values.astype("f4"))


def test_axes_tell_how_the_stored_array_lies(tmp_path):
    np.save(tmp_path / "a.npy", VALUES.transpose(2, 0, 1))
    np.testing.assert_array_equal(read_all(tmp_path / "a.npy", axes="brc"), VALUES)
    write(tmp_path / "a.zarr", "zarr", VALUES.transpose(1, 2, 0))
    np.testing.assert_array_equal(read_all(tmp_path / "a.zarr", axes="cbr"), VALUES)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([{"a": 1}], object), "cannot be opened as a NumPy array of plain numbers"),
        (np.ones((4, 5)), r"shape \[4, 5\]"),
        (np.array(["abc"] * 8).reshape(2, 2, 2), "expected numbers, found <U3 values"),
    ],
)
def test_npy_of_objects_text_or_other_dimensions_is_refused(tmp_path, values, message):
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    with pytest.raises(InputError, match=message) as caught:
        open_cube(tmp_path / "a.npy")
    assert "a.npy" in str(caught.value)


def test_npy_cut_short_or_not_npy_at_all_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, VALUES)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"a\.npy: cannot be opened as a NumPy array"):
        open_cube(path)
    path.write_text("hello")
    with pytest.raises(InputError, match=r"a\.npy: cannot be opened as a NumPy array"):
        open_cube(path)
    with path.open("wb") as file:
        np.savez(file, a=VALUES)
    with pytest.raises(InputError, match="archive of several arrays"):
        open_cube(path)


@pytest.mark.parametrize("driver", ["zarr", "zarr3", "n5"])
@pytest.mark.parametrize("as_url", [False, True])
def test_the_format_of_a_folder_or_url_is_recognised(tmp_path, driver, as_url):
    path = write(tmp_path / "scene.data", driver)
    place = f"file://{path}" if as_url else path
    np.testing.assert_array_equal(read_all(place), VALUES)


@pytest.mark.parametrize("driver", ["zarr", "zarr3", "n5"])
def test_scene_to_walk_through_is_the_same_scene(tmp_path, driver):
    path = write(tmp_path / "scene.data", driver, VALUES.transpose(2, 1, 0))
    walked = open_cube(path, axes="bcr", wavelengths=CENTRES).for_walking()
    kept = walked.with_bands([(450, 750)])
    np.testing.assert_array_equal(kept.read(1, 2, 4, 5)[0], VALUES[1:5, 2:7, 1:4])
    shutil.rmtree(path)
    with pytest.raises(InputError, match="could not be read"):
        walked.for_walking()


def test_attributes_as_prepare_writes_them_are_understood(tmp_path):
    path = tmp_path / "scene.zarr"
    geo = {"map info": ["UTM", "1"], "coordinate system string": "{PROJCS[]}"}
    store = create_store(
        str(path),
        VALUES.shape,
        "u2",
        wavelengths=CENTRES,
        scale=1000.0,
        ignore_value=65535,
        geo=geo,
    )
    values = VALUES.copy()
    values[2, 3, 1] = 65535
    store.write(values).result()
    cube = open_cube(path)
    reflectance, valid = cube.read(0, 0, 6, 8)
    assert np.argwhere(~valid).tolist() == [[2, 3]]
    np.testing.assert_allclose(reflectance[valid], VALUES[valid] / 1000, rtol=1e-6)
    np.testing.assert_array_equal(cube.wavelengths, CENTRES)
    assert cube.geo == geo
    assert cube.name == "scene"


@pytest.mark.parametrize(
    "attributes",
    [
        {"wavelengths": "visible", "scale": [1, 1], "geo": 4, "ignore_value": None},
        {"wavelengths": [400, "x", 600, 700, 800], "scale": -1},
        {"wavelengths": [1, 2]},
    ],
)
def test_attributes_of_others_that_mean_something_else_are_left_alone(tmp_path, attributes):
    path = write(tmp_path / "scene.zarr", "zarr3", attributes=attributes)
    cube = open_cube(path)
    assert cube.wavelengths is None
    np.testing.assert_array_equal(cube.read(0, 0, 6, 8)[0], VALUES)


def test_n5_attributes_are_understood_too(tmp_path):
    attributes = {"wavelengths": CENTRES, "scale": 10.0}
    path = write(tmp_path / "scene.n5", "n5", attributes=attributes)
    np.testing.assert_array_equal(open_cube(path).wavelengths, CENTRES)
    np.testing.assert_allclose(read_all(path), VALUES / 10, rtol=1e-6)


def test_zarr_attributes_lie_in_a_file_of_their_own(tmp_path):
    path = write(tmp_path / "scene.zarr", "zarr")
    (path / ".zattrs").write_text('{"wavelengths": [0.4, 0.5, 0.6, 0.7, 0.8]}')
    np.testing.assert_allclose(open_cube(path).wavelengths, CENTRES)


def test_a_group_gives_its_only_cube_or_the_one_that_is_named(tmp_path):
    group = tmp_path / "group.zarr"
    group.mkdir()
    (group / ".zgroup").write_text('{"zarr_format": 2}')
    write(group / "wavelength", "zarr", np.array(CENTRES))
    write(group / "cube", "zarr")
    np.testing.assert_array_equal(read_all(group), VALUES)
    write(group / "mask", "zarr", VALUES[:, :, :1])
    with pytest.raises(InputError, match=r"more than one.*variable=.*cube \[6, 8, 5\]"):
        open_cube(group)
    np.testing.assert_array_equal(read_all(group, variable="cube"), VALUES)
    with pytest.raises(InputError, match=r"found none of zarr\.json"):
        open_cube(group, variable="cubes")


def test_a_group_that_cannot_be_searched_gives_what_its_consolidated_metadata_lists(tmp_path):
    group = tmp_path / "group.zarr"
    group.mkdir()
    (group / ".zgroup").write_text('{"zarr_format": 2}')
    write(group / "images" / "cube", "zarr")
    with pytest.raises(InputError, match=r"no 3-D array that can be listed.*variable="):
        open_cube(f"file://{group}")
    np.testing.assert_array_equal(read_all(f"file://{group}", variable="images/cube"), VALUES)
    members = {"images/cube/.zarray": {"shape": [6, 8, 5]}, "images/cube/.zattrs": {}}
    (group / ".zmetadata").write_text(json.dumps({"metadata": members}))
    np.testing.assert_array_equal(read_all(f"file://{group}"), VALUES)


def test_zarr_that_is_damaged_or_has_other_dimensions_is_refused(tmp_path):
    flat = write(tmp_path / "flat.zarr", "zarr3", VALUES[:, :, 0])
    with pytest.raises(InputError, match=r"flat\.zarr.*shape \[6, 8\]"):
        open_cube(flat)
    broken = write(tmp_path / "broken.zarr", "zarr3")
    (broken / "zarr.json").write_text("{")
    with pytest.raises(InputError, match=r"broken\.zarr: cannot be opened as a zarr") as caught:
        open_cube(broken)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"found none of zarr\.json"):
        open_cube(f"file://{tmp_path}/nowhere.zarr")
    with pytest.raises(InputError, match="cannot be opened as a zarr"):
        open_cube("nosuchscheme://bucket/scene.zarr")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    """Address of a web server of `tmp_path` on this machine."""
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("driver", ["zarr", "zarr3", "n5"])
def test_an_array_behind_a_web_server_is_a_cube_like_any_other(tmp_path, served, driver):
    about = {"wavelengths": CENTRES}
    path = write(tmp_path / "scene.zarr", driver, attributes=None if driver == "zarr" else about)
    if driver == "zarr":
        (path / ".zattrs").write_text(json.dumps(about))
    cube = open_cube(f"{served}/scene.zarr")
    np.testing.assert_array_equal(cube.store.read().result(), VALUES)
    reflectance, valid = cube.read(1, 2, 3, 4)
    np.testing.assert_array_equal(reflectance, VALUES[1:4, 2:6])
    assert valid.all()
    assert cube.name == "scene"
    np.testing.assert_array_equal(cube.wavelengths, CENTRES)


def test_a_prepared_scene_is_read_from_a_web_server_by_parts(tmp_path, served):
    """Sharded zarr3 needs parts of files; this server only gives whole ones, which must do too."""
    source = tmp_path / "scene.npy"
    np.save(source, VALUES)
    prepare(open_cube(source, wavelengths=CENTRES), tmp_path / "out")
    cube = open_cube(f"{served}/out/scene.zarr")
    np.testing.assert_array_equal(cube.read(0, 0, 6, 8)[0], VALUES)


def test_what_a_web_server_does_not_have_is_told_at_once(tmp_path, served):
    write(tmp_path / "scene.zarr", "zarr3")
    start = time.monotonic()
    with pytest.raises(
        InputError, match=r"nowhere\.zarr/: expected .*, found none of zarr\.json.*check the path"
    ):
        open_cube(f"{served}/nowhere.zarr")
    assert time.monotonic() - start < 5


def test_a_web_server_that_does_not_answer_is_given_up_after_seconds():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # not listening: every connection is refused
        start = time.monotonic()
        with pytest.raises(
            InputError, match=r"scene\.zarr: cannot be opened.*\(.*\); .*"
        ) as caught:
            open_cube(f"http://127.0.0.1:{unused.getsockname()[1]}/scene.zarr")
    assert time.monotonic() - start < 15
    assert "\n" not in str(caught.value)


def test_an_empty_npy_file_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / "empty.npy"
    path.touch()
    with pytest.raises(InputError, match=r"empty\.npy"):
        open_cube(path)
