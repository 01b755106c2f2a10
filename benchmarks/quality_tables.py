"""The tables of `docs/quality.md`: rows of `quality.json` gathered by method, over their seeds.

Results are `{"about": ..., "rows": {name: row}}`, rows as `rows.measured` makes them.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from baselines import METHODS, UNMERGED

START = "start (0 steps)"
LONGER = "3 x the steps"
NEVER_STOPPED = "3 x the steps, never stopped early"

Row = dict[str, Any]
Number = float | None

BT, LESION, STRAY, EDGES = "background_tissue", "lesion", "stray", "boundary_f"

# --- numbers


def value(row: Row, clusters: str, of_set: str, measure: str) -> Number:
    """One number of a row; None if it was not measured."""
    found = row["maps"].get(clusters, {}).get(of_set)
    if found is None:
        return None
    return found["iou"].get(measure) if measure == LESION else found[measure]


def values(rows: Iterable[Row], clusters: str, of_set: str, measure: str) -> list[float]:
    """The numbers of several seeds, as far as they exist."""
    found = (value(row, clusters, of_set, measure) for row in rows)
    return [number for number in found if number is not None]


def between_seeds(rows: Iterable[Row], clusters: str, of_set: str) -> list[float]:
    """Adjusted Rand indices between all pairs of seeds."""
    rows = list(rows)
    seeds = {str(row["seed"]) for row in rows}
    each = [row["maps"].get(clusters, {}).get(of_set, {}).get("ari_with", {}) for row in rows]
    return [ari for pairs in each for seed, ari in pairs.items() if seed in seeds]


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


def line(row: Row) -> str:
    """A row in a few words, for the screen."""
    if "failed" in row:
        return f"failed: {row['failed']}"
    said = [f"{row['seconds']:.0f} s"]
    for clusters in row["maps"]:
        for name, measure in (
            ("background/tissue", BT),
            ("lesion", LESION),
            ("accuracy", "accuracy"),
        ):
            number = value(row, clusters, "train", measure)
            if number is None or (row["scene"] == "leaves") == (name == "accuracy"):
                continue
            said.append(f"K={clusters} {name} {number:.3f}")
    return ", ".join(said)


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    every = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in every) + "\n"


def groups(results: dict[str, Any], part: str, scene: str = "leaves") -> dict[str, list[Row]]:
    """Rows by method, seeds in order; those of other defaults than the run's are left out."""
    default = results["about"].get("default")
    found: dict[str, list[Row]] = {}
    for row in results["rows"].values():
        wanted = row["part"] == part and row["scene"] == scene and "failed" not in row
        if wanted and row.get("default") in (None, default):
            found.setdefault(row["method"], []).append(row)
    return {method: sorted(rows, key=lambda row: row["seed"]) for method, rows in found.items()}


def _methods(results: dict[str, Any]) -> dict[str, list[Row]]:
    rivals = groups(results, "baselines")
    return {
        **groups(results, "dgc"),
        **groups(results, "start"),
        **{name: rivals[name] for name in METHODS if name in rivals},
    }


def _mean(numbers: Sequence[float]) -> float:
    return statistics.fmean(numbers)


# --- sections


def main_tables(results: dict[str, Any]) -> str:
    """A table for each number of clusters: every method on the training scenes."""
    text = ""
    methods = _methods(results)
    found = {number for rows in methods.values() for row in rows for number in row["maps"]}
    for clusters in [*sorted(found - {UNMERGED}, key=int), *sorted(found & {UNMERGED})]:
        head = ["", "background/tissue", "lesion", "NMI", "ARI", "between seeds", "stray"]
        lines = []
        for method, rows in methods.items():
            if not values(rows, clusters, "train", BT):
                continue
            cells = [spread(values(rows, clusters, "train", m)) for m in (BT, LESION, "nmi", "ari")]
            pairs = between_seeds(rows, clusters, "train")
            cells.append(f"{_mean(pairs):.3f} ({min(pairs):.3f})" if pairs else "-")
            cells.append(spread(values(rows, clusters, "train", STRAY), 0, max))
            cells.append(spread(values(rows, clusters, "train", EDGES)))
            cells.append(spread([row["training"]["seconds"] for row in rows], 0, max))
            lines.append([method, *cells])
        title = "Before merging" if clusters == UNMERGED else f"K = {clusters}"
        text += f"\n### {title}\n\n" + table([*head, "edges", "seconds"], lines)
    return text


def each_iou(results: dict[str, Any]) -> str:
    """Background, tissue and lesion IoU of the training and of its start."""
    lines = [
        [f"{method}, K = {k}"]
        + [spread(values(rows, k, "train", m)) for m in ("background_iou", "tissue_iou", LESION)]
        for method, rows in {**groups(results, "dgc"), **groups(results, "start")}.items()
        for k in ("2", "4", "16")
        if values(rows, k, "train", BT)
    ]
    return table(["", "background IoU", "tissue IoU", "lesion IoU"], lines)


