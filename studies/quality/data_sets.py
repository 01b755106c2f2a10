"""What the benchmark of quality measures on: simulated leaves, other leaves, real scenes.

A data set has scenes with truth, of which training sees nothing. Real ones come from files of the
user's: `NAME.npy` with `NAME_labels.npy` beside it, or any other format that `dgc_jax` reads.
"""

import argparse
import dataclasses
import functools
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from configs import default
from dgc_jax.data.find import find_scenes
from dgc_jax.data.formats.detect import scene_name
from dgc_jax.data.scenes import Scene, open_scenes
from dgc_jax.data.simulation.leaves import BACKGROUND, CLASSES, Leaves, cache_folder, ensure
from dgc_jax.errors import InputError
from dgc_jax.train import options
from studies.quality import agreement, vein_leaves

Overrides = Mapping[str, Any]

LEAVES, VEINS = "leaves", "vein leaves"
"""Names of the simulated data sets."""

ANOMALY = 0.03
"""Share of the labelled pixels outside the commonest class below which it is anomaly data."""

_LABELS = "{stem}_labels.*"


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """Scenes with their truth; the pixels are read when a baseline first asks for them."""

    scenes: list[Scene]
    truth: agreement.Truth

    @functools.cached_property
    def pixels(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each scene reflectance `[row, column, band]` float32 and validity."""
        return [scene.cube.read(0, 0, *scene.cube.shape[:2]) for scene in self.scenes]


class DataSet(NamedTuple):
    """What is trained on, and how its tree is cut.

    Attributes:
        name: of the data set.
        overrides: of the configuration, that name its scenes.
        final: clusters at which the tree is chosen.
        clusters: numbers of clusters K that are measured.
        sets: scenes by the name of what they are there for; those of "train" are trained on.
    """

    name: str
    overrides: Overrides
    final: int
    clusters: tuple[int, ...]
    sets: dict[str, Data]


class Veins(NamedTuple):
    """What `vein_leaves` is to simulate."""

    scenes: int = 6
    size: int = 128
    bands: int = 150
    seed: int = 11


# --- simulated


def leaf_data(parameters: Leaves) -> Data:
    """The simulated scenes, written when they are missing, with their truth."""
    return _with_leaf_truth(open_scenes(ensure(parameters), classes=CLASSES))


def vein_overrides(parameters: Veins) -> dict[str, Any]:
    """Where the other simulator's scenes are; nothing is written."""
    name = "vein-leaves-" + "-".join(str(number) for number in parameters)
    folder = os.path.join(cache_folder(), name)
    return {
        "data.scenes": folder,
        "data.wavelengths": os.path.join(folder, "wavelengths.txt"),
        "data.classes": CLASSES,
        "data.background": BACKGROUND,
    }


def vein_data(parameters: Veins) -> Data:
    """The other simulator's scenes, written when they are missing, with their truth."""
    overrides = vein_overrides(parameters)
    if not os.path.isdir(overrides["data.scenes"]):
        vein_leaves.write(overrides["data.scenes"], **parameters._asdict())
    return _with_leaf_truth(_opened(overrides))


def _with_leaf_truth(scenes: list[Scene]) -> Data:
    maps = [truth.labels for scene in scenes if (truth := scene.read_labels()) is not None]
    return Data(scenes, agreement.Truth(maps, CLASSES, BACKGROUND))


# --- real


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options by which real data sets are named."""
    parser.add_argument(
        "--real", type=real_scene, nargs="+", action="extend", default=[],
        metavar="NAME=SCENE[:LABELS]", help="real data sets",
    )  # fmt: skip
    parser.add_argument("--real-folder", metavar="DIR", help="every scene in it, with its labels")


def real_scene(text: str) -> tuple[str, dict[str, Any]]:
    """`NAME=SCENE[:LABELS]` as a name and overrides."""
    name, equals, where = text.partition("=")
    scene, _, labels = where.partition(":")
    if not (name and equals and scene):
        raise argparse.ArgumentTypeError(f"expected NAME=SCENE[:LABELS], found {text!r}")
    return name, {"data.scenes": scene} | ({"data.labels": labels} if labels else {})


def in_folder(folder: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The data sets in a folder.

    Every scene is one of its own, but for those whose names differ in a final number only and
    that have equally many bands: `roof1` and `roof2` are two scenes of `roof`.

    Args:
        folder: of scenes, with label maps beside them.

    Returns:
        Overrides by name; and a sentence for each file that was left out.

    Raises:
        InputError: if there is no scene in it.
    """
    groups: dict[tuple[str, int], list[str]] = {}
    left_out = []
    for path in find_scenes(folder, companions=(_LABELS,)):
        try:
            (scene,) = open_scenes(path, labels=_LABELS)
        except InputError as error:
            left_out.append(f"{os.path.basename(path)} is left out: {error}")
            continue
        if scene.labels_path is None:
            left_out.append(f"{os.path.basename(path)} is left out: it has no label map.")
            continue
        stem = re.sub(r"[-_ ]?\d+$", "", scene_name(path)) or scene_name(path)
        groups.setdefault((stem, scene.cube.shape[2]), []).append(path)
    found = {}
    for (stem, _), paths in groups.items():
        name = stem if len(paths) > 1 and stem not in found else scene_name(paths[0])
        found[name] = {"data.scenes": tuple(paths)}
    return found, left_out


def real_set(name: str, overrides: Overrides) -> DataSet:
    """A real data set; its tree is chosen at the number of its classes C, and cut at C and 2 C."""
    data = real_data(overrides)
    classes = len(data.truth.classes)
    return DataSet(name, overrides, classes, (classes, 2 * classes), {"train": data})


def real_data(overrides: Overrides) -> Data:
    """Real scenes with their truth; classes without a pixel are none.

    Raises:
        InputError: if they cannot be read, or have no label map.
    """
    scenes = _opened(overrides)
    maps = [scene.read_labels() for scene in scenes]
    if any(truth is None or not truth.labels.any() for truth in maps):
        raise InputError(
            f"--real: expected a label map for {overrides['data.scenes']}, found none; "
            "name it, as in --real NAME=SCENE:LABELS."
        )
    known = [truth for truth in maps if truth is not None]
    labels, values = without_gaps([truth.labels for truth in known])
    names = next((truth.names for truth in known if truth.names), None)
    classes = [names[v - 1] if names else f"class {v}" for v in values]
    return Data(scenes, agreement.Truth(labels, tuple(classes), None))


def without_gaps(maps: list[np.ndarray]) -> tuple[list[np.ndarray], list[int]]:
    """Label maps whose classes are renumbered 1..C, without those that no pixel has.

    Args:
        maps: `[row, column]` uint8, 0 = unlabelled, of all scenes of a data set.

    Returns:
        The maps, and the value that each class had.
    """
    values = sorted(set(np.concatenate([np.unique(each) for each in maps]).tolist()) - {0})
    table = np.zeros(256, np.uint8)
    table[values] = np.arange(1, len(values) + 1)
    return [table[each] for each in maps], values


def described(data: Data) -> dict[str, Any]:
    """What a real data set is like, for the page."""
    pixels = sum(np.bincount(m.ravel(), minlength=256) for m in data.truth.labels)[1:]
    of_class = pixels[pixels > 0] / pixels.sum()
    return {
        "scenes": [scene.cube.name for scene in data.scenes],
        "shapes": [list(scene.cube.shape) for scene in data.scenes],
        "classes": len(data.truth.classes),
        "labelled": int(pixels.sum()),
        "rarest": float(of_class.min()),
        "anomaly": bool(1 - of_class.max() < ANOMALY),
    }


def _opened(overrides: Overrides) -> list[Scene]:
    config = default.get_config()
    config.update_from_flattened_dict(overrides)
    return options.scenes(config)
