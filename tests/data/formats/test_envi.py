"""ENVI files as written by the `spectral` package, and the ways in which real exports differ."""

import resource
from pathlib import Path

import numpy as np
import pytest
import spectral

from dgc_jax.data.cube import open_cube
from dgc_jax.data.formats import envi
from dgc_jax.errors import InputError
from tests.data.formats.envi_scene import CENTRES, SHAPE, edit, numbers, stored, write

DTYPES = ("u1", "i2", "i4", "f4", "f8", "u2", "u4", "i8", "u8")


def mapped_kilobytes(path: Path) -> int:
    """How much of a file is in this process's memory, as the system counts it."""
    lines = Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines()
    starts = [number for number, line in enumerate(lines) if line.endswith(path.name)]
    sizes = [next(line for line in lines[n:] if line.startswith("Rss:")) for n in starts]
    return sum(int(size.split()[1]) for size in sizes)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not tell")
@pytest.mark.parametrize("byteorder", [0, 1])
def test_what_was_read_is_forgotten_and_read_again(tmp_path, byteorder):
    values = np.random.default_rng(0).integers(1, 999, (100, 90, 30)).astype("u2")
    cube = open_cube(write(tmp_path, values, byteorder=byteorder))
    np.testing.assert_array_equal(cube.read(0, 0, 100, 90)[0], values)
    assert mapped_kilobytes(tmp_path / "scene.raw") > 500
    cube.forget()
    assert mapped_kilobytes(tmp_path / "scene.raw") == 0
    np.testing.assert_array_equal(cube.read(40, 0, 60, 90)[0], values[40:])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("byteorder", [0, 1])
@pytest.mark.parametrize("interleave", ["bil", "bip", "bsq"])
def test_every_interleave_type_and_byte_order_is_read_as_written(
    tmp_path, interleave, byteorder, dtype
):
    values = numbers(dtype)
    header = write(tmp_path, values, interleave=interleave, byteorder=byteorder)
    raw = envi.read(str(header))
    assert raw.store.dtype.numpy_dtype == np.dtype(dtype)
    np.testing.assert_array_equal(raw.store.read().result(), values)
    np.testing.assert_array_equal(raw.store[2:4, 1:6, 3].read().result(), values[2:4, 1:6, 3])


def test_the_header_offset_is_skipped_even_where_numbers_become_unaligned(tmp_path):
    values = numbers("f4")
    header = write(tmp_path, values)
    data = tmp_path / "scene.raw"
    data.write_bytes(b"preface" + data.read_bytes())
    edit(header, "^header offset = 0", "header offset = 7")
    np.testing.assert_array_equal(stored(header), values)


@pytest.mark.parametrize("ending", [*envi.DATA_SUFFIXES, ".RAW", ".IMG"])
def test_header_and_data_find_each_other_whatever_the_data_file_is_called(tmp_path, ending):
    values = numbers()
    header = write(tmp_path, values)
    data = (tmp_path / "scene.raw").rename(tmp_path / f"scene{ending}")
    np.testing.assert_array_equal(stored(header), values)
    np.testing.assert_array_equal(stored(data), values)
    both = header.rename(tmp_path / f"{data.name}.hdr")  # x.raw.hdr
    np.testing.assert_array_equal(stored(both), values)
    np.testing.assert_array_equal(stored(data), values)
    assert open_cube(both).name == open_cube(data).name == "scene"


def test_a_missing_byte_order_means_little_endian_and_is_noted(tmp_path):
    values = numbers()
    header = write(tmp_path, values)
    edit(header, "^byte order.*\n", "")
    raw = envi.read(str(header))
    np.testing.assert_array_equal(raw.store.read().result(), values)
    assert "byte order" in raw.notes[0]


def test_keywords_and_interleave_may_be_upper_case(tmp_path):
    values = numbers()
    header = write(tmp_path, values, interleave="bil")
    edit(header, "^interleave = bil", "Interleave = Bil")
    edit(header, "^samples", "SAMPLES")
    np.testing.assert_array_equal(stored(header), values)


def test_fields_may_be_written_with_underscores(tmp_path):
    header = write(tmp_path, numbers(), wavelength=[w / 1000 for w in CENTRES])
    with header.open("a") as file:
        file.write("Wavelength_Units = Micrometers\ndata_ignore_value = 7\n")
    raw = envi.read(str(header))
    np.testing.assert_allclose(raw.wavelengths, CENTRES)
    assert (raw.ignore_value, raw.notes) == (7, ())


