"""What clusters are like over a sample, against NumPy over its pixels, and the chosen tree."""

import jax
import numpy as np
import pytest
import scipy.special
from sklearn.metrics import adjusted_rand_score

from dgc_jax.model import mixtures, views
from dgc_jax.model.encoder import Encoder
from dgc_jax.model.mean_shift import UnrolledMeanShift
from dgc_jax.model.tree import cut_tree
from dgc_jax.train.describe import RARE, describe, find_banks, gather
from dgc_jax.train.state import Recipe, create_state, embeddings

CLUSTERS, CROPS, SIDE, BANDS, GROUPS = 6, 6, 16, 40, 3
PIXELS = 500
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def sample():
    """Crops of materials in patches; a tenth of the pixels and a corner are invalid, and NaN."""
    rng = np.random.default_rng(0)
    materials = rng.random((5, BANDS)).astype(np.float32)
    patches = rng.integers(0, 5, (CROPS, 4, 4)).repeat(4, axis=1).repeat(4, axis=2)
    crops = materials[patches] + 0.15 * rng.normal(size=(CROPS, SIDE, SIDE, BANDS))
    valid = rng.random((CROPS, SIDE, SIDE)) > 0.1
    valid[0, :6, :6] = False
    return np.where(valid[..., None], crops, np.nan).astype(np.float32), valid


@pytest.fixture(scope="module")
def model(sample):
    crops, valid = sample
    # One convolution over the 20 bins and one shift: quicker to compile.
    recipe = Recipe(
        encoder=Encoder(embedding=8, features=(8,), strides=(12,)),
        mean_shift=UnrolledMeanShift(iterations=1),
    )
    clean = np.where(valid[..., None], crops, 0)
    return create_state(jax.random.key(0), recipe, clean, valid, clusters=CLUSTERS).model


@pytest.fixture(scope="module")
def banks(model, sample):
    """Three banks; in the second one centroid is there twice, so that one has no pixels."""
    found = find_banks(model, KEY, *sample, starts=3, pixels=500).copy()
    found[1, 4] = found[1, 2]
    return found


@pytest.fixture(scope="module")
def cosines(model, sample, banks):
    """`[bank, valid pixel, K]` float64."""
    z = embeddings(model, *sample).astype(np.float64)
    return z @ banks.astype(np.float64).transpose(0, 2, 1)


@pytest.fixture(scope="module")
def gathered(model, banks, sample):
    return gather(model, banks, [sample])


