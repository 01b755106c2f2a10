"""Maps read back, by other libraries, as the labels that were written; pictures show the scene."""

import os

import numpy as np
import pytest
import spectral.io.envi
import tensorstore as ts
from PIL import Image

from dgc_jax.errors import InputError
from dgc_jax.files import replacing
from dgc_jax.show import maps, overlay
from dgc_jax.show.palette import NO_DATA, colours

NAMES = ["flat background", "leaf, healthy {green}", "läsion\n= 病斑"]
LABELS = np.array([[0, 1, 2, 3, 1], [3, 2, 1, 0, 2]], np.uint8)


class ArrayScene:
    """A scene in memory, which remembers how much was read at once."""

    def __init__(self, reflectance, wavelengths=None, valid=None):
        self.reflectance = np.asarray(reflectance, np.float32)
        self.shape = self.reflectance.shape
        self.wavelengths = wavelengths
        self.valid = np.ones(self.shape[:2], bool) if valid is None else valid
        self.largest_read = 0

    def read(self, row, column, height, width):
        self.largest_read = max(self.largest_read, height * width)
        window = np.s_[row : row + height, column : column + width]
        assert self.valid[window].shape == (height, width)
        return self.reflectance[window], self.valid[window]


def _pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


# Palette


def test_every_cluster_of_a_uint8_map_has_a_colour_of_its_own():
    assert len(np.unique(colours(255), axis=0)) == 256


def test_the_colour_of_an_id_does_not_depend_on_the_number_of_clusters():
    for clusters in (0, 2, 8, 16, 40):
        np.testing.assert_array_equal(colours(clusters), colours(255)[: clusters + 1])
    assert tuple(colours(3)[0]) == NO_DATA
    with pytest.raises(ValueError, match="not 256"):
        colours(256)


def test_the_first_eight_are_those_of_okabe_and_ito():
    assert {bytes(c).hex() for c in colours(8)[1:]} == (
        {"000000", "e69f00", "56b4e9", "009e73", "f0e442", "0072b2", "d55e00", "cc79a7"}
    )


# Quicklook


def test_vegetation_is_red_in_the_false_colours():
    wavelengths = np.arange(400.0, 1001.0, 10.0)
    leaf = np.where(wavelengths > 720, 0.5, 0.05)
    reflectance = np.zeros((6, 6, wavelengths.size))
    reflectance[:, 3:] = leaf
    picture = maps.quicklook(ArrayScene(reflectance, wavelengths)).astype(int)
    assert (picture[:, 3:, 0] == 255).all()
    assert (picture[:, 3:, 1:] < 128).all()
    assert (picture[:, :3] == 0).all()


