"""One row of the benchmark: train or fit, label every set of scenes, measure.

A training is cut to every number of clusters K afterwards: the models differ in `clusters.final`
alone, which training never reads. The maps of a row are kept beside the cached scenes, so that
seeds can be compared.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import agreement
import baselines
import jax.numpy as jnp
import ml_collections
import numpy as np
import rich.console

from configs import default
from dgc_jax import experiment
from dgc_jax.apply.segmenter import from_model
from dgc_jax.data.leaves import Leaves
from dgc_jax.data.scenes import Scene
from dgc_jax.errors import DivergedError, InputError
from dgc_jax.model.normalisation import bin_weights
from dgc_jax.show.files import replacing
from dgc_jax.train import loop, options

SAMPLE = 50_000
"""Pixels that a baseline is fitted to."""

BIN_WIDTH = 20.0
"""nm, of the bins of the merged baselines."""

_SOFT = "monitor/soft_information"

Maps = dict[str, dict[str, list[np.ndarray]]]  # number of clusters -> set -> scene -> map
Overrides = Mapping[str, Any]


class Settings(NamedTuple):
    """What a smoke test makes smaller.

    Attributes:
        sets: the leaf scenes: those trained on, unseen ones, unseen ones in other light.
        base: overrides of every training.
        clusters: numbers of clusters K.
        methods: baselines.
        ablations: names in `ABLATIONS`.
    """

    sets: dict[str, Leaves]
    base: dict[str, Any]
    clusters: tuple[int, ...]
    methods: tuple[str, ...]
    ablations: tuple[str, ...]


class Job(NamedTuple):
    """One row to measure; without overrides it is a baseline."""

    part: str
    scene: str
    method: str
    seed: int
    overrides: Overrides | None

    @property
    def name(self) -> str:
        """Name of its row."""
        return f"{self.part} | {self.scene} | {self.method} | {self.seed}"


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """Scenes with their truth; the pixels are read when a baseline first asks for them."""

    scenes: list[Scene]
    truth: agreement.Truth

    @functools.cached_property
    def pixels(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each scene reflectance `[row, column, band]` float32 and validity."""
        return [scene.cube.read(0, 0, *scene.cube.shape[:2]) for scene in self.scenes]


def configuration(job: Job, settings: Settings) -> ml_collections.ConfigDict:
    """The configuration that a training takes."""
    config = default.get_config()
    train = settings.sets["train"]
    fields = {"scenes": train.scenes, "size": train.size, "seed": train.seed, "light": train.light}
    config.data.leaves.update(fields)
    config.update_from_flattened_dict({**settings.base, **(job.overrides or {})})
    config.seed = job.seed
    if config.clusters.final is None:
        config.clusters.final = min(max(settings.clusters), config.clusters.train)
    return config


def fingerprint(job: Job, settings: Settings) -> str:
    """Equal for rows measured in the same way, whatever their seed."""
    said: dict[str, Any] = {"method": job.method, "clusters": settings.clusters}
    said["sets"] = {name: dataclasses.asdict(leaves) for name, leaves in settings.sets.items()}
    if job.overrides is None:
        said |= {"scene": job.scene, "sample": SAMPLE, "restarts": baselines.RESTARTS}
    else:
        config = options.flat(options.as_json(configuration(job, settings)))
        # Where the files lie does not matter.
        scenes = os.path.basename(str(config["data.scenes"]))
        said["config"] = {**config, "data.scenes": scenes, "data.labels": None, "seed": None}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


def train_and_map(
    config: ml_collections.ConfigDict, sets: Mapping[str, Data], clusters: Sequence[int]
) -> tuple[Maps, dict[str, Any]]:
    """Trains once, segments every set once, and merges the maps to each number of clusters."""
    with tempfile.TemporaryDirectory() as workdir:
        trained = loop.train(config, workdir, rich.console.Console(quiet=True))
        with open(os.path.join(workdir, "metrics.jsonl"), encoding="utf-8") as file:
            log = [json.loads(line) for line in file]
    tables = {baselines.UNMERGED: np.arange(config.clusters.train + 1, dtype=np.uint8)}
    for number in clusters:
        cut = config.copy_and_resolve_references()
        cut.clusters.final = number
        model = experiment.merged(cut, trained)
        tables[str(number)] = np.array([0, *model.about["lookup"]], np.uint8)
    # The nearest centroid itself is what all merged maps are looked up from.
    segmenter = dataclasses.replace(
        from_model(model), lookup=jnp.arange(1, config.clusters.train + 1, dtype=jnp.uint8)
    )
    own = {
        name: [segmenter.segment(scene.cube) for scene in data.scenes]
        for name, data in sets.items()
    }
    maps = {
        number: {name: [table[labels] for labels in own[name]] for name in sets}
        for number, table in tables.items()
    }
    soft = [entry[_SOFT] for entry in log if _SOFT in entry]
    nmi = [entry["monitor/nmi"] for entry in log if "monitor/nmi" in entry]
    return maps, {
        "steps": int(trained.state.step),
        "stopped_because": trained.why,
        "seconds": trained.seconds,
        "nmi_between_epochs": nmi[-1] if nmi else None,
        "soft_information_start": soft[0] if soft else None,
        "soft_information_end": soft[-1] if soft else None,
    }


