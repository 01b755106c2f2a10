"""Stray pixels taken out of a finished label map.

A region is a 4-connected set of pixels of one label; no data (label 0) is none. Regions of fewer
pixels than asked for give way, in rounds:

- a small region takes the label that it shares the longest border with, in pixel sides, among its
  neighbours that are large; with borders of equal length the smaller label;
- all small regions with a large neighbour do so at once, from the map as it was before the round,
  and count as large from then on, because each has joined one. The next round takes those that had
  only small neighbours, and so on.

So no small region is left, but where no large one can be reached without crossing no data: such an
island keeps its labels. No data stays no data and has no say.

A round may reach far, so that tiles would have to know of each other: the sieve is a second pass
over the map of the whole scene, which needs some 15 bytes a pixel.
"""

import numpy as np
import scipy.ndimage


def sieve(labels: np.ndarray, smallest: int) -> np.ndarray:
    """Gives the pixels of small regions to their neighbours.

    Args:
        labels: `[row, column]` uint8, 0 = no data.
        smallest: pixels that a region needs to stay; 0 or 1 changes nothing.

    Returns:
        `[row, column]` uint8, a new array.
    """
    regions, label = _regions(labels)
    large = np.bincount(regions.ravel(), minlength=len(label)) >= smallest
    large[0] = False  # no data: neither small nor large
    here, there, sides = _borders(regions, ~large)
    waiting = ~large
    while True:
        counts = waiting[here] & large[there]
        takers, row = np.unique(here[counts], return_inverse=True)
        if not len(takers):
            return label[regions]
        votes = np.zeros((len(takers), 256), np.int64)
        np.add.at(votes, (row, label[there[counts]]), sides[counts])
        label[takers] = votes.argmax(axis=1)  # the first, thus the smaller, of equal ones
        large[takers], waiting[takers] = True, False


def _regions(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of each pixel's region, `[row, column]` int32, and the label of each; 0 is no data."""
    regions = np.zeros(labels.shape, np.int32)
    label = [np.zeros(1, np.uint8)]
    total = 0
    for value in np.unique(labels[labels > 0]):
        mine = labels == value
        found, number = scipy.ndimage.label(mine)
        regions[mine] = found[mine] + total
        label.append(np.full(number, value, np.uint8))
        total += number
    return regions, np.concatenate(label)


def _borders(regions: np.ndarray, small: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From each small region to each neighbour, and over how many sides of pixels."""
    pairs = []
    for one, other in ((regions[:-1], regions[1:]), (regions[:, :-1], regions[:, 1:])):
        apart = (one != other) & (one > 0) & (other > 0)
        first, second = one[apart], other[apart]
        pairs += [np.stack([first, second])[:, small[first]]]
        pairs += [np.stack([second, first])[:, small[second]]]
    (here, there), sides = np.unique(np.concatenate(pairs, axis=1), axis=1, return_counts=True)
    return here, there, sides
