"""Numbers by the conventions of HDF5, NetCDF and zarr; the oracle is NumPy.

Files are written by h5py and TensorStore, in the ways in which netCDF4, xarray and NEON do.
"""

import re

import h5py
import numpy as np
import pytest

from dgc_jax import open_cube
from dgc_jax.data.formats import attributes, conventions
from dgc_jax.errors import InputError
from tests.data.formats.packed import (
    BANDS,
    CENTRES,
    COLUMNS,
    COUNTS,
    HOLED,
    LOST,
    REFLECTANCE,
    ROWS,
    SHAPE,
    WRITERS,
    base64_of,
    check,
    write_hdf5,
    write_zarr,
    writer,
)

write = pytest.fixture(params=WRITERS, ids=WRITERS)(writer)


@pytest.mark.parametrize(
    "attrs",
    [
        {"_FillValue": -9999, "scale_factor": 1e-4, "add_offset": 0.0},
        {"missing_value": "-9999", "scale_factor": "0.0001"},
        {"missing_value": [-1, -9999], "scale_factor": 1e-4},
        {"_FillValue": -1, "missing_value": -9999, "scale_factor": [1e-4]},
        {"missing_value": "-1, -9999s", "scale_factor": [1e-4] * BANDS},
        {"Data_Ignore_Value": -9999.0, "Scale_Factor": 10000.0},
        {"data ignore value": "-9999", "Scale Factor": "10000"},
        {"nodata": -9999, "scale_factor": 10000},
        {"valid_range": [0, 10000], "scale_factor": 1e-4},
        {"valid_min": 0, "scale_factor": 1e-4},
        {"valid_range": [0.0, 1.5], "scale_factor": 1e-4},
        {"_FillValue": -9999, "valid_max": 20000, "scale_factor": 1e-4},
    ],
    ids=str,
)
def test_integers_become_reflectance_and_their_no_data_is_not_valid(write, attrs):
    cube = open_cube(write(HOLED, attrs, ["y", "x", "wavelength"]))
    assert cube.store.dtype.numpy_dtype == np.int16
    check(cube)


@pytest.mark.parametrize(
    "attrs",
    [
        {"_FillValue": -9999, "scale_factor": 1e-4, "add_offset": 0.25},
        {
            "_FillValue": -9999,
            "scale_factor": 1e-4,
            "add_offset": np.linspace(0, 1, BANDS).tolist(),
        },
        {"_FillValue": -9999, "scale_factor": np.linspace(1e-4, 3e-4, BANDS).tolist()},
        {"Data_Ignore_Value": -9999, "Scale_Factor": np.linspace(5e3, 1e4, BANDS).tolist()},
    ],
    ids=["offset", "offsets", "factors", "divisors"],
)
@pytest.mark.parametrize("order", ["rcb", "brc"])
def test_factors_and_offsets_of_each_band_apply_to_that_band(write, attrs, order):
    factor = np.asarray(attrs.get("scale_factor", 1.0))
    if "Scale_Factor" in attrs:
        factor = 1 / np.asarray(attrs["Scale_Factor"])
    expected = COUNTS * factor + np.asarray(attrs.get("add_offset", 0.0))
    names = {"r": "lat", "c": "lon", "b": "band"}
    data = HOLED.transpose(["rcb".index(letter) for letter in order])
    cube = open_cube(write(np.ascontiguousarray(data), attrs, [names[letter] for letter in order]))
    check(cube, expected, tolerance=1e-6)
    part, _ = cube.read(3, 2, 2, 3)
    np.testing.assert_allclose(part, expected[3:5, 2:5], atol=1e-6)


@pytest.mark.parametrize(
    "attrs",
    [
        {"_FillValue": "NaN", "missing_value": -9999.0},
        {"_FillValue": "-9999"},
        {"_FillValue": "-9999.f"},
        {"missing_value": [1e20, -9999]},
        {"valid_min": -1.0},
        {"_FillValue": base64_of(-9999.0)},
    ],
    ids=str,
)
def test_floats_lose_what_the_file_calls_no_data(write, attrs):
    data = np.where(LOST[..., None], -9999, REFLECTANCE).astype(np.float32)
    check(open_cube(write(data, attrs, ["y", "x", "wavelength"])))


def test_several_no_data_numbers_may_take_turns(write):
    data = COUNTS.copy()
    data[0, 0, 1], data[1, 1, 2], data[2, 2, 3], data[3, 3, 4] = -9999, -32768, 30000, 25000
    attrs = {"_FillValue": -9999, "missing_value": [-32768, 25000], "valid_max": 29999}
    lost = np.zeros((ROWS, COLUMNS), bool)
    lost[range(4), range(4)] = True
    check(open_cube(write(data, attrs | {"scale_factor": 1e-4}, ["y", "x", "band"])), lost=lost)


