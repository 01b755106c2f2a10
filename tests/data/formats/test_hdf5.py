"""HDF5 and NetCDF4 files as h5py writes them."""

import h5py
import numpy as np
import pytest

from dgc_jax.data.formats import hdf5, lazy
from dgc_jax.errors import InputError

ROWS, COLUMNS, BANDS = 9, 8, 6
CUBE = np.random.default_rng(0).integers(-5, 4000, (ROWS, COLUMNS, BANDS)).astype(np.int16)
NANOMETRES = np.linspace(450.0, 950.0, BANDS)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "a.h5")


def pixels(raw):
    return raw.store.read().result()


@pytest.mark.parametrize("chunks", [None, (2, 3, 6), (9, 8, 1)])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", ">f8"])
def test_the_only_3d_dataset_is_read_lazily_in_its_own_type(path, chunks, dtype):
    with h5py.File(path, "w") as file:
        file.create_dataset("deep/down/image", data=CUBE.astype(dtype), chunks=chunks)
        file["other"] = np.ones((3, 3))
    raw = hdf5.read(path)
    np.testing.assert_array_equal(pixels(raw), CUBE)
    part = raw.store[3:5, 2:7, 1:4].read().result()
    np.testing.assert_array_equal(part, CUBE[3:5, 2:7, 1:4])
    assert raw.store.dtype.numpy_dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize("axes", ["rcb", "brc", "cbr"])
def test_axes_are_told_in_the_files_order(path, axes):
    with h5py.File(path, "w") as file:
        data = CUBE.transpose(["rcb".index(letter) for letter in axes])
        file.create_dataset("image", data=data, chunks=(2, 3, 4), compression="gzip")
    np.testing.assert_array_equal(pixels(hdf5.read(path, axes=axes)), CUBE)


def test_a_dataset_is_named_by_its_path(path):
    with h5py.File(path, "w") as file:
        file["a/one"] = CUBE
        file["a/two"] = CUBE + 1
    np.testing.assert_array_equal(pixels(hdf5.read(path, variable="/a/two")), CUBE + 1)
    with pytest.raises(
        InputError, match=r"more than one 3-D.*a/one \[9, 8, 6\], a/two \[9, 8, 6\]"
    ):
        hdf5.read(path)
    with pytest.raises(InputError, match="expected a numeric variable 'three', found a/one"):
        hdf5.read(path, variable="three")


def test_the_attributes_say_how_to_read_the_numbers(path):
    with h5py.File(path, "w") as file:
        file["image"] = CUBE
        file["image"].attrs.update({"_FillValue": np.array([-1], np.int16), "scale_factor": 1e-4})
    raw = hdf5.read(path)
    assert raw.ignore_value == -1
    assert raw.scale == pytest.approx(1e4)
    np.testing.assert_array_equal(pixels(raw), CUBE)  # nothing is applied yet


def test_missing_value_is_the_fill_value_of_older_files_and_nan_needs_none(path):
    with h5py.File(path, "w") as file:
        file["image"] = CUBE
        file["image"].attrs["missing_value"] = -2
        file["float"] = CUBE.astype(np.float32)
        file["float"].attrs["_FillValue"] = np.float32(np.nan)
    assert hdf5.read(path, variable="image").ignore_value == -2
    assert hdf5.read(path, variable="float").ignore_value is None


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"add_offset": np.inf}, "image: expected a finite add_offset, found inf"),
        (
            {"scale_factor": [0.1, 0.2]},
            "image: expected one scale_factor, or one a band of 6, found 2 entries",
        ),
        ({"scale_factor": 0.0}, "image: expected a positive scale_factor, found 0"),
        ({"scale_factor": np.nan}, "image: expected a positive scale_factor, found nan"),
    ],
)
def test_a_scale_that_cannot_be_applied_is_refused(path, attributes, told):
    with h5py.File(path, "w") as file:
        file["image"] = CUBE
        file["image"].attrs.update(attributes)
    with pytest.raises(InputError, match=told):
        hdf5.read(path)


