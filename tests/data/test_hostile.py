"""Files that are damaged, or made to harm: a sentence, little memory, no other file shown."""

import json
import os
import pathlib
import subprocess
import sys
import textwrap
import zlib

import h5py
import numpy as np
import PIL.Image
import pytest
import tensorstore as ts

from dgc_jax.data.companions import read_mask
from dgc_jax.data.cube import open_cube
from dgc_jax.data.formats import limits
from dgc_jax.data.labels import read_labels
from dgc_jax.errors import InputError, reading

SECRET = b"what somebody else wrote"


@pytest.fixture(autouse=True)
def here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_data_in_other_files_are_not_followed() -> None:
    pathlib.Path("secret").write_bytes(SECRET)
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("x", shape=(4, 3, 2), dtype="u1", external=[("secret", 0, 24)])
    with pytest.raises(InputError, match=r"takes its numbers from other files \(secret\)"):
        open_cube("x.h5")
    with pytest.raises(InputError, match="other files"):
        read_labels("x.h5", variable="x")


@pytest.mark.parametrize("suffix", [".h5", ".mat"])
def test_virtual_data_of_the_same_file_are_read_and_of_others_refused(suffix: str) -> None:
    numbers = np.arange(24, dtype="f4").reshape(4, 3, 2) + 1
    for source, path in ((".", "own" + suffix), ("own" + suffix, "of_other" + suffix)):
        layout = h5py.VirtualLayout(shape=(4, 3, 2), dtype="f4")
        layout[:] = h5py.VirtualSource(source, "part", shape=(4, 3, 2))
        with h5py.File(path, "w") as file:
            file["part"] = numbers
            file.create_virtual_dataset("cube", layout)
    read, _ = open_cube("own" + suffix, variable="cube").read(0, 0, 4, 3)
    np.testing.assert_array_equal(read, numbers)
    with pytest.raises(InputError, match=rf"other files \(own{suffix}\)"):
        open_cube("of_other" + suffix, variable="cube")


def test_a_virtual_dataset_of_an_external_one_is_refused() -> None:
    pathlib.Path("secret").write_bytes(SECRET)
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("#refs#/x", shape=(4, 3, 2), dtype="u1", external=[("secret", 0, 24)])
        layout = h5py.VirtualLayout(shape=(4, 3, 2), dtype="u1")
        layout[:] = h5py.VirtualSource(".", "#refs#/x", shape=(4, 3, 2))
        file.create_virtual_dataset("cube", layout)
    with pytest.raises(InputError, match="takes its numbers from other files"):
        open_cube("x.h5")


def test_a_store_does_not_lead_out_of_its_folder() -> None:
    pathlib.Path("secret").write_bytes(SECRET)
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": "x.zarr"}}
    spec["metadata"] = {"compressor": None, "chunks": [4, 3, 2]}
    store = ts.open(spec, create=True, dtype=ts.uint8, shape=[4, 3, 2]).result()
    store.write(np.ones((4, 3, 2), "u1")).result()
    inside = pathlib.Path("x.zarr/0.0.0")
    inside.rename("x.zarr/data")
    inside.symlink_to("data")
    assert open_cube("x.zarr").read(0, 0, 1, 1)[1].all()  # a link within it is
    inside.unlink()
    inside.symlink_to(os.path.abspath("secret"))
    with pytest.raises(InputError, match="is a link to a file outside of its store"):
        open_cube("x.zarr")


def zarr2(name: str, shape: list[int], chunks: list[int], chunk: bytes | None = None) -> str:
    os.makedirs(name)
    about = {
        "zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": "<f4", "fill_value": 0,
        "compressor": {"id": "zlib", "level": 1}, "order": "C", "filters": None,
    }  # fmt: skip
    pathlib.Path(name, ".zarray").write_text(json.dumps(about))
    if chunk is not None:
        pathlib.Path(name, ".".join("0" * len(shape))).write_bytes(zlib.compress(chunk))
    return name


def large_chunk_zarr() -> str:
    return zarr2("chunk.zarr", [12, 10, 7], [6, 10**9, 7], b"x")


