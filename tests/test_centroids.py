"""The bank of centroids against SciPy, scikit-learn and float64 formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.cluster.hierarchy
import scipy.spatial.distance
import scipy.special
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from dgc_jax.model import centroids

PIXELS, CLUSTERS, EMBEDDING = 600, 6, 8


def normalised(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def directions(seed, number=CLUSTERS, size=EMBEDDING):
    return normalised(np.random.default_rng(seed).normal(size=(number, size)))


def planted(seed, noise=0.05):
    """Pixels around six orthogonal directions, 2 % to 50 % each, and those directions."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(EMBEDDING, EMBEDDING)))[0][:CLUSTERS]
    shares = np.repeat(np.arange(CLUSTERS), [300, 150, 72, 48, 18, 12])
    pixels = normalised(axes[shares] + noise * rng.normal(size=(PIXELS, EMBEDDING)))
    return rng.permutation(pixels).astype(np.float32), axes


def spread(pixels, bank):
    """What spherical k-means minimises: the mean of 1 - cosine to the nearest centroid."""
    return np.mean(1 - (pixels @ normalised(bank).T).max(axis=1))


# --- start


@pytest.mark.parametrize("seed", range(6))
def test_the_start_finds_the_planted_directions(seed):
    pixels, axes = planted(seed)
    bank = np.asarray(centroids.start(jax.random.key(seed), pixels, CLUSTERS))
    np.testing.assert_allclose(np.linalg.norm(bank, axis=1), 1, atol=1e-5)
    cosines = bank @ axes.T
    assert sorted(cosines.argmax(axis=1)) == list(range(CLUSTERS))  # one each
    assert cosines.max(axis=0).min() > 0.99


@pytest.mark.parametrize("seed", range(3))
def test_the_start_is_as_tight_as_scikit_learns_k_means(seed):
    pixels, _ = planted(seed, noise=0.6)  # no clear clusters: the optimum is not given
    bank = np.asarray(centroids.start(jax.random.key(seed), pixels, CLUSTERS, restarts=5))
    rival = KMeans(CLUSTERS, n_init=10, random_state=seed).fit(pixels).cluster_centers_
    assert spread(pixels, bank) < 1.02 * spread(pixels, rival)
    assert spread(pixels, bank) < 0.9 * spread(pixels, pixels[:CLUSTERS])


def test_the_start_is_a_function_of_its_key():
    pixels, _ = planted(0, noise=0.6)
    one, same, other = (
        np.asarray(centroids.start(jax.random.key(k), pixels, CLUSTERS)) for k in (3, 3, 4)
    )
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other)


