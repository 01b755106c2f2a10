"""What a run measured, as tables and curves: cluster spectra, areas and scores.

Clusters are numbered 1..K as in the label maps and drawn in the maps' colours. CSV files are UTF-8
with a header line; a cell is empty where there is nothing to say (no wavelength, no pixels). Names
that a spreadsheet would take for formulas have a `'` before them.
"""

import csv
import itertools
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import rich.console
import rich.table
import rich.text
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dgc_jax.apply.spectra import Spectra, standard_deviation
from dgc_jax.files import replacing
from dgc_jax.show.maps import pixels_per_label
from dgc_jax.show.overlay import percent, shorten

PAPER = {"K = 2": (0.972, 0.878), "K = 4": (0.944, 0.780)}
"""What the paper reports on its leaf scenes: background IoU, tissue IoU. Its mean for K = 2 is
printed as 0.935; that of the two numbers is 0.925."""


class Area(NamedTuple):
    """One line of the areas table: how much of a scene a cluster covers.

    Attributes:
        scene: name of the scene.
        cluster: id, 1..K.
        name: name of the cluster.
        pixels: pixels of the cluster.
        percent: share of the scene's valid pixels, per cent.
    """

    scene: str
    cluster: int
    name: str
    pixels: int
    percent: float


def areas(scene: str, labels: np.ndarray, names: Sequence[str]) -> list[Area]:
    """Counts the clusters of one scene.

    Args:
        scene: name of the scene.
        labels: `[row, column]` uint8, 0 = no data.
        names: name of each cluster.

    Returns:
        One line a cluster, also for those without pixels; none for an id whose name is "".
    """
    return areas_of(scene, pixels_per_label(labels, len(names))[1:], names)


def areas_of(scene: str, pixels: np.ndarray, names: Sequence[str]) -> list[Area]:
    """The same of the pixels of each cluster `[K]`, counted already."""
    shares = 100 * pixels / max(1, pixels.sum())
    return [
        Area(scene, cluster, name, int(count), float(share))
        for cluster, (name, count, share) in enumerate(zip(names, pixels, shares, strict=True), 1)
        if name
    ]


def write_areas_csv(path: str | os.PathLike[str], rows: Iterable[Area]) -> None:
    """Writes the areas of one or more scenes: scene, cluster, name, pixels, percent.

    Args:
        path: file to write.
        rows: lines from `areas`.

    Raises:
        InputError: the file cannot be written.
    """
    lines = ((*row[:4], f"{row.percent:.4f}") for row in rows)
    _write_csv(path, Area._fields, lines)


class SceneConfidence(NamedTuple):
    """One line of the confidence table: how sure the labels of a scene are.

    Attributes:
        scene: name of the scene.
        pixels: valid pixels.
        mean_margin: mean over them of the greatest probability less the second; None: no pixels.
        percent_below_half: share of them whose margin is below 0.5, per cent; None: no pixels.
        unlike_pixels: those that are unlike any cluster; None: the model has no similarity floor.
        unlike_percent: their share, per cent; None: as above, or no pixels.
        similarity_floor: cosine to the nearest centroid below which a pixel is unlike any cluster.
    """

    scene: str
    pixels: int
    mean_margin: float | None
    percent_below_half: float | None
    unlike_pixels: int | None
    unlike_percent: float | None
    similarity_floor: float | None


