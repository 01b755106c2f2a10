"""Scenes that are handed over as arrays are what the same numbers in a file are."""

import itertools
import pathlib

import dask.array
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

from dgc_jax import InputError, as_cube, open_cube, open_scenes
from dgc_jax.data import arrays

SHAPE = (20, 17, 6)  # rows, columns, bands
GRID = np.array([450.0, 550, 650, 700, 800, 900])  # nm
WINDOW = (-2, 3, 15, 20)


@pytest.fixture
def reflectance() -> np.ndarray:
    numbers = np.random.default_rng(3).uniform(0.05, 0.9, SHAPE).astype(np.float32)
    numbers[4, 5] = 0
    numbers[7, 8, 2] = np.nan
    return numbers


@pytest.fixture
def from_file(reflectance: np.ndarray, tmp_path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """What a window of the same numbers in a file reads as."""
    np.save(tmp_path / "scene.npy", reflectance)
    return open_cube(tmp_path / "scene.npy", wavelengths=GRID).read(*WINDOW)


def same(cube: arrays.Cube, wanted: tuple[np.ndarray, np.ndarray]) -> None:
    for found, expected in zip(cube.read(*WINDOW), wanted, strict=True):
        np.testing.assert_array_equal(found, expected)


def data_array(numbers: np.ndarray, **more: object) -> xarray.DataArray:
    coords = {"wavelength": ("wavelength", GRID, {"units": "nm"})}
    return xarray.DataArray(numbers, coords, ("y", "x", "wavelength"), **more)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a,
        np.asfortranarray,
        lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1],
        lambda a: a.astype(">f4"),
        lambda a: a.astype(np.float64),
        lambda a: a.astype(np.longdouble),
        lambda a: np.ma.masked_invalid(a),
        jnp.asarray,
        lambda a: dask.array.from_array(a, chunks=(7, 5, 4)),
    ],
)
def test_an_array_is_read_as_the_same_numbers_in_a_file(
    change: object, reflectance: np.ndarray, from_file: tuple[np.ndarray, np.ndarray]
) -> None:
    cube = as_cube(change(reflectance), wavelengths=GRID)
    assert cube.shape == SHAPE
    assert cube.name == "scene"
    np.testing.assert_array_equal(cube.wavelengths, GRID)
    same(cube, from_file)


def test_masked_numbers_are_no_data(reflectance: np.ndarray) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[10:12, 3, 4] = True
    counts = np.nan_to_num(reflectance * 1000).astype(np.int16)
    valid = as_cube(np.ma.array(counts, mask=mask)).read(0, 0, *SHAPE[:2])[1]
    np.testing.assert_array_equal(valid, counts.any(2) & ~mask.any(2))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_dimensions_are_told_by_their_names_in_any_order(
    order: tuple[int, ...], reflectance: np.ndarray, from_file: tuple[np.ndarray, np.ndarray]
) -> None:
    array = data_array(reflectance)
    same(as_cube(array.transpose(*(array.dims[axis] for axis in order))), from_file)


@pytest.mark.parametrize(
    "names",
    [
        ("lat", "lon", "band"),
        ("row", "col", "channel"),
        ("line", "sample", "wl"),
        ("downtrack", "crosstrack", "bands"),
        ("YDim", "XDim", "spectral"),
        ("y", "x", "c"),
    ],
)
def test_other_names_of_dimensions(
    names: tuple[str, ...], reflectance: np.ndarray, from_file: tuple[np.ndarray, np.ndarray]
) -> None:
    array = xarray.DataArray(reflectance, dims=names).transpose(names[2], names[1], names[0])
    array = array.assign_coords(wavelengths=(names[2], GRID / 1000, {"units": "um"}))
    cube = as_cube(array)
    np.testing.assert_allclose(cube.wavelengths, GRID)
    same(cube, from_file)


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        (GRID, "nm"),
        (GRID / 1000, "micrometers"),
        (GRID * 10, "Angstrom"),
        (GRID * 1e-9, "m"),
        (1e7 / GRID, "cm-1"),
        (GRID, None),
    ],
)
def test_wavelengths_are_taken_in_their_units(
    values: np.ndarray, unit: str | None, reflectance: np.ndarray
) -> None:
    about = {} if unit is None else {"units": unit}
    array = data_array(reflectance).assign_coords(wavelength=("wavelength", values, about))
    cube = as_cube(array)
    np.testing.assert_allclose(cube.wavelengths, GRID, rtol=1e-12)
    np.testing.assert_array_equal(
        cube.read(0, 0, *SHAPE[:2])[0],
        np.nan_to_num(reflectance) * ~np.isnan(reflectance).any(2)[..., None],
    )


