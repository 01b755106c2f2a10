"""MATLAB files, written by scipy (version 5) and h5py (version 7.3, axes reversed)."""

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from dgc_jax.data.formats import matlab
from dgc_jax.errors import InputError

ROWS, COLUMNS, BANDS = 5, 4, 7
CUBE = np.random.default_rng(0).integers(0, 4000, (ROWS, COLUMNS, BANDS)).astype(np.uint16)


def write_version_5(path, **variables):
    scipy.io.savemat(path, variables)


def write_version_7_3(path, **variables):
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            file[name] = np.asarray(value).T


@pytest.fixture(params=[write_version_5, write_version_7_3], ids=["v5", "v7.3"])
def write(request):
    return request.param


def pixels(raw):
    return raw.store.read().result()


def as_matrix(cube):
    """[band, pixel], the pixels running down the columns."""
    return np.stack([cube[..., band].ravel(order="F") for band in range(cube.shape[2])])


def test_the_only_3d_numeric_variable_is_the_cube(tmp_path, write):
    write(tmp_path / "a.mat", image=CUBE, truth=np.ones((ROWS, COLUMNS)), date=np.float64(2020))
    raw = matlab.read(str(tmp_path / "a.mat"))
    np.testing.assert_array_equal(pixels(raw), CUBE)
    assert raw.store.dtype.numpy_dtype == np.uint16
    assert raw.scale == 1
    assert raw.wavelengths is None


@pytest.mark.parametrize("axes", ["rcb", "rbc", "brc", "bcr", "crb", "cbr"])
def test_axes_are_told_in_matlabs_order(tmp_path, write, axes):
    stored = CUBE.transpose(["rcb".index(letter) for letter in axes])
    write(tmp_path / "a.mat", image=stored)
    raw = matlab.read(str(tmp_path / "a.mat"), axes=axes)
    np.testing.assert_array_equal(pixels(raw), CUBE)
    part = raw.store[1:3, 2:, 3:5].read().result()
    np.testing.assert_array_equal(part, CUBE[1:3, 2:, 3:5])


def test_the_number_of_wavelengths_tells_the_band_axis(tmp_path, write):
    nanometres = np.linspace(400, 1000, BANDS)
    write(tmp_path / "a.mat", image=np.moveaxis(CUBE, 2, 0), Wavelength=nanometres[None])
    raw = matlab.read(str(tmp_path / "a.mat"))
    np.testing.assert_array_equal(pixels(raw), CUBE)
    np.testing.assert_allclose(raw.wavelengths, nanometres)
    assert "brc" in raw.notes[0]


def test_wavelengths_below_100_are_micrometres(tmp_path, write):
    write(tmp_path / "a.mat", image=CUBE, lambda_=1, wl=np.linspace(0.4, 2.5, BANDS)[:, None])
    raw = matlab.read(str(tmp_path / "a.mat"))
    np.testing.assert_allclose(raw.wavelengths, np.linspace(400, 2500, BANDS))


@pytest.mark.parametrize("values", [np.arange(1.0, BANDS + 1), np.full(BANDS, np.nan), [500, 600]])
def test_lists_that_cannot_be_the_wavelengths_are_noted_and_not_used(tmp_path, write, values):
    write(tmp_path / "a.mat", image=CUBE, bands=np.atleast_2d(values))
    raw = matlab.read(str(tmp_path / "a.mat"), axes="rcb")
    assert raw.wavelengths is None
    assert "bands" in raw.notes[0]
    assert "not used" in raw.notes[0]


@pytest.mark.parametrize(
    ("shape", "order"),
    [((301, 4, 5), "brc"), ((4, 5, 301), "rcb"), ((6, 20, 19), "brc"), ((6, 9, 70), "rcb")],
)
def test_a_variable_called_cube_is_read_like_the_published_data(tmp_path, shape, order):
    stored = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    write_version_5(tmp_path / "a.mat", cube=stored)
    raw = matlab.read(str(tmp_path / "a.mat"))
    expected = stored if order == "rcb" else np.moveaxis(stored, 0, 2)
    np.testing.assert_array_equal(pixels(raw), expected)
    assert order in raw.notes[0]