@pytest.mark.parametrize(
    ("values", "unit", "expected"),
    [
        (CENTRES, "Nanometers", CENTRES),
        ([0.45, 0.55, 0.65, 0.85], "Micrometers", CENTRES),
        ([0.45, 0.55, 0.65, 0.85], "um", CENTRES),
        ([0.45, 0.55, 0.65, 0.85], "Unknown", CENTRES),
        ([0.45, 0.55, 0.65, 0.85], None, CENTRES),
        (CENTRES, None, CENTRES),
        ([1, 2, 3, 4], "Index", None),
        ([8000, 6400, 5000, 4000], "Wavenumber", [1250, 1562.5, 2000, 2500]),
        ([450, 550], "nm", None),
    ],
)
def test_wavelengths_are_nanometres_whatever_the_header_says(tmp_path, values, unit, expected):
    header = write(tmp_path, numbers(), wavelength=values)
    if unit is not None:
        with header.open("a") as file:
            file.write(f"wavelength units = {unit}\n")
    raw = envi.read(str(header))
    if expected is None:
        assert raw.wavelengths is None
        assert "avelength" in raw.notes[0]
    else:
        np.testing.assert_allclose(raw.wavelengths, expected, rtol=1e-12)


def test_scale_factor_ignore_value_and_bad_bands_are_applied_exactly_once(tmp_path):
    values = numbers("i2") * 60
    values[1, 2] = -9999
    header = write(
        tmp_path,
        values,
        reflectance_scale_factor=10000,
        data_ignore_value=-9999,
        bbl=[1, 0, 1, 1],
        wavelength=CENTRES,
    )
    cube = open_cube(header)
    reflectance, valid = cube.read(0, 0, 5, 7)
    expected_valid = np.ones((5, 7), bool)
    expected_valid[1, 2] = False
    expected = np.where(expected_valid[..., None], values[..., [0, 2, 3]] / 1e4, 0)
    np.testing.assert_array_equal(valid, expected_valid)
    np.testing.assert_allclose(reflectance, expected, rtol=1e-6)
    np.testing.assert_array_equal(cube.wavelengths, [450, 650, 850])
    assert any("1 bands" in note for note in cube.notes)
    assert open_cube(header, keep_bad_bands=True).shape == (5, 7, 4)


def test_a_sentinel_at_the_end_of_float32_is_recognised_from_its_rounded_text(tmp_path):
    values = numbers("f4")
    values[0, 0, 1] = np.finfo("f4").min
    header = write(tmp_path, values, data_ignore_value="-3.402823466385289e+38")
    assert open_cube(header).read(0, 0, 5, 7)[1].sum() == 34


def test_the_georeference_survives_being_written_back_by_spectral(tmp_path):
    info = ["UTM", "1", "1", "500000", "4000000", "2", "2", "33", "North", "WGS-84"]
    wkt = '{PROJCS["UTM_Zone_33N",GEOGCS["GCS_WGS_1984"]]}'
    header = write(tmp_path, numbers(), map_info=info, coordinate_system_string=wkt)
    geo = envi.read(str(header)).geo
    assert geo["map info"] == info
    assert geo["coordinate system string"] == wkt
    other = tmp_path / "map.hdr"
    spectral.envi.save_classification(str(other), np.zeros((5, 7), "u1"), metadata=dict(geo))
    assert envi.read(str(other)).geo == geo


@pytest.mark.parametrize(("change", "lines"), [(-28, "4.5 lines"), (56, "6 lines")])
def test_a_file_of_the_wrong_size_is_refused_with_both_sizes(tmp_path, change, lines):
    header = write(tmp_path, numbers())
    data = tmp_path / "scene.raw"
    content = data.read_bytes()
    data.write_bytes(content[:change] if change < 0 else content + bytes(change))
    with pytest.raises(InputError) as caught:
        envi.read(str(header))
    message = str(caught.value)
    for expected in ("280 bytes", "5 lines", f"{280 + change} bytes", lines, "scene.raw"):
        assert expected in message


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (
            "^interleave = bil",
            "interleave = bli",
            "expected interleave bil, bip or bsq, found 'bli'",
        ),
        ("^interleave.*\n", "", "expected interleave .*'missing'"),
        ("^samples.*\n", "", "'samples' to be a whole number.*'missing'"),
        ("^lines = 5", "lines = five", "'lines' to be a whole number.*'five'"),
        ("^bands = 4", "bands = 0", "'bands' to be a whole number.*'0'"),
        ("^data type = 12", "data type = 6", "'data type' to be .*'6'"),
        ("^byte order = 0", "byte order = 3", "'byte order' to be 0 .*'3'"),
        ("^byte order = 0", "file compression = 1", "'file compression' is set"),
        (
            "^file type.*",
            "file type = ENVI Spectral Library",
            "expected an image, found a spectral library",
        ),
        ("^ENVI", "ENVY", "first line is 'ENVI'"),
        ("^bands = 4", "bands = 4\nwavelength = {1, 2", "every '{' is closed"),
    ],
)
def test_a_header_that_cannot_be_trusted_is_refused_in_one_sentence(
    tmp_path, pattern, replacement, message
):
    header = write(tmp_path, numbers())
    edit(header, pattern, replacement)
    with pytest.raises(InputError, match=message) as caught:
        open_cube(header)
    assert str(caught.value).startswith(str(header))
    assert "\n" not in str(caught.value)


