"""TIFFs of other tools: pages, transparency, masks, no data, bad bands, control points."""

import json

import numpy as np
import PIL.Image
import pytest
import rasterio
import rasterio.control
import rasterio.rpc
from rasterio.enums import ColorInterp, MaskFlags

from dgc_jax.data.cube import open_cube
from dgc_jax.data.prepare import prepare, store_path
from dgc_jax.errors import InputError
from dgc_jax.show import palette
from dgc_jax.show.geotiff import write_geotiff

ROWS, COLUMNS, BANDS = 40, 36, 12
CUBE = np.random.default_rng(0).integers(1, 4000, (ROWS, COLUMNS, BANDS)).astype("u2")
NANOMETRES = np.linspace(450.0, 1000.0, BANDS)
PLACE = rasterio.Affine(30, 0, 412345, 0, -30, 5812345)
HIDDEN = np.zeros((ROWS, COLUMNS), bool)
HIDDEN[:10] = True


@pytest.fixture
def write(tmp_path):
    """Writes a GeoTIFF by rasterio alone, and lets the test finish it (alpha is told first)."""

    def written(values=CUBE, finish=lambda image: None, alpha=None, **profile):
        path = tmp_path / "scene.tif"
        profile = {"transform": PLACE, "crs": "EPSG:32633", **profile}
        with rasterio.open(
            path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1],
            count=values.shape[2], dtype=values.dtype, **profile,
        ) as image:  # fmt: skip
            if alpha is not None:
                kinds = [ColorInterp.gray, *[ColorInterp.undefined] * (values.shape[2] - 1)]
                kinds[alpha] = ColorInterp.alpha
                image.colorinterp = kinds
            image.write(values.transpose(2, 0, 1))
            finish(image)
        return path

    return written


def save_pages(path, pages, **options):
    pictures = [PIL.Image.fromarray(np.ascontiguousarray(page)) for page in pages]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("options", [{}, {"compression": "tiff_deflate"}])
def test_pages_of_one_band_are_the_bands_in_their_order(tmp_path, dtype, options):
    values = (CUBE % 250 + 1).astype(dtype)
    save_pages(tmp_path / "a.tif", values.transpose(2, 0, 1), **options)
    cube = open_cube(tmp_path / "a.tif")
    assert cube.store.dtype.numpy_dtype == np.dtype(dtype)
    assert any("12 pages" in note and "12 bands" in note for note in cube.notes)
    np.testing.assert_array_equal(cube.store.read().result(), values)
    np.testing.assert_array_equal(cube.read(5, 7, 20, 9)[0], values[5:25, 7:16])


def test_descriptions_of_pages_are_their_wavelengths(tmp_path):
    pictures = [PIL.Image.fromarray(np.ascontiguousarray(page)) for page in CUBE.transpose(2, 0, 1)]
    with open(tmp_path / "a.tif", "w+b") as file:
        writer = PIL.TiffImagePlugin.AppendingTiffWriter(file)
        for picture, centre in zip(pictures, NANOMETRES, strict=True):
            picture.save(writer, format="TIFF", description=f"{centre:g} nm")
            writer.newFrame()
        del writer  # which finishes the file when it goes, while that is open
    np.testing.assert_allclose(open_cube(tmp_path / "a.tif").wavelengths, NANOMETRES)


@pytest.mark.parametrize(
    "pages",
    [
        [CUBE[:, :, 0], CUBE[:20, :, 1]],
        [CUBE[:, :, 0], CUBE[:, :, 1].astype("f4")],
        [np.zeros((8, 9, 3), "u1"), np.ones((8, 9, 3), "u1")],
    ],
)
def test_pages_that_are_no_bands_of_one_image_are_refused(tmp_path, pages):
    save_pages(tmp_path / "a.tif", pages)
    with pytest.raises(InputError, match=r"a\.tif: .*, found 2 pages .* save it as one image"):
        open_cube(tmp_path / "a.tif")


def test_previews_are_no_bands(write, tmp_path):
    path = write(tiled=True, blockxsize=16, blockysize=16)
    with rasterio.open(path, "r+") as image:
        image.build_overviews([2, 4])
    assert open_cube(path).shape == CUBE.shape
    save_pages(tmp_path / "b.tif", [np.full((8, 9, 3), 5, "u1"), np.ones((4, 4, 3), "u1")])
    cube = open_cube(tmp_path / "b.tif")
    assert cube.shape == (8, 9, 3)
    assert any("the first is read" in note for note in cube.notes)


