"""The sieve: small regions join their neighbours, as a slow flood fill says."""

from collections import Counter

import numpy as np
import pytest

from dgc_jax.apply.sieve import sieve

Pixel = tuple[int, int]


def picture(text: str) -> np.ndarray:
    """A label map, drawn with digits."""
    return np.array([[int(digit) for digit in line] for line in text.split()], np.uint8)


def neighbours(pixel: Pixel, labels: dict[Pixel, int]) -> list[Pixel]:
    row, column = pixel
    around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
    return [each for each in around if labels.get(each, 0) > 0]


def flood(labels: dict[Pixel, int]) -> list[frozenset[Pixel]]:
    """The regions of a map, pixel by pixel."""
    left, regions = {pixel for pixel, label in labels.items() if label > 0}, []
    while left:
        region, edge = set(), [left.pop()]
        while edge:
            pixel = edge.pop()
            region.add(pixel)
            for each in neighbours(pixel, labels):
                if each in left and labels[each] == labels[pixel]:
                    left.remove(each)
                    edge.append(each)
        regions.append(frozenset(region))
    return regions


def slow_sieve(array: np.ndarray, smallest: int) -> np.ndarray:
    """The rules of the module, word for word."""
    labels = {(int(r), int(c)): int(array[r, c]) for r, c in np.ndindex(array.shape)}
    regions = flood(labels)
    large = {pixel for region in regions if len(region) >= smallest for pixel in region}
    waiting = [region for region in regions if len(region) < smallest]
    while True:
        taken = {}
        for region in waiting:
            votes = Counter(
                labels[other]
                for pixel in region
                for other in neighbours(pixel, labels)
                if other not in region and other in large
            )
            if votes:
                most = max(votes.values())
                taken[region] = min(label for label, number in votes.items() if number == most)
        if not taken:
            break
        for region, label in taken.items():
            large |= region
            labels |= dict.fromkeys(region, label)
        waiting = [region for region in waiting if region not in taken]
    out = np.zeros_like(array)
    for (row, column), label in labels.items():
        out[row, column] = label
    return out


@pytest.mark.parametrize("smallest", [2, 3, 6, 20])
@pytest.mark.parametrize("clusters", [2, 4, 9])
def test_random_maps_are_sieved_as_by_flood_fill(clusters: int, smallest: int) -> None:
    rng = np.random.default_rng([clusters, smallest])
    coarse = rng.integers(0, clusters + 1, (6, 5)).repeat(5, 0).repeat(6, 1)
    speckle = rng.integers(0, clusters + 1, coarse.shape)
    for share in (0.1, 0.5, 1.0):
        labels = np.where(rng.random(coarse.shape) < share, speckle, coarse).astype(np.uint8)
        before = labels.copy()
        found = sieve(labels, smallest)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, slow_sieve(labels, smallest))
        np.testing.assert_array_equal(labels, before)  # the input is left alone
        np.testing.assert_array_equal(found == 0, labels == 0)


@pytest.mark.parametrize(
    ("smallest", "before", "after"),
    [
        (2, "1111 1211 1111", "1111 1111 1111"),
        (2, "1112 1111", "1111 1111"),
        (3, "1122 1122 3322 3322", "1122 1122 3322 3322"),
        (5, "1111 1221 1221 1111", "1111 1111 1111 1111"),  # 4 pixels
        (4, "1111 1221 1221 1111", "1111 1221 1221 1111"),
        # Pixels that meet at a corner are two regions.
        (2, "11111 12111 11211 11111", "11111 11111 11111 11111"),
        # One side to 2, three to 4.
        (2, "4444 4434 4422", "4444 4444 4422"),
        # Two sides each: the smaller label.
        (2, "444 432 222", "444 422 222"),
        # No data has no say, however long its border.
        (2, "000 030 011 011", "000 010 011 011"),
        # An island has nobody to join.
        (3, "1100 1100 0020 0003", "1100 1100 0020 0003"),
        # A small region among small ones waits for them to be taken in.
        (3, "11111 12221 12321 12221 11111", "11111 12221 12221 12221 11111"),
        (9, "11111 12221 12321 12221 11111", "11111 11111 11111 11111 11111"),
        # Two small neighbours have no say in each other.
        (3, "111111 123311 111111", "111111 111111 111111"),
    ],
)
def test_hand_made_maps(smallest: int, before: str, after: str) -> None:
    np.testing.assert_array_equal(sieve(picture(before), smallest), picture(after))


@pytest.mark.parametrize("smallest", [0, 1])
def test_nothing_is_smaller_than_a_pixel(smallest: int) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (20, 20)).astype(np.uint8)
    np.testing.assert_array_equal(sieve(labels, smallest), labels)


def test_no_small_region_is_left_where_there_is_a_large_one() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(1, 5, (60, 50)).astype(np.uint8)
    labels[:, 20:30] = 2  # a large one, which all the others can reach
    found = sieve(labels, 12)
    every = {(int(r), int(c)): int(found[r, c]) for r, c in np.ndindex(found.shape)}
    assert min(map(len, flood(every))) >= 12


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (1, 7)])
def test_maps_without_regions_or_neighbours_are_kept(shape: tuple[int, int]) -> None:
    labels = np.ones(shape, np.uint8)
    np.testing.assert_array_equal(sieve(labels, 10), labels)
    np.testing.assert_array_equal(sieve(0 * labels, 10), 0 * labels)
