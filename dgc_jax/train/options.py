"""From a configuration to the constants, scenes and classes that the rest of the package takes.

What is called `given` here is whatever `dgc_jax.config.configure` takes.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from dgc_jax.config import SIMULATED, Config, configure, stored
from dgc_jax.config import as_json as as_json
from dgc_jax.config import check as check
from dgc_jax.config import flat as flat
from dgc_jax.data import reading
from dgc_jax.data.find import find_scenes
from dgc_jax.data.formats.detect import scene_name
from dgc_jax.data.scenes import Scene, open_data_set
from dgc_jax.data.simulation.leaves import BACKGROUND, CLASSES, Leaves, ensure
from dgc_jax.errors import InputError
from dgc_jax.model.augment import Augment
from dgc_jax.model.losses import Weights
from dgc_jax.model.model import encoder, mean_shift
from dgc_jax.train.state import Optimizer, Recipe


def recipe(given: Any) -> Recipe:
    """The constants of training."""
    config = configure(given)
    loss, optim = config.loss, config.optim
    return Recipe(
        encoder=encoder(config),
        mean_shift=mean_shift(config),
        augment=Augment(**{n: v for n, v in vars(config.augment).items() if n != "agreement"}),
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
        temperature=config.model.temperature,
        margin=loss.margin,
        displacement=loss.displacement,
        decay=config.centroids.decay,
        kick=config.centroids.kick,
    )


def of_run(
    run: Mapping[str, Any], scenes: str | Sequence[str] | None = None, **changes: Any
) -> Config:
    """The configuration of a finished run, with other scenes or scenes read in another way.

    Args:
        run: the run's own, as JSON values.
        scenes: paths, folders or globs; None: those of the training.
        changes: fields of `config.data`; those that are None stay as they were.
    """
    listed = [scenes] if isinstance(scenes, str) else None if scenes is None else list(scenes)
    given = {"scenes": listed, **changes}
    data = {**run["data"], **{name: value for name, value in given.items() if value is not None}}
    return stored({**run, "data": data})


def scenes(
    given: Any,
    paths: Any = None,
    *,
    common_grid: bool = True,
    wrong: dict[str, InputError] | None = None,
) -> list[Scene]:
    """Opens the scenes of `config.data`; the simulated ones are written when they are missing.

    Args:
        given: the configuration.
        paths: scenes in place of `config.data.scenes`, see `dgc_jax.data.scenes.open_scenes`.
        common_grid: bring all on the chosen bands of the first; a model that is there already takes
            each to its own bands instead.
        wrong: gets what is wrong with scenes that cannot be opened, see `open_scenes`.
    """
    data = configure(given).data
    where, classes = data.scenes if paths is None else paths, data.classes
    if isinstance(where, str) and where == SIMULATED:
        where, classes = ensure(Leaves(**dataclasses.asdict(data.leaves))), classes or CLASSES
    return open_data_set(
        where,
        reading.of_options(data),
        labels=data.labels or None,
        bands=data.bands,
        drop=data.drop,
        unlabelled=data.unlabelled,
        classes=classes,
        common_grid=common_grid,
        wrong=wrong,
    )


def names(given: Any) -> list[str]:
    """Names of the scenes of `config.data`, found but not opened; none of the simulated ones.

    Raises:
        InputError: if there are none, or two of one name.
    """
    data = configure(given).data
    if data.scenes == SIMULATED:
        return []
    beside = (data.labels, *reading.of_options(data).patterns)
    return [scene_name(path) for path in find_scenes(data.scenes, companions=beside)]


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """In which fields the configuration of another run differs, in words; empty if in none.

    Args:
        ours: as JSON values.
        theirs: likewise, those "there".
    """
    here, there = flat(ours), flat(theirs)
    names = sorted(n for n in here.keys() | there.keys() if here.get(n) != there.get(n))
    return ", ".join(f"{n} ({there.get(n)!r} there, {here.get(n)!r} here)" for n in names)


def background(given: Any) -> tuple[int, ...] | None:
    """Label values that count as background, if the data set defines them."""
    config = configure(given)
    if config.data.background is None and config.data.scenes == SIMULATED:
        return BACKGROUND
    if not config.data.background:
        return None
    # Classes are numbered as `dgc_jax.data.labels` does: those below `unlabelled` move up by one.
    unlabelled = config.data.unlabelled
    return tuple(
        int(value) + int(unlabelled != 0 and (value < unlabelled or unlabelled < 0))
        for value in config.data.background
    )
