"""Shared fixtures, and the strictness under which every test runs."""

import atexit
import csv
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # before the backend starts
# What one process has compiled, other workers and processes of tests need not compile again.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="dgc_jax_compiled_")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

import beartype
import jax
import jaxtyping

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 2)

_check = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))  # ints are floats


def checked(function: Callable) -> Callable:
    """Checks types of arguments and results, and with them shapes, by jaxtyping's hook.

    A pytree is made by JAX of whatever stands for its arrays, such as shardings.
    """
    return function if function.__name__ == "__init__" else _check(function)


# Before the first import of what it checks.
jaxtyping.install_import_hook(["dgc_jax.model", "dgc_jax.train.step"], "conftest.checked")

import click.testing  # noqa: E402
import ml_collections  # noqa: E402
import numpy as np  # noqa: E402
import PIL.Image  # noqa: E402
import pytest  # noqa: E402
import rich.console  # noqa: E402
import scipy.cluster.hierarchy  # noqa: E402
import spectral.io.envi  # noqa: E402

from dgc_jax import Segmenter, load  # noqa: E402
from dgc_jax.cli import main  # noqa: E402
from dgc_jax.data.simulation import leaves  # noqa: E402
from dgc_jax.model import centroids, tree, views  # noqa: E402
from dgc_jax.model.cluster_tree import ClusterTree  # noqa: E402

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # launch.py and configs/ are no packages that pip installs

pytest_plugins = ["tests.show.pages"]


def dgc(*arguments: object) -> click.testing.Result:
    """Runs `dgc` in this process; its exit code and what it printed."""
    result = click.testing.CliRunner().invoke(main, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception  # a traceback is never right
    return result


def python(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in a process of its own, in the folder of the sources.

    `environment` are variables beyond those of this process.
    """
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def read_csv(path: pathlib.Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class TinyRun(NamedTuple):
    """A finished run on two small leaf scenes.

    Attributes:
        workdir: its folder.
        scenes: the folder of its scenes and their label maps.
        overrides: what its configuration sets beyond `configs/dgc4.py:tiny`.
        summary: what `run` returned.
        shown: what it printed.
    """

    workdir: pathlib.Path
    scenes: str
    overrides: dict[str, object]
    summary: dict[str, object]
    shown: str

    def config(self, **changes: object) -> ml_collections.ConfigDict:
        """The run's configuration, changed: `config(train__steps=3)`."""
        from configs import dgc4

        config = dgc4.get_config("tiny")
        changed = {name.replace("__", "."): value for name, value in changes.items()}
        config.update_from_flattened_dict({**self.overrides, **changed})
        return config

    def flags(self, **changes: object) -> list[str]:
        """The same configuration as flags of a command line."""
        changed = {name.replace("__", "."): value for name, value in changes.items()}
        values = {**self.overrides, **changed}
        return [f"--config.{name}={value}" for name, value in values.items()]


def log_of(workdir: pathlib.Path) -> list[dict[str, float]]:
    """The entries of metrics.jsonl, without what the clock decides."""
    with open(workdir / "metrics.jsonl", encoding="utf-8") as file:
        entries = [json.loads(line) for line in file]
    return [{k: v for k, v in e.items() if k not in ("data_wait", "seconds")} for e in entries]


def saved_steps(workdir: pathlib.Path) -> set[int]:
    return {int(name) for name in os.listdir(workdir / "checkpoints") if name.isdigit()}


def merge_spectra(
    spectra: np.ndarray, counts: np.ndarray, bank: np.ndarray, clusters: int
) -> tree.Merge:
    """Merges clusters of these spectra `[K, band]` and pixels `[K]` by SciPy's tree of shapes."""
    shapes = np.sqrt(spectra[counts > 0])
    shapes /= np.linalg.norm(shapes, axis=1, keepdims=True)
    alone = np.diag(counts)
    described = views.Description(
        counts, spectra, alone.astype(float), alone, np.zeros((len(counts),) * 3, int)
    )
    ward = scipy.cluster.hierarchy.linkage(shapes, "ward")
    return tree.merge(ward, described, bank, clusters)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """One training for all tests that need a finished run; none of them may write into it."""
    from dgc_jax.commands.experiment import run

    folder = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DGC_CACHE", str(folder / "cache"))
        scenes = leaves.ensure(leaves.Leaves(scenes=2, size=48), progress=False)
    overrides: dict[str, object] = {
        "clusters.train": 8,
        "clusters.final": 3,
        "data.scenes": scenes,
        "data.classes": leaves.CLASSES,
        "data.background": leaves.BACKGROUND,
        "data.sample": 4,
        "clusters.sample": 16,
        "centroids.pixels": 1000,
        "train.steps": 12,
        "train.log_every": 1,
        "train.checkpoint_every": 3,
        "monitor.every": 2,
        "monitor.probes": 2,
        "monitor.patience": 0,
    }
    begun = TinyRun(folder / "run", scenes, overrides, {}, "")
    with open(folder / "shown.txt", "w", encoding="utf-8") as shown:
        console = rich.console.Console(file=shown, width=200)
        summary = run(begun.config(), str(begun.workdir), console)
    return begun._replace(summary=summary, shown=(folder / "shown.txt").read_text(encoding="utf-8"))


def each_by_itself(tree: ClusterTree, number: int) -> ClusterTree:
    """A tree that shows `number` trained clusters, each by an id of its own."""
    names = tuple(f"cluster {k}" for k in range(1, number + 1))
    colours = np.arange(3 * (number + 1)).astype(np.uint8).reshape(-1, 3)
    ids = np.arange(number + 1, dtype=np.uint8)
    return dataclasses.replace(
        tree, leaves=ids[1:], leaf_names=names, leaf_colours=colours,
        shown=ids, names=names, colours=colours,
    )  # fmt: skip


@pytest.fixture(scope="session")
def segmenter(tiny_run: TinyRun) -> Segmenter:
    """The model of the tiny run."""
    return load(str(tiny_run.workdir))


@pytest.fixture(scope="session")
def unmerged(segmenter: Segmenter) -> Segmenter:
    """The model with 64 random centroids and an id for each: many borders, none of them clear."""
    bank = jax.random.normal(jax.random.key(0), (64, segmenter.model.centroids.shape[1]))
    return dataclasses.replace(
        segmenter,
        model=segmenter.model.replace(centroids=centroids.unit(bank)),
        tree=each_by_itself(segmenter.tree, 64),
    )


@pytest.fixture(scope="session")
def new_scenes(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Two scenes with label maps beside them, and one file that is no scene."""
    folder = tmp_path_factory.mktemp("new")
    for number in range(2):
        reflectance, labels = leaves.simulate(number, leaves.Leaves(size=40, scenes=2, seed=8))
        spectral.io.envi.save_image(
            str(folder / f"new{number}.hdr"),
            reflectance[: 40 - 7 * number],
            dtype=np.float32,
            metadata={
                "wavelength": np.linspace(400, 1000, 301).tolist(),
                "wavelength units": "nm",
                "map info": "{UTM, 1, 1, 500000, 4000000, 2, 2, 33, North, WGS-84}",
            },
        )
        PIL.Image.fromarray(labels[: 40 - 7 * number]).save(folder / f"new{number}_labels.png")
    (folder / "broken.npy").write_bytes(b"no array")
    return folder