@pytest.mark.parametrize("word", ["true", "True", b"true", ["true"]], ids=repr)
@pytest.mark.parametrize("fill", [-1, 65535])
def test_unsigned_numbers_stored_as_signed_ones_are_positive(tmp_path, word, fill):
    unsigned = np.round(REFLECTANCE * 1e5).astype(np.uint16)
    unsigned[LOST] = 65535
    path = write_hdf5(tmp_path / "a.nc", unsigned.view(np.int16))
    with h5py.File(path, "a") as file:
        image = file["group/image"]
        value = np.array(word, object) if isinstance(word, list) else word
        options = {"dtype": h5py.string_dtype()} if isinstance(word, list) else {}
        image.attrs.create("_Unsigned", value, **options)
        image.attrs["_FillValue"] = np.int32(fill)
        image.attrs["scale_factor"] = 1e-5
    cube = open_cube(path)
    assert cube.store.dtype.numpy_dtype == np.uint16
    check(cube)


def test_signed_numbers_stored_as_unsigned_ones_are_negative_again(write):
    signed = COUNTS - np.int16(500)
    signed[LOST] = -9999
    attrs = {"_Unsigned": "false", "_FillValue": -9999, "scale_factor": 1e-4}
    check(open_cube(write(signed.view(np.uint16), attrs, ["y", "x", "band"])), REFLECTANCE - 0.05)


def test_big_endian_numbers_with_several_rules_keep_their_value(tmp_path):
    attrs = {"missing_value": np.array([-1, -9999], ">i2"), "scale_factor": 1e-4}
    check(open_cube(write_hdf5(tmp_path / "a.h5", HOLED.astype(">i2"), attrs)))


