"""The bank of centroids against SciPy, scikit-learn and float64 formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special
from sklearn.cluster import KMeans

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
