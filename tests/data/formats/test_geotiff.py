"""GeoTIFF cubes and label maps, against what rasterio (GDAL) writes and reads."""

import sys

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import spectral.io.envi

from dgc_jax.data.cube import open_cube
from dgc_jax.data.find import find_scenes
from dgc_jax.data.labels import read_labels
from dgc_jax.data.prepare import prepare, store_path
from dgc_jax.errors import InputError
from dgc_jax.show import maps, palette
from dgc_jax.show.geotiff import georeference, write_geotiff

ROWS, COLUMNS, BANDS = 70, 50, 6
CUBE = np.random.default_rng(0).integers(1, 4000, (ROWS, COLUMNS, BANDS)).astype("i2")
NANOMETRES = np.linspace(450.0, 950.0, BANDS)
PLACE = rasterio.Affine(30, 0, 412345, 0, -30, 5812345)
UTM = ["UTM", "1", "1", "412345.0", "5812345.0", "30.0", "30.0", "33", "North", "WGS-84"]


@pytest.fixture
def write(tmp_path):
    """Writes a GeoTIFF by rasterio alone, and lets the test finish it."""

    def written(values=CUBE, finish=lambda image: None, **profile):
        path = tmp_path / "scene.tif"
        profile = {"transform": PLACE, "crs": "EPSG:32633", **profile}
        with rasterio.open(
            path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1],
            count=values.shape[2], dtype=values.dtype, **profile,
        ) as image:  # fmt: skip
            image.write(values.transpose(2, 0, 1))
            finish(image)
        return path

    return written


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize(
    "layout",
    [
        {"interleave": "band"},
        {"interleave": "pixel", "compress": "deflate"},
        {"tiled": True, "blockxsize": 16, "blockysize": 32, "compress": "lzw"},
    ],
)
def test_every_type_and_layout_is_read_by_window_in_its_own_type(write, dtype, layout):
    values = (CUBE % 250 + 1).astype(dtype)
    cube = open_cube(write(values, **layout))
    assert cube.format == "GeoTIFF"
    assert cube.store.dtype.numpy_dtype == np.dtype(dtype)
    np.testing.assert_array_equal(cube.store.read().result(), values)
    reflectance, valid = cube.read(60, 33, 10, 9)
    assert valid.all()
    np.testing.assert_array_equal(reflectance, values[60:70, 33:42])


def band_tags(image):
    for band, centre in enumerate(NANOMETRES, 1):
        image.update_tags(band, wavelength=str(centre / 1000), wavelength_units="Micrometers")


def imagery_tags(image):
    for band, centre in enumerate(NANOMETRES, 1):
        image.update_tags(band, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=str(centre / 1000))


def envi_tag(image):
    listed = ", ".join(map(str, NANOMETRES))
    image.update_tags(ns="ENVI", wavelength=f"{{{listed}}}", wavelength_units="Nanometers")


def described(form):
    def finish(image):
        image.descriptions = tuple(form.format(nm=nm, um=nm / 1000) for nm in NANOMETRES)

    return finish


@pytest.mark.parametrize(
    "finish",
    [
        band_tags,
        imagery_tags,
        envi_tag,
        described("{nm:.1f} nm"),
        described("band 7 ({nm:.1f} Nanometers)"),
        described("{um:.3f} µm"),
        described("{nm:g}"),
    ],
)
def test_wavelengths_are_found_where_gdal_and_other_tools_leave_them(write, finish):
    np.testing.assert_allclose(open_cube(write(finish=finish)).wavelengths, NANOMETRES)


@pytest.mark.parametrize("form", ["band of a camera", "B{nm:.0f}", "reflectance 0.5"])
def test_descriptions_that_name_no_wavelength_give_none(write, form):
    assert open_cube(write(finish=described(form))).wavelengths is None


def test_an_envi_file_that_gdal_made_a_geotiff_keeps_wavelengths_and_place(tmp_path):
    about = {"wavelength": NANOMETRES.tolist(), "wavelength units": "nm", "map info": UTM}
    spectral.io.envi.save_image(tmp_path / "a.hdr", CUBE, metadata=about)
    rasterio.shutil.copy(tmp_path / "a.img", tmp_path / "b.tif", driver="GTiff")
    cube = open_cube(tmp_path / "b.tif")
    np.testing.assert_allclose(cube.wavelengths, NANOMETRES)
    np.testing.assert_array_equal(cube.store.read().result(), CUBE)
    assert cube.geo["map info"] == UTM