def generalisation(results: dict[str, Any]) -> str:
    """Every method on the scenes trained on, unseen ones, and unseen ones in other light."""
    sets = list(results["about"]["sets"])
    lines = []
    for method, rows in _methods(results).items():
        cells = [spread(values(rows, "4", of_set, m)) for m in (BT, LESION) for of_set in sets]
        lines.append([method, *cells])
    head = [f"{name}, {of_set}" for name in ("background/tissue", "lesion") for of_set in sets]
    return table(["K = 4", *head], lines)


def trainings(results: dict[str, Any]) -> str:
    """Seed by seed: what training changed, and what could be seen of it without labels."""
    start = {row["seed"]: row for rows in groups(results, "start").values() for row in rows}
    longer = groups(results, "ablations")
    lines = []
    for name, rows in [*groups(results, "dgc").items(), *longer.items()]:
        if name not in ("DGC", LONGER, NEVER_STOPPED):
            continue
        for row in rows:
            about, before = row["training"], start.get(row["seed"])
            cells = [name, str(row["seed"]), str(about["steps"])]
            for measure in (BT, LESION):
                was = None if before is None else value(before, "4", "train", measure)
                cells.append(f"{_cell(was)} → {_cell(value(row, '4', 'train', measure))}")
            soft = about["soft_information_start"], about["soft_information_end"]
            cells.append(f"{_cell(soft[0], 2)} → {_cell(soft[1], 2)}")
            cells.append(_cell(about["nmi_between_epochs"]))
            cells.append(_cell(value(row, UNMERGED, "train", "active"), 0))
            lines.append([*cells, f"{about['seconds']:.0f}"])
    head = ["", "seed", "steps", "background/tissue", "lesion", "soft information, nats"]
    return table([*head, "NMI between epochs", "active clusters", "seconds"], lines)


def _cell(number: Number, digits: int = 3) -> str:
    return "-" if number is None else f"{number:.{digits}f}"


def ablations(results: dict[str, Any]) -> str:
    """A line for each ablation, the recipe with as many seeds above them."""
    about = results["about"]
    seeds = about["ablation_seeds"]
    plain = {f"the recipe ({name})": rows[:seeds] for name, rows in groups(results, "dgc").items()}
    done = groups(results, "ablations")
    lines = []
    for name, rows in {**plain, **{n: done[n] for n in about["ablations"] if n in done}}.items():
        fields = about["ablations"].get(name, {})
        sets = ", ".join(
            f"`{field}={f'{setting} x' if field == 'train.steps' else setting}`"
            for field, setting in fields.items()
        )
        pairs = between_seeds(rows, "4", "train")
        lines.append(
            [
                f"{name} {sets}".strip(),
                str(len(rows)),
                spread(values(rows, "2", "train", BT)),
                spread(values(rows, "4", "train", BT)),
                spread(values(rows, "4", "train", LESION)),
                spread(values(rows, UNMERGED, "train", LESION)),
                f"{_mean(pairs):.3f}" if pairs else "-",
                spread(values(rows, "4", "train", STRAY), 0, None),
                spread(values(rows, "4", "other light", BT), 3, None),
                spread(values(rows, "4", "other light", LESION), 3, None),
            ]
        )
    head = ["", "seeds", "K=2 background/tissue", "K=4 background/tissue", "K=4 lesion"]
    head += ["unmerged lesion", "K=4 between seeds", "K=4 stray", "other light b/t"]
    text = table([*head, "other light lesion"], lines)
    for row in results["rows"].values():
        if "failed" in row:
            text += f"\n{row['method']}, seed {row['seed']}, failed: {row['failed']}\n"
    return text


def real_scenes(results: dict[str, Any]) -> dict[str, dict[str, list[Row]]]:
    """Rows of every real scene by method."""
    names = sorted({r["scene"] for r in results["rows"].values() if r["part"] == "real"})
    return {name: groups(results, "real", name) for name in names}


def accuracies(rows: Sequence[Row], measure: str = "accuracy") -> list[float]:
    """Accuracy of every seed on a real scene, K = the number of classes."""
    return [
        float(maps["train"][measure])
        for row in rows
        for number, maps in row["maps"].items()
        if number != UNMERGED
    ]


def real(results: dict[str, Any]) -> str:
    """Overall accuracy and NMI of every method on the real scenes."""
    scenes = real_scenes(results)
    if not scenes:
        return "None was measured; name some with `--real`.\n"
    lines = []
    for method in ("DGC", START, *METHODS):
        each = [of.get(method, []) for of in scenes.values()]
        if all(each):
            cells = [spread(accuracies(rows)) for rows in each]
            cells += [spread(accuracies(rows, "nmi"), 3, None) for rows in each]
            cells.append(f"{_mean([_mean(accuracies(rows)) for rows in each]):.3f}")
            lines.append([method, *cells])
    head = [*scenes, *(f"{name}, NMI" for name in scenes), "mean accuracy"]
    return table(["", *head], lines)
