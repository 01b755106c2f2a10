"""A packed scene, written by h5py and TensorStore as netCDF4, xarray and NEON do."""

import base64
import json
import struct

import h5py
import numpy as np
import tensorstore as ts

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


def check(cube, reflectance=REFLECTANCE, lost=LOST, tolerance=1e-4):
    """The cube is what was packed, where it was not lost."""
    found, valid = cube.read(0, 0, *cube.shape[:2])
    np.testing.assert_array_equal(valid, ~lost)
    np.testing.assert_allclose(found[valid], reflectance[~lost], atol=tolerance)


def writer(request, tmp_path):
    """For a fixture with the parameters `WRITERS`: writes an array into a file of that format."""
    return lambda *args, **options: WRITERS[request.param](
        tmp_path / f"a.{request.param}", *args, **options
    )
