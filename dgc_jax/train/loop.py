"""The training loop: reads crops, takes steps, watches, logs, saves, stops.

    workdir/config.json      what was asked for; a workdir belongs to one configuration
    workdir/metrics.jsonl    one object a line, `step` counting the steps taken
    workdir/tensorboard/     the same numbers, and pictures of the probes if someone draws them
    workdir/checkpoints/     see `dgc_jax.train.checkpoint`

A step is dispatched before the metrics of the one before it are read, so that the device never
waits for the host. A run that was killed starts again from its latest checkpoint, and ends with
the same bits as one that was not (on a CPU).

Of many processes (`dgc_jax.processes`) each reads its own pairs of a batch; all make the same
start, of which the first one's counts, and watch the same probes. The first alone writes, but for
checkpoints, which Orbax needs all for.
"""

import contextlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
import rich.console
from jax.sharding import Mesh

from dgc_jax import documents, manifest, processes, storage, terminal
from dgc_jax.config import Config, configure
from dgc_jax.data import preflight, provenance
from dgc_jax.data.crops import Plan, read_batches
from dgc_jax.data.sample import sample_batches, sample_crops
from dgc_jax.data.scenes import Scene
from dgc_jax.errors import DivergedError, InputError, is_full, unwritten
from dgc_jax.files import whole
from dgc_jax.phases import phase
from dgc_jax.train import monitor, options
from dgc_jax.train.checkpoint import Checkpoints, has_checkpoint
from dgc_jax.train.describe import Described, describe, find_banks
from dgc_jax.train.light import calibrate
from dgc_jax.train.log import Log, progress_bar
from dgc_jax.train.state import TrainState, create_state
from dgc_jax.train.step import (
    data_mesh,
    everywhere,
    here,
    jitted_step,
    own_slots,
    whole_batch,
)
from dgc_jax.train.verdict import Measures, Verdict, judge, measure

_LOG = logging.getLogger("dgc_jax")

# Gives pictures of the probes by name, see `dgc_jax.show.probes.pictures`. It comes from outside,
# because training knows nothing of showing.
Draw = Callable[..., dict[str, np.ndarray]]


class Trained(NamedTuple):
    """What training leaves behind.

    Attributes:
        state: the last state.
        scenes: the data set.
        described: the clusters over `clusters.sample` crops, and their tree.
        verdict: whether training helped; None if no step was taken. Where it hurt, `state` is that
            before the first step.
        why: why training stopped, in words.
        early: whether it stopped before its last step.
        metrics: the last numbers that were logged.
        seconds: wall time of this process's training.
    """

    state: TrainState
    scenes: list[Scene]
    described: Described
    verdict: Verdict | None
    why: str
    early: bool
    metrics: dict[str, float]
    seconds: float


