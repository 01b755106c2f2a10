"""Products of PRISMA and EnMAP, built small from their published layouts by h5py and rasterio."""

import h5py
import numpy as np
import pytest
import rasterio

from dgc_jax.data.cube import open_cube
from dgc_jax.data.find import find_scenes
from dgc_jax.data.prepare import prepare, store_path
from dgc_jax.errors import InputError
from dgc_jax.show.geotiff import georeference

ROWS, COLUMNS = 70, 40
FIELDS = "HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"
# Descending, 0 for bands that are not there, and both cameras between 943 and 973 nm.
VNIR = np.array([0, 0, 0, 972.65, 962.28, 951.38, 700.5, 550.25, 402.45], np.float32)
SWIR = np.array([2496.9, 1600.2, 998.4, 959.5, 951.0, 942.96, 0, 0], np.float32)
SCALES = {"Vnir": (0.01, 0.9), "Swir": (0.0, 0.7)}


@pytest.fixture
def prisma(tmp_path):
    """Path of an L2D product, and its reflectance by hand: `{nm: [row, column]}`, float64."""
    rng = np.random.default_rng(0)
    stored = {
        "VNIR": rng.integers(1, 65536, (ROWS, len(VNIR), COLUMNS)).astype("u2"),
        "SWIR": rng.integers(1, 65536, (ROWS, len(SWIR), COLUMNS)).astype("u2"),
    }
    for values in stored.values():
        values[:4, :, :7] = 0  # outside the swath
    stored["VNIR"][20, 5, 9] = 0  # one dark band is no hole
    path = tmp_path / "PRS_L2D_STD_20200702_0001.he5"
    with h5py.File(path, "w") as file:
        for name, values in stored.items():
            file.create_dataset(f"{FIELDS}/{name}_Cube", data=values)
            file[f"{FIELDS}/{name}_PIXEL_L2_ERR_MATRIX"] = (values > 0).astype("u1")
        file["HDFEOS/SWATHS/PRS_L2D_HCO/Geolocation Fields/Latitude"] = np.ones((ROWS, COLUMNS))
        file["HDFEOS/SWATHS/PRS_L2D_PCO/Data Fields/Cube"] = np.ones((6, 6), "u2")
        file.attrs["List_Cw_Vnir"], file.attrs["List_Cw_Swir"] = VNIR, SWIR
        for camera, (low, high) in SCALES.items():
            file.attrs[f"L2Scale{camera}Min"] = np.float32(low)
            file.attrs[f"L2Scale{camera}Max"] = np.float32(high)
        file.attrs["Epsg_Code"] = np.uint32(32633)
        file.attrs["Product_ULcorner_easting"] = 412360.0
        file.attrs["Product_ULcorner_northing"] = 5812330.0
    reflectance = {}
    for camera, centres in (("Vnir", VNIR), ("Swir", SWIR)):
        low, high = (float(np.float32(limit)) for limit in SCALES[camera])
        for band, centre in enumerate(centres):
            if centre:
                numbers = stored[camera.upper()][:, band].astype(np.float64)
                reflectance[float(centre)] = low + numbers * (high - low) / 65535
    return path, reflectance


def test_prisma_is_one_ascending_cube_of_reflectance(prisma):
    path, by_hand = prisma
    cube = open_cube(path)
    expected = sorted(nm for nm in by_hand if nm not in VNIR[3:6])
    np.testing.assert_allclose(cube.wavelengths, expected)
    assert (np.diff(cube.wavelengths) > 0).all()
    reflectance, valid = cube.read(0, 0, ROWS, COLUMNS)
    assert not valid[:4, :7].any()
    assert valid.sum() == ROWS * COLUMNS - 28
    oracle = np.stack([by_hand[nm] for nm in expected], axis=2)
    np.testing.assert_allclose(reflectance[valid], oracle[valid], rtol=1e-5)
    assert any("3 VNIR bands from 951.4 nm" in note for note in cube.notes)


