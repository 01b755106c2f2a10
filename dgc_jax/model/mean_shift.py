"""Unrolled mean shift (UMS): every embedding climbs to the nearest mode of its neighbourhood.

With the samples p_k of the valid pixels of a 5 x 5 window and the query z, starting at z = p:

    z <- sum_k w_k p_k / sum_k w_k,     w_k = exp(-|z - p_k|^2 / (2 h^2))

The samples stay fixed while the query moves: mean shift proper (Comaniciu & Meer, 2002), so that
any number of iterations looks no further than `window // 2` pixels. The weights are a softmax of
(z . p_k - |p_k|^2 / 2) / h^2: attention to the neighbourhood. No logit needs to be subtracted from
the others here, as is done to keep a softmax from overflowing: no exponent is above 0, and the sum
of the weights begins at 1 or more, the query's own, and never falls (theorem 1 of the same paper).

The window is computed in blocks: the b x b queries of a block share the 2b x 2b keys around it,

        +-----------+
        |  keys     |      one batched matrix product [b b, embedding] x [embedding, 4 b b],
        |   +---+   |      keys outside a query's own window or invalid get weight zero.
        |   | q |   |      No array of pixels x window x embedding ever exists.
        |   +---+   |
        +-----------+

Source: Deep Global Clustering, section "Unrolled mean shift".
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Shaped

from dgc_jax.config import Model, Training

BLOCK = 4  # pixels; a window of up to 5 x 5 fits a block of 4 x 4


def block_size(window: int) -> int:
    """Side of a query block in pixels, the smallest even one that holds the window's reach."""
    return max(BLOCK, 2 * (window // 2))


def _key_blocks(
    samples: Shaped[Array, "batch row column channel"], block: int
) -> Shaped[Array, "batch block_row block_column {4*block*block} channel"]:
    """The 2b x 2b neighbourhood of every b x b block.

    Args:
        samples: `[batch, row, column, channel]`, rows and columns multiples of b.
        block: b.

    Returns:
        `[batch, block row, block column, 4 b b, channel]`, zero outside the image.
    """
    batch, rows, columns, channels = samples.shape
    half = block // 2
    padded = jnp.pad(samples, ((0, 0), (half, half), (half, half), (0, 0)))
    grid = padded.reshape(batch, rows // block + 1, block, columns // block + 1, block, channels)
    grid = grid.transpose(0, 1, 3, 2, 4, 5)  # [batch, block row, block column, b, b, channel]
    tall = jnp.concatenate([grid[:, :-1], grid[:, 1:]], axis=3)
    wide = jnp.concatenate([tall[:, :, :-1], tall[:, :, 1:]], axis=4)
    return wide.reshape(batch, rows // block, columns // block, 4 * block * block, channels)


def _in_window(block: int, radius: int) -> Bool[np.ndarray, "{block*block} {4*block*block}"]:
    """`[b b, 4 b b]` bool: is this key of the neighbourhood in this query's window?"""
    query = np.arange(block) + block // 2
    near = np.abs(query[:, None] - np.arange(2 * block)[None, :]) <= radius  # [b, 2b]
    both = near[:, None, :, None] & near[None, :, None, :]
    return both.reshape(block * block, 4 * block * block)


def mean_shift(
    samples: Float[Array | np.ndarray, "batch row column channel"],
    valid: Bool[Array | np.ndarray, "batch row column"],
    bandwidth: Float[Array, ""] | float,
    *,
    iterations: int = Model.iterations,
    window: int = Model.window,
    detach: bool = True,
) -> Float32[Array, "batch row column channel"]:
    """Gaussian mean shift of every pixel's embedding within its window.

    Args:
        samples: `[batch, row, column, channel]` embeddings p (of any length).
        valid: `[batch, row, column]` bool.
        bandwidth: h, in units of the embedding.
        iterations: number of shifts; 0 returns the samples.
        window: side of the square window in pixels, odd.
        detach: hold the query fixed inside the weights, so that only the last shift carries a
            gradient (a third of the cost; full gradients were measured to be no better).

    Returns:
        `[batch, row, column, channel]` float32 shifted embeddings, zero where invalid.
    """
    batch, rows, columns, channels = samples.shape
    block = block_size(window)
    padding = ((0, 0), (0, -rows % block), (0, -columns % block))
    samples = jnp.pad(jnp.where(valid[..., None], samples, 0), (*padding, (0, 0)))
    mask = jnp.pad(valid, padding)
    high, wide = mask.shape[1] // block, mask.shape[2] // block

    # All blocks of all images in one axis: products of more batch axes are slower on a CPU.
    keys = _key_blocks(samples, block).reshape(-1, 4 * block**2, channels)  # [block, key, channel]
    usable = _key_blocks(mask[..., None], block).reshape(-1, 1, 4 * block**2)  # [block, 1, key]
    usable &= jnp.asarray(_in_window(block, window // 2))[None]  # [block, query, key]
    queries = samples.reshape(batch, high, block, wide, block, channels)
    z = queries.transpose(0, 1, 3, 2, 4, 5).reshape(-1, block**2, channels)

    squared = jnp.sum(keys.astype(jnp.float32) ** 2, axis=-1)[:, None, :] / bandwidth**2
    offset = jnp.where(usable, -squared / 2, -jnp.inf)  # [block, query, key]
    for _ in range(iterations):
        query = jax.lax.stop_gradient(z) if detach else z
        similarity = jnp.einsum("bqc,bkc->bqk", query, keys, preferred_element_type=jnp.float32)
        own = jnp.sum(query.astype(jnp.float32) ** 2, axis=-1, keepdims=True)  # [block, query, 1]
        weights = jnp.exp((similarity - own / 2) / bandwidth**2 + offset)
        total = jnp.sum(weights, axis=-1, keepdims=True)
        z = jnp.einsum(
            "bqk,bkc->bqc", weights.astype(keys.dtype), keys, preferred_element_type=jnp.float32
        )
        z = (z / jnp.maximum(total, 1e-6)).astype(keys.dtype)  # 0 without any valid key

    z = z.reshape(batch, high, wide, block, block, channels).transpose(0, 1, 3, 2, 4, 5)
    z = z.reshape(batch, high * block, wide * block, channels)[:, :rows, :columns]
    return jnp.where(valid[..., None], z, 0).astype(jnp.float32)


class UnrolledMeanShift(nn.Module):
    """Mean shift with a learned bandwidth.

    Attributes:
        iterations: number of shifts.
        window: side of the window in pixels, odd.
        bandwidth: what the learned bandwidth starts from, in units of the unit embedding.
        detach: only the last shift carries a gradient; see `mean_shift`.
        precision: type of the samples inside the products; weights are float32.
    """

    iterations: int = Model.iterations
    window: int = Model.window
    bandwidth: float = Model.bandwidth
    detach: bool = True
    precision: str = Training.precision

    @nn.compact
    def __call__(
        self,
        samples: Float[Array | np.ndarray, "batch row column channel"],
        valid: Bool[Array | np.ndarray, "batch row column"],
    ) -> Float32[Array, "batch row column channel"]:
        """Shifts `[batch, row, column, channel]` embeddings; see `mean_shift`."""
        start = float(np.log(np.expm1(self.bandwidth)))  # the inverse of softplus
        width = nn.softplus(self.param("bandwidth", nn.initializers.constant(start), ()))
        return mean_shift(
            samples.astype(jnp.dtype(self.precision)),
            valid,
            width,
            iterations=self.iterations,
            window=self.window,
            detach=self.detach,
        )
