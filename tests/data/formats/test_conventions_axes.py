"""Axes and wavelengths by the conventions of HDF5, NetCDF and zarr; the oracle is NumPy.

Files are written by h5py and TensorStore, in the ways in which netCDF4, xarray and NEON do.
"""

import shutil

import h5py
import numpy as np
import pytest
import tensorstore as ts

from dgc_jax import open_cube
from dgc_jax.data.formats import dimensions
from tests.data.formats.packed import (
    BANDS,
    CENTRES,
    COLUMNS,
    COUNTS,
    ROWS,
    SHAPE,
    WRITERS,
    check,
    write_hdf5,
    write_zarr,
    writer,
)

write = pytest.fixture(params=WRITERS, ids=WRITERS)(writer)


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
