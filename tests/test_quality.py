"""The benchmark of quality measures what it says; a tiny run of it leaves results and a page."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import sklearn.metrics
from conftest import ROOT

sys.path.append(str(ROOT / "benchmarks"))  # scripts, no package

import agreement
import baselines
import quality_page
import quality_tables


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
    assert found["stray"] == pytest.approx(1e6 / 4000)
    assert found["active"] == 3


def test_clusters_merge_by_the_angle_between_their_spectra_not_by_brightness() -> None:
    spectra = np.array([[1.0, 2, 3], [3, 2, 1], [10, 20, 31], [0.3, 0.2, 0.11], [5, 0, 0]])
    assert baselines.merge_by_cosine(spectra, 3).tolist() == [1, 2, 1, 2, 3]
    assert baselines.merge_by_cosine(spectra, 2).tolist() == [1, 2, 1, 2, 2]


@pytest.mark.parametrize("method", ["K-means, L2", "K-means 32, merged", "PCA + GMM"])
def test_baselines_tell_two_materials_apart(method: str) -> None:
    rng = np.random.default_rng(0)
    material = rng.integers(0, 2, 600)
    spectra = np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])[material]
    if method != "PCA + GMM":  # which knows nothing of brightness
        spectra = spectra * rng.uniform(0.2, 2, (600, 1))
    spectra = (spectra + rng.normal(0, 0.002, spectra.shape)).astype(np.float32)
    label = baselines.fit(method, spectra[:400], np.eye(4, dtype=np.float32), (2,), 0)
    assert agreement.pairwise_ari([label(spectra)["2"]], [material + 1]) == 1


def row(seed: int, background_tissue: float, lesion: float, ari_with: dict[str, float]) -> dict:
    """A row of the results, as far as the targets read it."""
    of_set = {
        "background_tissue": background_tissue,
        "iou": {"lesion": lesion},
        "stray": 100.0,
        "ari_with": ari_with,
    }
    maps = {k: dict.fromkeys(("train", "same light"), of_set) for k in ("2", "4")}
    about = {"part": "dgc", "scene": "leaves", "method": "DGC", "default": "d"}
    return {**about, "seed": seed, "maps": maps}


def test_targets_are_judged_on_the_worst_seed_and_on_all_pairs() -> None:
    rows = [
        row(0, 0.996, 0.95, {}),
        row(1, 0.999, 0.84, {"0": 0.99}),
        row(2, 0.998, 0.94, {"0": 0.98, "1": 0.96}),
        {**row(0, 0.1, 0.1, {}), "default": "an earlier one"},
    ]
    results = {"about": {"default": "d"}, "rows": dict(enumerate(rows))}
    text = quality_page.targets(results)
    verdicts = {line.split("|")[1].strip(): line.split("|")[3:5] for line in text.splitlines()}
    found = {name: [cell.strip() for cell in cells] for name, cells in verdicts.items()}
    assert found["K = 4: background/tissue, worst seed"] == ["0.9960", "pass"]
    assert found["K = 4: lesion IoU, mean"] == ["0.9100", "pass"]
    assert found["K = 4: lesion IoU, worst seed"] == ["0.8400", "miss"]
    assert found["K = 4: ARI between seeds, mean"] == ["0.9767", "miss"]
    assert found["0 real scenes: mean overall accuracy"] == ["not measured", "-"]


def test_cells_give_mean_sample_deviation_and_worst() -> None:
    assert quality_tables.spread([0.9, 0.8, 1.0]) == "0.900 ± 0.100 (0.800)"
    assert quality_tables.spread([10, 30], 0, max) == "20 ± 14 (30)"
    assert quality_tables.spread([0.5]) == "0.500"
    assert quality_tables.spread([]) == "-"


@pytest.mark.slow
def test_a_tiny_benchmark_leaves_results_and_a_page_and_skips_what_is_measured(
    tmp_path: pathlib.Path,
) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "quality.py"), "--smoke", "--seeds=2"]
    command += ["--only=start,baselines", f"--out={tmp_path}"]
    environment = {**os.environ, "DGC_CACHE": str(tmp_path / "cache"), "JAX_PLATFORMS": "cpu"}

    def run() -> tuple[str, dict]:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout, json.loads((tmp_path / "quality.json").read_text(encoding="utf-8"))

    shown, results = run()
    assert "6 rows, 6 missing, of which 2 are trainings" in shown
    start = [results["rows"][f"start | leaves | start (0 steps) | {seed}"] for seed in (0, 1)]
    assert [each["training"]["steps"] for each in start] == [0, 0]
    assert list(start[1]["maps"]["4"]["train"]["ari_with"]) == ["0"]
    for each in results["rows"].values():
        assert each["maps"]["4"]["other light"]["background_tissue"] > 0.6
    page = (tmp_path / "quality.md").read_text(encoding="utf-8")
    assert page.count("| K-means 32, merged |") == 4  # K = 2, K = 4, unmerged, unseen scenes

    shown, again = run()
    assert "6 rows, 0 missing" in shown
    assert again["rows"] == results["rows"]
