"""How good the clusters are: DGC, its own start, baselines, ablations; results and their page.

    python -m studies.quality.study --real-folder SCENES --real samson=samson.mat:samson.mat:S_GT

No label is used but to score. Every training takes `configs/default.py` with the overrides that
its row names. A *row* is one training or one fit of a baseline; it is written to `quality.json`
at once, and a repeated command skips the rows that are there for the same settings, so that it
can be interrupted. `docs/quality.md` is made from that file alone (`--render`).
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import jax

from benchmarks import bench
from configs import default, paper
from dgc_jax.data.simulation.leaves import Leaves, cache_folder
from dgc_jax.errors import InputError
from dgc_jax.train import options
from studies.quality import agreement, baselines, data_sets
from studies.quality import page as quality_page
from studies.quality import tables as quality_tables
from studies.quality.data_sets import LEAVES, VEINS, DataSet, Overrides, Veins
from studies.quality.rows import Job, Settings, defaults, fingerprint, kind, measured, plain

ROOT = pathlib.Path(__file__).parents[2]

PARTS = ("real", "leaves", "veins", "ablations")


def _published() -> Overrides:
    """What `configs/paper.py` sets; `train.steps` as a factor, and as many centroids as classes."""
    here, there = (options.flat(module.get_config().to_dict()) for module in (default, paper))
    changed = {name: there[name] for name in there if there[name] != here[name]}
    changed.pop("clusters.final", None)
    steps = there["train.steps"] // here["train.steps"]
    return changed | {"train.steps": steps, "clusters.train": None}


ABLATIONS: dict[str, Overrides] = {
    "without the network": {"model.network": 0.0},
    "bandwidth not learned": {"optim.bandwidth": 0.0},
    "balance of the same pixels": {"loss.displacement": 0},
    "light not calibrated": {"augment.agreement": 0.0},
    "without changed light": {"augment.gain": 0.0, "augment.tilt": 0.0},
    "without consistency": {"loss.consistency": 0.0},
    "one bank, no vote": {"clusters.starts": 1},
    "without mean shift": {"model.iterations": 0},
    "the published recipe (configs/paper.py)": _published(),
}
"""What each ablation sets; `train.steps` is a factor, `clusters.train` None the final number."""


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
        return Settings(sets, Veins(), {}, (2, 4, 16), baselines.METHODS, tuple(ABLATIONS))
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
    methods = (baselines.PLAIN[0], baselines.MERGED)
    veins = Veins(scenes=2, size=64, bands=30)
    return Settings(sets, veins, base, (2, 4), methods, ("without mean shift",))


def real_sets(args: argparse.Namespace) -> dict[str, DataSet]:
    """The real data sets that are named, and those in the folder, of which it says what they are.

    Raises:
        InputError: if one cannot be read, or two have one name.
    """
    named: list[tuple[str, Overrides]] = list(args.real)
    if args.real_folder:
        found, left_out = data_sets.in_folder(args.real_folder)
        named += found.items()
        print(*left_out, sep="\n", end="\n" if left_out else "")
    reals: dict[str, DataSet] = {}
    for name, overrides in named:
        if name in reals or name in (LEAVES, VEINS):
            raise InputError(f"--real: expected another name, found {name!r} twice; rename one.")
        reals[name] = data_sets.real_set(name, overrides)
        about = data_sets.described(reals[name].sets["train"])
        print(f"{name}: {quality_tables.data_set(about)}")
    return reals


def simulated(settings: Settings) -> tuple[DataSet, DataSet]:
    """The leaves and those of the other simulator, as far as jobs need to know them."""
    leaves = DataSet(LEAVES, {}, 4, settings.clusters, {})
    return leaves, DataSet(VEINS, data_sets.vein_overrides(settings.veins), 4, (4, 5, 6), {})


def jobs(args: argparse.Namespace, settings: Settings, reals: Mapping[str, DataSet]) -> list[Job]:
    """Every row of the benchmark, those that say most first."""
    steps = plain(settings).train.steps
    leaves, veins = simulated(settings)
    wanted = [("real", of, args.real_seeds) for of in reals.values()]
    wanted += [("leaves", leaves, args.seeds), ("veins", veins, args.vein_seeds)]
    found = []

    def add(part: str, of: DataSet, method: str, seed: int, overrides: Overrides | None) -> None:
        overrides = None if overrides is None else {**of.overrides, **overrides}
        found.append(Job(part, of.name, method, seed, overrides, of.final, of.clusters))

    for part, of, seeds in wanted:
        for seed in range(seeds):
            add(part, of, quality_tables.DGC, seed, {})
            add(part, of, quality_tables.START, seed, {"train.steps": 0})
            for method in settings.methods if seed < args.baseline_seeds else ():
                add(part, of, method, seed, None)
    for part, of, seeds in wanted[:-1]:
        if part == "real" and data_sets.described(of.sets["train"])["anomaly"]:
            continue  # it is in no mean, by which ablations are judged
        for name in settings.ablations:
            changed = dict(ABLATIONS[name])
            if "train.steps" in changed:
                changed["train.steps"] *= steps
            for seed in range(min(args.ablation_seeds, seeds)):
                add("ablations", of, name, seed, changed)
    return [job for job in found if job.part in args.only]


def about(
    args: argparse.Namespace, settings: Settings, reals: Mapping[str, DataSet]
) -> dict[str, Any]:
    """What was run, where and with what, for the page."""
    here = bench.here("jax", "flax", "optax", "numpy", "scipy", "scikit-learn")
    return {
        "date": here["date"],
        "smoke": args.smoke,
        "machine": f"{jax.default_backend().upper()}, {here['machine']}",
        "versions": here["versions"],
        "sets": {name: dataclasses.asdict(leaves) for name, leaves in settings.sets.items()},
        "veins": settings.veins._asdict(),
        "real": {name: data_sets.described(of.sets["train"]) for name, of in reals.items()},
        "defaults": defaults(settings),
        "config": options.flat(options.as_json(plain(settings))),
        "ablations": {name: ABLATIONS[name] for name in settings.ablations},
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", help="folder of quality.json; default: studies/quality")
    parser.add_argument("--page", help="default: docs/quality.md; with --smoke OUT/quality.md")
    parser.add_argument("--seeds", type=int, help="of the leaves; default: 5; with --smoke 1")
    parser.add_argument("--vein-seeds", type=int, help="default: 3; with --smoke 1")
    parser.add_argument("--real-seeds", type=int, help="default: 3; with --smoke 1")
    parser.add_argument("--baseline-seeds", type=int, default=2, help="they hardly differ")
    parser.add_argument("--ablation-seeds", type=int, default=1)
    data_sets.add_options(parser)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--smoke", action="store_true", help="a test of it, with tiny scenes")
    parser.add_argument("--render", action="store_true", help="only make the page")
    parser.add_argument("--plan", action="store_true", help="only say which rows are missing")
    parser.add_argument("--fresh", action="store_true", help="measure all rows again")
    args = parser.parse_args()
    args.only = args.only.split(",")
    if unknown := set(args.only) - set(PARTS):
        parser.error(f"--only: expected {', '.join(PARTS)}, found {', '.join(sorted(unknown))}")
    for name, number in (("seeds", 5), ("vein_seeds", 3), ("real_seeds", 3)):
        if getattr(args, name) is None:
            setattr(args, name, 1 if args.smoke else number)
    args.out = args.out or str(
        pathlib.Path(cache_folder(), "smoke") if args.smoke else ROOT / "studies" / "quality"
    )
    args.page = args.page or str(
        pathlib.Path(args.out, "quality.md") if args.smoke else ROOT / "docs" / "quality.md"
    )
    return args


def load(path: str) -> dict[str, Any]:
    """The results so far, of which there may be none."""
    if not os.path.exists(path):
        return {"about": {}, "rows": {}}
    return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))


def save(path: str, results: Mapping[str, Any]) -> None:
    """Writes the results, one row a line, so that a change of one shows as one."""
    text = json.dumps(results["about"], indent=1)
    lines = (
        f"{json.dumps(name)}: {json.dumps(_rounded(row))}"
        for name, row in sorted(results["rows"].items())
    )
    text = f'{{"about": {text},\n"rows": {{\n' + ",\n".join(lines) + "\n}"
    if "clicks" in results:  # of clicks.py
        text += f',\n"clicks": {json.dumps(_rounded(results["clicks"]))}'
    bench.write(path, text + "}\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return value


def drop_stale(
    rows: dict[str, Any], planned: list[Job], settings: Settings, fresh: bool = False
) -> None:
    """Takes out rows of other settings, which would mislead on the page."""
    now = set(defaults(settings).values())
    for name, row in list(rows.items()):
        gone = row["part"] == "ablations" and row["method"] not in settings.ablations
        if row.get("default") not in now or gone:
            del rows[name]
    for job in planned:
        row = rows.get(job.name)
        if row and (fresh or "failed" in row or row["settings"] != fingerprint(job, settings)):
            del rows[job.name]


def run(args: argparse.Namespace, results: dict[str, Any], path: str) -> None:
    """Measures the rows that are missing, and saves after each."""
    settings, reals = settings_of(args.smoke), real_sets(args)
    rows, planned = results["rows"], jobs(args, settings, reals)
    drop_stale(rows, planned, settings, args.fresh)
    missing = [job for job in planned if job.name not in rows]
    counts = {k: sum(kind(job) == k for job in missing) for k in ("training", "baseline")}
    print(
        f"{len(planned)} rows, {len(missing)} missing: {counts['training']} trainings, "
        f"{counts['baseline']} baselines"
    )
    if args.plan:
        print(*(f"  {job.name}" for job in missing), sep="\n")
        return
    data = {name: of.sets for name, of in reals.items()}
    known = results["about"].get("real", {})
    results["about"] |= about(args, settings, reals)
    results["about"]["real"] = known | results["about"]["real"]
    save(path, results)
    maps_folder = os.path.join(cache_folder(), "quality")
    for number, job in enumerate(missing, 1):
        if job.scene not in data:
            data[job.scene] = _simulate(job.scene, settings, results["about"])
        row = rows[job.name] = measured(job, settings, data[job.scene], maps_folder)
        save(path, results)
        print(f"[{number}/{len(missing)}] {job.name}: {quality_tables.line(row)}", flush=True)
        if job.part == "ablations":
            jax.clear_caches()  # each compiles programs of its own


def _simulate(scene: str, settings: Settings, said: dict[str, Any]) -> dict[str, data_sets.Data]:
    """The scenes of a simulator, by what they are there for."""
    if scene == VEINS:
        return {"train": data_sets.vein_data(settings.veins)}
    sets = {name: data_sets.leaf_data(leaves) for name, leaves in settings.sets.items()}
    truth = sets["train"].truth.labels
    stray = sum(agreement.stray_regions(labels) for labels in truth)
    said["truth_stray"] = stray / sum(labels.size for labels in truth) * 1e6
    return sets


def main() -> None:
    """Runs what is asked for, and makes the page."""
    args = arguments()
    path = os.path.join(args.out, "quality.json")
    results = load(path)
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", os.path.join(cache_folder(), "compiled"))
    try:
        if not args.render:
            run(args, results, path)
        if not args.plan:
            bench.write(args.page, quality_page.page(results))
            print(f"{path}\n{args.page}")
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