def test_one_scale_and_the_nodata_number_are_applied_once_and_survive_prepare(write, tmp_path):
    values = CUBE.copy()
    values[3, 4, 1] = -32768
    values[5, 6] = 0

    def finish(image):
        image.scales = (0.0001,) * BANDS

    cube = open_cube(write(values, finish, nodata=-32768))
    assert cube.store.dtype.numpy_dtype == np.dtype("i2")
    prepare(cube, tmp_path / "out")
    for seen in (cube, open_cube(store_path(cube, tmp_path / "out"))):
        reflectance, valid = seen.read(0, 0, ROWS, COLUMNS)
        assert np.argwhere(~valid).tolist() == [[3, 4], [5, 6]]
        np.testing.assert_allclose(reflectance[valid], CUBE[valid] / 10000, rtol=1e-6)


def test_bands_with_scales_and_offsets_of_their_own_become_reflectance(write):
    values = CUBE.copy()
    values[3, 4, 1] = -9999
    values[5, 6] = 0
    gain, offset = np.linspace(1e-4, 2e-4, BANDS), np.linspace(-0.1, 0.1, BANDS)

    def finish(image):
        image.scales, image.offsets = tuple(gain), tuple(offset)

    cube = open_cube(write(values, finish, nodata=-9999, tiled=True, blockxsize=16, blockysize=16))
    assert (cube.store.dtype.name, cube.scale) == ("float32", 1.0)
    reflectance, valid = cube.read(0, 0, ROWS, COLUMNS)
    assert np.argwhere(~valid).tolist() == [[3, 4], [5, 6]]
    np.testing.assert_allclose(reflectance[valid], CUBE[valid] * gain + offset, rtol=1e-5)
    one_band = cube.store[:, :, 2].read().result()
    np.testing.assert_allclose(one_band[valid], (CUBE * gain + offset)[valid][:, 2], rtol=1e-5)


def test_nan_as_nodata_is_never_valid(write):
    values = CUBE.astype("f4")
    values[1, 2, 3] = np.nan
    _, valid = open_cube(write(values, nodata=np.nan)).read(0, 0, ROWS, COLUMNS)
    assert np.argwhere(~valid).tolist() == [[1, 2]]


def test_the_place_of_a_scene_is_carried_to_geotiff_envi_and_zarr(write, tmp_path):
    labels = (CUBE[:, :, 0] % 4).astype("u1")
    cube = open_cube(write())
    assert cube.geo["map info"] == UTM
    prepare(cube, tmp_path / "out")
    again = open_cube(store_path(cube, tmp_path / "out"))
    for number, geo in enumerate((cube.geo, again.geo)):
        stem = tmp_path / f"map{number}"
        write_geotiff(f"{stem}.tif", labels, list("abc"), palette.colours(3), geo)
        maps.write_envi(stem, labels, list("abc"), palette.colours(3), geo)
        for path in (f"{stem}.tif", f"{stem}.img"):
            with rasterio.open(path) as image:
                assert image.transform == PLACE
                assert image.crs.to_epsg() == 32633
                np.testing.assert_array_equal(image.read(1), labels)


@pytest.mark.parametrize(
    ("crs", "place"),
    [
        ("EPSG:32733", rasterio.Affine(10, 0, 3e5, 0, -10, 7e6)),
        ("EPSG:4326", rasterio.Affine(0.001, 0, 8.5, 0, -0.002, 47.25)),
        ("EPSG:2056", rasterio.Affine(2, 0, 2.6e6, 0, -2, 1.2e6)),
    ],
)
def test_other_coordinate_systems_reach_an_envi_map_as_gdal_reads_it(write, tmp_path, crs, place):
    geo = open_cube(write(crs=crs, transform=place)).geo
    labels = np.ones((ROWS, COLUMNS), "u1")
    maps.write_envi(tmp_path / "map", labels, ["a"], palette.colours(1), geo)
    with rasterio.open(tmp_path / "map.img") as image:
        np.testing.assert_allclose(image.transform[:6], place[:6], rtol=1e-12)
        assert image.crs.linear_units == rasterio.crs.CRS.from_string(crs).linear_units
        assert image.crs.is_geographic == (crs == "EPSG:4326")


