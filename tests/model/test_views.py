"""What clusters are like, and their tree: against SciPy, scikit-learn and counting by hand."""

import itertools

import numpy as np
import pytest
import scipy.cluster.hierarchy
from sklearn.metrics import adjusted_rand_score

from dgc_jax.model import mixtures, views
from dgc_jax.model.tree import cut_tree

PLAIN = views.Weighting(0.5, 2.0, 1.0, 64)
SIDES = ((0, 1), (1, 0), (1, 1), (1, -1))  # to the right, below, along both diagonals


def described(labels, spectra, soft=None):
    """The description of a map `[..., row, column]` of clusters that have these spectra.

    Args:
        labels: from 0; -1 where invalid.
        spectra: `[K, band]`.
        soft: `[..., row, column, K]` assignments; None: each pixel is sure.
    """
    clusters, valid = len(spectra), labels >= 0
    member = np.eye(clusters)[labels[valid]]
    soft = member if soft is None else soft[valid]
    near = views.neighbours(labels, clusters)
    middle = mixtures.between(labels, clusters, views.DISTANCE)
    return views.Description(member.sum(0).astype(int), spectra, member.T @ soft, near, middle)


def spectra_of(clusters, seed=0, bands=20):
    return np.random.default_rng(seed).uniform(0.05, 0.9, (clusters, bands))


@pytest.fixture(scope="module")
def many():
    """Nine clusters in patches, unsure of their borders, with all kinds of sizes."""
    rng = np.random.default_rng(1)
    patches = rng.choice(9, p=np.arange(1, 10) / 45, size=(3, 9, 8))
    labels = patches.repeat(3, axis=1).repeat(3, axis=2)
    soft = rng.dirichlet(np.full(9, 0.2), labels.shape) + 199 * np.eye(9)[labels]
    labels[rng.random(labels.shape) < 0.1] = -1
    return described(labels, spectra_of(9), soft / 200)


# --- neighbours


@pytest.mark.parametrize(("rows", "columns"), [(7, 9), (3, 9), (9, 2), (1, 1), (3, 4), (4, 3)])
@pytest.mark.parametrize("distance", [1, 3])
def test_neighbours_are_those_of_all_pairs_of_pixels(rows, columns, distance):
    labels = np.random.default_rng(rows).integers(-1, 3, (2, rows, columns)).astype(np.int32)
    want = np.zeros((3, 3), int)
    for crop in labels:  # never from one crop to another
        for (r, c), (y, x) in itertools.product(np.ndindex(rows, columns), repeat=2):
            step = (y - r, x - c)
            beside = any(step in ((d * distance, e * distance),) for d, e in SIDES)
            if beside and crop[r, c] >= 0 and crop[y, x] >= 0:
                want[crop[r, c], crop[y, x]] += 1
                want[crop[y, x], crop[r, c]] += 1
    got = views.neighbours(labels, 3, distance)
    np.testing.assert_array_equal(got, want)
    assert got.dtype == np.int64
    # Crops add, which is why they may come in batches.
    np.testing.assert_array_equal(sum(views.neighbours(crop, 3, distance) for crop in labels), got)


def test_neighbours_of_a_map_without_valid_pixels_are_none():
    assert not views.neighbours(np.full((2, 9, 9), -1), 4).any()


# --- the views


@pytest.mark.parametrize("weighting", views.WEIGHTINGS)
def test_each_view_has_zero_mean_and_its_weight_as_variance_over_the_pixels(many, weighting):
    sizes = (1, 1, weighting.passage, weighting.place)
    for view, size in zip(views.views(many, weighting), sizes, strict=True):
        pixels = np.repeat(view, many.counts, axis=0)  # one row a pixel
        np.testing.assert_allclose(pixels.mean(axis=0), 0, atol=1e-12)
        assert pixels.var(axis=0).sum() == pytest.approx(size)


@pytest.mark.parametrize("weighting", views.WEIGHTINGS)
def test_views_are_their_formulas(many, weighting):
    shape, brightness, passage, place = views.views(many, weighting)
    roots = np.sqrt(many.spectra)
    both = many.overlap + many.overlap.T
    step = both / both.sum(1, keepdims=True)
    walk = np.eye(9)
    for _ in range(weighting.steps):
        walk = walk @ step
    near = many.neighbours / many.neighbours.sum(1, keepdims=True)
    wanted = (roots / np.linalg.norm(roots, axis=1, keepdims=True), roots, walk**0.5, None)
    wanted = (*wanted[:3], (near @ near) ** 0.5)
    passage, place = passage / weighting.passage**0.5, place / weighting.place**0.5
    for got, want in zip((shape, brightness, passage, place), wanted, strict=True):
        pixels = np.repeat(want, many.counts, axis=0)
        want = (want - pixels.mean(0)) / np.sqrt(pixels.var(axis=0).sum())
        np.testing.assert_allclose(got, want, atol=1e-9)


