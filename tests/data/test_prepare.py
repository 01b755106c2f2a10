"""Preparing scenes as sharded zarr3, seen through TensorStore and through `open_cube`."""

import dataclasses
import json
import os

import numpy as np
import pytest
import tensorstore as ts

from dgc_jax.data import prepare as preparing
from dgc_jax.data.bands import Bands
from dgc_jax.data.cube import open_cube
from dgc_jax.data.prepare import create_store, prepare, store_path, why_unprepared
from dgc_jax.errors import InputError

CENTRES = np.linspace(400, 1000, 7)


def values(dtype="u2"):
    return np.random.default_rng(0).integers(1, 1000, (70, 45, 7)).astype(dtype)


@pytest.fixture
def scene(tmp_path):
    np.save(tmp_path / "scene.npy", values())
    return tmp_path / "scene.npy"


def zarr3(path) -> ts.TensorStore:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
    return ts.open(spec, read=True).result()


def test_a_store_has_uncompressed_inner_chunks_of_all_bands_in_shards(tmp_path):
    store = create_store(str(tmp_path / "s"), (100, 70, 5), np.int16)
    assert store.chunk_layout.read_chunk.shape == (32, 32, 5)
    assert store.chunk_layout.write_chunk.shape == (128, 96, 5)
    sharding = store.schema.codec.to_json()["codecs"][0]
    assert sharding["name"] == "sharding_indexed"
    assert [codec["name"] for codec in sharding["configuration"]["codecs"]] == ["bytes"]


def test_shards_stay_moderate_however_large_the_scene(tmp_path):
    for shape in [(5000, 640, 301), (20_000, 1600, 978), (100_000, 20_000, 200)]:
        store = create_store(str(tmp_path / "s"), shape, np.float32)
        shard = np.prod(store.chunk_layout.write_chunk.shape) * 4
        assert 30e6 < shard <= 2**26


def test_a_prepared_scene_is_the_scene(tmp_path, scene):
    cube = open_cube(scene, wavelengths=CENTRES)
    assert prepare(cube, tmp_path / "out")
    again = open_cube(store_path(cube, tmp_path / "out"))
    assert again.name == "scene"
    assert again.store.dtype.numpy_dtype == np.dtype("u2")
    np.testing.assert_array_equal(again.wavelengths, CENTRES)
    np.testing.assert_array_equal(zarr3(tmp_path / "out" / "scene.zarr").read().result(), values())


def test_shards_are_copied_each_to_its_place(tmp_path, scene, monkeypatch):
    monkeypatch.setattr(preparing, "_SHARD_BYTES", 1)  # one inner chunk a shard
    prepare(open_cube(scene), tmp_path)
    store = zarr3(tmp_path / "scene.zarr")
    assert store.chunk_layout.write_chunk.shape == (32, 32, 7)
    np.testing.assert_array_equal(store.read().result(), values())