@pytest.mark.parametrize("names", [("lines", "cols"), ("nRow", "nCol"), ("H", "W")])
@pytest.mark.parametrize("axes", ["bp", "pb", None])
def test_a_matrix_of_pixels_is_reshaped_column_by_column(tmp_path, write, names, axes):
    matrix = as_matrix(CUBE) if axes != "pb" else as_matrix(CUBE).T
    size = dict(zip(names, (np.uint8(ROWS), np.uint8(COLUMNS)), strict=True))
    write(tmp_path / "a.mat", Y=matrix, **{k: [[v]] for k, v in size.items()})
    raw = matlab.read(str(tmp_path / "a.mat"), axes=axes)
    np.testing.assert_array_equal(pixels(raw), CUBE)
    np.testing.assert_array_equal(raw.store[2:4, 1:3, 5].read().result(), CUBE[2:4, 1:3, 5])
    assert f"{names[0]} and {names[1]}" in raw.notes[0]


def test_a_matrix_wider_than_one_block_is_read_in_the_right_places(tmp_path):
    cube = np.arange(3 * 150 * 2, dtype=np.float32).reshape(3, 150, 2)
    write_version_7_3(tmp_path / "a.mat", Y=as_matrix(cube), rows=[[3]], columns=[[150]])
    raw = matlab.read(str(tmp_path / "a.mat"))
    assert raw.store.chunk_layout.read_chunk.shape[1] < 150
    np.testing.assert_array_equal(raw.store[1:, 50:140].read().result(), cube[1:, 50:140])


def test_the_companions_matrix_wins_over_a_smaller_3d_truth(tmp_path, write):
    truth = np.zeros((ROWS, COLUMNS, 3))
    write(tmp_path / "a.mat", Y=as_matrix(CUBE), S_GT=truth, lines=[[ROWS]], cols=[[COLUMNS]])
    np.testing.assert_array_equal(pixels(matlab.read(str(tmp_path / "a.mat"))), CUBE)
    chosen = matlab.read(str(tmp_path / "a.mat"), variable="S_GT", axes="rcb")
    np.testing.assert_array_equal(pixels(chosen), truth)


@pytest.mark.parametrize(
    ("variables", "options", "told"),
    [
        ({"a": CUBE, "b": CUBE}, {}, r"more than one 3-D.*variable=.*a \[5, 4, 7\], b"),
        ({"a": np.ones((3, 3))}, {}, r"no 3-D numeric variable.*a \[3, 3\]"),
        ({"a": CUBE}, {"variable": "b"}, r"expected a numeric variable 'b', found a \[5, 4, 7\]"),
        ({"a": CUBE}, {"axes": "xyz"}, "axes='xyz'.*r, c and b"),
        ({"a": CUBE}, {"axes": "rp"}, "axes='rp'.*'bp' or 'pb'"),
        ({"a": np.ones((3, 20))}, {"variable": "a"}, "matrix.*axes='bp'"),
        ({"a": np.ones((3, 20))}, {"variable": "a", "axes": "bp"}, "size.*companions.*lines"),
        (
            {"a": np.ones((3, 20)), "lines": [[5]], "cols": [[5]]},
            {"variable": "a", "axes": "bp"},
            "5 x 5 = 25 pixels",
        ),
    ],
)
def test_what_cannot_be_decided_is_one_sentence(tmp_path, write, variables, options, told):
    write(tmp_path / "a.mat", **variables)
    with pytest.raises(InputError, match=told):
        matlab.read(str(tmp_path / "a.mat"), **options)