def test_a_pair_of_which_one_file_is_missing_is_refused_by_name(tmp_path):
    header = write(tmp_path, numbers())
    data = tmp_path / "scene.raw"
    moved = data.rename(tmp_path / "other.raw")
    with pytest.raises(InputError, match=r"scene\.hdr: expected a data file beside it, scene"):
        open_cube(header)
    with pytest.raises(InputError, match=r"other\.raw: expected an ENVI header beside it"):
        open_cube(moved)


def test_band_sequential_files_are_noted_as_slow(tmp_path):
    assert "dgc prepare" in envi.read(str(write(tmp_path, numbers(), interleave="bsq"))).notes[0]
    assert not envi.read(str(write(tmp_path, numbers(), interleave="bip"))).notes


def test_opening_and_reading_a_window_needs_no_memory_for_the_rest(tmp_path):
    """A sparse file of 6 GB: only its last pixel is not zero."""
    rows, columns, bands = 10_000, 1000, 300
    header = tmp_path / "big.hdr"
    header.write_text(
        f"ENVI\nlines = {rows}\nsamples = {columns}\nbands = {bands}\ndata type = 12\n"
        "interleave = bip\nbyte order = 0\n"
    )
    spectrum = np.arange(1, bands + 1, dtype="<u2")
    with (tmp_path / "big.raw").open("wb") as file:
        file.seek(2 * (rows * columns - 1) * bands)
        file.write(spectrum.tobytes())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB
    reflectance, valid = open_cube(header).read(rows - 2, columns - 2, 2, 2)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    np.testing.assert_array_equal(valid, [[False, False], [False, True]])
    np.testing.assert_array_equal(reflectance[1, 1], spectrum)


@pytest.mark.parametrize("ending", [".hyspex", ".pix", ".rfl", ".ENVI", ".2024", "_", ".tar.raw2"])
def test_data_of_any_ending_are_found_by_their_size(tmp_path, ending):
    values = numbers()
    header = write(tmp_path, values)
    data = (tmp_path / "scene.raw").rename(tmp_path / f"scene{ending}")
    (tmp_path / "scene.png").write_bytes(b"quicklook")
    (tmp_path / "scene.txt").write_bytes(b"notes")
    if "." not in ending or ending.count(".") > 1:
        with pytest.raises(InputError, match="expected a data file beside it"):
            envi.read(str(header))
        return
    np.testing.assert_array_equal(stored(header), values)
    np.testing.assert_array_equal(stored(data), values)
    assert open_cube(data).name == open_cube(header).name == "scene"


def test_the_file_of_the_right_size_is_preferred_to_one_of_a_usual_ending(tmp_path):
    values = numbers()
    header = write(tmp_path, values)
    (tmp_path / "scene.raw").rename(tmp_path / "scene.hyspex")
    (tmp_path / "scene.dat").write_bytes(b"something else")
    np.testing.assert_array_equal(stored(header), values)


def test_several_files_of_the_right_size_are_told(tmp_path):
    values = numbers()
    header = write(tmp_path, values)
    (tmp_path / "scene.img").write_bytes((tmp_path / "scene.raw").read_bytes())
    raw = envi.read(str(header))
    assert any("scene.raw is read; scene.img beside it is not" in note for note in raw.notes)
    (tmp_path / "scene.raw").rename(tmp_path / "scene.a")
    (tmp_path / "scene.img").rename(tmp_path / "scene.b")
    with pytest.raises(InputError, match=r"found 2 of 280 bytes .*scene\.a, scene\.b.*give the"):
        envi.read(str(header))
    assert stored(tmp_path / "scene.b").shape == SHAPE


def test_names_may_differ_in_upper_and_lower_case(tmp_path):
    values = numbers()
    header = write(tmp_path, values).rename(tmp_path / "SCENE.HDR")
    (tmp_path / "scene.raw").rename(tmp_path / "Scene.Raw")
    np.testing.assert_array_equal(stored(header), values)
