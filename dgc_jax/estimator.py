"""Clustering by two calls, in the manner of scikit-learn.

    from dgc_jax import DeepGlobalClustering
    labels = DeepGlobalClustering(clusters=4).fit_predict(cube)  # [row, column], 0 = no data

Constructor arguments are kept as they are given, `fit` returns the estimator, and what it learns
ends in an underscore, so that `sklearn.base.clone`, `set_params` and searches work; scikit-learn
itself is not needed. A scene is whatever `dgc_jax.data.arrays.as_cube` takes.
"""

import contextlib
import difflib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Self

import numpy as np

from dgc_jax.apply.saved_model import SavedModel, load_model, save_model
from dgc_jax.apply.segmenter import Segmenter, from_model
from dgc_jax.commands import experiment
from dgc_jax.config import Config, as_json, by_name, check, configure, flat
from dgc_jax.data import arrays
from dgc_jax.data.cube import Path
from dgc_jax.data.scenes import Scene
from dgc_jax.errors import InputError
from dgc_jax.train import loop, options

_PARAMETERS = {"clusters": 4, "seed": 0, "config": None, "workdir": None}  # and their defaults
_USUAL = by_name(Config())
_ARGUMENTS = {  # fields of the configuration that are said otherwise
    "clusters.final": "clusters=",
    "seed": "seed=",
    "data.scenes": "the scenes to fit()",
}


