"""Agreement of clusterings against scikit-learn and against counting by hand."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from conftest import merge_spectra
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from dgc_jax.apply import metrics, stability
from dgc_jax.model import information, tree


class Models(NamedTuple):
    maps: list[np.ndarray]
    merges: list[tree.Merge]
    clusters: list[int]

    def cuts(self, level: int) -> list[np.ndarray]:
        return [tree.cut_ids(m.tree, m.live, m.lookup, level) for m in self.merges]


@pytest.fixture(scope="module")
def models() -> Models:
    """Four models of unlike numbers of clusters, whose maps are partly alike; with no data."""
    rng = np.random.default_rng(3)
    clusters, base = [7, 5, 6, 9], rng.integers(1, 10, (40, 30))
    maps, merges = [], []
    for k in clusters:
        noisy = np.where(rng.random(base.shape) < 0.3, rng.integers(1, 10, base.shape), base)
        maps.append(((noisy - 1) % k + 1).astype(np.uint8) * (base > 1))
        spectra, counts = rng.uniform(0.05, 0.9, (12, 8)), rng.integers(10, 99, 12)
        merges.append(merge_spectra(spectra, counts, rng.normal(size=(12, 4)), k))
    return Models([m.astype(np.uint8) for m in maps], merges, clusters)


@pytest.mark.parametrize("level", [2, 3, 4, 5])
def test_agreement_at_a_level_is_that_of_the_merged_maps(models: Models, level: int) -> None:
    tables = stability.count(models.maps, models.clusters)
    cuts = models.cuts(level)
    aris = stability.pairwise(tables, cuts, metrics.adjusted_rand_index)
    nmis = stability.pairwise(tables, cuts, information.normalised_mutual_information)
    merged = [np.concatenate([[0], c])[m] for c, m in zip(cuts, models.maps, strict=True)]
    seen = models.maps[0] > 0
    for i, j in itertools.combinations(range(4), 2):
        pair = merged[i][seen], merged[j][seen]
        assert aris[i, j] == aris[j, i] == pytest.approx(adjusted_rand_score(*pair), abs=1e-12)
        assert nmis[i, j] == pytest.approx(normalized_mutual_info_score(*pair), abs=1e-12)
    np.testing.assert_array_equal(np.diag(aris), 1)


@pytest.mark.parametrize("level", [2, 4, 5])
def test_folded_counts_are_the_counts_of_the_merged_maps(models: Models, level: int) -> None:
    tables, cuts = stability.count(models.maps, models.clusters), models.cuts(level)
    for i, j in ((0, 3), (3, 0)):
        counts = stability.fold(stability.between(tables, i, j), cuts[i], cuts[j])
        first, second = (np.concatenate([[0], cuts[n]])[models.maps[n]] for n in (i, j))
        for row, column in itertools.product(range(level), repeat=2):
            a, b = np.unique(cuts[i])[row], np.unique(cuts[j])[column]
            assert counts[row, column] == np.count_nonzero((first == a) & (second == b))


def test_counts_of_scenes_add_up(models: Models) -> None:
    whole = stability.count(models.maps, models.clusters)
    tables: stability.Tables | None = None
    for rows in (slice(0, 13), slice(13, 40)):
        part = [labels[rows] for labels in models.maps]
        tables = stability.add(tables, stability.count(part, models.clusters))
    assert tables is not None
    assert tables.keys() == whole.keys()
    for pair in whole:
        np.testing.assert_array_equal(tables[pair], whole[pair])


def test_equal_maps_agree_wholly_whatever_their_ids(models: Models) -> None:
    order = np.array([0, 3, 1, 7, 2, 5, 4, 6], np.uint8)
    maps = [models.maps[0], models.maps[0], order[models.maps[0]]]
    finest = [np.arange(1, 8)] * 3
    tables = stability.count(maps, [7, 7, 7])
    for measure in (metrics.adjusted_rand_index, information.normalised_mutual_information):
        np.testing.assert_allclose(stability.pairwise(tables, finest, measure), 1, atol=1e-12)
    np.testing.assert_array_equal(stability.best_overlaps(tables[0, 2]), np.ones(7))
    table = stability.align(tables[0, 2], np.arange(1, 8), finest[2])
    np.testing.assert_array_equal(table[maps[2]], maps[0])


def test_best_overlap_is_the_jaccard_index_of_sets_of_pixels(models: Models) -> None:
    first, second = models.maps[:2]
    counts = stability.count([first, second], [8, 5])[0, 1]  # there is no cluster 8
    overlaps = stability.best_overlaps(counts)
    for k in range(1, 8):
        mine = set(np.flatnonzero(first == k))
        each = [set(np.flatnonzero(second == j)) for j in range(1, 6)]
        best = max(len(mine & theirs) / len(mine | theirs) for theirs in each)
        assert overlaps[k - 1] == pytest.approx(best, abs=1e-15)
    assert np.isnan(overlaps[7])


def test_medoid_agrees_best_with_the_others() -> None:
    values = np.array([[1, 0.5, 0.4], [0.5, 1, 0.8], [0.4, 0.8, 1]])
    assert stability.medoid(values) == 1
    assert stability.medoid(np.array([[1, 0.7], [0.7, 1]])) == 0


def test_groups_are_matched_one_to_one_with_the_most_pixels_in_common() -> None:
    # Each group of the model is most like group 1 of the reference, which only one can be.
    counts = np.array([[50, 60, 20], [45, 10, 0], [0, 30, 5]])
    ids, cut = np.array([1, 4, 6]), np.array([1, 1, 3, 7])
    best = max(
        itertools.permutations(range(3)), key=lambda p: sum(counts[p[j], j] for j in range(3))
    )
    expected = [0, *(ids[best[group]] for group in (0, 0, 1, 2))]
    np.testing.assert_array_equal(stability.align(counts, ids, cut), expected)


def test_votes_are_counted_pixel_by_pixel_and_ties_go_to_the_earliest() -> None:
    votes = np.array(list(itertools.product([1, 2, 3], repeat=4)), np.uint8)  # [pixel, map]
    votes = np.concatenate([votes, np.zeros((1, 4), np.uint8)])
    said = stability.vote([votes[:, [m]] for m in range(4)])
    for pixel, cast in enumerate(votes.tolist()):
        most = max(cast.count(label) for label in cast)
        winner = next(label for label in cast if cast.count(label) == most)
        assert said.labels[pixel, 0] == winner
        assert said.votes[pixel, 0] == (most if winner else 0)


@pytest.mark.parametrize(
    ("values", "within", "suggested", "peaks"),
    [
        ([0.99, 0.95, 0.975, 0.9], (2, 4), 4, (2, 4)),  # the finest of the stable ones
        ([0.99, 0.95, 0.965, 0.9], (2,), 2, (2,)),  # a bump of 0.015 is none
        ([0.9, 0.7, 0.8, 0.79], (2,), 2, (2, 4)),
        ([0.5, 0.6, 0.7, 0.8], (5,), 5, (5,)),
        ([0.7], (2,), 2, (2,)),
    ],
)
def test_stable_levels(
    values: list[float], within: tuple[int, ...], suggested: int, peaks: tuple[int, ...]
) -> None:
    found = stability.stable_levels(dict(enumerate(values, 2)))
    assert found == (within, suggested, peaks)