def half_large_chunk_zarr() -> str:
    return zarr2("half.zarr", [2000, 2000, 50], [2000, 2000, 50], b"x")


def large_shard() -> str:
    kvstore = {"driver": "file", "path": "shard.zarr"}
    codec = {"name": "sharding_indexed", "configuration": {"chunk_shape": [1, 1, 1]}}
    grid = {"name": "regular", "configuration": {"chunk_shape": [4000, 4000, 8]}}
    metadata = {"shape": [4000, 4000, 8], "codecs": [codec], "chunk_grid": grid}
    ts.open(
        {"driver": "zarr3", "kvstore": kvstore, "metadata": metadata}, create=True, dtype=ts.uint8
    ).result()
    return "shard.zarr"


def large_chunk_hdf5() -> str:
    with h5py.File("chunk.h5", "w") as file:
        file.create_dataset("x", (10**5, 10**5, 100), "f4", chunks=(10**4, 10**4, 10))
    return "chunk.h5"


def long_wavelengths() -> str:
    with h5py.File("wl.h5", "w") as file:
        file["x"] = np.ones((8, 8, 5))
        more = {"chunks": (10**6,), "compression": "gzip", "fillvalue": 500.0}
        file.create_dataset("wavelength", (4 * 10**8,), "f8", **more)
        file.create_dataset("good_bands", (4 * 10**8,), "u1", chunks=(10**6,), fillvalue=1)
    return "wl.h5"


def many_bands() -> str:
    with h5py.File("bands.h5", "w") as file:
        file.create_dataset("x", (8, 8, 10**9), "f4", chunks=(1, 1, 1000))
    return "bands.h5"