@pytest.mark.parametrize("wavelengths", [None, np.linspace(400, 700, 31)])
def test_without_infrared_long_wavelengths_are_red_and_short_ones_blue(wavelengths):
    reflectance = np.zeros((1, 4, 31))
    for pixel, band in enumerate((25, 15, 5)):  # the middles of three thirds
        reflectance[0, pixel, band] = 1
    picture = maps.quicklook(ArrayScene(reflectance, wavelengths))
    assert [int(picture[0, pixel].argmax()) for pixel in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("bands", [1, 2, 3])
def test_a_scene_of_few_bands_has_a_picture_too(bands):
    ramp = np.repeat(np.linspace(0, 1, 50)[None, :, None], bands, 2)
    picture = maps.quicklook(ArrayScene(ramp))
    assert (np.diff(picture.astype(int), axis=1) >= 0).all()
    assert picture.min() == 0
    assert picture.max() == 255


def test_the_stretch_takes_no_notice_of_outliers_and_invalid_pixels():
    rng = np.random.default_rng(0)
    reflectance = rng.uniform(0.2, 0.4, (40, 40, 3))
    plain = maps.quicklook(ArrayScene(reflectance))
    spoilt, valid = reflectance.copy(), np.ones((40, 40), bool)
    valid[:5, :5] = False
    spoilt[~valid] = 1e6
    spoilt[20, 20] = 1e6
    picture = maps.quicklook(ArrayScene(spoilt, valid=valid))
    assert (picture[~valid] == NO_DATA).all()
    valid[20, 20] = False
    assert np.abs(picture[valid].astype(int) - plain[valid]).max() <= 4


def test_a_channel_of_mere_noise_stays_dim():
    rng = np.random.default_rng(0)
    reflectance = rng.normal(0.1, 0.001, (30, 30, 3))
    reflectance[..., 2] = rng.uniform(0, 1, (30, 30))
    assert np.percentile(maps.quicklook(ArrayScene(reflectance))[..., 2], 99) < 10
    assert np.percentile(maps.quicklook(ArrayScene(reflectance))[..., 0], 99) == 255


def test_a_scene_without_valid_pixels_or_without_contrast_has_a_picture():
    nothing = ArrayScene(np.zeros((3, 4, 5)), valid=np.zeros((3, 4), bool))
    assert (maps.quicklook(nothing) == NO_DATA).all()
    assert (maps.quicklook(ArrayScene(np.full((3, 4, 5), 0.5))) == 0).all()


def test_a_large_scene_is_read_in_windows_and_shown_by_evenly_spaced_pixels():
    rows, columns = np.mgrid[:150, :1100]
    scene = ArrayScene(np.stack([rows / 150, columns / 1100, rows / 150], -1))
    picture = maps.quicklook(scene, largest=100)
    assert picture.shape == (14, 100, 3)
    assert scene.largest_read <= 64 * 512
    rows, columns = maps.shown_positions(150, 14), maps.shown_positions(1100, 100)
    assert set(np.diff(rows)) | set(np.diff(columns)) == {10, 11}
    thinned = ArrayScene(scene.reflectance[np.ix_(rows, columns)])
    np.testing.assert_array_equal(picture, maps.quicklook(thinned))


# Label files


def test_png_reads_back_as_labels_and_shows_the_colours(tmp_path):
    path = tmp_path / "deep" / "map.png"
    maps.write_png(path, LABELS, colours(3))
    np.testing.assert_array_equal(_pixels(path), LABELS)
    with Image.open(path) as image:
        shown = np.asarray(image.convert("RGBA"))
    np.testing.assert_array_equal(shown[..., :3][LABELS > 0], colours(3)[LABELS[LABELS > 0]])
    np.testing.assert_array_equal(shown[..., 3] == 0, LABELS == 0)


def test_png_holds_255_clusters(tmp_path):
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    maps.write_png(tmp_path / "map.png", labels, colours(255))
    np.testing.assert_array_equal(_pixels(tmp_path / "map.png"), labels)


def test_npy_reads_back_as_labels(tmp_path):
    maps.write_npy(tmp_path / "map.npy", LABELS)
    read = np.load(tmp_path / "map.npy", allow_pickle=False)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, LABELS)


def test_envi_reads_back_with_names_colours_and_georeference(tmp_path):
    geo = {
        "map info": ["UTM", "1", "1", "500000", "4.1e6", "2", "2", "33", "North", "WGS-84"],
        "coordinate system string": '{PROJCS["UTM_33N",GEOGCS["WGS",0.0,[1,2]]]}',
        "crs": "not an ENVI field",
    }
    stem = tmp_path / "scene.v2"
    maps.write_envi(stem, LABELS, NAMES, colours(3), geo, "clusters of {a scene}\nwith, commas")
    image = spectral.io.envi.open(f"{stem}.hdr", f"{stem}.img")
    np.testing.assert_array_equal(image.read_band(0), LABELS)
    assert image.metadata["file type"] == "ENVI Classification"
    assert image.metadata["class names"] == [
        "no data",
        "flat background",
        "leaf; healthy (green)",
        "läsion = 病斑",
    ]
    assert image.metadata["classes"] == "4"
    lookup = np.array(image.metadata["class lookup"], int).reshape(-1, 3)
    np.testing.assert_array_equal(lookup, colours(3))
    assert image.metadata["data ignore value"] == "0"
    assert image.metadata["map info"] == geo["map info"]
    system = ",".join(image.metadata["coordinate system string"])
    assert "{" + system + "}" == geo["coordinate system string"]
    assert image.metadata["description"] == "clusters of (a scene) with, commas"
    assert "crs" not in image.metadata


def test_envi_names_that_nothing_is_left_of_become_numbers(tmp_path):
    maps.write_envi(tmp_path / "map", LABELS, ["a", " \n", "b"], colours(3))
    header = spectral.io.envi.read_envi_header(str(tmp_path / "map.hdr"))
    assert header["class names"] == ["no data", "a", "cluster 2", "b"]


def test_a_one_pixel_map_is_written_as_envi(tmp_path):
    maps.write_envi(tmp_path / "map", np.ones((1, 1), np.uint8), ["a"], colours(1))
    assert (tmp_path / "map.img").read_bytes() == b"\x01"


def _read_zarr(path):
    return ts.open({"driver": "zarr3", "kvstore": f"file://{path}/"}, read=True).result()


def test_zarr_reads_back_with_names_and_colours(tmp_path):
    maps.write_zarr(tmp_path / "map.zarr", LABELS, NAMES, colours(3))
    store = _read_zarr(tmp_path / "map.zarr")
    np.testing.assert_array_equal(store.read().result(), LABELS)
    assert store.dtype == ts.uint8
    assert store.domain.labels == ("row", "column")
    attributes = store.spec().to_json()["metadata"]["attributes"]
    assert attributes["class_names"] == ["no data", *NAMES]
    assert attributes["class_colors"] == colours(3).tolist()


