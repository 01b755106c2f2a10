"""How far several seeds of one configuration agree: the command `dgc stability`.

    folder/seed-<n>/, .log              see `dgc_jax.commands.seeds`
    folder/seed-<n>/report.html         of the reference, made again with the curve in it
    folder/stability.json, .png         the measures, see docs/stability.md
    folder/consensus/<K>/<scene>.png    what most seeds say: palette PNG in the reference's colours
    folder/consensus/<K>/<scene>_agreement.png   grey, the share of seeds that say it: 255 = all,
                                        0 = no data

Consensus maps are written of every level of up to 16 clusters, and of the finest.
"""

import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rich.console
from PIL import Image

from dgc_jax import configuration, lock, manifest, terminal
from dgc_jax.apply import metrics, stability, view
from dgc_jax.apply.segmenter import Segmenter, load
from dgc_jax.commands import seeds
from dgc_jax.commands.report import report
from dgc_jax.config import Config
from dgc_jax.data import provenance
from dgc_jax.data.scenes import Scene
from dgc_jax.errors import InputError
from dgc_jax.files import replacing
from dgc_jax.model import tree
from dgc_jax.model.information import normalised_mutual_information
from dgc_jax.phases import track
from dgc_jax.show import maps, results
from dgc_jax.show.stability import plot_stability, print_stability
from dgc_jax.train import options

_DRAWN = 16  # clusters up to which consensus maps are written

_DEFINITIONS = {
    "ari": "adjusted Rand index between the maps of two seeds: 1 equal, 0 as alike as by chance",
    "nmi": "mutual information of two maps over the mean of their entropies, 0..1",
    "stability": "of a cluster of the reference: its best Jaccard overlap with a cluster of "
    "another seed at the same level, mean over the other seeds; worst: least over them",
    "consensus": "the label that most seeds give a pixel, their clusters matched one to one with "
    "the reference's; agreement: share of seeds that give it, mean over pixels; unanimous: share "
    "of pixels for which all do",
    "reference": "the seed whose finest map has the highest mean ARI with those of the others",
    "within": f"levels whose mean ARI is at most {stability.TOLERANCE} below that of the best "
    "level; suggested: the one of most clusters",
    "peaks": f"local maxima of the mean ARI that rise by {stability.TOLERANCE} or more above the "
    "lowest level between them and a better one",
}


def compare_seeds(
    path: str,
    fields: Sequence[str] = (),
    *,
    number: int,
    workdir: str | None = None,
    at_once: int = 1,
    console: rich.console.Console | None = None,
) -> dict[str, Any]:
    """Trains several seeds, measures how far they agree, and writes it down.

    Interrupted, the same command goes on where it stopped; with more seeds it adds those.

    Args:
        path: preset, workdir or configuration file, see `dgc_jax.configuration.read`.
        fields: settings such as `--config.train.steps=10`.
        number: of seeds: `config.seed` and those that follow on it.
        workdir: folder for all of it; None: `runs/<name of the configuration>-stability`.
        at_once: how many are trained at once, each by a process of its own.
        console: where progress and results are shown.

    Returns:
        The content of `stability.json`.

    Raises:
        InputError: if the configuration, the scenes or the folder cannot be used.
        DivergedError: if a loss is not finite.
        LostError: if the process of a seed fails.
    """
    console = console or terminal.Console()
    for argument, value, least in (("number=", number, 2), ("at_once=", at_once, 1)):
        if not least <= value <= 255:
            raise InputError(argument, expected=f"a number from {least} to 255", found=value)
    config = configuration.read(path, fields)
    options.check(config)
    if config.clusters.final < 2:
        raise InputError("clusters.final", expected="at least 2 clusters to compare", found="1")
    folder = workdir or os.path.join("runs", f"{configuration.name(path)}-stability")
    chosen = range(config.seed, config.seed + number)
    with lock.alone(folder, "workdir"):
        return _compare(config, (path, fields), folder, chosen, at_once, console)


