"""Where crop pairs lie, and that reading them gives exactly those pixels."""

import collections
import dataclasses
import itertools
import threading

import numpy as np
import pytest

from dgc_jax.data import crops
from dgc_jax.data.cube import open_cube
from dgc_jax.errors import InputError

CROP = 8
GEOMETRY = {"seed": 3, "crop": CROP, "overlap": (0.2, 0.8), "batch": 3}
SIZES = [(40, 31), (23, 60), (64, 64), (30, 30), (33, 29)]


@dataclasses.dataclass
class PositionCube:
    """A scene whose value says where it is: 1000 row + column + band / 8; it remembers requests."""

    shape: tuple[int, int, int]
    name: str = "positions"
    requests: list = dataclasses.field(default_factory=list)

    def request(self, row, column, height, width):
        self.requests.append((row, column, height, width))
        return Pending(self, row, column, height, width)


@dataclasses.dataclass
class Pending:
    cube: PositionCube
    row: int
    column: int
    height: int
    width: int

    def result(self):
        row = np.arange(self.row, self.row + self.height)[:, None]
        column = np.arange(self.column, self.column + self.width)[None]
        rows, columns, bands = self.cube.shape
        valid = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        value = (1000 * row + column)[..., None] + np.arange(bands) / 8
        return np.where(valid[..., None], value, 0).astype(np.float32), valid


def scenes(sizes=SIZES, bands=3):
    return [PositionCube((*size, bands), f"scene{i}") for i, size in enumerate(sizes)]


def read(cubes, first_step=0, last_step=12, **changes):
    return list(
        crops.read_batches(
            cubes, first_step=first_step, last_step=last_step, **(GEOMETRY | changes)
        )
    )


def plans(steps, sizes=SIZES, **changes):
    return [crops.plan(step, sizes=sizes, **(GEOMETRY | changes)) for step in range(steps)]


@pytest.mark.parametrize("pairs_per_window", [1, 5])
def test_overlap_stays_in_bounds_on_both_axes_and_crops_inside_the_scene(pairs_per_window):
    drawn = plans(1000, crop=10, pairs_per_window=pairs_per_window)
    corner = np.stack([p.corner for p in drawn])  # [step, batch, 2, axis]
    size = np.array(SIZES)[np.stack([p.scene for p in drawn])][:, :, None]
    share = 1 - np.abs(corner[:, :, 1] - corner[:, :, 0]) / 10
    assert set(np.unique(share.round(6))) == {0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8}
    assert (corner >= 0).all()
    assert (corner + 10 <= size).all()


def test_offsets_have_both_signs_on_both_axes_independently():
    corner = np.stack([p.corner for p in plans(500)])
    signs = np.sign(corner[:, :, 1] - corner[:, :, 0]).reshape(-1, 2)
    counts = collections.Counter(map(tuple, signs.tolist()))
    assert set(counts) == set(itertools.product((-1, 1), repeat=2))
    assert min(counts.values()) > 300  # of 1500, 375 expected


def test_crops_reach_every_pixel_of_a_scene():
    seen = np.zeros((20, 17), bool)
    for drawn in plans(300, sizes=[(20, 17)]):
        for row, column in drawn.corner.reshape(-1, 2):
            seen[row : row + CROP, column : column + CROP] = True
    assert seen.all()


@pytest.mark.parametrize(("count", "batch"), [(5, 3), (4, 4), (7, 4), (8, 4), (3, 4), (1, 4)])
def test_scenes_are_used_equally_often_and_repeat_in_a_batch_only_when_they_must(count, batch):
    drawn = plans(10 * count, sizes=[(20, 20)] * count, batch=batch)
    used = collections.Counter(np.concatenate([p.scene for p in drawn]).tolist())
    assert used == dict.fromkeys(range(count), 10 * batch)
    for p in drawn:
        assert len(set(p.scene.tolist())) == min(count, batch)


def test_passes_differ_in_the_order_of_scenes():
    orders = {tuple(p.scene.tolist()) for p in plans(20, sizes=[(20, 20)] * 6, batch=6)}
    assert len(orders) > 15


def test_a_plan_depends_on_nothing_but_seed_and_step():
    forwards = plans(20)
    crops.plan(77, sizes=SIZES, **GEOMETRY)
    np.random.default_rng(0).random(5)
    for step in reversed(range(20)):
        again = crops.plan(step, sizes=SIZES, **GEOMETRY)
        np.testing.assert_array_equal(again.scene, forwards[step].scene)
        np.testing.assert_array_equal(again.corner, forwards[step].corner)
    other = plans(20, seed=4)
    assert any((a.corner != b.corner).any() for a, b in zip(forwards, other, strict=True))


