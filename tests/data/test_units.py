"""What numbers of scenes look like, and scenes of one training that disagree."""

import logging

import numpy as np
import pytest
import spectral

from dgc_jax import open_cube
from dgc_jax.data import units
from dgc_jax.data.describe import describe
from dgc_jax.errors import InputError
from dgc_jax.train import loop

CUBE = np.random.default_rng(0).uniform(0.1, 0.5, (40, 36, 6)).astype(np.float32)


def compare(cubes):
    """What a training with these scenes is told."""
    return units.judge([(cube, units.numbers(units.sample(cube))) for cube in cubes])


def scene(folder, name, factor=1.0, dtype=np.float32, **header):
    path = str(folder / f"{name}.hdr")
    array = (CUBE * factor).astype(dtype)
    spectral.envi.save_image(path, array, metadata=header, ext=".img", dtype=dtype)
    return open_cube(path)


def flat(folder, name, value):
    path = str(folder / f"{name}.npy")
    np.save(path, np.full((40, 40, 3), value, np.float64))
    return open_cube(path)


def test_numbers_are_those_of_numpy(tmp_path):
    seen = units.numbers(units.sample(scene(tmp_path, "a")))
    pixels = np.sort(CUBE.reshape(-1, 6).mean(axis=1))
    assert seen.level == pytest.approx(pixels[: int(0.99 * len(pixels))].mean(), rel=1e-5)
    quantiles = np.quantile(CUBE, (0, 0.01, 0.5, 0.99, 1))
    assert seen[1:] == pytest.approx(tuple(quantiles), rel=1e-5)
    np.save(tmp_path / "none.npy", np.zeros((4, 4, 3)))
    assert units.numbers(units.sample(open_cube(tmp_path / "none.npy"))) is None


def test_glints_do_not_make_a_scene_bright(tmp_path):
    array = CUBE.copy()
    array[0, :14] = 1000  # less than a hundredth of the pixels
    np.save(tmp_path / "glint.npy", array)
    level = units.numbers(units.sample(open_cube(tmp_path / "glint.npy"))).level
    assert level == pytest.approx(CUBE.mean(), rel=0.02)


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (0.99 * units.LARGE, "reflectance"),
        (1.01 * units.LARGE, "large"),
        (1.01 * units.SMALL, "reflectance"),
        (0.99 * units.SMALL, "small"),
        (-0.99, "small"),
        (-1.01, "large"),
    ],
)
def test_what_numbers_look_like_has_bounds(tmp_path, value, unit):
    assert units.numbers(units.sample(flat(tmp_path, "a", value))).unit == unit


def test_inspect_and_training_complain_in_the_same_words(tmp_path):
    counts = scene(tmp_path, "counts", 4000, np.uint16)
    (complaint,) = [w for w in describe(counts)[1] if "reflectance" in w]
    assert compare([counts]) == [f"1 of 1 scenes (counts): {complaint}"]
    twice = scene(tmp_path, "twice", **{"reflectance scale factor": 10000})
    assert "divided by its scale factor 10000 already" in compare([twice])[0]
    assert compare([scene(tmp_path, "fine"), scene(tmp_path, "too")]) == []


def test_counts_are_told_once_for_all_scenes(tmp_path):
    cubes = [scene(tmp_path, f"s{number}", 4000, np.uint16) for number in range(6)]
    (told,) = compare(cubes)
    assert told.startswith("6 of 6 scenes (s0, s1, s2, s3, ...): Values are far beyond")


@pytest.mark.parametrize(
    ("factor", "odd"),
    [
        (1 / 3, False),
        (3, False),
        (0.99 * units.BRIGHTER, False),
        (1.01 * units.BRIGHTER, True),
        (1.01 / units.DARKER, False),
        (0.99 / units.DARKER, True),
    ],
)
def test_a_scene_in_other_light_than_the_rest_has_a_bound(tmp_path, factor, odd):
    cubes = [flat(tmp_path, name, 0.2) for name in "abc"]
    cubes.append(flat(tmp_path, "odd", 0.2 * factor))
    told = compare(cubes)
    assert [line.partition(" ")[0] for line in told] == ([cubes[-1].path] if odd else [])
    if odd:
        assert "the other scenes (mean" in told[0]


def test_two_scenes_that_disagree_are_told(tmp_path):
    told = compare([flat(tmp_path, "a", 0.1), flat(tmp_path, "b", 0.8)])
    assert [line.partition(" is ")[2][:31] for line in told] == ["8 times as bright as the other "]


@pytest.mark.parametrize(
    ("low", "ratio", "refused"),
    [(0.1, 0.99, False), (0.1, 1.01, True), (0.3, 0.5, False)],
)
def test_units_that_are_mixed_have_a_bound(tmp_path, low, ratio, refused):
    mixed = [flat(tmp_path, "a", low), flat(tmp_path, "b", low * units.MIXED * ratio)]
    if refused:
        with pytest.raises(InputError, match="expected numbers of one unit"):
            compare(mixed)
    else:
        assert any("other scenes" in line for line in compare(mixed))


@pytest.mark.parametrize("many", [1, 3])
def test_scenes_of_different_units_are_refused_by_name(tmp_path, many):
    scaled = {"reflectance scale factor": 10000}
    cubes = [scene(tmp_path, f"good{n}", 10000, np.int16, **scaled) for n in range(3)]
    cubes += [scene(tmp_path, f"lost{n}", 10000, np.int16) for n in range(many)]
    with pytest.raises(InputError) as error:
        compare(cubes)
    told = str(error.value)
    assert (
        f"3 of {3 + many} scenes (good0, good1, good2) of mean 0.298 (scale factor 10000)" in told
    )
    assert f"{many} of {3 + many} scenes (lost0" in told
    assert "(scale factor 1)" in told
    assert "data.white, data.dark" in told


def test_a_dark_and_a_bright_scene_of_reflectance_are_of_one_unit(tmp_path):
    told = compare([flat(tmp_path, "water", 0.012), flat(tmp_path, "snow", 0.9)])
    assert any("snow.npy is 75 times as bright" in line for line in told)


def test_training_refuses_mixed_units_and_says_what_looks_like_counts(
    tmp_path, monkeypatch, caplog
):
    from configs import dgc4

    data = tmp_path / "data"
    data.mkdir()
    for name in "ab":
        scene(data, name, 4000, np.uint16)
    config = dgc4.get_config("tiny")
    config.data.scenes = str(data)

    class BegunError(Exception):
        pass

    def begin(*_):
        raise BegunError

    monkeypatch.setattr(loop, "sample_crops", begin)  # what comes next
    with caplog.at_level(logging.WARNING), pytest.raises(BegunError):
        loop.train(config, str(tmp_path / "run"))
    assert "2 of 2 scenes (a, b): Values are far beyond reflectance" in caplog.text
    scene(data, "c")
    with pytest.raises(InputError, match=r"1 of 3 scenes \(c\) of mean 0.298"):
        loop.train(config, str(tmp_path / "run"))