def _compare(
    config: Config,
    asked: tuple[str, Sequence[str]],
    folder: str,
    chosen: Sequence[int],
    at_once: int,
    console: rich.console.Console,
) -> dict[str, Any]:
    path, fields = asked
    _check_names(config, folder)
    if at_once > 1:
        options.scenes(config)  # where they are simulated, this is done once
        seeds.train_at_once(path, fields, folder, chosen, at_once, console)
    else:
        seeds.train_in_turn(path, fields, folder, chosen, console)
        console.rule("agreement", align="left")
    manifest.begin(folder, "stability", "all", ["stability.json", "stability.png"])
    result = {"configuration": configuration.name(path)} | measure(config, folder, chosen, console)
    with (
        replacing(os.path.join(folder, "stability.json")) as temporary,
        open(temporary, "w", encoding="utf-8") as file,
    ):
        json.dump(result, file, indent=1, allow_nan=False)
    plot_stability(os.path.join(folder, "stability.png"), result)
    source = {"models": [seed["model"] for seed in result["seeds"]]}
    source |= provenance.of_scenes(options.scenes(config))
    levels = [level["clusters"] for level in result["levels"] if level["consensus"]["maps"]]
    written = [*_consensus(result["scenes"], levels), "stability.json", "stability.png"]
    manifest.finish(folder, "stability", "all", source, written)
    report(os.path.join(folder, result["reference"]["workdir"]), console=console)
    print_stability(result, console)
    _say_what_next(folder, result, console)
    return result


def measure(
    config: Config,
    folder: str,
    numbers: Sequence[int],
    console: rich.console.Console,
) -> dict[str, Any]:
    """Measures how far finished runs agree, and writes their consensus.

    Args:
        config: of all of them but for the seed.
        folder: where the runs are, and `consensus/` will be.
        numbers: their seeds.
        console: where progress is shown.

    Returns:
        The content of `stability.json`.

    Raises:
        InputError: if a run or a map is not there, or a file cannot be written.
    """
    models = [load(seeds.run_folder(folder, seed)) for seed in numbers]
    clusters = [model.clusters for model in models]
    finest = min(clusters)
    if finest < 2:
        raise InputError(
            f"seed {numbers[clusters.index(finest)]}",
            expected="at least 2 clusters to compare",
            found="1 that has pixels",
            remedy="look at its maps",
        )
    scenes = options.scenes(config)
    counted: stability.Tables | None = None
    names = [scene.cube.name for scene in scenes]
    for scene in track(scenes, "comparing", console):
        found = _maps(folder, numbers, models, scene)
        counted = stability.add(counted, stability.count(found, clusters))
    tables = counted or {}
    cuts = {
        k: [tree.cut_ids(m.tree.linkage, m.tree.live, m.tree.lookup, k) for m in models]
        for k in range(2, finest + 1)
    }
    aris = {k: stability.pairwise(tables, cuts[k], metrics.adjusted_rand_index) for k in cuts}
    nmis = {k: stability.pairwise(tables, cuts[k], normalised_mutual_information) for k in cuts}
    chosen = stability.medoid(aris[finest])
    # The reference's table first, then the others': of equal votes the reference's counts.
    order = sorted(range(len(models)), key=lambda index: index != chosen)
    tables_of = {k: [_to_reference(tables, cuts[k], chosen, i) for i in order] for k in cuts}
    drawn = [k for k in cuts if k <= _DRAWN or k == finest]
    manifest.begin(folder, "stability", "all", _consensus(names, drawn))
    shares = _write_consensus(
        folder,
        [numbers[i] for i in order],
        scenes,
        tables_of,
        [models[i] for i in order],
        drawn,
        console,
    )
    levels = [
        {
            "clusters": k,
            "ari": _of_pairs(aris[k], numbers),
            "nmi": _of_pairs(nmis[k], numbers),
            "per_cluster": _per_cluster(models[chosen], tables, cuts[k], chosen),
            "consensus": shares[k],
        }
        for k in cuts
    ]
    mean_ari = aris[finest].sum(axis=1) - 1
    return {
        "definitions": _DEFINITIONS,
        "seeds": [
            {
                "seed": seed,
                "workdir": os.path.basename(seeds.run_folder(folder, seed)),
                "model": model.identity,
                "clusters": model.clusters,
                "mean_ari": float(mean_ari[index]) / (len(models) - 1),
            }
            for index, (seed, model) in enumerate(zip(numbers, models, strict=True))
        ],
        "reference": {
            "seed": numbers[chosen],
            "workdir": os.path.basename(seeds.run_folder(folder, numbers[chosen])),
            "model": models[chosen].identity,
        },
        "scenes": names,
        "pixels": int(tables[0, 1].sum()),
        "levels": levels,
        "suggested": _suggested({k: _of_pairs(aris[k], numbers)["mean"] for k in cuts}),
    }