def test_bands_that_count_are_no_wavelengths_and_the_list_beside_them_is(
    reflectance: np.ndarray,
) -> None:
    array = xarray.DataArray(
        reflectance,
        {"band": np.arange(1, 7), "wavelength": ("band", GRID, {"units": "nm"})},
        ("y", "x", "band"),
    )
    np.testing.assert_array_equal(as_cube(array).wavelengths, GRID)
    assert as_cube(array.drop_vars("wavelength")).wavelengths is None
    told = array.drop_vars("wavelength").assign_attrs(wavelength=GRID, wavelength_units="nm")
    np.testing.assert_array_equal(as_cube(told).wavelengths, GRID)
    np.testing.assert_array_equal(as_cube(array, wavelengths=GRID + 5).wavelengths, GRID + 5)


def test_descending_wavelengths_and_bad_bands(reflectance: np.ndarray) -> None:
    good = np.array([1, 1, 0, 1, 1, 1])
    array = data_array(reflectance[:, :, ::-1]).assign_coords(
        wavelength=("wavelength", GRID[::-1], {"units": "nm"}),
        good_wavelengths=("wavelength", good[::-1]),
    )
    cube = as_cube(array)
    np.testing.assert_array_equal(cube.wavelengths, GRID[good == 1])
    np.testing.assert_array_equal(cube.read(0, 0, 1, 1)[0][0, 0], reflectance[0, 0, good == 1])


@pytest.mark.parametrize("decoded", [True, False])
def test_packed_numbers_of_a_file_that_xarray_has_opened(
    decoded: bool, reflectance: np.ndarray, tmp_path: pathlib.Path
) -> None:
    packed = {"dtype": "int16", "scale_factor": 1e-4, "add_offset": 0.1, "_FillValue": -9999}
    array = data_array(reflectance, attrs={"valid_range": np.array([-900, 7000], np.int16)})
    array.to_dataset(name="r").to_netcdf(
        tmp_path / "packed.nc", engine="scipy", encoding={"r": packed}
    )
    wanted = xarray.open_dataset(tmp_path / "packed.nc", engine="scipy")["r"].values
    inside = (wanted > 0.0099) & (wanted < 0.8001)  # 0.1 + 1e-4 * valid_range
    with xarray.open_dataset(
        tmp_path / "packed.nc", engine="scipy", mask_and_scale=decoded
    ) as file:
        found, valid = as_cube(file["r"]).read(0, 0, *SHAPE[:2])
        np.testing.assert_array_equal(valid, inside.all(2))
        np.testing.assert_allclose(found[valid], wanted[valid], atol=1e-6)
    assert 50 < valid.sum() < valid.size


def test_a_dask_array_is_read_only_where_a_window_lies() -> None:
    computed = []

    def block(block_info: dict) -> np.ndarray:
        computed.append(block_info[None]["chunk-location"])
        return np.full(block_info[None]["chunk-shape"], 7, np.uint16)

    lazy = dask.array.map_blocks(
        block,
        dtype=np.uint16,
        chunks=((64,) * 8, (64,) * 8, (100, 100)),
        meta=np.empty((0,) * 3, "u2"),
    )
    for array in (lazy, xarray.DataArray(lazy, dims=("y", "x", "band"))):
        computed.clear()
        cube = as_cube(array)
        assert not computed
        found, _ = cube.read(70, 130, 20, 20)
        assert (found == 7).all()
        assert set(computed) == {(1, 2, 0), (1, 2, 1)}


def test_other_dimensions_of_length_one_are_taken_out(
    reflectance: np.ndarray, from_file: tuple[np.ndarray, np.ndarray]
) -> None:
    same(as_cube(data_array(reflectance).expand_dims(time=["2020"])), from_file)
    with pytest.raises(InputError, match=r"time: 2.*isel"):
        as_cube(data_array(reflectance).expand_dims(time=2))


def test_a_data_array_lies_where_its_coordinates_say(reflectance: np.ndarray) -> None:
    crs = 'PROJCS["WGS 84 / UTM zone 32N"]'
    array = data_array(reflectance, name="field").assign_coords(
        x=500_000 + 2.0 * np.arange(SHAPE[1]), y=5_500_000 - 3.0 * np.arange(SHAPE[0])
    )
    assert as_cube(array).geo == {}  # of which system?
    array = array.assign_coords(spatial_ref=((), 0, {"crs_wkt": crs}))
    corner = [2.0, 0, 499_999, 0, -3, 5_500_001.5]
    assert as_cube(array).geo == {"crs": crs, "transform": corner}
    assert as_cube(array[4:, 2:]).geo["transform"][2::3] == [500_003, 5_499_989.5]
    uneven = array.assign_coords(x=np.arange(SHAPE[1]) ** 2)
    assert as_cube(uneven).geo == {}
    assert as_cube(array).name == "field"