@pytest.mark.parametrize(
    "text", ["ImageJ=1.53\nimages=12\nslices=12\n", json.dumps({"shape": [12, ROWS, COLUMNS]})]
)
def test_pages_that_only_a_text_tells_are_refused(tmp_path, text):
    picture = PIL.Image.fromarray(np.ascontiguousarray(CUBE[:, :, 0]))
    picture.save(tmp_path / "a.tif", description=text)
    with pytest.raises(InputError, match="the 12 images that it says it holds, found 1 as pages"):
        open_cube(tmp_path / "a.tif")


def test_an_alpha_band_tells_validity_and_is_no_band(write, tmp_path):
    alpha = np.where(HIDDEN, 0, 65535).astype("u2")
    cube = open_cube(write(np.dstack([CUBE, alpha]), alpha=BANDS))
    assert cube.shape == CUBE.shape
    assert any("alpha" in note for note in cube.notes)
    prepare(cube, tmp_path / "out")
    for seen in (cube, open_cube(store_path(cube, tmp_path / "out"))):
        values, valid = seen.read(0, 0, ROWS, COLUMNS)
        np.testing.assert_array_equal(valid, ~HIDDEN)
        np.testing.assert_array_equal(values[valid], CUBE[valid])


def test_an_alpha_band_may_lie_between_others_and_lists_may_count_it(write):
    alpha = np.where(HIDDEN, 0, 255).astype("u2")
    values = np.insert(CUBE, 4, alpha, axis=2)

    def finish(image):
        listed = ",".join(f"{w:g}" for w in np.insert(NANOMETRES, 4, 0))
        image.update_tags(ns="ENVI", wavelength=f"{{{listed}}}", wavelength_units="nm")

    cube = open_cube(write(values, finish, alpha=4))
    np.testing.assert_allclose(cube.wavelengths, NANOMETRES)
    got, valid = cube.read(0, 0, ROWS, COLUMNS)
    np.testing.assert_array_equal(valid, ~HIDDEN)
    np.testing.assert_array_equal(got[valid], CUBE[valid])


def test_a_band_with_a_wavelength_is_none_of_transparency(write):
    """GDAL calls the fourth of four byte bands alpha, unless told otherwise."""

    def finish(image):
        for band in range(1, 5):
            image.update_tags(band, wavelength=str(400 + 100 * band), wavelength_units="nm")

    assert open_cube(write((CUBE[:, :, :4] % 255).astype("u1"), finish)).shape[2] == 4


@pytest.mark.parametrize("internal", [True, False])
@pytest.mark.parametrize("nodata", [None, 7])
def test_a_mask_in_or_beside_the_file_tells_validity(write, internal, nodata):
    def finish(image):
        image.write_mask(np.where(HIDDEN, 0, 255).astype("u1"))

    values = np.where(CUBE == 7, 8, CUBE)
    values[20, 5, 3] = 7
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        path = write(values, finish, nodata=nodata)
    assert path.with_name("scene.tif.msk").exists() != internal
    cube = open_cube(path)
    expected = ~HIDDEN
    expected[20, 5] = nodata is None
    np.testing.assert_array_equal(cube.read(0, 0, ROWS, COLUMNS)[1], expected)
    np.testing.assert_array_equal(cube.read(8, 3, 5, 5)[1], expected[8:13, 3:8])
    assert any("mask" in note for note in cube.notes)


def test_no_data_told_for_all_bands_together_counts_only_so(write):
    values = CUBE.copy()
    values[3, 4] = np.arange(BANDS) + 100
    values[5, 6, 2] = 102

    def finish(image):
        image.update_tags(NODATA_VALUES=" ".join(str(n + 100) for n in range(BANDS)))

    path = write(values, finish)
    with rasterio.open(path) as image:
        assert MaskFlags.per_dataset in image.mask_flag_enums[0]
    assert np.argwhere(~open_cube(path).read(0, 0, ROWS, COLUMNS)[1]).tolist() == [[3, 4]]


def gdal_tolerates(stored, written):
    """GDAL's rule, `ARE_REAL_EQUAL`, of float32."""
    a, b = np.float32(stored), np.float32(written)
    return a == b or abs(a - b) < np.finfo("f4").eps * abs(a + b) * 2


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        (np.float32(-9999.9), -9999.9),
        (np.float32(1.2345678e10), 1.2345679e10),
        (np.float32(-1.0000001e20), -1e20),
        (np.float32(0.1), 0.1),
        (np.float32(1234.5), 1234.6),
        (np.float32(-9999), -9998.99),
        (np.float32(-9999), -9999.002),
    ],
)
def test_a_rounded_no_data_number_matches_as_in_gdal(write, stored, written):
    values = CUBE.astype("f4")
    values[3, 4, 1] = stored
    path = write(values, nodata=written)
    with rasterio.open(path) as image:
        assert (image.read_masks(2)[3, 4] == 0) == gdal_tolerates(stored, written)
    assert open_cube(path).read(3, 4, 1, 1)[1].item() != gdal_tolerates(stored, written)


