"""The tables of `docs/quality.md`: rows of `quality.json` gathered by method, over their seeds.

Results are `{"about": ..., "rows": {name: row}}`, rows as `rows.measured` makes them. Levels of
real data sets are named by what they are to their classes: "K", "2K" and `UNMERGED`.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from studies.quality.baselines import FIXED, METHODS, UNMERGED
from studies.quality.data_sets import LEAVES, VEINS

DGC = "DGC"
START = "start (0 steps)"

Row = dict[str, Any]
Number = float | None

BT, LESION, STRAY, EDGES = "background_tissue", "lesion", "stray", "boundary_f"
ACCURACY, MAJORITY, PURITY, ALIVE = "accuracy", "majority", "purity", "active"
EACH, RAREST = "mean_iou_one_to_one", "rarest_iou"

CHANGES = (
    ("accuracy at K", "K", ACCURACY),
    ("accuracy at 2K", "2K", MAJORITY),
    ("reachable", UNMERGED, MAJORITY),
    ("purity", UNMERGED, PURITY),
)
"""What training may change on real scenes: name, level and measure."""

# --- numbers


def value(row: Row, level: str, of_set: str, measure: str) -> Number:
    """One number of a row; None if it was not measured."""
    if level in ("K", "2K"):
        level = str(row["clusters"][("K", "2K").index(level)])
    found = row["maps"].get(level, {}).get(of_set)
    if found is None:
        return None
    return found["iou"].get(measure) if measure == LESION else found.get(measure)


def values(rows: Iterable[Row], level: str, of_set: str, measure: str) -> list[float]:
    """The numbers of several seeds, as far as they exist."""
    found = (value(row, level, of_set, measure) for row in rows)
    return [number for number in found if number is not None]


def between_seeds(rows: Iterable[Row], level: str, of_set: str) -> list[float]:
    """Adjusted Rand indices between all pairs of seeds."""
    rows = list(rows)
    seeds = {str(row["seed"]) for row in rows}
    each = [row["maps"].get(level, {}).get(of_set, {}).get("ari_with", {}) for row in rows]
    return [ari for pairs in each for seed, ari in pairs.items() if seed in seeds]


def mean(numbers: Sequence[float]) -> Number:
    """The mean; None of nothing."""
    return statistics.fmean(numbers) if numbers else None


def spread(
    numbers: Sequence[float], digits: int = 3, worst: Callable[..., float] | None = min
) -> str:
    """`mean ± deviation (worst)`."""
    if not numbers:
        return "-"
    text = f"{statistics.fmean(numbers):.{digits}f}"
    if len(numbers) > 1:
        text += f" ± {statistics.stdev(numbers):.{digits}f}"
        text += f" ({worst(numbers):.{digits}f})" if worst else ""
    return text


def cell(number: Number, digits: int = 3) -> str:
    """A number, or a dash for None."""
    return "-" if number is None else f"{number:.{digits}f}"


def _short(numbers: Sequence[float], digits: int = 3, worst: Callable[..., float] = min) -> str:
    """`mean (worst)`."""
    text = cell(mean(numbers), digits)
    return f"{text} ({worst(numbers):.{digits}f})" if len(numbers) > 1 else text


def line(row: Row) -> str:
    """A row in a few words, for the screen."""
    if "failed" in row:
        return f"failed: {row['failed']}"
    said = [f"{row['seconds']:.0f} s"]
    simulated = row["scene"] in (LEAVES, VEINS)
    measures = (
        (("background/tissue", BT), ("lesion", LESION), ("mean IoU", EACH))
        if simulated
        else (("accuracy", ACCURACY), ("by majority", MAJORITY), ("rarest IoU", RAREST))
    )
    for level in row["maps"]:
        for name, measure in measures:
            if level != UNMERGED or measure not in (ACCURACY, EACH):
                said.append(f"K={level} {name} {cell(value(row, level, 'train', measure))}")
    purity = value(row, UNMERGED, "train", PURITY)
    return ", ".join(said + ([] if purity is None else [f"purity {purity:.3f}"]))


def data_set(about: Mapping[str, Any]) -> str:
    """A real data set in a line."""
    scenes = ", ".join(
        f"{name} {' x '.join(map(str, shape))}"
        for name, shape in zip(about["scenes"], about["shapes"], strict=True)
    )
    return (
        f"{scenes}; {about['classes']} classes, {about['labelled']} labelled pixels, "
        f"{100 * about['rarest']:.1f} % of them in the rarest class"
        + ("; anomaly data" if about["anomaly"] else "")
    )


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    every = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in every) + "\n"


def groups(results: dict[str, Any], part: str, scene: str) -> dict[str, list[Row]]:
    """Rows by method, DGC first, seeds in order; those of other defaults are left out."""
    now = set(results["about"].get("defaults", {}).values())
    found: dict[str, list[Row]] = {}
    for row in results["rows"].values():
        wanted = row["part"] == part and row["scene"] == scene and "failed" not in row
        if wanted and row["default"] in now:
            found.setdefault(row["method"], []).append(row)
    first = [DGC, START, *METHODS]
    names = sorted(found, key=lambda name: first.index(name) if name in first else len(first))
    return {name: sorted(found[name], key=lambda row: row["seed"]) for name in names}


Scenes = dict[str, dict[str, list[Row]]]


def real_scenes(results: dict[str, Any], *, anomalies: bool | None = False) -> Scenes:
    """Rows by data set and method: of common data, of anomaly data (True), or of both (None)."""
    known = results["about"].get("real", {})
    each = {
        name: groups(results, "real", name)
        for name, about in sorted(known.items())
        if anomalies is None or about["anomaly"] == anomalies
    }
    return {name: of for name, of in each.items() if of}


def over_scenes(scenes: Scenes, method: str, level: str, measure: str) -> dict[str, float]:
    """The mean over the seeds of each data set that was measured."""
    found = {name: mean(values(of.get(method, []), level, "train", measure))
             for name, of in scenes.items()}  # fmt: skip
    return {name: number for name, number in found.items() if number is not None}


def gains(scenes: Scenes, level: str, measure: str) -> dict[str, float]:
    """By how much the end of training exceeds its start, on each data set over the same seeds."""
    found = {}
    for name, of in scenes.items():
        pairs = [
            (value(before, level, "train", measure), value(after, level, "train", measure))
            for before in of.get(START, [])
            for after in of.get(DGC, [])
            if before["seed"] == after["seed"]
        ]
        changes = [b - a for a, b in pairs if a is not None and b is not None]
        if changes:
            found[name] = statistics.fmean(changes)
    return found


def alive(methods: Mapping[str, list[Row]]) -> list[float]:
    """Clusters alive at the end of training over those at its start, seed by seed."""
    start = {row["seed"]: value(row, UNMERGED, "train", ALIVE) for row in methods.get(START, [])}
    end = {row["seed"]: value(row, UNMERGED, "train", ALIVE) for row in methods.get(DGC, [])}
    pairs = ((start.get(seed), number) for seed, number in end.items())
    return [after / before for before, after in pairs if before and after is not None]


# --- sections


def _by_scene(
    scenes: Scenes, level: str, measure: str, digits: int, worst: Callable[..., float] = min
) -> str:
    """A line for each method, a column for each data set, their mean last."""
    lines = []
    for method in (DGC, START, *METHODS):
        each = [values(of.get(method, []), level, "train", measure) for of in scenes.values()]
        if any(each):
            means = [number for numbers in each if (number := mean(numbers)) is not None]
            average = cell(mean(means), digits) if len(means) == len(each) else "-"
            lines.append([method, *(_short(numbers, digits, worst) for numbers in each), average])
    return table(["", *scenes, "mean"], lines)


def real(results: dict[str, Any]) -> str:
    """What was reached on real scenes, by every method."""
    scenes, odd = (real_scenes(results, anomalies=which) for which in (False, True))
    if not scenes and not odd:
        return "None was measured; name some with `--real` or `--real-folder`.\n"
    text = "\n".join(
        f"- *{name}*: {data_set(results['about']['real'][name])}." for name in {**scenes, **odd}
    )
    text += "\n"
    for title, level, measure, digits in (
        ("Accuracy at K = the number of classes, one to one", "K", ACCURACY, 3),
        ("Accuracy at 2K, by majority", "2K", MAJORITY, 3),
        ("Reachable accuracy, all leaves by majority", UNMERGED, MAJORITY, 3),
        ("Dendrogram purity", UNMERGED, PURITY, 3),
        ("Edges at K, boundary F", "K", EDGES, 3),
        ("Stray regions at K, a megapixel", "K", STRAY, 0),
    ):
        if scenes:
            worst = max if measure == STRAY else min
            text += f"\n### {title}\n\n" + _by_scene(scenes, level, measure, digits, worst)
    if odd:
        text += (
            "\n### Anomaly data: rarest IoU\n\nLess than 3 % of the labelled pixels lie outside "
            "the commonest class. Accuracy says nothing there, so these data sets are in no mean "
            "above; shown is the IoU of the rarest class with the one cluster that fits it best.\n"
        )
        for level in ("K", "2K", UNMERGED):
            text += f"\n{level}:\n\n" + _by_scene(odd, level, RAREST, 3)
    return text


def leaves(results: dict[str, Any], part: str, scene: str, levels: Sequence[str]) -> str:
    """A table for each number of clusters of simulated leaves: every method."""
    methods, text = groups(results, part, scene), ""
    for level in (*levels, UNMERGED):
        lines = []
        for method, rows in methods.items():
            if not values(rows, level, "train", BT):
                continue
            cells = [
                spread(values(rows, level, "train", measure))
                for measure in (BT, LESION, EACH, "nmi")
            ]
            pairs = between_seeds(rows, level, "train")
            cells.append(_short(pairs))
            cells.append(spread(values(rows, level, "train", STRAY), 0, max))
            cells.append(spread(values(rows, level, "train", EDGES)))
            cells.append(spread([row["training"]["seconds"] for row in rows], 0, max))
            lines.append([method, *cells])
        if lines:
            title = "Before merging" if level == UNMERGED else f"K = {level}"
            head = ["", "background/tissue", "lesion", "mean IoU one to one", "NMI"]
            head += ["between seeds", "stray", "edges", "seconds"]
            text += f"\n### {title}\n\n" + table(head, lines)
    return text or "\nNot measured.\n"


def generalisation(results: dict[str, Any]) -> str:
    """Every method on the scenes trained on, unseen ones, and unseen ones in other light."""
    sets = list(results["about"].get("sets", {}))
    lines = []
    for method, rows in groups(results, "leaves", LEAVES).items():
        cells = [spread(values(rows, "4", of_set, m)) for m in (BT, LESION) for of_set in sets]
        lines.append([method, *cells])
    head = [f"{name}, {of_set}" for name in ("background/tissue", "lesion") for of_set in sets]
    return table(["K = 4", *head], lines)


def trainings(results: dict[str, Any]) -> str:
    """Seed by seed: what training changed, and what could be seen of it without labels."""
    text = ""
    levels = [*CHANGES, ("rarest IoU at 2K", "2K", RAREST)]
    text += _changes(real_scenes(results, anomalies=None), levels)
    simulated = {
        name: of
        for part, name in (("leaves", LEAVES), ("veins", VEINS))
        if (of := groups(results, part, name))
    }
    levels = [
        ("K = 4 background/tissue", "4", BT),
        ("K = 4 lesion", "4", LESION),
        ("K = 4 mean IoU one to one", "4", EACH),
        *CHANGES[2:],
    ]
    return text + "\n" + _changes(simulated, levels)


def _changes(scenes: Scenes, levels: Sequence[tuple[str, str, str]]) -> str:
    lines = []
    for scene, of in scenes.items():
        start = {row["seed"]: row for row in of.get(START, [])}
        for row in of.get(DGC, []):
            before, said = start.get(row["seed"]), row["training"]
            cells = [scene, str(row["seed"]), str(said["steps"])]
            for _, level, measure in (*levels, ("", UNMERGED, ALIVE)):
                was = None if before is None else value(before, level, "train", measure)
                digits = 0 if measure == ALIVE else 3
                now = value(row, level, "train", measure)
                cells.append(f"{cell(was, digits)} → {cell(now, digits)}")
            cells += [cell(said["banks_agree"]), cell(said["nmi_between_epochs"])]
            lines.append([*cells, f"{said['seconds']:.0f}"])
    head = ["", "seed", "steps", *(name for name, _, _ in levels), "alive"]
    return table([*head, "banks agree", "NMI between epochs", "seconds"], lines)


def ablations(results: dict[str, Any]) -> str:
    """A line for each ablation, the recipe with as many seeds above them."""
    about = results["about"]
    reals = {
        name: groups(results, "ablations", name) for name in real_scenes(results, anomalies=False)
    }
    own = groups(results, "ablations", LEAVES)
    seeds = {row["seed"] for of in (own, *reals.values()) for rows in of.values() for row in rows}
    recipe: Scenes = {name: _same(of, seeds) for name, of in real_scenes(results).items()}
    lines = [_ablation("the recipe", recipe, _same(groups(results, "leaves", LEAVES), seeds), DGC)]
    for name, fields in about.get("ablations", {}).items():
        if name in own or any(name in of for of in reals.values()):
            lines.append(_ablation(f"{name} {_said(fields)}", reals, own, name))
    head = ["", "real: seeds", *(f"real: {name}" for name, _, _ in CHANGES), "leaves: seeds"]
    head += ["K=4 mean IoU one to one", "K=4 lesion", "K=4 background/tissue", "K=4 stray"]
    text = table(head, lines)
    for row in results["rows"].values():
        if "failed" in row:
            text += f"\n{row['scene']}, {row['method']}, seed {row['seed']}: {row['failed']}\n"
    return text


def _same(methods: dict[str, list[Row]], seeds: set[int]) -> dict[str, list[Row]]:
    return {name: [r for r in rows if r["seed"] in seeds] for name, rows in methods.items()}


def _said(fields: Mapping[str, Any]) -> str:
    def shown(field: str, setting: Any) -> str:
        if field == "train.steps":
            return f"{setting} x"
        return "K" if field == "clusters.train" and setting is None else f"{setting}"

    return ", ".join(f"`{field}={shown(field, setting)}`" for field, setting in fields.items())


def _ablation(
    title: str, reals: Scenes, simulated: Mapping[str, list[Row]], method: str
) -> list[str]:
    measured = [len(of.get(method, [])) for of in reals.values()]
    cells = [title, str(min(measured, default=0))]
    for _, level, measure in CHANGES:
        each = over_scenes(reals, method, level, measure)
        cells.append(cell(mean(list(each.values()))) if len(each) == len(reals) else "-")
    rows = simulated.get(method, [])
    cells.append(str(len(rows)))
    for measure in (EACH, LESION, BT):
        cells.append(spread(values(rows, "4", "train", measure)))
    return [*cells, spread(values(rows, "4", "train", STRAY), 0, None)]


def best_fixed(scenes: Scenes) -> dict[str, tuple[str, float]]:
    """Of each data set the fixed baseline with the greatest accuracy at K, and that."""
    each = {method: over_scenes(scenes, method, "K", ACCURACY) for method in FIXED}
    found = {}
    for name in scenes:
        known = {method: of[name] for method, of in each.items() if name in of}
        if known:
            best = max(known, key=lambda method: known[method])
            found[name] = best, known[best]
    return found
