"""Label maps of every format, written by the libraries that people write them with."""

import json
import pathlib
import warnings

import h5py
import numpy as np
import PIL.Image
import PIL.TiffImagePlugin
import pytest
import scipy.io
import scipy.sparse
import spectral
import tensorstore as ts

from dgc_jax.data.labels import read_labels
from dgc_jax.errors import InputError

ROWS, COLUMNS = 6, 9
TRUTH = np.random.default_rng(0).integers(0, 4, (ROWS, COLUMNS)).astype(np.uint8)


def write_palette_png(path):
    image = PIL.Image.fromarray(TRUTH)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(f"{path}.png")
    return f"{path}.png"


def write_grey_png(path):
    PIL.Image.fromarray(TRUTH).save(f"{path}.png")
    return f"{path}.png"


def write_16_bit_png(path):
    PIL.Image.fromarray(TRUTH.astype(np.uint16)).save(f"{path}.png")
    return f"{path}.png"


def write_tiff(path):
    PIL.Image.fromarray(TRUTH).save(f"{path}.tif")
    return f"{path}.tif"


def write_npy(path):
    np.save(f"{path}.npy", TRUTH.astype(np.int64))
    return f"{path}.npy"


def write_matlab(path):
    scipy.io.savemat(f"{path}.mat", {"indian_pines_gt": TRUTH.astype(float), "n": 3})
    return f"{path}.mat"


def write_envi(path):
    spectral.envi.save_classification(
        f"{path}.hdr", TRUTH, class_names=["Unclassified", "soil", "tree", "water"]
    )
    return f"{path}.hdr"


def write_zarr(driver):
    def write(path):
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}.zarr"}}
        store = ts.open(spec, create=True, dtype=ts.uint8, shape=TRUTH.shape).result()
        store.write(TRUTH).result()
        return f"{path}.zarr"

    return write


WRITERS = {
    "palette png": write_palette_png,
    "grey png": write_grey_png,
    "16-bit png": write_16_bit_png,
    "tiff": write_tiff,
    "npy": write_npy,
    "matlab": write_matlab,
    "envi": write_envi,
    "zarr": write_zarr("zarr"),
    "zarr3": write_zarr("zarr3"),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
def test_every_format_gives_the_same_map(tmp_path, write):
    read = read_labels(write(tmp_path / "truth"), (ROWS, COLUMNS))
    np.testing.assert_array_equal(read.labels, TRUTH)
    assert read.labels.dtype == np.uint8


def test_an_envi_classification_names_its_classes(tmp_path):
    assert read_labels(write_envi(tmp_path / "truth")).names == ("soil", "tree", "water")
    assert read_labels(write_npy(tmp_path / "truth")).names is None


def test_names_that_are_given_come_first(tmp_path):
    read = read_labels(write_envi(tmp_path / "truth"), classes=["a", "b", "c"])
    assert read.names == ("a", "b", "c")
    with pytest.raises(
        InputError, match=r"expected classes 0\.\.2, which are named: a, b, found class 3"
    ):
        read_labels(write_npy(tmp_path / "truth"), classes=["a", "b"])


@pytest.mark.parametrize(
    ("unlabelled", "stored", "expected"),
    [
        (0, [0, 1, 2], [0, 1, 2]),
        (255, [255, 0, 1], [0, 1, 2]),
        (-1, [-1, 0, 1], [0, 1, 2]),
        (2, [0, 2, 3], [1, 0, 3]),
        (0, [np.nan, 1.0, 2.0], [0, 1, 2]),
    ],
)
def test_the_unlabelled_number_becomes_0_and_the_others_classes(
    tmp_path, unlabelled, stored, expected
):
    np.save(tmp_path / "a.npy", np.array([stored]))
    read = read_labels(str(tmp_path / "a.npy"), unlabelled=unlabelled)
    np.testing.assert_array_equal(read.labels, [expected])


def test_names_follow_their_numbers_when_another_one_is_unlabelled(tmp_path):
    read = read_labels(write_envi(tmp_path / "truth"), unlabelled=3)
    assert read.names == ("Unclassified", "soil", "tree")
    np.testing.assert_array_equal(read.labels, np.array([1, 2, 3, 0])[TRUTH])


def test_fractions_become_the_class_with_the_largest_share(tmp_path):
    shares = np.random.default_rng(1).dirichlet([1, 1, 1], (ROWS, COLUMNS))
    shares[2, 3] = 0  # nothing known of this pixel
    matrix = np.stack([shares[..., k].ravel(order="F") for k in range(3)])
    scipy.io.savemat(tmp_path / "a.mat", {"S_GT": shares, "A": matrix})
    expected = 1 + shares.argmax(2)
    expected[2, 3] = 0
    for name in ("S_GT", "A"):
        read = read_labels(f"{tmp_path}/a.mat:{name}", (ROWS, COLUMNS))
        np.testing.assert_array_equal(read.labels, expected)
        again = read_labels(f"{tmp_path}/a.mat", (ROWS, COLUMNS), variable=name)
        np.testing.assert_array_equal(again.labels, expected)


def test_of_several_matlab_variables_the_one_of_the_scenes_size_is_read(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"endmembers": np.ones((3, 4)), "map": TRUTH})
    read = read_labels(str(tmp_path / "a.mat"), (ROWS, COLUMNS))
    np.testing.assert_array_equal(read.labels, TRUTH)
    with pytest.raises(InputError, match=r"more than one 2-D.*endmembers \[3, 4\], map \[6, 9\]"):
        read_labels(str(tmp_path / "a.mat"))