def _consensus(scenes: Sequence[str], levels: Sequence[int]) -> list[str]:
    """Names in the folder of the consensus maps of some levels."""
    endings = (".png", "_agreement.png")
    return [f"consensus/{k}/{name}{end}" for k in levels for name in scenes for end in endings]


def _check_names(config: Config, folder: str) -> None:
    """Refuses scenes whose consensus maps would overwrite one another."""
    wanted = {("maps", name): _consensus([name], [2]) for name in options.names(config)}
    manifest.refuse_clashes(os.path.join(folder, "consensus"), "data.scenes", wanted, foreign=False)


def _maps(
    folder: str, numbers: Sequence[int], models: Sequence[Segmenter], scene: Scene
) -> list[np.ndarray]:
    """The maps that the runs have written of a scene, `[row, column]` uint8 each."""
    found = []
    for seed, model in zip(numbers, models, strict=True):
        where = os.path.join(seeds.run_folder(folder, seed), "maps")
        why = results.plan(model, scene.cube, where).why
        if why is not None:
            raise InputError(
                where,
                expected="the finished map of every scene",
                found=f"none of {scene.cube.name} ({why or 'nothing tells of one'})",
                remedy="delete summary.json beside it and repeat the command, which writes the "
                "maps",
            )
        found.append(results.read_map(where, scene.cube.name, ("envi",), scene.cube.shape[:2]))
    return found


def _to_reference(
    tables: stability.Tables, cuts: Sequence[np.ndarray], chosen: int, index: int
) -> np.ndarray:
    """`[K + 1]` uint8: the reference's id at a level for each label of a model's finest map."""
    if index == chosen:
        return np.concatenate([[0], cuts[chosen]]).astype(np.uint8)
    folded = stability.fold(stability.between(tables, chosen, index), cuts[chosen], cuts[index])
    return stability.align(folded, np.unique(cuts[chosen]), cuts[index])


def _write_consensus(
    folder: str,
    numbers: Sequence[int],
    scenes: Sequence[Scene],
    tables_of: Mapping[int, Sequence[np.ndarray]],
    models: Sequence[Segmenter],
    drawn: Sequence[int],
    console: rich.console.Console,
) -> dict[int, dict[str, Any]]:
    """Votes at every level, scene by scene; returns what `stability.json` says of each level.

    Args:
        folder: of the runs.
        numbers: seeds, the reference's first.
        scenes: of all runs.
        tables_of: of each level, the reference's id for each label of each seed.
        models: of the seeds; ids and colours are those of the first.
        drawn: levels of which maps are written.
        console: where progress is shown.
    """
    votes = {k: np.zeros(len(numbers) + 1, np.int64) for k in tables_of}
    for scene in track(scenes, "voting", console):
        found = _maps(folder, numbers, models, scene)
        for k, lookups in tables_of.items():
            said = stability.vote([table[m] for table, m in zip(lookups, found, strict=True)])
            votes[k] += maps.pixels_per_label(said.votes, len(numbers))
            if k in drawn:
                stem = os.path.join(folder, "consensus", str(k), scene.cube.name)
                maps.write_png(f"{stem}.png", said.labels, models[0].colours)
                share = np.round(np.arange(len(numbers) + 1) * (255 / len(numbers)))
                with replacing(f"{stem}_agreement.png") as temporary:
                    Image.fromarray(share.astype(np.uint8)[said.votes]).save(temporary, "png")
    return {
        k: {
            "agreement": float(n @ np.arange(len(n)) / (n[1:].sum() * (len(n) - 1))),
            "unanimous": float(n[-1] / n[1:].sum()),
            "maps": f"consensus/{k}" if k in drawn else None,
        }
        for k, n in votes.items()
    }


