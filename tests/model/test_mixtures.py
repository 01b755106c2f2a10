"""Clusters of mixed pixels: against counting by hand and scenes that are mixed by construction."""

import itertools

import numpy as np
import pytest
import scipy.ndimage

from dgc_jax.model import mixtures

SIDES = ((0, 1), (1, 0), (1, 1), (1, -1))


@pytest.mark.parametrize(("rows", "columns"), [(7, 9), (3, 9), (9, 2), (1, 1), (5, 3)])
@pytest.mark.parametrize("distance", [1, 2])
def test_between_is_what_every_pixel_has_on_opposite_sides(rows, columns, distance):
    labels = np.random.default_rng(rows).integers(-1, 3, (2, rows, columns)).astype(np.int32)
    want = np.zeros((3, 3, 3), int)
    for crop, (r, c), (d, e) in itertools.product(labels, np.ndindex(rows, columns), SIDES):
        ends = [(r + s * d * distance, c + s * e * distance) for s in (-1, 1)]
        if all(0 <= y < rows and 0 <= x < columns for y, x in ends):
            a, b = (crop[end] for end in ends)
            if min(crop[r, c], a, b) >= 0:
                want[crop[r, c], a, b] += 1
                want[crop[r, c], b, a] += 1
    got = mixtures.between(labels, 3, distance)
    np.testing.assert_array_equal(got, want)
    assert got.dtype == np.int64


def hosts_of(labels, spectra):
    return mixtures.hosts(spectra, mixtures.between(labels, len(spectra), 4)).tolist()


def rim(size=64):
    """0 outside of a disc, 1 inside, and a rim of 3 pixels that is its outer and 4 its inner part;
    2 are spots on the disc."""
    row, column = np.mgrid[:size, :size] - size / 2 + 0.5
    radius = np.hypot(row, column)
    labels = np.where(radius < 24, 1, 0)
    labels[(radius > 22) & (radius < 24)] = 4
    labels[(radius >= 24) & (radius < 26)] = 3
    for spot in ((0, 0), (10, -8), (-9, 11)):
        labels[np.hypot(row - spot[0], column - spot[1]) < 4] = 2
    return labels


RUBBER, LEAF, LESION = (
    np.linspace(0.05, 0.06, 12),
    np.concatenate([np.full(6, 0.08), np.full(6, 0.5)]),
    np.linspace(0.15, 0.3, 12),
)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_the_rim_of_a_leaf_is_what_it_is_mostly_made_of_and_its_spots_are_themselves(noise):
    outer, inner = 0.7 * RUBBER + 0.3 * LEAF, 0.3 * RUBBER + 0.7 * LEAF
    spectra = np.stack([RUBBER, LEAF, LESION, outer, inner])
    spectra += np.random.default_rng(0).normal(0, noise, spectra.shape)
    assert hosts_of(rim(), spectra) == [0, 1, 2, 0, 1]


def test_a_rim_of_a_material_of_its_own_is_no_mixture():
    # Were it a mixture, t would be 1/2, but it is bright where neither leaf nor rubber is.
    halo = 0.5 * RUBBER + 0.5 * LEAF
    halo[:6] += 0.3
    spectra = np.stack([RUBBER, LEAF, LESION, halo, LEAF])
    assert hosts_of(rim(), spectra)[3] == 3


def test_a_thin_vein_of_a_spectrum_between_others_is_no_mixture():
    # Paler than the leaf and so between leaf and rubber; but there is leaf on both sides of it.
    labels = np.zeros((48, 48), int)
    labels[:, 12:] = 1
    labels[:, 28:30] = 2
    spectra = np.stack([RUBBER, LEAF, 0.8 * LEAF + 0.2 * RUBBER])
    assert hosts_of(labels, spectra) == [0, 1, 2]


def test_a_mixture_of_mixtures_belongs_to_a_material():
    # Bands of columns from rubber to leaf; the middle ones have only each other beside them.
    parts = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    labels = np.repeat([0, 1, 2, 3, 4, 5], [20, 4, 4, 4, 4, 20])[None, :] * np.ones((30, 1), int)
    spectra = RUBBER + parts[:, None] * (LEAF - RUBBER)
    assert hosts_of(labels, spectra) == [0, 0, 0, 5, 5, 5]


@pytest.mark.parametrize("spectrum", [0.0, 0.3])
def test_clusters_that_are_alike_or_alone_are_themselves(spectrum):
    labels = np.arange(144).reshape(12, 12) % 3
    assert hosts_of(labels, np.full((3, 5), spectrum)) == [0, 1, 2]
    assert hosts_of(0 * labels, np.full((1, 5), spectrum)) == [0]
    assert hosts_of(np.full((3, 3), -1), np.full((2, 5), spectrum)) == [0, 1]


def test_blurred_edges_of_a_simulated_scene_go_to_the_sides_they_are_on():
    # Materials in Voronoi cells, blurred; clusters are the cells, and levels of the blur.
    rng = np.random.default_rng(3)
    seeds, material = rng.uniform(0, 96, (24, 2)), rng.integers(0, 3, 24)
    pixels = np.stack(np.mgrid[:96, :96], -1)[..., None, :]
    cells = material[np.argmin(np.sum((pixels - seeds) ** 2, -1), -1)]
    share = np.eye(3)[cells]
    share = scipy.ndimage.gaussian_filter(share, (1.5, 1.5, 0))
    pure, main = share.max(-1) > 0.9, share.argmax(-1)
    labels = np.where(pure, main, 3 + main)
    spectra = np.stack([share[labels == k].mean(0) for k in range(6)]) @ np.stack(
        [RUBBER, LEAF, LESION]
    )
    found = hosts_of(labels, spectra)
    assert found[:3] == [0, 1, 2]
    assert all(host in (k, k - 3) for k, host in enumerate(found[3:], 3))
