"""How far several seeds agree, as a picture and a table; both show what `stability.json` holds."""

import os
from collections.abc import Mapping
from typing import Any

import rich.console
import rich.table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dgc_jax.files import replacing

_CURVES = {"ari": ("ARI", "#0072b2"), "nmi": ("NMI", "#d55e00")}
_VALID = 0.75  # Hennig 2007: clusters of this overlap and more count as stable


def plot_stability(path: str | os.PathLike[str], result: Mapping[str, Any]) -> None:
    """Draws agreement over the number of clusters, and how stable each cluster is, as PNG.

    Above, mean (line) and least (dashed) ARI and NMI of all pairs of seeds; below, the stability of
    each cluster of the reference at the suggested level and at the finest, in the maps' colours;
    the dotted line is Hennig's bound for a stable cluster.

    Args:
        path: file to write.
        result: content of `stability.json`.

    Raises:
        InputError: the file cannot be written.
    """
    levels = {level["clusters"]: level for level in result["levels"]}
    suggested = result["suggested"]["clusters"]
    shown = sorted({suggested, max(levels)})
    figure = Figure(figsize=(9, 7), dpi=150, layout="constrained")
    grid = figure.add_gridspec(2, len(shown), width_ratios=[2 + k for k in shown])
    _curves(figure.add_subplot(grid[0, :]), levels, suggested, len(result["seeds"]))
    for column, clusters in enumerate(shown):
        plot = figure.add_subplot(grid[1, column])
        _bars(plot, levels[clusters])
        if column == 0:
            plot.set_ylabel("stability (mean Jaccard overlap)")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _curves(plot: Axes, levels: Mapping[int, Mapping[str, Any]], suggested: int, n: int) -> None:
    numbers = sorted(levels)
    for key, (name, colour) in _CURVES.items():
        for which, style in (("mean", "o-"), ("min", "o--")):
            values = [levels[k][key][which] for k in numbers]
            width, label = (1.8, "mean") if which == "mean" else (0.9, "worst pair")
            plot.plot(
                numbers, values, style, color=colour, linewidth=width, markersize=3.5,
                label=f"{name}, {label}",
            )  # fmt: skip
    plot.axvline(suggested, color="0.6", linewidth=6, alpha=0.35, zorder=0)
    plot.annotate(
        f" {suggested} clusters", (suggested, 0.03), xycoords=("data", "axes fraction"), color="0.3"
    )
    plot.set_title(f"agreement between {n} seeds", loc="left", fontsize="medium")
    plot.set_xlabel("number of clusters")
    plot.set_ylabel("agreement (1: the same maps)")
    plot.xaxis.set_major_locator(MaxNLocator(integer=True))
    plot.set_ylim(min(0.0, *(level["ari"]["min"] for level in levels.values())), 1.02)
    _plain(plot)
    plot.legend(
        frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1, 1), fontsize="small",
        borderaxespad=0,
    )  # fmt: skip


def _bars(plot: Axes, level: Mapping[str, Any]) -> None:
    clusters = level["per_cluster"]
    places = range(len(clusters))
    heights = [cluster["stability"] or 0 for cluster in clusters]
    plot.bar(places, heights, color=[c["colour"] for c in clusters], edgecolor="0.25")
    worst = [cluster["worst"] or 0 for cluster in clusters]
    for colour, width in (("white", 3.5), ("black", 1.5)):  # seen on bars of any colour
        plot.plot(places, worst, "_", color=colour, markersize=8 + width, markeredgewidth=width)
    plot.axhline(_VALID, color="0.4", linewidth=0.8, linestyle=":")
    small = "small" if len(clusters) <= 24 else 5
    plot.set_xticks(places, [str(cluster["id"]) for cluster in clusters], fontsize=small)
    plot.set_ylim(0, 1.02)
    plot.set_title(f"each of {level['clusters']} clusters", loc="left", fontsize="medium")
    plot.set_xlabel("cluster (mark: worst seed)")
    _plain(plot)


def _plain(plot: Axes) -> None:
    plot.grid(color="0.9", axis="y")
    plot.set_axisbelow(True)
    plot.spines[["top", "right"]].set_visible(False)


def print_stability(result: Mapping[str, Any], console: rich.console.Console) -> None:
    """Prints a line for each level, and which of them is suggested.

    `weakest` is the reference's least stable cluster and its stability.

    Args:
        result: content of `stability.json`.
        console: where to print.
    """
    title = f"Agreement between {len(result['seeds'])} seeds"
    table = rich.table.Table(title=title, title_justify="left")
    for heading in ("clusters", "ARI", "worst", "NMI", "worst", "unanimous", "weakest"):
        table.add_column(heading, justify="right")
    table.add_column("")
    suggested = result["suggested"]
    for level in result["levels"]:
        k, known = level["clusters"], [c for c in level["per_cluster"] if c["pixels"]]
        least = min(known, key=lambda cluster: cluster["stability"])
        agreement = [f"{level[key][each]:.3f}" for key in _CURVES for each in ("mean", "min")]
        mark = "suggested" if k == suggested["clusters"] else "peak" * (k in suggested["peaks"])
        table.add_row(
            str(k),
            *agreement,
            f"{100 * level['consensus']['unanimous']:.1f} %",
            f"{least['id']}: {least['stability']:.2f}",
            mark,
        )
    console.print(table)
    console.print(suggested["in_words"], highlight=False, soft_wrap=True)
