"""Bands without data are left out, whatever the file; the thresholds hold on either side."""

import numpy as np
import PIL.Image
import pytest
import spectral
from conftest import dgc

from dgc_jax import open_cube
from dgc_jax.data import empty_bands
from dgc_jax.errors import InputError

ROWS, COLUMNS, BANDS = 100, 100, 6  # beyond 96 pixels a side, a scene is sampled by windows
CENTRES = np.linspace(400, 900, BANDS)
FILL = -9999.0


def scene(tmp_path, values, fill=FILL, centres=CENTRES):
    metadata = {"data ignore value": fill} if fill is not None else {}
    if centres is not None:
        metadata["wavelength"] = [f"{w:g}" for w in centres]
    path = str(tmp_path / "a.hdr")
    options = {"interleave": "bip", "ext": ".img", "force": True, "metadata": metadata}
    spectral.envi.save_image(path, values.astype(np.float32), **options)
    return path


def reflectance():
    return np.random.default_rng(0).uniform(0.1, 0.5, (ROWS, COLUMNS, BANDS))


@pytest.mark.parametrize("fill", [FILL, np.nan, np.inf, 3e38])
def test_bands_of_nothing_but_no_data_are_left_out_with_a_note(tmp_path, fill):
    values = reflectance()
    values[:, :, [2, 3, 5]] = fill
    cube = open_cube(scene(tmp_path, values, fill if np.isfinite(fill) else None))
    np.testing.assert_allclose(cube.wavelengths, CENTRES[[0, 1, 4]])
    found, valid = cube.read(0, 0, ROWS, COLUMNS)
    assert valid.all()
    np.testing.assert_allclose(found, values[:, :, [0, 1, 4]], rtol=1e-6)
    assert cube.notes == (
        "3 bands (600 to 700, 900 nm) without data in at least 99 % of the sampled pixels: left "
        "out, since nearly all pixels would be invalid; keep_bad_bands=True keeps them.",
    )


def test_they_can_be_kept(tmp_path):
    values = reflectance()
    values[:, :, 2] = FILL
    cube = open_cube(scene(tmp_path, values), keep_bad_bands=True)
    assert cube.shape[2] == BANDS
    assert not cube.read(0, 0, ROWS, COLUMNS)[1].any()
    why = empty_bands.why_invalid(cube)
    assert "1 band (600 nm) without data" in why
    assert "bands= or drop=" in why


def with_share(share):
    """A scene whose band 2 has no data in this share of its sampled pixels, the middle among it."""
    values = reflectance()
    sampled = np.zeros((ROWS, COLUMNS), bool)
    for row, column, height, width in empty_bands.windows((ROWS, COLUMNS)):
        sampled[row : row + height, column : column + width] = True
    order = np.flatnonzero(sampled)[np.random.default_rng(1).permutation(sampled.sum())]
    middle = np.ravel_multi_index((50, 50), (ROWS, COLUMNS))
    order = np.concatenate([[middle], order[order != middle]])
    lost = np.zeros(ROWS * COLUMNS, bool)
    lost[order[: round(share * len(order))]] = True
    values[lost.reshape(ROWS, COLUMNS), 2] = FILL
    return values, lost.reshape(ROWS, COLUMNS)


@pytest.mark.parametrize(
    ("share", "left_out", "noted"),
    [(0.995, True, True), (0.98, False, True), (0.52, False, True), (0.48, False, False)],
)
def test_the_thresholds_hold_on_either_side(tmp_path, share, left_out, noted):
    values, lost = with_share(share)
    cube = open_cube(scene(tmp_path, values))
    assert (cube.shape[2] == BANDS - 1) == left_out
    assert bool(cube.notes) == noted
    if noted and not left_out:
        assert f"without data in {100 * share:.0f}" in cube.notes[0]
    valid = cube.read(0, 0, ROWS, COLUMNS)[1]
    np.testing.assert_array_equal(valid, True if left_out else ~lost)


