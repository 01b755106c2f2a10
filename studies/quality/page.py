"""`docs/quality.md` from `quality.json`: its text, the targets with what was reached, a reading.

Every number and verdict is computed here and in `quality_tables`; nothing is judged by hand.
"""

from collections.abc import Callable, Sequence
from typing import Any

from studies.quality import tables
from studies.quality.baselines import MERGED, METHODS, PLAIN, UNMERGED
from studies.quality.data_sets import LEAVES, VEINS
from studies.quality.tables import ACCURACY, BT, CHANGES, DGC, EACH, LESION, STRAY, mean, values

_MEASURES = """
- *accuracy at K*: share of the labelled pixels whose cluster stands for their class, K = the number
  of classes, clusters mapped one to one (Hungarian method). *at 2K*: twice as many clusters, each
  on the class of most of its pixels. *reachable*: all leaves of the tree, likewise.
- *purity*: dendrogram purity (Heller & Ghahramani 2005): over all pairs of pixels of one class the
  mean share of that class in the smallest group of the tree that holds both.
- *rarest IoU*: of the rarest class with the one cluster that fits it best.
- *background/tissue*: mean IoU of background (both kinds) and tissue (healthy and lesion), every
  cluster on one of the two by majority. *lesion*: IoU of the lesion class, every cluster on one of
  the four classes by majority. *mean IoU one to one*: of the four classes, clusters mapped one to
  one. *NMI*: against the four classes.
- *between seeds*: adjusted Rand index between the maps of two seeds; mean over all pairs, least in
  brackets.
- *stray*: 4-connected regions of one cluster with fewer than 10 pixels, a megapixel. *edges*:
  F-score of the map's boundaries against the true ones, 2 pixels tolerance, over labelled
  pixels; a dash where no two classes touch.
- *alive*: clusters with at least 0.1 % of the pixels. *banks agree*: how well the cuts of the trees
  that were compared agree, seen without labels.
- Other cells: mean over seeds (± standard deviation), the worst seed in brackets. *seconds*: to
  train from read crops, compiling included, or to fit, on a machine that others used, too.
- All maps of a row are cut from one training; its tree is chosen at `clusters.final` = the number
  of classes, 4 for leaves. *unmerged* are the leaves of the tree. *start* is the same
  configuration with 0 steps.
- Baselines are fitted to 50 000 pixels at most, K-means with the best of 5 starts. *K-means 64,
  merged* joins clusters of z-scored spectra by the same four views and the same vote as DGC.
"""