def test_steps_of_one_window_take_different_pairs_from_the_same_place():
    drawn = plans(200, sizes=[(500, 500)] * 5, pairs_per_window=4)
    groups = [drawn[i : i + 4] for i in range(0, 200, 4)]
    spots = set()
    for group in groups:
        corner = np.stack([p.corner for p in group])  # [pair, batch, 2, axis]
        assert all((p.scene == group[0].scene).all() for p in group)
        extent = (corner + CROP).max(axis=(0, 2)) - corner.min(axis=(0, 2))
        assert (extent <= 2 * CROP).all()
        assert len(np.unique(corner.reshape(4, -1), axis=0)) == 4
        spots.update(map(tuple, corner[0, :, 0].tolist()))
    assert len(spots) > 140  # the windows themselves move about


def test_offset_shrinks_to_what_a_short_scene_has_room_for():
    for drawn in plans(100, sizes=[(CROP + 1, 5), (CROP, 50)], batch=2):
        for scene, corner in zip(*drawn, strict=True):
            rows, columns = np.abs(corner[1] - corner[0])
            if scene == 0:
                assert rows == 1
                assert columns == 0
                assert sorted(corner[:, 0]) == [0, 1]
            else:
                assert rows == 0
                assert 2 <= columns <= 6


@pytest.mark.parametrize("pairs_per_window", [1, 3])
@pytest.mark.parametrize("sizes", [SIZES, [(5, 40), (6, 7), (9, 3)]], ids=["large", "small"])
def test_each_crop_holds_the_pixels_that_its_plan_names(sizes, pairs_per_window):
    for drawn, got in read(scenes(sizes), pairs_per_window=pairs_per_window):
        assert got.crops.shape == (3, 2, CROP, CROP, 3)
        assert (got.crops.dtype, got.valid.dtype, got.offset.dtype) == (np.float32, bool, np.int32)
        np.testing.assert_array_equal(got.offset, drawn.corner[:, 1] - drawn.corner[:, 0])
        for slot, view in np.ndindex(3, 2):
            rows, columns = sizes[drawn.scene[slot]]
            row, column = np.indices((CROP, CROP)) + drawn.corner[slot, view][:, None, None]
            inside = (row < rows) & (column < columns)
            value = (1000 * row + column)[..., None] + np.array([0, 0.125, 0.25])
            np.testing.assert_array_equal(got.valid[slot, view], inside)
            np.testing.assert_array_equal(
                got.crops[slot, view], np.where(inside[..., None], value, 0)
            )


def test_crops_of_a_file_are_the_pixels_of_its_array(tmp_path):
    arrays = [np.random.default_rng(i).random((20, 6 + 5 * i, 4), np.float32) for i in range(3)]
    for i, array in enumerate(arrays):
        np.save(tmp_path / f"{i}.npy", array)
    cubes = [open_cube(tmp_path / f"{i}.npy") for i in range(3)]
    for drawn, got in read(cubes):
        for slot, view in np.ndindex(3, 2):
            row, column = drawn.corner[slot, view]
            expected = arrays[drawn.scene[slot]][row : row + CROP, column : column + CROP]
            width = expected.shape[1]
            np.testing.assert_array_equal(got.crops[slot, view, :, :width], expected)
            assert got.valid[slot, view, :, :width].all()
            assert not got.valid[slot, view, :, width:].any()


def test_shared_pixels_of_a_pair_are_the_same_physical_pixels():
    for _, got in read(scenes()):
        for (first, second), (down, right) in zip(got.crops, got.offset, strict=True):
            a, b = max(down, 0), max(right, 0)  # where the shared part starts in the first crop
            height, width = CROP - abs(down), CROP - abs(right)
            mine = first[a : a + height, b : b + width]
            theirs = second[a - down :, b - right :][:height, :width]
            np.testing.assert_array_equal(mine, theirs)
            assert mine.size > 0