@pytest.mark.parametrize("nodata", [None, -9999, -3.4e38, -3.40282e38])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("number", [-3.4028234663852886e38, 1.7e38, -1.1e38, np.inf, np.nan])
def test_numbers_beyond_1e38_are_never_valid(write, nodata, dtype, number):
    values = CUBE.astype(dtype)
    values[3, 4, 1] = number

    def finish(image):
        image.scales = (0.0001,) * BANDS

    reflectance, valid = open_cube(write(values, finish, nodata=nodata)).read(0, 0, ROWS, COLUMNS)
    assert np.argwhere(~valid).tolist() == [[3, 4]]
    assert np.isfinite(reflectance).all()


@pytest.mark.parametrize("scaled", [False, True])
def test_each_band_may_have_a_no_data_number_of_its_own(write, scaled):
    def finish(image):
        if scaled:
            image.scales = (0.5,) * BANDS

    values = CUBE.copy()
    values[3, 4], values[5, 6] = 11, 12
    values[3, 4, 1], values[5, 6, 0] = 4002, 4002  # band 2's number, and the same in band 1
    path = write(values, finish)
    bands = "".join(
        f'<PAMRasterBand band="{n}"><NoDataValue>{4000 + n}</NoDataValue></PAMRasterBand>'
        for n in range(1, BANDS + 1)
    )
    path.with_name("scene.tif.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>")
    with rasterio.open(path) as image:
        assert image.nodatavals == tuple(range(4001, 4001 + BANDS))
    got, valid = open_cube(path).read(0, 0, ROWS, COLUMNS)
    assert np.argwhere(~valid).tolist() == [[3, 4]]
    np.testing.assert_allclose(got[valid], values[valid] * (0.5 if scaled else 1))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_geolocation_arrays_are_told_to_be_lost(tmp_path):
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=4, width=4, count=2, dtype="uint8"
    ) as image:
        image.write(np.ones((2, 4, 4), "u1"))
        image.update_tags(ns="GEOLOCATION", X_DATASET="lon.tif", Y_DATASET="lat.tif")
    assert any("geolocation arrays" in note for note in open_cube(tmp_path / "a.tif").notes)


BAD = (NANOMETRES > 600) & (NANOMETRES < 800)


def in_band_tags(mark, unmark, name="bbl", domain=None):
    def finish(image):
        for band, bad in enumerate(BAD, 1):
            image.update_tags(band, ns=domain, **{name: mark if bad else unmark})

    return finish


def in_image_tags(form, name="bbl", domain="ENVI"):
    def finish(image):
        marks = [0 if bad else 1 for bad in BAD]
        image.update_tags(ns=domain, **{name: form(marks)})

    return finish


@pytest.mark.parametrize(
    "finish",
    [
        in_band_tags("0", "1"),
        in_band_tags("0.0", "1.0"),
        in_band_tags("false", "true", "BadBandMultiplier"),
        in_band_tags("0", "1", "bbl", "ENVI"),
        in_band_tags("0", "1", "bad_band_multiplier"),
        in_image_tags(lambda marks: ",".join(map(str, marks))),
        in_image_tags(lambda marks: "{" + ", ".join(map(str, marks)) + "}"),
        in_image_tags(lambda marks: "{" + ", ".join(map(str, marks)) + "}", "bbl", None),
        in_image_tags(lambda marks: " ".join(map(str, marks)), "BBL", None),
        in_image_tags(lambda marks: "{" + ",\n; a comment\n".join(map(str, marks)) + "}"),
        in_image_tags(lambda marks: ",".join(map(str, marks)), "bad band list", None),
    ],
)
def test_bad_bands_are_left_out_wherever_they_are_told(write, finish):
    values = CUBE.astype("i2")
    values[:, :, BAD] = -32768  # nothing would be valid otherwise
    path = write(values, finish, nodata=-32768)
    cube = open_cube(path)
    assert cube.shape[2] == (~BAD).sum()
    got, valid = cube.read(0, 0, ROWS, COLUMNS)
    assert valid.all()
    np.testing.assert_array_equal(got, CUBE[:, :, ~BAD])
    assert open_cube(path, keep_bad_bands=True).shape[2] == BANDS