def labelme(path, shapes, **others):
    content = {"imageHeight": ROWS, "imageWidth": COLUMNS, "shapes": shapes} | others
    path.write_text(json.dumps(content))
    return str(path)


def polygon(label, *points, kind="polygon"):
    return {"label": label, "points": points, "shape_type": kind}


SHAPES = [
    polygon("leaf", (1, 1), (8, 1), (8, 5), (1, 5)),
    polygon("blight", (4, 2), (6, 4), kind="rectangle"),
]


def test_labelme_shapes_cover_the_pixels_whose_centres_they_hold(tmp_path):
    read = read_labels(labelme(tmp_path / "a.json", SHAPES), (ROWS, COLUMNS))
    expected = np.zeros((ROWS, COLUMNS))
    expected[1:5, 1:8] = 2  # classes are numbered by name; later shapes lie on top
    expected[2:4, 4:6] = 1
    np.testing.assert_array_equal(read.labels, expected)
    assert read.names == ("blight", "leaf")


def test_a_labelme_triangle_matches_its_half_planes(tmp_path):
    triangle = polygon("leaf", (0.3, 0.2), (8.6, 1.4), (3.1, 5.9))
    read = read_labels(labelme(tmp_path / "a.json", [triangle]))
    corners = np.array(triangle["points"])
    y, x = np.mgrid[:ROWS, :COLUMNS] + 0.5
    inside = np.ones((ROWS, COLUMNS), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        inside &= (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) > 0
    np.testing.assert_array_equal(read.labels, inside)


def test_a_labelme_circle_holds_the_centres_within_its_radius(tmp_path):
    circle = polygon("spot", (4.0, 3.0), (6.2, 3.0), kind="circle")
    read = read_labels(labelme(tmp_path / "a.json", [circle]))
    y, x = np.mgrid[:ROWS, :COLUMNS] + 0.5
    np.testing.assert_array_equal(read.labels, np.hypot(x - 4, y - 3) < 2.2)


def test_labelme_shapes_may_reach_out_of_the_picture(tmp_path):
    outside = polygon("leaf", (-5, -5), (3, -5), (3, 99), (-5, 99))
    beyond = polygon("leaf", (20, 20), (30, 20), (30, 30))
    read = read_labels(labelme(tmp_path / "a.json", [outside, beyond]))
    expected = np.zeros((ROWS, COLUMNS))
    expected[:, :3] = 1
    np.testing.assert_array_equal(read.labels, expected)


def test_labelme_classes_are_numbered_as_they_are_named(tmp_path):
    path = labelme(tmp_path / "a.json", SHAPES)
    read = read_labels(path, classes=["leaf", "blight", "soil"])
    assert read.labels[1, 1] == 1
    assert read.labels[2, 4] == 2
    assert read.names == ("leaf", "blight", "soil")
    with pytest.raises(InputError, match="classes leaf, found shapes labelled blight"):
        read_labels(path, classes=["leaf"])


def test_outside_of_labelme_shapes_is_a_class_if_something_else_is_unlabelled(tmp_path):
    ignored = polygon("__ignore__", (0, 0), (1, 0), (1, 1), (0, 1))
    read = read_labels(labelme(tmp_path / "a.json", [*SHAPES, ignored]), unlabelled=255)
    assert read.names == ("background", "blight", "leaf")
    assert read.labels[0, 0] == 0
    assert read.labels[0, 1] == 1
    assert read.labels[2, 4] == 2
    assert read.labels[1, 1] == 3


def test_labelme_files_that_cannot_be_painted_are_refused(tmp_path):
    line = polygon("leaf", (0, 0), (3, 3), kind="line")
    with pytest.raises(InputError, match="line of 2 points labelled 'leaf'"):
        read_labels(labelme(tmp_path / "a.json", [line]))
    with pytest.raises(InputError, match="does not say imageHeight"):
        read_labels(labelme(tmp_path / "a.json", SHAPES, imageHeight=None))
    (tmp_path / "a.json").write_text('{"steps": 3}')
    with pytest.raises(InputError, match="expected a LabelMe file"):
        read_labels(str(tmp_path / "a.json"))


@pytest.mark.parametrize("write", [write_grey_png, write_matlab, write_npy, write_envi])
def test_another_size_than_the_scenes_names_both(tmp_path, write):
    with pytest.raises(InputError, match=r"expected 9 x 6 pixels.*, as its scene has, found 6 x 9"):
        read_labels(write(tmp_path / "truth"), (9, 6))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.full((2, 2), 0.5), "expected whole numbers of classes, found 0.5"),
        (np.full((2, 2), 256), "expected at most 255 .* from 256 to 256"),
        (np.full((2, 2), -3), "from -3 to -3"),
        (np.zeros((2, 2, 3)), r"a label map \[row, column\], found shape \[2, 2, 3\]"),
        (np.full((2, 2), "a"), "found <U1 values"),
        (np.array([[None, 1]]), "could not be read as NPY"),
    ],
)
def test_arrays_that_are_no_label_map_are_refused(tmp_path, values, told):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError, match=told):
        read_labels(str(tmp_path / "a.npy"))