def test_a_gain_common_to_all_changes_no_view(many):
    brighter = many._replace(spectra=3.7 * many.spectra)
    for one, other in zip(views.views(many, PLAIN), views.views(brighter, PLAIN), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("lost", ["nothing", "overlap", "neighbours", "both"])
@pytest.mark.parametrize("clusters", [1, 2, 5])
@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("spectrum", [0.3, 0.0, -0.01])
def test_degenerate_clusters_give_finite_views_and_a_whole_tree(clusters, lost, alike, spectrum):
    labels = np.arange(64).reshape(8, 8) % clusters
    spectra = np.full((clusters, 6), spectrum) if alike else spectra_of(clusters, bands=6) - 0.2
    of = described(labels, spectra)
    if lost in ("overlap", "both"):
        of = of._replace(overlap=0 * of.overlap)
    if lost in ("neighbours", "both"):
        of = of._replace(neighbours=0 * of.neighbours)
    every = views.views(of, PLAIN)
    assert [v.shape for v in every] == [(clusters, 6)] * 2 + [(clusters, clusters)] * 2
    assert all(np.isfinite(v).all() for v in every)
    if alike:  # what rounding leaves of equal spectra is no view of them
        assert not np.any(every[0])
        assert not np.any(every[1])
    for weighting in views.WEIGHTINGS:
        tree = views.linkage(of, weighting)
        assert tree.shape == (clusters - 1, 4)
        assert np.isfinite(tree).all()
        assert scipy.cluster.hierarchy.is_valid_linkage(tree) or clusters == 1


# --- the tree


@pytest.mark.parametrize("seed", range(3))
def test_with_equal_weights_the_tree_is_scipys_ward_linkage(seed):
    points = np.random.default_rng(seed).normal(size=(17, 5))
    want = scipy.cluster.hierarchy.linkage(points, "ward")
    np.testing.assert_allclose(views.ward(points, np.ones(17)), want, rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_a_point_of_a_whole_weight_is_as_many_copies_of_it(seed):
    rng = np.random.default_rng(seed)
    points, copies = rng.normal(size=(9, 4)), rng.integers(1, 7, 9)
    tree = views.ward(points, copies)
    repeated = scipy.cluster.hierarchy.linkage(np.repeat(points, copies, axis=0), "ward")
    np.testing.assert_allclose(tree[:, 2], repeated[-8:, 2], rtol=1e-6)  # the copies join at 0
    for clusters in range(1, 10):
        want = scipy.cluster.hierarchy.fcluster(repeated, clusters, criterion="maxclust")
        assert adjusted_rand_score(want, np.repeat(cut_tree(tree, clusters), copies)) == 1


def test_a_common_factor_of_the_weights_changes_only_the_heights():
    rng = np.random.default_rng(0)
    points, weights = rng.normal(size=(9, 4)), rng.uniform(1, 9, 9)
    one, other = views.ward(points, weights), views.ward(points, 100 * weights)
    np.testing.assert_array_equal(one[:, [0, 1, 3]], other[:, [0, 1, 3]])
    np.testing.assert_allclose(10 * one[:, 2], other[:, 2])


def test_points_that_are_equal_join_first_and_never_above_their_number():
    tree = views.ward(np.array([[0.0], [1], [0], [1], [0]]), np.ones(5))
    assert tree[:3, 2].tolist() == [0, 0, 0]
    assert cut_tree(tree, 2).tolist() == [0, 1, 0, 1, 0]
    assert views.ward(np.zeros((1, 3)), np.ones(1)).shape == (0, 4)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 0.75, 1.0])
def test_another_order_of_the_clusters_gives_the_same_groups(many, exponent):
    weighting = PLAIN._replace(exponent=exponent)
    order = np.random.default_rng(5).permutation(9)
    shuffled = views.Description(
        many.counts[order],
        many.spectra[order],
        many.overlap[np.ix_(order, order)],
        many.neighbours[np.ix_(order, order)],
        many.between[np.ix_(order, order, order)],
    )
    plain, other = views.linkage(many, weighting), views.linkage(shuffled, weighting)
    np.testing.assert_allclose(plain[:, 2], other[:, 2])
    for clusters in range(1, 10):
        assert adjusted_rand_score(cut_tree(plain, clusters)[order], cut_tree(other, clusters)) == 1


@pytest.mark.parametrize("weighting", views.WEIGHTINGS)
def test_the_tree_is_wards_of_the_four_views_and_the_weights(many, weighting):
    hosts = mixtures.hosts(many.spectra, many.between)
    points = np.concatenate(views.views(many, weighting), axis=1)[hosts]
    want = views.ward(points, many.counts**weighting.exponent)
    got = views.linkage(many, weighting)
    np.testing.assert_array_equal(got[:, [0, 1, 3]], want[:, [0, 1, 3]])
    np.testing.assert_allclose(got[:, 2], want[:, 2], rtol=1e-14)  # sums may be taken in two orders


