"""Cubes: reflectance, validity, wavelengths and references, against NumPy."""

import dataclasses

import numpy as np
import PIL.Image
import pytest
import spectral.io.envi
import tensorstore as ts

from dgc_jax.data import companions
from dgc_jax.data.cube import open_cube
from dgc_jax.data.formats import lazy
from dgc_jax.data.prepare import create_store
from dgc_jax.errors import InputError

ROWS, COLUMNS, BANDS = 9, 11, 6
CENTRES = np.array([400.0, 450.0, 520.0, 600.0, 700.0, 900.0])


def spectra(dtype="f4"):
    return np.random.default_rng(1).uniform(5, 100, (ROWS, COLUMNS, BANDS)).astype(dtype)


@pytest.fixture
def scene(tmp_path):
    """Writes an array as NPY, or with attributes as zarr3; returns its path."""

    def write(values, name="scene", **attributes):
        if not attributes:
            path = tmp_path / f"{name}.npy"
            np.save(path, values)
        else:
            path = tmp_path / f"{name}.zarr"
            create_store(str(path), values.shape, values.dtype, **attributes).write(values).result()
        return path

    return write


@pytest.mark.parametrize(
    ("row", "column", "height", "width"),
    [(0, 0, ROWS, COLUMNS), (2, 3, 4, 5), (-3, -2, 6, 6), (7, 8, 5, 9), (-4, -4, 30, 30)],
)
def test_a_window_is_the_zero_padded_image_with_padding_invalid(scene, row, column, height, width):
    values = spectra()
    reflectance, valid = open_cube(scene(values)).read(row, column, height, width)
    padded = np.pad(values, [(40, 40), (40, 40), (0, 0)])
    inside = np.pad(np.ones((ROWS, COLUMNS), bool), 40)
    window = slice(row + 40, row + 40 + height), slice(column + 40, column + 40 + width)
    assert reflectance.dtype == np.float32
    np.testing.assert_array_equal(reflectance, padded[window])
    np.testing.assert_array_equal(valid, inside[window])


@pytest.mark.parametrize(("row", "column"), [(-20, 0), (0, COLUMNS), (50, -50)])
def test_a_window_beside_the_image_is_all_invalid(scene, row, column):
    reflectance, valid = open_cube(scene(spectra())).read(row, column, 3, 4)
    assert reflectance.shape == (3, 4, BANDS)
    assert not reflectance.any()
    assert not valid.any()


