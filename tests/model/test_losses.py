"""The losses against float64 sums, what minimising each one does, and their balance."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats
from scipy.special import log_softmax

from dgc_jax.model import losses
from dgc_jax.model.centroids import assign, nearest, unit
from dgc_jax.train import options

PIXELS, CLUSTERS, EMBEDDING = 60, 5, 8


def normalised(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def case(seed, usable=0.7):
    """Random embeddings and log assignments of two views, centroids, and 0 at unusable pixels."""
    rng = np.random.default_rng(seed)
    z = normalised(rng.normal(size=(PIXELS, EMBEDDING)) + 0.7)
    log_q = log_softmax(rng.normal(0, 3, (PIXELS, CLUSTERS)), axis=-1)
    return SimpleNamespace(
        z=z,
        z2=normalised(z + 0.2 * rng.normal(size=z.shape)),
        bank=normalised(rng.normal(size=(CLUSTERS, EMBEDDING))),
        log_q=log_q,
        log_q2=log_softmax(log_q + rng.normal(0, 2, log_q.shape), axis=-1),
        weights=(rng.random(PIXELS) < usable).astype(float),
    )


# --- the oracles: the formulas of the module, over the usable pixels only


def compactness(c):
    use = c.weights > 0
    return np.mean(np.sum(np.exp(c.log_q[use]) * (1 - c.z[use] @ c.bank.T), axis=1))


def orthogonality(c, margin=0.3):
    use = c.weights > 0
    means = normalised(np.exp(c.log_q[use]).T @ c.z[use])
    pairs = [(j, k) for k in range(CLUSTERS) for j in range(k)]
    return np.mean([max(0, means[j] @ means[k] - margin) / (1 - margin) for j, k in pairs])


def consistency(c):
    use = c.weights > 0
    a, b = np.exp(c.log_q[use]), np.exp(c.log_q2[use])
    middle = (a + b) / 2
    divergence = np.sum(a * np.log2(a / middle) + b * np.log2(b / middle), axis=1) / 2
    return np.mean(divergence)


def balance(c):
    use = c.weights > 0
    pairs = zip(np.exp(c.log_q[use]), np.exp(c.log_q2[use]), strict=True)
    joint = np.mean([np.outer(q1, q2) for q1, q2 in pairs], axis=0)
    joint = (joint + joint.T) / 2
    first, second, both = (scipy.special.entr(x).sum() for x in (joint.sum(0), joint.sum(1), joint))
    return 1 - (first + second - both) / np.log(CLUSTERS)


def anchor(c):
    use = c.weights > 0
    return np.mean(1 - np.sum(c.z[use] * c.z2[use], axis=1))


ORACLES = {f.__name__: f for f in (compactness, orthogonality, consistency, balance, anchor)}
GIVEN = {
    "compactness": lambda z, z2, q, q2, bank, w: losses.compactness(z, q, bank, w),
    "orthogonality": lambda z, z2, q, q2, bank, w: losses.orthogonality(z, q, w),
    "consistency": lambda z, z2, q, q2, bank, w: losses.consistency(q, q2, w),
    "balance": lambda z, z2, q, q2, bank, w: losses.balance(q, q2, w),
    "anchor": lambda z, z2, q, q2, bank, w: losses.anchor(z, z2, w),
}
NAMES = list(ORACLES)


@pytest.fixture(scope="module")
def value_and_gradient():
    """Each loss with its gradient in both views' embeddings and log assignments, compiled once."""
    return {
        name: jax.jit(jax.value_and_grad(function, argnums=(0, 1, 2, 3)))
        for name, function in GIVEN.items()
    }


def inputs(c):
    arrays = (c.z, c.z2, c.log_q, c.log_q2, c.bank, c.weights)
    return [jnp.asarray(x, jnp.float32) for x in arrays]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("usable", [0.7, 0.1, 1.0])
