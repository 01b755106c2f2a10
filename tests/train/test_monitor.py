"""The monitor on a small model of four clusters, against counts and sums by hand."""

import jax
import numpy as np
import pytest
import scipy.special
import scipy.stats

from dgc_jax.model import normalisation
from dgc_jax.model.encoder import Encoder
from dgc_jax.model.mean_shift import UnrolledMeanShift
from dgc_jax.train import monitor
from dgc_jax.train.state import Recipe, create_state

CLUSTERS, CROPS, SIDE, BANDS = 4, 6, 16, 40


@pytest.fixture(scope="module")
def probes():
    """Crops of three materials in patches, with a tenth of the pixels and a corner invalid."""
    rng = np.random.default_rng(0)
    materials = rng.random((3, BANDS)).astype(np.float32)
    patches = rng.integers(0, 3, (CROPS, 4, 4)).repeat(4, axis=1).repeat(4, axis=2)
    noise = 0.05 * rng.normal(size=(CROPS, SIDE, SIDE, BANDS))
    crops = (materials[patches] + noise).astype(np.float32)
    valid = rng.random((CROPS, SIDE, SIDE)) > 0.1
    valid[0, :6, :6] = False
    return crops, valid


@pytest.fixture(scope="module")
def model(probes):
    # One convolution over the 20 bins and one shift: quicker to compile.
    encoder = Encoder(embedding=8, features=(8,), strides=(12,))
    recipe = Recipe(encoder=encoder, mean_shift=UnrolledMeanShift(iterations=1))
    return create_state(jax.random.key(0), recipe, *probes, clusters=CLUSTERS).model


@pytest.fixture(scope="module")
def embeddings(model, probes):
    """`[valid pixel, embedding]` z of the valid probe pixels, float64."""
    crops, valid = probes

    @jax.jit
    def shifted(crops, valid):
        spectra = normalisation.to_bins(crops, model.normalisation)
        return model.embed(spectra, valid)[1]

    return np.asarray(shifted(crops, valid), np.float64)[valid]


def observe(model, probes, before, threshold=0.98):
    return monitor.observe(model, *probes, before, threshold=threshold)


def with_centroids(model, rows):
    """The model with centroids that are these rows of its own, or their opposites."""
    bank = np.asarray(model.centroids)
    return model.replace(centroids=np.stack([np.sign(r) * bank[abs(r) - 1] for r in rows]))


def test_the_first_epoch_has_nothing_to_compare_with(model, probes):
    progress, numbers = observe(model, probes, monitor.begin(probes[1]))
    assert progress.settled == 0
    assert set(numbers) == {
        "monitor/active_clusters",
        "monitor/entropy",
        "monitor/soft_information",
    }