def _per_cluster(
    reference: Segmenter, tables: stability.Tables, cuts: Sequence[np.ndarray], chosen: int
) -> list[dict[str, Any]]:
    """What `stability.json` says of each of the reference's clusters at a level."""
    folded = [
        stability.fold(stability.between(tables, chosen, index), cuts[chosen], cut)
        for index, cut in enumerate(cuts)
        if index != chosen
    ]
    overlaps = np.array([stability.best_overlaps(counts) for counts in folded])
    pixels = folded[0].sum(axis=1)
    groups = view.cut(reference, len(pixels))
    return [
        {
            "id": group.id,
            "name": group.name,
            "colour": group.colour,
            "of": np.unique(reference.tree.shown[list(group.of)]).tolist(),
            "pixels": int(pixels[row]),
            "percent": 100 * float(pixels[row] / pixels.sum()),
            "stability": _or_none(overlaps[:, row].mean()),
            "worst": _or_none(overlaps[:, row].min()),
        }
        for row, group in enumerate(groups)
    ]


def _of_pairs(values: np.ndarray, numbers: Sequence[int]) -> dict[str, Any]:
    pairs = list(itertools.combinations(range(len(numbers)), 2))
    each = [float(values[pair]) for pair in pairs]
    return {
        "mean": sum(each) / len(each),
        "min": min(each),
        "pairs": [
            {"seeds": [numbers[i], numbers[j]], "value": value}
            for (i, j), value in zip(pairs, each, strict=True)
        ],
    }


def _suggested(agreement: Mapping[int, float]) -> dict[str, Any]:
    """Which levels are stable, in numbers and in words."""
    stable = stability.stable_levels(agreement)

    def told(k: int) -> str:
        return f"{k} ({agreement[k]:.3f})"

    best = max(agreement, key=lambda k: agreement[k])
    words = f"Seeds agree best at {best} clusters (mean ARI {agreement[best]:.3f})"
    if stable.suggested > best:
        words += f", and within {stability.TOLERANCE} of that up to {told(stable.suggested)}"
    finer = {k: value for k, value in agreement.items() if k > 2}
    if stable.suggested == 2 and finer:  # two clusters are easily agreed on, being coarse
        words += f"; beyond two, at {told(max(finer, key=lambda k: finer[k]))}"
    if peaks := [told(k) for k in stable.peaks if k > stable.suggested]:
        words += f"; peaks at more clusters: {', '.join(peaks)}"
    return {
        "clusters": stable.suggested,
        "within": list(stable.within),
        "peaks": list(stable.peaks),
        "in_words": f"{words}.",
    }


def _say_what_next(folder: str, result: Mapping[str, Any], console: rich.console.Console) -> None:
    clusters, reference = result["suggested"]["clusters"], result["reference"]["workdir"]
    model = next(seed for seed in result["seeds"] if seed["workdir"] == reference)
    picture = os.path.join(folder, "stability.png")
    consensus = os.path.join(folder, "consensus", str(clusters))
    console.print(f"Agreement: {picture}", markup=False, soft_wrap=True)
    workdir = os.path.join(folder, reference)
    console.print(f"Report: {os.path.join(workdir, 'report.html')}", markup=False, soft_wrap=True)
    console.print(f"Consensus: {consensus}/<scene>.png", markup=False, soft_wrap=True)
    if clusters < model["clusters"]:
        todo = f"dgc merge {workdir} --clusters {clusters}"
    else:
        todo = f"dgc segment {workdir} SCENES --out DIR"
    console.print(f"Use it: {todo}", markup=False, soft_wrap=True)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
