"""How good the clusters are: DGC, its own start, baselines, ablations; results and their page.

    python benchmarks/quality.py --real samson=samson.mat:samson.mat:S_GT

No label is used but to score. Every training takes `configs/default.py` with the overrides that
its row names. A *row* is one training or one fit of a baseline; it is written to `quality.json`
at once, and a repeated command skips the rows that are there for the same settings, so that it
can be interrupted. `docs/quality.md` is made from that file alone (`--render`).
"""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import agreement  # noqa: E402
import baselines  # noqa: E402
import jax  # noqa: E402
import quality_page  # noqa: E402
import quality_tables  # noqa: E402
from rows import Data, Job, Overrides, Settings, fingerprint, measured  # noqa: E402

from configs import default, paper  # noqa: E402
from dgc_jax.data.leaves import BACKGROUND, CLASSES, Leaves, cache_folder, ensure  # noqa: E402
from dgc_jax.data.scenes import open_scenes  # noqa: E402
from dgc_jax.errors import InputError  # noqa: E402
from dgc_jax.show.files import replacing  # noqa: E402
from dgc_jax.train import options  # noqa: E402

PARTS = ("dgc", "start", "baselines", "real", "ablations")


def _published() -> Overrides:
    """What `configs/paper.py` sets; `train.steps` as a factor."""
    here, there = (options.flat(module.get_config().to_dict()) for module in (default, paper))
    changed = {name: there[name] for name in there if there[name] != here[name]}
    del changed["clusters.final"]
    return changed | {"train.steps": there["train.steps"] // here["train.steps"]}


ABLATIONS: dict[str, Overrides] = {
    "without compactness": {"loss.compactness": 0.0},
    "without orthogonality": {"loss.orthogonality": 0.0},
    "without consistency": {"loss.consistency": 0.0},
    "without balance": {"loss.balance": 0.0},
    "without the anchor": {"loss.anchor": 0.0},
    "random start of the centroids": {"centroids.start": "random"},
    "start not whitened": {"model.whiten": 0.0},
    "start of the network alone, not whitened": {
        "model.whiten": 0.0,
        "model.linear": 0.0,
        "model.network": 1.0,
    },
    "without flips and turns": {"augment.flip": 0.0, "augment.turn": 0.0},
    "without changed light": {"augment.gain": 0.0, "augment.tilt": 0.0},
    "with noise": {"augment.noise": 0.01},
    "no mean shift": {"model.iterations": 0},
    "1 mean shift": {"model.iterations": 1},
    "10 mean shifts": {"model.iterations": 10},
    quality_tables.LONGER: {"train.steps": 3},
    quality_tables.NEVER_STOPPED: {"train.steps": 3, "monitor.patience": 0},
    "16 trained clusters": {"clusters.train": 16},
    "32 trained clusters": {"clusters.train": 32},
    "4 trained clusters (direct)": {"clusters.train": 4},
    "every band": {"data.bin_width": 0.0},
    "input: band": {"data.normalisation": "band"},
    "input: log": {"data.normalisation": "log"},
    "input: l2": {"data.normalisation": "l2"},
    "the published recipe (configs/paper.py)": _published(),
}
"""What each ablation sets; `train.steps` is a factor."""


_PLAIN = Job("dgc", "leaves", "DGC", 0, {})


def settings_of(smoke: bool) -> Settings:
    """The settings of the full benchmark, or of a test that it runs."""
    scenes, size = (2, 48) if smoke else (12, 192)
    unseen = Leaves(scenes=1 if smoke else 6, size=size, seed=100)
    sets = {
        "train": Leaves(scenes=scenes, size=size, seed=0),
        "same light": unseen,
        "other light": dataclasses.replace(unseen, light=2.0),
    }
    if not smoke:
        return Settings(sets, {}, (2, 4, 16), baselines.METHODS, tuple(ABLATIONS))
    base = {
        "data.crop": 32,
        "data.batch": 2,
        "data.sample": 4,
        "clusters.sample": 8,
        "clusters.train": 6,
        "centroids.pixels": 500,
        "train.steps": 2,
        "monitor.probes": 2,
        "monitor.every": 1,
    }
    methods = (baselines.PLAIN[0], baselines.METHODS[-1])
    return Settings(sets, base, (2, 4), methods, ("no mean shift",))


def jobs(args: argparse.Namespace, settings: Settings, reals: Mapping[str, Any]) -> list[Job]:
    """Every row of the benchmark, those that say most first."""
    plain = default.get_config()
    plain.update_from_flattened_dict(settings.base)
    now = options.flat(plain.to_dict())
    seeds = range(args.seeds)
    found = [Job("dgc", "leaves", "DGC", seed, {}) for seed in seeds]
    stay = {"train.steps": 0}
    found += [Job("start", "leaves", quality_tables.START, seed, stay) for seed in seeds]
    for method in settings.methods:
        found += [Job("baselines", "leaves", method, seed, None) for seed in seeds]
    for name, overrides in reals.items():
        for seed in seeds:
            found.append(Job("real", name, "DGC", seed, overrides))
            found.append(Job("real", name, quality_tables.START, seed, {**overrides, **stay}))
            found += [Job("real", name, method, seed, None) for method in settings.methods]
    for name in settings.ablations:
        changed = dict(ABLATIONS[name])
        if "train.steps" in changed:
            changed["train.steps"] *= now["train.steps"]
        if all(now[field] == value for field, value in changed.items()):
            continue  # it is the default
        # That longer training does no harm is asked of every seed.
        longer = name == quality_tables.LONGER
        for seed in seeds if longer else range(min(args.ablation_seeds, args.seeds)):
            found.append(Job("ablations", "leaves", name, seed, changed))
    return [job for job in found if job.part in args.only]


def leaf_data(parameters: Leaves) -> Data:
    """The simulated scenes, written when they are missing, with their truth."""
    scenes = open_scenes(ensure(parameters), classes=CLASSES)
    return Data(scenes, agreement.Truth([_labels(scene) for scene in scenes], CLASSES, BACKGROUND))


def real_data(overrides: Overrides) -> Data:
    """A real scene, with its truth.

    Raises:
        InputError: if it cannot be read, or has no label map.
    """
    config = default.get_config()
    config.update_from_flattened_dict(overrides)
    scenes = options.scenes(config)
    maps = [scene.read_labels() for scene in scenes]
    if any(truth is None for truth in maps):
        raise InputError(
            f"--real: expected a label map for {config.data.scenes}, found none; "
            "name it, as in --real NAME=SCENE:LABELS."
        )
    labels = [truth.labels for truth in maps if truth is not None]
    number = max(int(each.max()) for each in labels)
    return Data(
        scenes, agreement.Truth(labels, tuple(f"class {k}" for k in range(1, number + 1)), None)
    )


def _labels(scene: Any) -> Any:
    return scene.read_labels().labels


def real_scene(text: str) -> tuple[str, dict[str, Any]]:
    """`NAME=SCENE[:LABELS]` as a name and overrides."""
    name, equals, where = text.partition("=")
    scene, _, labels = where.partition(":")
    if not (name and equals and scene):
        raise argparse.ArgumentTypeError(f"expected NAME=SCENE[:LABELS], found {text!r}")
    return name, {"data.scenes": scene} | ({"data.labels": labels} if labels else {})


def about(args: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """What was run, where and with what, for the page."""
    plain = default.get_config()
    plain.update_from_flattened_dict(settings.base)
    packages = ("jax", "flax", "optax", "numpy", "scipy", "scikit-learn")
    return {
        "date": datetime.date.today().isoformat(),
        "smoke": args.smoke,
        "seeds": args.seeds,
        "ablation_seeds": args.ablation_seeds,
        "real": [name for name, _ in args.real],
        "machine": f"{jax.default_backend().upper()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}",
        "versions": {"Python": platform.python_version()} | {p: version(p) for p in packages},
        "sets": {name: dataclasses.asdict(leaves) for name, leaves in settings.sets.items()},
        "default": fingerprint(_PLAIN, settings),
        "config": options.flat(options.as_json(plain)),
        "ablations": {name: ABLATIONS[name] for name in settings.ablations},
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", help="folder of quality.json; default: benchmarks/results")
    parser.add_argument("--page", help="default: docs/quality.md; with --smoke OUT/quality.md")
    parser.add_argument("--seeds", type=int, help="default: 5; with --smoke 1")
    parser.add_argument("--ablation-seeds", type=int, default=3)
    parser.add_argument(
        "--real", type=real_scene, nargs="+", action="extend", default=[], metavar="NAME=SCENE"
    )
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--smoke", action="store_true", help="a test of it, with tiny scenes")
    parser.add_argument("--render", action="store_true", help="only make the page")
    parser.add_argument("--plan", action="store_true", help="only say which rows are missing")
    parser.add_argument("--fresh", action="store_true", help="measure all rows again")
    args = parser.parse_args()
    args.only = args.only.split(",")
    if unknown := set(args.only) - set(PARTS):
        parser.error(f"--only: expected {', '.join(PARTS)}, found {', '.join(sorted(unknown))}")
    args.seeds = args.seeds or (1 if args.smoke else 5)
    args.out = args.out or str(
        pathlib.Path(cache_folder(), "smoke") if args.smoke else ROOT / "benchmarks" / "results"
    )
    args.page = args.page or str(
        pathlib.Path(args.out, "quality.md") if args.smoke else ROOT / "docs" / "quality.md"
    )
    return args


def save(path: str, results: Mapping[str, Any]) -> None:
    """Writes the results, one row a line, so that a change of one shows as one."""
    text = json.dumps(results["about"], indent=1)
    lines = (
        f"{json.dumps(name)}: {json.dumps(_rounded(row))}"
        for name, row in sorted(results["rows"].items())
    )
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(f'{{"about": {text},\n"rows": {{\n' + ",\n".join(lines) + "\n}}\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return value


def run(args: argparse.Namespace, results: dict[str, Any], path: str) -> None:
    """Measures the rows that are missing, and saves after each."""
    settings = settings_of(args.smoke)
    rows, data = results["rows"], {name: {"train": real_data(o)} for name, o in args.real}
    planned = jobs(args, settings, dict(args.real))
    wanted = {(job.part, job.method) for job in planned}
    for name, row in list(rows.items()):
        measured_here = row["scene"] == "leaves" and row["part"] in args.only
        if measured_here and (row["part"], row["method"]) not in wanted:
            del rows[name]  # it has become the default, or is no longer asked for
    for job in planned:  # those of other settings would mislead on the page
        row = rows.get(job.name)
        if row and (args.fresh or "failed" in row or row["settings"] != fingerprint(job, settings)):
            del rows[job.name]
    missing = [job for job in planned if job.name not in rows]
    trainings = sum(job.overrides is not None for job in missing)
    print(f"{len(planned)} rows, {len(missing)} missing, of which {trainings} are trainings")
    if args.plan:
        print(*(f"  {job.name}" for job in missing), sep="\n")
        return
    results["about"] |= about(args, settings)
    save(path, results)
    if any(job.scene == "leaves" for job in missing):
        data["leaves"] = {name: leaf_data(leaves) for name, leaves in settings.sets.items()}
        truth = data["leaves"]["train"].truth.labels
        stray = sum(agreement.stray_regions(labels) for labels in truth)
        results["about"]["truth_stray"] = stray / sum(labels.size for labels in truth) * 1e6
    maps_folder = os.path.join(cache_folder(), "quality")
    for number, job in enumerate(missing, 1):
        row = rows[job.name] = measured(job, settings, data[job.scene], maps_folder)
        save(path, results)
        print(f"[{number}/{len(missing)}] {job.name}: {quality_tables.line(row)}", flush=True)
        if job.part == "ablations":
            jax.clear_caches()  # each compiles programs of its own


def main() -> None:
    """Runs what is asked for, and makes the page."""
    args = arguments()
    path = os.path.join(args.out, "quality.json")
    results: dict[str, Any] = {"about": {}, "rows": {}}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            results = json.load(file)
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", os.path.join(cache_folder(), "compiled"))
    try:
        if not args.render:
            run(args, results, path)
        if not args.plan:
            with replacing(args.page) as temporary:
                pathlib.Path(temporary).write_text(quality_page.page(results), encoding="utf-8")
            print(f"{path}\n{args.page}")
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
