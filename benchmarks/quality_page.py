"""`docs/quality.md` from `quality.json`: its text, the targets with what was reached, a reading.

Every number and verdict is computed here and in `quality_tables`; nothing is judged by hand.
"""

import statistics
from typing import Any

import quality_tables as tables
from baselines import PLAIN, UNMERGED
from quality_tables import BT, LESION, STRAY, Row, values

_MEASURES = """
- *background/tissue*: mean IoU of background (both kinds) and tissue (healthy and lesion), every
  cluster on one of the two by majority. *lesion*: IoU of the lesion class, every cluster on one of
  the four classes by majority. *NMI*, *ARI*: against the four classes.
- *between seeds*: adjusted Rand index between the maps of two seeds; mean over all pairs, least in
  brackets.
- *stray*: 4-connected regions of one cluster with fewer than 10 pixels, a megapixel. *edges*:
  F-score of the map's boundaries against the true ones, 2 pixels tolerance.
- Other cells: mean ± standard deviation over seeds, the worst seed in brackets. *seconds*: to train
  from read crops, compiling included, or to fit, on a machine that others used, too.
- Maps of K = 2, 4 and 16 are cut from one training a seed: the models differ in `clusters.final`
  alone, which training does not read. *unmerged* is the map of the trained clusters before merging,
  scored in the same way: it tells what the map knows apart from what the merge keeps.
- Baselines are fitted to 50 000 pixels of the training scenes, K-means with the best of 5 starts.
  *merged*: 64 or 32 clusters of L2-normalised spectra in 20 nm bins, merged by average linkage on
  the cosine distance of their mean raw spectra.
"""

_LEAST_NOISE = 0.005  # differences between seeds below this count as none


def page(results: dict[str, Any]) -> str:
    """The page, as Markdown."""
    about = results["about"]
    commits = sorted({row["commit"] for row in results["rows"].values()})
    sets = "\n".join(
        f"- *{name}*: {of['scenes']} simulated leaf scenes of {of['size']} x {of['size']} pixels "
        f"and {of['bands']} bands, seed {of['seed']}, light {of['light']:g}, "
        f"{100 * of['lesion_share']:g} % lesion"
        for name, of in about["sets"].items()
    )
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    smoke = (
        "**A test run with tiny scenes: the numbers mean nothing.**\n\n" if about["smoke"] else ""
    )
    config = about["config"]
    truth = ""
    if "truth_stray" in about:
        truth = f"- The true maps have {about['truth_stray']:.0f} stray regions a megapixel.\n"
    return f"""# Quality

{smoke}Written by `python benchmarks/quality.py` from `benchmarks/results/quality.json`.
Measured until {about["date"]} at {", ".join(commits)} on {about["machine"]}; {versions}.

## What was run

Training sees no label. One fixed setting, that of `configs/default.py`: {config["clusters.train"]}
trained clusters, at most {config["train.steps"]} steps, {about["seeds"]} seeds. The simulation is
described in [data.md](data.md). Models are trained on the first of these sets and applied to all:

{sets}

{_MEASURES.strip()}
{truth}
## Targets

{targets(results)}
## In short

{reading(results)}
## Training scenes
{tables.main_tables(results)}
### Each IoU

{tables.each_iou(results)}
## Unseen scenes

{tables.generalisation(results)}
## What training changes

Start → end, on the training scenes at K = 4. Soft information is H(mean q) - mean H(q) on the probe
crops. A cluster is active with at least 0.1 % of the pixels.

{tables.trainings(results)}
## Ablations

Each line changes the named fields of the recipe and nothing else.

{tables.ablations(results)}
## Real scenes

Overall accuracy, clusters mapped one to one; K = the number of classes.

{tables.real(results)}"""


def targets(results: dict[str, Any]) -> str:
    """A line for each target: what was asked, what was reached, whether that is a pass."""
    dgc = _rows(results, "dgc", "DGC")
    lines: list[list[str]] = []

    def add(measure: str, asked: str, reached: float | None, passed: bool, digits: int = 4) -> None:
        shown = "not measured" if reached is None else f"{reached:.{digits}f}"
        verdict = "-" if reached is None else "pass" if passed else "miss"
        lines.append([measure, asked, shown, verdict])

    def at_least(measure: str, bound: float, reached: float | None) -> None:
        add(measure, f">= {bound}", reached, reached is not None and reached >= bound)

    for clusters in ("2", "4"):
        worst = min(values(dgc, clusters, "train", BT), default=None)
        at_least(f"K = {clusters}: background/tissue, worst seed", 0.995, worst)
    lesion = values(dgc, "4", "train", LESION)
    at_least("K = 4: lesion IoU, mean", 0.90, _mean(lesion))
    at_least("K = 4: lesion IoU, worst seed", 0.85, min(lesion, default=None))
    at_least("K = 4: ARI between seeds, mean", 0.98, _mean(tables.between_seeds(dgc, "4", "train")))

    plain = {m: _mean(values(_rows(results, "baselines", m), "4", "train", STRAY)) for m in PLAIN}
    known = {method: stray for method, stray in plain.items() if stray}
    own = _mean(values(dgc, "4", "train", STRAY))
    for method, stray in known.items():
        share = None if own is None else own / stray
        ok = share is not None and share <= 0.2
        add(f"K = 4: stray regions, share of those of {method}", "<= 0.2", share, ok)

    for measure, name in ((BT, "background/tissue"), (LESION, "lesion")):
        seen, unseen = (_mean(values(dgc, "4", of, measure)) for of in ("train", "same light"))
        drop = None if seen is None or unseen is None else seen - unseen
        ok = drop is not None and drop <= 0.02
        add(f"K = 4: {name}, drop on unseen scenes in the same light", "<= 0.02", drop, ok)

    start = _rows(results, "start", tables.START)
    for name, rows in (
        ("DGC", dgc),
        *((n, _rows(results, "ablations", n)) for n in (tables.LONGER, tables.NEVER_STOPPED)),
    ):
        for measure, said in ((BT, "background/tissue"), (LESION, "lesion")):
            gains = _gains(start, rows, measure)
            noise = max(2 * _deviation(values(start, "4", "train", measure)), _LEAST_NOISE)
            least = min(gains, default=None)
            ok = least is not None and least >= -noise
            asked = f">= -{noise:.3f} (noise: 2 sd of the start)"
            add(f"K = 4: {said} of {name} less its start's, worst seed", asked, least, ok)

    real = tables.real_scenes(results)
    each = [_mean(tables.accuracies(of.get("DGC", []))) for of in real.values()]
    accuracy = _mean([number for number in each if number is not None])
    at_least(f"{len(real)} real scenes: mean overall accuracy", 0.85, accuracy)
    return tables.table(["target, on the training scenes", "asked", "reached", ""], lines)


