"""The state of training: everything that a step reads and writes, as one explicit pytree."""

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgc_jax import config
from dgc_jax.errors import InputError
from dgc_jax.model import centroids, normalisation
from dgc_jax.model.augment import Augment
from dgc_jax.model.encoder import FIXED, Encoder, choose_strides
from dgc_jax.model.losses import Weights
from dgc_jax.model.mean_shift import UnrolledMeanShift
from dgc_jax.model.model import Model, Parameters
from dgc_jax.model.normalisation import Normalisation


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """AdamW with clipping, a linear warm-up and a cosine decay; the bandwidth by plain descent.

    Attributes:
        learning_rate: peak learning rate.
        warmup: steps from 0 to the peak.
        steps: length of the whole schedule.
        final: learning rate at its end, as a share of the peak.
        weight_decay: decoupled weight decay, of kernels only.
        clip: largest global norm of the gradient of the encoder.
        bandwidth: peak learning rate of the mean shift's bandwidth, by plain gradient descent.
    """

    learning_rate: float = config.Optimiser.learning_rate
    warmup: int = config.Optimiser.warmup
    steps: int = config.Training.steps
    final: float = config.Optimiser.final
    weight_decay: float = config.Optimiser.weight_decay
    clip: float = config.Optimiser.clip
    bandwidth: float = config.Optimiser.bandwidth

    def transformation(self) -> optax.GradientTransformation:
        """The optax transformation that these numbers describe."""
        adamw = optax.adamw(
            self._schedule(self.learning_rate),
            weight_decay=self.weight_decay,
            mask=lambda tree: jax.tree_util.tree_map_with_path(_decays, tree),
        )
        # Adam's steps are of one size however flat the loss is: the bandwidth would grow as fast
        # on scenes where smoothing tells nothing as on those where it tells much.
        return optax.partition(
            {
                "encoder": optax.chain(optax.clip_by_global_norm(self.clip), adamw),
                "mean_shift": optax.sgd(self._schedule(self.bandwidth)),
            },
            lambda tree: {name: name for name in tree},
        )

    def _schedule(self, peak: float) -> optax.Schedule:
        return optax.warmup_cosine_decay_schedule(
            init_value=0.0,
            peak_value=peak,
            warmup_steps=min(self.warmup, max(self.steps - 1, 1)),
            decay_steps=max(self.steps, 2),
            end_value=self.final * peak,
        )


def _decays(path: tuple[Any, ...], leaf: jax.Array) -> bool:
    """Does weight decay act on this parameter?"""
    return leaf.ndim > 1 and path[-1].key not in FIXED


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What training does, as constants that the compiler sees.

    Without arguments the recipe: all defaults are those of `dgc_jax.config`.

    Attributes:
        encoder: spectra to unit embeddings.
        mean_shift: embeddings to the modes of their neighbourhoods.
        augment: strength of each augmentation.
        weights: weight of each loss.
        optimizer: AdamW and its schedule.
        temperature: of the soft assignment to the centroids.
        margin: cosine below which clusters do not repel each other.
        displacement: pixels between those whose assignments are to tell of each other (balance).
        decay: of the centroids' moving average.
        kick: noise given to a dead centroid, per dimension.
    """

    encoder: Encoder = dataclasses.field(default_factory=Encoder)
    mean_shift: UnrolledMeanShift = dataclasses.field(default_factory=UnrolledMeanShift)
    augment: Augment = dataclasses.field(default_factory=Augment)
    weights: Weights = dataclasses.field(default_factory=Weights)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    temperature: float = config.Model.temperature
    margin: float = config.Losses.margin
    displacement: int = config.Losses.displacement
    decay: float = config.Centroids.decay
    kick: float = config.Centroids.kick


class TrainState(flax.struct.PyTreeNode):
    """State before a step; `train_step` returns the state after it.

    Attributes:
        step: number of steps taken.
        model: what is trained: its parameters, and its centroids, which move by exponential moving
            average.
        opt_state: state of the optimiser.
        key: the one key of the run; step n draws from `fold_in(key, n)`.
        anchor: parameters of the encoder at step 0.
        light: `[]` share of `augment.gain` and `augment.tilt` that the scenes bear, 0..1, see
            `dgc_jax.train.light`.
        recipe: the constants of training; static.
    """

    step: jax.Array
    model: Model
    opt_state: optax.OptState
    key: jax.Array
    anchor: Parameters
    light: jax.Array
    recipe: Recipe = flax.struct.field(pytree_node=False)

    @property
    def params(self) -> Parameters:
        """Parameters of the model."""
        return self.model.params

    @property
    def centroids(self) -> jax.Array:
        """`[K, embedding]` centroids of the model."""
        return self.model.centroids

    @property
    def normalisation(self) -> Normalisation:
        """Constants of the data set."""
        return self.model.normalisation


def embeddings(model: Model, crops: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The embeddings z `[pixel, embedding]` of the valid pixels of un-augmented crops."""
    return np.concatenate([np.asarray(_embeddings(model, c, v))[v] for c, v in _each(crops, valid)])


