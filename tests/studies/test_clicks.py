"""The benchmark of clicks: what it counts, and the table that it makes."""

import numpy as np
import scipy.cluster.hierarchy

from studies.quality import clicks
from studies.quality import page as quality_page


def test_clusters_that_are_the_classes_are_named_without_an_error_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0], [0, 1], [10, 0], [10, 1], [0, 30]])
    tree = scipy.cluster.hierarchy.linkage(centres, "ward")
    clusters = rng.integers(0, 5, 600)
    truth = np.array([0, 0, 1, 1, 2])[clusters]
    spectra = centres[clusters] + rng.normal(0, 0.01, (600, 2))
    found = clicks.accuracy_of_draw(np.random.default_rng(1), 2, tree, clusters, spectra, truth)
    assert found[:2] == [1.0, 1.0]
    assert found[2] > 0.6
    turned = np.random.default_rng(2).permutation(truth)  # nothing can be learnt from these
    found = clicks.accuracy_of_draw(np.random.default_rng(1), 2, tree, clusters, spectra, turned)
    assert max(found) < 0.6


def test_the_page_sets_them_against_what_can_be_reached() -> None:
    method = {"mean": 0.45, "low": 0.4}
    row = {"classes": 2, "reachable": 0.9, "at K": 0.8}
    row["clicks"] = {"3": dict.fromkeys(clicks.METHODS, method)}
    found = {"seeds": 1, "draws": 2, "commit": "abc", "rows": {"x": row}}
    text = quality_page.clicks({"clicks": found})
    assert (
        "| x | 3 | 0.450 (0.400) | 50.0% | 0.450 (0.400) | 0.450 (0.400) | 0.900 | 0.800 |" in text
    )
    assert quality_page.clicks({}) == ""
