"""An exported model runs with JAX alone and labels as the segmenter does."""

import hashlib
import json
import pathlib
import re
import subprocess
import sys

import jax
import jax.export
import numpy as np
import pytest
from conftest import ROOT, TinyRun, dgc

from dgc_jax import InputError, Segmenter, load, open_cube
from dgc_jax.apply import view
from dgc_jax.apply.export import export
from dgc_jax.commands.merge import merge
from dgc_jax.data.simulation import leaves
from dgc_jax.model import normalisation

NOT_THERE = ("dgc_jax", "flax", "optax", "orbax", "tensorstore", "ml_collections", "h5py", "click")
"""Packages of training that the machine of the deployment is to do without."""


@pytest.fixture(scope="module")
def folder(unmerged: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """An export in `deployed`, and a scene beside it."""
    folder = tmp_path_factory.mktemp("export")
    export(unmerged, folder / "deployed")
    np.save(folder / "scene.npy", scene())
    return folder


def scene() -> np.ndarray:
    """Leaves on 70 x 83 pixels, no multiples of the block, with a hole and with stray NaN."""
    reflectance, _ = leaves.simulate(0, leaves.Leaves(size=83, seed=5))
    reflectance = np.ascontiguousarray(reflectance[:70])
    reflectance[58:68, 20:70] = 0
    reflectance[5, 7, 100] = np.nan
    reflectance[6, 70] = np.inf
    return reflectance


def test_the_documented_lines_label_as_the_segmenter_without_its_packages(
    unmerged: Segmenter, folder: pathlib.Path
) -> None:
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    told = "".join(re.findall(r"^```python\n(.*?)^```$", page, flags=re.M | re.S))
    program = f"""
import sys
sys.modules.update(dict.fromkeys({NOT_THERE}))  # None: cannot be imported
try:
    import dgc_jax
    sys.exit("dgc_jax can be imported")
except ImportError:
    pass
{told}
np.savez("result.npz", labels=labels, probabilities=probabilities, tiled=tiled)
"""
    call = [sys.executable, "-I", "-W", "error", "-c", program]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    reflectance = scene()
    labels = np.asarray(unmerged.predict(reflectance[None]))
    assert not labels[0, 5, 7]
    assert len(np.unique(labels)) > 20
    with np.load(folder / "result.npz") as result:
        assert result["labels"].dtype == np.uint8
        assert result["probabilities"].dtype == np.float32
        np.testing.assert_array_equal(result["labels"], labels)
        np.testing.assert_array_equal(result["tiled"], labels[0])
        np.testing.assert_array_equal(
            result["tiled"], unmerged.segment(open_cube(folder / "scene.npy"))
        )
        expected = unmerged.probabilities(reflectance[None])
        np.testing.assert_allclose(result["probabilities"], expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 8, 5)])
def test_any_number_of_crops_rows_and_columns_runs(
    unmerged: Segmenter, folder: pathlib.Path, shape: tuple[int, int, int]
) -> None:
    model = jax.export.deserialize((folder / "deployed" / "model.jax").read_bytes())
    crops = np.random.default_rng(0).random((*shape, unmerged.bands), np.float32)
    labels, probabilities = model.call(crops)
    np.testing.assert_array_equal(labels, unmerged.predict(crops))
    np.testing.assert_allclose(probabilities, unmerged.probabilities(crops), atol=1e-5)


def test_the_program_is_lowered_for_cpus_gpus_and_tpus_without_custom_calls(
    folder: pathlib.Path,
) -> None:
    model = jax.export.deserialize((folder / "deployed" / "model.jax").read_bytes())
    assert model.platforms == ("cpu", "cuda", "tpu")
    # Those of the checks of the shapes are part of the format; others may change with versions.
    calls = re.findall(r"stablehlo\.custom_call @(\w+)", model.mlir_module())
    assert set(calls) <= {"shape_assertion"}


def test_the_json_tells_what_the_segmenter_knows(unmerged: Segmenter, folder: pathlib.Path) -> None:
    about = json.loads((folder / "deployed" / "model.json").read_text())
    program = (folder / "deployed" / about["program"]).read_bytes()
    assert about["sha256"] == hashlib.sha256(program).hexdigest()
    assert about["identity"] == unmerged.identity
    assert about["wavelengths_nm"] == list(np.linspace(400, 1000, 301))
    assert about["names"] == list(unmerged.names)
    assert about["colours"] == unmerged.colours.tolist()
    assert (about["bands"], about["clusters"]) == (301, 64)
    assert (about["halo"], about["block"]) == (4, 4)
    assert about["platforms"] == ["cpu", "cuda", "tpu"]


def test_the_normalisation_in_the_json_is_the_one_applied(
    unmerged: Segmenter, folder: pathlib.Path
) -> None:
    about = json.loads((folder / "deployed" / "model.json").read_text())["normalisation"]
    spectrum = np.random.default_rng(0).random(301)
    which = np.array(about["bin_of_band"])
    means = np.bincount(which, spectrum) / np.bincount(which)
    expected = normalisation.to_bins(spectrum.astype(np.float32), unmerged.model.normalisation)
    assert about["kind"] == "global"
    np.testing.assert_allclose(means / about["scale"], expected, rtol=1e-5)
    np.testing.assert_allclose(about["mean"], unmerged.model.normalisation.mean, rtol=1e-6)
    np.testing.assert_allclose(
        about["deviation"], unmerged.model.normalisation.deviation, rtol=1e-6
    )


def test_an_export_replaces_an_earlier_one_and_leaves_nothing_else(
    unmerged: Segmenter, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "model.jax").write_bytes(b"earlier")
    written = [pathlib.Path(path).read_bytes() for path in export(unmerged, tmp_path)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.jax", "model.json"]
    deployed = folder / "deployed"
    assert written == [(deployed / name).read_bytes() for name in ("model.jax", "model.json")]


def test_no_path_of_the_machine_that_exports_is_in_the_program(folder: pathlib.Path) -> None:
    program = (folder / "deployed" / "model.jax").read_bytes()
    assert b".py" not in program
    assert str(ROOT).encode() not in program


def test_a_folder_that_is_a_file_is_refused(unmerged: Segmenter, tmp_path: pathlib.Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match=r"model\.jax: cannot be written .*; choose"):
        export(unmerged, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.parametrize("viewed", [False, True])
def test_the_command_exports_the_model_of_the_workdir(
    tiny_run: TinyRun, tmp_path: pathlib.Path, viewed: bool
) -> None:
    segmenter = load(str(tiny_run.workdir))
    arguments = ["export", str(tiny_run.workdir), str(tmp_path / "told")]
    if viewed:
        path, _ = merge(str(tiny_run.workdir), clusters=2, out=str(tmp_path / "view.json"))
        segmenter = view.seen_through(segmenter, path)
        arguments += ["--view", path]
    result = dgc(*arguments)
    assert result.exit_code == 0, result.output
    paths = [tmp_path / "told" / name for name in ("model.jax", "model.json")]
    assert result.output.split() == [str(path) for path in paths]
    for path, other in zip(paths, export(segmenter, tmp_path / "expected"), strict=True):
        assert path.read_bytes() == pathlib.Path(other).read_bytes()


def test_exporting_a_run_that_has_not_finished_exits_with_2(tmp_path: pathlib.Path) -> None:
    result = dgc("export", str(tmp_path), str(tmp_path / "o"))
    assert result.exit_code == 2
    assert "expected the workdir of a finished run" in result.stderr
    assert not (tmp_path / "o").exists()