def test_maps_come_back_with_the_coordinates_of_their_pixels(reflectance: np.ndarray) -> None:
    array = data_array(reflectance, attrs={"long_name": "reflectance"}).assign_coords(
        x=np.arange(SHAPE[1]) * 2.0, site="here", soil=("y", np.arange(SHAPE[0]))
    )
    labels = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint16).reshape(SHAPE[:2])
    found = arrays.like(array.transpose("wavelength", "x", "y"), labels, "cluster", {"a": 1})
    assert found.dims == ("y", "x")
    assert set(found.coords) == {"x", "site", "soil"}
    xarray.testing.assert_identical(found.coords["x"].variable, array.coords["x"].variable)
    np.testing.assert_array_equal(found.values, labels)
    assert found.attrs == {"a": 1}
    assert arrays.like(reflectance, labels, "cluster", {}) is labels
    deep = arrays.like(array, reflectance[:, :, :2], "embedding", {})
    assert deep.dims == ("y", "x", "embedding")


class Odd:
    """Something else."""


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (None, "found nothing"),
        (3.5, "found a float"),
        ([1, 2], "one scene, or np.asarray"),
        (Odd(), "found a .*Odd; convert it"),
        (np.zeros((3, 4)), r"one of shape \(3, 4\)"),
        (np.zeros((1, 3, 4, 5)), "a batch is for predict"),
        (np.zeros((3, 4, 5), complex), "complex128 values"),
        (np.zeros((3, 4, 5), object), "object values"),
        (np.full((3, 4, 5), "a"), "expected real numbers, found <U1 values"),
        (np.zeros((3, 0, 5)), "at least one pixel"),
        (xarray.Dataset({"r": (("y", "x", "band"), np.zeros((3, 4, 5)))}), r"dataset\['reflect"),
        (xarray.DataArray(np.zeros((3, 4, 5))), r"rename.*axes="),
        (xarray.DataArray(np.zeros((3, 4)), dims=("y", "x")), "y: 3, x: 4"),
    ],
)
def test_what_is_no_scene_is_refused_in_a_sentence(given: object, why: str) -> None:
    with pytest.raises(InputError, match=why) as told:
        as_cube(given)
    assert "\n" not in str(told.value)


def test_an_array_whose_bands_come_first_is_not_taken_for_another(
    reflectance: np.ndarray, from_file: tuple[np.ndarray, np.ndarray]
) -> None:
    first = reflectance.transpose(2, 0, 1)
    with pytest.raises(InputError, match="axes='brc'"):
        as_cube(first, wavelengths=GRID)
    same(as_cube(first, wavelengths=GRID, axes="brc"), from_file)
    cube = as_cube(reflectance)
    assert as_cube(cube) is cube
    with pytest.raises(InputError, match="is a Cube"):
        as_cube(cube, wavelengths=GRID)


def test_arrays_cubes_and_paths_make_one_data_set(
    reflectance: np.ndarray, tmp_path: pathlib.Path
) -> None:
    np.save(tmp_path / "leaf.npy", reflectance)
    cube = open_cube(tmp_path / "leaf.npy", wavelengths=GRID)
    scenes = open_scenes(
        [data_array(reflectance), reflectance, tmp_path / "leaf.npy"], wavelengths=GRID
    )
    assert [scene.cube.name for scene in scenes] == ["scene_1", "scene_2", "leaf"]
    assert [s.cube.name for s in open_scenes((cube, data_array(reflectance, name="r")))] == [
        "leaf",
        "r",
    ]
    for scene in open_scenes([data_array(reflectance).isel(wavelength=[0, 2]), cube]):
        np.testing.assert_array_equal(scene.cube.wavelengths, GRID[[0, 2]])
    with pytest.raises(InputError, match="is called 'leaf' too"):
        open_scenes([cube, tmp_path / "leaf.npy"])
    with pytest.raises(InputError, match=r"mask='.*arrays have none"):
        open_scenes([reflectance], mask="{stem}_mask.png")


def test_a_scene_handed_over_is_recorded_by_what_it_holds(reflectance: np.ndarray) -> None:
    found = arrays.identity(as_cube(reflectance, wavelengths=GRID))
    assert found.startswith("<memory>/scene (20 x 17 x 6, ")
    assert found == arrays.identity(as_cube(data_array(reflectance)))
    assert found != arrays.identity(as_cube(reflectance))
    assert found != arrays.identity(as_cube(reflectance * 2, wavelengths=GRID))
    with pytest.raises(InputError, match="handed over in memory"):
        open_scenes(found)
