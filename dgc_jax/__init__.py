"""Deep Global Clustering of hyperspectral images, in JAX.

    from dgc_jax import load, open_cube
    labels = load("runs/dgc4").segment(open_cube("scene.hdr"))

Arrays are `[batch, row, column, band]`; wavelengths are nm; reflectance is 0..1; a label map is
uint8 with 0 = no data and 1..K = cluster.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dgc_jax.apply.segmenter import Segmenter, load
    from dgc_jax.commands.experiment import run
    from dgc_jax.config import Config
    from dgc_jax.data.arrays import as_cube
    from dgc_jax.data.crops import Batch
    from dgc_jax.data.cube import Cube, open_cube
    from dgc_jax.data.scenes import open_scenes
    from dgc_jax.errors import DivergedError, InputError
    from dgc_jax.estimator import DeepGlobalClustering
    from dgc_jax.model import losses
    from dgc_jax.model.encoder import Encoder
    from dgc_jax.model.mean_shift import UnrolledMeanShift
    from dgc_jax.train.state import Recipe, TrainState, create_state
    from dgc_jax.train.step import train_step

__all__ = [
    "Batch",
    "Config",
    "Cube",
    "DeepGlobalClustering",
    "DivergedError",
    "Encoder",
    "InputError",
    "Recipe",
    "Segmenter",
    "TrainState",
    "UnrolledMeanShift",
    "as_cube",
    "create_state",
    "load",
    "losses",
    "open_cube",
    "open_scenes",
    "run",
    "train_step",
]

# Imported when first used: `dgc inspect` and the workers of `dgc prepare` start without JAX.
_HOME = {
    "Batch": "dgc_jax.data.crops",
    "Config": "dgc_jax.config",
    "Cube": "dgc_jax.data.cube",
    "DeepGlobalClustering": "dgc_jax.estimator",
    "DivergedError": "dgc_jax.errors",
    "Encoder": "dgc_jax.model.encoder",
    "InputError": "dgc_jax.errors",
    "Recipe": "dgc_jax.train.state",
    "Segmenter": "dgc_jax.apply.segmenter",
    "TrainState": "dgc_jax.train.state",
    "UnrolledMeanShift": "dgc_jax.model.mean_shift",
    "as_cube": "dgc_jax.data.arrays",
    "create_state": "dgc_jax.train.state",
    "load": "dgc_jax.apply.segmenter",
    "losses": "dgc_jax.model.losses",
    "open_cube": "dgc_jax.data.cube",
    "open_scenes": "dgc_jax.data.scenes",
    "run": "dgc_jax.commands.experiment",
    "train_step": "dgc_jax.train.step",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dgc_jax' has no attribute {name!r}")
    module = importlib.import_module(_HOME[name])
    return module if name == "losses" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
