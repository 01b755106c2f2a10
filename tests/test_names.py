"""Files and folders whose names are not UTF-8, in every reader and every command."""

import io
import json
import os
import pathlib
import shutil
import subprocess
import sys

import h5py
import numpy as np
import PIL.Image
import pytest
import rasterio
import rich.console
import scipy.io
import spectral.io.envi
import tensorstore as ts
from conftest import ROOT, TinyRun, dgc

from configs import dgc4
from dgc_jax import names
from dgc_jax.commands.experiment import run
from dgc_jax.data.cube import open_cube
from dgc_jax.data.find import find_scenes
from dgc_jax.data.scenes import open_scenes
from dgc_jax.data.simulation import leaves
from dgc_jax.errors import InputError

CENTRES = np.linspace(400, 1000, 7)
CUBE = np.random.default_rng(0).uniform(0.05, 0.6, (20, 30, 7)).astype("f4")
BAD, GOOD = os.fsdecode(b"sc\xe8ne"), "scène"


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / os.fsdecode(b"\xfcber")
    made.mkdir()
    return made


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"plain", "plain"),
        ("grün µ 木".encode(), "grün µ 木"),
        (b"sc\xe8ne", "scène"),
        (b"\x80uro \x92s", "€uro ’s"),  # noqa: RUF001  (what Windows writes)
        (b"\x81", "\ufffd"),  # no letter there
        ("木".encode() + b"\xe8" + "ü".encode(), "木èü"),
    ],
)
def test_bytes_that_are_not_utf8_are_letters_of_windows_1252(name, shown):
    assert names.text(os.fsdecode(name)) == shown
    assert names.text(names.text(os.fsdecode(name))) == shown


def test_a_message_can_always_be_written():
    told = str(InputError(f"{BAD}.hdr is not there."))
    assert told.encode() == "scène.hdr is not there.".encode()


def test_a_path_is_replaced_by_a_link_only_if_it_must_be(tmp_path, folder):
    assert names.utf8_path(f"{tmp_path}/a") == f"{tmp_path}/a"
    (folder / f"{BAD}.tif").write_text("image")
    (folder / f"{BAD}.tif.msk").write_text("mask")
    link = names.utf8_path(f"{folder}/{BAD}.tif")
    link.encode()
    assert pathlib.Path(link).read_text() == "image"
    assert pathlib.Path(f"{link}.msk").read_text() == "mask"
    new = names.utf8_path(f"{folder}/new")
    pathlib.Path(new).write_text("written")
    assert (folder / "new").read_text() == "written"


def write_scene(path: pathlib.Path) -> None:
    """Writes by each format's own library under a plain name, and renames."""
    plain = path.with_name(f"plain{path.suffix}")
    plain = pathlib.Path(os.fsdecode(path.parent.parent)) / plain.name
    if path.suffix == ".hdr":
        about = {"wavelength": CENTRES.tolist(), "wavelength units": "nm"}
        spectral.io.envi.save_image(str(plain), CUBE, metadata=about, force=True)
        plain.with_suffix(".img").rename(path.with_suffix(".img"))
    elif path.suffix == ".npy":
        np.save(plain, CUBE)
    elif path.suffix == ".mat":
        scipy.io.savemat(plain, {"x": CUBE, "wavelength": CENTRES})
    elif path.suffix == ".h5":
        with h5py.File(plain, "w") as file:
            file["x"], file["wavelength"] = CUBE, CENTRES
    elif path.suffix == ".zarr":
        spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(plain)}}
        ts.open(spec, create=True, dtype=CUBE.dtype, shape=CUBE.shape).result()[...] = CUBE
    else:
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False),
            rasterio.open(
                plain, "w", driver="GTiff", height=20, width=30, count=7, dtype="float32",
                transform=rasterio.Affine(2, 0, 5, 0, -2, 7),
            ) as image,
        ):  # fmt: skip
            image.write(CUBE.transpose(2, 0, 1))
            image.write_mask(np.full((20, 30), 255, "u1"))
        plain.with_name("plain.tif.msk").rename(f"{path}.msk")
    plain.rename(path)


@pytest.mark.parametrize("suffix", [".hdr", ".npy", ".mat", ".h5", ".zarr", ".tif"])
def test_every_format_is_read_inspected_and_prepared(folder, suffix):
    path = folder / f"{BAD}{suffix}"
    write_scene(path)
    cube = open_cube(path)
    assert cube.name == GOOD
    np.testing.assert_array_equal(cube.read(0, 0, 20, 30)[0], CUBE)
    told = dgc("inspect", path)
    assert told.exit_code == 0
    assert told.stdout.split(None, 2)[:2] == ["scene", GOOD]
    out = folder / os.fsdecode(b"\xfft")
    told = dgc("prepare", path, "--out", out)
    assert told.stdout_bytes.decode().endswith(f"über/ÿt/{GOOD}.zarr: written\n")
    np.testing.assert_array_equal(open_cube(out / f"{GOOD}.zarr").read(0, 0, 20, 30)[0], CUBE)
    assert "complete already" in dgc("prepare", path, "--out", out).stdout


def test_what_is_wrong_is_told_in_one_sentence(folder):
    for command in (["inspect"], ["prepare", "--out", folder / "out"]):
        told = dgc(*command, folder / f"{BAD}.hdr")
        assert told.exit_code == 2
        assert f"über/{GOOD}.hdr" in told.stderr_bytes.decode()


