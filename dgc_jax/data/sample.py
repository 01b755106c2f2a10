"""Un-augmented crops from all over a data set: what a run starts from and describes clusters by.

They are tiles of a grid, so that every pixel of a scene is as likely to be met as any other: crops
placed at random show the middle of small scenes several times as often as their rim, and a leaf on
a table would count for more than the table.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from dgc_jax.config import Config
from dgc_jax.data.empty_bands import why_invalid
from dgc_jax.data.scenes import Scene
from dgc_jax.errors import InputError

_TILES = 3  # stream of random numbers apart from those of `dgc_jax.data.crops`


def places(
    sizes: Sequence[tuple[int, int]], crop: int, number: int, seed: int
) -> list[tuple[int, int, int]]:
    """Which tiles are taken: evenly over the scenes, in random order, none twice.

    Args:
        sizes: rows and columns of each scene.
        crop: side of a tile in pixels; those at the lower and right edges reach beyond the image.
        number: of tiles at most; fewer are left where the scenes have fewer.
        seed: of the order.

    Returns:
        Scene, row and column of the upper left pixel of each, the scenes in turn.
    """
    rng = np.random.default_rng([seed, 0, _TILES])
    of_scenes = []
    for rows, columns in sizes:
        corners = [(r, c) for r in range(0, rows, crop) for c in range(0, columns, crop)]
        of_scenes.append([corners[k] for k in rng.permutation(len(corners))])
    order = rng.permutation(len(sizes))
    longest = max(map(len, of_scenes))
    turns = [
        (int(scene), *of_scenes[scene][turn])
        for turn in range(longest)
        for scene in order
        if turn < len(of_scenes[scene])
    ]
    return turns[:number]


def sample_crops(config: Config, scenes: list[Scene]) -> tuple[np.ndarray, np.ndarray]:
    """The first `config.data.sample` of the sample crops, all at once; see `sample_batches`.

    Raises:
        InputError: no pixel of them is valid, and why.
    """
    crops, valid = zip(*sample_batches(config, scenes, config.data.sample), strict=True)
    if not any(each.any() for each in valid):
        reasons = filter(None, (why_invalid(scene.cube) for scene in scenes))
        if (told := next(reasons, None)) is not None:
            raise InputError(told)
        raise InputError(
            "data.scenes",
            expected="valid pixels",
            found="none in the sample",
            remedy="raise data.sample, or check the masks",
        )
    return np.concatenate(crops), np.concatenate(valid)


def sample_batches(
    config: Config,
    scenes: list[Scene],
    number: int,
    slots: Sequence[int] | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Un-augmented crops from all over the data set, evenly over its scenes.

    Args:
        config: of the run.
        scenes: the data set.
        number: of crops at most; scenes together may have fewer.
        slots: which crops of each batch to read; None reads all.

    Yields:
        `[crop, row, column, band]` reflectance and `[crop, row, column]` validity: `data.batch`
        crops at a time, fewer in the last one, `number` in all, or of those the ones in `slots`.
    """
    batch, crop = config.data.batch, config.data.crop
    wanted = range(batch) if slots is None else slots
    found = places([scene.cube.shape[:2] for scene in scenes], crop, number, config.seed)
    mine = [
        [found[first + slot] for slot in wanted if first + slot < len(found)]
        for first in range(0, len(found), batch)
    ]

    def request(tiles: list[tuple[int, int, int]]) -> list:
        return [scenes[s].cube.request(row, column, crop, crop) for s, row, column in tiles]

    ahead = request(mine[0])
    for following in [*mine[1:], []]:
        pending, ahead = ahead, request(following)
        read = [each.result() for each in pending]
        bands = scenes[0].cube.shape[2]
        yield (
            np.array([crops for crops, _ in read], np.float32).reshape(-1, crop, crop, bands),
            np.array([valid for _, valid in read], bool).reshape(-1, crop, crop),
        )
