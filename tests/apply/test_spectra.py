"""Streamed statistics equal those of NumPy over all pixels at once."""

import numpy as np
import pytest

from dgc_jax.apply import spectra as sp


def _tile(seed=0, shape=(13, 11), bands=7, clusters=4):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, clusters + 1, shape).astype(np.uint8)
    reflectance = (rng.random((*shape, bands)) + labels[..., None]).astype(np.float32)
    return reflectance, labels


def _assert_is(spectra, reflectance, labels, clusters):
    for k in range(1, clusters + 1):
        members = reflectance[labels == k].astype(np.float64)
        assert spectra.count[k - 1] == len(members)
        np.testing.assert_allclose(spectra.mean[k - 1], members.mean(0), rtol=1e-13)
        np.testing.assert_allclose(
            sp.standard_deviation(spectra)[k - 1], members.std(0), rtol=1e-12
        )


def test_measure_gives_numpy_mean_and_standard_deviation():
    reflectance, labels = _tile()
    spectra = sp.measure(reflectance, labels, 4)
    assert spectra.count.dtype == np.int64
    assert spectra.mean.dtype == spectra.squares.dtype == np.float64
    _assert_is(spectra, reflectance, labels, 4)


def test_blocks_within_a_tile_do_not_show(monkeypatch):
    monkeypatch.setattr(sp, "_BLOCK", 10)
    reflectance, labels = _tile()
    _assert_is(sp.measure(reflectance, labels, 4), reflectance, labels, 4)


def test_combining_tiles_equals_measuring_the_whole_in_any_order():
    reflectance, labels = _tile(shape=(20, 11))
    tiles = [sp.measure(reflectance[s], labels[s], 4) for s in (np.s_[:3], np.s_[3:4], np.s_[4:])]
    for a, b, c in ((0, 1, 2), (2, 0, 1)):
        whole = sp.combine(tiles[a], sp.combine(tiles[b], tiles[c]))
        _assert_is(whole, reflectance, labels, 4)


def test_nothing_added_changes_nothing():
    spectra = sp.measure(*_tile(), 4)
    for same in (sp.combine(spectra, sp.empty(4, 7)), sp.combine(sp.empty(4, 7), spectra)):
        for found, expected in zip(same, spectra, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_small_spread_about_a_large_mean_survives_many_tiles():
    rng = np.random.default_rng(0)
    offsets = rng.standard_normal((200, 50, 1))
    values = 1e8 + offsets  # a sum of squares in float64 would be left with no digit of the spread
    total = sp.empty(1, 1)
    for tile in values:
        total = sp.combine(total, sp.measure(tile, np.ones(50, np.uint8), 1))
    exact = (values - 1e8).std()
    np.testing.assert_allclose(sp.standard_deviation(total), exact, rtol=1e-7)


def test_no_data_pixels_may_hold_anything():
    reflectance, labels = _tile()
    reflectance[labels == 0] = np.nan
    _assert_is(sp.measure(reflectance, labels, 4), reflectance, labels, 4)


def test_a_cluster_without_pixels_is_all_zero():
    spectra = sp.measure(*_tile(clusters=2), 5)
    assert not spectra.count[2:].any()
    assert not spectra.mean[2:].any()
    assert not sp.standard_deviation(spectra)[2:].any()


def test_merging_clusters_equals_measuring_the_merged_map():
    reflectance, labels = _tile(clusters=5)
    lookup = np.array([0, 2, 1, 2, 3, 1], np.uint8)
    merged = sp.merge(sp.measure(reflectance, labels, 5), lookup)
    _assert_is(merged, reflectance, lookup[labels], 3)


def test_a_cluster_merged_into_no_data_is_dropped():
    reflectance, labels = _tile(clusters=3)
    lookup = np.array([0, 1, 0, 1], np.uint8)
    merged = sp.merge(sp.measure(reflectance, labels, 3), lookup)
    _assert_is(merged, reflectance, lookup[labels], 1)


def test_arrays_that_do_not_fit_are_refused():
    reflectance, labels = _tile()
    with pytest.raises(ValueError, match=r"does not fit labels"):
        sp.measure(reflectance, labels[1:], 4)
    with pytest.raises(ValueError, match=r"labels 0..4 are not within 0..3"):
        sp.measure(reflectance, labels, 3)
    with pytest.raises(ValueError, match="new ids of 4 clusters"):
        sp.merge(sp.measure(reflectance, labels, 4), np.array([1, 1, 2, 2]))
