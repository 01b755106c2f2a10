"""From a configuration to the typed constants that the rest of the package takes.

`ConfigDict` stops here: what a run does is decided, checked and typed before anything is read.
"""

import json
from collections.abc import Mapping
from typing import Any

import ml_collections

from dgc_jax.data.augment import Augment
from dgc_jax.data.formats.detect import scene_name
from dgc_jax.data.leaves import BACKGROUND, CLASSES, Leaves, ensure
from dgc_jax.data.scenes import Scene, find_scenes, open_scenes
from dgc_jax.errors import InputError
from dgc_jax.model.encoder import Encoder
from dgc_jax.model.losses import Weights
from dgc_jax.model.mean_shift import UnrolledMeanShift
from dgc_jax.model.normalisation import KINDS
from dgc_jax.train.state import Optimizer, Recipe

PRECISIONS = ("float32", "bfloat16")


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses values that no run can be made of.

    Raises:
        InputError: naming the first such field, what was expected and what was found.
    """
    if config.clusters.final is None:
        raise InputError(
            "clusters.final: expected the number of clusters to end with, found none; "
            "set --config.clusters.final or use configs/dgc4.py."
        )
    for field, low, high in (
        ("clusters.train", 1, 255),
        ("clusters.final", 1, config.clusters.train),
        ("clusters.starts", 1, 100),
        ("augment.agreement", 0, 1),
        ("optim.bandwidth", 0, 1000),
        ("data.batch", 1, 4096),
        ("data.crop", 8, 4096),
        ("loss.displacement", 0, config.data.crop - 1),
        ("data.sample", 1, 100_000),
        ("clusters.sample", 1, 1_000_000),
        ("data.pairs_per_window", 1, 1_000_000),
        ("model.iterations", 0, 1000),
        ("model.window", 1, 99),
        ("model.whiten", 0, 1),
        ("model.linear", 0, 1000),
        ("model.network", 0, 1000),
        ("train.steps", 0, 10**9),
        ("train.log_every", 1, 10**9),
        ("train.checkpoint_every", 1, 10**9),
        ("monitor.every", 1, 10**9),
        ("monitor.probes", 1, config.data.sample),
        ("monitor.patience", 0, 10**9),
    ):
        section, name = field.split(".")
        value = config[section][name]
        if not low <= value <= high:
            raise InputError(f"{field}: expected a number from {low} to {high}, found {value}.")
    for field, choices in (("data.normalisation", KINDS), ("train.precision", PRECISIONS)):
        section, name = field.split(".")
        if config[section][name] not in choices:
            raise InputError(
                f"{field}: expected one of {', '.join(choices)}, found {config[section][name]!r}."
            )
    for field, length in (("data.overlap", 2), ("model.features", 3), ("model.strides", 3)):
        section, name = field.split(".")
        value = config[section][name]
        numbers = all(isinstance(number, int | float) for number in value or ())
        if value is not None and (len(value) != length or not numbers):
            raise InputError(f"{field}: expected {length} numbers, found {tuple(value)}.")
    if config.model.window % 2 == 0:
        raise InputError(
            f"model.window: expected an odd number of pixels, found {config.model.window}; "
            "a window has its pixel in the middle."
        )


def recipe(config: ml_collections.ConfigDict) -> Recipe:
    """The constants of training."""
    precision = config.train.precision
    model, loss, optim = config.model, config.loss, config.optim
    return Recipe(
        encoder=Encoder(
            embedding=model.embedding,
            features=tuple(model.features),
            kernel=model.kernel,
            strides=tuple(model.strides) if model.strides else None,
            precision=precision,
        ),
        mean_shift=UnrolledMeanShift(
            iterations=model.iterations,
            window=model.window,
            bandwidth=model.bandwidth,
            precision=precision,
        ),
        augment=Augment(**{n: v for n, v in config.augment.items() if n != "agreement"}),
        weights=Weights(
            compactness=loss.compactness,
            orthogonality=loss.orthogonality,
            consistency=loss.consistency,
            balance=loss.balance,
            anchor=loss.anchor,
        ),
        optimizer=Optimizer(
            learning_rate=optim.learning_rate,
            warmup=optim.warmup,
            steps=config.train.steps,
            final=optim.final,
            weight_decay=optim.weight_decay,
            clip=optim.clip,
            bandwidth=optim.bandwidth,
        ),
        temperature=model.temperature,
        margin=loss.margin,
        displacement=loss.displacement,
        decay=config.centroids.decay,
        kick=config.centroids.kick,
    )


def scenes(config: ml_collections.ConfigDict, *, common_grid: bool = True) -> list[Scene]:
    """Opens the scenes of `config.data`; the simulated ones are written when they are missing.

    Args:
        config: see `configs/default.py`.
        common_grid: bring all on the chosen bands of the first; a model that is there already takes
            each to its own bands instead.
    """
    data = config.data
    where, classes = data.scenes, data.classes
    if where == "leaves":
        where, classes = ensure(Leaves(**data.leaves)), classes or CLASSES
    return open_scenes(
        where,
        labels=data.labels or None,
        mask=data.mask,
        variable=data.variable,
        axes=data.axes,
        bands=data.bands,
        drop=data.drop,
        unlabelled=data.unlabelled,
        classes=classes,
        dark=data.dark,
        white=data.white,
        wavelengths=data.wavelengths,
        common_grid=common_grid,
    )


def names(config: ml_collections.ConfigDict) -> list[str]:
    """Names of the scenes of `config.data`, found but not opened; none of the simulated ones.

    Raises:
        InputError: if there are none, or two of one name.
    """
    data = config.data
    if data.scenes == "leaves":
        return []
    beside = (data.labels, data.mask, data.dark, data.white)
    return [scene_name(path) for path in find_scenes(data.scenes, companions=beside)]


def background(config: ml_collections.ConfigDict) -> tuple[int, ...] | None:
    """Label values that count as background, if the data set defines them."""
    if config.data.background is None and config.data.scenes == "leaves":
        return BACKGROUND
    if not config.data.background:
        return None
    # Classes are numbered as `dgc_jax.data.labels` does: those below `unlabelled` move up by one.
    unlabelled = config.data.unlabelled
    return tuple(
        int(value) + int(unlabelled != 0 and (value < unlabelled or unlabelled < 0))
        for value in config.data.background
    )


def as_json(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The configuration as plain JSON values (tuples become lists)."""
    return json.loads(json.dumps(config.to_dict()))


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"train.steps": 150, ...}`: one entry for each field."""
    fields: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            fields |= flat(value, f"{prefix}{name}.")
        else:
            fields[prefix + name] = value
    return fields