def test_an_older_zarr_map_is_replaced_but_no_other_folder(tmp_path):
    maps.write_zarr(tmp_path / "map", np.full((600, 3), 2, np.uint8), NAMES, colours(3))
    maps.write_zarr(tmp_path / "map", LABELS, NAMES, colours(3))
    np.testing.assert_array_equal(_read_zarr(tmp_path / "map").read().result(), LABELS)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").touch()
    with pytest.raises(InputError, match="thesis: exists and is no zarr array"):
        maps.write_zarr(tmp_path / "thesis", LABELS, NAMES, colours(3))
    assert (tmp_path / "thesis" / "chapter").exists()
    assert sorted(os.listdir(tmp_path)) == ["map", "thesis"]


# Writing


def _writers():
    background = np.zeros((*LABELS.shape, 3), np.uint8)
    return {
        "png": lambda path: maps.write_png(path, LABELS, colours(3)),
        "npy": lambda path: maps.write_npy(path, LABELS),
        "envi": lambda path: maps.write_envi(path, LABELS, NAMES, colours(3)),
        "zarr": lambda path: maps.write_zarr(path, LABELS, NAMES, colours(3)),
        "overlay": lambda path: overlay.write_overlay(path, background, LABELS, colours(3), NAMES),
    }


@pytest.mark.parametrize("kind", sorted(_writers()))
def test_a_folder_that_cannot_be_written_is_named(tmp_path, kind):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"file/map.*: cannot be written .*output folder"):
        _writers()[kind](tmp_path / "file" / "map")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("kind", sorted(_writers()))
def test_nothing_temporary_is_left_behind(tmp_path, kind):
    _writers()[kind](tmp_path / "map")
    assert set(os.listdir(tmp_path)) == ({"map.hdr", "map.img"} if kind == "envi" else {"map"})


