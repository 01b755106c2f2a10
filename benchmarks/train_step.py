"""What a step of training costs, part by part, and how long it waits for data.

    python -m benchmarks.train_step [--json FILE] [--small]

A batch is that of the paper: 4 pairs of 64 x 64 crops of 301 bands. Every part is compiled and
timed by itself on the same crops; medians, and their ratio to the whole step of the same process.
The whole step is timed on crops that lie ready; the wait for data over steps that read crops of
the simulated leaf scenes from their zarr3 store, as training does.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from benchmarks import bench
from dgc_jax.data.crops import Batch, read_batches
from dgc_jax.model import augment, centroids, losses
from dgc_jax.train import loop, options
from dgc_jax.train.state import TrainState
from dgc_jax.train.step import data_mesh, jitted_step, train_step


def median_seconds(function: Callable[..., Any], *arguments: Any, repeats: int) -> float:
    """Median wall time of a call, its result waited for."""
    call = lambda: jax.block_until_ready(function(*arguments))  # noqa: E731
    return bench.in_turn({"": call}, repeats)[""][0]


def start(config: ml_collections.ConfigDict) -> tuple[TrainState, Batch, list[Any]]:
    """The state before the first step, its batch, and the cubes."""
    scenes = options.scenes(config)
    crops, valid = loop.sample_crops(config, scenes)
    state = loop.first_state(config, scenes, crops, valid)
    cubes = [scene.cube for scene in scenes]
    return state, next(iter(batches(config, cubes, 1)))[1], cubes


def batches(config: ml_collections.ConfigDict, cubes: list[Any], steps: int) -> Any:
    """Batches as training reads them."""
    return read_batches(
        cubes,
        seed=0,
        first_step=0,
        last_step=steps,
        crop=config.data.crop,
        overlap=tuple(config.data.overlap),
        batch=config.data.batch,
    )


def parts(state: TrainState, batch: Batch, repeats: int) -> dict[str, float]:
    """Seconds of each part of a step, forward and with its backward pass."""
    recipe = state.recipe
    crops = jnp.asarray(batch.crops).reshape(-1, *batch.crops.shape[2:])
    valid = jnp.asarray(batch.valid).reshape(-1, *batch.valid.shape[2:])
    half = len(crops) // 2

    def prepare(crops: jax.Array, key: jax.Array) -> jax.Array:
        bins = state.model.bins(crops, valid)
        return state.model.normalise(augment.augment_views(key, bins, valid, recipe.augment)[0])

    def shift(p: jax.Array, params: Any) -> jax.Array:
        return recipe.mean_shift.apply({"params": params}, p, valid)

    def terms(z: jax.Array, weights: jax.Array) -> jax.Array:
        log_q = centroids.assign(z, state.centroids, recipe.temperature)
        flat_z, flat_q = z.reshape(-1, z.shape[-1]), log_q.reshape(-1, log_q.shape[-1])
        q1, q2 = (q.reshape(-1, q.shape[-1]) for q in (log_q[:half], log_q[half:]))
        shared = weights[: len(q1)]
        named = {
            "compactness": losses.compactness(flat_z, flat_q, state.centroids, weights),
            "orthogonality": losses.orthogonality(flat_z, flat_q, weights, recipe.margin),
            "consistency": losses.consistency(q1, q2, shared),
            "balance": losses.balance(q1, q2, shared),
            "anchor": losses.anchor(flat_z, flat_z, weights),
        }
        return losses.total(named, recipe.weights)

    key = jax.random.key(1)
    spectra = jax.jit(prepare)(crops, key)
    params = state.params["encoder"], state.params["mean_shift"]
    p = jax.jit(lambda q: state.model.encode(q, valid))(spectra)
    z = jax.jit(shift)(p, params[1])
    weights = valid.reshape(-1).astype(jnp.float32)
    embedded = lambda params, x: state.model.encode(x, valid, encoder=params)  # noqa: E731
    summed = lambda function: lambda *a: jnp.sum(function(*a) ** 2)  # noqa: E731
    timed = {
        "bins, augmentation": (prepare, (crops, key)),
        "encoder": (embedded, (params[0], spectra)),
        "encoder, forward + backward": (jax.grad(summed(embedded)), (params[0], spectra)),
        "mean shift": (shift, (p, params[1])),
        "mean shift, forward + backward": (jax.grad(summed(shift), (0, 1)), (p, params[1])),
        "assignment, losses, forward + backward": (jax.grad(terms), (z, weights)),
    }
    return {
        name: median_seconds(jax.jit(function), *arguments, repeats=repeats)
        for name, (function, arguments) in timed.items()
    }


def whole(state: TrainState, batch: Batch, repeats: int) -> tuple[float, dict[str, float]]:
    """Seconds of the whole step, and its memory and arithmetic as the compiler counts them."""
    compiled = jax.jit(train_step).lower(state, batch).compile()
    seconds = median_seconds(compiled, state, jax.device_put(batch), repeats=repeats)
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    return seconds, {
        "temporary MiB": memory.temp_size_in_bytes / 2**20,
        "batch and state MiB": memory.argument_size_in_bytes / 2**20,
        "GFLOP": cost["flops"] / 1e9,
    }


def waiting(
    config: ml_collections.ConfigDict, cubes: list[Any], state: TrainState, n: int
) -> float:
    """Share of the time of n steps, read and taken as in training, that is spent on waiting."""
    take = jitted_step(data_mesh(config.data.batch))
    state = jax.tree.map(jnp.copy, state)  # the step donates its state
    waited, begin, pending = 0.0, 0.0, None
    for number, (_, batch) in enumerate(stopwatch := Stopwatch(batches(config, cubes, n))):
        state, metrics = take(state, Batch(*map(jnp.asarray, batch)))
        if pending is not None:
            jax.block_until_ready(pending)  # the lagged read of the metrics
        pending = metrics["loss"]
        if number == 1:  # compiled, and the queue of reads is full
            begin, waited = time.perf_counter(), stopwatch.seconds
    jax.block_until_ready(pending)
    return (stopwatch.seconds - waited) / (time.perf_counter() - begin)


class Stopwatch:
    """An iterator that counts the seconds spent on getting its items."""

    def __init__(self, items: Any):
        self._items, self.seconds = iter(items), 0.0

    def __iter__(self) -> "Stopwatch":
        return self

    def __next__(self) -> Any:
        start = time.perf_counter()
        try:
            return next(self._items)
        finally:
            self.seconds += time.perf_counter() - start


def measure(small: bool) -> dict[str, Any]:
    """The table: one row a part, for binned and for all bands."""
    repeats = 3 if small else 15
    rows: list[dict[str, Any]] = []
    notes = []
    for input_name, bin_width in (("20 nm bins (default)", 20.0), ("every band", 0.0)):
        config = bench.configuration(small)
        config.data.bin_width = bin_width
        state, batch, cubes = start(config)
        seconds, counted = whole(state, batch, repeats)
        found = {"whole step": seconds} | parts(state, batch, repeats)
        rows += [
            {
                "input": input_name,
                "part": name,
                "ms": round(1000 * each, 1),
                "of the step": round(each / seconds, 3),
            }
            for name, each in found.items()
        ]
        told = ", ".join(f"{number:.0f} {what}" for what, number in counted.items())
        wait = waiting(config, cubes, state, 6 if small else 30)
        notes.append(f"{input_name}: {told}; {wait:.1%} of a step waits for data")
    pixels = int(np.prod(np.shape(batch.valid)))
    notes.append(f"{pixels} pixels a step; the anchor is one more forward pass of the encoder")
    return {"title": "A step of training", "rows": rows, "notes": notes}


if __name__ == "__main__":
    bench.main(__doc__, measure)
