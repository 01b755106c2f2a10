"""Manifests: what counts as finished, why something does not, and what may be overwritten."""

import json
import os
import pathlib

import numpy as np
import pytest

from dgc_jax import InputError, manifest
from dgc_jax.data import provenance
from dgc_jax.data.cube import open_cube
from dgc_jax.data.formats.detect import files_of

SOURCE = {"sieve": 0, "mask": None}


def make(folder: pathlib.Path, name: str = "a", text: str = "map", **source: object) -> None:
    manifest.begin(folder, "maps", name, [f"{name}.png"])
    (folder / f"{name}.png").write_text(text)
    manifest.finish(folder, "maps", name, SOURCE | source, [f"{name}.png"])


def why(folder: pathlib.Path, *files: str, **source: object) -> str | None:
    return manifest.why_unfinished(folder, "maps", "a", SOURCE | source, files)


def test_an_output_is_finished_only_if_all_of_it_is_as_recorded(tmp_path: pathlib.Path) -> None:
    assert why(tmp_path) == ""
    manifest.begin(tmp_path, "maps", "a", ["a.png"])
    assert why(tmp_path) == "its writing was interrupted"
    make(tmp_path)
    assert why(tmp_path) is None
    assert why(tmp_path, sieve=30) == "sieve is 30, was 0"
    assert why(tmp_path, view="b") == "view is b, was none"
    (tmp_path / "a.npy").write_text("of somebody")
    assert why(tmp_path, "a.npy") == "nothing says what a.npy was made from"
    assert why(tmp_path, "a.hdr") == "a.hdr is not there"
    (tmp_path / "a.png").write_text("m")
    assert why(tmp_path) == "a.png has 1 bytes, and had 3"
    (tmp_path / "a.png").unlink()
    assert why(tmp_path) == "a.png is not there"


def test_a_copied_folder_keeps_its_manifest_and_others_keep_their_records(
    tmp_path: pathlib.Path,
) -> None:
    make(tmp_path / "m", sieve=3)
    make(tmp_path / "m", "b")
    os.rename(tmp_path / "m", tmp_path / "n")
    assert why(tmp_path / "n", sieve=3) is None
    assert "sieve" in str(why(tmp_path / "n", sieve=4))
    assert manifest.get(tmp_path / "n", "maps", "b") is not None
    assert sorted(os.listdir(tmp_path / "n")) == ["a.png", "b.png", "manifest.json"]


