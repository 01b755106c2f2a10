"""The benchmark of quality measures what it says; a tiny run of it leaves results and a page."""

import json
import pathlib
import sys

import numpy as np
import pytest
import scipy.cluster.hierarchy
import sklearn.metrics
from conftest import python

from studies.quality import agreement, baselines, data_sets
from studies.quality import page as quality_page
from studies.quality import study as quality
from studies.quality import tables as quality_tables


def picture(text: str) -> np.ndarray:
    """A label map, drawn with digits."""
    return np.array([[int(digit) for digit in line] for line in text.split()], np.uint8)


def test_stray_regions_are_the_small_four_connected_ones_of_every_label() -> None:
    labels = picture(
        """
        1111112
        1211111
        1131110
        1111330
        """
    )
    # Of 2: two single pixels. Of 3: one pixel, and two that touch it by a corner only.
    assert agreement.stray_regions(labels, least=2) == 3
    assert agreement.stray_regions(labels, least=3) == 4
    assert agreement.stray_regions(labels, least=100) == 5


def test_no_data_is_no_stray_region() -> None:
    labels = np.ones((8, 8), np.uint8)
    labels[4, 4] = 0
    assert agreement.stray_regions(labels) == 0


def test_both_sides_of_an_edge_are_boundary_but_not_those_of_no_data() -> None:
    expected = picture("0110 0110 0000").astype(bool)
    np.testing.assert_array_equal(agreement.boundary(picture("1122 1122 1000")), expected)


def halves(column: int) -> np.ndarray:
    """Two halves that meet before a column."""
    return np.where(np.arange(20) < column, 1, 2)[None].repeat(5, axis=0)


@pytest.mark.parametrize(("shift", "near"), [(0, 2), (1, 2), (2, 2), (3, 1), (4, 0)])
def test_edges_count_as_found_within_two_pixels(shift: int, near: int) -> None:
    # Edges are two pixels wide; the nearer side of a shifted one is a pixel closer.
    counts = agreement.boundary_counts(halves(8 + shift), halves(8))
    assert counts.tolist() == [5 * near, 10, 5 * near, 10]
    assert agreement.boundary_f(counts) == pytest.approx(near / 2)


def test_the_boundary_score_is_the_harmonic_mean_of_precision_and_recall() -> None:
    both = halves(4)
    both[:, 14:] = 3
    counts = agreement.boundary_counts(both, halves(4))
    assert agreement.boundary_f(counts) == pytest.approx(2 * 0.5 * 1 / (0.5 + 1))
    assert agreement.boundary_f(agreement.boundary_counts(np.ones_like(both), both)) == 0


def test_agreement_of_two_maps_is_the_adjusted_rand_index_whatever_the_ids() -> None:
    rng = np.random.default_rng(0)
    first = [rng.integers(1, 5, (6, 7)), rng.integers(1, 5, (3, 4))]
    second = [np.where(rng.random(a.shape) < 0.2, 1, a % 4 + 1) for a in first]
    expected = sklearn.metrics.adjusted_rand_score(
        *(np.concatenate([m.ravel() for m in maps]) for maps in (first, second))
    )
    assert agreement.pairwise_ari(first, second) == pytest.approx(expected)
    assert agreement.pairwise_ari(first, [a % 4 + 1 for a in first]) == 1


def test_measures_use_a_majority_map_and_count_stray_regions_a_megapixel() -> None:
    truth = np.repeat(picture("1234"), 25, axis=1).repeat(40, axis=0)
    labels = np.array([0, 1, 1, 2, 3], np.uint8)[truth]
    labels[20, 10] = 3
    found = agreement.measure(
        [labels], agreement.Truth([truth], ("flat", "textured", "healthy", "lesion"), (1, 2)), 3
    )
    assert found["tissue_iou"] == pytest.approx(2000 / 2001)
    assert found["background_iou"] == pytest.approx(1999 / 2000)
    assert found["iou"]["lesion"] == pytest.approx(1000 / 1001)
    assert found["accuracy"] == pytest.approx(3000 / 4000)  # one background only
    assert found["majority"] == pytest.approx(3000 / 4000)
    one_to_one = (0 + 1000 / 1999 + 1 + 1000 / 1001) / 4
    assert found["mean_iou_one_to_one"] == pytest.approx(one_to_one)
    assert found["rarest_iou"] == pytest.approx(999 / 2000)  # the first of equally rare ones
    assert found["stray"] == pytest.approx(1e6 / 4000)
    assert found["active"] == 3


