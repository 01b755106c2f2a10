"""The model: everything that turns reflectance into embeddings and assignments, in one place.

Training moves its parameters and centroids (`dgc_jax.train`); applying reads them
(`dgc_jax.apply`). Both go the same way:

    reflectance -> bins -> normalised spectra -> p -> z -> assignment to the nearest centroid
"""

from collections.abc import Mapping
from typing import Any, cast

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32

from dgc_jax.config import Config
from dgc_jax.model import centroids, normalisation
from dgc_jax.model.encoder import Encoder
from dgc_jax.model.mean_shift import UnrolledMeanShift

Parameters = Mapping[str, Any]


class Model(flax.struct.PyTreeNode):
    """Parameters and constants, with the functions that they make.

    Attributes:
        params: parameters of `encoder` and `mean_shift`.
        centroids: `[K, embedding]` unit centroids.
        normalisation: constants of the data set.
        encoder: spectra to unit embeddings; static, as are the next two.
        mean_shift: embeddings to the modes of their neighbourhoods.
        temperature: of the soft assignment.
    """

    params: Parameters
    centroids: jax.Array
    normalisation: normalisation.Normalisation
    encoder: Encoder = flax.struct.field(pytree_node=False)
    mean_shift: UnrolledMeanShift = flax.struct.field(pytree_node=False)
    temperature: float = flax.struct.field(pytree_node=False)

    def bins(
        self,
        crops: Float[Array | np.ndarray, "batch row column band"],
        valid: Bool[Array | np.ndarray, "batch row column"],
    ) -> Float[Array, "batch row column bin"]:
        """The means over bins of bands, 0 where invalid.

        Args:
            crops: `[batch, row, column, band]` reflectance; invalid numbers may be NaN.
            valid: `[batch, row, column]` bool.

        Returns:
            `[batch, row, column, bin]` reflectance.
        """
        return jnp.where(valid[..., None], normalisation.to_bins(crops, self.normalisation), 0)

    def normalise(self, bins: Float[Array, "... bin"]) -> Float[Array, "... bin"]:
        """The spectra `[..., bin]` that the encoder takes, of bins of reflectance."""
        return normalisation.normalise(bins, self.normalisation)

    def encode(
        self,
        spectra: Float[Array | np.ndarray, "batch row column bin"],
        valid: Bool[Array | np.ndarray, "batch row column"],
        *,
        encoder: Parameters | None = None,
        raw: bool = False,
    ) -> Float[Array, "batch row column embedding"]:
        """Applies the encoder alone; see `dgc_jax.model.encoder.Encoder`.

        Args:
            spectra: `[batch, row, column, bin]` normalised spectra.
            valid: `[batch, row, column]` bool.
            encoder: other parameters of it; None: the model's.
            raw: return the network's features instead.

        Returns:
            p `[batch, row, column, embedding]`, or features `[batch, row, column, feature]`.
        """
        params = self.params["encoder"] if encoder is None else encoder
        return cast(jax.Array, self.encoder.apply({"params": params}, spectra, valid, raw=raw))

    def embed(
        self,
        spectra: Float[Array | np.ndarray, "batch row column bin"],
        valid: Bool[Array | np.ndarray, "batch row column"],
    ) -> tuple[
        Float[Array, "batch row column embedding"], Float[Array, "batch row column embedding"]
    ]:
        """The forward pass: unit embeddings before and after the mean shift.

        Args:
            spectra: `[batch, row, column, bin]` normalised spectra.
            valid: `[batch, row, column]` bool.

        Returns:
            p and z, both `[batch, row, column, embedding]` float32, zero where invalid.
        """
        p = self.encode(spectra, valid)
        z = self.mean_shift.apply({"params": self.params["mean_shift"]}, p, valid)
        return p, centroids.unit(cast(jax.Array, z))

    def embeddings(
        self,
        crops: Float[Array | np.ndarray, "batch row column band"],
        valid: Bool[Array | np.ndarray, "batch row column"],
    ) -> Float[Array, "batch row column embedding"]:
        """The embeddings z `[batch, row, column, embedding]` of crops, 0 where invalid.

        Args:
            crops: `[batch, row, column, band]` reflectance; invalid numbers may be NaN.
            valid: `[batch, row, column]` bool.
        """
        return self.embed(self.normalise(self.bins(crops, valid)), valid)[1]

    def assign(self, z: Float[Array, "... embedding"]) -> Float[Array, "... K"]:
        """Logarithms of the soft assignment `[..., K]` of embeddings `[..., embedding]`."""
        return centroids.assign(z, self.centroids, self.temperature)

    def nearest(self, z: Float[Array, "... embedding"]) -> Int32[Array, "..."]:
        """Index `[...]` int32 of the nearest centroid of embeddings `[..., embedding]`."""
        return centroids.nearest(z, self.centroids)


def encoder(config: Config) -> Encoder:
    """The encoder that a configuration means."""
    model = config.model
    return Encoder(
        embedding=model.embedding,
        features=model.features,
        kernel=model.kernel,
        strides=model.strides or None,
        precision=config.train.precision,
    )


def mean_shift(config: Config) -> UnrolledMeanShift:
    """The mean shift that a configuration means."""
    model = config.model
    return UnrolledMeanShift(
        iterations=model.iterations,
        window=model.window,
        bandwidth=model.bandwidth,
        precision=config.train.precision,
    )