def test_prismas_overlap_is_there_when_asked_for(prisma):
    path, by_hand = prisma
    cube = open_cube(path, keep_bad_bands=True)
    np.testing.assert_allclose(cube.wavelengths, sorted(by_hand))
    reflectance, valid = cube.read(10, 3, 50, 37)
    oracle = np.stack([by_hand[nm] for nm in sorted(by_hand)], axis=2)[10:60, 3:]
    assert valid.all()
    np.testing.assert_allclose(reflectance, oracle, rtol=1e-5)


def test_prismas_corner_is_the_centre_of_a_pixel_in_utm(prisma):
    crs, transform = georeference(open_cube(prisma[0]).geo)
    assert crs.to_epsg() == 32633
    assert transform == [30, 0, 412345, 0, -30, 5812345]


def test_prisma_can_be_prepared_and_a_single_cube_named(prisma, tmp_path):
    path, _ = prisma
    cube = open_cube(path)
    prepare(cube, tmp_path / "out")
    again = open_cube(store_path(cube, tmp_path / "out"))
    for got, expected in zip(again.read(0, 0, ROWS, COLUMNS), cube.read(0, 0, ROWS, COLUMNS),
                             strict=True):  # fmt: skip
        np.testing.assert_array_equal(got, expected)
    counts = open_cube(path, variable=f"{FIELDS}/SWIR_Cube", axes="rbc")
    assert counts.shape == (ROWS, COLUMNS, len(SWIR))


def test_a_prisma_file_without_its_scale_or_with_other_bands_is_refused(prisma):
    path, _ = prisma
    with h5py.File(path, "r+") as file:
        del file.attrs["L2ScaleSwirMax"]
    with pytest.raises(InputError, match="PRISMA product without L2ScaleSwirMax"):
        open_cube(path)
    with h5py.File(path, "r+") as file:
        file.attrs["L2ScaleSwirMax"] = 0.7
        file.attrs["List_Cw_Swir"] = SWIR[1:]
    with pytest.raises(InputError, match=r"SWIR_Cube to fit .*\[70, 8, 40\], 9 and 7 wavelengths"):
        open_cube(path)


# Ordered by wavelength: the cameras' bands take turns from 902 to 985 nm.
ENMAP = np.array([418.4, 700.2, 902.2, 911.6, 955.0, 957.6, 985.0, 1005.8, 1390.5, 2445.5])
ENMAP_VNIR, ENMAP_SWIR = (1, 2, 4, 5, 7), (3, 6, 8, 9, 10)
STEM = "ENMAP01-____L2A-DT0000001867_20220724T104526Z_008_V010302_20230628T165614Z"


def metadata(centres=ENMAP, gain=0.0001, channels=True):
    bands = "".join(
        f'<bandID number="{number}"><wavelengthCenterOfBand>{centre}</wavelengthCenterOfBand>'
        f"<FWHMOfBand>7</FWHMOfBand><GainOfBand>{gain}</GainOfBand><OffsetOfBand>0</OffsetOfBand>"
        "</bandID>"
        for number, centre in enumerate(centres, 1)
    )
    statistics = "".join(
        f'<bandID number="{number}"><mean>{-1000000 if number == 9 else 500}</mean>'
        f"<stdDeviation>{0 if number == 9 else 12.5}</stdDeviation></bandID>"
        for number in range(1, len(centres) + 1)
    )
    quality = "".join(
        f"<{camera}ProductQuality><expectedChannelsList>{','.join(map(str, listed))}"
        f"</expectedChannelsList></{camera}ProductQuality>"
        for camera, listed in (("vnir", ENMAP_VNIR), ("swir", ENMAP_SWIR))
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><level_X><base><level>L2A</level></base><specific>'
        f"<bandCharacterisation>{bands}</bandCharacterisation>{quality if channels else ''}"
        f"</specific><product><bandStatistics>{statistics}</bandStatistics></product></level_X>"
    )