def brute_force(classes: np.ndarray, leaves: np.ndarray, tree: np.ndarray) -> float:
    """Dendrogram purity, pair of pixels by pair of pixels."""
    members = [{leaf} for leaf in range(len(tree) + 1)]
    for left, right in tree[:, :2].astype(int):
        members.append(members[left] | members[right])
    purities = []
    for i in range(len(classes)):
        for j in range(i):
            if classes[i] != classes[j]:
                continue
            group = min((m for m in members if {leaves[i], leaves[j]} <= m), key=len)
            inside = np.isin(leaves, list(group))
            purities.append(np.mean(classes[inside] == classes[i]))
    return float(np.mean(purities))


@pytest.mark.parametrize("seed", range(3))
def test_dendrogram_purity_is_that_of_all_pairs_of_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    leaves, classes = rng.integers(0, 6, 60), rng.integers(0, 3, 60)
    leaves[leaves == 4] = 3  # a leaf without labelled pixels
    tree = scipy.cluster.hierarchy.linkage(rng.normal(size=(6, 2)))
    counts = np.zeros((3, 6), np.int64)
    np.add.at(counts, (classes, leaves), 1)
    expected = brute_force(classes, leaves, tree)
    assert agreement.dendrogram_purity(counts, tree) == pytest.approx(expected)


def test_a_tree_that_keeps_classes_apart_to_the_last_is_pure() -> None:
    tree = np.array([[0, 1, 1, 2], [2, 3, 2, 2], [4, 5, 3, 4]], float)
    assert agreement.dendrogram_purity(np.array([[3, 2, 0, 0], [0, 0, 1, 9]]), tree) == 1
    assert np.isnan(agreement.dendrogram_purity(np.array([[1, 0, 0, 0], [0, 0, 1, 0]]), tree))


def test_the_best_cluster_of_a_class_is_that_of_the_greatest_iou() -> None:
    counts = np.array([[90, 10, 100], [0, 8, 4]])
    assert agreement.best_iou(counts, 1) == pytest.approx(8 / (12 + 10))
    assert agreement.best_iou(counts, 0) == pytest.approx(100 / (200 + 4))


def materials(kinds: int) -> tuple[np.ndarray, np.ndarray]:
    """A scene `[24, 24, 6]` of quarters of different materials, and which they are, from 1."""
    rng = np.random.default_rng(0)
    truth = np.arange(24)[:, None] // 12 * 2 + np.arange(24)[None] // 12
    truth = truth % kinds + 1
    spectra = rng.uniform(0.1, 0.6, (kinds, 6))[truth - 1]
    noise = rng.normal(0, 0.004, spectra.shape)
    return (spectra * rng.uniform(0.95, 1.05, (24, 24, 1)) + noise).astype(np.float32), truth


@pytest.mark.parametrize("method", baselines.FIXED)
def test_baselines_tell_two_materials_apart(method: str) -> None:
    scene, truth = materials(2)
    label = baselines.fit(method, scene.reshape(-1, 6)[::2], (2,), 0)
    found = label(scene.reshape(-1, 6))["2"].reshape(24, 24)
    assert agreement.pairwise_ari([found], [truth]) == 1


def test_merged_k_means_numbers_pixels_by_the_leaves_of_its_tree() -> None:
    scene, truth = materials(4)
    valid = np.ones((24, 24), bool)
    valid[:2] = False
    label, tree = baselines.fit_merged(
        scene[valid], [(scene, valid)], np.eye(6, dtype=np.float32), final=4, seed=0, over=12
    )
    leaves = label(scene.reshape(-1, 6)).reshape(24, 24)
    assert set(np.unique(leaves[valid])) == set(range(1, len(tree) + 2))
    merged = baselines.cut_tree(tree, 4)[leaves - 1] + 1
    assert agreement.pairwise_ari([merged[2:]], [truth[2:]]) == 1


def test_k_means_is_described_as_clusters_of_dgc_are() -> None:
    scene, _ = materials(2)
    scene[0, 0] = -0.5
    valid = np.ones((24, 24), bool)
    centres = np.stack([scene[valid].mean(axis=0), scene[5, 5], np.full(6, -0.5)])
    labels = np.full((24, 24), -1)
    distance = ((scene[..., None, :] - centres) ** 2).sum(axis=-1)
    labels[valid] = distance[valid].argmin(axis=1)
    found = baselines.describe(
        [(scene, valid)], [labels], np.eye(6, dtype=np.float32), lambda x: x, centres
    )
    assert found.counts.tolist() == np.bincount(labels.ravel(), minlength=3).tolist()
    assert found.spectra[2].tolist() == [0] * 6  # clipped
    width = distance.min(axis=-1).mean()
    q = np.exp(-distance / (2 * width))
    q /= q.sum(axis=-1, keepdims=True)
    for k in range(3):
        np.testing.assert_allclose(found.overlap[k], q[labels == k].sum(axis=0), rtol=1e-4)
    np.testing.assert_array_equal(found.neighbours, found.neighbours.T)