def assert_described_alike(one, other):
    """Tables of pixels are equal; sums in float32 nearly so."""
    for (found, tables, floors), name in ((one, "one"), (other, "other")):
        assert len(found) == len(tables) == len(floors), name
    for a, b in zip(one[0], other[0], strict=True):
        np.testing.assert_array_equal(a.counts, b.counts)
        np.testing.assert_array_equal(a.neighbours, b.neighbours)
        np.testing.assert_array_equal(a.between, b.between)
        np.testing.assert_allclose(a.spectra, b.spectra, rtol=1e-5)
        np.testing.assert_allclose(a.overlap, b.overlap, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(one[1], other[1])
    assert one[2] == pytest.approx(other[2], abs=1.01e-4)  # a bin of the histogram


def test_what_is_gathered_is_counted_over_the_pixels(sample, banks, cosines, gathered):
    crops, valid = sample
    binned = crops[valid].astype(np.float64).reshape(-1, 20, 2).mean(axis=-1)
    found, tables, floors = gathered
    labels = cosines.argmax(axis=-1)
    member = np.eye(CLUSTERS)[labels]
    for b in range(len(banks)):
        counts = np.bincount(labels[b], minlength=CLUSTERS)
        np.testing.assert_array_equal(found[b].counts, counts)
        for k in range(CLUSTERS):
            want = binned[labels[b] == k].mean(axis=0) if counts[k] else np.zeros(20)
            np.testing.assert_allclose(found[b].spectra[k], want, rtol=1e-5)
        q = scipy.special.softmax(cosines[b] / 0.05, axis=-1)
        np.testing.assert_allclose(found[b].overlap, member[b].T @ q, rtol=1e-3, atol=1e-3)
        maps = np.full(valid.shape, -1)
        maps[valid] = labels[b]
        np.testing.assert_array_equal(found[b].neighbours, views.neighbours(maps, CLUSTERS))
        between = mixtures.between(maps, CLUSTERS, views.DISTANCE)
        np.testing.assert_array_equal(found[b].between, between)
        for a in range(len(banks)):
            np.testing.assert_array_equal(tables[a][b], member[a].T @ member[b])
        ordered = np.sort(cosines[b].max(axis=-1))
        rare = int(RARE * len(ordered))
        assert rare > 3
        # So many pixels are below the floor, and a histogram's bin more would be one more.
        assert ordered[rare] - 1e-4 - 1e-6 < floors[b] <= ordered[rare] + 1e-6
    assert found[1].counts[4] == 0
    assert not np.any(found[1].spectra[4])


def test_batches_add_up_and_an_empty_one_adds_nothing(model, banks, sample, gathered):
    crops, valid = sample
    parts = [(crops[:2], valid[:2]), (crops[:0], valid[:0])]
    parts += [(crops[i : i + 2], valid[i : i + 2]) for i in (2, 4)]
    assert_described_alike(gather(model, banks, iter(parts)), gathered)


def test_a_bank_is_described_as_it_would_be_alone(model, banks, sample, gathered):
    found, tables, floors = gathered
    alone = [found[1]], [[tables[1][1]]], [floors[1]]
    assert_described_alike(gather(model, banks[1:2], [sample]), alone)


def test_of_one_start_the_trained_bank_is_kept(model, sample):
    found = describe(model, np.asarray(model.centroids)[None], [sample], clusters=GROUPS)
    np.testing.assert_array_equal(found.bank, model.centroids)
    (alone,), (row,), (floor,) = gather(model, np.asarray(model.centroids)[None], [sample])
    np.testing.assert_array_equal(found.clusters.counts, alone.counts)
    assert found.floor == floor
    trees = [views.linkage(found.clusters, one) for one in views.WEIGHTINGS]
    cuts = [cut_tree(tree, GROUPS)[np.repeat(np.arange(CLUSTERS), row[0].sum(1))] for tree in trees]
    scores = [
        np.mean([adjusted_rand_score(a, b) for j, b in enumerate(cuts) if j != i])
        for i, a in enumerate(cuts)
    ]
    assert found.agreement == pytest.approx(max(scores))
    np.testing.assert_array_equal(found.tree, trees[int(np.argmax(np.round(scores, 9)))])


def test_of_several_starts_the_tree_whose_cut_agrees_best_is_taken(model, sample):
    banks = find_banks(model, KEY, *sample, starts=3, pixels=PIXELS)
    found = describe(model, banks, [sample], clusters=GROUPS)
    np.testing.assert_array_equal(banks[0], model.centroids)
    assert np.abs(banks[1] - banks[2]).max() > 0.01
    np.testing.assert_allclose(np.linalg.norm(banks, axis=-1), 1, atol=1e-5)
    labels = (embeddings(model, *sample) @ banks.transpose(0, 2, 1)).argmax(axis=-1)
    each, trees, maps = gather(model, banks, [sample])[0], [], []
    for b, description in enumerate(each):
        live = np.flatnonzero(description.counts)
        for one in views.WEIGHTINGS:
            trees.append((b, views.linkage(description, one)))
            maps.append(cut_tree(trees[-1][1], GROUPS)[np.searchsorted(live, labels[b])])
    score = [
        np.mean([adjusted_rand_score(a, b) for j, b in enumerate(maps) if j != i])
        for i, a in enumerate(maps)
    ]
    best, tree = trees[int(np.argmax(np.round(score, 9)))]
    assert found.agreement == pytest.approx(max(score))
    np.testing.assert_array_equal(found.bank, banks[best])
    np.testing.assert_array_equal(found.tree, tree)
    np.testing.assert_array_equal(found.clusters.counts, each[best].counts)

    same = find_banks(model, KEY, *sample, starts=3, pixels=PIXELS)
    again = describe(model, same, [sample], clusters=GROUPS)
    jax.tree.map(np.testing.assert_array_equal, again, found)


def test_one_pixel_a_cluster_can_be_described(model, sample):
    crops, valid = sample
    few = np.zeros_like(valid)
    few[np.unravel_index(np.flatnonzero(valid)[:CLUSTERS], valid.shape)] = True
    banks = find_banks(model, KEY, crops, few, starts=2, pixels=1)
    found = describe(model, banks, [(crops, few)], clusters=GROUPS)
    assert found.clusters.counts.sum() == CLUSTERS
    assert np.isfinite(found.tree).all()
    assert len(found.tree) == np.count_nonzero(found.clusters.counts) - 1
    assert -1 <= found.agreement <= 1