def reading(results: dict[str, Any]) -> str:
    """Sentences that say what the tables hold; nothing in them is judged by hand."""
    dgc, said = _rows(results, "dgc", "DGC"), []
    start = _rows(results, "start", tables.START)
    rivals = {
        m: r for m, r in {**_all(results, "start"), **_all(results, "baselines")}.items() if r
    }
    for clusters, measure, name in (
        ("2", BT, "background/tissue at K = 2"),
        ("4", BT, "background/tissue at K = 4"),
        ("4", LESION, "lesion IoU at K = 4"),
    ):
        own = values(dgc, clusters, "train", measure)
        others = {m: values(r, clusters, "train", measure) for m, r in rivals.items()}
        others = {m: numbers for m, numbers in others.items() if numbers}
        if own and others:
            best = max(others, key=lambda m: min(others[m]))
            said.append(
                f"- {name}: DGC {tables.spread(own)}; of the rivals the one with the best worst "
                f"seed is {best}, {tables.spread(others[best])}."
            )
    for measure, name in ((BT, "background/tissue"), (LESION, "lesion IoU")):
        gains = _gains(start, dgc, measure)
        if gains:
            said.append(
                f"- Training changes the start's {name} at K = 4 by {_mean(gains):+.3f} on "
                f"average, by seed from {min(gains):+.3f} to {max(gains):+.3f}."
            )
    map_of, merged = (values(dgc, k, "train", LESION) for k in (UNMERGED, "4"))
    if map_of and merged:
        said.append(
            f"- Map and merge: the trained clusters hold a lesion IoU of {tables.spread(map_of)}, "
            f"of which the merge to K = 4 keeps {tables.spread(merged)}."
        )
    for of_set in ("same light", "other light"):
        pairs = [values(dgc, "4", of_set, m) for m in (BT, LESION)]
        if all(pairs):
            said.append(
                f"- Unseen scenes, {of_set}, K = 4: background/tissue {tables.spread(pairs[0])}, "
                f"lesion {tables.spread(pairs[1])}."
            )
    said += _compared(results, dgc)
    return "\n".join(said or ["- Nothing is measured yet."]) + "\n"


def _compared(results: dict[str, Any], dgc: list[Row]) -> list[str]:
    """Which ablations are beyond noise better or worse than the recipe with the same seeds."""
    better: list[str] = []
    worse: list[str] = []
    level: list[str] = []
    for name, rows in tables.groups(results, "ablations").items():
        changes = [
            number
            for measure in (BT, LESION)
            if (number := _change(dgc, rows, measure)) is not None
        ]
        if not changes:
            continue
        into = worse if min(changes) < 0 else better if max(changes) > 0 else level
        into.append(name)
    return [
        f"- Ablations {how} at K = 4 (mean over the same seeds, background/tissue and lesion, "
        "beyond 2 standard errors; those of fewer than 3 seeds are taken from the spread of the "
        f"recipe's seeds): {', '.join(names) or 'none'}."
        for how, names in (
            ("that lower one of the two", worse),
            ("that raise one and lower none", better),
            ("without a difference", level),
        )
        if better or worse or level
    ]


def _change(dgc: list[Row], rows: list[Row], measure: str) -> float | None:
    """Mean change against the recipe, seed by seed; 0 within two standard errors, or if small.

    One or two seeds do not tell how much they vary: it is then taken from the recipe's own seeds.
    """
    changes = _gains(dgc, rows, measure)
    if not changes:
        return None
    spread = _deviation(changes)
    if len(changes) < 3:
        known = [tables.value(row, "4", "train", measure) for row in dgc]
        spread = 2**0.5 * _deviation([number for number in known if number is not None])
    mean, error = statistics.fmean(changes), spread / len(changes) ** 0.5
    return 0.0 if abs(mean) <= max(2 * error, _LEAST_NOISE) else mean


def _gains(before: list[Row], after: list[Row], measure: str) -> list[float]:
    """By how much the same seeds differ, on the training scenes at K = 4."""
    was = {row["seed"]: tables.value(row, "4", "train", measure) for row in before}
    now = {row["seed"]: tables.value(row, "4", "train", measure) for row in after}
    pairs = ((was.get(seed), number) for seed, number in now.items())
    return [b - a for a, b in pairs if a is not None and b is not None]


def _all(results: dict[str, Any], part: str) -> dict[str, list[Row]]:
    return tables.groups(results, part)


def _rows(results: dict[str, Any], part: str, method: str) -> list[Row]:
    return tables.groups(results, part).get(method, [])


def _mean(numbers: list[float]) -> float | None:
    return statistics.fmean(numbers) if numbers else None


def _deviation(numbers: list[float]) -> float:
    return statistics.stdev(numbers) if len(numbers) > 1 else 0.0