def row(method: str, seed: int, **changes: object) -> dict:
    """A row of the leaves, as far as the targets read it."""
    of_set = {
        "background_tissue": 0.999,
        "iou": {"lesion": 0.95},
        "mean_iou_one_to_one": 0.95,
        "stray": 100.0,
        "active": 60,
        "ari_with": {},
    }
    of_set |= {name: value for name, value in changes.items() if name in of_set}
    sets = dict.fromkeys(("train", "same light", "other light"), of_set)
    row = {"part": "leaves", "scene": "leaves", "method": method, "seed": seed, "default": "d"}
    return {**row, "clusters": [2, 4], "maps": dict.fromkeys(("2", "4", "unmerged"), sets)}


def real_row(scene: str, method: str, accuracy: float, active: int = 50) -> dict:
    """A row of a real data set with 3 classes."""
    measures = {"accuracy": accuracy, "majority": accuracy + 0.1, "purity": 0.5, "active": active}
    maps = {level: {"train": measures} for level in ("3", "6", "unmerged")}
    row = {"part": "real", "scene": scene, "method": method, "seed": 0, "default": "d"}
    return {**row, "clusters": [3, 6], "maps": maps}


def verdicts(rows: list[dict]) -> dict[str, list[str]]:
    """Of each target what was reached, the worst, and the verdict."""
    real = {name: {"anomaly": name == "odd"} for name in ("a", "b", "odd")}
    about = {"defaults": {"training": "d"}, "real": real}
    text = quality_page.targets({"about": about, "rows": dict(enumerate(rows))})
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    return {line[0]: line[2:] for line in lines}


def test_targets_of_leaves_are_judged_on_means_and_worst_seeds() -> None:
    found = verdicts(
        [
            row("DGC", 0, iou={"lesion": 0.97}),
            row("DGC", 1, iou={"lesion": 0.92}, ari_with={"0": 0.99}),
            row("DGC", 2, mean_iou_one_to_one=0.8, ari_with={"0": 0.98, "1": 0.96}),
            {**row("DGC", 0, background_tissue=0.1), "default": "an earlier one"},
            row("start (0 steps)", 2, active=80),
            row("K-means, raw", 0, stray=400.0),
        ]
    )
    worst = "leaves, K = 4: mean IoU of the classes, worst seed"
    assert found[worst] == ["0.8000", "0.8000", "miss"]
    assert found["leaves, K = 4: background/tissue, worst seed"] == ["0.9990", "0.9990", "pass"]
    assert found["leaves, K = 4: lesion, mean"] == ["0.9467", "0.9200", "miss"]
    assert found["leaves, K = 4: ARI between seeds, mean"] == ["0.9767", "0.9600", "miss"]
    alive = "clusters alive at the end / at the start, worst of all"
    assert found[alive] == ["0.7500", "0.7500", "miss"]
    assert found["leaves, K = 4: stray regions / K-means, raw"] == ["0.2500", "0.2500", "pass"]
    assert found["leaves, K = 4: stray regions / K-means, L2"] == ["not measured", "-", "-"]
    assert found["0 real data sets: accuracy at K, mean"] == ["not measured", "-", "-"]


def test_targets_of_real_scenes_leave_anomaly_data_out() -> None:
    found = verdicts(
        [
            real_row("a", "DGC", 0.9),
            real_row("b", "DGC", 0.8),
            real_row("odd", "DGC", 0.1, active=5),
            real_row("a", "start (0 steps)", 0.82),
            real_row("b", "start (0 steps)", 0.82),
            real_row("odd", "start (0 steps)", 0.2, active=50),
            real_row("b", "K-means, raw", 0.84),
            real_row("b", "PCA + GMM", 0.86),
            real_row("b", "K-means 64, merged", 0.95),
        ]
    )
    assert found["2 real data sets: accuracy at K, mean"] == ["0.8500", "0.8000", "pass"]
    below = "real: accuracy at K below the best of four fixed baselines, worst data set"
    assert found[below] == ["0.0600", "0.0600", "miss"]
    assert found["real: accuracy at K, end less start, mean"] == ["0.0300", "-0.0200", "pass"]
    worst = "real: accuracy at K, end less start, worst data set"
    assert found[worst] == ["-0.0200", "-0.0200", "miss"]
    assert found["real: purity, end less start, mean"][2] == "-"
    assert found["clusters alive at the end / at the start, worst of all"][2] == "miss"


