"""Overlapping pairs of crops: where they lie, and reading them several steps ahead.

For each of `batch` scenes a step takes two square crops that share 20-80 % of their rows and of
their columns; what the two have in common is what the consistency loss compares.

          first (corner)
            +-----------+
            |           |          offset = corner of the second - corner of the first,
            |      +----+------+   (rows, columns), either sign: row r, column c of the first
            |      |////|      |   crop is row r - offset[0], column c - offset[1] of the second.
            +------+----+      |
                   |           |
                   +-----------+

Positions are (row, column) of a crop's upper left pixel in its scene. Everything drawn is a
function of the seed and the step number, so a run that starts again at step s reads what an
uninterrupted one would have read.

Source: Deep Global Clustering takes crops of 64 x 64 pixels overlapping 20-80 %, four scenes a
step, and re-uses one larger window a scene for several pairs (`pairs_per_window`).
"""

import collections
import functools
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from dgc_jax.config import Data
from dgc_jax.data.cube import Cube
from dgc_jax.errors import InputError

# Streams of random numbers apart from that of the pairs, [seed, step].
_WINDOWS, _SCENES = 1, 2


class Plan(NamedTuple):
    """Where the crops of one step lie.

    Attributes:
        scene: `[batch]` index of the scene.
        corner: `[batch, 2, 2]` (row, column) of the first and of the second crop, in pixels.
    """

    scene: np.ndarray
    corner: np.ndarray


class Batch(NamedTuple):
    """The crops of one step.

    Attributes:
        crops: `[batch, 2, row, column, band]` reflectance, float32; 0 where invalid.
        valid: `[batch, 2, row, column]` bool.
        offset: `[batch, 2]` int32, (rows, columns) from the first to the second crop.
    """

    crops: np.ndarray
    valid: np.ndarray
    offset: np.ndarray


def plan(
    step: int,
    *,
    seed: int,
    sizes: Sequence[tuple[int, int]],
    crop: int = Data.crop,
    overlap: tuple[float, float] = Data.overlap,
    batch: int = Data.batch,
    pairs_per_window: int = Data.pairs_per_window,
) -> Plan:
    """Draws the crop pairs of a step, from nothing but its number and the seed.

    A pass goes through the scenes in a random order, as often as it takes to end with a whole
    batch; in a pass all scenes are used equally often, and a batch holds distinct scenes if there
    are at least `batch` of them. In an axis too short for an offset the offset shrinks to what
    fits; a scene smaller than a crop lies in the crop's upper left corner.

    Args:
        step: number of the step, from 0.
        seed: the run's seed.
        sizes: (rows, columns) of every scene.
        crop: side of a crop in pixels.
        overlap: least and greatest share of its rows, and of its columns, that a crop has in
            common with its partner.
        batch: number of pairs.
        pairs_per_window: number of consecutive steps that draw their pairs from the same scenes
            and, in each, from one window of twice the crop's side; 1 draws from whole scenes.

    Returns:
        The scenes and the corners of their crops.

    Raises:
        InputError: there are no scenes, or an argument is out of range.
    """
    low, high = _offsets(crop, overlap)
    group = step // _at_least(1, pairs_per_window, "data.pairs_per_window")
    scene, window, extent = _windows(group, seed, sizes, crop, batch, pairs_per_window)
    room = extent - crop  # [batch, axis], the greatest offset that fits
    rng = np.random.default_rng([seed, step])
    offset = rng.integers(np.minimum(low, room), np.minimum(high, room), endpoint=True)
    near = window + rng.integers(0, room - offset, endpoint=True)
    far = near + offset
    backwards = rng.integers(0, 2, size=offset.shape).astype(bool)
    first, second = np.where(backwards, far, near), np.where(backwards, near, far)
    return Plan(scene, np.stack([first, second], axis=1))