class DeepGlobalClustering:
    """Deep Global Clustering as an estimator.

    Attributes:
        segmenter_: the fitted model at work, a `dgc_jax.Segmenter`.
        model_: the same as it is saved.
        n_features_in_: number of bands that it takes.
    """

    def __init__(
        self,
        clusters: int = 4,
        *,
        seed: int = 0,
        config: Config | Mapping[str, Any] | None = None,
        workdir: Path | None = None,
    ) -> None:
        """Keeps the arguments; `fit` checks them.

        Args:
            clusters: number of clusters.
            seed: the one seed: equal ones give equal models.
            config: fields of the configuration that differ from its defaults, as
                `{"train.steps": 50}`, nested, or a `dgc_jax.Config`.
            workdir: folder that a fit leaves checkpoints, maps and report in, as `dgc train` does,
                and is resumed from; None: only the model is kept, in memory.
        """
        self.clusters = clusters
        self.seed = seed
        self.config = config
        self.workdir = workdir

    def fit(
        self,
        scenes: Any,
        y: None = None,
        *,
        wavelengths: Sequence[float] | np.ndarray | Path | None = None,
    ) -> Self:
        """Trains on one or several scenes, and tells how it goes on standard output.

        Args:
            scenes: one, or a list of several; a path may be a folder or glob of many.
            y: not used, as labels never are.
            wavelengths: of the bands of arrays and files that do not say them, nm.

        Returns:
            The estimator.

        Raises:
            InputError: if the parameters, the scenes or the workdir cannot be used.
            DivergedError: if a loss is not finite.
        """
        self._fit(scenes, wavelengths)
        return self

    def predict(
        self, scene: Any, *, wavelengths: Sequence[float] | np.ndarray | Path | None = None
    ) -> Any:
        """Labels the pixels of a scene; of a list of scenes, those of each.

        Args:
            scene: one that was trained on, or another.
            wavelengths: of its bands, if it does not say them, nm.

        Returns:
            `[row, column]` uint8, 1..K, and 0 where there is no data; of an `xarray.DataArray` as
            one with the coordinates of its pixels.

        Raises:
            InputError: if it is not fitted, or the scene cannot be used.
        """
        return self._each(scene, wavelengths, Segmenter.segment)

    def transform(
        self, scene: Any, *, wavelengths: Sequence[float] | np.ndarray | Path | None = None
    ) -> Any:
        """The embeddings of the pixels of a scene; arguments as `predict`.

        Returns:
            `[row, column, embedding]` float32 of length 1, and 0 where there is no data.
        """
        return self._each(scene, wavelengths, Segmenter.embed)

    def fit_predict(
        self,
        scenes: Any,
        y: None = None,
        *,
        wavelengths: Sequence[float] | np.ndarray | Path | None = None,
    ) -> Any:
        """`fit`, then the labels of the same: a map, or a list of maps of several scenes."""
        opened = self._fit(scenes, wavelengths)
        several = isinstance(scenes, list | tuple)
        if not any(isinstance(s, str | os.PathLike) for s in (scenes if several else [scenes])):
            return self.predict(scenes, wavelengths=wavelengths)
        maps = [self.segmenter_.segment(scene.cube) for scene in opened]  # paths may be of many
        return maps if several or len(maps) > 1 else maps[0]

    def save(self, path: Path) -> None:
        """Writes the fitted model for `load`, and for `dgc_jax.load` and the `dgc` commands.

        Args:
            path: folder; a model that was saved there before is replaced.

        Raises:
            InputError: if it is not fitted, or the folder is a run's or cannot be written.
        """
        self._fitted()
        folder = os.path.expanduser(os.fspath(path))
        if os.path.exists(os.path.join(folder, "config.json")):
            raise InputError(
                folder,
                expected="a folder for a model",
                found="the workdir of a run",
                remedy="name another one",
            )
        try:
            os.makedirs(folder, exist_ok=True)
            save_model(folder, self.model_)
        except OSError as error:
            raise InputError(
                folder,
                found=f"cannot be written ({error.strerror or error})",
                remedy="choose a folder that can be",
            ) from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """The estimator of a model that was saved, or of the workdir of a finished run.

        Raises:
            InputError: if there is none.
        """
        model = load_model(os.path.expanduser(os.fspath(path)))
        trained = model.about["config"]
        clusters, seed = trained["clusters"]["final"], trained["seed"]
        usual = flat(as_json(_configuration(clusters, seed, None)))
        differing = {
            name: value
            for name, value in flat(trained).items()
            if name not in _ARGUMENTS and name in usual and usual[name] != value
        }
        made = cls(clusters, seed=seed, config=differing or None)
        made._keep(model)
        return made

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {name: getattr(self, name) for name in _PARAMETERS}

    def set_params(self, **parameters: Any) -> Self:
        """Changes constructor arguments; a model that is fitted stays until the next `fit`.

        Raises:
            InputError: if there is no such parameter.
        """
        for name in parameters:
            if name not in _PARAMETERS:
                raise InputError(
                    "DeepGlobalClustering",
                    expected=f"parameters out of {', '.join(_PARAMETERS)}",
                    found=repr(name),
                    remedy=_near(name, _PARAMETERS),
                )
        for name, value in parameters.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        given = self.get_params().items()
        words = [f"{name}={value!r}" for name, value in given if value != _PARAMETERS[name]]
        return f"DeepGlobalClustering({', '.join(words)})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A DeepGlobalClustering is not pickled: use save(path) and "
            "DeepGlobalClustering.load(path), or sklearn.base.clone for one that is not fitted."
        )

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn (1.6 and later) asks of an estimator, and nobody else."""
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type="clusterer",
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(),
            input_tags=InputTags(two_d_array=False, three_d_array=True, allow_nan=True),
        )

    def _fit(self, scenes: Any, wavelengths: Any) -> list[Scene]:
        config = _configuration(self.clusters, self.seed, self.config)
        if scenes is None:  # which would mean those of the configuration
            arrays.as_cube(scenes)
        if wavelengths is not None:
            if not isinstance(wavelengths, str | os.PathLike):
                wavelengths = np.asarray(wavelengths, np.float64).ravel()
            config = configure(config, {"data.wavelengths": wavelengths})
        opened = options.scenes(config, scenes)
        config = configure(config, {"data.scenes": _recorded(scenes, opened)})
        with contextlib.ExitStack() as stack:
            if self.workdir is None:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dgc-fit-"))
                model = experiment.merged(config, loop.train(config, folder, scenes=opened))
            else:
                folder = os.path.expanduser(os.fspath(self.workdir))
                experiment.run(config, folder, scenes=opened)
                model = load_model(folder)
        self._keep(model)
        return opened

    def _keep(self, model: SavedModel) -> None:
        self.model_ = model
        self.segmenter_ = from_model(model)
        self.n_features_in_ = self.segmenter_.bands

    def _fitted(self) -> Segmenter:
        if not hasattr(self, "segmenter_"):
            raise InputError(
                "DeepGlobalClustering",
                found="is not fitted",
                remedy="call fit(scenes) first, or load a saved one by "
                "DeepGlobalClustering.load(path)",
            )
        return self.segmenter_

    def _each(self, scene: Any, wavelengths: Any, method: Callable[..., Any]) -> Any:
        segmenter = self._fitted()
        if isinstance(scene, list | tuple):
            return [method(segmenter, each, wavelengths=wavelengths) for each in scene]
        return method(segmenter, scene, wavelengths=wavelengths)


def _configuration(clusters: int, seed: int, overrides: Any) -> Config:
    """The configuration that an estimator's parameters mean.

    Raises:
        InputError: if a field does not exist, cannot have its value, or is a parameter.
    """
    given = by_name({} if overrides is None else overrides)
    if isinstance(overrides, Config):  # all fields have a value there, chosen or not
        given = {name: value for name, value in given.items() if value != _USUAL[name]}
    for name, instead in _ARGUMENTS.items():
        if name in given:
            raise InputError(
                "config=", found=f"{name} is not set there", remedy=f"give {instead} instead"
            )
    return check(configure(given, {"clusters.final": clusters, "seed": seed}))


def _near(name: str, known: Mapping[str, Any]) -> str | None:
    """What to do about a name that is not known."""
    leaves = {each.rpartition(".")[2]: each for each in known}
    near = difflib.get_close_matches(name, known, 1, 0.6)
    near = near or [leaves[n] for n in difflib.get_close_matches(name, leaves, 1, 0.6)]
    return f"did you mean {near[0]!r}?" if near else None


def _recorded(scenes: Any, opened: Sequence[Scene]) -> str | tuple[str, ...]:
    """What the configuration says of the scenes: the paths, if all are, else what they hold."""
    several = isinstance(scenes, list | tuple)
    given = scenes if several else [scenes]
    if all(isinstance(scene, str | os.PathLike) for scene in given):
        paths = tuple(map(os.fspath, given))
        return paths if several else paths[0]
    return tuple(arrays.identity(scene.cube) for scene in opened)
