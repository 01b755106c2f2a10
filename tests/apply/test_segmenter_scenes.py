"""A finished model at scenes of all kinds: stored numbers, references, other band grids."""

import pathlib

import numpy as np
import pytest
import spectral.io.envi

from dgc_jax import InputError, Segmenter, open_cube

GRID = np.linspace(400.0, 1000.0, 301)  # nm, of the model


def write_envi(path: pathlib.Path, reflectance: np.ndarray, wavelengths: np.ndarray) -> str:
    spectral.io.envi.save_image(
        str(path),
        reflectance,
        dtype=np.float32,
        interleave="bil",
        metadata={"wavelength": [f"{w:.6f}" for w in wavelengths], "wavelength units": "nm"},
    )
    return str(path)


@pytest.mark.parametrize(
    ("kind", "interleave"),
    [("u2", "bil"), ("u2", "bip"), ("u2", "bsq"), (">i2", "bil"), ("f4", "bil"), ("f8", "bsq")],
)
def test_stored_numbers_get_the_labels_of_their_reflectance(
    unmerged: Segmenter, tmp_path: pathlib.Path, kind: str, interleave: str
) -> None:
    """Scale, ignore value, zeros and mask: what a device does of them is what `read` does."""
    dtype = np.dtype(kind)
    scale = 1.0 if dtype.kind == "f" else 100.0
    rng = np.random.default_rng(0)
    steps = rng.uniform(-0.02, 0.02, (70, 66, 301)).cumsum(axis=2)
    stored = ((0.6 + np.clip(steps, -0.5, 0.5)) * scale).astype(dtype)
    stored[3:9, 5:40] = 0
    stored[20, 20, 100] = 0  # a dark value in one band
    ignored = 111
    stored[30:34, 60:, 7] = ignored
    if dtype.kind == "f":
        stored[50, :9, 200], stored[51, :9, 3] = np.nan, np.inf
    spectral.io.envi.save_image(
        str(tmp_path / "scene.hdr"),
        stored,
        dtype=dtype.newbyteorder("="),
        byteorder=int(dtype.byteorder == ">"),
        interleave=interleave,
        metadata={"data ignore value": ignored, "reflectance scale factor": scale},
    )
    mask = np.ones((70, 66), np.uint8)
    mask[60:, :10] = 0
    np.save(tmp_path / "mask.npy", mask)
    cube = open_cube(tmp_path / "scene.hdr", mask=tmp_path / "mask.npy", wavelengths=GRID)
    reflectance, valid = cube.read(0, 0, 70, 66)
    expected = np.asarray(unmerged.predict(reflectance[None], valid[None]))[0]
    assert np.count_nonzero(~valid) == 6 * 35 + 4 * 6 + 10 * 10 + 18 * (dtype.kind == "f")
    np.testing.assert_array_equal(expected > 0, valid)
    np.testing.assert_array_equal(unmerged.segment(cube, 36), expected)


def test_floats_that_mean_no_data_have_no_label(
    segmenter: Segmenter, tmp_path: pathlib.Path
) -> None:
    """What `Cube.read` calls invalid is so where stored numbers go to the device as they are."""
    reflectance = np.random.default_rng(0).uniform(0.1, 0.6, (40, 30, 301)).astype("f4")
    holes = (-3.4028235e38, 1.7e38, np.inf, np.nan, np.float32(-1.2345678e10))
    for row, number in enumerate(holes):
        reflectance[row, 5, 7 * row] = number
    spectral.io.envi.save_image(
        str(tmp_path / "a.hdr"),
        reflectance,
        dtype=np.float32,
        metadata={"data ignore value": -1.2345679e10, "wavelength": GRID.tolist()},
    )
    cube = open_cube(tmp_path / "a.hdr")
    valid = cube.read(0, 0, 40, 30)[1]
    assert np.argwhere(~valid).tolist() == [[row, 5] for row in range(len(holes))]
    assert not cube.request(0, 0, 40, 30).stored().checked
    np.testing.assert_array_equal(segmenter.segment(cube, tile=32) > 0, valid)


def test_referenced_scene_gets_the_labels_of_its_reflectance(
    unmerged: Segmenter, tmp_path: pathlib.Path
) -> None:
    rng = np.random.default_rng(0)
    raw = rng.uniform(60, 200, (40, 30, 301)).astype(np.float32)
    raw[4, 6] = 50  # dark, and yet measured: reflectance 0 is valid
    for name, lines in (("raw", raw), ("dark", raw[:2] * 0 + 50), ("white", raw[:2] * 0 + 250)):
        write_envi(tmp_path / f"{name}.hdr", lines, GRID)
    references = {name: tmp_path / f"{name}.hdr" for name in ("dark", "white")}
    cube = open_cube(tmp_path / "raw.hdr", **references)
    reflectance, valid = cube.read(0, 0, 40, 30)
    assert valid.all()
    assert not reflectance[4, 6].any()
    expected = np.asarray(unmerged.predict(reflectance[None], valid[None]))[0]
    np.testing.assert_array_equal(unmerged.segment(cube, 16), expected)


def test_scene_on_a_covered_grid_is_interpolated(
    segmenter: Segmenter, tmp_path: pathlib.Path
) -> None:
    grid = np.arange(398.0, 1004.0, 5.0)
    rng = np.random.default_rng(0)
    reflectance = rng.uniform(0.1, 0.9, (9, 7, len(grid))).astype(np.float32)
    cube = open_cube(write_envi(tmp_path / "coarse.hdr", reflectance, grid))
    read, valid = segmenter.adapt(cube).read(0, 0, 9, 7)
    expected = np.apply_along_axis(lambda s: np.interp(GRID, grid, s), 2, reflectance)
    np.testing.assert_allclose(read, expected, atol=1e-5)
    assert valid.all()
    np.testing.assert_array_equal(
        segmenter.segment(cube), np.asarray(segmenter.predict(read[None]))[0]
    )


def test_scene_with_more_bands_gives_its_own_and_not_interpolated_ones(
    segmenter: Segmenter, tmp_path: pathlib.Path
) -> None:
    grid = np.arange(390.0, 1012.0, 2.0)
    reflectance = np.random.default_rng(0).uniform(0.1, 0.9, (4, 5, len(grid)))
    reflectance = reflectance.astype(np.float32)
    reflectance[..., (grid < 399) | (grid > 1001)] = np.nan  # nobody asks for these
    cube = open_cube(write_envi(tmp_path / "wide.hdr", reflectance, grid))
    read, valid = segmenter.adapt(cube).read(0, 0, 4, 5)
    assert valid.all()
    np.testing.assert_array_equal(read, reflectance[..., (grid >= 400) & (grid <= 1000)])


def test_scene_that_does_not_cover_the_bands_is_refused_with_both_ranges(
    segmenter: Segmenter, tmp_path: pathlib.Path
) -> None:
    grid = np.arange(500.0, 901.0, 10.0)
    path = write_envi(tmp_path / "narrow.hdr", np.ones((4, 4, len(grid)), np.float32), grid)
    with pytest.raises(InputError) as told:
        segmenter.segment(open_cube(path))
    assert "500 to 900 nm" in str(told.value)
    assert "400 to 1000 nm" in str(told.value)


def test_scene_without_wavelengths_needs_as_many_bands(
    segmenter: Segmenter, tmp_path: pathlib.Path
) -> None:
    np.save(tmp_path / "few.npy", np.ones((4, 4, 7)))
    with pytest.raises(InputError, match="expected the model's 301 bands, found 7"):
        segmenter.segment(open_cube(tmp_path / "few.npy"))