def test_colour_pictures_and_unknown_files_are_refused(tmp_path):
    PIL.Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"colour picture \(RGB\).*palette or grey"):
        read_labels(str(tmp_path / "a.png"))
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"b\.png: could not be read as a picture"):
        read_labels(str(tmp_path / "b.png"))
    (tmp_path / "c.txt").write_text("1 2 3")
    with pytest.raises(InputError, match=r"c\.txt: expected a label map.*\.png"):
        read_labels(str(tmp_path / "c.txt"))
    (tmp_path / "d.zarr").mkdir()
    with pytest.raises(InputError, match=r"d\.zarr: expected a zarr label map"):
        read_labels(str(tmp_path / "d.zarr"))
    with pytest.raises(InputError, match=r"none\.png: does not exist"):
        read_labels(str(tmp_path / "none.png"))


NODATA = 200
HOLED = np.where(np.indices((ROWS, COLUMNS)).sum(0) % 3 == 0, NODATA, TRUTH).astype(np.uint8)


def tiff_with_nodata(path, text=str(NODATA)):
    info = PIL.TiffImagePlugin.ImageFileDirectory_v2()
    info[42113] = text
    PIL.Image.fromarray(HOLED).save(path.with_suffix(".tif"), tiffinfo=info)
    return path.with_suffix(".tif")


def rasterio_with_nodata(path, dtype="int16", nodata=-9999):
    rasterio = pytest.importorskip("rasterio")
    profile = {"driver": "GTiff", "height": ROWS, "width": COLUMNS, "count": 1, "dtype": dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path.with_suffix(".tif"), "w", nodata=nodata, **profile) as image:
            image.write(np.where(HOLED == NODATA, nodata, HOLED.astype(dtype)).astype(dtype), 1)
    return path.with_suffix(".tif")


def grey_png_with_nodata(path):
    PIL.Image.fromarray(HOLED).save(path.with_suffix(".png"), transparency=NODATA)
    return path.with_suffix(".png")


def palette_png_with_nodata(path):
    image = PIL.Image.fromarray(HOLED)
    image.putpalette(list(range(256)) * 3)
    opacity = bytearray([255] * 256)
    opacity[NODATA] = 0
    image.save(path.with_suffix(".png"), transparency=bytes(opacity))
    return path.with_suffix(".png")


def envi_with_nodata(path):
    metadata = {"data ignore value": NODATA}
    spectral.envi.save_image(f"{path}.hdr", HOLED[..., None], ext=".img", metadata=metadata)
    return f"{path}.hdr"


def hdf5_with_attribute(path):
    with h5py.File(f"{path}.nc", "w") as file:
        file["deep/classes"] = HOLED
        file["deep/classes"].attrs["_FillValue"] = np.uint8(NODATA)
        file["row"] = np.arange(3)
    return f"{path}.nc"


def hdf5_with_text(path):
    with h5py.File(f"{path}.h5", "w") as file:
        file["classes"] = HOLED.T  # lies as its dimensions say
        file["classes"].dims[0].label, file["classes"].dims[1].label = "x", "y"
        file["classes"].attrs["missing_value"] = f"{NODATA}, 201"
    return f"{path}.h5"


