"""`report.html`: one self-contained page in which a person walks along the tree of clusters.

The page holds everything, opens from the disk and asks no network (a content security policy says
so to the browser). Python gives it data, at the model's finest level; merging, recolouring and
scoring happen in the browser, by the same rules as `dgc_jax.apply.view` and
`dgc_jax.apply.metrics`, which the tests compare. All text from files (names of scenes and classes,
headers) enters the page as data and is shown as text, never as markup.
"""

import base64
import datetime
import functools
import hashlib
import importlib.metadata
import importlib.resources
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from scipy.cluster import hierarchy

from dgc_jax.apply.segmenter import Segmenter
from dgc_jax.apply.spectra import combine, empty, standard_deviation
from dgc_jax.config import flat
from dgc_jax.files import replacing
from dgc_jax.model import tree
from dgc_jax.model.cluster_tree import Group
from dgc_jax.show import rival
from dgc_jax.show.confidence import MANY
from dgc_jax.show.palette import colours
from dgc_jax.show.portrait import Portrait, packed
from dgc_jax.show.tables import PAPER

_SCRIPTS = (
    "groups.js", "charts.js", "maps.js", "viewer.js",
    "legend.js", "pixel.js", "hints.js", "page.js",
)  # fmt: skip
_WATCHED = {f"monitor/{name}" for name in ("nmi", "entropy", "soft_information", "active_clusters")}
_POINTS = 1000  # of a curve
_NO_DATA = 0.5  # share of a scene from which on it is worth a word
_SEEDS_AGREE = 0.9  # least adjusted Rand index between seeds at a level that is marked
_AGREEMENT = 0.7  # adjusted Rand index between starts below which the map is worth a warning
_DEAD = 0.25  # share of the trained centroids, likewise
_COLLAPSED = 0.98  # share of all pixels in one cluster
_TINY = 20  # pixels, of all scenes, below which a cluster is suspicious
_REFLECTANCE = 1.5  # median brightness above which numbers cannot be reflectance
_OUTLIER = 3.0  # robust standard deviations of the log brightness
_LEAST_OUTLIER = 0.25  # and at least so much brighter or darker, log


def write_report(
    path: str | os.PathLike[str],
    segmenter: Segmenter,
    portraits: Sequence[Portrait],
    *,
    title: str = "",
    summary: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, float]] = (),
    groups: Sequence[Group] | None = None,
    stability: Mapping[str, Any] | None = None,
) -> None:
    """Writes the report of a model and some scenes.

    Args:
        path: file to write.
        segmenter: the model, not seen through a view.
        portraits: of the scenes.
        title: of the page, such as the name of the run.
        summary: content of `summary.json`, or None.
        history: the lines of `metrics.jsonl`.
        groups: the view that the page opens with; None: the clusters that the model shows.
        stability: content of `stability.json`, or None.

    Raises:
        InputError: if the file cannot be written.
    """
    scenes = [portrait.as_json() for portrait in portraits]
    nothing = empty(segmenter.finest, segmenter.bands)
    spectra = functools.reduce(combine, (portrait.spectra for portrait in portraits), nothing)
    classes = next((p.classes for p in portraits if p.classes), segmenter.classes)
    data = _model(segmenter, groups) | {
        "classes": list(classes or ()),
        "made": datetime.datetime.now().astimezone().isoformat(" ", "minutes"),
        "version": importlib.metadata.version("dgc-jax"),
        "summary": summary,
        "concerns": concerns(segmenter, portraits, summary),
        "spectra": {
            "count": spectra.count.tolist(),
            "mean": packed(spectra.mean.astype("<f4")),
            "deviation": packed(standard_deviation(spectra).astype("<f4")),
        },
        "scenes": scenes,
        "history": _history(history),
        "paper": {name: list(values) for name, values in PAPER.items()},
        "stability": stability,
        "standing_out": _standing_out(segmenter, stability),
        "rival": _rival(segmenter, portraits),
    }
    folder = importlib.resources.files("dgc_jax.show") / "page"
    read = lambda name: (folder / name).read_text(encoding="utf-8")  # noqa: E731
    style, script = read("page.css"), "\n".join(map(read, _SCRIPTS))
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        read("page.html")
    )
    text = page.render(
        title=title,
        style=Markup(style),
        script=Markup(script),
        style_hash=_digest(style),
        script_hash=_digest(script),
        data=_for_script(data),
    )
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)


