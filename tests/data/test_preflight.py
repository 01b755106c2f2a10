"""The look at a data set before any work: what it shows, marks and refuses."""

import io
import pathlib

import numpy as np
import PIL.Image
import pytest
import rich.console
import spectral
from conftest import dgc

from dgc_jax.data import preflight
from dgc_jax.data.cube import open_cube
from dgc_jax.data.scenes import open_scenes
from dgc_jax.errors import InputError
from dgc_jax.show.maps import quicklook


def write(folder: pathlib.Path, name: str, level: float = 0.3, bands: int = 5, **header: object):
    numbers = level * np.random.default_rng(0).uniform(0.5, 1.5, (12, 10, bands))
    about = {"wavelength": np.linspace(400, 800, bands).tolist(), "wavelength units": "nm"}
    spectral.envi.save_image(
        str(folder / f"{name}.hdr"), numbers.astype(np.float32), metadata=about | header
    )


def label(folder: pathlib.Path, name: str) -> None:
    PIL.Image.fromarray(np.ones((12, 10), np.uint8)).save(folder / f"{name}_labels.png")


def shown(folder: pathlib.Path) -> tuple[list[preflight.Seen], dict[str, str], str]:
    wrong: dict[str, str] = {}
    seen = preflight.look(open_scenes(str(folder), labels="{stem}_labels.png", wrong=wrong))
    console = rich.console.Console(file=io.StringIO(), width=40)
    preflight.show(seen, wrong, console)
    return seen, wrong, console.file.getvalue()  # type: ignore[attr-defined]


def test_scenes_alike_are_a_line_each_and_nothing_is_marked(tmp_path: pathlib.Path) -> None:
    for name in ("a", "bb"):
        write(tmp_path, name)
        label(tmp_path, name)
    seen, wrong, told = shown(tmp_path)
    assert preflight.check(seen, wrong) == []
    lines = told.splitlines()
    assert lines[0].split() == [
        "scene",
        "pixels",
        "bands",
        "values",
        "calibration",
        "valid",
        "labels",
    ]
    assert lines[1].startswith("a      12 x 10  5, 400-800 nm  ")
    assert lines[1].endswith("as stored    100 %  yes")
    assert len(lines) == 3
    assert "!" not in told
    numbers = open_scenes(str(tmp_path))[0].cube.read(0, 0, 12, 10)[0]
    low, high = np.quantile(numbers, (0.01, 0.99))
    assert f"  {low:.3g} to {high:.3g}  " in lines[1]


def test_what_disagrees_is_marked(tmp_path: pathlib.Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path, name)
        label(tmp_path, name)
    write(tmp_path, "other", bands=9)
    seen, _, told = shown(tmp_path)
    assert [one.scene.cube.name for one in seen if one.marks] == ["other"]
    assert "! other: stored bands 9, where most others have 5.\n" in told
    assert "! other: label map none, where most others have one.\n" in told
    (line,) = [line for line in told.splitlines() if line.startswith("other ")]
    assert "5, 400-800 nm, interpolated" in line
    assert line.endswith("!")


def test_all_scenes_that_cannot_be_used_are_named_at_once(tmp_path: pathlib.Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path, name)
    (tmp_path / "b.img").write_bytes(b"short")
    (tmp_path / "c.hdr").write_text("ENVI\nsamples = many\n")
    seen, wrong, told = shown(tmp_path)
    assert [one.scene.cube.name for one in seen] == ["a"]
    for name in ("b", "c"):
        assert any(line.startswith("! ") and f"{name}." in line for line in told.splitlines())
    with pytest.raises(
        InputError, match=r"^2 of 3 scenes cannot be used: \(1\) .*b\.img.*\(2\) .*c\.hdr"
    ):
        preflight.check(seen, wrong)


def test_mixed_units_are_refused_and_counts_flagged(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "a")
    write(tmp_path, "b", level=3000)
    seen, wrong, told = shown(tmp_path)
    assert [one.odd for one in seen] == [False, True]
    assert "counts? 15" in told
    with pytest.raises(InputError, match="expected numbers of one unit"):
        preflight.check(seen, wrong)


def test_of_many_scenes_only_marked_ones_are_listed(tmp_path: pathlib.Path) -> None:
    for number in range(24):
        write(tmp_path, f"s{number:02d}", bands=9 if number == 7 else 5)
    _, _, told = shown(tmp_path)
    assert "s07" in told
    assert "s06" not in told
    assert "23 of 24 scenes are alike, not listed." in told


def test_inspect_prints_the_table_of_a_folder_and_a_picture_of_one_scene(
    tmp_path: pathlib.Path,
) -> None:
    folder = tmp_path / "scenes"
    folder.mkdir()
    for name in ("a", "b"):
        write(folder, name)
    done = dgc("inspect", str(folder))
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-2].startswith("a      12 x 10  5, 400-800 nm")
    picture = tmp_path / "a.png"
    done = dgc("inspect", str(folder / "a.hdr"), "--png", str(picture))
    assert done.exit_code == 0, done.output
    with PIL.Image.open(picture) as image:
        assert image.size == (10, 12)
        pixels = np.asarray(image)
    np.testing.assert_array_equal(pixels, quicklook(open_cube(folder / "a.hdr")))
    (folder / "b.img").write_bytes(b"short")
    done = dgc("inspect", str(folder))
    assert done.exit_code == 2
    done = dgc("inspect", str(folder), "--png", str(picture))
    assert done.exit_code == 2
    assert "--png, --show, --verify: expected one scene" in done.output


def test_a_scale_overrules_that_of_the_file(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "a", level=3000, **{"reflectance scale factor": 100})
    (scene,) = open_scenes(str(tmp_path), scale=10_000)
    (plain,) = open_scenes(str(tmp_path))
    ours, theirs = (each.cube.read(0, 0, 12, 10)[0] for each in (scene, plain))
    np.testing.assert_allclose(ours, theirs / 100, rtol=1e-6)
    assert "The file's scale factor 100 is overruled by 10000." in scene.cube.notes
    done = dgc("inspect", str(tmp_path / "a.hdr"), "--scale", "10000")
    assert "scale           10000" in done.output
