"""The monitor's probe crops as pictures, by which a person sees in TensorBoard how maps settle."""

import numpy as np

from dgc_jax.show.maps import Quicklook
from dgc_jax.show.palette import colours

_MOST = 16  # probes that are shown
_COLUMNS = 4
_SIDE = 128  # pixels that a probe has at least on screen
_GAP = 4  # pixels of white between probes


def pictures(
    crops: np.ndarray,
    valid: np.ndarray,
    labels: np.ndarray,
    wavelengths: np.ndarray | None,
    *,
    first: bool,
) -> dict[str, np.ndarray]:
    """Pictures of the first 16 probes, side by side in rows of four.

    A trained centroid has the colour of its index plus one in `dgc_jax.show.palette` at every
    epoch. These are not the colours of the finished maps: the final clusters are numbered only
    when training has ended. Small probes are enlarged by a whole factor, each pixel to a square.

    Args:
        crops: `[probe, row, column, band]` reflectance.
        valid: `[probe, row, column]` bool.
        labels: `[probe, row, column]` index of the nearest trained centroid, from 0 to 254;
            meaningless where invalid.
        wavelengths: `[band]` nm, or None.
        first: whether this is the first epoch.

    Returns:
        `[row, column, 3]` uint8 pictures by name: `probes/clusters`, and at the first epoch
        `probes/false_colour`, the quicklook of the same probes, all stretched alike. Invalid pixels
        have the grey of no data.
    """
    crops, valid, labels = crops[:_MOST], valid[:_MOST], labels[:_MOST]
    maps = np.where(valid, labels + 1, 0)
    drawn = {"probes/clusters": _side_by_side(colours(int(maps.max()))[maps])}
    if first:
        probes, rows, columns, bands = crops.shape
        look = Quicklook((probes * rows, columns, bands), wavelengths, largest=probes * rows)
        for number in range(probes):
            look.add_window(number * rows, 0, crops[number], valid[number])
        tiles = look.finish().reshape(probes, rows, columns, 3)
        drawn["probes/false_colour"] = _side_by_side(tiles)
    return drawn


def _side_by_side(tiles: np.ndarray) -> np.ndarray:
    """One picture of `[tile, row, column, 3]` uint8 pictures, enlarged, with white between them."""
    factor = -(-_SIDE // max(tiles.shape[1:3]))
    tiles = tiles.repeat(factor, axis=1).repeat(factor, axis=2)
    number, rows, columns, _ = tiles.shape
    across = min(number, _COLUMNS)
    down = -(-number // across)
    whole = np.full((down * (rows + _GAP), across * (columns + _GAP), 3), 255, np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // across * (rows + _GAP), place % across * (columns + _GAP)
        whole[top : top + rows, left : left + columns] = tile
    return whole[:-_GAP, :-_GAP]