def _for_script(data: Any) -> Markup:
    """JSON that can stand inside a script element: nothing in it can end the element."""
    text = json.dumps(_finite(data), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _finite(value: Any) -> Any:
    """The same with null where JSON has no number: NaN and infinities."""
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _model(segmenter: Segmenter, groups: Sequence[Group] | None) -> dict[str, Any]:
    """What the page needs of the model: its clusters, its tree, its centroids."""
    leaves, shown, drawing = segmenter.tree.leaves, segmenter.tree.shown, _dendrogram(segmenter)
    joins, ids = segmenter.tree.joins
    palette = ["#" + bytes(row).hex() for row in segmenter.tree.leaf_colours]
    every = range(1, segmenter.finest + 1)
    levels = {level: segmenter.tree.level(level).tolist() for level in every}
    # By cluster, and within one as in the tree, so that its parts lie together, too.
    drawn = leaves.tolist() if drawing is None else drawing["ids"]
    place = [(shown[k], drawn.index(k)) for k in leaves.tolist()]
    order = sorted(range(len(leaves)), key=place.__getitem__)
    bank = np.asarray(segmenter.model.centroids, np.float64)[order]
    wavelengths = segmenter.wavelengths
    config = flat(segmenter.config)
    return {
        "model": segmenter.identity,
        "clusters": [
            {"id": k, "name": name, "colour": palette[k]}
            for k, name in enumerate(segmenter.tree.leaf_names, 1)
        ],
        "no_data": palette[0],
        "groups": None
        if groups is None
        else [{"id": g.id, "of": g.of, "name": g.name, "colour": g.colour} for g in groups],
        "levels": levels,
        "level": segmenter.clusters,
        "tree": drawing,
        "joins": {
            "pairs": joins[:, :2].astype(int).tolist(),
            "ids": ids.tolist(),
        },
        "similarity": {
            "ids": leaves[order].tolist(),
            "cosines": np.round(bank @ bank.T, 3).tolist(),
        },
        "bands": segmenter.bands,
        "wavelengths": None if wavelengths is None else wavelengths.tolist(),
        # Those after the clusters'.
        "class_colours": [
            "#" + bytes(row).hex() for row in np.roll(colours(255)[1:], -segmenter.clusters, 0)[:40]
        ],
        "background": None if segmenter.background is None else list(segmenter.background),
        "config": {name: _plain(value) for name, value in sorted(config.items())},
    }


def _standing_out(segmenter: Segmenter, stability: Mapping[str, Any] | None) -> dict[str, Any]:
    """Levels of the tree that the data support, and by what that is known."""
    if stability is not None:
        sure = [x["clusters"] for x in stability["levels"] if x["ari"]["min"] >= _SEEDS_AGREE]
        return {"levels": sorted(sure), "why": f"Seeds agree to {_SEEDS_AGREE:g} or more at"}
    return {
        "levels": tree.standing_out(segmenter.tree.joins[0]),
        "why": "Levels that stand out of the tree (the next join is much longer)",
    }


def _rival(segmenter: Segmenter, portraits: Sequence[Portrait]) -> dict[str, Any] | None:
    """What plain k-means makes of the scenes, in the model's colours; None if nobody has tried."""
    counts = [portrait.rival for portrait in portraits if portrait.rival is not None]
    return rival.compare(np.sum(counts, axis=0), segmenter) if counts else None


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _dendrogram(segmenter: Segmenter) -> dict[str, Any] | None:
    """Lines of the tree; `ids` are the clusters of its leaves, `heights` those of its merges."""
    linkage = segmenter.tree.linkage
    if not len(linkage):
        return None
    drawn = hierarchy.dendrogram(linkage, no_plot=True)
    return {
        "across": drawn["icoord"],
        "up": [[float(f"{height:.4g}") for height in link] for link in drawn["dcoord"]],
        "ids": segmenter.tree.leaves[segmenter.tree.live][drawn["leaves"]].tolist(),
        "heights": linkage[:, 2].tolist(),
    }


def _history(lines: Sequence[Mapping[str, float]]) -> dict[str, list[list[float]]]:
    """`[step, value]` pairs of what the page draws; of long runs evenly spaced ones."""
    found: dict[str, list[list[float]]] = {}
    for line in lines:
        for name, value in line.items():
            if name.startswith("loss") or name in _WATCHED:
                found.setdefault(name, []).append([line["step"], value])
    return {name: pairs[:: -(-len(pairs) // _POINTS)] for name, pairs in found.items()}


def concerns(
    segmenter: Segmenter, portraits: Sequence[Portrait], summary: Mapping[str, Any] | None
) -> list[str]:
    """What a person should know before believing the maps, in plain words.

    Args:
        segmenter: the model.
        portraits: of the scenes.
        summary: content of `summary.json`, or None.
    """
    found = []
    pixels = np.zeros(segmenter.clusters + 1, np.int64)
    np.add.at(pixels, segmenter.tree.shown, np.sum([p.pixels for p in portraits], axis=0))
    absent = [segmenter.names[k - 1] for k in range(1, len(pixels)) if not pixels[k]]
    if absent:
        found.append(f"No pixel of these scenes belongs to {_listed(absent)}.")
    found += _sizes(segmenter, pixels[1:])
    trained = len(segmenter.model.centroids)
    dead = trained - len(segmenter.tree.live)
    if dead > _DEAD * trained:
        found.append(
            f"{dead} of the {trained} trained centroids have no pixels: fewer "
            "(clusters.train) would do, or the start was unlucky; try another seed."
        )
    for portrait in portraits:
        share = portrait.pixels[0] / max(1, portrait.pixels.sum())
        if share > _NO_DATA:
            found.append(
                f"{100 * share:.0f} % of {portrait.name} has no data; check its mask and its "
                "ignore value with dgc inspect."
            )
        valid = max(1, portrait.pixels[1:].sum())
        if portrait.unlike is not None and 100 * portrait.unlike / valid > MANY:
            found.append(
                f"{100 * portrait.unlike / valid:.0f} % of {portrait.name} is unlike any cluster, "
                "as if the training had not seen its like; look at its confidence."
            )
    found += _units(portraits) + _light(portraits)
    if summary is not None:
        # Runs of earlier versions say nothing of these.
        if summary.get("training") == "hurt":
            found.append(
                f"Training hurt ({summary['training_because']}); these maps are those of the state "
                "before the first step."
            )
        agreement = summary.get("agreement")
        if agreement is not None and agreement < _AGREEMENT:
            found.append(
                f"Other starts divide these scenes otherwise: at {summary['clusters']} clusters "
                f"their maps agree to {agreement:.2f} (adjusted Rand index); try another number."
            )
        if summary.get("stopped_early"):
            found.append(f"Training ended early, because {summary['stopped_because']}.")
        nmi, threshold = summary["nmi_between_epochs"], segmenter.config["monitor"]["threshold"]
        if nmi is not None and nmi < threshold - 0.05:
            found.append(
                f"At the end clusters were still moving: the NMI between the last two epochs is "
                f"{nmi:.2f}; try more steps (train.steps)."
            )
    return found


def _sizes(segmenter: Segmenter, pixels: np.ndarray) -> list[str]:
    """Clusters that hold nearly everything, or next to nothing."""
    total, found = int(pixels.sum()), []
    largest = int(np.argmax(pixels))
    if len(pixels) > 1 and pixels[largest] > _COLLAPSED * total:
        share = 100 * pixels[largest] / total
        found.append(
            f"{segmenter.names[largest]} holds {share:.1f} % of all pixels, so the map says "
            "little: look at more clusters with the slider, or train on less of what is everywhere "
            "(a mask)."
        )
    tiny = [int(k) for k in np.flatnonzero((pixels > 0) & (pixels < _TINY))]
    if tiny and total > 100 * _TINY:
        few = _listed([segmenter.names[k] for k in tiny]).replace(" or ", " and ")
        found.append(
            f"Fewer than {_TINY} pixels belong to {few}: such clusters are often dead pixels or "
            "glints; point at them in the list to see where they are, and merge them."
        )
    return found


def _units(portraits: Sequence[Portrait]) -> list[str]:
    """Numbers that are no reflectance."""
    known = [value for value in (p.brightness() for p in portraits) if value is not None]
    if not known or np.median(known) <= _REFLECTANCE:
        return []
    return [
        f"The numbers are no reflectance (half of the pixels are above {np.median(known):.3g} on "
        "average over the bands): counts follow the lamp and the camera, too, so clusters of this "
        "run may not hold on scenes taken otherwise; calibrate with white= and dark= (data.white, "
        "data.dark), or say the factor with scale= (data.scale)."
    ]


def _light(portraits: Sequence[Portrait]) -> list[str]:
    """Scenes that are much brighter or darker than the rest."""
    known = [(p.name, p.brightness()) for p in portraits]
    seen = [(name, math.log(value)) for name, value in known if value is not None and value > 0]
    if len(seen) < 5:
        return []
    values = np.array([value for _, value in seen])
    away = values - np.median(values)
    limit = max(_LEAST_OUTLIER, _OUTLIER * 1.4826 * float(np.median(np.abs(away))))
    return [
        f"{name} is {math.exp(abs(off)):.1f} times as {'bright' if off > 0 else 'dark'} as the "
        "other scenes in the median: check its exposure or its white reference."
        for (name, _), off in zip(seen, away.tolist(), strict=True)
        if abs(off) > limit
    ]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
