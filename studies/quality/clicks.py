"""How good a map becomes when a few pixels of every class are clicked: `dgc name`, measured.

    python -m studies.quality.clicks --real-folder SCENES --real samson=samson.mat:samson.mat:S_GT

Of every data set a model is trained without labels (`configs/default.py`, one for each of two
seeds). Then 1, 3 and 10 labelled pixels of every class are drawn at random, 20 times, and all
others are to be told from them: by naming the trained clusters along their tree
(`dgc_jax.model.naming`), by the nearest clicked spectrum, and by a random forest of the clicked
spectra. Accuracy is that over the labelled pixels that were not clicked. It goes to
`studies/quality/quality.json`, from which `python -m studies.quality.study --render` makes
`docs/quality.md`.
"""

import argparse
import json
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

from configs import default
from dgc_jax.model.naming import name_leaves
from studies.quality import agreement, baselines, data_sets
from studies.quality.rows import commit, train_and_map
from studies.quality.study import load, real_sets, save

ROOT = pathlib.Path(__file__).parents[2]

CLICKS = (1, 3, 10)
METHODS = ("named clusters", "nearest spectrum", "random forest")


def accuracy_of_draw(
    rng: np.random.Generator,
    clicks: int,
    tree: np.ndarray,
    clusters: np.ndarray,
    spectra: np.ndarray,
    truth: np.ndarray,
) -> list[float]:
    """Accuracy of each of `METHODS` after some clicks in every class.

    Args:
        rng: draws the clicks.
        clicks: in every class, or half of its pixels if these are fewer.
        tree: linkage matrix over the clusters.
        clusters: `[pixel]` place in the tree of each labelled pixel.
        spectra: `[pixel, band]`.
        truth: `[pixel]` class, from 0.
    """
    classes = int(truth.max()) + 1
    of_class = [np.flatnonzero(truth == each) for each in range(classes)]
    clicked = np.concatenate(
        [rng.choice(of, min(clicks, max(len(of) // 2, 1)), replace=False) for of in of_class]
    )
    others = np.ones(len(truth), bool)
    others[clicked] = False
    hints = np.zeros((len(tree) + 1, classes))
    np.add.at(hints, (clusters[clicked], truth[clicked]), 1)
    found = [name_leaves(tree, hints)[clusters]]
    for model in (
        KNeighborsClassifier(1),
        RandomForestClassifier(200, random_state=int(rng.integers(2**31))),
    ):
        model.fit(spectra[clicked], truth[clicked])
        found.append(model.predict(spectra))
    return [float(np.mean(each[others] == truth[others])) for each in found]


def measure(of: data_sets.DataSet, seeds: int, draws: int, steps: int | None) -> dict[str, Any]:
    """The row of a data set."""
    data = of.sets["train"]

    def labelled(of_scenes: Iterable[np.ndarray]) -> np.ndarray:
        """The labelled pixels of all scenes."""
        pairs = zip(of_scenes, data.truth.labels, strict=True)
        return np.concatenate([each[labels > 0] for each, labels in pairs])

    truth = labelled(data.truth.labels).astype(int) - 1
    spectra = labelled(reflectance for reflectance, _ in data.pixels)
    classes = int(truth.max()) + 1
    reachable, at_k = [], []
    drawn: dict[int, list[list[float]]] = {clicks: [] for clicks in CLICKS}
    for seed in range(seeds):
        config = default.get_config()
        config.update_from_flattened_dict(of.overrides)
        config.seed, config.clusters.final = seed, of.final
        if steps is not None:
            config.train.steps = steps
        done = train_and_map(config, of.sets, (of.final,))
        assert done.tree is not None
        maps = done.maps[baselines.UNMERGED]["train"]
        clusters = labelled(maps).astype(int) - 1
        leaves = agreement.measure(maps, data.truth, len(done.tree) + 1)
        at_final = agreement.measure(done.maps[str(of.final)]["train"], data.truth, of.final)
        reachable.append(leaves["majority"])
        at_k.append(at_final["accuracy"])
        rng = np.random.default_rng(seed)
        for clicks in CLICKS:
            for _ in range(draws):
                drawn[clicks].append(
                    accuracy_of_draw(rng, clicks, done.tree, clusters, spectra, truth)
                )
    return {
        "classes": classes,
        "reachable": float(np.mean(reachable)),
        "at K": float(np.mean(at_k)),
        "clicks": {
            str(clicks): {
                method: {"mean": float(np.mean(each)), "low": float(np.quantile(each, 0.1))}
                for method, each in zip(METHODS, np.transpose(numbers), strict=True)
            }
            for clicks, numbers in drawn.items()
        },
    }


def main() -> None:
    """Measures the data sets that are named, and writes what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    data_sets.add_options(parser)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--steps", type=int, help="of training; the default recipe's unless told")
    parser.add_argument("--out", default=str(ROOT / "studies" / "quality" / "quality.json"))
    args = parser.parse_args()
    rows = {}
    for name, of in real_sets(args).items():
        rows[name] = measure(of, args.seeds, args.draws, args.steps)
        print(name, json.dumps(rows[name]), flush=True)
    about = {"seeds": args.seeds, "draws": args.draws, "commit": commit()}
    save(args.out, load(args.out) | {"clicks": about | {"rows": rows}})
    print(args.out)


if __name__ == "__main__":
    main()