def same(left, right):
    for (plan_a, batch_a), (plan_b, batch_b) in zip(left, right, strict=True):
        for a, b in zip((*plan_a, *batch_a), (*plan_b, *batch_b), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("pairs_per_window", [1, 4])
def test_reading_from_a_later_step_gives_the_tail_of_reading_from_the_start(pairs_per_window):
    whole = read(scenes(), pairs_per_window=pairs_per_window)
    tail = read(scenes(), first_step=5, pairs_per_window=pairs_per_window)
    same(whole[5:], tail)
    assert len(tail) == 7


@pytest.mark.parametrize("ahead", [0, 1, 50])
def test_reading_ahead_changes_nothing_but_when_reads_start(ahead):
    same(read(scenes()), read(scenes(), ahead=ahead))


def test_as_many_steps_as_asked_for_are_in_flight():
    cubes = scenes([(12, 8)])
    batches = crops.read_batches(cubes, first_step=0, last_step=9, ahead=4, **GEOMETRY)
    next(batches)
    assert len(cubes[0].requests) == 3 * (1 + 4)
    next(batches)
    assert len(cubes[0].requests) == 3 * (2 + 4)


def test_a_failed_read_reaches_the_caller_at_its_step():
    class BrokenLater(PositionCube):
        def request(self, *window):
            pending = super().request(*window)
            if len(self.requests) == 6:  # in the third step
                pending.result = lambda: (_ for _ in ()).throw(OSError("disk gone"))
            return pending

    cubes = [BrokenLater((20, 20, 3))]
    batches = crops.read_batches(cubes, first_step=0, last_step=9, **(GEOMETRY | {"batch": 2}))
    next(batches), next(batches)
    with pytest.raises(OSError, match="disk gone"):
        next(batches)


def test_stopping_early_leaves_no_thread_behind():
    batches = crops.read_batches(scenes(), first_step=0, last_step=9, **GEOMETRY)
    next(batches)
    assert any(thread.name.startswith("crops") for thread in threading.enumerate())
    batches.close()
    assert not any(thread.name.startswith("crops") for thread in threading.enumerate())


@pytest.mark.parametrize("slots", [slice(1, 3), [1, 2], (1, 2)])
@pytest.mark.parametrize("pairs_per_window", [1, 4])
def test_a_process_reads_only_its_own_slots(slots, pairs_per_window):
    cubes = scenes()
    part = read(cubes, slots=slots, pairs_per_window=pairs_per_window)
    whole = read(scenes(), pairs_per_window=pairs_per_window)
    same([(p, crops.Batch(*(field[1:] for field in b))) for p, b in whole], part)
    drawn = {scene for p, _ in part for scene in p.scene[1:]}
    assert {i for i, cube in enumerate(cubes) if cube.requests} == drawn


def test_a_pair_is_read_as_one_window_just_around_its_crops():
    cubes = scenes()
    for drawn, _ in read(cubes, last_step=20, ahead=0):
        for scene, corner in zip(*drawn, strict=True):
            low, high = corner.min(axis=0), corner.max(axis=0) + CROP
            assert cubes[scene].requests.pop(0) == (*low, *(high - low))
    assert not any(cube.requests for cube in cubes)


def test_a_shared_window_is_read_once():
    cubes = scenes()
    read(cubes, first_step=2, last_step=12, pairs_per_window=5)
    requests = [request for cube in cubes for request in cube.requests]
    assert len(requests) == 3 * 3  # steps 2-4, 5-9 and 10-11, three scenes each
    assert {(height, width) for _, _, height, width in requests} == {(2 * CROP, 2 * CROP)}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"overlap": (0.8, 0.2)}, "data.overlap"),
        ({"overlap": (0.0, 0.5)}, "data.overlap"),
        ({"overlap": (0.5, 1.1)}, "data.overlap"),
        ({"crop": 3, "overlap": (0.5, 0.6)}, "no offset of whole pixels"),
        ({"crop": 0}, "data.crop"),
        ({"batch": 0}, "data.batch"),
        ({"pairs_per_window": 0}, "data.pairs_per_window"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_geometry_is_refused_before_anything_is_read(changes, field):
    with pytest.raises(InputError, match=field):
        crops.read_batches(scenes(), first_step=0, last_step=5, **(GEOMETRY | changes))


def test_no_scenes_or_scenes_of_different_bands_are_refused():
    with pytest.raises(InputError, match=r"data\.scenes"):
        crops.read_batches([], first_step=0, last_step=5, **GEOMETRY)
    cubes = [*scenes(), PositionCube((40, 40, 7), "odd")]
    with pytest.raises(InputError, match=r"odd: expected 3 bands, as scene0 has, found 7"):
        crops.read_batches(cubes, first_step=0, last_step=5, **GEOMETRY)
