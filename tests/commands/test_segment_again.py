"""`dgc segment` once more: what it skips, and what it makes anew."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorstore as ts
from conftest import TinyRun, dgc

from dgc_jax import load, open_cube
from dgc_jax.apply.sieve import sieve


def other_model(tiny_run: TinyRun, folder: pathlib.Path) -> pathlib.Path:
    """The tiny run's model, but for a number."""
    shutil.copytree(tiny_run.workdir / "checkpoints" / "model", folder / "checkpoints" / "model")
    about = folder / "checkpoints" / "model" / "about.json"
    told = json.loads(about.read_text())
    about.write_text(json.dumps(told | {"similarity_floor": 0.123}))
    return folder


def test_geotiff_alone_is_skipped_and_read_back_on_a_rerun(
    tiny_run: TinyRun, new_scenes: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out"
    call = [
        "segment",
        tiny_run.workdir,
        new_scenes / "new1.hdr",
        "--out",
        out,
        "--format",
        "geotiff",
    ]
    assert "new1: segmented" in dgc(*call).stdout
    areas = (out / "areas.csv").read_bytes()
    result = dgc(*call)
    assert "new1: complete already" in result.stdout
    assert (out / "areas.csv").read_bytes() == areas


def test_rerun_skips_what_is_finished_and_sums_up_all(
    tiny_run: TinyRun, new_scenes: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    scenes = [new_scenes / "new0.hdr", new_scenes / "new1.hdr"]
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert dgc("segment", tiny_run.workdir, *scenes, "--out", whole).exit_code == 0
    assert dgc("segment", tiny_run.workdir, scenes[0], "--out", out).exit_code == 0
    written = (out / "new0.hdr").stat().st_mtime_ns
    result = dgc("segment", tiny_run.workdir, *scenes, "--out", out)
    assert result.exit_code == 0
    assert "new0: complete already" in result.stdout
    assert "new1: segmented" in result.stdout
    assert (out / "new0.hdr").stat().st_mtime_ns == written
    for name in ("areas.csv", "spectra.csv"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_map_that_is_unfinished_in_one_format_is_made_again(
    tiny_run: TinyRun, new_scenes: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    call = ["segment", tiny_run.workdir, new_scenes / "new0.hdr", "--out", tmp_path / "out"]
    dgc(*call)
    (tmp_path / "out" / "new0_overlay.png").unlink()
    assert "new0: segmented" in dgc(*call).stdout
    assert (tmp_path / "out" / "new0_overlay.png").exists()


def test_maps_are_made_anew_for_every_other_way_of_making_them(
    tiny_run: TinyRun, new_scenes: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out, scene = tmp_path / "out", tmp_path / "a" / "new0.hdr"
    for name in "ab":
        (tmp_path / name).mkdir()
        for ending in (".hdr", ".img"):
            shutil.copy(new_scenes / f"new0{ending}", tmp_path / name)
    np.save(tmp_path / "half.npy", np.arange(1600).reshape(40, 40) < 800)
    segmenter = load(str(tiny_run.workdir))
    plain = segmenter.segment(open_cube(scene))

    def call(*more: object, of: pathlib.Path = scene) -> np.ndarray:
        """The map, made by a first call, and left as it is by a second."""
        words = ["segment", tiny_run.workdir, of, "--out", out, "--format", "npy", *more]
        result = dgc(*words)
        assert result.exit_code == 0, result.output
        told.append(next(x for x in result.stdout.splitlines() if x.startswith("new0")))
        assert "new0: complete already" in dgc(*words).stdout
        return np.load(out / "new0.npy")

    told: list[str] = []
    np.testing.assert_array_equal(call(), plain)
    masked = np.where(np.arange(1600).reshape(40, 40) < 800, plain, 0)
    half = segmenter.segment(open_cube(scene, mask=tmp_path / "half.npy"))
    np.testing.assert_array_equal(half > 0, masked > 0)
    np.testing.assert_array_equal(call("--mask", tmp_path / "half.npy"), half)
    np.testing.assert_array_equal(call("--sieve", 30), sieve(plain, 30))
    np.testing.assert_array_equal(call(of=tmp_path / "b" / "new0.hdr"), plain)
    stored = np.fromfile(scene.with_suffix(".img"), "<f4").reshape(40, -1)
    stored[::-1].tofile(scene.with_suffix(".img"))
    call()
    np.testing.assert_array_equal(np.load(out / "new0.npy"), segmenter.segment(open_cube(scene)))
    assert told[0] == "new0: segmented"
    assert told[1] == f"new0: segmented anew, because mask is {tmp_path}/half.npy, was none"
    assert told[2].startswith("new0: segmented anew, because sieve is 30, was 0, mask is none, was")
    assert f"scene is {tmp_path}/b/new0.hdr, was {scene}" in told[3]
    assert "because scene is" in told[4]
    assert told[4] != told[3]


def test_maps_that_were_copied_from_another_folder_are_those_of_their_model(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    copy, scene = tmp_path / "copy", f"{tiny_run.scenes}/leaf_00.zarr"
    shutil.copytree(tiny_run.workdir / "maps", copy)
    call = ["segment", tiny_run.workdir, scene, "--out", copy]
    assert "leaf_00: complete already" in dgc(*call).stdout
    other = other_model(tiny_run, tmp_path / "other")
    result = dgc("segment", other, scene, "--out", copy)
    assert result.exit_code == 0
    assert "leaf_00: segmented anew, because model is " in result.stdout
    assert f"note: {copy} also holds maps of leaf_01, of another model, view or sieve." in (
        result.stdout
    )
    (copy / "manifest.json").unlink()  # nothing tells what they were made from
    before = (copy / "leaf_00.img").read_bytes()
    result = dgc(*call)
    assert result.exit_code == 2
    assert "found leaf_00.hdr, of which manifest.json does not say" in result.stderr
    assert (copy / "leaf_00.img").read_bytes() == before


def test_killed_while_maps_are_made_anew_takes_them_neither_for_the_old_nor_the_new(
    tiny_run: TinyRun,
    new_scenes: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call = ["segment", tiny_run.workdir, new_scenes / "new0.hdr", "--out", tmp_path]
    assert dgc(*call).exit_code == 0
    plain = (tmp_path / "new0.img").read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dgc_jax.show.results.write_overlay", killed)
        dgc(*call, "--sieve", 40)
    assert (tmp_path / "new0.img").read_bytes() != plain
    result = dgc(*call)
    assert "new0: segmented anew, because its writing was interrupted" in result.stdout
    assert (tmp_path / "new0.img").read_bytes() == plain


def test_maps_made_anew_leave_no_old_one_in_another_format(
    tiny_run: TinyRun, new_scenes: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    call = ["segment", tiny_run.workdir, new_scenes / "new0.hdr", "--out", tmp_path]
    assert dgc(*call, "--format", "npy,zarr").exit_code == 0
    assert dgc(*call, "--format", "envi", "--sieve", 40).exit_code == 0
    labels = np.fromfile(tmp_path / "new0.img", np.uint8).reshape(40, 40)
    np.testing.assert_array_equal(np.load(tmp_path / "new0.npy"), labels)
    store = ts.open({"driver": "zarr3", "kvstore": f"file://{tmp_path}/new0.zarr/"}).result()
    np.testing.assert_array_equal(store.read().result(), labels)