def test_a_failed_write_leaves_the_older_file_as_it_was(tmp_path):
    path = tmp_path / "map.png"
    path.write_text("older")

    def fail():
        with replacing(path) as temporary:
            with open(temporary, "w") as file:
                file.write("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail()
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == ["map.png"]


def test_a_file_cannot_take_the_place_of_a_folder(tmp_path):
    (tmp_path / "map.png").mkdir()
    with pytest.raises(InputError, match=r"map.png: cannot be written"):
        maps.write_png(tmp_path / "map.png", LABELS, colours(3))


@pytest.mark.parametrize(
    ("labels", "colour_rows", "names", "message"),
    [
        (LABELS.astype(int), 3, 3, r"uint8 \[row, column\], not int64"),
        (LABELS[0], 3, 3, r"uint8 \[row, column\], not uint8 \(5,\)"),
        (LABELS, 2, 2, "label 3 has none of the 3 colours"),
        (LABELS, 3, 2, "2 names do not fit 3 clusters"),
    ],
)
def test_what_is_no_label_map_is_refused(tmp_path, labels, colour_rows, names, message):
    with pytest.raises(ValueError, match=message):
        maps.write_envi(tmp_path / "map", labels, NAMES[:names], colours(colour_rows))
    assert not os.listdir(tmp_path)


def test_pixels_are_counted_by_label():
    np.testing.assert_array_equal(maps.pixels_per_label(LABELS, 4), [2, 3, 3, 2, 0])


# Overlay


def _packed(colour):
    """One number for each colour."""
    return colour.astype(int) @ [65536, 256, 1]


def _panels(path, height, width):
    """The three panels of a side-by-side overlay, found as the legend-free left of the picture."""
    picture = _pixels(path)
    full = ~(picture == 255).all(-1)
    top = int(np.flatnonzero(full.mean(1) > 0.5)[0])
    rows = full[top : top + height].all(0)
    starts = np.flatnonzero(np.diff(rows.astype(int), prepend=0) == 1)[:3]
    return [picture[top : top + height, s : s + width] for s in starts]


def test_overlay_shows_quicklook_tinted_clusters_and_map(tmp_path):
    rng = np.random.default_rng(0)
    background = rng.integers(0, 200, (20, 20, 3)).astype(np.uint8)
    labels = np.ones((20, 20), np.uint8)
    labels[5:15, 8:] = 2
    labels[:3, :3] = 0
    overlay.write_overlay(tmp_path / "o.png", background, labels, colours(2), ["a", "b"])
    quick, tinted, plain = _panels(tmp_path / "o.png", 560, 560)
    np.testing.assert_array_equal(quick, background.repeat(28, 0).repeat(28, 1))
    np.testing.assert_array_equal(plain, colours(2)[labels].repeat(28, 0).repeat(28, 1))
    # Regions are outlined in their own full colour; no data shows the quicklook.
    np.testing.assert_array_equal(tinted[5 * 28, 12 * 28], colours(2)[2])
    np.testing.assert_array_equal(tinted[5 * 28 - 1, 12 * 28], colours(2)[1])
    np.testing.assert_array_equal(tinted[:84, :84], quick[:84, :84])
    # Inside, the tint leans to the cluster's colour and keeps the light and dark of the scene.
    inside = tinted[14::28, 14::28].astype(float)[labels == 1]
    grey = background.mean(-1)[labels == 1]
    assert np.corrcoef(inside.mean(-1), grey)[0, 1] > 0.999
    assert np.linalg.norm(inside.mean(0) - colours(2)[1]) < 100


def test_outlines_leave_stray_pixels_out(tmp_path):
    background = np.full((40, 40, 3), 90, np.uint8)
    labels = np.ones((40, 40), np.uint8)
    labels[10, 10] = labels[30:32, 30] = 2  # specks
    labels[5:20, 20:35] = 2
    overlay.write_overlay(tmp_path / "o.png", background, labels, colours(2), ["a", "b"])
    _, tinted, _ = _panels(tmp_path / "o.png", 560, 560)
    full = (tinted == colours(2)[2]).all(-1) | (tinted == colours(2)[1]).all(-1)
    outlined = full.reshape(40, 14, 40, 14).any(axis=(1, 3))
    assert not outlined[8:13, 8:13].any()
    assert not outlined[29:33, 29:32].any()
    assert outlined[5, 20:35].all()


def test_natural_colours_are_stretched_alike():
    rng = np.random.default_rng(0)
    nm = np.linspace(400, 1000, 61)
    grey = rng.uniform(0.05, 0.4, (12, 12, 1)) * np.ones(61)
    grey[0, 0, nm < 600] = 0.01  # one red pixel
    picture = maps.Quicklook(grey.shape, nm, centres=maps.NATURAL)
    picture.add_window(0, 0, grey, np.ones((12, 12), bool))
    seen = picture.finish().astype(int)
    plain = np.ones((12, 12), bool)
    plain[0, 0] = False
    assert (np.ptp(seen[plain], axis=-1) <= 1).all()
    expected = np.clip(grey[..., 0] / np.percentile(grey[..., 24], 99), 0, 1) * 255
    np.testing.assert_allclose(seen[plain][:, 0], expected[plain], atol=2)
    assert seen[0, 0, 0] > 3 * seen[0, 0, 2]


def test_overlay_of_a_thinned_quicklook_shows_the_same_pixels_of_the_map(tmp_path):
    rng = np.random.default_rng(0)
    scene = ArrayScene(rng.random((1300, 1291, 3)) * 0.7)
    labels = rng.integers(1, 5, scene.shape[:2]).astype(np.uint8)
    background = maps.quicklook(scene, largest=600)
    assert background.shape[:2] == (434, 431)  # every third
    overlay.write_overlay(tmp_path / "o.png", background, labels, colours(4), list("abcd"))
    _, _, plain = _panels(tmp_path / "o.png", 434, 431)
    at = np.ix_(maps.shown_positions(1300, 434), maps.shown_positions(1291, 431))
    np.testing.assert_array_equal(plain, colours(4)[labels[at]])


@pytest.mark.parametrize(
    ("shape", "clusters"),
    [((1, 1), 1), ((4, 300), 16), ((300, 4), 16), ((9, 9), 16), ((9, 9), 255)],
)
def test_the_legend_shows_every_cluster_beside_a_scene_of_any_shape(tmp_path, shape, clusters):
    names = [f"cluster {k} with a name\nthat does not end" for k in range(clusters)]
    background = np.zeros((*shape, 3), np.uint8)
    labels = np.zeros(shape, np.uint8)
    overlay.write_overlay(tmp_path / "o.png", background, labels, colours(clusters), names)
    picture = _pixels(tmp_path / "o.png")
    assert set(_packed(colours(clusters)).tolist()) <= set(np.unique(_packed(picture)).tolist())
    assert (picture[:, [0, -1]] == 255).all()  # nothing is cut off
    assert (picture[[0, -1]] == 255).all()


def test_shares_are_never_rounded_to_none_or_all():
    assert [overlay.percent(x) for x in (0, 0.01, 0.06, 12.34, 99.99, 100)] == [
        "0.0 %",
        "<0.1 %",
        "0.1 %",
        "12.3 %",
        ">99.9 %",
        "100.0 %",
    ]
