"""Scores agree with scikit-learn, with cases done by hand and with exact integers."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from dgc_jax.apply import metrics
from dgc_jax.errors import InputError
from dgc_jax.model import information


def _maps(classes=4, clusters=6, seed=0, shape=(31, 17)):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes + 1, shape).astype(np.uint8)
    guess = rng.integers(0, clusters + 1, shape).astype(np.uint8)
    labels = np.where(rng.random(shape) < 0.5, truth, guess).astype(np.uint8)
    seen = (truth > 0) & (labels > 0)
    return truth, labels, truth[seen], labels[seen]


def test_confusion_counts_pixels_that_both_maps_speak_of():
    truth, labels, seen_truth, seen_labels = _maps(4, 6)
    counts = metrics.confusion(truth, labels, 4, 6)
    expected = sklearn_metrics.confusion_matrix(seen_truth, seen_labels, labels=range(1, 7))[:4]
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, expected)


def test_unlabelled_and_no_data_pixels_do_not_count():
    counts = metrics.confusion(np.array([[0, 1, 2, 2]]), np.array([[1, 0, 2, 1]]), 2, 2)
    np.testing.assert_array_equal(counts, [[0, 0], [1, 1]])


def test_confusions_of_tiles_add_up_to_that_of_the_whole(monkeypatch):
    truth, labels, *_ = _maps()
    whole = metrics.confusion(truth, labels, 4, 6)
    tiles = [metrics.confusion(truth[:, s], labels[:, s], 4, 6) for s in (np.s_[:5], np.s_[5:])]
    np.testing.assert_array_equal(sum(tiles), whole)
    monkeypatch.setattr(metrics, "_BLOCK", 7)
    np.testing.assert_array_equal(metrics.confusion(truth, labels, 4, 6), whole)


@pytest.mark.parametrize(
    ("truth", "labels", "message"),
    [
        (
            np.ones((2, 3), int),
            np.ones((3, 2), int),
            r"shape \(3, 2\) of the label map, found \(2, 3\)",
        ),
        (
            np.full((2, 2), 3),
            np.ones((2, 2), int),
            r"truth map: expected integers 0..2, found 3..3",
        ),
        (
            np.ones((2, 2), int),
            np.full((2, 2), 9),
            r"label map: expected integers 0..4, found 9..9",
        ),
        (np.full((2, 2), -1), np.ones((2, 2), int), r"truth map: expected integers 0..2, found -1"),
        (np.ones((2, 2)), np.ones((2, 2), int), "truth map: expected integers .* float64"),
    ],
)
def test_maps_that_cannot_be_compared_are_refused(truth, labels, message):
    with pytest.raises(InputError, match=message):
        metrics.confusion(truth, labels, 2, 4)


def test_majority_lets_clusters_share_a_class_and_hungarian_does_not():
    counts = np.array([[10, 9, 0], [0, 8, 0], [0, 0, 0]])
    assert metrics.map_clusters(counts, "majority") == (1, 1, 0)
    assert metrics.map_clusters(counts, "hungarian") == (1, 2, 3)


def test_auto_is_hungarian_for_as_many_clusters_as_classes_else_majority():
    square = np.array([[10, 9], [0, 8]])
    assert metrics.map_clusters(square) == metrics.map_clusters(square, "hungarian") == (1, 2)
    more = np.array([[10, 9, 3], [0, 8, 0]])
    assert metrics.map_clusters(more) == metrics.map_clusters(more, "majority") == (1, 1, 1)
    fewer = np.array([[10, 9], [0, 8], [0, 0]])
    assert metrics.map_clusters(fewer) == metrics.map_clusters(fewer, "majority") == (1, 1)


def test_hungarian_leaves_clusters_over_when_there_are_more_than_classes():
    assert metrics.map_clusters(np.array([[5, 7, 0], [0, 0, 2]]), "hungarian") == (0, 1, 2)


def test_a_given_table_is_used_and_a_bad_one_refused():
    counts = np.array([[1, 2, 3], [4, 5, 6]])
    assert metrics.map_clusters(counts, [2, 0, 1]) == (2, 0, 1)
    mapped = metrics.apply_table(counts, (2, 0, 1))
    np.testing.assert_array_equal(mapped, [[3, 1, 2], [6, 4, 5]])
    with pytest.raises(InputError, match=r"one class 0..2 for each of 3 clusters, found \(1, 2\)"):
        metrics.map_clusters(counts, [1, 2])
    with pytest.raises(InputError, match=r"one class 0..2 .* found \(1, 2, 3\)"):
        metrics.map_clusters(counts, [1, 2, 3])
    with pytest.raises(InputError, match='found "best"'):
        metrics.map_clusters(counts, "best")


@pytest.mark.parametrize("table", [(1, 2, 3, 4, 1, 2), (4, 0, 3, 2, 2, 0)])
def test_mapped_scores_agree_with_scikit_learn(table):
    truth, labels, seen_truth, seen_labels = _maps(4, 6, seed=1)
    mapped = metrics.apply_table(metrics.confusion(truth, labels, 4, 6), table)
    predicted = np.array([0, *table])[seen_labels]
    each = {"labels": [1, 2, 3, 4], "average": None, "zero_division": 0}
    np.testing.assert_allclose(
        metrics.iou(mapped), sklearn_metrics.jaccard_score(seen_truth, predicted, **each)
    )
    np.testing.assert_allclose(
        metrics.dice(mapped), sklearn_metrics.f1_score(seen_truth, predicted, **each)
    )
    assert metrics.accuracy(mapped) == sklearn_metrics.accuracy_score(seen_truth, predicted)
    assert metrics.kappa(mapped) == pytest.approx(
        sklearn_metrics.cohen_kappa_score(seen_truth, predicted), abs=1e-14
    )


@pytest.mark.parametrize(("classes", "clusters", "seed"), [(4, 6, 2), (3, 3, 3), (5, 2, 4)])
def test_unmapped_scores_agree_with_scikit_learn(classes, clusters, seed):
    truth, labels, seen_truth, seen_labels = _maps(classes, clusters, seed)
    labels, seen_labels = np.minimum(labels, clusters), np.minimum(seen_labels, clusters)
    counts = metrics.confusion(truth, labels, classes, clusters)
    pair = (seen_truth, seen_labels)
    assert information.mutual_information(counts) == pytest.approx(
        sklearn_metrics.mutual_info_score(*pair), rel=1e-12
    )
    assert information.normalised_mutual_information(counts) == pytest.approx(
        sklearn_metrics.normalized_mutual_info_score(*pair), rel=1e-12
    )
    assert metrics.adjusted_rand_index(counts) == pytest.approx(
        sklearn_metrics.adjusted_rand_score(*pair), rel=1e-12
    )


@pytest.mark.parametrize(
    "counts", [[[5, 0], [0, 7]], [[5, 7]], [[5], [7]], [[9]], [[1, 1], [1, 1]], [[1, 0], [0, 1]]]
)
def test_degenerate_maps_score_as_scikit_learn_says(counts):
    counts = np.array(counts)
    rows, columns = np.indices(counts.shape)
    pair = (rows.repeat(counts.ravel()), columns.repeat(counts.ravel()))
    assert information.normalised_mutual_information(counts) == pytest.approx(
        sklearn_metrics.normalized_mutual_info_score(*pair), abs=1e-12
    )
    assert metrics.adjusted_rand_index(counts) == pytest.approx(
        sklearn_metrics.adjusted_rand_score(*pair), abs=1e-12
    )


def test_variation_of_information_is_zero_for_renamed_maps_and_a_metric_otherwise():
    assert information.variation_of_information(np.array([[0, 5], [7, 0]])) == 0
    # Two independent fair coins: one bit of doubt each way.
    assert information.variation_of_information(np.array([[3, 3], [3, 3]])) == pytest.approx(
        2 * math.log(2)
    )


def test_rand_index_and_kappa_of_billions_of_pixels_are_exact():
    counts = np.array([[2_999_999_999, 1, 12_345], [7, 1_999_999_993, 678_901_234]], np.int64)

    def pairs(values):
        return sum(Fraction(int(n) * (int(n) - 1), 2) for n in np.ravel(values))

    chance = pairs(counts.sum(1)) * pairs(counts.sum(0)) / pairs(counts.sum())
    mean = (pairs(counts.sum(1)) + pairs(counts.sum(0))) / 2
    exact = (pairs(counts) - chance) / (mean - chance)
    assert metrics.adjusted_rand_index(counts) == float(exact)

    mapped = metrics.apply_table(counts, (1, 2, 2))
    total = int(counts.sum())
    by_chance = Fraction(
        sum(int(t) * int(p) for t, p in zip(mapped.sum(1), mapped.sum(0)[:2], strict=True)),
        total**2,
    )
    agreed = Fraction(int(np.trace(mapped)), total)
    assert metrics.kappa(mapped) == float((agreed - by_chance) / (1 - by_chance))


def test_background_and_tissue_by_hand():
    # Classes: flat belt, textured belt, lamina, lesion; the third cluster is mostly lesion.
    counts = np.array([[50, 0, 2], [40, 0, 0], [0, 80, 0], [5, 0, 9]])
    result = metrics.background_tissue(counts, (1, 2))
    assert result["background_iou"] == pytest.approx(90 / (92 + 95 - 90))
    assert result["tissue_iou"] == pytest.approx(89 / (94 + 91 - 89))
    assert result["background_tissue_mean_iou"] == pytest.approx((90 / 97 + 89 / 96) / 2)


@pytest.mark.parametrize("background", [(), (1, 2, 3), (0,), (4,)])
def test_a_background_that_is_no_part_of_the_classes_is_refused(background):
    with pytest.raises(
        InputError, match=r"data.background: expected some but not all of the classes 1..3, found"
    ):
        metrics.background_tissue(np.ones((3, 2), int), background)


def test_a_side_without_truth_has_no_score_and_is_left_out_of_the_mean():
    result = metrics.background_tissue(np.array([[6, 2], [0, 0]]), (1,))
    assert result == {
        "background_iou": 1.0,
        "tissue_iou": None,
        "background_tissue_mean_iou": 1.0,
    }


def test_scores_have_the_names_of_summary_json_and_survive_it():
    counts = np.array([[8, 0, 0], [2, 6, 0], [0, 0, 0]])
    result = metrics.scores(counts, ["belt", "leaf", "lesion"], background=(1,))
    assert result.keys() == (
        {"iou", "mean_iou", "dice", "mean_dice", "accuracy", "kappa", "nmi", "ari", "vi"}
        | {"background_iou", "tissue_iou", "background_tissue_mean_iou", "cluster_to_class"}
    )
    assert result["iou"] == {"belt": 0.8, "leaf": 0.75, "lesion": None}
    assert result["mean_iou"] == pytest.approx(0.775)
    assert result["dice"] == {"belt": 16 / 18, "leaf": 12 / 14, "lesion": None}
    assert result["accuracy"] == 14 / 16
    assert result["cluster_to_class"] == {"1": "belt", "2": "leaf", "3": "lesion"}
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_scores_of_nothing_are_none_rather_than_nan():
    result = metrics.scores(np.zeros((2, 3), np.int64), ["a", "b"], background=(1,))
    assert result["cluster_to_class"] == {"1": None, "2": None, "3": None}
    assert {v for v in result.values() if not isinstance(v, dict)} == {None}
    json.dumps(result, allow_nan=False)


def test_scores_leave_background_out_where_the_data_define_none():
    assert not any("tissue" in key for key in metrics.scores(np.eye(2, dtype=int), ["a", "b"]))


def test_scores_follow_a_given_table():
    result = metrics.scores(np.array([[5, 1], [0, 4]]), ["a", "b"], table=[2, 1])
    assert result["accuracy"] == 0.1
    assert result["cluster_to_class"] == {"1": "b", "2": "a"}


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", "b", "c"]])
def test_names_that_do_not_fit_the_classes_are_refused(names):
    with pytest.raises(InputError, match="2 different names"):
        metrics.scores(np.eye(2, dtype=int), names)
