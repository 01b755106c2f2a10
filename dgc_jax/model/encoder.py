"""The encoder: a spectral 1-D network for each pixel, then a spatial 2-D network.

    x [band] --conv 9--ReLU--conv 9--ReLU--conv 9--> s [32]                (1-D, along the bands)
    s --conv 3x3--ReLU--conv 3x3--> context;  y = s + context / 2          (2-D, over the image)
    c = L x + b, n = A y;  p = c + T c + n + B n;  p / |p|                 (unit embedding)

Source: Deep Global Clustering, section "Encoder". Departures from it, each measured: the
spectral network runs along the bands of one pixel; the image network is a residual, because the
random 5 x 5 stack that training starts from would blur the edges of leaves; the last layer has
no ReLU, which would fold the sphere of embeddings into one orthant; and the spectrum itself
reaches the embedding by a linear map to the principal axes of the data, so that what training
starts from does not depend on the draw of a random network. L, A and b are set once, from a sample;
what training changes are the network and the residuals T and B on those centred, whitened axes. The
equal steps of Adam on L itself would move nearly collinear bands together, and an axis the further
the less varies along it.

An invalid pixel contributes nothing to its neighbours: in the convolutions over the image, the
centre of the window stands in for it, so that neither the border of the image nor a hole leaves
a rim on an even surface. The embedding depends on pixels at most `RADIUS` away.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, PRNGKeyArray

from dgc_jax.config import Model, Training
from dgc_jax.errors import InputError

RADIUS = 2  # pixels: two convolutions of 3 x 3
_BLOCK = 3  # positions of the last but one spectral layer that are computed together
FIXED = ("linear", "mix", "offset")  # parameters that training leaves as they were set


def choose_strides(bands: int, kernel: int = Model.kernel) -> tuple[int, int, int]:
    """Strides that leave one position after three convolutions over `bands` bands.

    Two strides (a, b, 1) see `reach = kernel + a (kernel - 1)(b + 1)` bands. Chosen is the
    closest reach that leaves out at most one band in twenty: 301 bands give (7, 4, 1).

    Raises:
        InputError: if the kernel is too short for so many bands.
    """
    options = [(a, b, 1) for b in (4, 3, 2, 1) for a in range(1, max(kernel, bands // 24 + 2))]
    covering = [s for s in options if _reach(s, kernel) >= 0.95 * bands]
    if not covering:
        raise InputError(
            "kernel=",
            expected=f"one that reaches across {bands} bands (after binning)",
            found=kernel,
            remedy="raise it (9 reaches across any number), or give strides= or a larger width= of "
            "bins",
        )
    return min(
        covering, key=lambda s: (s[0] >= kernel, abs(_reach(s, kernel) - bands), options.index(s))
    )


def _identity(key: PRNGKeyArray, shape: tuple[int, int]) -> Float[Array, "row column"]:
    del key
    return jnp.eye(shape[0], shape[1])


def _reach(strides: Sequence[int], kernel: int) -> int:
    """Bands that a single position after convolutions with these strides depends on."""
    positions = 1
    for stride in reversed(strides):
        positions = (positions - 1) * stride + kernel
    return positions


def _fit_length(
    spectra: Float[Array, "pixel band"], strides: Sequence[int], kernel: int
) -> Float[Array, "pixel fitted"]:
    """Repeats the end bands of `[pixel, band]` until the convolutions fit, or trims the ends."""
    bands = spectra.shape[1]
    reach = _reach(strides, kernel)
    missing = reach - bands
    if missing > 0:
        return jnp.pad(spectra, ((0, 0), (missing // 2, missing - missing // 2)), "edge")
    if bands - reach <= 0.05 * bands:  # leave the noisy ends out evenly
        first = (bands - reach) // 2
        return spectra[:, first : first + reach]
    return spectra


def band_matrix(
    kernel: Float[Array, "tap channel feature"], stride: int, positions: int
) -> Float[Array, "columns features"]:
    """The banded (Toeplitz) matrix of a strided convolution along the bands.

    Args:
        kernel: `[tap, channel, feature]`.
        stride: bands from one position to the next.
        positions: how many there are.

    Returns:
        `[band channel, position feature]`, for `(positions - 1) * stride + tap` bands.
    """
    taps, channels, features = kernel.shape
    bands = (positions - 1) * stride + taps
    place = np.zeros((bands, taps, positions), np.float32)  # 1 where band = position*stride + tap
    for position in range(positions):
        place[position * stride + np.arange(taps), np.arange(taps), position] = 1
    matrix = jnp.einsum("wtp,tcf->wcpf", jnp.asarray(place, kernel.dtype), kernel)
    return matrix.reshape(bands * channels, positions * features)


def band_convolutions(
    spectra: Float[Array, "pixel columns"],
    layers: Sequence[tuple[Float[Array, "_ _ _"], Float[Array, " _"], int]],
    block: int,
) -> Float[Array, "pixel features"]:
    """Strided 1-D convolutions along the bands with ReLUs between, as a few matrix products.

    With so few channels a library convolution spends its time on moving data. Here all that
    `block` neighbouring positions of the last layer depend on is computed by one product a layer,
    with the banded matrix of its kernel, which multiplies some zeros but runs at the speed of a
    matrix product. What two blocks share is computed twice, which takes less time than to copy it.

    Args:
        spectra: `[pixel, band channel]`.
        layers: kernel `[tap, channel, feature]`, bias `[feature]` and stride of each.
        block: positions of the last layer that are computed together.

    Returns:
        `[pixel, position feature]`; of each layer `position = (band - tap) // stride + 1`.
    """
    step = channels = layers[0][0].shape[1]  # between positions of the last layer, in columns
    positions = spectra.shape[1] // channels
    for kernel, _, stride in layers:
        positions, step = (positions - len(kernel)) // stride + 1, step * stride
    parts = []
    for first in range(0, positions, block):
        counts = [min(block, positions - first)]  # positions of every layer, and bands
        for kernel, _, stride in reversed(layers):
            counts.insert(0, (counts[0] - 1) * stride + len(kernel))
        x = spectra[:, first * step : first * step + counts[0] * channels]
        for layer, (kernel, bias, stride) in enumerate(layers):
            x = nn.relu(x) if layer else x
            count = counts[layer + 1]
            x = x @ band_matrix(kernel, stride, count) + jnp.tile(bias, count)[None, :]
        parts.append(x)
    return jnp.concatenate(parts, axis=1)


def masked_convolution(
    image: Float[Array, "batch row column channel"],
    valid: Bool[Array | np.ndarray, "batch row column"],
    kernel: Float[Array, "3 3 channel feature"],
    bias: Float[Array, " feature"],
) -> Float[Array, "batch row column feature"]:
    """A 3 x 3 convolution in which the centre of the window stands in for invalid neighbours.

    Scaling the sum over the valid taps up by nine over their number would not do: the taps have
    different weights, so an even surface would still change at its rim.

    Every pixel is multiplied with all nine taps in one product; what a neighbour or its stand-in
    contributes is then picked. A copy of the image for each tap takes three times as long.

    Args:
        image: `[batch, row, column, channel]`.
        valid: `[batch, row, column]` bool.
        kernel: `[3, 3, channel, feature]`.
        bias: `[feature]`.

    Returns:
        `[batch, row, column, feature]`, meaningless where invalid.
    """
    batch, rows, columns, channels = image.shape
    padded = jnp.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))
    mask = jnp.pad(valid, ((0, 0), (1, 1), (1, 1)))[..., None]
    taps = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)  # [channel, tap and feature]
    product = (padded.reshape(-1, channels) @ taps).reshape(batch, rows + 2, columns + 2, -1)
    total = bias[None, None, None, :]
    for tap in range(9):
        i, j = divmod(tap, 3)
        window = np.s_[:, i : i + rows, j : j + columns]
        one = product[..., tap * len(bias) : (tap + 1) * len(bias)]
        total = total + jnp.where(mask[window], one[window], one[:, 1:-1, 1:-1])
    return total


class Encoder(nn.Module):
    """Spectra to unit embeddings.

    Attributes:
        embedding: length of the embedding.
        features: features of the three spectral convolutions.
        kernel: bands under one spectral kernel.
        strides: strides of the spectral convolutions; None chooses them from the band count.
        precision: type of the activations; parameters and norms are float32.
    """

    embedding: int = Model.embedding
    features: tuple[int, ...] = Model.features
    kernel: int = Model.kernel
    strides: tuple[int, ...] | None = Model.strides
    precision: str = Training.precision

    @nn.compact
    def __call__(
        self,
        spectra: Float[Array | np.ndarray, "batch row column band"],
        valid: Bool[Array | np.ndarray, "batch row column"],
        *,
        raw: bool = False,
    ) -> Float32[Array, "batch row column {self.embedding}"]:
        """Embeds every valid pixel.

        Args:
            spectra: `[batch, row, column, band]` normalised spectra.
            valid: `[batch, row, column]` bool.
            raw: return y, before the affine map and the division by the length; training starts
                by setting the affine map from it (`dgc_jax.train.state.create_state`).

        Returns:
            `[batch, row, column, embedding]` float32 of unit length, zero where invalid.
        """
        square = (self.embedding, self.embedding)
        linear = self.param("linear", nn.initializers.zeros, (spectra.shape[-1], self.embedding))
        mix = self.param("mix", _identity, square)
        offset = self.param("offset", nn.initializers.zeros, (self.embedding,))
        turn = self.param("turn", nn.initializers.zeros, square)
        blend = self.param("blend", nn.initializers.zeros, square)
        linear, mix, offset = jax.lax.stop_gradient((linear, mix, offset))
        s = self._spectral(spectra, valid)
        y = s + 0.5 * self._spatial(s, valid)
        y = y.astype(jnp.float32)
        if raw:
            return y
        clean = jnp.where(valid[..., None], spectra, 0)
        # Whitening enlarges small differences: a GPU's short float32 products would spoil them.
        exact = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
        c, n = exact(clean, linear) + offset[None, None, None, :], exact(y, mix)
        p = c + exact(c, turn) + n + exact(n, blend)
        p = p * jax.lax.rsqrt(jnp.sum(p**2, axis=-1, keepdims=True) + 1e-12)
        return jnp.where(valid[..., None], p, 0)

    def _spectral(
        self,
        spectra: Float[Array | np.ndarray, "batch row column band"],
        valid: Bool[Array | np.ndarray, "batch row column"],
    ) -> Float[Array, "batch row column {self.embedding}"]:
        """`[batch, row, column, band]` to `[batch, row, column, embedding]`, pixel by pixel."""
        batch, rows, columns, bands = spectra.shape
        dtype = jnp.dtype(self.precision)
        strides = self.strides or choose_strides(bands, self.kernel)
        clean = jnp.where(valid[..., None], spectra, 0).astype(dtype)
        x = _fit_length(clean.reshape(-1, bands), strides, self.kernel)  # [pixel, band]
        layers, channels = [], 1
        for i, (features, stride) in enumerate(zip(self.features, strides, strict=True)):
            weights = self._weights(f"band{i}", (self.kernel, channels, features))
            layers.append((*weights, stride))
            channels = features
        if layers[:-1]:
            x = nn.relu(band_convolutions(x, layers[:-1], _BLOCK))
        x = band_convolutions(x, layers[-1:], x.shape[1])
        if x.shape[-1] != self.embedding:
            x = nn.Dense(self.embedding, dtype=dtype, name="projection")(x)
        x = x.reshape(batch, rows, columns, self.embedding)
        return jnp.where(valid[..., None], x, 0)

    def _spatial(
        self,
        s: Float[Array, "batch row column embedding"],
        valid: Bool[Array | np.ndarray, "batch row column"],
    ) -> Float[Array, "batch row column embedding"]:
        """`[batch, row, column, embedding]` to the same, over 5 x 5 pixels."""
        shape = (3, 3, self.embedding, self.embedding)
        y = s
        for i in range(2):
            y = masked_convolution(y, valid, *self._weights(f"image{i}", shape))
            y = jnp.where(valid[..., None], nn.relu(y) if i == 0 else y, 0)
        return y

    def _weights(
        self, name: str, shape: tuple[int, ...]
    ) -> tuple[Float[Array, "... feature"], Float[Array, " feature"]]:
        dtype = jnp.dtype(self.precision)
        kernel = self.param(name, nn.initializers.he_normal(), shape)
        bias = self.param(f"{name}_bias", nn.initializers.zeros, shape[-1:])
        return kernel.astype(dtype), bias.astype(dtype)