def fit_and_map(
    job: Job, sets: Mapping[str, Data], clusters: Sequence[int]
) -> tuple[Maps, dict[str, Any]]:
    """Fits a baseline to a sample of the training scenes and labels every set."""
    train = sets["train"]
    cube = train.scenes[0].cube
    spectra = np.concatenate([reflectance[valid] for reflectance, valid in train.pixels])
    rng = np.random.default_rng([job.seed, len(spectra)])
    sample = spectra[rng.permutation(len(spectra))[:SAMPLE]]
    del spectra
    weights = bin_weights(cube.shape[2], cube.wavelengths, BIN_WIDTH)
    start = time.perf_counter()
    label = baselines.fit(job.method, sample, weights, clusters, job.seed)
    seconds = time.perf_counter() - start
    maps: Maps = {}
    for name, data in sets.items():
        for reflectance, valid in data.pixels:
            for number, labels in label(reflectance[valid]).items():
                whole = np.zeros(valid.shape, np.uint8)
                whole[valid] = labels
                maps.setdefault(number, {}).setdefault(name, []).append(whole)
    return maps, {"seconds": seconds}


def measured(
    job: Job, settings: Settings, sets: Mapping[str, Data], maps_folder: str
) -> dict[str, Any]:
    """Measures a row; its maps are kept, for the agreement with the seeds to come."""
    row = {**job._asdict(), "settings": fingerprint(job, settings), "commit": commit()}
    del row["overrides"]
    if job.overrides is not None:
        plain = Job("dgc", "leaves", "DGC", 0, {})
        row["default"] = fingerprint(plain, settings)
    classes = len(sets["train"].truth.classes)
    clusters = settings.clusters if job.scene == "leaves" else (classes,)
    start = time.perf_counter()
    try:
        if job.overrides is None:
            maps, row["training"] = fit_and_map(job, sets, clusters)
        else:
            config = configuration(job, settings)
            clusters = tuple(k for k in clusters if k <= config.clusters.train)
            maps, row["training"] = train_and_map(config, sets, clusters)
    except (DivergedError, InputError) as error:
        if job.part in ("dgc", "start"):
            raise
        return row | {"failed": str(error), "maps": {}}
    row["maps"] = {
        number: {
            name: agreement.measure(own, sets[name].truth, max(1, *(int(m.max()) for m in own)))
            for name, own in of_sets.items()
        }
        for number, of_sets in maps.items()
    }
    flat = {
        f"{number}|{name}": np.concatenate([labels.ravel() for labels in own])
        for number, of_sets in maps.items()
        for name, own in of_sets.items()
    }
    for of_sets in row["maps"].values():
        for of_set in of_sets.values():
            of_set["ari_with"] = {}
    for seed in range(job.seed):
        path = os.path.join(maps_folder, _file_name(job._replace(seed=seed), row["settings"]))
        if os.path.exists(path):
            with np.load(path) as earlier:
                for key in flat:
                    number, name = key.split("|")
                    ari = agreement.pairwise_ari([flat[key]], [earlier[key]])
                    row["maps"][number][name]["ari_with"][str(seed)] = ari
    path = os.path.join(maps_folder, _file_name(job, row["settings"]))
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **flat)
    return row | {"seconds": time.perf_counter() - start}


def _file_name(job: Job, settings: str) -> str:
    digest = hashlib.sha256(job.name.encode()).hexdigest()[:12]
    return f"{settings}-{digest}.npz"


def commit() -> str:
    """The commit that is measured, with a plus sign if files differ from it."""
    folder = pathlib.Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "dgc_jax", "configs")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")
