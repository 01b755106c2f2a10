"""Numbers, axes and wavelengths by the conventions of HDF5, NetCDF and zarr; the oracle is NumPy.

Files are written by h5py and TensorStore, in the ways in which netCDF4, xarray and NEON do.
"""

import base64
import json
import re
import shutil
import struct

import h5py
import numpy as np
import pytest
import tensorstore as ts

from dgc_jax import open_cube
from dgc_jax.data.formats import attributes, conventions, dimensions
from dgc_jax.errors import InputError

ROWS, COLUMNS, BANDS = 8, 6, 5
SHAPE = (ROWS, COLUMNS, BANDS)
CENTRES = np.array([450.0, 500.0, 600.0, 700.0, 900.0])
REFLECTANCE = np.random.default_rng(0).uniform(0.02, 0.6, SHAPE)
COUNTS = np.round(REFLECTANCE * 10000).astype(np.int16)
LOST = np.zeros((ROWS, COLUMNS), bool)
LOST[:2, 1:] = True
HOLED = np.where(LOST[..., None], np.int16(-9999), COUNTS)


def base64_of(number):
    """The fill value of a zarr 3 array as xarray writes it."""
    return base64.standard_b64encode(struct.pack("<d", number)).decode()


def write_hdf5(path, data, attrs=(), names=None, **options):
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("group/image", data=data, **options)
        for key, value in dict(attrs).items():
            dataset.attrs[key] = value
        for place, name in enumerate(names or ()):
            dataset.dims[place].label = name
        file["group/wavelength"] = CENTRES
    return path


def write_zarr(path, data, attrs=(), names=None, driver="zarr3", group=True, **options):
    """An array in a group, with its wavelengths beside it, as xarray lays out a data set."""

    def array(name, values, about, labels, **more):
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": str(path / name)}}
        if driver == "zarr3":
            spec["metadata"] = {"attributes": about}
            spec["metadata"] |= {"dimension_names": list(labels)} if labels else {}
        store = ts.open(
            spec, create=True, dtype=ts.dtype(values.dtype), shape=values.shape, **more
        ).result()
        store.write(values).result()
        if driver == "zarr":
            about = about | ({"_ARRAY_DIMENSIONS": list(labels)} if labels else {})
            (path / name / ".zattrs").write_text(json.dumps(about))

    path.mkdir()
    if driver == "zarr3":
        about = {"zarr_format": 3, "node_type": "group", "attributes": {}}
        (path / "zarr.json").write_text(json.dumps(about))
    else:
        (path / ".zgroup").write_text('{"zarr_format": 2}')
    array("image", data, dict(attrs), names, **options)
    array("wavelength", CENTRES / 1000, {"units": "um"}, ["wavelength"])
    return path


def write_zarr_2(path, data, attrs=(), names=None, **options):
    return write_zarr(path, data, attrs, names, driver="zarr", **options)


WRITERS = {"h5": write_hdf5, "nc": write_hdf5, "zarr": write_zarr, "2.zarr": write_zarr_2}


@pytest.fixture(params=WRITERS, ids=WRITERS)
def write(request, tmp_path):
    return lambda *args, **options: WRITERS[request.param](
        tmp_path / f"a.{request.param}", *args, **options
    )


def check(cube, reflectance=REFLECTANCE, lost=LOST, tolerance=1e-4):
    """The cube is what was packed, where it was not lost."""
    found, valid = cube.read(0, 0, *cube.shape[:2])
    np.testing.assert_array_equal(valid, ~lost)
    np.testing.assert_allclose(found[valid], reflectance[~lost], atol=tolerance)


@pytest.mark.parametrize("order", ["rcb", "brc", "rbc", "bcr", "crb", "cbr"])
def test_names_of_dimensions_tell_the_axes_without_a_note(write, order):
    names = [
        "yxwavelength"["rcb".index(letter) :][:1] if letter != "b" else "wavelength"
        for letter in order
    ]
    data = COUNTS.transpose(["rcb".index(letter) for letter in order])
    cube = open_cube(write(np.ascontiguousarray(data), {"scale_factor": 1e-4}, names))
    assert cube.notes == ()
    np.testing.assert_allclose(cube.wavelengths, CENTRES)
    check(cube, lost=np.zeros((ROWS, COLUMNS), bool))


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


def test_axes_that_only_wavelengths_tell_are_noted(write):
    cube = open_cube(write(np.ascontiguousarray(COUNTS.transpose(2, 0, 1))))
    assert cube.shape == SHAPE
    assert "'brc' from the number of wavelengths" in cube.notes[0]