def test_pixels_outside_the_swath_make_no_band_empty(tmp_path):
    values = reflectance()
    values[:, 5:] = FILL  # the middle too
    values[60:, :5, 1] = FILL
    cube = open_cube(scene(tmp_path, values))
    assert (cube.shape[2], cube.notes) == (BANDS, ())
    values[:, :5, 1] = FILL
    assert open_cube(scene(tmp_path, values)).shape[2] == BANDS - 1


def test_a_few_pixels_decide_nothing(tmp_path):
    values = np.full((ROWS, COLUMNS, BANDS), FILL)
    values[0, : empty_bands._FEWEST - 1] = 0.3
    values[:, :, 1] = FILL
    assert open_cube(scene(tmp_path, values)).shape[2] == BANDS
    values[0, : empty_bands._FEWEST] = 0.3
    values[:, :, 1] = FILL
    assert open_cube(scene(tmp_path, values)).shape[2] == BANDS - 1


def test_a_scene_with_a_valid_middle_costs_one_look(tmp_path, monkeypatch):
    looks = []
    read = empty_bands._present
    monkeypatch.setattr(empty_bands, "_present", lambda *args: looks.append(args) or read(*args))
    open_cube(scene(tmp_path, reflectance()))
    assert len(looks) == 1
    np.save(tmp_path / "counts.npy", np.ones((5, 5, 3), np.uint16))  # cannot lack data in a band
    open_cube(tmp_path / "counts.npy")
    assert len(looks) == 1


@pytest.mark.parametrize("side", [600, 300])
def test_large_blocks_are_not_read_to_open_a_file(tmp_path, monkeypatch, side):
    import h5py

    looks = []
    monkeypatch.setattr(empty_bands, "_present", lambda *args: looks.append(1) or np.ones((1, 6)))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", (side, side, 6), "f4", chunks=(side, side, 1), fillvalue=FILL)
    open_cube(tmp_path / "a.h5")
    cost = side * side * BANDS * 4
    assert bool(looks) == (cost <= empty_bands._AFFORDABLE)


def test_bands_without_wavelengths_are_named_by_number_from_one(tmp_path):
    values = reflectance()
    values[:, :, [0, 1, 5]] = FILL
    notes = open_cube(scene(tmp_path, values, centres=None)).notes
    assert notes[0].startswith("3 bands (number 1 to 2, 6) without data")


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        ("mask", "the mask leaves none"),
        ("zero", "zero in all bands"),
        ("fill", "hold no data (-9999 or NaN) in all bands"),
        ("turns", "in each some band holds no data (-9999 or NaN)"),
    ],
)
def test_inspect_says_why_no_pixel_is_valid(tmp_path, cause, told):
    values, options = reflectance(), []
    if cause == "mask":
        PIL.Image.fromarray(np.zeros((ROWS, COLUMNS), np.uint8)).save(tmp_path / "m.png")
        options = ["--mask", str(tmp_path / "m.png")]
    elif cause == "zero":
        values[:] = 0
    elif cause == "fill":
        values[:] = FILL
    else:
        rows, columns = np.indices((ROWS, COLUMNS))
        values[rows, columns, (rows + columns) % BANDS] = FILL
    found = dgc("inspect", scene(tmp_path, values), *options)
    assert found.exit_code == 0
    assert "No sampled pixels are valid" in found.stdout
    assert told in " ".join(found.stdout.split())
    assert empty_bands.why_invalid(open_cube(scene(tmp_path, reflectance()))) is None


def test_training_on_nothing_but_no_data_says_why(tmp_path):
    from configs import dgc4
    from dgc_jax.data.sample import sample_crops
    from dgc_jax.data.scenes import open_scenes

    path = scene(tmp_path, np.full((ROWS, COLUMNS, BANDS), FILL))
    with pytest.raises(InputError, match=r"No sampled pixels are valid in .*hold no data \(-9999"):
        sample_crops(dgc4.get_config("tiny"), open_scenes(path))
