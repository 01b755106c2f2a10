"""The tree's levels and ids: against SciPy's cuts, and ids that hold from level to level."""

import numpy as np
import pytest
import scipy.cluster.hierarchy
from conftest import merge_spectra
from sklearn.metrics import adjusted_rand_score

from dgc_jax.model import tree


def normalised(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def directions(seed, number, size):
    return normalised(np.random.default_rng(seed).normal(size=(number, size)))


def spectra_of(clusters, bands=30, seed=0):
    """Random smooth reflectance spectra 0.05..0.8."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(size=(clusters, bands)), axis=1)
    walk -= walk.min(axis=1, keepdims=True)
    return 0.05 + 0.75 * walk / walk.max(axis=1, keepdims=True)


@pytest.mark.parametrize("clusters", [1, 2, 4, 9, 12, 40])
def test_a_cut_is_scipys_as_a_partition_numbered_by_first_leaves(clusters):
    joined = scipy.cluster.hierarchy.linkage(spectra_of(12), "ward")
    got = tree.cut_tree(joined, clusters)
    want = scipy.cluster.hierarchy.fcluster(joined, clusters, criterion="maxclust")
    assert adjusted_rand_score(want, got) == 1
    assert len(np.unique(got)) == min(clusters, 12)
    _, first = np.unique(got, return_index=True)
    assert np.all(np.diff(first) > 0)


def test_a_cut_below_tied_merges_still_leaves_the_number_asked_for():
    joined = scipy.cluster.hierarchy.linkage(np.repeat([[0.0], [1.0]], 3, axis=0), "average")
    for clusters in range(1, 7):
        assert len(np.unique(tree.cut_tree(joined, clusters))) == clusters


def test_ids_run_from_dark_to_bright_by_the_mean_over_pixels():
    groups = np.array([0, 1, 0, 2])
    spectra = np.array([[0.1, 0.3], [0.4, 0.4], [0.8, 1.0], [0.2, 0.4]])
    # Group 0 holds 0.2 and 0.9: the mean over pixels, not over clusters, decides its place.
    mostly_dark, mostly_bright = np.array([95, 10, 5, 10]), np.array([5, 10, 95, 10])
    dark = tree.order_by_brightness(groups, spectra, mostly_dark)
    bright = tree.order_by_brightness(groups, spectra, mostly_bright)
    assert dark.tolist() == [1, 3, 1, 2]
    assert bright.tolist() == [3, 2, 3, 1]
    assert dark.dtype == np.uint8


@pytest.fixture
def trained():
    """Eight clusters, two of each material; 3 and 6 are dead and lie near 1 and 0."""
    shapes = spectra_of(4, seed=3)
    shapes *= (np.array([0.4, 0.1, 0.3, 0.2]) / shapes.mean(axis=1))[:, None]  # brightness
    spectra = np.tile(shapes, (2, 1)) * np.repeat([1.0, 1.1], 4)[:, None]
    counts = np.array([50, 40, 30, 0, 20, 10, 0, 5])
    bank = directions(0, 8, 16)
    bank[3] = normalised(bank[1] + 0.1 * bank[3])
    bank[6] = normalised(bank[0] + 0.1 * bank[6])
    spectra[counts == 0] = 0
    return spectra, counts, bank


def test_merging_numbers_the_materials_and_sends_the_dead_to_the_nearest_living(trained):
    spectra, counts, bank = trained
    merged = merge_spectra(spectra, counts, bank, 4)
    assert merged.live.tolist() == [0, 1, 2, 4, 5, 7]
    # Materials by cluster: a b c - a b - d, with a 0.4, b 0.1, c 0.3 and d 0.2 bright.
    assert merged.lookup.tolist() == [4, 1, 3, 1, 4, 1, 4, 2]
    assert merged.lookup.dtype == np.uint8


def test_ids_are_one_to_k_or_as_many_as_have_pixels(trained):
    for clusters in range(1, 9):
        merged = merge_spectra(*trained, clusters)
        assert np.unique(merged.lookup).tolist() == list(range(1, min(clusters, 6) + 1))
        assert sorted(merged.leaves[merged.live]) == list(range(1, 7))
        assert merged.leaves[3] == merged.leaves[1]  # the dead are leaves of the nearest living
        assert merged.leaves[6] == merged.leaves[0]


@pytest.fixture(scope="module")
def many():
    """40 clusters, of which five are dead, and some have as many pixels as others."""
    rng = np.random.default_rng(4)
    counts = rng.integers(1, 6, 40) * 10
    counts[[0, 7, 8, 20, 39]] = 0
    return spectra_of(40, seed=5), counts, directions(1, 40, 16)


@pytest.mark.parametrize("default", [1, 2, 4, 20, 34, 35, 40])
def test_every_level_follows_from_the_leaves_and_is_a_cut_of_the_tree(many, default):
    merged = merge_spectra(*many, default)
    number = len(merged.live)
    assert number == 35
    assert merged.leaves.dtype == np.uint8
    for clusters in range(1, number + 1):
        ids = tree.cut_ids(merged.tree, merged.live, merged.leaves, clusters)[merged.leaves - 1]
        got = ids[merged.live]
        want = scipy.cluster.hierarchy.fcluster(merged.tree, clusters, criterion="maxclust")
        assert adjusted_rand_score(want, got) == 1
        if clusters >= default:
            assert np.unique(got).tolist() == list(range(1, clusters + 1))
        if clusters == min(default, number):
            by_brightness = tree.order_by_brightness(want - 1, *(x[merged.live] for x in many[:2]))
            np.testing.assert_array_equal(got, by_brightness)
            np.testing.assert_array_equal(ids, merged.lookup)


def test_on_the_way_down_the_larger_part_keeps_the_id_and_nothing_else_changes(many):
    merged = merge_spectra(*many, 4)
    pixels = many[1][merged.live]

    def at(clusters):
        ids = tree.cut_ids(merged.tree, merged.live, merged.leaves, clusters)
        return ids[merged.leaves[merged.live] - 1]

    ties = 0
    for clusters in range(4, 35):
        before, after = at(clusters), at(clusters + 1)
        changed = before != after
        assert np.all(after[changed] == clusters + 1)
        (split,) = np.unique(before[changed])
        kept = after == split
        assert pixels[kept].sum() >= pixels[changed].sum()
        if pixels[kept].sum() == pixels[changed].sum():
            ties += 1
            assert np.flatnonzero(kept)[0] < np.flatnonzero(changed)[0]
    assert ties > 0


def test_255_clusters_have_ids_of_one_byte():
    rng = np.random.default_rng(6)
    merged = merge_spectra(
        rng.uniform(0.1, 0.9, (255, 5)), np.ones(255, int), directions(2, 255, 8), 3
    )
    assert sorted(merged.leaves.tolist()) == list(range(1, 256))


def test_a_tree_over_ids_is_the_upper_part_of_the_tree() -> None:
    rng = np.random.default_rng(0)
    linkage = scipy.cluster.hierarchy.linkage(rng.normal(size=(12, 3)), "ward")
    live = np.arange(12) + 1  # one trained cluster has no pixels
    for level in (2, 5, 12):
        groups = tree.cut_tree(linkage, level)
        leaves = np.array([1, *(groups + 1)], np.uint8)
        found, ids = tree.of_ids(linkage, live, leaves)
        assert ids.tolist() == list(range(1, level + 1))
        scipy.cluster.hierarchy.is_valid_linkage(found, throw=True)
        for clusters in range(1, level + 1):
            expected = tree.cut_tree(linkage, clusters)
            got = tree.cut_tree(found, clusters)[groups]
            assert adjusted_rand_score(expected, got) == 1


def test_parents_are_what_a_finer_level_parts() -> None:
    rng = np.random.default_rng(1)
    linkage = scipy.cluster.hierarchy.linkage(rng.normal(size=(9, 3)), "ward")
    live = np.arange(9)
    leaves = tree.number_leaves(
        linkage, live, rng.uniform(size=(9, 4)), rng.integers(1, 50, 9), np.eye(9), 3
    )
    parents = tree.parents(linkage, live, leaves, 3)
    assert parents[:3].tolist() == [0, 0, 0]
    for number in range(4, 10):
        coarse = tree.cut_ids(linkage, live, leaves, number - 1)
        fine = tree.cut_ids(linkage, live, leaves, number)
        assert coarse[fine == number].tolist() == [parents[number - 1]] * sum(fine == number)
        assert parents[number - 1] in fine  # which keeps its id


def test_levels_stand_out_before_long_joins() -> None:
    heights = [
        1,
        1.1,
        1.2,
        3.0,
        3.1,
        3.2,
        9.0,
    ]  # of 8 leaves: 5 groups after three joins, 2 after six
    linkage = np.array([[0, 1, h, 2] for h in heights], float)
    assert tree.standing_out(linkage) == [2, 5]
    assert tree.standing_out(linkage[:3]) == []
    assert tree.standing_out(np.zeros((0, 4))) == []