def hdf5_with_fill(path):
    with h5py.File(f"{path}.h5", "w") as file:
        file.create_dataset("classes", data=HOLED, fillvalue=NODATA)
    return f"{path}.h5"


def zarr_with_fill(driver):
    def write(path, values=HOLED):
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}.zarr"}}
        fill = np.uint8(NODATA)
        options = {"dtype": ts.uint8, "shape": values.shape, "fill_value": fill}
        ts.open(spec, create=True, **options).result().write(values).result()
        return f"{path}.zarr"

    return write


def zarr_group_with_attribute(path):
    group = pathlib.Path(f"{path}.zarr")
    group.mkdir()
    (group / ".zgroup").write_text('{"zarr_format": 2}')
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(group / "classes")}}
    store = ts.open(spec, create=True, dtype=ts.uint8, shape=HOLED.shape).result()
    store.write(HOLED).result()
    about = {"_FillValue": NODATA, "_ARRAY_DIMENSIONS": ["y", "x"]}
    (group / "classes" / ".zattrs").write_text(json.dumps(about))
    return group


@pytest.mark.parametrize(
    "write",
    [
        tiff_with_nodata,
        lambda path: tiff_with_nodata(path, f"{NODATA}.0 \0"),
        rasterio_with_nodata,
        lambda path: rasterio_with_nodata(path, "int8", -1),
        lambda path: rasterio_with_nodata(path, "uint32", 2**32 - 1),
        lambda path: rasterio_with_nodata(path, "float32", -3.4028234663852886e38),
        grey_png_with_nodata,
        palette_png_with_nodata,
        envi_with_nodata,
        hdf5_with_attribute,
        hdf5_with_text,
        hdf5_with_fill,
        zarr_with_fill("zarr"),
        zarr_with_fill("zarr3"),
        zarr_group_with_attribute,
    ],
)
def test_the_files_own_no_data_number_is_unlabelled(tmp_path, write):
    path = str(write(tmp_path / "truth"))
    expected = np.where(HOLED == NODATA, 0, TRUTH)
    np.testing.assert_array_equal(read_labels(path, (ROWS, COLUMNS)).labels, expected)
    # Beside another number that is told to mean "unlabelled", 0 is a class as ever.
    moved = np.where(HOLED == NODATA, 0, np.where(TRUTH == 3, 0, TRUTH + 1))
    np.testing.assert_array_equal(read_labels(path, unlabelled=3).labels, moved)


def test_a_tiff_whose_no_data_number_is_0_keeps_its_classes(tmp_path):
    path = tiff_with_nodata(tmp_path / "a", "0")
    np.testing.assert_array_equal(read_labels(str(path)).labels, HOLED)


@pytest.mark.parametrize("logical", [False, True])
@pytest.mark.parametrize("version", [5, 7])
def test_sparse_and_logical_matlab_labels_are_read(tmp_path, version, logical):
    truth = (TRUTH > 1) if logical else TRUTH
    sparse = scipy.sparse.csc_array(truth.astype(float))
    if version == 5:
        scipy.io.savemat(tmp_path / "a.mat", {"gt": sparse, "spare": 1})
        scipy.io.savemat(tmp_path / "b.mat", {"s": {"gt": truth}})
    else:
        with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
            file["gt/data"], file["gt/ir"], file["gt/jc"] = (
                sparse.data,
                sparse.indices.astype(np.uint64),
                sparse.indptr.astype(np.uint64),
            )
            file["gt"].attrs["MATLAB_sparse"] = np.uint64(ROWS)
            file["gt"].attrs["MATLAB_class"] = np.bytes_("logical" if logical else "double")
        with h5py.File(tmp_path / "b.mat", "w", userblock_size=512) as file:
            file["s/gt"] = truth.T.astype(np.uint8)
            file["s/gt"].attrs["MATLAB_class"] = np.bytes_("logical" if logical else "uint8")
    for name in ("a.mat", "b.mat", "a.mat:gt", "b.mat:s.gt"):
        labels = read_labels(str(tmp_path / name), (ROWS, COLUMNS)).labels
        np.testing.assert_array_equal(labels, truth)


def test_a_map_of_matlab_version_4_is_read_and_one_cut_short_is_refused(tmp_path):
    truth = np.random.default_rng(0).integers(0, 4, (5, 7)).astype("u1")
    path = tmp_path / "truth.mat"
    scipy.io.savemat(path, {"gt": truth}, format="4")
    np.testing.assert_array_equal(read_labels(str(path), (5, 7)).labels, truth)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"truth\.mat"):
        read_labels(str(path), (5, 7))