def test_a_cluster_without_pixels_has_no_part_in_the_tree(many):
    wider = views.Description(
        np.insert(many.counts, 4, 0),
        np.insert(many.spectra, 4, 0.0, axis=0),
        np.insert(np.insert(many.overlap, 4, 0.0, axis=0), 4, 1.0, axis=1),
        np.insert(np.insert(many.neighbours, 4, 0, axis=0), 4, 0, axis=1),
        np.insert(np.insert(np.insert(many.between, 4, 0, axis=0), 4, 0, axis=1), 4, 0, axis=2),
    )
    np.testing.assert_array_equal(views.linkage(wider, PLAIN), views.linkage(many, PLAIN))


def test_no_cluster_with_pixels_has_no_tree():
    empty = described(np.full((4, 4), -1), spectra_of(3))
    with pytest.raises(ValueError, match="expected clusters with pixels, found none"):
        views.linkage(empty, PLAIN)


# --- what each view is for


def passing(levels, width=12, seed=0):
    """A map of bands of columns, and how sure its pixels are: they lead into the next level.

    Pixels are shuffled, so that neither clusters' places nor those of their neighbours tell.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(levels), (4, 2 * width, width))
    near = np.exp(-((levels[:, None] - levels[None, :]) ** 2) / 2)
    return labels, (near / near.sum(1, keepdims=True))[labels]


def test_clusters_that_divide_a_gradient_join_before_the_gap():
    # 0..3 lead into each other and so do 4..7; 3 and 4 are as alike in colour as any neighbours.
    levels = np.array([0, 1, 2, 3, 9, 10, 11, 12.0])
    labels, soft = passing(levels)
    colours = np.linspace(0.2, 0.8, 8)[:, None] * np.ones(10)  # one shape, from dark to bright
    groups = cut_tree(views.linkage(described(labels, colours, soft), PLAIN), 2)
    assert groups.tolist() == [0] * 4 + [1] * 4
    # Where the gap is elsewhere, so are the groups, though all colours are as they were.
    labels, soft = passing(np.array([0, 1, 7, 8, 9, 10, 11, 12.0]))
    groups = cut_tree(views.linkage(described(labels, colours, soft), PLAIN), 2)
    assert groups.tolist() == [0] * 2 + [1] * 6


def test_clusters_of_one_spectrum_that_live_in_different_places_keep_apart():
    # Left of column 24 clusters 0 and 1 are mixed, to the right 2 and 3; all have one spectrum.
    mixed = np.random.default_rng(0).integers(0, 2, (2, 24, 48))
    labels = mixed + 2 * (np.arange(48) >= 24)
    groups = cut_tree(views.linkage(described(labels, np.full((4, 10), 0.4)), PLAIN), 2)
    assert groups.tolist() == [0, 0, 1, 1]


def test_one_shape_in_two_brightnesses_parts_last_of_two_shapes():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 4, (2, 24, 24))
    shapes = np.array([np.linspace(0.1, 0.6, 10), np.linspace(0.6, 0.1, 10)])
    spectra = np.concatenate([shapes, 1.5 * shapes])
    groups = cut_tree(views.linkage(described(labels, spectra), PLAIN), 2)
    assert groups.tolist() == [0, 1, 0, 1]
    # Of one shape, brightness is all that tells them apart.
    flat = np.array([0.2, 0.8, 0.25, 0.85])[:, None] * np.ones(10)
    groups = cut_tree(views.linkage(described(labels, flat), PLAIN), 2)
    assert groups.tolist() == [0, 1, 0, 1]


# --- the choice


def test_the_choice_agrees_best_with_the_others_by_scikit_learns_index():
    rng = np.random.default_rng(0)
    base = rng.integers(0, 6, 4000)
    maps = [np.where(rng.random(4000) < p, rng.integers(0, 6, 4000), base) for p in (0.6, 0.1, 0.3)]
    groups = [rng.integers(0, 3, 6) for _ in maps]
    maps.append((maps[1] + 4) % 9)  # the second once more, in other numbers: the first counts
    groups.append(np.array([groups[1], groups[1]]).reshape(-1)[(np.arange(9) + 5) % 9])
    sizes = [len(g) for g in groups]
    tables = [
        [
            np.bincount(a * m + b, minlength=n * m).reshape(n, m)
            for b, m in zip(maps, sizes, strict=True)
        ]
        for a, n in zip(maps, sizes, strict=True)
    ]
    cuts = [g[m] for g, m in zip(groups, maps, strict=True)]
    score = [
        np.mean([adjusted_rand_score(a, b) for j, b in enumerate(cuts) if j != i])
        for i, a in enumerate(cuts)
    ]
    choice = views.medoid(groups, tables)
    assert choice.position == int(np.argmax(np.round(score, 9))) == 1
    assert choice.agreement == pytest.approx(max(score), abs=1e-9)
    assert np.ptp(score) > 0.05


def test_a_choice_of_one_agrees_with_itself_and_of_equals_the_first_is_taken():
    groups, table = np.array([0, 1, 1]), np.diag([5, 3, 2])
    assert views.medoid([groups], [[table]]) == (0, 1.0)
    assert views.medoid([groups] * 3, [[table] * 3] * 3) == (0, 1.0)
