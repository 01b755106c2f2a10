"""`dgc inspect` and `dgc prepare` as a user types them."""

import concurrent.futures
import signal

import numpy as np
import pytest
from conftest import dgc

from dgc_jax.data.cube import open_cube
from dgc_jax.data.prepare import create_store

CENTRES = np.linspace(400, 1000, 7)


def reflectance(shape=(40, 50, 7)):
    return np.random.default_rng(0).uniform(0.05, 0.6, shape).astype("f4")


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.zarr"
    values = reflectance()
    values[:, :10] = 0
    create_store(str(path), values.shape, "f4", wavelengths=CENTRES).write(values).result()
    return path


def test_inspect_tells_what_was_understood(good):
    result = dgc("inspect", good)
    assert result.exit_code == 0
    facts = dict(line.split(None, 1) for line in result.stdout.splitlines())
    assert facts["scene"] == "good"
    assert facts["format"] == "zarr"
    assert facts["size"] == "40 rows x 50 columns x 7 bands"
    assert facts["type"] == "float32"
    assert facts["wavelengths"].startswith("400 to 1000 nm, 100 nm apart")
    assert "80.0 % of 2000 sampled" in result.stdout
    values = open_cube(good).read(0, 10, 40, 40)[0]
    assert facts["values"].startswith(f"{values.min():.4g} to {values.max():.4g}")
    assert "warning" not in result.stdout


def test_inspect_samples_large_scenes_sparsely(tmp_path):
    np.save(tmp_path / "large.npy", reflectance((400, 300, 2)))
    assert "100.0 % of 9216 sampled" in dgc("inspect", tmp_path / "large.npy").stdout


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        (reflectance() * 4000, "raw counts"),
        (reflectance() * 0, "No sampled pixels are valid"),
        (reflectance() * (np.arange(50) < 20)[:, None], "Only a minority"),
        (reflectance() * 0 + 0.25, "All sampled values are equal"),
        (reflectance(), "No wavelengths"),
    ],
)
def test_inspect_warns_of_what_looks_wrong(tmp_path, values, warning):
    np.save(tmp_path / "a.npy", values)
    result = dgc("inspect", tmp_path / "a.npy")
    assert result.exit_code == 0
    assert warning in result.stdout


def test_inspect_warns_of_a_scale_that_was_applied_before(tmp_path):
    path = tmp_path / "a.zarr"
    create_store(str(path), (9, 9, 7), "f4", scale=10000.0).write(reflectance((9, 9, 7))).result()
    assert "divided by its scale factor 10000 already" in dgc("inspect", path).stdout


def test_inspect_passes_on_how_to_read_the_file(tmp_path):
    np.save(tmp_path / "a.npy", reflectance().transpose(2, 0, 1))
    np.save(tmp_path / "a_mask.npy", np.arange(2000).reshape(40, 50) < 500)
    (tmp_path / "bands.txt").write_text(" ".join(map(str, CENTRES)))
    result = dgc(
        "inspect", tmp_path / "a.npy", "--axes", "brc", "--mask", "{stem}_mask.npy",
        "--wavelengths", tmp_path / "bands.txt",
    )  # fmt: skip
    assert "40 rows x 50 columns x 7 bands" in result.stdout
    assert "400 to 1000 nm" in result.stdout
    assert "25.0 % of 2000" in result.stdout


def test_bad_input_is_one_line_and_status_2(tmp_path):
    result = dgc("inspect", tmp_path / "missing.hdr")
    assert result.exit_code == 2
    assert result.stderr == f"dgc: {tmp_path}/missing.hdr: does not exist; check the path.\n"
    assert not result.stdout


@pytest.mark.parametrize("words", [["inspect"], ["prepare", "x"], ["inspect", "x", "--no"], ["no"]])
def test_wrong_usage_is_status_2(words):
    assert dgc(*words).exit_code == 2


def test_prepare_writes_every_scene_and_skips_it_the_next_time(tmp_path, good):
    np.save(tmp_path / "other.npy", reflectance())
    np.save(tmp_path / "other_labels.npy", np.ones((40, 50), "u1"))
    out = tmp_path / "out"
    first = dgc("prepare", tmp_path, "--out", out)
    assert first.exit_code == 0, first.output
    assert sorted(path.name for path in out.iterdir()) == [
        "good.zarr",
        "manifest.json",
        "other.zarr",
    ]
    assert first.stdout.count(": written") == 2
    np.testing.assert_array_equal(
        open_cube(out / "other.zarr").read(0, 0, 40, 50)[0], reflectance()
    )
    second = dgc("prepare", tmp_path / "*.npy", good, "--out", out)
    assert second.stdout.count(": complete already") == 2


def test_prepare_goes_on_after_a_bad_scene_and_says_so(tmp_path, good):
    bad = tmp_path / "bad.npy"
    bad.write_text("nothing")
    result = dgc("prepare", bad, good, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert (tmp_path / "out" / "good.zarr").exists()
    assert result.stderr.count("dgc: ") == 1
    assert dgc("prepare", bad, "--out", tmp_path / "out").exit_code == 2


def tree(folder):
    """Every file below a folder, with its bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_prepare_with_workers_writes_and_tells_what_one_would(tmp_path, good):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", reflectance((40, 33, 5)))
    (tmp_path / "bad.npy").write_text("nothing")
    scenes = [good, *(tmp_path / f"{name}.npy" for name in ("a", "bad", "b"))]
    alone = dgc("prepare", *scenes, "--out", tmp_path / "alone")
    together = dgc("prepare", *scenes, "--out", tmp_path / "together", "--workers", 2)
    assert alone.exit_code == together.exit_code == 1
    assert together.stderr == alone.stderr
    assert together.stdout == alone.stdout.replace("/alone/", "/together/")
    assert tree(tmp_path / "together") == tree(tmp_path / "alone")
    assert len(tree(tmp_path / "alone")) >= 6


def test_a_worker_that_is_killed_is_told_and_nothing_hangs(tmp_path, good, monkeypatch):
    np.save(tmp_path / "a.npy", reflectance())

    class Killing(concurrent.futures.ProcessPoolExecutor):
        def submit(self, *_):
            return super().submit(signal.raise_signal, signal.SIGKILL)

    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", Killing)
    result = dgc("prepare", good, tmp_path / "a.npy", "--out", tmp_path / "out", "--workers", 2)
    assert result.exit_code == 2
    assert result.stderr.count("a worker process was ended from outside") == 2
    assert f"dgc: {good}: was not prepared" in result.stderr
