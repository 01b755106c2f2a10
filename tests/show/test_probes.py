"""Pictures of the probes, read back from TensorBoard's event files."""

import io
import pathlib
import shutil
import struct

import numpy as np
import PIL.Image
import pytest
from conftest import TinyRun
from tensorboardX.proto.event_pb2 import Event

from dgc_jax.data.scenes import open_scenes
from dgc_jax.show import maps, probes
from dgc_jax.show.palette import NO_DATA, colours
from dgc_jax.train import loop, monitor


def pictures(workdir: pathlib.Path) -> dict[tuple[str, int], np.ndarray]:
    """The pictures in a run's event files, `[row, column, 3]` uint8 by tag and step."""
    found = {}
    for path in (workdir / "tensorboard").iterdir():
        data = path.read_bytes()
        while data:  # a record: length, its checksum, an event, its checksum
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            for value in event.summary.value:
                if value.HasField("image"):
                    with PIL.Image.open(io.BytesIO(value.image.encoded_image_string)) as image:
                        found[value.tag, event.step] = np.asarray(image)
    return found


def clusters_of(state: object, crops: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Colours of the labels that the monitor gives, `[probe, row, column, 3]`."""
    labels = np.asarray(monitor.predict(state.model, crops, valid)[0])
    painted = colours(8)[1:][labels]
    painted[~valid] = NO_DATA
    return painted


def tile(picture: np.ndarray, place: int, side: int, factor: int) -> np.ndarray:
    """The place-th probe of a picture of one row, back at its own size."""
    left = place * (side * factor + 4)
    shown = picture[:, left : left + side * factor]
    assert shown.shape == (side * factor, side * factor, 3)
    small = shown[::factor, ::factor]
    np.testing.assert_array_equal(np.kron(small, np.ones((factor, factor, 1), np.uint8)), shown)
    return small


@pytest.fixture(scope="module")
def finished(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> loop.Trained:
    """The last state of `tiny_run`, from its last checkpoint."""
    workdir = tmp_path_factory.mktemp("probes") / "run"
    shutil.copytree(tiny_run.workdir, workdir)
    return loop.train(tiny_run.config(), str(workdir))


def test_maps_of_the_probes_are_there_at_every_epoch_and_false_colours_once(
    tiny_run: TinyRun,
) -> None:
    assert set(pictures(tiny_run.workdir)) == {
        ("probes/false_colour", 0),
        *(("probes/clusters", step) for step in range(0, 13, 2)),
    }


def test_last_maps_are_those_of_the_last_state(tiny_run: TinyRun, finished: loop.Trained) -> None:
    crops, valid = loop.sample_crops(tiny_run.config(), finished.scenes)
    want = clusters_of(finished.state, crops[:2], valid[:2])
    shown = pictures(tiny_run.workdir)
    last = shown["probes/clusters", 12]
    assert last.shape == (128, 128 + 4 + 128, 3)
    assert (last[:, 128:132] == 255).all()
    for place in range(2):
        np.testing.assert_array_equal(tile(last, place, 32, 4), want[place])
    assert len(np.unique(want.reshape(-1, 3), axis=0)) > 2
    assert np.any(shown["probes/clusters", 0] != last)


def test_invalid_pixels_of_the_probes_are_grey_and_false_colours_are_a_quicklook(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    for scene in open_scenes(tiny_run.scenes):
        mask = np.ones(scene.cube.shape[:2], np.uint8)
        mask[10:30, 12:] = 0
        np.save(tmp_path / f"{scene.cube.name}_mask.npy", mask)
    config = tiny_run.config(data__mask=str(tmp_path / "{stem}_mask.npy"), train__steps=0)
    trained = loop.train(config, str(tmp_path / "run"), draw=probes.pictures)
    crops, valid = (part[:2] for part in loop.sample_crops(config, trained.scenes))
    assert valid.any(axis=(1, 2)).all()
    assert not valid.all(axis=(1, 2)).any()

    class SideBySide:
        shape = (32, 64, crops.shape[-1])
        wavelengths = trained.scenes[0].cube.wavelengths

        def read(self, row: int, column: int, height: int, width: int):
            window = (slice(row, row + height), slice(column, column + width))
            return np.concatenate(crops, axis=1)[window], np.concatenate(valid, axis=1)[window]

    shown = pictures(tmp_path / "run")
    wanted = {
        "probes/clusters": clusters_of(trained.state, crops, valid),
        "probes/false_colour": np.split(maps.quicklook(SideBySide()), 2, axis=1),
    }
    assert set(shown) == {(tag, 0) for tag in wanted}
    for tag, want in wanted.items():
        for place in range(2):
            small = tile(shown[tag, 0], place, 32, 4)
            np.testing.assert_array_equal(small, want[place])
            assert (small[~valid[place]] == NO_DATA).all()


def test_training_that_nobody_draws_writes_no_pictures(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    loop.train(tiny_run.config(train__steps=0), str(tmp_path / "run"))
    assert not pictures(tmp_path / "run")


@pytest.mark.parametrize(
    ("number", "side", "shape"),
    [(1, 200, (200, 200)), (5, 64, (2 * 128 + 4, 4 * 128 + 12)), (20, 100, (4 * 200 + 12,) * 2)],
)
def test_sixteen_probes_at_most_lie_in_rows_of_four(
    number: int, side: int, shape: tuple[int, int]
) -> None:
    labels = np.broadcast_to(np.arange(number)[:, None, None], (number, side, side))
    valid = labels != 2
    crops = np.random.default_rng(0).random((number, side, side, 3), np.float32)
    drawn = probes.pictures(crops, valid, labels, None, first=True)
    for picture in drawn.values():
        assert picture.shape == (*shape, 3)
        assert picture.dtype == np.uint8
    picture = drawn["probes/clusters"]
    pitch = side * -(-128 // side) + 4
    for place in range(min(number, 16)):
        row, column = place // 4 * pitch, place % 4 * pitch
        want = NO_DATA if place == 2 else colours(number)[place + 1]
        assert (picture[row, column] == want).all()
    if number == 5:
        assert (picture[pitch:, pitch:] == 255).all()  # nothing lies there
