"""From a configuration to the typed constants that the rest of the package takes.

`ConfigDict` stops here: what a run does is decided, checked and typed before anything is read.
"""

import json
from collections.abc import Mapping
from typing import Any

import ml_collections

from dgc_jax.data.augment import Augment
from dgc_jax.data.leaves import BACKGROUND, CLASSES, Leaves, ensure
from dgc_jax.data.scenes import Scene, open_scenes
from dgc_jax.model.encoder import Encoder
from dgc_jax.model.losses import Weights
from dgc_jax.model.mean_shift import UnrolledMeanShift
from dgc_jax.train.bounds import check as check
from dgc_jax.train.state import Optimizer, Recipe


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


def scenes(
    config: ml_collections.ConfigDict, given: Any = None, *, common_grid: bool = True
) -> list[Scene]:
    """Opens the scenes of `config.data`; the simulated ones are written when they are missing.

    Args:
        config: see `configs/default.py`.
        given: scenes in place of `config.data.scenes`, see `dgc_jax.data.scenes.open_scenes`.
        common_grid: bring all on the chosen bands of the first; a model that is there already takes
            each to its own bands instead.
    """
    data = config.data
    where, classes = data.scenes if given is None else given, data.classes
    if isinstance(where, str) and where == "leaves":
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