def test_cells_give_mean_sample_deviation_and_worst() -> None:
    assert quality_tables.spread([0.9, 0.8, 1.0]) == "0.900 ± 0.100 (0.800)"
    assert quality_tables.spread([10, 30], 0, max) == "20 ± 14 (30)"
    assert quality_tables.spread([0.5]) == "0.500"
    assert quality_tables.spread([]) == "-"


def test_rows_of_other_settings_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["quality.py"])
    args, settings = quality.arguments(), quality.settings_of(smoke=False)
    truth = np.ones((10, 10), np.uint8)
    truth[0, :2] = 2
    data = data_sets.Data([], agreement.Truth([truth], ("rest", "rare"), None))
    odd = data_sets.DataSet("odd", {"data.scenes": "odd.npy"}, 2, (2, 4), {"train": data})
    planned = quality.jobs(args, settings, {"odd": odd})
    assert {job.scene for job in planned if job.part == "ablations"} == {"leaves"}  # no anomalies
    now = quality.defaults(settings)
    rows = {
        job.name: {
            "part": job.part,
            "method": job.method,
            "default": now[quality.kind(job)],
            "settings": quality.fingerprint(job, settings),
        }
        for job in planned
    }
    whole = dict(rows)
    quality.drop_stale(rows, planned, settings)
    assert rows == whole
    rows["real | odd | DGC | 0"]["settings"] = "an earlier one"
    rows["real | elsewhere | DGC | 0"] = {**rows["real | odd | DGC | 1"], "default": "earlier"}
    rows["ablations | leaves | a former one | 0"] = {
        **rows["ablations | leaves | without mean shift | 0"],
        "method": "a former one",
    }
    quality.drop_stale(rows, planned, settings)
    assert whole.keys() - rows.keys() == {"real | odd | DGC | 0"}
    assert rows.keys() <= whole.keys()


@pytest.mark.slow
def test_a_tiny_benchmark_leaves_results_and_a_page_and_skips_what_is_measured(
    tmp_path: pathlib.Path,
) -> None:
    scene, truth = materials(4)
    truth[truth == 3] = 9
    np.save(tmp_path / "field.npy", scene.repeat(2, axis=0).repeat(2, axis=1))
    np.save(tmp_path / "field_labels.npy", truth.repeat(2, axis=0).repeat(2, axis=1))
    command = ["-m", "studies.quality.study", "--smoke", "--seeds=2"]
    command += [f"--real=field={tmp_path / 'field.npy'}", "--only=real,leaves"]
    command += [f"--out={tmp_path / 'out'}"]

    def run(*more: str) -> tuple[str, dict]:
        done = python(*command, *more, DGC_CACHE=str(tmp_path / "cache"), JAX_PLATFORMS="cpu")
        assert done.returncode == 0, done.stderr
        path = tmp_path / "out" / "quality.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return done.stdout, found

    shown, results = run("--plan")
    assert "12 rows, 12 missing: 6 trainings, 6 baselines" in shown
    assert "real | field | K-means 64, merged | 0" in shown
    assert not results

    shown, results = run()
    rows = results["rows"]
    start = [rows[f"leaves | leaves | start (0 steps) | {seed}"] for seed in (0, 1)]
    assert [each["training"]["steps"] for each in start] == [0, 0]
    assert list(start[1]["maps"]["4"]["train"]["ari_with"]) == ["0"]
    assert all(each["maps"]["4"]["other light"]["background_tissue"] > 0.6 for each in start)
    field = rows["real | field | DGC | 0"]
    assert field["clusters"] == [4, 8]
    assert field["maps"]["4"]["train"]["accuracy"] > 0.6
    assert 0.25 < field["maps"]["unmerged"]["train"]["purity"] <= 1
    page = (tmp_path / "out" / "quality.md").read_text(encoding="utf-8")
    assert page.index("## Real scenes") < page.index("## Targets") < page.index("## Leaves")
    assert "| K-means 64, merged |" in page

    shown, again = run()
    assert "12 rows, 0 missing" in shown
    assert again["rows"] == rows