_embeddings = jax.jit(Model.embeddings)


def create_state(
    key: jax.Array,
    recipe: Recipe,
    crops: np.ndarray,
    valid: np.ndarray,
    *,
    clusters: int,
    wavelengths: np.ndarray | None = None,
    bin_width: float = config.Data.bin_width,
    kind: str = config.Data.normalisation,
    start: str = config.Centroids.start,
    pixels: int = config.Centroids.pixels,
    whiten: float = config.Model.whiten,
    linear: float = config.Model.linear,
    network: float = config.Model.network,
) -> TrainState:
    """The state that training starts from, fitted to un-augmented sample crops.

    Fits the normalisation, draws the encoder, starts its affine map from the principal axes of
    the sample, and the centroids from the embeddings that follow.

    Args:
        key: the key of the run.
        recipe: the constants of training.
        crops: `[crop, row, column, band]` reflectance from all over the data set.
        valid: `[crop, row, column]` bool.
        clusters: number of centroids K.
        wavelengths: `[band]` nm, or None.
        bin_width: width of the bins that bands are averaged to, in nm; 0 for none.
        kind: normalisation; one of `dgc_jax.model.normalisation.KINDS`.
        start: `"kmeans++"` or `"random"`, the start of the centroids.
        pixels: embeddings drawn for the start of the centroids.
        whiten: how far the embedding starts whitened, 0..1.
        linear: size of the linear part of the first embedding.
        network: size of the network's part of it.

    Raises:
        InputError: if the sample has no valid pixels, or fewer than clusters, or the spectral
            kernels do not reach across the bins.
    """
    usable = int(np.count_nonzero(valid))
    constants = normalisation.fit(crops, valid, wavelengths=wavelengths, width=bin_width, kind=kind)
    if usable < clusters:
        raise InputError(
            "clusters.train",
            expected="at most as many clusters as valid pixels",
            found=f"{clusters} clusters for {usable} pixels",
            remedy="lower clusters.train and clusters.final",
        )
    if start not in config.STARTS:
        raise InputError(
            "centroids.start",
            expected="'kmeans++' or 'random'",
            found=repr(start),
            remedy="choose one",
        )
    if recipe.encoder.strides is None:  # refused here, not in the middle of a compilation
        choose_strides(constants.bins.shape[1], recipe.encoder.kernel)
    # Keys 2^32 - 1 and below are never reached by steps.
    encoder_key, sample_key, bank_key = jax.random.split(jax.random.fold_in(key, 2**32 - 1), 3)

    one = (1, 8, 8)
    spectra = jnp.zeros((*one, constants.bins.shape[1]), jnp.float32)
    everywhere = jnp.ones(one, bool)
    encoder = jax.jit(recipe.encoder.init)(encoder_key, spectra, everywhere)["params"]
    shape = (*one, recipe.encoder.embedding)
    shift = recipe.mean_shift.init(encoder_key, jnp.zeros(shape), everywhere)["params"]

    model = Model(
        params={"encoder": encoder, "mean_shift": shift},
        centroids=jnp.zeros((clusters, recipe.encoder.embedding)),
        normalisation=constants,
        encoder=recipe.encoder,
        mean_shift=recipe.mean_shift,
        temperature=recipe.temperature,
    )
    encoder = _principal_start(model, crops, valid, whiten, (linear, network))
    model = model.replace(params={"encoder": encoder, "mean_shift": shift})
    z = embeddings(model, crops, valid)
    chosen = jax.random.permutation(sample_key, len(z))[: max(pixels, clusters)]
    begin = centroids.start if start == "kmeans++" else centroids.random_start
    bank = begin(bank_key, jnp.asarray(z[np.asarray(chosen)]), clusters)
    return TrainState(
        step=jnp.int32(0),
        model=model.replace(centroids=bank),
        opt_state=recipe.optimizer.transformation().init(model.params),
        key=key,
        anchor=jax.tree.map(jnp.copy, encoder),
        light=jnp.float32(1),
        recipe=recipe,
    )