def test_what_is_left_of_an_earlier_form_is_removed_and_nothing_else(
    tmp_path: pathlib.Path,
) -> None:
    for name in ("a.png", "a.npy", "mine.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "consensus" / "9").mkdir(parents=True)
    (tmp_path / "consensus" / "9" / "a.png").write_text("x")
    manifest.finish(tmp_path, "maps", "a", SOURCE, ["a.png", "a.npy", "consensus/9/a.png"])
    make(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["a.png", "consensus", "manifest.json", "mine.txt"]
    assert not os.listdir(tmp_path / "consensus")


def test_files_of_a_scene_are_all_that_it_is_read_from(tmp_path: pathlib.Path) -> None:
    for name in [
        "a.raw",
        "a.hdr",
        "a_labels.png",
        "a.png",
        "b.hdr",
        "b.raw.hdr",
        "b.raw",
        "ab.raw",
    ]:
        (tmp_path / name).write_text("x")
    (tmp_path / "c.hdr").write_text("x")
    (tmp_path / "c.hyspex").write_text("x")
    (tmp_path / "d.tif").write_text("x")
    (tmp_path / "d.tif.aux.xml").write_text("x")

    def names(path: str) -> list[str]:
        return [os.path.basename(each) for each in files_of(str(tmp_path / path))]

    assert names("a.hdr") == names("a.raw") == ["a.hdr", "a.raw"]
    assert names("b.raw") == ["b.raw", "b.raw.hdr"]
    assert names("c.hdr") == ["c.hdr", "c.hyspex"]
    assert names("d.tif") == ["d.tif", "d.tif.aux.xml"]
    assert names("missing.npy") == ["missing.npy"]
    assert files_of("s3://bucket/a.zarr") == ["s3://bucket/a.zarr"]


def test_an_empty_reference_is_none_also_in_what_a_scene_is_made_from(tmp_path):
    np.save(tmp_path / "s.npy", np.ones((3, 4, 5)))
    plain = provenance.made_from(open_cube(tmp_path / "s.npy"))
    assert plain == provenance.made_from(open_cube(tmp_path / "s.npy", white="", dark=""))


def test_every_option_of_reading_and_every_file_beside_it_changes_what_a_scene_is_made_from(
    tmp_path: pathlib.Path,
) -> None:
    np.save(tmp_path / "s.npy", np.ones((4, 4, 3), "f4"))
    np.save(tmp_path / "m.npy", np.ones((4, 4), "u1"))
    np.save(tmp_path / "w.npy", np.full((1, 4, 3), 2.0))
    (tmp_path / "nm.txt").write_text("400 500 600")
    plain = provenance.made_from(open_cube(tmp_path / "s.npy"))
    seen = [json.dumps(plain)]
    for options in (
        {"mask": tmp_path / "m.npy"},
        {"white": tmp_path / "w.npy"},
        {"white": tmp_path / "w.npy", "dark": tmp_path / "m.npy"},
        {"wavelengths": tmp_path / "nm.txt"},
        {"wavelengths": [400, 500, 600]},
        {"wavelengths": [400, 500, 601]},
        {"axes": "crb"},
    ):
        if "dark" in options:
            np.save(tmp_path / "m.npy", np.zeros((1, 4, 3)))
        seen.append(json.dumps(provenance.made_from(open_cube(tmp_path / "s.npy", **options))))
    assert len(set(seen)) == len(seen)
    assert provenance.made_from(open_cube(tmp_path / "s.npy")) == plain
    stat = os.stat(tmp_path / "s.npy")
    assert plain["scene"] == [
        {
            "path": str(tmp_path / "s.npy"),
            "bytes": stat.st_size,
            "modified": stat.st_mtime_ns,
        }
    ]


def test_changed_files_are_named_and_long_lists_of_changes_are_cut(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_text("1")
    before = {"scene": manifest.files([tmp_path / "a"])}
    os.utime(tmp_path / "a", ns=(0, 7))
    now = {"scene": manifest.files([tmp_path / "a"])}
    assert manifest.difference(before, now) == f"{tmp_path}/a has changed since"
    assert not manifest.difference(manifest.timeless(before), manifest.timeless(now))
    (tmp_path / "a").write_text("12")
    longer = {"scene": manifest.files([tmp_path / "a"])}
    assert manifest.difference(manifest.timeless(before), manifest.timeless(longer))
    many = manifest.difference(dict.fromkeys("abcde", 1), dict.fromkeys("abcde", 2))
    assert many == "a is 2, was 1, b is 2, was 1, c is 2, was 1, and more"


def test_outputs_overwrite_neither_one_another_nor_what_is_unknown(tmp_path: pathlib.Path) -> None:
    make(tmp_path)
    manifest.refuse_clashes(tmp_path, "out", {("maps", "a"): ["a.png"]})
    with pytest.raises(InputError, match=r"a_o\.png to be one of maps a_o and of maps a;"):
        manifest.refuse_clashes(
            tmp_path, "out", {("maps", "a"): ["a.png", "a_o.png"], ("maps", "a_o"): ["a_o.png"]}
        )
    with pytest.raises(InputError, match=r"found a\.png to be one of maps b and of maps a;"):
        manifest.refuse_clashes(tmp_path, "out", {("maps", "b"): ["a.png"]})
    (tmp_path / "photo.png").write_text("x")
    wanted = {("maps", "photo"): ["photo.png"]}
    with pytest.raises(InputError, match=r"found photo\.png, of which manifest\.json does not say"):
        manifest.refuse_clashes(tmp_path, "out", wanted)
    manifest.refuse_clashes(tmp_path, "out", wanted, foreign=False)


OUTSIDE = {"finished": True, "from": {}, "written_as": {}, "files": {"../b": 1}}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"format": 1, "maps": {"a": OUTSIDE}}),
        *("", "[]", "{}", '{"format": 2}', '{"format": 1, "maps": 3}', '{"name": "an app"}'),
    ],
)
def test_a_manifest_of_something_else_is_refused(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"expected the manifest of an output folder"):
        manifest.begin(tmp_path, "maps", "a", ["a.png"])
    assert (tmp_path / "manifest.json").read_text() == text