@pytest.fixture
def enmap(tmp_path):
    """Folder of an L2A product and its stored numbers `[row, column, band]`."""
    values = np.random.default_rng(0).integers(-50, 9000, (ROWS, COLUMNS, 10)).astype("i2")
    values[:, :, 8] = -32768  # in the water absorption
    values[:5, :6] = -32768
    for layer, array in (("SPECTRAL_IMAGE", values), ("QL_QUALITY_CLASSES", values[..., :1])):
        with rasterio.open(
            tmp_path / f"{STEM}-{layer}.TIF", "w", driver="GTiff", height=ROWS, width=COLUMNS,
            count=array.shape[2], dtype="int16", nodata=-32768, crs="EPSG:32633", interleave="band",
            transform=rasterio.Affine(30, 0, 412345, 0, -30, 5812345),
        ) as image:  # fmt: skip
            image.write(array.transpose(2, 0, 1))
    (tmp_path / f"{STEM}-METADATA.XML").write_text(metadata(), encoding="utf-8")
    return tmp_path, values


@pytest.mark.parametrize("given", ["SPECTRAL_IMAGE.TIF", "METADATA.XML"])
def test_enmap_has_the_metadatas_wavelengths_and_scale(enmap, given):
    folder, values = enmap
    cube = open_cube(folder / f"{STEM}-{given}")
    assert (cube.format, cube.name) == ("EnMAP", STEM)
    kept = [0, 1, 2, 5, 7, 9]  # no VNIR from the SWIR's first band on, no empty band
    np.testing.assert_array_equal(cube.wavelengths, ENMAP[kept])
    reflectance, valid = cube.read(0, 0, ROWS, COLUMNS)
    assert not valid[:5, :6].any()
    assert valid.sum() == ROWS * COLUMNS - 30
    np.testing.assert_allclose(reflectance[valid], values[valid][:, kept] / 10000, rtol=1e-6)
    assert cube.geo["map info"][7:] == ["33", "North", "WGS-84"]
    assert [note.split()[0] for note in cube.notes] == ["3", "1", "4"]


def test_enmaps_overlap_stays_where_the_metadata_do_not_tell_the_cameras_apart(enmap):
    folder, _ = enmap
    path = folder / f"{STEM}-METADATA.XML"
    path.write_text(metadata(channels=False), encoding="utf-8")
    np.testing.assert_array_equal(open_cube(path).wavelengths, np.delete(ENMAP, 8))


def test_a_folder_with_an_enmap_product_holds_one_scene(enmap):
    folder, _ = enmap
    assert find_scenes(str(folder)) == [str(folder / f"{STEM}-SPECTRAL_IMAGE.TIF")]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("<level_X>", r"METADATA\.XML: cannot be read as EnMAP metadata"),
        (metadata(ENMAP[1:]), r"the 10 bands of the image beside it, found 9"),
        (metadata(gain=-1), r"found gains of -1 to -1"),
        (metadata(gain="none"), r"METADATA\.XML: cannot be read as EnMAP metadata"),
        (metadata(()), r"found 0 bands"),
    ],
)
def test_enmap_metadata_that_do_not_fit_are_refused(enmap, text, match):
    folder, _ = enmap
    (folder / f"{STEM}-METADATA.XML").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=match):
        open_cube(folder / f"{STEM}-SPECTRAL_IMAGE.TIF")


def test_enmap_metadata_without_an_image_say_what_is_missing(enmap):
    folder, _ = enmap
    (folder / f"{STEM}-SPECTRAL_IMAGE.TIF").unlink()
    with pytest.raises(
        InputError, match=r"expected a GeoTIFF image beside it.*SPECTRAL_IMAGE\.TIF"
    ):
        open_cube(folder / f"{STEM}-METADATA.XML")