def test_scale_and_ignore_value_go_into_attributes_not_into_numbers(tmp_path):
    numbers = values()
    numbers[5, 6] = 9999
    source = create_store(
        str(tmp_path / "a.zarr"), numbers.shape, "u2", scale=500.0, ignore_value=9999, geo={"x": 1}
    )
    source.write(numbers).result()
    cube = open_cube(tmp_path / "a.zarr")
    prepare(cube, tmp_path / "out")
    again = open_cube(store_path(cube, tmp_path / "out"))
    assert again.geo == {"x": 1}
    np.testing.assert_array_equal(again.store.read().result(), numbers)
    for got, expected in zip(again.read(0, 0, 70, 45), cube.read(0, 0, 70, 45), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert not again.read(5, 6, 1, 1)[1]


def test_bands_left_out_stay_out_and_order_becomes_ascending(tmp_path, scene):
    cube = open_cube(scene, wavelengths=CENTRES[::-1]).with_bands(((400, 700),))
    prepare(cube, tmp_path)
    again = open_cube(store_path(cube, tmp_path))
    np.testing.assert_array_equal(again.wavelengths, [400, 500, 600, 700])
    np.testing.assert_array_equal(again.read(0, 0, 70, 45)[0], values()[..., [6, 5, 4, 3]])


def test_masked_pixels_become_no_data(tmp_path, scene):
    usable = np.random.default_rng(1).random((70, 45)) < 0.7
    np.save(tmp_path / "mask.npy", usable)
    cube = open_cube(scene, mask=tmp_path / "mask.npy")
    prepare(cube, tmp_path)
    reflectance, valid = open_cube(store_path(cube, tmp_path)).read(0, 0, 70, 45)
    np.testing.assert_array_equal(valid, usable)
    np.testing.assert_array_equal(reflectance, values() * usable[..., None])


def test_with_references_reflectance_is_stored(tmp_path, scene):
    dark, white = np.full((2, 45, 7), 10.0), np.full((1, 45, 7), 2010.0)
    white[:, 3] = 0
    np.save(tmp_path / "dark.npy", dark)
    np.save(tmp_path / "white.npy", white)
    cube = open_cube(scene, dark=tmp_path / "dark.npy", white=tmp_path / "white.npy")
    prepare(cube, tmp_path)
    again = open_cube(store_path(cube, tmp_path))
    assert again.store.dtype.numpy_dtype == np.dtype("f4")
    assert again.scale == 1
    reflectance, valid = again.read(0, 0, 70, 45)
    assert np.flatnonzero(~valid.any(0)).tolist() == [3]
    oracle = (values() - 10.0) / 2000
    np.testing.assert_allclose(reflectance[valid], oracle[valid], rtol=1e-5, atol=1e-7)


def test_a_finished_scene_is_skipped_and_an_unfinished_one_redone(tmp_path, scene, monkeypatch):
    cube = open_cube(scene)
    unfinished = create_store(str(tmp_path / "scene.zarr.part"), cube.shape, "u2")
    unfinished.write(7).result()
    assert prepare(cube, tmp_path)
    assert not (tmp_path / "scene.zarr.part").exists()
    np.testing.assert_array_equal(zarr3(tmp_path / "scene.zarr").read().result(), values())
    before = os.stat(tmp_path / "scene.zarr" / "zarr.json").st_mtime_ns
    assert not prepare(cube, tmp_path)
    assert os.stat(tmp_path / "scene.zarr" / "zarr.json").st_mtime_ns == before


def test_an_interrupted_run_leaves_no_finished_output(tmp_path, scene):
    class Interrupting:
        def add_task(self, *_, **__):
            return 0

        def advance(self, *_):
            raise KeyboardInterrupt

    cube = open_cube(scene)
    with pytest.raises(KeyboardInterrupt):
        prepare(cube, tmp_path, Interrupting())
    assert not (tmp_path / "scene.zarr").exists()
    assert prepare(cube, tmp_path)
    np.testing.assert_array_equal(zarr3(tmp_path / "scene.zarr").read().result(), values())


@pytest.mark.parametrize("what", ["mask", "white", "wavelengths", "axes", "another scene", "bands"])
def test_a_scene_of_other_options_is_written_anew_and_says_why(tmp_path, scene, what):
    out = tmp_path / "out"
    prepare(open_cube(scene), out)
    np.save(tmp_path / "mask.npy", np.arange(70 * 45).reshape(70, 45) < 500)
    np.save(tmp_path / "white.npy", np.full((1, 45, 7), 2000.0))
    (tmp_path / "b").mkdir()
    np.save(tmp_path / "b" / "scene.npy", values() + 1)
    cube = {
        "mask": lambda: open_cube(scene, mask=tmp_path / "mask.npy"),
        "white": lambda: open_cube(scene, white=tmp_path / "white.npy"),
        "wavelengths": lambda: open_cube(scene, wavelengths=CENTRES),
        "axes": lambda: open_cube(scene, axes="crb"),
        "another scene": lambda: open_cube(tmp_path / "b" / "scene.npy"),
        "bands": lambda: dataclasses.replace(open_cube(scene), bands=Bands(np.array([2, 3]), None)),
    }[what]()
    told = {"another scene": f"scene is {tmp_path}/b/scene.npy, was {scene}"}
    assert told.get(what, what) in str(why_unprepared(cube, out))
    assert prepare(cube, out)
    rows, columns, _ = cube.shape
    again = open_cube(out / "scene.zarr")
    for got, expected in zip(
        again.read(0, 0, rows, columns), cube.read(0, 0, rows, columns), strict=True
    ):
        np.testing.assert_array_equal(got, expected)
    assert not prepare(cube, out)


def test_a_scene_or_mask_that_has_changed_since_is_told_and_written_anew(tmp_path, scene):
    def cube():
        return open_cube(scene, mask=tmp_path / "mask.npy")

    mask = np.ones((70, 45), bool)
    np.save(tmp_path / "mask.npy", mask)
    prepare(cube(), tmp_path / "out")
    np.save(scene, values()[::-1])  # of the same size
    assert why_unprepared(cube(), tmp_path / "out") == f"{scene} has changed since"
    assert prepare(cube(), tmp_path / "out")
    mask[:9] = False
    np.save(tmp_path / "mask.npy", mask)
    assert why_unprepared(cube(), tmp_path / "out") == f"{tmp_path}/mask.npy has changed since"
    assert prepare(cube(), tmp_path / "out")
    expected = np.where(mask[..., None], values()[::-1], 0)
    store = zarr3(tmp_path / "out" / "scene.zarr")
    np.testing.assert_array_equal(store.read().result(), expected)


def test_a_store_that_has_lost_a_shard_is_written_anew(tmp_path, scene):
    cube = open_cube(scene)
    prepare(cube, tmp_path / "out")
    shard = next(p for p in (tmp_path / "out" / "scene.zarr" / "c").rglob("*") if p.is_file())
    shard.unlink()
    assert "scene.zarr has" in str(why_unprepared(cube, tmp_path / "out"))
    assert prepare(cube, tmp_path / "out")


def test_what_no_manifest_knows_of_and_the_scene_itself_are_not_overwritten(tmp_path, scene):
    create_store(str(tmp_path / "out" / "scene.zarr"), (4, 4, 2), "f4").write(1).result()
    with pytest.raises(InputError, match=r"found scene\.zarr, of which manifest"):
        prepare(open_cube(scene), tmp_path / "out")
    np.testing.assert_array_equal(zarr3(tmp_path / "out" / "scene.zarr").read().result(), 1)
    prepare(open_cube(scene), tmp_path / "in")
    with pytest.raises(InputError, match="expected a folder without the scene"):
        prepare(open_cube(tmp_path / "in" / "scene.zarr"), tmp_path / "in")


def test_a_folder_that_cannot_be_written_is_told(tmp_path, scene):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot be written .*permissions and free space"):
        prepare(open_cube(scene), tmp_path / "file")


def test_attributes_hold_no_nan(tmp_path):
    create_store(str(tmp_path / "s"), (4, 4, 2), "f4", ignore_value=np.nan)
    assert (
        "ignore_value" not in json.loads((tmp_path / "s" / "zarr.json").read_text())["attributes"]
    )