@pytest.mark.parametrize(
    "place",
    [
        rasterio.Affine(28, 10, 412345, 10, -28, 5812345),
        rasterio.Affine(-28, 10, 412345, 10, 28, 5812345),
        rasterio.Affine(0, 30, 412345, 30, 0, 5812345),
        rasterio.Affine(30, 0, 412345, 0, 30, 5812345),
        rasterio.Affine(-30, 0, 412345, 0, 30, 5812345),
        rasterio.Affine(-30, 0, 412345, 0, -20, 5812345),
    ],
)
def test_a_turned_scene_keeps_its_place_in_geotiff_and_envi_as_gdal_reads_it(
    write, tmp_path, place
):
    geo = open_cube(write(transform=place)).geo
    labels = np.ones((ROWS, COLUMNS), "u1")
    write_geotiff(tmp_path / "map.tif", labels, ["a"], palette.colours(1), geo)
    maps.write_envi(tmp_path / "map", labels, ["a"], palette.colours(1), geo)
    for name in ("map.tif", "map.img"):
        with rasterio.open(tmp_path / name) as image:
            np.testing.assert_allclose(image.transform[:6], place[:6], atol=1e-6)


def test_a_sheared_place_is_kept_in_geotiff_and_told_to_be_none_in_envi(write, tmp_path):
    sheared = rasterio.Affine(28, 3, 412345, 10, -28, 5812345)
    cube = open_cube(write(transform=sheared))
    assert "map info" not in cube.geo
    assert any("not in ENVI headers" in note for note in cube.notes)
    labels = np.ones((ROWS, COLUMNS), "u1")
    write_geotiff(tmp_path / "map.tif", labels, ["a"], palette.colours(1), cube.geo)
    with rasterio.open(tmp_path / "map.tif") as image:
        np.testing.assert_allclose(image.transform[:6], sheared[:6])


@pytest.mark.parametrize(
    ("info", "code", "transform"),
    [
        (UTM, 32633, PLACE[:6]),
        ("{UTM, 1.5, 1.5, 500015, 3999985, 30, 30, 33, South, WGS-84, units=Meters}", 32733,
         (30, 0, 5e5, 0, -30, 4e6)),
        ("{Geographic Lat/Lon, 1, 1, 8.5, 47.25, 0.1, 0.2, WGS-84}", 4326,
         (0.1, 0, 8.5, 0, -0.2, 47.25)),
        ("{Arbitrary, 1, 1, 0, 0, 2, 2, 0, North}", None, (2, 0, 0, 0, -2, 0)),
        ("{UTM, 1, 1, 5, 5, 1, 1, 33, North, NAD-27}", None, (1, 0, 5, 0, -1, 5)),
        ("{UTM, 1, 1, 5, 5, 1, 1, 33, North, WGS-84, units=Feet}", None, (1, 0, 5, 0, -1, 5)),
        ("{UTM, 1, 1, 5, 5, 0, 1, 33, North, WGS-84}", None, None),
        ("{UTM, 1, 1, 5, 5, 1, 1, 33, North, WGS-84, rotation=north}", None, None),
        ("{UTM, 1, 1, here}", None, None),
        ("", None, None),
    ],
)  # fmt: skip
def test_map_info_of_envi_becomes_a_transform(info, code, transform):
    crs, numbers = georeference({"map info": info})
    assert (crs and crs.to_epsg()) == code
    assert numbers == (None if transform is None else pytest.approx(transform))