def test_text_and_truth_values_are_not_cubes(tmp_path):
    write_version_5(tmp_path / "a.mat", image=CUBE, inside=np.ones(CUBE.shape, bool), who="me")
    np.testing.assert_array_equal(pixels(matlab.read(str(tmp_path / "a.mat"))), CUBE)
    with h5py.File(tmp_path / "b.mat", "w", userblock_size=512) as file:
        file["image"] = CUBE.T
        file["inside"] = np.ones(CUBE.T.shape, np.uint8)
        file["inside"].attrs["MATLAB_class"] = b"logical"
        file["#refs#/x"] = CUBE.T
    np.testing.assert_array_equal(pixels(matlab.read(str(tmp_path / "b.mat"))), CUBE)


def test_complex_numbers_are_refused(tmp_path):
    write_version_5(tmp_path / "a.mat", image=CUBE * (1 + 1j))
    with pytest.raises(InputError, match="real numbers in image, found complex128"):
        matlab.read(str(tmp_path / "a.mat"))


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_a_file_cut_short_is_one_sentence(tmp_path, write, kept):
    write(tmp_path / "whole.mat", image=CUBE)
    whole = (tmp_path / "whole.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(InputError, match=r"a\.mat: .*again") as caught:
        matlab.read(str(tmp_path / "a.mat"))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.mat: does not exist"):
        matlab.read(str(tmp_path / "none.mat"))


def matlab_7_3(path, write):
    """An HDF5 file with MATLAB's header, filled by `write(file)`."""
    with h5py.File(path, "w", userblock_size=512) as file:
        write(file)
    with open(path, "r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\0\2IM")


def nested_version_5(path):
    info = {"wavelength": np.linspace(400, 1000, BANDS)[None], "bbl": [[1, 1, 0, 1, 1, 1, 0]]}
    cells = np.array(["text", CUBE + 1, np.ones((2, 2))], dtype=object)
    runs = np.zeros((1, 2), dtype=[("cube", object), ("name", object)])
    runs["cube"], runs["name"] = [[CUBE + 2, CUBE + 3]], "run"
    variables = {"hsi": {"Data": CUBE, "info": info}, "scenes": cells, "runs": runs}
    scipy.io.savemat(path, variables)


def nested_version_7_3(path):
    def fill(file):
        file["hsi/Data"] = CUBE.T
        file["hsi/info/wavelength"] = np.linspace(400, 1000, BANDS)[:, None]
        file["hsi/info/bbl"] = np.array([[1, 1, 0, 1, 1, 1, 0]], np.uint8).T
        file["hsi/info/bbl"].attrs["MATLAB_class"] = np.bytes_("logical")
        places = {"a": np.uint16([[100]]), "b": (CUBE + 1).T, "c": (CUBE + 2).T, "d": (CUBE + 3).T}
        for key, value in places.items():
            file[f"#refs#/{key}"] = value
        file["#refs#/a"].attrs["MATLAB_class"] = np.bytes_("char")
        reference = h5py.ref_dtype
        cells = np.array([[file["#refs#/a"].ref], [file["#refs#/b"].ref]], dtype=reference)
        file.create_dataset("scenes", data=cells, dtype=reference)
        file["scenes"].attrs["MATLAB_class"] = np.bytes_("cell")
        runs = np.array([[file["#refs#/c"].ref], [file["#refs#/d"].ref]], dtype=reference)
        file.create_dataset("runs/cube", data=runs, dtype=reference)

    matlab_7_3(path, fill)


@pytest.mark.parametrize("write", [nested_version_5, nested_version_7_3], ids=["v5", "v7.3"])
@pytest.mark.parametrize(
    ("variable", "added"),
    [
        ("hsi.Data", 0),
        ("hsi/Data", 0),
        ("/hsi/Data", 0),
        ("hsi", 0),
        ("scenes{2}", 1),
        ("scenes(2)", 1),
        ("runs(1).cube", 2),
        ("runs(2)/cube", 3),
    ],
)
def test_fields_of_structs_and_cells_are_named_by_their_path(tmp_path, write, variable, added):
    write(tmp_path / "a.mat")
    raw = matlab.read(str(tmp_path / "a.mat"), variable=variable)
    np.testing.assert_array_equal(pixels(raw), CUBE + added)
    np.testing.assert_allclose(raw.wavelengths, np.linspace(400, 1000, BANDS))
    np.testing.assert_array_equal(raw.good_bands, [1, 1, 0, 1, 1, 1, 0])


@pytest.mark.parametrize("write", [nested_version_5, nested_version_7_3], ids=["v5", "v7.3"])
def test_several_cubes_in_structs_are_listed_by_their_paths(tmp_path, write):
    write(tmp_path / "a.mat")
    with pytest.raises(InputError, match="more than one 3-D numeric variable") as caught:
        matlab.read(str(tmp_path / "a.mat"))
    for word in (r"hsi.Data [5, 4, 7]", "scenes{2} [5, 4, 7]", "runs(2).cube [5, 4, 7]"):
        assert word in str(caught.value)
    with pytest.raises(
        InputError, match=r"expected a numeric variable 'hsi\.data2', found hsi\.Data"
    ):
        matlab.read(str(tmp_path / "a.mat"), variable="hsi.data2")


def test_the_only_cube_is_found_inside_a_struct(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"muufl": {"hsi": {"Data": CUBE}, "rgb": [1, 2]}})
    np.testing.assert_array_equal(pixels(matlab.read(str(tmp_path / "a.mat"))), CUBE)