FILES = [
    large_chunk_zarr, half_large_chunk_zarr, large_shard, large_chunk_hdf5, long_wavelengths,
    many_bands,
]  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("make", FILES)
def test_small_files_take_little_memory(make) -> None:
    path = make()
    program = textwrap.dedent(
        """
        import re, sys
        from dgc_jax.data.cube import open_cube
        from dgc_jax.errors import InputError
        try:
            cube = open_cube(sys.argv[1])
            cube.read(0, 0, 4, 4)
            print("read")
        except InputError as error:
            print("refused:", error)
        print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    said, memory = done.stdout.splitlines()
    assert int(memory) < 600_000  # kB, of which the libraries take a third
    assert said.startswith("read" if make is long_wavelengths else "refused: ")


def test_chunks_are_compared_with_array_file_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "available", lambda: 8 * 10**9)
    limits.check_chunk("x", (1000, 1000, 301), (1000, 1000, 301), 2, lambda: 10**6)
    with pytest.raises(InputError, match="its files have 100 kB"):
        limits.check_chunk("x", (1000, 1000, 301), (1000, 1000, 301), 2, lambda: 10**5)
    with pytest.raises(InputError, match="the whole array has 100 x 1000 x 301"):
        limits.check_chunk("x", (1000, 1000, 301), (100, 1000, 301), 2)
    with pytest.raises(InputError, match=r"\(2.41 GB\), but 1.07 GB can be read at once"):
        limits.check_chunk("x", (1000, 1000, 602), (1000, 1000, 602), 4)
    monkeypatch.setattr(limits, "available", lambda: 10**9)
    with pytest.raises(InputError, match="500 MB can be read at once"):
        limits.check_chunk("x", (1000, 1000, 301), (1000, 1000, 301), 2)
    with pytest.raises(InputError, match="take 602 MB of memory, and only 1 GB are free"):
        limits.check_whole("x", (1000, 1000, 301), 2)


@pytest.mark.parametrize("suffix", [".h5", ".mat"])
def test_damaged_hdf5_is_refused_at_every_byte(suffix: str) -> None:
    with h5py.File("whole.h5", "w") as file:
        file.create_dataset("g/x", data=np.ones((8, 8, 5), "f4"), chunks=(4, 4, 5))
        file["wavelength"] = np.linspace(400, 900, 5)
    whole = pathlib.Path("whole.h5").read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 300):
        data = bytearray(whole)
        data[place] ^= 1 << rng.integers(8)
        pathlib.Path("x" + suffix).write_bytes(data)
        try:
            open_cube("x" + suffix).read(0, 0, 8, 8)
        except InputError as error:
            assert "x" + suffix in str(error)  # noqa: PT017 - most damage does no harm


def test_scene_cut_short_while_open_is_refused(tmp_path: pathlib.Path) -> None:
    np.ones((300, 20, 9), "<f4").tofile("x.raw")
    header = "ENVI\nsamples = 20\nlines = 300\nbands = 9\ndata type = 4\ninterleave = bil\n"
    pathlib.Path("x.hdr").write_text(header + "byte order = 0\n")
    np.save("y.npy", np.ones((300, 20, 9), "f4"))
    for path, data in (("x.hdr", "x.raw"), ("y.npy", "y.npy")):
        cube = open_cube(path)
        os.truncate(data, 4096)
        with pytest.raises(InputError, match=rf"{path}: could not be read \(it was cut short: 216"):
            cube.read(250, 0, 8, 8)


def labelme(**changes: object) -> dict[str, object]:
    shape = {"label": "a", "points": [[1, 1], [5, 1], [5, 5]], "shape_type": "polygon"}
    return {"shapes": [shape], "imageHeight": 8, "imageWidth": 8} | changes


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (labelme(imageHeight=-5), "found -5 rows|found -5 x 8"),
        (labelme(imageHeight=10**6, imageWidth=10**6), "found 1000000 x 1000000"),
        ('{"shapes": [], "imageHeight": 1e400, "imageWidth": 8}', "expected a LabelMe file"),
        ('{"shapes": ' + "[" * 100_000, "expected a LabelMe file"),
        ([1], "expected a LabelMe file"),
        (labelme(shapes=[3]), "expected a LabelMe file"),
        (labelme(shapes={"a": 3}), "expected a LabelMe file"),
        (labelme(shapes=[{"label": "a", "points": [[10**400, 1]]}]), "expected a LabelMe file"),
        (labelme(shapes=[{"label": "a", "points": [[float("nan"), 1]]}]), "are no numbers"),
        (labelme(imageHeight="eight"), "expected a LabelMe file"),
    ],
)
def test_label_files_of_anything_are_refused(content: object, why: str) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    pathlib.Path("x.json").write_text(text)
    with pytest.raises(InputError, match=why):
        read_labels("x.json", (8, 8))
    with pytest.raises(InputError):
        read_labels("x.json")


def test_three_hundred_classes_are_refused() -> None:
    shape = labelme()["shapes"][0]  # type: ignore[index]
    shapes = [shape | {"label": f"c{number}"} for number in range(300)]
    pathlib.Path("x.json").write_text(json.dumps(labelme(shapes=shapes)))
    with pytest.raises(InputError, match="at most 255 classes, found 300"):
        read_labels("x.json", (8, 8))


def test_damaged_pictures_are_read_or_refused() -> None:
    PIL.Image.fromarray(np.full((8, 8), 200, np.uint8)).save("whole.png")
    whole = pathlib.Path("whole.png").read_bytes()
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 0xFF
        pathlib.Path("x.png").write_bytes(data)
        for read in (lambda: read_mask("x.png", "s", (8, 8)), lambda: read_labels("x.png", (8, 8))):
            try:
                read()
            except InputError as error:
                assert "x.png" in str(error)  # noqa: PT017


def test_pictures_that_are_programs_are_not_run() -> None:
    pathlib.Path("x.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n"
    )
    with pytest.raises(InputError, match="cannot identify image file"):
        read_mask("x.png", "s", (8, 8))


@pytest.mark.parametrize(
    "error", [RuntimeError("wrong signature\nat 3"), KeyError("data"), zlib.error()]
)
def test_what_libraries_raise_is_told_with_its_cause(error: Exception) -> None:
    why = r"^x\.h5: could not be read \(.+\); copy or"
    with pytest.raises(InputError, match=why) as told, reading("x.h5"):
        raise error
    assert told.value.__cause__ is error


@pytest.mark.parametrize("error", [NameError("x"), AssertionError()])
def test_our_own_faults_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)), reading("x.h5"):
        raise error