def test_each_loss_equals_its_sum_over_the_usable_pixels(value_and_gradient, name, usable):
    for seed in range(3):
        c = case(seed, usable)
        got, _ = value_and_gradient[name](*inputs(c))
        np.testing.assert_allclose(got, ORACLES[name](c), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_passes_a_finite_difference_check(value_and_gradient, name):
    c = case(0)
    _, gradient = value_and_gradient[name](*inputs(c))
    rng = np.random.default_rng(9)
    for field, got in zip(("z", "z2", "log_q", "log_q2"), gradient, strict=True):
        direction, middle, step = rng.normal(size=got.shape), getattr(c, field), 1e-6
        values = []
        for sign in (1, -1):
            setattr(c, field, middle + sign * step * direction)
            values.append(ORACLES[name](c))
        setattr(c, field, middle)
        slope = (values[0] - values[1]) / (2 * step)
        np.testing.assert_allclose(np.sum(got * direction), slope, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_usable_pixel_a_loss_is_zero_and_its_gradient_too(value_and_gradient, name):
    loss, gradient = value_and_gradient[name](*inputs(case(0, usable=0)))
    assert loss == 0
    assert not any(np.any(g) for g in gradient)  # NaN would count


@pytest.mark.parametrize("name", NAMES)
def test_an_unusable_pixel_gets_no_gradient_and_has_no_say(value_and_gradient, name):
    c = case(0)
    out = c.weights == 0
    loss, gradient = value_and_gradient[name](*inputs(c))
    assert any(np.any(g) for g in gradient)
    for g in gradient:
        assert not np.any(np.asarray(g)[out])
    other = case(1)
    for field in ("z", "z2", "log_q", "log_q2"):
        getattr(c, field)[out] = getattr(other, field)[out]
    again, _ = value_and_gradient[name](*inputs(c))
    assert loss == again


@pytest.mark.parametrize("name", NAMES)
def test_no_loss_is_negative_and_one_is_its_scale(value_and_gradient, name):
    for seed in range(5):
        loss, _ = value_and_gradient[name](*inputs(case(seed)))
        assert 0 < loss < 2


def test_a_single_cluster_makes_no_loss_infinite():
    c = case(0)
    q, w = jnp.zeros((PIXELS, 1)), jnp.ones(PIXELS)
    z, bank = jnp.asarray(c.z, jnp.float32), jnp.asarray(c.bank[:1], jnp.float32)
    assert losses.orthogonality(z, q, w) == losses.consistency(q, q, w) == 0
    assert losses.balance(q, q, w) == 1
    np.testing.assert_allclose(
        losses.compactness(z, q, bank, w), np.mean(1 - c.z @ c.bank[0]), rtol=1e-5
    )


# --- what minimising each one does


def descend(loss, start, rate, steps=60):
    step = jax.jit(lambda x: x - rate * jax.grad(loss)(x))
    x = jnp.asarray(start, jnp.float32)
    first = loss(x)
    for _ in range(steps):
        x = step(x)
    assert loss(x) < first
    return np.asarray(x)


def spread(usage):
    """Entropy of a distribution over the clusters, over log K: 1 where usage is even."""
    return scipy.stats.entropy(usage) / np.log(len(usage))


def balance_of(logits):
    log_q = jax.nn.log_softmax(logits)
    return losses.balance(log_q, log_q, jnp.ones(len(logits)))


def test_minimising_balance_raises_the_entropy_of_the_usage():
    rng = np.random.default_rng(0)
    taste = rng.normal(0, 4, (200, 4)).astype(np.float32)  # what sets the pixels apart

    def usage(favour):
        return scipy.special.softmax(taste + favour, axis=-1).mean(axis=0)

    start = np.array([8.0, 0.0, 0.0, -3.0])  # most pixels in one cluster
    end = descend(lambda favour: balance_of(taste + favour[None]), start, rate=10.0)
    assert spread(usage(start)) < 0.5
    assert spread(usage(end)) > 0.95


def test_minimising_balance_makes_every_pixel_sure_and_fills_every_cluster():
    rng = np.random.default_rng(0)
    start = rng.normal(0, 0.5, (64, 4)) + np.array([2.0, 0, 0, 0])
    end = descend(balance_of, start, rate=64.0)
    before, after = (np.bincount(logits.argmax(1), minlength=4) for logits in (start, end))
    assert before.tolist() == [64, 0, 0, 0]
    assert after.min() >= 2
    assert spread(after) > 0.6
    sure = [scipy.special.softmax(logits, axis=-1).max(axis=1) for logits in (start, end)]
    assert sure[0].mean() < 0.8
    assert sure[1].min() > 0.9


def test_balance_is_least_when_usage_is_even_and_sure_and_greatest_when_it_tells_nothing():
    def value(q):
        log_q = jnp.log(jnp.asarray(q, jnp.float32) + 1e-12)
        return float(losses.balance(log_q, log_q, jnp.ones(len(q))))

    sure, unsure = np.eye(4)[np.arange(64) % 4], np.full((64, 4), 0.25)
    single = np.eye(4)[np.zeros(64, int)]
    uneven = np.eye(4)[np.minimum(np.arange(64) % 8, 3)]
    assert value(sure) == pytest.approx(0, abs=1e-5)
    assert value(unsure) == pytest.approx(1, abs=1e-5)
    assert value(single) == pytest.approx(1, abs=1e-5)
    assert 0.1 < value(uneven) < 0.9


def cluster_cosines(z, q):
    means = normalised(np.asarray(q).T @ normalised(np.asarray(z, float)))
    return np.abs((means @ means.T)[np.triu_indices(q.shape[1], 1)])


def test_minimising_orthogonality_lowers_the_cosines_between_cluster_means_to_the_margin():
    rng = np.random.default_rng(0)
    start = rng.normal(size=(48, EMBEDDING)) + 3 * np.eye(EMBEDDING)[0]
    log_q = log_softmax(6 * np.eye(3)[np.arange(48) % 3], axis=-1)

    def loss(x):
        return losses.orthogonality(unit(x), jnp.asarray(log_q, jnp.float32), jnp.ones(48))

    end = descend(loss, start, rate=100.0)
    assert cluster_cosines(start, np.exp(log_q)).min() > 0.8
    assert cluster_cosines(end, np.exp(log_q)).max() < 0.35


def test_clusters_farther_apart_than_the_margin_do_not_repel_each_other():
    z = jnp.eye(EMBEDDING)[np.arange(48) % 3]
    log_q = jnp.log(jnp.full((48, 3), 1e-4) + jnp.eye(3)[np.arange(48) % 3])
    loss, gradient = jax.jit(jax.value_and_grad(losses.orthogonality))(z, log_q, jnp.ones(48))
    assert loss == 0
    assert not np.any(gradient)
    assert losses.orthogonality(z, log_q, jnp.ones(48), margin=-0.5) > 0.3


def test_consistency_is_zero_for_equal_predictions_and_only_for_them():
    c = case(0)
    log_q, log_q2 = jnp.asarray(c.log_q), jnp.asarray(c.log_q2)
    assert losses.consistency(log_q, log_q, jnp.ones(PIXELS)) == pytest.approx(0, abs=1e-7)
    changed = log_q.at[7].set(log_q2[7])
    assert losses.consistency(log_q, changed, jnp.ones(PIXELS)) > 1e-4
    without = jnp.ones(PIXELS).at[7].set(0)
    assert losses.consistency(log_q, changed, without) == pytest.approx(0, abs=1e-7)


def test_consistency_is_scipys_jensen_shannon_divergence_in_bits_either_way_round():
    c = case(3)
    q1, q2 = np.exp(c.log_q), np.exp(c.log_q2)
    want = scipy.spatial.distance.jensenshannon(q1, q2, base=2, axis=1) ** 2
    log_q, log_q2 = jnp.asarray(c.log_q, jnp.float32), jnp.asarray(c.log_q2, jnp.float32)
    one, other = (
        losses.consistency(*q, jnp.ones(PIXELS)) for q in ((log_q, log_q2), (log_q2, log_q))
    )
    np.testing.assert_allclose(one, want.mean(), rtol=1e-5)
    assert one == other


@pytest.mark.parametrize("far", [50.0, 1e4])
def test_views_that_see_disjoint_clusters_are_one_bit_apart_and_give_finite_gradients(far):
    logits = far * np.eye(4)[:2]  # surely the first cluster, surely the second
    log_q = jax.nn.log_softmax(jnp.asarray(logits, jnp.float32))
    loss, gradient = jax.value_and_grad(losses.consistency, argnums=(0, 1))(
        log_q[:1], log_q[1:], jnp.ones(1)
    )
    assert loss == pytest.approx(1, abs=1e-6)
    assert np.isfinite(gradient).all()


def test_minimising_consistency_reconciles_the_shared_pixels_and_leaves_the_others():
    c = case(0)
    shared = jnp.asarray(c.weights, jnp.float32)

    def loss(logits):
        log_q = jax.nn.log_softmax(logits)
        return losses.consistency(log_q[0], log_q[1], shared)

    start = np.stack([c.log_q, c.log_q2]).astype(np.float32)
    end = descend(loss, start, rate=30.0)
    gap = [np.abs(np.subtract(*np.exp(log_softmax(x, axis=-1)))).max(1) for x in (start, end)]
    seen = c.weights > 0
    assert gap[1][seen].mean() < 0.2 * gap[0][seen].mean()
    np.testing.assert_array_equal(start[:, ~seen], end[:, ~seen])


def test_minimising_compactness_draws_embeddings_to_their_centroids():
    c = case(0)
    bank = jnp.asarray(c.bank, jnp.float32)

    def loss(x):
        z = unit(x)
        return losses.compactness(z, assign(z, bank, 0.05), bank, jnp.ones(PIXELS))

    end = normalised(descend(loss, c.z, rate=20.0))
    before, after = ((x @ c.bank.T).max(axis=1) for x in (c.z, end))
    assert before.mean() < 0.6
    assert after.min() > 0.95


def test_minimising_the_anchor_brings_embeddings_back_to_their_start():
    c = case(0)
    p0 = jnp.asarray(c.z2, jnp.float32)
    end = descend(lambda x: losses.anchor(unit(x), p0, jnp.ones(PIXELS)), -c.z2 + c.z, rate=20.0)
    assert np.sum(normalised(end) * c.z2, axis=1).min() > 0.99


# --- the sum


def test_the_total_weighs_every_term_by_its_name():
    weights = losses.Weights(1.0, 2.0, 4.0, 8.0, 16.0)
    terms = {name: jnp.float32(10**i) for i, name in enumerate(losses.Weights._fields)}
    assert losses.total(terms, weights) == 1 + 20 + 400 + 8000 + 160000
    del terms["anchor"]
    assert losses.total(terms, weights) == 1 + 20 + 400 + 8000


@pytest.fixture(scope="module")
def default_recipe():
    """The constants of training as the default configuration has them."""
    path = Path(__file__).parents[2] / "configs" / "default.py"
    return options.recipe(runpy.run_path(str(path))["get_config"]())


def two_views(shares, noise=0.05, pixels=1000, embedding=32):
    """Two noisy views `[2, pixel, embedding]` of pixels of orthogonal classes, and the classes."""
    counts = np.round(np.asarray(shares) * pixels).astype(int)
    counts[0] += pixels - counts.sum()
    classes = np.repeat(np.arange(len(shares)), counts)
    rng = np.random.default_rng(0)
    spread = rng.normal(0, noise, (2, len(classes), embedding))
    return normalised(np.eye(embedding)[classes] + spread), classes


@jax.jit(static_argnames="recipe")
def default_total(z, bank, recipe):
    """The sum of the four losses, with the weights, temperature and margin of the defaults."""
    log_q = assign(z, bank, recipe.temperature)
    both, both_q = z.reshape(-1, z.shape[-1]), log_q.reshape(-1, len(bank))
    every, once = jnp.ones(len(both)), jnp.ones(z.shape[1])
    terms = {
        "compactness": losses.compactness(both, both_q, bank, every),
        "orthogonality": losses.orthogonality(both, both_q, every, recipe.margin),
        "consistency": losses.consistency(log_q[0], log_q[1], once),
        "balance": losses.balance(log_q[0], log_q[1], once),
    }
    return losses.total(terms, recipe.weights._replace(anchor=0.0))


def shares(clusters, minority):
    """Even classes, or one class of the given share beside even ones."""
    if minority is None:
        return np.full(clusters, 1 / clusters)
    return np.append(np.full(clusters - 1, (1 - minority) / (clusters - 1)), minority)


@pytest.mark.parametrize("clusters", [2, 4, 16])
@pytest.mark.parametrize("minority", [None, 0.02])
def test_the_ideal_assignment_scores_lower_than_any_collapse(clusters, minority, default_recipe):
    views, classes = two_views(shares(clusters, minority))
    directions = np.eye(32)[:clusters]
    ideal = default_total(views, directions, default_recipe)

    mean = normalised(views.mean(axis=(0, 1)))
    merged = default_total(views, np.tile(mean, (clusters, 1)), default_recipe)
    assert ideal < merged - 0.4

    far = -normalised(directions.sum(axis=0))
    for middle in (mean, -far):
        bank = np.tile(far, (clusters, 1))
        bank[0] = middle
        assert not np.any(nearest(jnp.asarray(views), jnp.asarray(bank)))  # one cluster used
        assert ideal < default_total(views, bank, default_recipe) - 0.4

    joined = directions.copy()  # two classes share a centroid, the freed one is used by nobody
    joined[-2:] = normalised(directions[-1] + directions[-2]), -mean
    used = np.unique(nearest(jnp.asarray(views), jnp.asarray(joined)))
    assert len(used) == len(np.unique(classes)) - 1
    assert ideal < default_total(views, joined, default_recipe)