def test_windows_requested_together_are_the_windows_read_one_by_one(scene):
    cube = open_cube(scene(spectra()))
    pending = [cube.request(row, 1, 4, 4) for row in range(-2, 8)]
    for row, window in zip(range(-2, 8), pending, strict=True):
        for got, expected in zip(window.result(), cube.read(row, 1, 4, 4), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_a_pixel_is_invalid_if_not_finite_ignored_or_zero_and_its_reflectance_is_zero(scene):
    values = spectra()
    expected = np.ones((ROWS, COLUMNS), bool)
    values[0, 1, 2], values[1, 1, 0], values[2, 1, 5] = np.nan, np.inf, -np.inf
    values[3, 1, 4] = -9999  # in one band
    values[4, 1] = -9999
    values[5, 1] = 0
    expected[:6, 1] = False
    values[6, 1, 3] = 0  # one dark band is no hole
    reflectance, valid = open_cube(scene(values, ignore_value=-9999)).read(0, 0, ROWS, COLUMNS)
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(reflectance, np.where(valid[..., None], values, 0))


def test_an_ignore_value_of_zero_leaves_pixels_with_one_dark_band_valid(scene):
    values = spectra("u2")
    values[0, 0, 1] = 0
    values[0, 1] = 0
    valid = open_cube(scene(values, ignore_value=0)).read(0, 0, 1, 3)[1]
    np.testing.assert_array_equal(valid, [[True, False, True]])


@pytest.mark.parametrize("ignore_value", [-1.0, 70000.0, 0.5])
def test_an_ignore_value_that_the_type_cannot_hold_matches_nothing(scene, ignore_value):
    assert open_cube(scene(spectra("u2"), ignore_value=ignore_value)).read(0, 0, 9, 11)[1].all()


def test_float64_beyond_float32_is_invalid_and_never_inf(scene):
    values = spectra("f8")
    values[0, 0, 0] = -1.7e308
    reflectance, valid = open_cube(scene(values)).read(0, 0, 1, 2)
    np.testing.assert_array_equal(valid, [[False, True]])
    assert np.isfinite(reflectance).all()


def test_the_scale_divides_once(scene):
    values = spectra("u2")
    reflectance, _ = open_cube(scene(values, scale=10000.0)).read(0, 0, ROWS, COLUMNS)
    np.testing.assert_allclose(reflectance, values / 10000, rtol=1e-6)


@pytest.mark.parametrize("kind", ["npy", "grey", "palette", "colour", "alpha"])
def test_a_mask_leaves_only_its_nonzero_pixels_valid(scene, tmp_path, kind):
    usable = np.random.default_rng(2).random((ROWS, COLUMNS)) < 0.5
    path = tmp_path / ("mask.npy" if kind == "npy" else "mask.png")
    if kind == "npy":
        np.save(path, usable)
    else:
        pixels = usable.astype("u1")
        if kind == "colour":  # a blue of 1 of 255
            pixels = np.stack([0 * pixels, 0 * pixels, pixels], axis=2)
        elif kind == "alpha":  # opacity says nothing
            pixels = np.stack([pixels, pixels, pixels, 0 * pixels + 255], axis=2)
        picture = PIL.Image.fromarray(pixels)
        if kind == "palette":  # colours do not matter, numbers do
            picture.putpalette([0, 0, 0, 0, 0, 0])
        picture.save(path)
    reflectance, valid = open_cube(scene(spectra()), mask=path).read(-1, 0, ROWS + 1, COLUMNS)
    np.testing.assert_array_equal(valid[1:], usable)
    assert not reflectance[1:][~usable].any()


def test_a_mask_of_another_size_or_kind_is_refused(scene, tmp_path):
    path = tmp_path / "mask.npy"
    np.save(path, np.ones((COLUMNS, ROWS), bool))
    with pytest.raises(
        InputError, match=r"mask.npy: expected the 9 rows and 11 .* shape \[11, 9\]"
    ):
        open_cube(scene(spectra()), mask=path)
    text = tmp_path / "mask.txt"
    text.write_text("not a picture")
    with pytest.raises(InputError, match=r"mask.txt: expected a mask, as PNG"):
        open_cube(scene(spectra()), mask=text)


def test_bands_come_by_ascending_wavelength_however_they_are_stored(scene):
    values = spectra()
    for order in ([5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2]):
        shuffled = scene(values[..., order], f"scene{order[0]}", wavelengths=CENTRES[order])
        cube = open_cube(shuffled)
        np.testing.assert_array_equal(cube.wavelengths, CENTRES)
        np.testing.assert_array_equal(cube.read(0, 0, ROWS, COLUMNS)[0], values)


def test_bands_are_kept_and_dropped_by_nanometres_ends_included(scene):
    values = spectra()
    cube = open_cube(scene(values, wavelengths=CENTRES))
    chosen = cube.with_bands(((420, 700),), drop=((520, 530),))
    np.testing.assert_array_equal(chosen.wavelengths, [450, 600, 700])
    assert chosen.shape == (ROWS, COLUMNS, 3)
    np.testing.assert_array_equal(chosen.read(1, 1, 3, 3)[0], values[1:4, 1:4, [1, 3, 4]])
    again = chosen.with_bands(None, drop=((600, 600),))
    np.testing.assert_array_equal(again.read(1, 1, 3, 3)[0], values[1:4, 1:4, [1, 4]])
    assert cube.with_bands(None) is cube


def test_a_bad_value_in_a_dropped_band_makes_no_pixel_invalid(scene):
    values = spectra()
    values[..., 0] = np.nan
    cube = open_cube(scene(values, wavelengths=CENTRES), keep_bad_bands=True)
    assert not cube.read(0, 0, 2, 2)[1].any()
    assert cube.with_bands(((420, 1000),)).read(0, 0, 2, 2)[1].all()


def test_impossible_band_choices_are_refused(scene):
    cube = open_cube(scene(spectra(), wavelengths=CENTRES))
    with pytest.raises(InputError, match="no band left of its 6 bands of 400 to 900 nm"):
        cube.with_bands(((1000, 1100),))
    with pytest.raises(InputError, match="expected ranges in nm"):
        cube.with_bands(((700, 420),))
    with pytest.raises(InputError, match="expected ranges in nm"):
        cube.with_bands((400, 500, 600))
    with pytest.raises(InputError, match=r"does not say its wavelengths.*give wavelengths="):
        open_cube(scene(spectra())).with_bands(((400, 500),))


def test_another_grid_is_linear_interpolation(scene):
    values = spectra()
    grid = np.array([400.0, 425.0, 520.0, 533.3, 700.0, 899.0])
    cube = open_cube(scene(values, wavelengths=CENTRES)).on_grid(grid)
    reflectance, valid = cube.read(0, 0, ROWS, COLUMNS)
    oracle = np.array([np.interp(grid, CENTRES, pixel) for pixel in values.reshape(-1, BANDS)])
    np.testing.assert_allclose(reflectance.reshape(-1, len(grid)), oracle, rtol=1e-5)
    assert valid.all()
    np.testing.assert_array_equal(cube.wavelengths, grid)
    part = cube.with_bands(((500, 600),))
    np.testing.assert_array_equal(part.read(0, 0, 3, 3)[0], reflectance[:3, :3, 2:4])
    back = cube.on_grid(CENTRES)  # from the stored bands, not from the interpolated ones
    np.testing.assert_array_equal(back.read(0, 0, ROWS, COLUMNS)[0], values)


def test_a_grid_may_reach_half_a_band_beyond_the_scene_and_no_further(scene):
    cube = open_cube(scene(spectra(), wavelengths=CENTRES))
    at_the_end = cube.on_grid([380.0, 450.0]).read(0, 0, 2, 2)[0]
    np.testing.assert_array_equal(at_the_end, cube.read(0, 0, 2, 2)[0][..., :2])
    with pytest.raises(
        InputError, match=r"2 bands of 450 to 1100 nm asked for, found 6 bands of 400 to 900 nm"
    ):
        cube.on_grid([450.0, 1100.0])
    with pytest.raises(InputError, match="does not say its wavelengths"):
        open_cube(scene(spectra())).on_grid(CENTRES)


def test_wavelengths_may_be_given_as_numbers_or_as_a_text_file(scene, tmp_path):
    path = scene(spectra())
    listed = tmp_path / "bands.txt"
    listed.write_text("# band centres\n0.4, 0.45\n0.52 # green\n0.6;0.7\n0.9\n")
    for given in (CENTRES, list(CENTRES / 1000), listed, str(listed)):
        np.testing.assert_allclose(open_cube(path, wavelengths=given).wavelengths, CENTRES)


def test_wavelengths_that_do_not_fit_are_refused(scene, tmp_path):
    path = scene(spectra())
    with pytest.raises(
        InputError, match=r"wavelengths: .* the 6 stored bands .* found 2 wavelengths"
    ):
        open_cube(path, wavelengths=[400, 500])
    with pytest.raises(InputError, match="counts from 1 to 6, as band numbers do; give nm"):
        open_cube(path, wavelengths=[1, 2, 3, 4, 5, 6])
    words = tmp_path / "words.txt"
    words.write_text("red green blue")
    with pytest.raises(
        InputError, match=r"words\.txt: expected a text file of numbers, the wavelengths"
    ):
        open_cube(path, wavelengths=words)


@pytest.fixture
def references(tmp_path):
    """Line references of the scene's columns and bands: dark, white and their mean lines."""
    rng = np.random.default_rng(4)
    dark = rng.integers(5, 15, (7, COLUMNS, BANDS)).astype("u2")
    white = rng.integers(3000, 4000, (3, COLUMNS, BANDS)).astype("u2")
    np.save(tmp_path / "dark.npy", dark)
    np.save(tmp_path / "white.npy", white)
    return tmp_path / "dark.npy", tmp_path / "white.npy", dark.mean(0), white.mean(0)


def test_counts_become_reflectance_by_the_mean_lines_of_the_references(scene, references):
    dark_path, white_path, dark, white = references
    counts = (spectra() * 30).astype("u2")
    # A scale factor would apply to counts and references alike, so it cancels.
    cube = open_cube(scene(counts, scale=4095.0), dark=dark_path, white=white_path)
    reflectance, valid = cube.read(-1, 2, ROWS, 20)
    oracle = (counts - dark) / (white - dark)  # [row, column, band], float64
    np.testing.assert_allclose(reflectance[1:, : COLUMNS - 2], oracle[: ROWS - 1, 2:], rtol=2e-5)
    assert valid.sum() == (ROWS - 1) * (COLUMNS - 2)
    without = open_cube(scene(counts), white=white_path).read(0, 0, ROWS, COLUMNS)[0]
    np.testing.assert_allclose(without, counts / white, rtol=1e-5)


@pytest.mark.parametrize(("dark_lines", "white_lines"), [(1, 1), (1, 5), (6, 3)])
def test_raw_bil_is_calibrated_by_references_of_any_number_of_lines(
    tmp_path, dark_lines, white_lines, monkeypatch
):
    rng = np.random.default_rng(5)
    pixels = {"raw": ROWS, "dark": dark_lines, "white": white_lines}
    ranges = {"raw": (20, 60_000), "dark": (5, 15), "white": (50_000, 65_535)}
    stored = {
        name: rng.integers(*ranges[name], (lines, COLUMNS, BANDS)).astype("u2")
        for name, lines in pixels.items()
    }
    for name, values in stored.items():
        spectral.io.envi.save_image(
            tmp_path / f"{name}.hdr", values, interleave="bil", ext=".bil", dtype=np.uint16
        )
    monkeypatch.setattr(companions, "_BLOCK_BYTES", 2 * COLUMNS * BANDS * 2)  # two lines
    cube = open_cube(tmp_path / "raw.hdr", dark=tmp_path / "dark.hdr", white=tmp_path / "white.hdr")
    dark, white = stored["dark"].mean(0), stored["white"].mean(0)
    oracle = (stored["raw"] - dark) / (white - dark)
    whole = cube.read(0, 0, ROWS, COLUMNS)[0]
    np.testing.assert_allclose(whole, oracle, rtol=2e-5)
    for row in range(ROWS):
        np.testing.assert_array_equal(cube.read(row, 0, 1, COLUMNS)[0][0], whole[row])


def test_a_long_reference_is_averaged_by_blocks_of_lines(monkeypatch):
    lines = np.random.default_rng(6).integers(0, 9999, (100, 5, 4)).astype("u2")
    at_once = []

    class Watched:
        shape, dtype = lines.shape, ts.dtype("uint16")

        def __getitem__(self, rows):
            at_once.append(rows.stop - rows.start)
            return ts.array(lines)[rows]

    monkeypatch.setattr(companions, "_BLOCK_BYTES", 7 * lines[0].nbytes)
    mean = companions.mean_line("long.hdr", Watched(), "scene.hdr", (5, 4))
    np.testing.assert_allclose(mean, lines.mean(0), rtol=1e-12)
    assert (max(at_once), sum(at_once)) == (7, 100)


def test_references_follow_the_bands_that_are_kept(scene, references):
    dark_path, white_path, dark, white = references
    counts = (spectra() * 30).astype("u2")
    order = [5, 3, 1, 0, 2, 4]
    given = np.empty(BANDS)
    given[order] = CENTRES  # stored band order[i] is the i-th by wavelength
    cube = open_cube(scene(counts), dark=dark_path, white=white_path, wavelengths=given)
    chosen = cube.with_bands(((420, 650),))
    oracle = ((counts - dark) / (white - dark))[..., [3, 1, 0]]
    np.testing.assert_allclose(chosen.read(0, 0, ROWS, COLUMNS)[0], oracle, rtol=2e-5)


def test_columns_whose_references_are_dead_are_no_data(scene, references):
    dark_path, white_path, _, _ = references
    white = np.load(white_path)
    white[:, 4, 2] = 0
    white[:, 8] = 7
    np.save(white_path, white)
    cube = open_cube(scene(spectra()), dark=dark_path, white=white_path)
    reflectance, valid = cube.read(0, 0, ROWS, COLUMNS)
    assert set(np.flatnonzero(~valid.all(0))) == set(np.flatnonzero(~valid.any(0))) == {4, 8}
    assert np.isfinite(reflectance).all()
    assert any("2 of 11 columns are dead" in note for note in cube.notes)


def test_unusable_references_are_refused(scene, references, tmp_path):
    dark_path, white_path, _, _ = references
    path = scene(spectra())
    with pytest.raises(InputError, match=r"dark.npy: a dark reference alone gives no reflectance"):
        open_cube(path, dark=dark_path)
    with pytest.raises(InputError, match="are not swapped"):
        open_cube(path, dark=white_path, white=dark_path)
    np.save(tmp_path / "narrow.npy", np.ones((3, 5, BANDS)))
    with pytest.raises(
        InputError, match=r"narrow.npy: expected the 11 columns and 6 .* found 5 columns and 6"
    ):
        open_cube(path, white=tmp_path / "narrow.npy")


def test_what_is_no_scene_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "notes.docx").write_text("x")
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "complex.npy", np.ones((2, 2, 2), complex))
    np.save(tmp_path / "empty.npy", np.ones((0, 2, 2)))
    for name, message in [
        ("missing.hdr", "does not exist"),
        ("notes.docx", "expected ENVI .*, found no known format"),
        ("folder", "expected a zarr, zarr3 or n5 array, found a folder"),
        ("complex.npy", "found complex128 numbers"),
        ("empty.npy", "expected real numbers in at least one pixel .* = 0 x 2 x 2"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            open_cube(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_scene_is_called_by_its_file_name_without_endings(scene):
    for name in ("leaf_07", "B73.2022", "a.raw"):
        assert open_cube(scene(spectra(), name)).name == name.removesuffix(".raw")


def test_reading_a_file_that_fails_later_names_it(scene):
    def fail(row, column, band):
        raise OSError("disk on fire")

    broken = lazy.virtual_store(fail, (ROWS, COLUMNS, BANDS), "f4", (4, 4, BANDS))
    cube = dataclasses.replace(open_cube(scene(spectra())), store=broken)
    with pytest.raises(InputError, match=r"scene\.npy: could not be read \(disk on fire\)"):
        cube.read(0, 0, 2, 2)


def test_a_store_of_blocks_reads_only_the_chunks_that_are_needed():
    values = spectra()
    asked = []

    def block(row, column, band):
        asked.append((row.start, column.start))
        return values[row, column, band]

    store = lazy.virtual_store(block, values.shape, values.dtype, (4, 4, 99))
    np.testing.assert_array_equal(store[5:7, 2:6].read().result(), values[5:7, 2:6])
    assert sorted(asked) == [(4, 0), (4, 4)]


def test_a_cube_prints_short(scene):
    assert len(repr(open_cube(scene(np.ones((200, 200, 50), "f4"))))) < 500