def test_companions_are_found_by_the_name_as_it_is_on_the_disk(folder):
    write_scene(folder / f"{BAD}.hdr")
    labels = np.random.default_rng(1).integers(0, 3, (20, 30)).astype("u1")
    PIL.Image.fromarray(labels).save(folder / f"{BAD}_labels.png")
    PIL.Image.fromarray(np.full((20, 30), 255, "u1")).save(folder / f"{BAD}_mask.png")
    assert len(find_scenes(str(folder), companions=("{stem}_labels.*", "{stem}_mask.png"))) == 1
    (scene,) = open_scenes(f"{folder}/*.hdr", mask="{stem}_mask.png")
    np.testing.assert_array_equal(scene.read_labels().labels, labels)
    assert scene.cube.mask.all()


def test_two_scenes_of_one_name_in_text_are_refused(folder):
    for name in (BAD, GOOD):
        np.save(folder / f"{name}.npy", CUBE)
    with pytest.raises(InputError, match=f"both called '{GOOD}'"):
        find_scenes(str(folder))


def decoded(folder: pathlib.Path) -> dict[str, str]:
    """All files of text below a folder, which must be UTF-8."""
    suffixes = (".csv", ".json", ".html", ".jsonl", ".hdr", ".xml")
    found = [path for path in folder.rglob("*") if path.suffix in suffixes]
    return {path.name: path.read_bytes().decode("utf-8") for path in found}


@pytest.fixture
def scene(folder):
    """A scene with labels, and a folder above both that is not UTF-8 either."""
    reflectance, labels = leaves.simulate(0, leaves.Leaves(size=40, scenes=1, seed=8))
    about = {"wavelength": np.linspace(400, 1000, 301).tolist(), "wavelength units": "nm"}
    plain = folder.parent / "plain.hdr"
    spectral.io.envi.save_image(str(plain), reflectance.astype("f4"), metadata=about)
    plain.with_suffix(".img").rename(folder / f"{BAD}.img")
    PIL.Image.fromarray(labels).save(folder / f"{BAD}_labels.png")
    return plain.rename(folder / f"{BAD}.hdr")


def test_segment_evaluate_report_merge_and_export_work(tiny_run: TinyRun, scene):
    folder = scene.parent
    workdir, out = folder / os.fsdecode(b"r\xfcn"), folder / os.fsdecode(b"m\xe4ps")
    shutil.copytree(tiny_run.workdir, workdir)
    formats = "envi,png,npy,zarr,geotiff"
    told = dgc("segment", workdir, scene, "--out", out, "--format", formats, "--confidence")
    assert told.exit_code == 0, told.output
    assert "über/mäps" in told.stdout_bytes.decode()
    for ending in (".hdr", ".img", ".png", "_overlay.png", ".npy", ".tif", ".tif.aux.xml", ".zarr"):
        assert (out / f"{GOOD}{ending}").exists()
    assert decoded(out)["areas.csv"].splitlines()[1].startswith(f"{GOOD},1,")
    found = open_cube(out / f"{GOOD}.tif").store[:, :, 0].read().result()
    np.testing.assert_array_equal(found, np.load(out / f"{GOOD}.npy"))
    again = dgc("segment", workdir, scene, "--out", out, "--format", formats, "--confidence")
    assert "complete already" in again.stdout
    scores = folder / os.fsdecode(b"\xe9val.json")
    told = dgc("evaluate", workdir, scene, "--labels", "{stem}_labels.png", "--out", scores)
    assert told.exit_code == 0, told.output
    assert json.loads(scores.read_text(encoding="utf-8"))["scores"]
    page = folder / os.fsdecode(b"p\xe4ge.html")
    told = dgc("report", workdir, scene, "--out", page, "--labels", "")
    assert told.exit_code == 0, told.output
    assert "rün" in page.read_text(encoding="utf-8")
    view = folder / os.fsdecode(b"v\xefew.json")
    assert dgc("merge", workdir, "--clusters", "2", "--out", view).exit_code == 0
    told = dgc("export", workdir, folder / os.fsdecode(b"\xe8xp"), "--view", view)
    assert told.exit_code == 0, told.output
    assert decoded(folder)


def test_training_works_from_the_command_line(tiny_run: TinyRun, scene, monkeypatch):
    """Trained here, as the other test run is, and found finished by the command itself."""
    monkeypatch.chdir(scene.parent)
    workdir = os.fsdecode(b"r\xfcn")
    settings = {k: v for k, v in tiny_run.overrides.items() if not k.startswith("data.")}
    settings |= {"data.scenes": scene.name, "data.sample": 4, "train.steps": 2}
    fields = [f"--config.{name}={value}" for name, value in settings.items()]
    config = dgc4.get_config("tiny")
    config.update_from_flattened_dict(settings)
    run(config, workdir, rich.console.Console(file=io.StringIO()))
    done = subprocess.run(
        [
            sys.executable, ROOT / "launch.py", f"--config={ROOT}/configs/dgc4.py:tiny",
            f"--workdir={workdir}", *fields,
        ],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert done.stdout.decode().startswith("rün is finished already")
    assert "Report: rün/report.html" in done.stdout.decode()
    made = scene.parent / workdir
    assert (made / "maps" / f"{GOOD}_overlay.png").exists()
    written = decoded(made)
    assert written["areas.csv"].splitlines()[1].startswith(f"{GOOD},1,")
    assert json.loads(written["summary.json"])["scores"]
