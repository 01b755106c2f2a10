"""Deep Global Clustering of hyperspectral images, in JAX.

    from dgc_jax import load, open_cube
    labels = load("runs/dgc4").segment(open_cube("scene.hdr"))

Arrays are `[batch, row, column, band]`; wavelengths are nm; reflectance is 0..1; a label map is
uint8 with 0 = no data and 1..K = cluster.
"""

from dgc_jax.apply.segmenter import Segmenter, load
from dgc_jax.data.crops import Batch
from dgc_jax.data.cube import Cube, open_cube
from dgc_jax.data.scenes import open_scenes
from dgc_jax.errors import DivergedError, InputError
from dgc_jax.experiment import run
from dgc_jax.model import losses
from dgc_jax.model.encoder import Encoder
from dgc_jax.model.mean_shift import UnrolledMeanShift
from dgc_jax.train.state import Recipe, TrainState, create_state
from dgc_jax.train.step import train_step

__all__ = [
    "Batch",
    "Cube",
    "DivergedError",
    "Encoder",
    "InputError",
    "Recipe",
    "Segmenter",
    "TrainState",
    "UnrolledMeanShift",
    "create_state",
    "load",
    "losses",
    "open_cube",
    "open_scenes",
    "run",
    "train_step",
]