@pytest.mark.parametrize(
    "finish",
    [
        in_image_tags(lambda marks: "1,0,1"),
        in_band_tags("perhaps", "1"),
        in_band_tags("1", "0", "bad_band"),
    ],
)
def test_a_bad_band_list_that_is_not_understood_is_told(write, finish):
    cube = open_cube(write(finish=finish))
    assert cube.shape[2] == BANDS
    assert any("not used" in note for note in cube.notes)


@pytest.mark.parametrize("domain", [None, "ENVI"])
@pytest.mark.parametrize("name", ["wavelength", "wavelengths"])
def test_wavelengths_are_found_in_either_domain_of_the_image(write, domain, name):
    def finish(image):
        listed = ",".join(f"{w / 1000:g}" for w in NANOMETRES)
        image.update_tags(ns=domain, **{name: f"{{{listed}}}", "wavelength units": "Micrometers"})

    np.testing.assert_allclose(open_cube(write(finish=finish)).wavelengths, NANOMETRES)


@pytest.mark.parametrize("where", ["band", "image"])
def test_the_unit_of_band_tags_may_stand_at_the_image(write, where):
    def finish(image):
        for band, centre in enumerate(NANOMETRES, 1):
            image.update_tags(band, wavelength=str(10 * centre))
        image.update_tags(*([1] if where == "band" else []), wavelength_unit="Angstroms")

    np.testing.assert_allclose(open_cube(write(finish=finish)).wavelengths, NANOMETRES)


def test_bands_in_unlike_units_have_no_wavelengths_and_say_so(write):
    def finish(image):
        for band, centre in enumerate(NANOMETRES, 1):
            image.update_tags(band, wavelength=str(centre), wavelength_units=("nm", "um")[band % 2])

    cube = open_cube(write(finish=finish))
    assert cube.wavelengths is None
    assert any("nm and um: not used" in note for note in cube.notes)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_ground_control_points_reach_a_geotiff_map_and_are_told(tmp_path):
    points = [
        rasterio.control.GroundControlPoint(row, column, 8 + 0.01 * column, 47 - 0.02 * row, 300.0)
        for row, column in ((0, 0), (0, COLUMNS), (ROWS, 0), (ROWS, COLUMNS))
    ]
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=ROWS, width=COLUMNS, count=BANDS,
        dtype="uint16", gcps=points, crs="EPSG:4326",
    ) as image:  # fmt: skip
        image.write(CUBE.transpose(2, 0, 1))
    cube = open_cube(tmp_path / "a.tif")
    assert any("Ground control points" in note for note in cube.notes)
    prepare(cube, tmp_path / "out")
    for seen in (cube, open_cube(store_path(cube, tmp_path / "out"))):
        labels = np.ones((ROWS, COLUMNS), "u1")
        write_geotiff(tmp_path / "map.tif", labels, ["a"], palette.colours(1), seen.geo)
        with rasterio.open(tmp_path / "map.tif") as image:
            found, system = image.gcps
            assert system.to_epsg() == 4326
            told = [(p.row, p.col, p.x, p.y, p.z) for p in found]
            np.testing.assert_allclose(told, [(p.row, p.col, p.x, p.y, p.z) for p in points])
            np.testing.assert_array_equal(image.read(1), labels)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_rational_polynomials_reach_a_geotiff_map_and_are_told(tmp_path):
    polynomial = [0.5, *[0.001 * n for n in range(19)]]
    rpc = rasterio.rpc.RPC(
        height_off=10.0, height_scale=500.0, lat_off=47.0, lat_scale=0.1, line_den_coeff=polynomial,
        line_num_coeff=polynomial, line_off=20.0, line_scale=20.0, long_off=8.0, long_scale=0.1,
        samp_den_coeff=polynomial, samp_num_coeff=polynomial, samp_off=18.0, samp_scale=18.0,
        err_bias=None, err_rand=None,
    )  # fmt: skip
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=ROWS, width=COLUMNS, count=BANDS,
        dtype="uint16", rpcs=rpc,
    ) as image:  # fmt: skip
        image.write(CUBE.transpose(2, 0, 1))
    cube = open_cube(tmp_path / "a.tif")
    assert any("RPC" in note for note in cube.notes)
    labels = np.ones((ROWS, COLUMNS), "u1")
    write_geotiff(tmp_path / "map.tif", labels, ["a"], palette.colours(1), cube.geo)
    with rasterio.open(tmp_path / "map.tif") as image:
        found = image.rpcs
        np.testing.assert_allclose(found.line_num_coeff, polynomial)
        assert (found.lat_off, found.samp_scale) == (47.0, 18.0)