def test_attached_scales_name_the_axes_and_hold_the_wavelengths(tmp_path):
    path = tmp_path / "a.nc"
    with h5py.File(path, "w") as file:
        image = file.create_dataset("image", data=COUNTS.transpose(2, 1, 0))
        packed = np.round((CENTRES - 400) / 0.1).astype(np.int16)
        coordinates = {"band": packed, "lon": np.arange(6.0), "lat": np.arange(8.0)}
        for place, (name, values) in enumerate(coordinates.items()):
            file[name] = values
            file[name].make_scale(name)
            image.dims[place].attach_scale(file[name])
        file["band"].attrs.update({"scale_factor": 0.1, "add_offset": 400.0})
        file["band"].attrs.create("units", ["nm"], dtype=h5py.string_dtype())
        file["other/wavelength"] = CENTRES + 1  # of something else
    cube = open_cube(path)
    assert cube.notes == ()
    np.testing.assert_allclose(cube.wavelengths, CENTRES, atol=0.06)
    np.testing.assert_array_equal(cube.read_stored(0, 0, ROWS, COLUMNS), COUNTS)


def test_a_standard_name_tells_wavelengths_whatever_they_are_called(tmp_path):
    path = write_hdf5(tmp_path / "a.nc", COUNTS)
    with h5py.File(path, "a") as file:
        del file["group/wavelength"]
        file["centre"], file["lines"] = CENTRES, np.linspace(400, 410, BANDS)
        file["centre"].attrs["standard_name"] = "radiation_wavelength"
        file["centre"].attrs["units"] = "nm"
    np.testing.assert_allclose(open_cube(path).wavelengths, CENTRES)


@pytest.mark.parametrize("driver", ["zarr", "zarr3"])
@pytest.mark.parametrize("values", [CENTRES, np.arange(1.0, BANDS + 1)])
def test_the_coordinate_of_the_band_axis_counts_if_it_holds_wavelengths(tmp_path, driver, values):
    path = write_zarr(tmp_path / "a.zarr", COUNTS, (), ["y", "x", "channel"], driver)
    shutil.rmtree(path / "wavelength")
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": str(path / "channel")}}
    store = ts.open(spec, create=True, dtype=ts.float64, shape=[BANDS]).result()
    store.write(values).result()
    cube = open_cube(path)
    assert cube.notes == ()
    if values[0] < 100:
        assert cube.wavelengths is None
    else:
        np.testing.assert_allclose(cube.wavelengths, CENTRES)


@pytest.mark.parametrize(
    "units", ["um", b"um", ["um"], ["um"] * BANDS, [b"um"] * BANDS, "µm", ["µm"]], ids=repr
)
def test_units_may_be_text_bytes_or_lists_of_them(tmp_path, units):
    path = write_hdf5(tmp_path / "a.nc", COUNTS)
    with h5py.File(path, "a") as file:
        del file["group/wavelength"]
        file["group/wavelength"] = CENTRES / 1000
        if isinstance(units, list) and isinstance(units[0], str):
            file["group/wavelength"].attrs.create("units", units, dtype=h5py.string_dtype())
        else:
            file["group/wavelength"].attrs["units"] = units
    np.testing.assert_allclose(open_cube(path).wavelengths, CENTRES)


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
    ("names", "order", "noted"),
    [
        (("wavelength", "y", "x"), "brc", False),
        (("/lat", "/lon", "/bands"), "rcb", False),
        (("number_of_lines", "pixels_per_line", "wavelength_3d"), "rcb", False),
        (("red_bands", "number_of_scans", "ccd_pixels"), "brc", False),
        (("downtrack", "crosstrack", "bands"), "rcb", False),
        (("YDim:grid", "XDim:grid", "nband"), "rcb", False),
        (("r", "c", "b"), "rcb", False),
        (("c", "y", "x"), "brc", True),
        (("band", "dim_1", "dim_2"), "brc", True),
        (("time", "lat", "lon"), "brc", True),
        (("x", "y", "z"), "crb", True),
        (("y", "y2", "x"), None, False),
        (("a", "b1", None), "rbc", True),
        (("dim_0", "dim_1", "dim_2"), None, False),
        ((), None, False),
    ],
)
def test_names_of_axes(names, order, noted):
    found, note = dimensions.order(names)
    assert found == order
    assert (note is not None) == noted


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
