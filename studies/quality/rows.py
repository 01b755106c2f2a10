"""One row of the benchmark: train or fit, label every set of scenes, measure.

A training is segmented once, at the finest level of its tree; the maps of every number of clusters
follow from that. The maps of a row are kept beside the cached scenes, so that seeds can be
compared.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import subprocess
import tempfile
import time
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_collections
import numpy as np
import rich.console

from configs import default
from dgc_jax.apply.segmenter import from_model
from dgc_jax.commands import experiment
from dgc_jax.data.simulation.leaves import Leaves
from dgc_jax.errors import DivergedError, InputError
from dgc_jax.files import replacing
from dgc_jax.model.normalisation import bin_weights
from dgc_jax.model.tree import cut_tree
from dgc_jax.train import loop, options
from studies.quality import agreement, baselines
from studies.quality.data_sets import LEAVES, VEINS, Data, Overrides, Veins

SAMPLE = 50_000
"""Pixels that a baseline is fitted to."""

BIN_WIDTH = 20.0
"""nm, of the bins of the merged baseline."""

_SOFT = "monitor/soft_information"

Maps = dict[str, dict[str, list[np.ndarray]]]  # number of clusters -> set -> scene -> map


class Settings(NamedTuple):
    """What a smoke test makes smaller.

    Attributes:
        sets: the leaf scenes: those trained on, unseen ones, unseen ones in other light.
        veins: the scenes of the other simulator.
        base: overrides of every training.
        clusters: numbers of clusters K of the leaves.
        methods: baselines.
        ablations: names in `ABLATIONS`.
    """

    sets: dict[str, Leaves]
    veins: Veins
    base: dict[str, Any]
    clusters: tuple[int, ...]
    methods: tuple[str, ...]
    ablations: tuple[str, ...]


class Job(NamedTuple):
    """One row to measure; without overrides it is a baseline.

    Attributes:
        part: of the benchmark.
        scene: name of the data set.
        method: what is done with it.
        seed: of everything random.
        overrides: of the configuration; `clusters.train` None: as many as `final`.
        final: clusters at which the tree is chosen.
        clusters: numbers of clusters K that are measured.
    """

    part: str
    scene: str
    method: str
    seed: int
    overrides: Overrides | None
    final: int
    clusters: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of its row."""
        return f"{self.part} | {self.scene} | {self.method} | {self.seed}"


class Done(NamedTuple):
    """What a job leaves.

    Attributes:
        maps: of every number of clusters; those before merging number the leaves of the tree.
        tree: linkage matrix over them, if there is one.
        about: numbers of the training.
    """

    maps: Maps
    tree: np.ndarray | None
    about: dict[str, Any]


def plain(settings: Settings) -> ml_collections.ConfigDict:
    """The configuration that trainings start from."""
    config = default.get_config()
    train = settings.sets["train"]
    fields = {"scenes": train.scenes, "size": train.size, "seed": train.seed, "light": train.light}
    config.data.leaves.update(fields)
    config.update_from_flattened_dict(settings.base)
    return config


def configuration(job: Job, settings: Settings) -> ml_collections.ConfigDict:
    """The configuration that a training takes."""
    config, overrides = plain(settings), dict(job.overrides or {})
    direct = "clusters.train" in overrides and overrides["clusters.train"] is None
    if direct:
        del overrides["clusters.train"]
    config.update_from_flattened_dict(overrides)
    config.seed, config.clusters.final = job.seed, job.final
    config.clusters.train = job.final if direct else max(config.clusters.train, job.final)
    return config


def fingerprint(job: Job, settings: Settings) -> str:
    """Equal for rows measured in the same way, whatever their seed."""
    said: dict[str, Any] = {"method": job.method, "final": job.final, "clusters": job.clusters}
    if job.scene == LEAVES:
        said["sets"] = {name: dataclasses.asdict(leaves) for name, leaves in settings.sets.items()}
    if job.scene == VEINS:
        said["veins"] = settings.veins
    if job.overrides is None:
        said |= {"scene": job.scene} | _rivals()
    else:
        said["config"] = _placeless(configuration(job, settings)) | {"seed": None}
    return _digest(said)


def defaults(settings: Settings) -> dict[str, str]:
    """Fingerprints of what all trainings and all baselines have in common."""
    return {
        "training": _digest(_placeless(plain(settings))),
        "baseline": _digest(_rivals()),
    }


def kind(job: Job) -> str:
    """Which of the `defaults` a job goes by."""
    return "baseline" if job.overrides is None else "training"


def _rivals() -> dict[str, Any]:
    constants = baselines.RESTARTS, baselines.COMPONENTS, baselines.OVER
    return {"sample": SAMPLE, "bins": BIN_WIDTH, "constants": constants}


