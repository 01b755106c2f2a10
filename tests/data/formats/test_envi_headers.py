"""Texts of ENVI headers, as people and programs write them."""

import numpy as np
import pytest
import spectral

from dgc_jax.data.cube import open_cube
from dgc_jax.data.formats import envi
from dgc_jax.data.labels import read_labels
from dgc_jax.errors import InputError
from tests.data.formats.envi_scene import CENTRES, SHAPE, edit, numbers, stored, write


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-8"])
def test_headers_of_any_encoding_and_line_ending_are_read(tmp_path, encoding):
    values = numbers()
    header = write(tmp_path, values, wavelength=CENTRES)
    text = header.read_text().replace("ENVI\n", "ENVI\ndescription = {Höhe über Grund, 20 µm}\n")
    header.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    raw = envi.read(str(header))
    np.testing.assert_array_equal(raw.store.read().result(), values)
    np.testing.assert_array_equal(raw.wavelengths, CENTRES)


def test_a_list_may_have_commas_at_the_start_of_its_lines_and_comments_between(tmp_path):
    header = write(tmp_path, numbers())
    with header.open("a") as file:
        file.write("wavelength = {\n450\n,550.0\n; a comment\n,650,\n850\n}\n;last words = 1")
    np.testing.assert_array_equal(envi.read(str(header)).wavelengths, CENTRES)


BESIDE = (
    "wavelength = {450, 550, 650, 850}",
    "wavelength units = nm",
    "reflectance scale factor = 100",
    "data ignore value = -9999",
    "bbl = {1, 1, 0, 1}",
)


@pytest.mark.parametrize("field", range(len(BESIDE)))
@pytest.mark.parametrize(
    "behind",
    [" ; a comment", ";comment", " ; one, two = {three", " ; }", " trailing words", " // x"],
)
def test_text_behind_a_value_swallows_nothing(tmp_path, field, behind):
    if not BESIDE[field].endswith("}") and behind.strip()[0] != ";":
        return  # a value of words may hold words; those of numbers have a test of their own
    values = numbers("i2")
    values[1, 2] = -9999
    header = write(tmp_path, values)
    lines = [line + (behind if n == field else "") for n, line in enumerate(BESIDE)]
    with header.open("a") as file:
        file.write("\n".join((*lines, "default bands = {3, 2, 1}", "")))
    cube = open_cube(header)
    np.testing.assert_array_equal(cube.wavelengths, [450, 550, 850])
    reflectance, valid = cube.read(0, 0, 5, 7)
    assert np.argwhere(~valid).tolist() == [[1, 2]]
    np.testing.assert_allclose(reflectance[valid], values[valid][:, [0, 1, 3]] / 100, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "number", "told"),
    [
        ("-9999 ; none", -9999, False),
        ("{-9999}", -9999, False),
        ("-9.999E+03", -9999, False),
        ("-9999 (no data)", -9999, True),
        ("-9999, -9998", -9999, True),
        ("none", None, True),
        ("0x10", None, True),
        ("", None, False),
    ],
)
def test_the_number_of_no_data_is_read_or_told(tmp_path, text, number, told):
    header = write(tmp_path, numbers("i2"))
    with header.open("a") as file:
        file.write(f"data ignore value = {text}\n")
    raw = envi.read(str(header))
    assert raw.ignore_value == number
    assert any("data ignore value" in note for note in raw.notes) == told


@pytest.mark.parametrize(("number", "told"), [(-9999, True), (70000, True), (65535, False)])
def test_a_no_data_number_that_the_type_cannot_hold_is_told(tmp_path, number, told):
    cube = open_cube(write(tmp_path, numbers("u2"), data_ignore_value=number))
    assert any(f"{number} cannot stand among uint16" in note for note in cube.notes) == told


@pytest.mark.parametrize("comma", [",", " ,", ";", " ; "])
def test_lists_may_have_comments_behind_their_lines(tmp_path, comma):
    header = write(tmp_path, numbers())
    with header.open("a") as file:
        file.write(f"wavelength = {{ ; of the VNIR\n450{comma}550{comma} ; blue, green\n")
        file.write(f"; a line\n650{comma}850 ; red edge\n}} ; nm\nbbl = {{1, 0, 1, 1}}\n")
    raw = envi.read(str(header))
    np.testing.assert_array_equal(raw.wavelengths, CENTRES)
    np.testing.assert_array_equal(raw.good_bands, [True, False, True, True])


def test_a_description_may_hold_braces_and_equal_signs(tmp_path):
    header = write(tmp_path, numbers())
    edit(header, "^ENVI", "ENVI\ndescription = {made of {a, b}\n bands = 99, x }\nsensor type = X")
    assert stored(header).shape == SHAPE
    edit(header, "made of {a, b}", "made of { a, b")
    assert stored(header).shape == SHAPE


@pytest.mark.parametrize("missing", ["wavelength = {450, 550", "band names = {a, b, c, d"])
def test_a_forgotten_brace_swallows_nothing(tmp_path, missing):
    header = write(tmp_path, numbers())
    with header.open("a") as file:
        file.write(f"{missing}\ndata ignore value = 7\nbbl = {{1, 1, 1, 1}}\n")
    with pytest.raises(InputError, match=r"every '\{' is closed"):
        envi.read(str(header))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_letters_beyond_ascii_survive_in_class_names(tmp_path, encoding):
    names = ["Unklassifiziert", "Weiß; Grün", "café", "ÅÄÖ"]
    labels = np.random.default_rng(0).integers(0, 4, (5, 7)).astype("u1")
    path = tmp_path / "map.hdr"
    spectral.envi.save_classification(str(path), labels, class_names=names)
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    found = read_labels(str(path), (5, 7))
    np.testing.assert_array_equal(found.labels, labels)
    assert found.names == tuple(names[1:])


def test_a_letter_that_ends_lines_in_unicode_ends_none_here(tmp_path):
    header = write(tmp_path, numbers())
    content = header.read_bytes().replace(
        b"ENVI\n", b"ENVI\ndescription = {a\x85 b = {1\x0c}}\n", 1
    )
    header.write_bytes(content)
    assert stored(header).shape == SHAPE


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("map info = {UTM, 1, 1, here}", "map info is not understood"),
        ("map info = {State Plane, 1, 1, 5, 5, 1, 1, 403, NAD-83}", "coordinate system"),
        ("geo points = {1, 1, 47, 8, 7, 1, 47, 9}", "geo points are not carried"),
        ("rpc info = {1, 2}", "rpc info are not carried"),
    ],
)
def test_a_place_that_is_lost_is_told(tmp_path, field, told):
    header = write(tmp_path, numbers())
    with header.open("a") as file:
        file.write(field + "\n")
    assert any(told in note for note in envi.read(str(header)).notes)