@pytest.mark.parametrize(
    "info",
    [
        "{UTM, 3, 4.5, 500000, 4000000, 20, 10, 12, North, WGS-84, units=Meters}",
        *(
            f"{{UTM, 3, 4.5, 500000, 4000000, {size}, 12, North, WGS-84, {unit}rotation={turn}}}"
            for turn in ("-2", "35", "90.0", "180", "-180.0", "-129.75", " 20")
            for size, unit in (("2, 2", "units=Meters, "), ("2, 3", ""))
        ),
        "{UTM, 1, 1, 500000, 4000000, -20, 10, 12, North, WGS-84}",
        "{UTM, 1, 1, 500000, 4000000, 20, -10, 12, South, WGS-84}",
        "{Geographic Lat/Lon, 1, 1, 8.5, 47.25, 0.1, 0.2, WGS-84, units=Degrees, rotation=10}",
        "{Geographic Lat/Lon, 1, 1, 30600, 170100, 360, 360, WGS-84, units=Seconds}",
    ],
)
def test_map_info_means_what_gdal_takes_it_for(tmp_path, info):
    about = {"map info": info}
    spectral.io.envi.save_image(tmp_path / "a.hdr", CUBE, metadata=about)
    crs, transform = georeference(open_cube(tmp_path / "a.hdr").geo)
    with rasterio.open(tmp_path / "a.img") as image:
        assert transform == pytest.approx(image.transform[:6], abs=1e-9)
        assert crs == rasterio.crs.CRS.from_epsg(image.crs.to_epsg())


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_label_map_has_labels_colours_names_and_no_data(tmp_path):
    labels = np.random.default_rng(1).integers(0, 4, (300, 700)).astype("u1")
    names, colours = ["leaf", "a & <b>", "größer"], palette.colours(3)
    write_geotiff(tmp_path / "map.tif", labels, names, colours, description="clusters")
    with rasterio.open(tmp_path / "map.tif") as image:
        np.testing.assert_array_equal(image.read(1), labels)
        assert (image.nodata, image.dtypes, image.block_shapes) == (0, ("uint8",), [(256, 256)])
        assert image.compression == rasterio.enums.Compression.deflate
        table = image.colormap(1)
        assert [table[k][:3] for k in range(1, 4)] == [tuple(c) for c in colours[1:].tolist()]
        assert (image.tags()["CLASS_2"], image.crs) == ("a & <b>", None)
        # GDAL's own translation shows the category names that it reads.
        rasterio.shutil.copy(image, tmp_path / "map.vrt", driver="VRT")
    told = (tmp_path / "map.vrt").read_text(encoding="utf-8")
    expected = ("no data", "leaf", "a &amp; &lt;b&gt;", "größer")
    for name in expected:
        assert f"<Category>{name}</Category>" in told
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.tif", "map.tif.aux.xml", "map.vrt"]
    np.testing.assert_array_equal(read_labels(str(tmp_path / "map.tif"), (300, 700)).labels, labels)


def test_a_label_map_that_cannot_be_written_leaves_nothing_half_done(tmp_path):
    (tmp_path / "file").write_text("in the way")
    labels = np.ones((4, 4), "u1")
    with pytest.raises(InputError, match=r"map\.tif: cannot be written.*choose an output folder"):
        write_geotiff(tmp_path / "file" / "map.tif", labels, ["a"], palette.colours(1))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (CUBE.astype("c8"), r"found complex64 numbers"),
        (None, r"could not be opened as a GeoTIFF"),
    ],
)
def test_what_is_no_cube_is_refused_in_one_sentence(write, tmp_path, values, match):
    if values is None:
        (tmp_path / "scene.tif").write_text("<VRTDataset rasterXSize='1' rasterYSize='1'/>")
    else:
        write(values)
    with pytest.raises(InputError, match=match) as caught:
        open_cube(tmp_path / "scene.tif")
    assert "\n" not in str(caught.value)


def test_a_file_cut_short_is_told_when_it_is_read(write):
    path = write(compress="deflate")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"scene\.tif: could not be read \(.*failed"):
        open_cube(path).read(0, 0, ROWS, COLUMNS)


def test_variable_and_axes_are_refused(write):
    with pytest.raises(InputError, match="leave axes='brc' out"):
        open_cube(write(), axes="brc")


def test_without_rasterio_one_sentence_says_what_to_install(write, tmp_path, monkeypatch):
    path = write()
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(InputError, match=r"scene\.tif: needs rasterio.*dgc_jax\[geo\]") as caught:
        open_cube(path)
    assert "pip install 'dgc_jax[geo]'" in str(caught.value)
    with pytest.raises(InputError, match=r"map\.tif: needs rasterio.*dgc_jax\[geo\]"):
        write_geotiff(tmp_path / "map.tif", np.ones((4, 4), "u1"), ["a"], palette.colours(1))


def test_a_folder_gives_its_geotiffs_without_their_label_maps(write, tmp_path):
    path = write()
    labels = np.ones((ROWS, COLUMNS), "u1")
    write_geotiff(tmp_path / "scene_labels.tif", labels, ["a"], palette.colours(1))
    assert find_scenes(str(tmp_path), companions=("{stem}_labels.*",)) == [str(path)]


def test_windows_read_by_many_threads_are_the_image(write):
    cube = open_cube(write(tiled=True, blockxsize=16, blockysize=16, interleave="pixel"))
    windows = [(row, column) for row in range(0, 64, 8) for column in range(0, 48, 8)]
    parts = [cube.store[r : r + 8, c : c + 8].read() for r, c in windows]
    for (row, column), part in zip(windows, parts, strict=True):
        np.testing.assert_array_equal(part.result(), CUBE[row : row + 8, column : column + 8])