def write_confidence_csv(path: str | os.PathLike[str], rows: Iterable[SceneConfidence]) -> None:
    """Writes how sure the labels of one or more scenes are, a line a scene.

    Args:
        path: file to write.
        rows: lines, columns as the attributes of `SceneConfidence`; None is an empty cell.

    Raises:
        InputError: the file cannot be written.
    """
    lines = ([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in rows)
    _write_csv(path, SceneConfidence._fields, lines)


def write_spectra_csv(
    path: str | os.PathLike[str],
    wavelengths: np.ndarray | None,
    spectra: Spectra,
    names: Sequence[str],
) -> None:
    """Writes mean and standard deviation of the reflectance of each cluster, a line a band.

    Columns: `band` (counted from 0), `wavelength_nm`, then `<name>_mean`, `<name>_std` a cluster.

    Args:
        path: file to write.
        wavelengths: `[band]` nm, or None.
        spectra: statistics of K clusters.
        names: name of each cluster; one named "" is left out.

    Raises:
        InputError: the file cannot be written.
    """
    spread = standard_deviation(spectra)
    columns = [f"{name}_{what}" for name in names if name for what in ("mean", "std")]

    def line(band: int) -> list[str]:
        cells = [str(band), "" if wavelengths is None else f"{wavelengths[band]:.6g}"]
        for cluster in (index for index, name in enumerate(names) if name):
            pair = (spectra.mean[cluster, band], spread[cluster, band])
            cells += [f"{v:.6g}" if spectra.count[cluster] else "" for v in pair]
        return cells

    lines = (line(band) for band in range(spectra.mean.shape[1]))
    _write_csv(path, ("band", "wavelength_nm", *columns), lines)


def plot_spectra(
    path: str | os.PathLike[str],
    wavelengths: np.ndarray | None,
    spectra: Spectra,
    names: Sequence[str],
    colours: np.ndarray,
) -> None:
    """Draws the mean spectrum of each cluster with a band of one standard deviation, as PNG.

    Args:
        path: file to write.
        wavelengths: `[band]` nm, or None (the bands are then numbered from 0).
        spectra: statistics of K clusters; those without pixels are left out.
        names: name of each cluster.
        colours: `[cluster + 1, 3]` uint8, row 0 for no data.

    Raises:
        InputError: the file cannot be written.
    """
    bands = spectra.mean.shape[1]
    axis = np.arange(bands, dtype=float) if wavelengths is None else np.asarray(wavelengths)
    breaks = _breaks(axis)
    spread = standard_deviation(spectra)
    shares = 100 * spectra.count / max(1, spectra.count.sum())
    figure = Figure(figsize=(9, 5), dpi=150, layout="constrained")
    plot = figure.add_subplot()
    present = np.flatnonzero(spectra.count).tolist()
    haze = 0.15 if len(present) <= 8 else 0.06
    lines, legend = [], []
    for row in present:
        colour = colours[row + 1] / 255
        x, mean, std = (
            np.insert(v, breaks, np.nan) for v in (axis, spectra.mean[row], spread[row])
        )
        # A thin dark rim keeps pale colours readable on white.
        plot.plot(x, mean, color="0.25", linewidth=2.2)
        marker = "o" if bands <= 12 else None
        lines += plot.plot(x, mean, color=colour, linewidth=1.6, marker=marker)
        plot.fill_between(x, mean - std, mean + std, color=colour, alpha=haze, linewidth=0)
        legend.append(f"{shorten(names[row])}  {percent(shares[row])}")
    plot.set_xlabel("band" if wavelengths is None else "wavelength (nm)")
    plot.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    plot.set_ylabel("reflectance (mean ± standard deviation)")
    plot.margins(x=0.01)
    plot.grid(color="0.9")
    plot.set_axisbelow(True)
    plot.spines[["top", "right"]].set_visible(False)
    if lines:
        box = figure.legend(
            lines, legend, loc="outside right upper", frameon=False, ncols=1 + len(lines) // 25
        )
        for text in box.get_texts():
            text.set_parse_math(False)  # a name may hold dollar signs
    with replacing(path) as temporary, warnings.catch_warnings():
        # A script that the font lacks shows as boxes, which is no reason to fail or to alarm.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(temporary, format="png")


def _breaks(axis: np.ndarray) -> np.ndarray:
    """Where bands were left out: positions before which a curve must be interrupted."""
    steps = np.diff(axis)
    return np.flatnonzero(steps > 5 * np.median(steps)) + 1 if len(steps) > 1 else np.array([], int)


def print_scores(scores: Mapping[str, Any], console: rich.console.Console) -> None:
    """Prints the scores as tables; background/tissue scores with the paper's numbers beside.

    Args:
        scores: from `dgc_jax.apply.metrics.scores`.
        console: where to print.
    """
    each = rich.table.Table(title="Agreement with the labels", title_justify="left")
    each.add_column("class")
    for heading in ("IoU", "Dice"):
        each.add_column(heading, justify="right")
    each.add_column("clusters")
    for name, value in scores["iou"].items():
        clusters = [k for k, to in scores["cluster_to_class"].items() if to == name]
        each.add_row(
            rich.text.Text(name), _number(value), _number(scores["dice"][name]), " ".join(clusters)
        )
    each.add_section()
    each.add_row("mean", _number(scores["mean_iou"]), _number(scores["mean_dice"]), "")
    console.print(each)
    if "tissue_iou" in scores:
        two = rich.table.Table(title="Background and tissue (majority map)", title_justify="left")
        two.add_column("IoU")
        for heading in ("here", *(f"paper, {k}" for k in PAPER)):
            two.add_column(heading, justify="right")
        for index, key in enumerate(("background_iou", "tissue_iou")):
            paper = (_number(values[index]) for values in PAPER.values())
            two.add_row(key.removesuffix("_iou"), _number(scores[key]), *paper)
        means = (_number(sum(values) / 2) for values in PAPER.values())
        two.add_row("mean", _number(scores["background_tissue_mean_iou"]), *means)
        two.caption = "The paper's data are other leaves; it prints 0.935 for its mean at K = 2."
        console.print(two)
    overall = ("accuracy", "kappa", "nmi", "ari", "vi")
    console.print("   ".join(f"{key} {_number(scores[key])}" for key in overall))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _write_csv(
    path: str | os.PathLike[str], header: Sequence[str], lines: Iterable[Sequence[Any]]
) -> None:
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for line in itertools.chain([header], lines):
            writer.writerow(map(_defused, line))


def _defused(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: names that begin like one get a `'` before.

    As OWASP advises ("CSV Injection"); numbers stay as they are, those below zero too.
    """
    if not isinstance(cell, str) or not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
