"""A step of training and a whole scene in 32 and in 16 bits: what a new device is asked first.

    python -m benchmarks.precision [--json FILE] [--small]

The step is that of `train_step`, timed alone, one after the other without waiting between, and with
crops that come from the host's memory. The scene is that of `segment`, in tiles of several sides;
reading its file once is the baseline. `labels that differ` are from those of the first row of
scenes. Medians; memory is the most that was taken on the device by then, where it tells.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks import bench, big_scene, segment, train_step
from dgc_jax.apply.tiles import best_side
from dgc_jax.data.cube import open_cube
from dgc_jax.model.model import Model
from dgc_jax.train.state import TrainState
from dgc_jax.train.step import data_mesh, jitted_step

_PRECISIONS = ("float32", "bfloat16")
_SIDES = (128, 256, 504)  # pixels


def with_precision(model: Model, precision: str) -> Model:
    """The same model with activations of another type."""
    encoder, shift = (
        module.clone(precision=precision) for module in (model.encoder, model.mean_shift)
    )
    return model.replace(encoder=encoder, mean_shift=shift)


class _Run:
    """Steps one after the other, each from the state that the last has left."""

    def __init__(self, step: Callable[..., Any], start: TrainState, precision: str) -> None:
        state = jax.tree.map(lambda array: array.copy(), start)  # steps are given its arrays
        self._state = state.replace(model=with_precision(state.model, precision))
        self._step = step

    def step(self, crops: Any) -> None:
        self._state, _ = self._step(self._state, crops)

    def wait(self) -> None:
        jax.block_until_ready(self._state.params)

    def waited(self, crops: Any) -> None:
        self.step(crops)
        self.wait()


def steps(small: bool) -> list[dict[str, Any]]:
    """Rows of the table: milliseconds of a step."""
    config = bench.configuration(small)
    start, batch, _ = train_step.start(config)
    step, repeats, rows = jitted_step(data_mesh(config.data.batch)), 3 if small else 30, []
    for precision in _PRECISIONS:
        run = _Run(step, start, precision)
        there = jax.device_put(batch)
        began = time.perf_counter()
        run.waited(there)
        compiled = time.perf_counter() - began
        alone = train_step.median_seconds(run.waited, there, repeats=repeats)
        began = time.perf_counter()
        for _ in range(repeats):
            run.step(there)
        run.wait()
        flowing = (time.perf_counter() - began) / repeats
        from_host = train_step.median_seconds(run.waited, batch, repeats=repeats)
        rows.append(
            {
                "what": "step",
                "precision": precision,
                "first, s": round(compiled, 1),
                "ms": round(1e3 * alone, 2),
                "ms, not waited for": round(1e3 * flowing, 2),
                "ms, from the host": round(1e3 * from_host, 2),
                "memory, MiB": memory(),
            }
        )
    return rows


def scenes(small: bool) -> list[dict[str, Any]]:
    """Rows of the table: seconds of a scene."""
    header, store = big_scene.ensure(*((200, 160) if small else (1000, 1000)), small)
    made, first, rows = big_scene.segmenter(small), None, []
    default = best_side(1000, 1000, 4)
    every = [("float32", default), ("bfloat16", default)]
    if not small and jax.default_backend() != "cpu":
        every += [("float32", side) for side in _SIDES if side != default]
    for precision, side in every:
        segmenter = dataclasses.replace(made, model=with_precision(made.model, precision))
        for name, path, files in (
            ("raw ENVI BIL", header, big_scene.data_file(header)),
            ("prepared zarr3", store, store),
        ):
            cube = open_cube(path)
            began = time.perf_counter()
            labels = segmenter.segment(cube, side)
            compiled = time.perf_counter() - began
            first = labels if first is None else first
            turns = bench.in_turn(
                {
                    "read": lambda files=files: segment.read_once(files),
                    "segment": lambda s=segmenter, cube=cube, side=side: s.segment(cube, side),
                },
                1 if small else 3,
            )
            read, took = turns["read"][0], turns["segment"][0]
            rows.append(
                {
                    "what": f"{name}, tiles of {side}",
                    "precision": precision,
                    "first, s": round(compiled, 2),
                    "s": round(took, 3),
                    "x reading": round(took / read, 2),
                    "labels that differ": float(np.mean(labels != first)),
                    "memory, MiB": memory(),
                }
            )
    return rows


def memory() -> int | None:
    """The most memory that was taken on the device so far, MiB, if it tells."""
    told = jax.devices()[0].memory_stats() or {}
    peak = told.get("peak_bytes_in_use")
    return None if peak is None else round(peak / 2**20)


def measure(small: bool) -> dict[str, Any]:
    """The table: steps, then scenes."""
    return {
        "title": "32 and 16 bits",
        "rows": steps(small) + scenes(small),
        "notes": ["a step is one of 4 pairs of crops; a scene has 1000 x 1000 x 301 uint16"],
    }


if __name__ == "__main__":
    bench.main(__doc__, measure)
