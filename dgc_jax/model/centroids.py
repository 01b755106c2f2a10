"""The bank of global centroids: its start, the assignment to it, its moving average, its tree.

The bank is `[cluster, embedding]` with rows of unit length. It is explicit state, not a
parameter: no gradient reaches it, it follows the assigned embeddings as an exponential moving
average. Training keeps more centroids than there are classes, because a balanced use of 32
centroids leaves room for a lesion of 2 %, and a balanced use of 4 does not; afterwards they are
merged along a tree over their mean spectra.

Source: Deep Global Clustering, sections "Unrolled mean shift" and "Centroid update"; k-means++:
Arthur & Vassilvitskii (2007), on the sphere: Hornik et al. (2012).
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, PRNGKeyArray


def unit(vectors: Float[Array, "... embedding"]) -> Float[Array, "... embedding"]:
    """Scales `[..., embedding]` to length 1; zero vectors stay zero."""
    return vectors * jax.lax.rsqrt(jnp.sum(vectors**2, axis=-1, keepdims=True) + 1e-12)


# --- start


@functools.partial(jax.jit, static_argnames=("clusters", "restarts", "iterations"))
def start(
    key: PRNGKeyArray,
    embeddings: Float[Array, "pixel embedding"],
    clusters: int,
    *,
    restarts: int = 5,
    iterations: int = 15,
) -> Float[Array, "{clusters} embedding"]:
    """Spherical k-means++ with Lloyd iterations; the best of several restarts.

    Args:
        key: PRNG key.
        embeddings: `[pixel, embedding]`, of unit length.
        clusters: number of centroids K.
        restarts: independent starts.
        iterations: Lloyd iterations for each.

    Returns:
        `[K, embedding]` unit centroids with the least mean of 1 - cosine.
    """

    def once(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        bank = _lloyd(_plus_plus(key, embeddings, clusters), embeddings, iterations)
        return bank, jnp.mean(1 - jnp.max(embeddings @ bank.T, axis=1))

    banks, errors = jax.lax.map(once, jax.random.split(key, restarts))
    return banks[jnp.argmin(errors)]


@functools.partial(jax.jit, static_argnames="clusters")
def random_start(
    key: PRNGKeyArray, embeddings: Float[Array, "pixel embedding"], clusters: int
) -> Float[Array, "{clusters} embedding"]:
    """K random pixels as centroids: the start that makes the published method unstable."""
    chosen = jax.random.choice(key, embeddings.shape[0], (clusters,), replace=False)
    return embeddings[chosen]


def _plus_plus(
    key: PRNGKeyArray, embeddings: Float[Array, "pixel embedding"], clusters: int
) -> Float[Array, "{clusters} embedding"]:
    """k-means++: each next centroid is a pixel drawn in proportion to its distance 1 - cosine."""
    first = embeddings[jax.random.randint(key, (), 0, embeddings.shape[0])]
    bank = jnp.zeros((clusters, embeddings.shape[1])).at[0].set(first)

    def add(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        bank, distance = carry
        # Adding a tiny constant keeps the draw defined when every pixel is a centroid already.
        chosen = jax.random.categorical(jax.random.fold_in(key, i), jnp.log(distance + 1e-12))
        centroid = embeddings[chosen]
        distance = jnp.minimum(distance, jnp.maximum(1 - embeddings @ centroid, 0))
        return bank.at[i].set(centroid), distance

    distance = jnp.maximum(1 - embeddings @ first, 0)
    return jax.lax.fori_loop(1, clusters, add, (bank, distance))[0]


def _lloyd(
    bank: Float[Array, "K embedding"], embeddings: Float[Array, "pixel embedding"], iterations: int
) -> Float[Array, "K embedding"]:
    """Lloyd's iterations on the sphere; a centroid without pixels stays where it is."""

    def step(_: jax.Array, bank: jax.Array) -> jax.Array:
        member = jax.nn.one_hot(jnp.argmax(embeddings @ bank.T, axis=1), bank.shape[0])
        total = member.T @ embeddings
        return jnp.where((jnp.sum(member, axis=0) > 0)[:, None], unit(total), bank)

    return jax.lax.fori_loop(0, iterations, step, bank)


# --- assignment and moving average


def assign(
    embeddings: Float[Array, "... embedding"], bank: Float[Array, "K embedding"], temperature: float
) -> Float[Array, "... K"]:
    """Soft assignment of unit embeddings to the centroids.

    Args:
        embeddings: `[..., embedding]`, of unit length.
        bank: `[K, embedding]`.
        temperature: of the softmax over cosines; the published fixed "concentration".

    Returns:
        `[..., K]` logarithms of the probabilities softmax_k(z . c_k / temperature).
    """
    return jax.nn.log_softmax((embeddings @ bank.T) / temperature, axis=-1)


def nearest(
    embeddings: Float[Array, "... embedding"], bank: Float[Array, "K embedding"]
) -> Int32[Array, "..."]:
    """`[...]` int32 index of the nearest centroid of `[..., embedding]`, from 0."""
    cosine = embeddings @ bank.T
    # The first of the greatest; on a CPU two plain reductions take a third of argmax's time.
    greatest = jnp.max(cosine, axis=-1, keepdims=True)
    index = jnp.arange(len(bank), dtype=jnp.int32).reshape((1,) * (cosine.ndim - 1) + (-1,))
    return jnp.min(jnp.where(cosine == greatest, index, len(bank) - 1), axis=-1)


def move(
    key: PRNGKeyArray,
    bank: Float[Array, "K embedding"],
    embeddings: Float[Array, "pixel embedding"],
    probabilities: Float[Array, "pixel K"],
    *,
    decay: float,
    noise: float,
    dead: float = 1e-3,
) -> Float[Array, "K embedding"]:
    """One step of the exponential moving average, after backpropagation.

    c_k <- unit(decay c_k + (1 - decay) unit(sum_i q_ik z_i)). A centroid with less than
    `dead / K` of the pixels has nothing to follow; it is kicked by noise until it meets some.

    Args:
        key: PRNG key of the kick.
        bank: `[K, embedding]`.
        embeddings: `[pixel, embedding]` unit embeddings, zero where invalid.
        probabilities: `[pixel, K]`, zero where invalid.
        decay: share of the old centroid that is kept.
        noise: standard deviation of a kick in each dimension.
        dead: share of an even usage below which a centroid counts as dead.
    """
    mass = jnp.sum(probabilities, axis=0)  # [K]
    target = unit(probabilities.T @ embeddings)
    moved = unit(decay * bank + (1 - decay) * target)
    kicked = unit(bank + noise * jax.random.normal(key, bank.shape))
    # A batch without pixels says nothing of any centroid: all stay, none is dead.
    alive = mass >= dead / bank.shape[0] * jnp.sum(mass)
    return jax.lax.stop_gradient(jnp.where(alive[:, None], moved, kicked))
