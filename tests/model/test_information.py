"""The information measures against scikit-learn and the axioms of a metric."""

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score, normalized_mutual_info_score

from dgc_jax.model.information import (
    entropy,
    mutual_information,
    normalised_mutual_information,
    variation_of_information,
)


def table(first, second, shape=(6, 5)):
    counts = np.zeros(shape, np.int64)
    np.add.at(counts, (first, second), 1)
    return counts


def labellings(seed, agreement, pixels=400):
    """Two labellings, 6 and 5 values of which one is never used, that agree in part."""
    rng = np.random.default_rng(seed)
    first = rng.choice(6, pixels, p=[0.5, 0.3, 0.1, 0.07, 0.03, 0])
    second = np.where(rng.random(pixels) < agreement, first % 5, rng.integers(0, 4, pixels))
    return first, second


@pytest.mark.parametrize("agreement", [0.0, 0.4, 0.99, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_equal_to_scikit_learn(seed, agreement):
    first, second = labellings(seed, agreement)
    counts = table(first, second)
    np.testing.assert_allclose(
        mutual_information(counts), mutual_info_score(first, second), atol=1e-12
    )
    np.testing.assert_allclose(
        normalised_mutual_information(counts),
        normalized_mutual_info_score(first, second, average_method="arithmetic"),
        atol=1e-12,
    )


@pytest.mark.parametrize(
    ("pixels", "nats"), [([5, 5, 5, 5], math.log(4)), ([7, 0, 0], 0.0), ([1, 3], 0.5623351446)]
)
def test_entropy_is_the_closed_form(pixels, nats):
    assert entropy(np.array(pixels)) == pytest.approx(nats, abs=1e-9)


def test_information_about_itself_is_the_entropy():
    labels, _ = labellings(0, 1)
    assert mutual_information(table(labels, labels, (6, 6))) == pytest.approx(
        entropy(np.bincount(labels))
    )


def test_renaming_the_labels_changes_nothing():
    first, second = labellings(0, 0.5)
    names = np.random.default_rng(2).permutation(6)
    plain, renamed = table(first, second), table(names[first], second)
    for measure in (
        mutual_information,
        normalised_mutual_information,
        variation_of_information,
    ):
        assert measure(plain) == pytest.approx(measure(renamed))
    same = table(names[first], first, (6, 6))
    assert normalised_mutual_information(same) == pytest.approx(1)
    assert variation_of_information(same) == pytest.approx(0, abs=1e-12)


def test_independent_labels_share_nothing():
    counts = np.outer([2, 4, 6], [3, 5])
    assert mutual_information(counts) == pytest.approx(0, abs=1e-12)
    assert variation_of_information(counts) == pytest.approx(
        entropy(counts.sum(0)) + entropy(counts.sum(1))
    )


def test_variation_of_information_is_the_sum_of_the_conditional_entropies():
    counts = table(*labellings(0, 0.4))
    joint = counts[counts > 0] / counts.sum()
    joint_entropy = -np.sum(joint * np.log(joint))
    given_second = joint_entropy - entropy(counts.sum(0))
    given_first = joint_entropy - entropy(counts.sum(1))
    assert variation_of_information(counts) == pytest.approx(given_first + given_second)


def test_variation_of_information_is_a_metric():
    rng = np.random.default_rng(3)
    base = rng.integers(0, 4, 200)
    maps = [
        np.where(rng.random(200) < share, base, rng.integers(0, 4, 200))
        for share in (0.0, 0.5, 0.8, 0.95, 1.0)
    ]

    def distance(a, b):
        return variation_of_information(table(maps[a], maps[b], (4, 4)))

    for a, b, c in itertools.permutations(range(5), 3):
        assert distance(a, b) == pytest.approx(distance(b, a))
        assert distance(a, b) > 0
        assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-12
    for a in range(5):
        assert distance(a, a) == pytest.approx(0, abs=1e-12)


def test_maps_of_one_region():
    both = np.array([[9, 0], [0, 0]])
    assert normalised_mutual_information(both) == 1
    assert variation_of_information(both) == 0
    only_one = np.array([[4, 5], [0, 0]])
    assert mutual_information(only_one) == pytest.approx(0, abs=1e-12)
    assert normalised_mutual_information(only_one) == pytest.approx(0, abs=1e-12)
    assert variation_of_information(only_one) == pytest.approx(entropy(np.array([4, 5])))


@pytest.mark.parametrize(
    "measure", [mutual_information, normalised_mutual_information, variation_of_information]
)
def test_without_pixels_nothing_is_known(measure):
    assert math.isnan(measure(np.zeros((3, 3), np.int64)))