def _placeless(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The fields; where the files lie does not matter."""
    fields = options.flat(options.as_json(config))
    paths = fields["data.scenes"]
    names = [os.path.basename(path) for path in ([paths] if isinstance(paths, str) else paths)]
    return {**fields, "data.scenes": names, "data.labels": None, "data.wavelengths": None}


def _digest(said: Any) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


def train_and_map(
    config: ml_collections.ConfigDict, sets: Mapping[str, Data], clusters: tuple[int, ...]
) -> Done:
    """Trains once, segments every set once, and cuts the tree at each number of clusters."""
    with tempfile.TemporaryDirectory() as workdir:
        trained = loop.train(config, workdir, rich.console.Console(quiet=True))
        with open(os.path.join(workdir, "metrics.jsonl"), encoding="utf-8") as file:
            log = [json.loads(line) for line in file]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some clusters have no pixels is counted
        segmenter = from_model(experiment.merged(config, trained))
    # Ids of the finest level as places in the tree, from 1.
    place = np.argsort(segmenter.tree.leaves[segmenter.tree.live]) + 1
    places = dataclasses.replace(
        segmenter.tree, shown=np.array([0, *place], np.uint8), names=segmenter.tree.leaf_names
    )
    finest = dataclasses.replace(segmenter, tree=places)
    own = {
        name: [finest.segment(scene.cube) for scene in data.scenes] for name, data in sets.items()
    }
    soft = [entry[_SOFT] for entry in log if _SOFT in entry]
    nmi = [entry["monitor/nmi"] for entry in log if "monitor/nmi" in entry]
    about = {
        "steps": int(trained.state.step),
        "stopped_because": trained.why,
        "seconds": trained.seconds,
        "banks_agree": trained.described.agreement,
        "nmi_between_epochs": nmi[-1] if nmi else None,
        "soft_information_start": soft[0] if soft else None,
        "soft_information_end": soft[-1] if soft else None,
    }
    return Done(_cut(own, segmenter.tree.linkage, clusters), segmenter.tree.linkage, about)


def fit_and_map(job: Job, sets: Mapping[str, Data]) -> Done:
    """Fits a baseline to a sample of the training scenes and labels every set."""
    train = sets["train"]
    cube = train.scenes[0].cube
    spectra = np.concatenate([reflectance[valid] for reflectance, valid in train.pixels])
    rng = np.random.default_rng([job.seed, len(spectra)])
    sample = spectra[rng.permutation(len(spectra))[:SAMPLE]]
    del spectra
    start = time.perf_counter()
    tree = None
    if job.method == baselines.MERGED:
        weights = bin_weights(cube.shape[2], cube.wavelengths, BIN_WIDTH)
        each, tree = baselines.fit_merged(sample, train.pixels, weights, job.final, job.seed)

        def label(spectra: np.ndarray) -> baselines.Labels:
            return {baselines.UNMERGED: each(spectra)}
    else:
        label = baselines.fit(job.method, sample, job.clusters, job.seed)
    seconds = time.perf_counter() - start
    maps: Maps = {}
    for name, data in sets.items():
        for reflectance, valid in data.pixels:
            for number, labels in label(reflectance[valid]).items():
                whole = np.zeros(valid.shape, np.uint8)
                whole[valid] = labels
                maps.setdefault(number, {}).setdefault(name, []).append(whole)
    if tree is not None:
        maps = _cut(maps[baselines.UNMERGED], tree, job.clusters)
    return Done(maps, tree, {"seconds": seconds})


def _cut(own: Mapping[str, list[np.ndarray]], tree: np.ndarray, clusters: tuple[int, ...]) -> Maps:
    """The maps of several levels of a tree from those of its leaves, 1.. in its order."""
    leaves = len(tree) + 1
    tables = {baselines.UNMERGED: np.arange(1, leaves + 1)}
    tables |= {str(k): cut_tree(tree, k) + 1 for k in clusters if k <= leaves}
    whole = {number: np.array([0, *table], np.uint8) for number, table in tables.items()}
    return {
        number: {name: [table[labels] for labels in maps] for name, maps in own.items()}
        for number, table in whole.items()
    }


def measured(
    job: Job, settings: Settings, sets: Mapping[str, Data], maps_folder: str
) -> dict[str, Any]:
    """Measures a row; its maps are kept, for the agreement with the seeds to come."""
    row = {**job._asdict(), "settings": fingerprint(job, settings), "commit": commit()}
    del row["overrides"]
    row["default"] = defaults(settings)[kind(job)]
    start = time.perf_counter()
    try:
        if job.overrides is None:
            done = fit_and_map(job, sets)
        else:
            done = train_and_map(configuration(job, settings), sets, job.clusters)
    except (DivergedError, InputError) as error:
        if job.part != "ablations":
            raise
        return row | {"failed": str(error), "maps": {}}
    row["training"] = done.about
    row["maps"] = {
        number: {
            name: agreement.measure(own, sets[name].truth, max(1, *(int(m.max()) for m in own)))
            | {"ari_with": {}}
            for name, own in of_sets.items()
        }
        for number, of_sets in done.maps.items()
    }
    if done.tree is not None:
        for name, own in done.maps[baselines.UNMERGED].items():
            counts = agreement.confusion(own, sets[name].truth, len(done.tree) + 1)
            purity = agreement.dendrogram_purity(counts, done.tree)
            row["maps"][baselines.UNMERGED][name]["purity"] = purity
    _compare(row, job, done.maps, maps_folder)
    return row | {"seconds": time.perf_counter() - start}


def _compare(row: dict[str, Any], job: Job, maps: Maps, folder: str) -> None:
    """Adds the agreement with the maps of the seeds before, and keeps its own."""
    flat = {
        f"{number}|{name}": np.concatenate([labels.ravel() for labels in own])
        for number, of_sets in maps.items()
        for name, own in of_sets.items()
    }
    for seed in range(job.seed):
        path = os.path.join(folder, _file_name(job._replace(seed=seed), row["settings"]))
        if os.path.exists(path):
            with np.load(path) as earlier:
                for key in flat.keys() & set(earlier.files):
                    number, name = key.split("|")
                    ari = agreement.pairwise_ari([flat[key]], [earlier[key]])
                    row["maps"][number][name]["ari_with"][str(seed)] = ari
    path = os.path.join(folder, _file_name(job, row["settings"]))
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **flat)


def _file_name(job: Job, settings: str) -> str:
    digest = hashlib.sha256(job.name.encode()).hexdigest()[:12]
    return f"{settings}-{digest}.npz"


def commit() -> str:
    """The commit that is measured, with a plus sign if files differ from it."""
    folder = pathlib.Path(__file__).parents[2]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "dgc_jax", "configs")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")