def test_the_fill_value_that_somebody_gave_a_dataset_is_no_data(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        image = file.create_dataset("r", SHAPE, "f4", fillvalue=-9999, chunks=(2, COLUMNS, BANDS))
        image[2:] = REFLECTANCE[2:]  # the first chunk is never written
    lost = np.zeros((ROWS, COLUMNS), bool)
    lost[:2] = True
    check(open_cube(path), lost=lost)


def test_what_netcdf_gives_bytes_of_its_own_accord_is_data(tmp_path):
    bright = np.full(SHAPE, 255, np.uint8)
    for name, mark, valid in (("a.nc", True, True), ("b.h5", False, False)):
        path = write_hdf5(tmp_path / name, bright, fillvalue=255)
        if mark:
            with h5py.File(path, "a") as file:
                file.attrs["_NCProperties"] = "version=2,netcdf=4.9.2"
        assert open_cube(path).read(0, 0, 1, 1)[1].item() == valid


@pytest.mark.parametrize("driver", ["zarr", "zarr3"])
def test_the_fill_value_of_a_zarr_array_is_no_data(tmp_path, driver):
    fill = np.int16(-9999)
    attrs, names = {"scale_factor": 1e-4}, ["y", "x", "band"]
    path = write_zarr(tmp_path / "a.zarr", HOLED, attrs, names, driver, fill_value=fill)
    check(open_cube(path))
    inside = open_cube(path / "image")  # given without its group
    np.testing.assert_allclose(inside.wavelengths, CENTRES)
    check(inside)


@pytest.mark.parametrize(
    ("attrs", "told"),
    [
        ({"scale_factor": 0.0}, "expected a positive scale_factor, found 0"),
        ({"scale_factor": -1.0}, "expected a positive scale_factor, found -1"),
        (
            {"scale_factor": [1e-4] * 2 + [2e-4]},
            f"one scale_factor, or one a band of {BANDS}, found 3 entries",
        ),
        ({"add_offset": [0.0, 1.0]}, f"one add_offset, or one a band of {BANDS}, found 2 entries"),
    ],
)
def test_scales_that_cannot_be_applied_are_refused(write, attrs, told):
    with pytest.raises(InputError, match=told):
        open_cube(write(COUNTS, attrs, ["y", "x", "band"]))


@pytest.mark.parametrize(
    ("attrs", "told"),
    [
        ({"_FillValue": "none"}, "_FillValue 'none', which is no number: not used"),
        ({"_FillValue": -99999}, "_FillValue -99999, which int16 cannot hold"),
        ({"_FillValue": 0.5}, "_FillValue 0.5, which int16 cannot hold"),
        ({"scale_factor": "unknown"}, "scale_factor 'unknown', which is no number: not used"),
        ({"scale_factor": 10000}, "divided by it"),
        ({"Scale_Factor": 1e-4}, "multiplied by it"),
        ({"valid_range": [0, 10000]}, r"outside the file's valid range \(0 to 10000\)"),
        ({"valid_range": [5]}, "valid_range '5': not used"),
        ({"valid_range": [9, 2]}, "valid range of 9 to 2: not used"),
        ({"Offset": 3.0}, "offset 3.0: not applied"),
    ],
    ids=str,
)
def test_what_is_not_used_or_guessed_is_noted(write, attrs, told):
    notes = open_cube(write(COUNTS, attrs, ["y", "x", "band"])).notes
    assert len(notes) == 1
    assert re.search(told, notes[0])


def test_attributes_that_cannot_be_read_stop_nothing(tmp_path):
    path = write_hdf5(tmp_path / "a.h5", COUNTS, {"empty": h5py.Empty("f4")})
    with h5py.File(path, "a") as file:
        file["group/image"].attrs["self"] = file["group/image"].ref
        file["group/image"].attrs["_FillValue"] = h5py.Empty("i2")
        file["group/image"].attrs["units"] = np.bytes_(b"\xb5m\xff")
    np.testing.assert_array_equal(open_cube(path).read_stored(0, 0, ROWS, COLUMNS), COUNTS)


def test_a_list_of_bad_bands_may_be_an_attribute(write):
    path = write(COUNTS, {"bbl": [1, 0, 1, 1, 0]}, ["y", "x", "band"])
    np.testing.assert_allclose(open_cube(path).wavelengths, CENTRES[[0, 2, 3]])


def test_neon_needs_no_help(tmp_path):
    path = tmp_path / "NEON_D01.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("SITE/Reflectance/Reflectance_Data", data=HOLED)
        data.attrs["Data_Ignore_Value"] = -9999.0
        data.attrs["Scale_Factor"] = 10000.0
        data.attrs["Dimension_Labels"] = "Line, Sample, Wavelength"
        spectral = "SITE/Reflectance/Metadata/Spectral_Data/Wavelength"
        file[spectral] = CENTRES
        file[spectral].attrs["Units"] = "Nanometers"
    cube = open_cube(path)
    assert (cube.notes, cube.scale, cube.ignore_value) == ((), 10000, -9999)
    check(cube)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int16(-3), [-3]),
        (np.array([1.5, 2]), [1.5, 2]),
        ("-9999", [-9999]),
        (b"1e20", [1e20]),
        ("{-1, -2}", [-1, -2]),
        ("-32768s", [-32768]),
        ("9.96921e+36f", [9.96921e36]),
        ("255UB", [255]),
        (["1", "2"], [1, 2]),
        (np.array([b"1", b"2"], object), [1, 2]),
        ([1, "2"], [1, 2]),
        (base64_of(-1.25), [-1.25]),
        ("NaN", [np.nan]),
        ("none", None),
        ("", None),
        (None, None),
        (True, None),
        ([1, None], None),
        ({"a": 1}, None),
    ],
    ids=repr,
)
def test_numbers_of_attributes(value, expected):
    found = attributes.numbers(value)
    if expected is None:
        assert found is None
    else:
        np.testing.assert_array_equal(found, expected)


def test_fill_values_that_floats_cannot_hold_exactly_still_match():
    dtype = np.dtype(np.int64)
    fill = np.iinfo(np.int64).min + 2  # NetCDF's own for 64 bits
    found = conventions.packing("a", {"_FillValue": np.int64(fill)}, dtype)
    assert not conventions.is_plain(found, dtype)
    block = np.array([[[1, fill]]], np.int64)
    store, _, _ = conventions.store(lambda *_: block, (1, 1, 2), (1, 1, 2), dtype, found)
    np.testing.assert_array_equal(store.read().result(), [[[1, np.nan]]])


@pytest.mark.parametrize("value", [-9999.9, -1.7e38, 9.96921e36])
def test_numbers_that_were_rounded_when_written_still_match(write, value):
    data = np.where(LOST[..., None], value, REFLECTANCE).astype(np.float32)
    data[0, 0, 1], lost = value, LOST.copy()
    lost[0, 0] = True
    attrs = {"missing_value": [f"{value:.7g}", "-1"]}
    check(open_cube(write(data, attrs, ["y", "x", "band"])), lost=lost)