def train(
    config: Any,
    workdir: str,
    console: rich.console.Console | None = None,
    draw: Draw | None = None,
    scenes: Sequence[Scene] | None = None,
) -> Trained:
    """Trains a model, or completes a training that was interrupted.

    Args:
        config: whatever `dgc_jax.config.configure` takes.
        workdir: folder of the run; made if missing.
        console: where progress is shown.
        draw: draws the probes for TensorBoard; None: they are not drawn.
        scenes: the data set, opened already and on one band grid; None: that of `config.data`.

    Raises:
        InputError: if the configuration, the scenes or the workdir cannot be used.
        DivergedError: if a loss is not finite; checkpoints already saved stand.
    """
    console = console or terminal.Console(quiet=not processes.first())
    config = options.check(config)
    claim(workdir, config)
    mesh = data_mesh(config.data.batch)
    wrong: dict[str, InputError] = {}
    scenes = options.scenes(config, wrong=wrong) if scenes is None else list(scenes)
    processes.same("data.scenes", ", ".join(scene.cube.name for scene in scenes))
    with phase(console, f"looking at {len(scenes)} scene{'s' if len(scenes) != 1 else ''}"):
        seen = preflight.look(scenes)
    preflight.show(seen, wrong, console)
    doubts = preflight.check(seen, wrong)
    if processes.first():
        for doubt in doubts:
            _LOG.warning("%s", doubt)
    with processes.agreeing(f"workdir={workdir}"):
        if processes.first():
            _note_scenes(workdir, scenes, console)
    pixels = sum(scene.cube.shape[0] * scene.cube.shape[1] for scene in scenes)
    if pixels < config.clusters.train:
        raise InputError(
            "clusters.train",
            expected="at most as many clusters as pixels",
            found=f"{config.clusters.train} clusters for {pixels} pixels",
            remedy="lower clusters.train and clusters.final",
        )
    with phase(console, f"reading {config.data.sample} crops to start from"):
        sample = sample_crops(config, scenes)
    with _clock() as clock:
        with phase(console, "starting the clusters"):
            state = first_state(config, scenes, *sample)
        if config.augment.agreement:
            console.print(_told(config, float(state.light)))
        probes = sample[0][: config.monitor.probes], sample[1][: config.monitor.probes]
        start = jax.tree.map(np.asarray, state.replace(key=None))  # steps are given its arrays
        state, why, early, metrics = _steps(
            config, workdir, mesh, scenes, state, probes, console, draw
        )
        start = jax.tree.map(jnp.asarray, start).replace(key=state.key)
        verdict, banks = None, None
        if config.train.steps:
            with phase(console, "comparing the end of training with its start"):
                ends = [(each, _banks(config, each, sample)) for each in (start, state)]
                verdict = judge(*(_measures(config, *end, sample) for end in ends))
            word = {"neither": "neither helped nor hurt"}.get(verdict.training, verdict.training)
            console.print(f"Training {word}: {verdict.why}.", markup=False)
            hurt = verdict.training == "hurt"
            if hurt:
                console.print("The state before the first step is kept.")
            state, banks = ends[0 if hurt else 1]
        slots = own_slots(mesh, config.data.batch)
        own = sample_batches(config, scenes, config.clusters.sample, slots)
        with phase(console, f"describing clusters over {config.clusters.sample} crops"):
            if banks is None:
                banks = _banks(config, state, sample)
            described = describe(state.model, banks, own, clusters=config.clusters.final)
        if config.clusters.starts > 1:
            console.print(
                f"Maps of {config.clusters.starts} starts agree to {described.agreement:.2f} "
                f"(adjusted Rand index) at {config.clusters.final} clusters."
            )
    return Trained(state, scenes, described, verdict, why, early, metrics, clock())


