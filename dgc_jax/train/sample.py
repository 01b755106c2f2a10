"""Un-augmented crops from all over a data set: what a run starts from and describes clusters by."""

from collections.abc import Iterator, Sequence

import ml_collections
import numpy as np

from dgc_jax.data.crops import read_batches
from dgc_jax.data.scenes import Scene

# Sample crops are those of steps that no run reaches.
_SAMPLE_STEPS = 2**40


def sample_crops(
    config: ml_collections.ConfigDict, scenes: list[Scene]
) -> tuple[np.ndarray, np.ndarray]:
    """The first `config.data.sample` of the sample crops, all at once; see `sample_batches`."""
    crops, valid = zip(*sample_batches(config, scenes, config.data.sample), strict=True)
    return np.concatenate(crops), np.concatenate(valid)


def sample_batches(
    config: ml_collections.ConfigDict,
    scenes: list[Scene],
    number: int,
    slots: Sequence[int] | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Un-augmented crops from all over the data set, evenly over its scenes.

    Args:
        config: see `configs/default.py`.
        scenes: the data set.
        number: of crops.
        slots: which crops of each batch to read, ascending; None reads all.

    Yields:
        `[crop, row, column, band]` reflectance and `[crop, row, column]` validity: `data.batch`
        crops at a time, fewer in the last one, `number` in all, or of those the ones in `slots`.
    """
    batch = config.data.batch
    batches = read_batches(
        [scene.cube for scene in scenes],
        seed=config.seed,
        first_step=_SAMPLE_STEPS,
        last_step=_SAMPLE_STEPS + -(-number // batch),
        crop=config.data.crop,
        overlap=tuple(config.data.overlap),
        batch=batch,
        slots=slots,
    )
    places = np.arange(batch) if slots is None else np.array(slots)
    for seen, (_, read) in enumerate(batches):
        left = np.searchsorted(places, number - seen * batch)
        yield read.crops[:left, 0], read.valid[:left, 0]