def read_batches(
    cubes: Sequence[Cube],
    *,
    seed: int,
    first_step: int,
    last_step: int,
    crop: int = Data.crop,
    overlap: tuple[float, float] = Data.overlap,
    batch: int = Data.batch,
    pairs_per_window: int = Data.pairs_per_window,
    ahead: int = 4,
    slots: slice | Sequence[int] | None = None,
) -> Generator[tuple[Plan, Batch], None, None]:
    """Reads the crops of steps `first_step` up to, not including, `last_step`.

    Args:
        cubes: the scenes, all with the same bands.
        seed: the run's seed.
        first_step: the step to start with.
        last_step: the step to stop before.
        crop: see `plan`.
        overlap: see `plan`.
        batch: see `plan`; the batch of all processes together.
        pairs_per_window: see `plan`; each window is read once.
        ahead: number of steps being read or waiting in memory while the caller works on a batch.
        slots: which pairs of the batch to read (those of this process); None reads all.

    Returns:
        A generator over steps: the plan of the whole batch, and the crops of `slots`. Closing it
        ends the thread that reads ahead.

    Raises:
        InputError: see `plan`; or the scenes differ in their number of bands.
    """
    draw = functools.partial(
        plan,
        seed=seed,
        sizes=[cube.shape[:2] for cube in cubes],
        crop=crop,
        overlap=overlap,
        batch=batch,
        pairs_per_window=pairs_per_window,
    )
    draw(first_step)  # bad arguments raise here rather than at the first batch
    for cube in cubes:
        if cube.shape[2] != cubes[0].shape[2]:
            raise InputError(
                cube.name,
                expected=f"{cubes[0].shape[2]} bands, as {cubes[0].name} has",
                found=cube.shape[2],
                remedy="bring the scenes to one band grid first",
            )
    mine = np.arange(batch)[slots if isinstance(slots, slice | None) else list(slots)].reshape(-1)

    @functools.lru_cache(maxsize=1)
    def shared_windows(group: int) -> list[_Window]:
        scene, corner, extent = _windows(
            group, seed, [cube.shape[:2] for cube in cubes], crop, batch, pairs_per_window
        )
        return [_Window(cubes[scene[slot]], corner[slot], extent[slot]) for slot in mine]

    def start(step: int) -> Callable[[], tuple[Plan, Batch]]:
        drawn = draw(step)
        corner = drawn.corner[mine]
        if pairs_per_window > 1:
            windows = shared_windows(step // pairs_per_window)
        else:
            # One read around both crops: 13 % more pixels than two reads of a crop each, but a
            # store in chunks of 32 (64) pixels a side has 11 % (24 %) fewer chunks to fetch.
            low = corner.min(axis=1)
            extent = corner.max(axis=1) + crop - low
            windows = [
                _Window(cubes[scene], *place)
                for scene, *place in zip(drawn.scene[mine], low, extent, strict=True)
            ]
        return lambda: (drawn, _cut(windows, corner, crop))

    return _ahead((start(step) for step in range(first_step, last_step)), ahead)


class _Window:
    """A rectangle of a scene whose reading starts at once and is waited for when it is used."""

    def __init__(self, cube: Cube, corner: np.ndarray, extent: np.ndarray):
        self.corner = corner
        self._pending = cube.request(*(int(n) for n in (*corner, *extent)))

    @functools.cached_property
    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Reflectance `[row, column, band]` and validity `[row, column]`."""
        return self._pending.result()


def _cut(windows: Sequence[_Window], corner: np.ndarray, crop: int) -> Batch:
    """Waits for the windows of a step and takes the crops at `corner` `[batch, 2, 2]` from them."""
    crops, valid = [], []
    for window, corners in zip(windows, corner, strict=True):
        reflectance, inside = window.pixels
        for row, column in corners - window.corner:
            crops.append(reflectance[row : row + crop, column : column + crop])
            valid.append(inside[row : row + crop, column : column + crop])
    return Batch(
        np.stack(crops).reshape(len(windows), 2, *crops[0].shape),
        np.stack(valid).reshape(len(windows), 2, *valid[0].shape),
        (corner[:, 1] - corner[:, 0]).astype(np.int32),
    )


def _ahead(
    started: Iterator[Callable[[], tuple[Plan, Batch]]], ahead: int
) -> Generator[tuple[Plan, Batch], None, None]:
    """Hands out a step only after the next `ahead` have been started, finished by one thread."""
    pending: collections.deque[Future[tuple[Plan, Batch]]] = collections.deque()
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="crops")
    try:
        for finish in started:
            pending.append(pool.submit(finish))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:  # also when the caller stops early
        pool.shutdown(cancel_futures=True)


def _windows(
    group: int,
    seed: int,
    sizes: Sequence[tuple[int, int]],
    crop: int,
    batch: int,
    pairs_per_window: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scenes `[batch]`, corners and extents `[batch, 2]` of the windows that pairs are drawn from.

    A group is the `pairs_per_window` steps that share windows.
    """
    if not sizes:
        raise InputError(
            "data.scenes",
            expected="scenes to take crops from",
            found="none",
            remedy="name at least one",
        )
    _at_least(0, seed, "seed")
    _at_least(1, batch, "data.batch")
    number, start = divmod(group * batch, math.lcm(len(sizes), batch))
    order = np.random.default_rng([seed, number, _SCENES]).permutation(len(sizes))
    scene = order[(start + np.arange(batch)) % len(sizes)]
    extent = np.maximum(np.asarray(sizes)[scene], crop)  # at least a crop, even beyond the image
    if pairs_per_window == 1:
        return scene, np.zeros_like(extent), extent
    window = np.minimum(extent, 2 * crop)  # the least square that holds every pair
    rng = np.random.default_rng([seed, group, _WINDOWS])
    return scene, rng.integers(0, extent - window, endpoint=True), window


def _offsets(crop: int, overlap: tuple[float, float]) -> tuple[int, int]:
    """The least and greatest distance in pixels, along one axis, at which overlap is in bounds."""
    _at_least(1, crop, "data.crop")
    least, greatest = overlap
    if not 0 < least <= greatest <= 1:
        raise InputError(
            "data.overlap",
            expected="two shares with 0 < least <= greatest <= 1",
            found=f"{least:g}, {greatest:g}",
            remedy="the default is 0.2, 0.8",
        )
    rounding = 1e-9  # 10 * (1 - 0.7) is 3, not the next number above it
    low = math.ceil(crop * (1 - greatest) - rounding)
    high = math.floor(crop * (1 - least) + rounding)
    if low > high:
        raise InputError(
            "data.overlap",
            found=f"{least:g}, {greatest:g} leaves no offset of whole pixels for data.crop {crop}",
            remedy="widen the overlap or enlarge the crop",
        )
    return low, high


def _at_least(least: int, value: int, field: str) -> int:
    if value < least:
        raise InputError(field, expected=f"at least {least}", found=value, remedy="raise it")
    return value