def test_labels_usage_and_doubt_are_those_of_the_valid_embeddings(model, probes, embeddings):
    bank = np.asarray(model.centroids, np.float64)
    q = scipy.special.softmax(embeddings @ bank.T / 0.05, axis=1)
    labels, usage, doubt = monitor.predict(model, *probes)
    distance = np.linalg.norm(embeddings[:, None] - bank[None], axis=-1)
    np.testing.assert_array_equal(np.asarray(labels)[probes[1]], distance.argmin(axis=1))
    np.testing.assert_allclose(usage, q.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(doubt, scipy.stats.entropy(q, axis=1).mean(), atol=1e-4)
    _, numbers = observe(model, probes, monitor.begin(probes[1]))
    want = scipy.stats.entropy(q.mean(axis=0)) - scipy.stats.entropy(q, axis=1).mean()
    assert numbers["monitor/soft_information"] == pytest.approx(want, abs=1e-4)


@pytest.mark.parametrize("rows", [(1, 2, 3, 4), (1, 1, 2, 2), (-1, 3, 3, 3)])
def test_active_clusters_and_entropy_are_those_of_the_counted_labels(
    model, probes, embeddings, rows
):
    changed = with_centroids(model, rows)
    labels = (embeddings @ np.asarray(changed.centroids).T).argmax(axis=1)
    counts = np.unique(labels, return_counts=True)[1]
    _, numbers = observe(changed, probes, monitor.begin(probes[1]))
    assert numbers["monitor/active_clusters"] == np.sum(counts > 1e-3 * len(labels))
    assert numbers["monitor/entropy"] == pytest.approx(scipy.stats.entropy(counts), abs=1e-9)


@pytest.mark.parametrize(("stray", "active"), [(1, 3), (2, 4)])
def test_a_cluster_is_active_from_a_thousandth_of_the_pixels_on(
    model, probes, embeddings, stray, active
):
    # Three centroids serve three materials; the fourth is as long as it takes to win the pixels
    # whose ratio is smaller than its length, and no others.
    options = (np.delete(np.asarray(model.centroids), k, axis=0) for k in range(CLUSTERS))
    bank = max(options, key=lambda rows: (embeddings @ rows.T).max(axis=1).min())
    best = (embeddings @ bank.T).max(axis=1)
    assert best.min() > 0
    lure = embeddings[best.argmin()]
    ratio = np.sort(best / np.maximum(embeddings @ lure, 1e-9))
    lure = ratio[stray - 1 : stray + 1].mean() * lure
    lured = model.replace(centroids=np.stack([*bank, lure.astype(np.float32)]))
    assert 1 < 1e-3 * len(embeddings) < 2
    progress, numbers = observe(lured, probes, monitor.begin(probes[1]))
    assert np.sum(progress.labels[probes[1]] == 3) == stray
    assert numbers["monitor/active_clusters"] == active


def test_an_unchanged_state_agrees_with_itself_and_settles(model, probes):
    progress, _ = observe(model, probes, monitor.begin(probes[1]))
    for settled in (1, 2, 3):
        progress, numbers = observe(model, probes, progress)
        assert numbers["monitor/nmi"] == pytest.approx(1)
        assert numbers["monitor/variation_of_information"] == pytest.approx(0, abs=1e-9)
        assert numbers["monitor/mutual_information"] == pytest.approx(numbers["monitor/entropy"])
        assert progress.settled == settled


def test_other_names_for_the_same_clusters_are_no_change(model, probes):
    before, _ = observe(model, probes, monitor.begin(probes[1]))
    after, numbers = observe(with_centroids(model, (3, 1, 4, 2)), probes, before)
    assert np.any(after.labels != before.labels)
    assert numbers["monitor/nmi"] == pytest.approx(1)
    assert numbers["monitor/variation_of_information"] == pytest.approx(0, abs=1e-9)
    assert after.settled == 1


def test_a_change_starts_the_count_of_settled_epochs_again(model, probes):
    progress, _ = observe(model, probes, monitor.begin(probes[1]))
    progress, _ = observe(model, probes, progress)
    assert progress.settled == 1
    changed = with_centroids(model, (1, 1, 2, 2))
    strict, numbers = observe(changed, probes, progress)
    assert 0 < numbers["monitor/nmi"] < 0.98
    assert strict.settled == 0
    loose, _ = observe(changed, probes, progress, threshold=numbers["monitor/nmi"])
    assert loose.settled == 2


def test_a_collapse_lowers_the_three_other_numbers(model, probes):
    collapsed = with_centroids(model, (1, 1, 1, 1))
    begin = monitor.begin(probes[1])
    (progress, after), (_, before) = (
        observe(collapsed, probes, begin),
        observe(model, probes, begin),
    )
    for name in ("active_clusters", "entropy", "soft_information"):
        assert after[f"monitor/{name}"] < before[f"monitor/{name}"]
    assert after["monitor/active_clusters"] == 1
    assert after["monitor/entropy"] == 0
    assert after["monitor/soft_information"] == pytest.approx(0, abs=1e-5)
    _, numbers = observe(collapsed, probes, progress)
    assert numbers["monitor/nmi"] == 1  # which is why NMI alone does not do


def test_what_lies_under_invalid_pixels_does_not_count(model, probes):
    crops, valid = probes
    poisoned = np.where(valid[..., None], crops, np.nan), valid
    begin = monitor.begin(valid)
    before = observe(model, probes, begin)[0]
    other = monitor.Progress(np.where(valid, before.labels, 3), 0)
    changed = with_centroids(model, (1, 1, 2, 2))
    assert observe(model, probes, begin)[1] == observe(model, poisoned, begin)[1]
    assert observe(changed, probes, before)[1] == observe(changed, probes, other)[1]


def test_probes_without_a_valid_pixel_settle_nothing(model, probes):
    nowhere = probes[0], np.zeros_like(probes[1])
    progress, first = observe(model, nowhere, monitor.begin(nowhere[1]))
    progress, numbers = observe(model, nowhere, progress)
    assert progress.settled == 0
    assert first["monitor/active_clusters"] == numbers["monitor/active_clusters"] == 0