def page(results: dict[str, Any]) -> str:
    """The page, as Markdown."""
    about = results["about"]
    if not about:
        return "# Quality\n\nNothing is measured yet; run `python -m studies.quality.study`.\n"
    commits = sorted({row["commit"] for row in results["rows"].values()})
    sets = "\n".join(
        f"- *{name}*: {of['scenes']} simulated leaf scenes of {of['size']} x {of['size']} pixels "
        f"and {of['bands']} bands, seed {of['seed']}, light {of['light']:g}, "
        f"{100 * of['lesion_share']:g} % lesion"
        for name, of in about["sets"].items()
    )
    veins, config = about["veins"], about["config"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    smoke = (
        "**A test run with tiny scenes: the numbers mean nothing.**\n\n" if about["smoke"] else ""
    )
    truth = ""
    if "truth_stray" in about:
        truth = f"\nThe true maps have {about['truth_stray']:.0f} stray regions a megapixel.\n"
    return f"""# Quality

{smoke}Written by `python -m studies.quality.study` from `studies/quality/quality.json`.
Measured until {about["date"]} at {", ".join(commits) or "no commit"} on {about["machine"]};
{versions}. Training sees no label. One fixed setting for all data, that of `configs/default.py`:
{config["clusters.train"]} trained clusters, at most {config["train.steps"]} steps.

## Real scenes

{tables.real(results)}
{clicks(results)}## Targets

{targets(results)}
## In short

{reading(results)}
## What the numbers are

{_MEASURES.strip()}

## Leaves

The simulation is described in [data.md](data.md). Models are trained on the first of these sets and
applied to all; the tables are those of the first.

{sets}
{truth}{tables.leaves(results, "leaves", LEAVES, ("2", "4", "16"))}
### Unseen scenes

{tables.generalisation(results)}
## Vein leaves

A second simulator, made apart from the first (`studies/quality/vein_leaves.py`): {veins["scenes"]}
scenes of {veins["size"]} x {veins["size"]} pixels and {veins["bands"]} bands, seed {veins["seed"]}.
{tables.leaves(results, "veins", VEINS, ("4", "5", "6"))}
## Start against end

{tables.trainings(results)}
## Ablations

Each line changes the named fields of the recipe and nothing else. Real: means over the data sets
that are no anomaly data; with one seed small differences may be chance.

{tables.ablations(results)}"""


def clicks(results: dict[str, Any]) -> str:
    """How far a few named pixels get, from `studies/quality/clicks.py`; "" if it has not run."""
    found = results.get("clicks")
    if not found:
        return ""
    head = ["data set", "clicks a class", "named clusters", "of reachable", "nearest spectrum"]
    head += ["random forest", "reachable", "DGC at K, no click"]
    lines = []
    for name, row in found["rows"].items():
        for number, methods in row["clicks"].items():
            ours, *rivals = (f"{m['mean']:.3f} ({m['low']:.3f})" for m in methods.values())
            share = methods["named clusters"]["mean"] / row["reachable"]
            fixed = [f"{row['reachable']:.3f}", f"{row['at K']:.3f}"]
            lines.append([name, number, ours, f"{share:.1%}", *rivals, *fixed])
    return f"""## Names from a few clicks

Written by `python -m studies.quality.clicks` at {found["commit"]}: accuracy over labelled pixels
that were not clicked, mean of {found["draws"]} random draws of clicks for each of {found["seeds"]}
trainings, in brackets that which nine draws in ten exceed. The clusters of one training are named
by `dgc name`'s rule (`dgc_jax.model.naming`); the rivals see the clicked spectra alone.

{tables.table(head, lines)}
"""


class _Lines:
    """The table of targets, line by line."""

    def __init__(self) -> None:
        self.lines: list[list[str]] = []

    def add(
        self,
        measure: str,
        asked: float | None,
        reached: float | None,
        worst: float | None,
        *,
        most: bool = False,
    ) -> None:
        """Adds a line: at least (or at most) what was asked, None if nothing was."""
        bound = "-" if asked is None else f"{'<=' if most else '>='} {asked:g}"
        verdict = "-"
        if asked is not None and reached is not None:
            verdict = "pass" if (reached <= asked if most else reached >= asked) else "miss"
        shown = "not measured" if reached is None else f"{reached:.4f}"
        self.lines.append([measure, bound, shown, tables.cell(worst, 4), verdict])

    def judge(
        self,
        measure: str,
        asked: float,
        numbers: Sequence[float],
        by: Callable[[Sequence[float]], float] | None = None,
        *,
        most: bool = False,
    ) -> None:
        """Adds a line about the mean of some numbers, or what `by` makes of them."""
        reached = (by or mean)(numbers) if numbers else None
        worst = (max if most else min)(numbers, default=None)
        self.add(measure, asked, reached, worst, most=most)


def targets(results: dict[str, Any]) -> str:
    """A line for each target: what was asked, what was reached, whether that is a pass."""
    found = _Lines()
    _real_targets(results, found)
    leaves = tables.groups(results, "leaves", LEAVES)
    dgc = leaves.get(DGC, [])
    ratios = tables.alive(leaves) + tables.alive(tables.groups(results, "veins", VEINS))
    for of in tables.real_scenes(results, anomalies=None).values():
        ratios += tables.alive(of)
    found.judge("clusters alive at the end / at the start, worst of all", 0.8, ratios, min)
    numbers = values(dgc, "4", "train", EACH)
    found.judge("leaves, K = 4: mean IoU of the classes, worst seed", 0.90, numbers, min)
    for level in ("2", "4"):
        numbers = values(dgc, level, "train", BT)
        found.judge(f"leaves, K = {level}: background/tissue, worst seed", 0.995, numbers, min)
    lesion = values(dgc, "4", "train", LESION)
    found.judge("leaves, K = 4: lesion, mean", 0.95, lesion)
    found.judge("leaves, K = 4: lesion, worst seed", 0.93, lesion, min)
    pairs = tables.between_seeds(dgc, "4", "train")
    found.judge("leaves, K = 4: ARI between seeds, mean", 0.98, pairs)
    drops = [
        seen - unseen
        for row in dgc
        if (seen := tables.value(row, "4", "train", LESION)) is not None
        and (unseen := tables.value(row, "4", "same light", LESION)) is not None
    ]
    found.judge("leaves, K = 4: lesion, drop on unseen scenes, mean", 0.02, drops, most=True)
    other = values(dgc, "4", "other light", LESION)
    found.judge("leaves, K = 4: lesion, unseen in stronger light, mean", 0.91, other)
    own = values(dgc, "4", "train", STRAY)
    for method in PLAIN:
        theirs = mean(values(leaves.get(method, []), "4", "train", STRAY))
        shares = [stray / theirs for stray in own] if theirs else []
        found.judge(f"leaves, K = 4: stray regions / {method}", 0.5, shares, most=True)
    head = ["target", "asked", "reached", "worst", ""]
    return tables.table(head, found.lines)


def _real_targets(results: dict[str, Any], found: _Lines) -> None:
    scenes = tables.real_scenes(results)
    accuracy = tables.over_scenes(scenes, DGC, "K", ACCURACY)
    name = f"{len(accuracy)} real data sets: accuracy at K, mean"
    found.judge(name, 0.82, list(accuracy.values()))
    behind = {
        scene: best - accuracy[scene]
        for scene, (_, best) in tables.best_fixed(scenes).items()
        if scene in accuracy
    }
    most = max(behind.values(), default=None)
    name = "real: accuracy at K below the best of four fixed baselines, worst data set"
    found.add(name, 0.05, most, most, most=True)
    for name, level, measure in CHANGES:
        gains = list(tables.gains(scenes, level, measure).values())
        judged, least = measure == ACCURACY, min(gains, default=None)
        title = f"real: {name}, end less start"
        found.add(f"{title}, mean", 0.02 if judged else None, mean(gains), least)
        found.add(f"{title}, worst data set", -0.01 if judged else None, least, least)


def reading(results: dict[str, Any]) -> str:
    """Sentences that say what the tables hold; nothing in them is judged by hand."""
    said = _of_real(results)
    leaves = tables.groups(results, "leaves", LEAVES)
    veins = tables.groups(results, "veins", VEINS)
    for methods, level, measure, name in (
        (leaves, "2", BT, "Leaves, background/tissue at K = 2"),
        (leaves, "4", BT, "Leaves, background/tissue at K = 4"),
        (leaves, "4", LESION, "Leaves, lesion at K = 4"),
        (leaves, "4", EACH, "Leaves, mean IoU one to one at K = 4"),
        (veins, "4", LESION, "Vein leaves, lesion at K = 4"),
        (veins, "6", LESION, "Vein leaves, lesion at K = 6"),
    ):
        each = {m: values(rows, level, "train", measure) for m, rows in methods.items()}
        own = each.pop(DGC, [])
        others = {m: numbers for m, numbers in each.items() if numbers}
        if own and others:
            best = max(others, key=lambda m: min(others[m]))
            said.append(
                f"- {name}: DGC {tables.spread(own)}; of the others the one with the best worst "
                f"seed is {best}, {tables.spread(others[best])}."
            )
    dgc = leaves.get(DGC, [])
    unmerged, merged = (values(dgc, level, "train", LESION) for level in (UNMERGED, "4"))
    if unmerged and merged:
        said.append(
            f"- Leaves, map and tree: the leaves of the tree hold a lesion IoU of "
            f"{tables.spread(unmerged)}, of which the cut to K = 4 keeps {tables.spread(merged)}."
        )
    return "\n".join(said or ["- Nothing is measured yet."]) + "\n"


def _of_real(results: dict[str, Any]) -> list[str]:
    scenes, said = tables.real_scenes(results), []
    means = {}
    for method in (DGC, tables.START, *METHODS):
        each = tables.over_scenes(scenes, method, "K", ACCURACY)
        if scenes and len(each) == len(scenes):
            means[method] = sum(each.values()) / len(each)
    if DGC in means:
        said.append(
            "- Real scenes, mean accuracy at K: "
            + ", ".join(f"{m} {number:.3f}" for m, number in means.items())
            + "."
        )
    own = tables.over_scenes(scenes, DGC, "K", ACCURACY)
    for name, (best, accuracy) in tables.best_fixed(scenes).items():
        if name in own:
            said.append(
                f"- {name}: DGC {own[name]:.3f}; of the four fixed baselines the best is {best}, "
                f"{accuracy:.3f}."
            )
    for name, level, measure in CHANGES:
        gains = tables.gains(scenes, level, measure)
        if gains:
            each = ", ".join(f"{scene} {gain:+.3f}" for scene, gain in gains.items())
            said.append(
                f"- Training changes {name} by {sum(gains.values()) / len(gains):+.3f} on average "
                f"({each})."
            )
    for name, of in tables.real_scenes(results, anomalies=True).items():
        pair = [mean(values(of.get(m, []), "2K", "train", tables.RAREST)) for m in (DGC, MERGED)]
        said.append(
            f"- {name}, rarest IoU at 2K: DGC {tables.cell(pair[0])}, {MERGED} "
            f"{tables.cell(pair[1])}."
        )
    return said