@pytest.mark.parametrize("unit", [b"micrometers", "um", None])
def test_wavelengths_come_from_a_dataset_with_its_unit(path, unit):
    with h5py.File(path, "w") as file:
        file["image"] = np.moveaxis(CUBE, 2, 0)
        file["meta/wavelength"] = NANOMETRES / 1000
        if unit is not None:
            file["meta/wavelength"].attrs["units"] = unit
    raw = hdf5.read(path)
    np.testing.assert_allclose(raw.wavelengths, NANOMETRES)
    np.testing.assert_array_equal(pixels(raw), CUBE)  # their number told the band axis


def test_wavelengths_come_from_an_attribute(path):
    with h5py.File(path, "w") as file:
        file["image"] = CUBE
        file["image"].attrs["wavelengths"] = NANOMETRES
    np.testing.assert_allclose(hdf5.read(path).wavelengths, NANOMETRES)


def test_emit_l2a_reflectance_needs_no_help(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("reflectance", data=CUBE.astype(np.float32), chunks=(4, 4, 6))
        file["reflectance"].attrs["_FillValue"] = np.float32(-9999)
        file["sensor_band_parameters/wavelengths"] = NANOMETRES.astype(np.float32)
        file["sensor_band_parameters/wavelengths"].attrs["units"] = "nm"
        file["sensor_band_parameters/good_wavelengths"] = np.array([1, 1, 0, 0, 1, 1], np.uint8)
        file["location/lon"] = np.zeros((ROWS, COLUMNS))
    raw = hdf5.read(path)
    np.testing.assert_array_equal(pixels(raw), CUBE)
    np.testing.assert_allclose(raw.wavelengths, NANOMETRES)
    np.testing.assert_array_equal(raw.good_bands, [1, 1, 0, 0, 1, 1])
    assert raw.ignore_value == -9999
    assert raw.notes == ()


@pytest.mark.parametrize(
    ("shape", "own"),
    [((512, 217, 204), (11, 7, 13)), ((2000, 1500, 300), (2000, 1500, 1)), ((3, 4, 5), (1, 1, 1))],
)
def test_blocks_are_whole_chunks_of_the_file_within_16_mib(shape, own):
    block = lazy.block_shape(shape, own, itemsize=4)
    for size, chunk, whole in zip(block, own, shape, strict=True):
        assert size == whole or size % chunk == 0
    assert 4 * np.prod(block) <= max(16 * 2**20, 4 * np.prod(own))


def test_blocks_hold_a_crop_with_all_its_bands_when_the_file_allows():
    assert lazy.block_shape((512, 512, 301), (1, 1, 1), itemsize=2) == (64, 64, 301)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"CDF\x01" + bytes(100), "classic NetCDF.*nccopy"),
        (b"not a cube at all", "could not be opened as HDF5.*another format"),
        (None, "does not exist"),
    ],
)
def test_other_files_are_refused_in_one_sentence(path, content, told):
    if content is not None:
        with open(path, "wb") as stream:
            stream.write(content)
    with pytest.raises(InputError, match=told):
        hdf5.read(path)


def test_a_file_cut_short_is_one_sentence(path):
    with h5py.File(path, "w") as file:
        file["image"] = CUBE
    with open(path, "r+b") as stream:
        stream.truncate(1500)
    with pytest.raises(InputError, match=r"could not be opened as HDF5.*cut short"):
        hdf5.read(path)


def test_a_file_without_a_cube_lists_what_it_holds(path):
    with h5py.File(path, "w") as file:
        file["flat"] = np.ones((3, 4))
        file["text"] = "hello"
    with pytest.raises(InputError, match=r"no 3-D numeric dataset.*flat \[3, 4\]"):
        hdf5.read(path)


def test_an_unknown_compression_is_named(path):
    with h5py.File(path, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((2, 2, 2))
        properties.set_filter(32001, h5py.h5z.FLAG_OPTIONAL)  # Blosc's number, not built in
        space = h5py.h5s.create_simple(CUBE.shape)
        h5py.h5d.create(file.id, b"image", h5py.h5t.NATIVE_INT16, space, dcpl=properties)
    with pytest.raises(InputError, match=r"compressed with 32001.*h5repack"):
        hdf5.read(path)