@pytest.mark.parametrize(
    ("name", "values", "good"),
    [
        ("bbl", [1, 0, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 1, 1]),
        ("bbl", [True, False] * 3 + [True], [1, 0, 1, 0, 1, 0, 1]),
        ("good_bands", [0.0, 1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1, 1]),
        ("badBands", [0, 0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1, 0]),
        ("bbl", [1, 0, 1], None),
        ("bad_bands", [3, 4, 5, 6, 7, 8, 9], None),
    ],
)
def test_bad_bands_of_the_file(tmp_path, write, name, values, good):
    write(tmp_path / "a.mat", image=CUBE, **{name: np.array(values)[None]})
    raw = matlab.read(str(tmp_path / "a.mat"))
    if good is None:
        assert raw.good_bands is None
        assert any(f"{name} is no list of ones and zeros for 7 bands" in n for n in raw.notes)
    else:
        np.testing.assert_array_equal(raw.good_bands, good)


def test_a_file_that_h5py_wrote_keeps_its_axes_and_the_doubt_is_told(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["image"] = CUBE
    raw = matlab.read(str(tmp_path / "a.mat"))
    np.testing.assert_array_equal(pixels(raw), CUBE)
    assert "MATLAB did not write this file" in raw.notes[0]
    with h5py.File(tmp_path / "b.mat", "w") as file:
        file["image"] = np.moveaxis(CUBE, 2, 0)
        file["wavelength"] = np.linspace(400, 1000, BANDS)
    np.testing.assert_array_equal(pixels(matlab.read(str(tmp_path / "b.mat"))), CUBE)
    told = matlab.read(str(tmp_path / "b.mat"), axes="brc")
    np.testing.assert_array_equal(pixels(told), CUBE)
    assert told.notes == ()
    with h5py.File(tmp_path / "c.mat", "w") as file:  # no header, but MATLAB's class on it
        file["image"] = CUBE.T
        file["image"].attrs["MATLAB_class"] = np.bytes_("uint16")
    np.testing.assert_array_equal(pixels(matlab.read(str(tmp_path / "c.mat"))), CUBE)


def test_a_matrix_that_h5py_wrote_is_not_transposed(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["Y"], file["nRow"], file["nCol"] = as_matrix(CUBE), [[ROWS]], [[COLUMNS]]
    np.testing.assert_array_equal(pixels(matlab.read(str(tmp_path / "a.mat"))), CUBE)


def test_a_file_without_plain_numbers_says_so(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"name": "leaf", "s": scipy.sparse.eye(3).tocsc()})
    with pytest.raises(
        InputError, match="expected an array of real numbers, perhaps in its structs"
    ):
        matlab.read(str(tmp_path / "a.mat"))