@pytest.mark.parametrize("distinct", [1, 3])
def test_fewer_distinct_pixels_than_clusters_give_finite_unit_centroids(distinct):
    pixels = np.repeat(directions(0, distinct), PIXELS // distinct, axis=0).astype(np.float32)
    bank = np.asarray(centroids.start(jax.random.key(0), pixels, CLUSTERS))
    np.testing.assert_allclose(np.linalg.norm(bank, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose((bank @ pixels[:: PIXELS // distinct].T).max(axis=0), 1, atol=1e-5)


def test_the_random_start_is_made_of_different_pixels():
    pixels, _ = planted(0)
    bank = np.asarray(centroids.random_start(jax.random.key(0), pixels, CLUSTERS))
    chosen = [int(np.flatnonzero((pixels == row).all(axis=1))[0]) for row in bank]
    assert len(set(chosen)) == CLUSTERS


# --- assignment


def test_the_assignment_is_the_softmax_of_the_cosines():
    pixels, bank = directions(1, 24).reshape(2, 3, 4, EMBEDDING), directions(2)
    got = centroids.assign(jnp.asarray(pixels), jnp.asarray(bank), 0.05)
    want = scipy.special.softmax(pixels @ bank.T / 0.05, axis=-1)
    np.testing.assert_allclose(np.exp(got), want, rtol=1e-4, atol=1e-7)


def test_logarithms_of_hopeless_assignments_stay_finite():
    bank = jnp.stack([jnp.eye(2)[0], -jnp.eye(2)[0]])
    log_q = centroids.assign(jnp.eye(2)[:1], bank, 0.01)
    np.testing.assert_allclose(log_q, [[0, -200]], atol=1e-4)


def test_the_label_is_the_nearest_centroid():
    pixels, bank = directions(1, 500), directions(2)
    want = scipy.spatial.distance.cdist(pixels, bank).argmin(axis=1)
    got = centroids.nearest(jnp.asarray(pixels).reshape(20, 25, EMBEDDING), jnp.asarray(bank))
    np.testing.assert_array_equal(np.ravel(got), want)
    assert got.dtype == jnp.int32


# --- the moving average

DECAY, NOISE, DEAD = 0.9, 0.05, 1e-3


@jax.jit
def move(key, bank, pixels, q):
    return centroids.move(key, bank, pixels, q, decay=DECAY, noise=NOISE, dead=DEAD)


@pytest.fixture
def moving():
    """Bank, pixels and assignments; 40 of 100 pixels are invalid, cluster 2 has next to none."""
    bank, pixels = directions(0), directions(1, 100)
    logits = np.random.default_rng(2).normal(0, 2, (100, CLUSTERS))
    logits[:, 2] = -12
    q = scipy.special.softmax(logits, axis=1)
    pixels[60:], q[60:] = 0, 0
    return bank.astype(np.float32), pixels.astype(np.float32), q.astype(np.float32)


def test_a_move_is_its_formula_and_kicks_only_the_dead(moving):
    bank, pixels, q = (x.astype(np.float64) for x in moving)
    key = jax.random.key(5)
    want = normalised(DECAY * bank + (1 - DECAY) * normalised(q[:60].T @ pixels[:60]))
    assert q[:, 2].sum() < DEAD / CLUSTERS * q.sum()
    kick = np.asarray(jax.random.normal(key, bank.shape))[2]
    want[2] = normalised(bank[2] + NOISE * kick)
    got = move(key, *moving)
    np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


def test_noise_reaches_no_living_centroid(moving):
    one, other = (np.asarray(move(jax.random.key(k), *moving)) for k in (0, 1))
    changed = np.any(one != other, axis=1)
    np.testing.assert_array_equal(np.flatnonzero(changed), [2])


def test_a_pixel_without_assignment_moves_nothing(moving):
    bank, pixels, q = moving
    strange = pixels.copy()
    strange[60:] = 7
    key = jax.random.key(0)
    np.testing.assert_array_equal(move(key, bank, pixels, q), move(key, bank, strange, q))


def test_a_batch_without_valid_pixels_leaves_every_centroid_where_it_is(moving):
    bank, pixels, q = moving
    got = move(jax.random.key(0), bank, 0 * pixels, 0 * q)
    np.testing.assert_allclose(got, bank, atol=1e-6)


def test_repeated_moves_converge_to_the_mean_of_the_assigned_pixels(moving):
    bank, pixels, q = moving
    for step in range(200):
        bank = move(jax.random.key(step), bank, pixels, q)
    alive = [0, 1, 3, 4, 5]
    want = normalised(q.T @ pixels)[alive]
    np.testing.assert_allclose(np.asarray(bank)[alive], want, atol=1e-4)


def test_no_gradient_flows_through_a_move(moving):
    def first(bank, pixels, q):
        return jnp.sum(move(jax.random.key(0), bank, pixels, q)[:, 0])

    for gradient in jax.grad(first, argnums=(0, 1, 2))(*moving):
        assert not np.any(gradient)


# --- the tree


def spectra_of(clusters, bands=30, seed=0):
    """Random smooth reflectance spectra 0.05..0.8."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(size=(clusters, bands)), axis=1)
    walk -= walk.min(axis=1, keepdims=True)
    return 0.05 + 0.75 * walk / walk.max(axis=1, keepdims=True)


def unit_rows(spectra):
    spectra = np.sqrt(spectra)
    return spectra / np.linalg.norm(spectra, axis=1, keepdims=True)


def test_with_equal_counts_the_tree_is_scipys_ward_linkage_of_the_unit_square_roots():
    spectra = spectra_of(9)
    want = scipy.cluster.hierarchy.linkage(unit_rows(spectra), method="ward")
    np.testing.assert_allclose(centroids.merge_tree(spectra, np.ones(9)), want, rtol=1e-9)


def test_a_cluster_weighs_as_many_copies_of_it_as_the_root_of_its_pixels():
    spectra, copies = spectra_of(7), np.array([1, 4, 2, 1, 3, 5, 2])
    tree = centroids.merge_tree(spectra, copies**2)
    repeated = scipy.cluster.hierarchy.linkage(np.repeat(unit_rows(spectra), copies, 0), "ward")
    np.testing.assert_allclose(tree[:, 2], repeated[-6:, 2], rtol=1e-6)  # the copies join at 0
    for clusters in range(1, 8):
        want = scipy.cluster.hierarchy.fcluster(repeated, clusters, criterion="maxclust")
        got = np.repeat(centroids.cut_tree(tree, clusters), copies)
        assert adjusted_rand_score(want, got) == 1


def test_a_common_gain_changes_nothing():
    spectra = spectra_of(9)
    np.testing.assert_allclose(
        centroids.merge_tree(3.7 * spectra, np.ones(9)),
        centroids.merge_tree(spectra, np.ones(9)),
        rtol=1e-9,
    )


def test_the_shaded_and_the_lit_part_of_a_material_join_first():
    materials = spectra_of(4, seed=3)
    spectra = np.concatenate([gain * materials for gain in (0.5, 0.8, 1.2)])
    groups = centroids.cut_tree(centroids.merge_tree(spectra, np.ones(12)), 4)
    np.testing.assert_array_equal(groups, np.tile(np.arange(4), 3))
    by_value = scipy.cluster.hierarchy.linkage(spectra, method="ward")
    assert adjusted_rand_score(centroids.cut_tree(by_value, 4), groups) < 0.9


def test_negative_and_zero_reflectance_give_a_finite_tree():
    spectra = spectra_of(4) - 0.2
    spectra[0] = 0
    assert np.all(np.isfinite(centroids.merge_tree(spectra, np.ones(4))))


def test_a_cluster_without_pixels_is_refused_and_a_lone_one_has_no_merges():
    with pytest.raises(ValueError, match="every cluster needs pixels"):
        centroids.merge_tree(spectra_of(3), np.array([4, 0, 1]))
    assert centroids.merge_tree(spectra_of(1), np.ones(1)).shape == (0, 4)


@pytest.mark.parametrize("clusters", [1, 2, 4, 9, 12, 40])
def test_a_cut_is_scipys_as_a_partition_numbered_by_first_leaves(clusters):
    tree = centroids.merge_tree(spectra_of(12), np.ones(12))
    got = centroids.cut_tree(tree, clusters)
    want = scipy.cluster.hierarchy.fcluster(tree, clusters, criterion="maxclust")
    assert adjusted_rand_score(want, got) == 1
    assert len(np.unique(got)) == min(clusters, 12)
    _, first = np.unique(got, return_index=True)
    assert np.all(np.diff(first) > 0)


def test_a_cut_below_tied_merges_still_leaves_the_number_asked_for():
    tree = scipy.cluster.hierarchy.linkage(np.repeat([[0.0], [1.0]], 3, axis=0), "average")
    for clusters in range(1, 7):
        assert len(np.unique(centroids.cut_tree(tree, clusters))) == clusters


def test_ids_run_from_dark_to_bright_by_the_mean_over_pixels():
    groups = np.array([0, 1, 0, 2])
    spectra = np.array([[0.1, 0.3], [0.4, 0.4], [0.8, 1.0], [0.2, 0.4]])
    # Group 0 holds 0.2 and 0.9: the mean over pixels, not over clusters, decides its place.
    mostly_dark, mostly_bright = np.array([95, 10, 5, 10]), np.array([5, 10, 95, 10])
    dark = centroids.order_by_brightness(groups, spectra, mostly_dark)
    bright = centroids.order_by_brightness(groups, spectra, mostly_bright)
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
    merged = centroids.merge(spectra, counts, bank, 4)
    assert merged.live.tolist() == [0, 1, 2, 4, 5, 7]
    # Materials by cluster: a b c - a b - d, with a 0.4, b 0.1, c 0.3 and d 0.2 bright.
    assert merged.lookup.tolist() == [4, 1, 3, 1, 4, 1, 4, 2]
    assert merged.lookup.dtype == np.uint8
    np.testing.assert_allclose(
        merged.tree, centroids.merge_tree(spectra[merged.live], counts[merged.live])
    )


def test_ids_are_one_to_k_or_as_many_as_have_pixels(trained):
    for clusters in range(1, 9):
        merged = centroids.merge(*trained, clusters)
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
    merged = centroids.merge(*many, default)
    number = len(merged.live)
    assert number == 35
    assert merged.leaves.dtype == np.uint8
    for clusters in range(1, number + 1):
        ids = centroids.cut_ids(merged.tree, merged.live, merged.leaves, clusters)[
            merged.leaves - 1
        ]
        got = ids[merged.live]
        want = scipy.cluster.hierarchy.fcluster(merged.tree, clusters, criterion="maxclust")
        assert adjusted_rand_score(want, got) == 1
        if clusters >= default:
            assert np.unique(got).tolist() == list(range(1, clusters + 1))
        if clusters == min(default, number):
            by_brightness = centroids.order_by_brightness(
                want - 1, *(x[merged.live] for x in many[:2])
            )
            np.testing.assert_array_equal(got, by_brightness)
            np.testing.assert_array_equal(ids, merged.lookup)


def test_on_the_way_down_the_larger_part_keeps_the_id_and_nothing_else_changes(many):
    merged = centroids.merge(*many, 4)
    pixels = many[1][merged.live]

    def at(clusters):
        ids = centroids.cut_ids(merged.tree, merged.live, merged.leaves, clusters)
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
    merged = centroids.merge(
        rng.uniform(0.1, 0.9, (255, 5)), np.ones(255, int), directions(2, 255, 8), 3
    )
    assert sorted(merged.leaves.tolist()) == list(range(1, 256))