def _each(crops: np.ndarray, valid: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """One crop at a time, `[1, row, column, band]`, so that memory does not grow with crops."""
    return [(crops[i : i + 1], valid[i : i + 1]) for i in range(len(crops))]


@jax.jit
def _moments(
    model: Model, crops: jax.Array, valid: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """Sums over the valid pixels of f and of f f^T, for the spectra and for the features y."""
    spectra = model.normalise(model.bins(crops, valid))
    y = model.encode(spectra, valid, raw=True)

    def sums(f: jax.Array) -> tuple[jax.Array, jax.Array]:
        f = jnp.where(valid[..., None], f, 0).reshape(-1, f.shape[-1])
        return jnp.sum(f, axis=0), f.T @ f

    return sums(spectra), sums(y)


def _principal_start(
    model: Model,
    crops: np.ndarray,
    valid: np.ndarray,
    whiten: float,
    sizes: tuple[float, float],
) -> Parameters:
    """Sets the affine map of the encoder from the sample.

    The embedding starts as the principal axes of the spectra plus those of the network's features,
    both partly whitened and of the given sizes.
    """
    each = [_moments(model, c, v) for c, v in _each(crops, valid)]
    count = np.count_nonzero(valid)
    maps, offset = [], 0.0
    for part, size in enumerate(sizes):
        mean, second = (
            np.sum([np.asarray(e[part][i], np.float64) for e in each], axis=0) / count
            for i in (0, 1)
        )
        matrix = size * _axes(second - np.outer(mean, mean), whiten, model.encoder.embedding)
        maps.append(matrix)
        offset = offset - mean @ matrix
    return {
        **model.params["encoder"],
        "linear": jnp.asarray(maps[0], jnp.float32),
        "mix": jnp.asarray(maps[1], jnp.float32),
        "offset": jnp.asarray(offset, jnp.float32),
    }


def _axes(covariance: np.ndarray, whiten: float, dimensions: int) -> np.ndarray:
    """Partly whitening projection onto the principal axes of standardised variables.

    Along an axis of variance v the projection is divided by v^(whiten / 2): 0 leaves brightness
    to drown everything else, which nearly all variables follow; 1 makes the noise as large as the
    signal. The whole has unit variance.

    Args:
        covariance: `[variable, variable]`.
        whiten: 0..1.
        dimensions: axes to keep; zeros fill up where there are fewer variables.

    Returns:
        `[variable, dimensions]`.
    """
    deviation = np.sqrt(np.maximum(np.diag(covariance), 1e-8))
    variance, axes = np.linalg.eigh(covariance / np.outer(deviation, deviation))
    order = np.argsort(-variance)[:dimensions]
    variance = np.maximum(variance[order], 1e-4 * variance.max())
    matrix = axes[:, order] * variance ** (-whiten / 2) / deviation[:, None]
    matrix /= np.sqrt(np.sum(variance ** (1 - whiten)))
    return np.pad(matrix, ((0, 0), (0, dimensions - len(order))))