def _banks(config: Config, state: TrainState, sample: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    starts, pixels = config.clusters.starts, config.centroids.pixels
    return find_banks(state.model, state.key, *sample, starts=starts, pixels=pixels)


def _measures(
    config: Config, state: TrainState, banks: np.ndarray, sample: tuple[np.ndarray, np.ndarray]
) -> Measures:
    """What a state is like over un-augmented crops, which are those of all processes."""
    index, count = processes.part()
    crops, valid = sample
    mine = [(crops[i : i + 1], valid[i : i + 1]) for i in range(index, len(crops), count)]
    return measure(describe(state.model, banks, mine, clusters=config.clusters.final))


_FIELDS = {
    "crops": "data.scenes",
    "drop": "data.drop",
    "kernel": "model.kernel",
    "kind": "data.normalisation",
    "mask": "data.mask",
    "strides": "model.strides",
    "variable": "data.variable",
    "width": "data.bin_width",
}
"""What `model/` calls its arguments, and what they are called here."""


def first_state(
    config: Any, scenes: list[Scene], crops: np.ndarray, valid: np.ndarray
) -> TrainState:
    """The state before the first step.

    Args:
        config: whatever `dgc_jax.config.configure` takes.
        scenes: the data set.
        crops: `[crop, row, column, band]` reflectance that the start is found from.
        valid: `[crop, row, column]` bool.
    """
    config = configure(config)
    try:
        state = create_state(
            jax.random.key(config.seed),
            options.recipe(config),
            crops,
            valid,
            clusters=config.clusters.train,
            wavelengths=scenes[0].cube.wavelengths,
            bin_width=config.data.bin_width,
            kind=config.data.normalisation,
            start=config.centroids.start,
            pixels=config.centroids.pixels,
            whiten=config.model.whiten,
            linear=config.model.linear,
            network=config.model.network,
        )
    except InputError as error:
        raise error.called(_FIELDS) from error
    return calibrate(state, crops, valid, agreement=config.augment.agreement)


def _steps(
    config: Config,
    workdir: str,
    mesh: Mesh,
    scenes: list[Scene],
    state: TrainState,
    probes: tuple[np.ndarray, np.ndarray],
    console: rich.console.Console,
    draw: Draw | None,
) -> tuple[TrainState, str, bool, dict[str, float]]:
    """Takes the steps that are left; returns the state, why it stopped, whether early, numbers."""
    take_step, batch_size = jitted_step(mesh), config.data.batch
    state = everywhere(state, mesh)
    progress = monitor.begin(probes[1])
    checkpoints = Checkpoints(workdir, options.as_json(config))
    first = 0
    if checkpoints.latest() is not None:
        state, progress = checkpoints.restore(state, progress)
        first = int(state.step)
        console.print(f"resuming after step {first}")
    log = Log(workdir, first)
    steps, metrics = config.train.steps, log.last
    patience = config.monitor.patience

    def observe(step: int, numbers: dict[str, float]) -> dict[str, float]:
        nonlocal progress
        progress, seen = monitor.observe(
            here(state).model, *probes, progress, threshold=config.monitor.threshold
        )
        # Unequal machines might differ on when to stop.
        progress = progress._replace(settled=int(processes.from_first(progress.settled)))
        pictures = {}
        if draw is not None and processes.first():
            wavelengths = scenes[0].cube.wavelengths
            pictures = draw(*probes, progress.labels, wavelengths, first=step == 0)
        return log.write(step, numbers | seen, pictures)

    try:
        if first == 0:
            with phase(console, "compiling, and predicting the probes"):
                metrics = observe(0, {})
        batches = read_batches(
            [scene.cube for scene in scenes],
            seed=config.seed,
            first_step=first,
            last_step=steps,
            crop=config.data.crop,
            overlap=config.data.overlap,
            batch=batch_size,
            pairs_per_window=config.data.pairs_per_window,
            slots=own_slots(mesh, batch_size),
        )
        pending: tuple[int, Plan, dict[str, Any]] | None = None
        # Closed here, because an error that somebody keeps would keep the reading thread, too.
        with contextlib.closing(batches), progress_bar(console, steps) as advance:
            advance(first, metrics)
            for step in range(first + 1, steps + 1):
                if patience and progress.settled >= patience:
                    break
                with _clock() as wait:
                    plan, batch = next(batches)
                waited = wait()
                with _clock() as spent:
                    state, numbers = take_step(state, whole_batch(mesh, batch_size, batch))
                    _finite(pending, scenes)
                    pending = step, plan, numbers
                    last = step == steps
                    seen = last or step % config.monitor.every == 0
                    saved = last or step % config.train.checkpoint_every == 0
                    if seen or saved or step % config.train.log_every == 0:
                        host = _finite(pending, scenes)
                        pending = None
                if seen or saved or step % config.train.log_every == 0:
                    host |= {"data_wait": waited / (waited + spent()), "seconds": log.seconds()}
                    metrics = observe(step, host) if seen else log.write(step, host)
                if saved or (patience and progress.settled >= patience):
                    rank = log.latest("monitor/soft_information")
                    if rank is None:  # somebody has removed what was logged
                        rank = _soft_information(config, state, probes, progress)
                    checkpoints.save(state, progress, soft_information=rank)
                advance(step, metrics)
            _finite(pending, scenes)
        done = int(state.step)
    finally:
        checkpoints.close()
        log.close()
    if done < steps:
        why = f"the clusters had settled: {patience} epochs in a row with an NMI of at least "
        why += f"{config.monitor.threshold:g}"
    else:
        why = f"all {steps} steps were taken"
    return here(state), why, done < steps, metrics


def _soft_information(
    config: Config,
    state: TrainState,
    probes: tuple[np.ndarray, np.ndarray],
    progress: monitor.Progress,
) -> float:
    """By which a checkpoint is ranked, found without counting as an epoch."""
    threshold = config.monitor.threshold
    seen = monitor.observe(here(state).model, *probes, progress, threshold=threshold)[1]
    return seen["monitor/soft_information"]


def claim(workdir: str, config: Any) -> None:
    """Makes the workdir this configuration's own, or finds that it is; all processes wait for it.

    Raises:
        InputError: if the folder cannot be written or belongs to another configuration.
    """
    with processes.agreeing(f"workdir={workdir}"):
        if processes.first():
            _claim(workdir, config)


def _note_scenes(workdir: str, scenes: list[Scene], console: rich.console.Console) -> None:
    """Records what is trained on, or finds that a training that goes on began with the same.

    Raises:
        InputError: if it began with other scenes, or the manifest cannot be read or written.
    """
    now = provenance.of_scenes(scenes)
    before = manifest.get(workdir, "training", "scenes")
    if before is None or not has_checkpoint(workdir):
        manifest.begin(workdir, "training", "scenes", [])
        manifest.finish(workdir, "training", "scenes", now, [])
        return
    told = manifest.difference(before.made_from, now)
    if manifest.difference(*map(manifest.timeless, (before.made_from, now))):
        raise InputError(
            f"workdir={workdir}",
            expected="the scenes with which its training began",
            found=f"others ({told})",
            remedy="name another workdir or delete that one",
        )
    if told:  # as after copying them anew
        console.print(
            f"warning: {told}, of the same size; training goes on as if nothing else had changed.",
            markup=False, soft_wrap=True,
        )  # fmt: skip


def _configuration_of(workdir: str) -> dict[str, Any] | None:
    """The configuration of a run, as JSON values; None if nothing but a checkpoint tells it."""
    told = "the configuration of a run", "name another workdir or delete that one"
    with contextlib.suppress(FileNotFoundError):
        return documents.read(os.path.join(workdir, "config.json"), dict[str, Any], *told)
    with contextlib.suppress(FileNotFoundError):
        about = os.path.join(storage.model_path(workdir), storage.ABOUT)
        return documents.read(about, _About, *told)["config"]
    return None


class _About(TypedDict):
    """What of a finished model tells its configuration."""

    config: dict[str, Any]


def _claim(workdir: str, config: Config) -> None:
    path = os.path.join(workdir, "config.json")
    mine = options.as_json(config)
    try:
        os.makedirs(workdir, exist_ok=True)
        # A run that failed before its first step left nothing that is worth keeping.
        kept = ("metrics.jsonl", "summary.json", os.path.join("checkpoints", "model"))
        begun = any(os.path.exists(os.path.join(workdir, name)) for name in kept)
        other = None
        if begun or has_checkpoint(workdir):
            other = _configuration_of(workdir)
        if other is None or (other == mine and not os.path.exists(path)):
            other = mine
            with whole(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
                json.dump(mine, file, indent=1)
    except InputError:
        raise
    except OSError as error:
        if is_full(error):
            raise unwritten(path, error) from error
        raise InputError(
            f"workdir={workdir}",
            expected="a folder that can be written",
            found=error.strerror or error,
            remedy="name another one",
        ) from error
    if differ := options.difference(mine, other):
        raise InputError(
            f"workdir={workdir}",
            expected="a new folder or one of this configuration",
            found=f"a run that differs in {differ}",
            remedy="name another workdir or delete that one",
        )


def _finite(
    pending: tuple[int, Plan, dict[str, Any]] | None, scenes: list[Scene]
) -> dict[str, float]:
    """Waits for a step's metrics, as scalars; raises where its loss is not finite."""
    if pending is None:
        return {}
    step, plan, numbers = pending
    host = {name: float(value) for name, value in numbers.items() if name != "usage"}
    if not math.isfinite(host["loss"]):
        terms = ", ".join(f"{n} = {v:g}" for n, v in host.items() if n.startswith("loss"))
        names = ", ".join(sorted({scenes[i].cube.name for i in plan.scene}))
        raise DivergedError(
            f"The loss of step {step} is not finite ({terms}) on the scenes {names}; check them "
            "with `dgc inspect`, or lower optim.learning_rate. The last checkpoint stands."
        )
    return host


def _told(config: Config, light: float) -> str:
    """What the calibration of light found, in a line."""
    gain, tilt = (light * getattr(config.augment, name) for name in ("gain", "tilt"))
    return (
        f"light changes: gain {gain:.3g}, tilt {tilt:.3g} ({light:.0%} of the bounds, under which "
        f"labels agree with an NMI of {config.augment.agreement:g})"
    )


@contextlib.contextmanager
def _clock() -> Iterator[Any]:
    """Yields a function that gives the seconds of the block, once it has ended (or so far)."""
    start, end = time.perf_counter(), None

    def seconds() -> float:
        return (end or time.perf_counter()) - start

    yield seconds
    end = time.perf_counter()
