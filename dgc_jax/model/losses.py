"""The four losses of Deep Global Clustering, all bounded, and their sum.

For unit embeddings z_i of the valid pixels, centroids c_k and assignments
q_ik = softmax_k(z_i . c_k / t):

    compactness    mean_i sum_k q_ik (1 - z_i . c_k)           pixels sit close to their centroid
    orthogonality  mean_{j<k} max(0, (mu_j . mu_k - m) / (1 - m)),  mu_k = unit(sum_i q_ik z_i)
                                                               clusters keep apart
    consistency    mean_s JS(q1_s, q2_s) / log 2,  JS = H((q1 + q2) / 2) - (H(q1) + H(q2)) / 2
                                                               two views of a pixel agree
    balance        1 - I(J) / log K,  J = symmetrised mean_s of q1_s q2_s'^T, s' beside s
                                                               even use of the clusters, surely
    anchor         mean_i (1 - p_i . p0_i)                     embeddings keep their bearings

Orthogonality, consistency and balance lie within 0..1; compactness and anchor, which are one less a
cosine, within 0..2, and below 1 unless embeddings point away from where they belong.

The centroids have no gradient (they follow an average), so the repulsion acts on the batch's own
cluster means, which have one. Balance is the mutual information of the paired assignments (Ji et
al., 2019, IIC): H(J's margin), the balanced usage of the paper, less the conditional entropy, so
that it is best when usage is even *and* each pixel is sure. The anchor, to the embedding of the
same crop at step 0, is not in the paper: without it clusters merge as training goes on.

Every function takes weights `[pixel]` that are 0 at pixels which are invalid (or not shared); a
batch without any usable pixel has loss 0.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from dgc_jax.config import Losses
from dgc_jax.model.centroids import unit


class Weights(NamedTuple):
    """Weight of each loss in the sum."""

    compactness: float = Losses.compactness
    orthogonality: float = Losses.orthogonality
    consistency: float = Losses.consistency
    balance: float = Losses.balance
    anchor: float = Losses.anchor


def _mean(values: Float[Array, " pixel"], weights: Float[Array, " pixel"]) -> Float[Array, ""]:
    return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights), 1e-6)


def _log_clusters(clusters: int) -> float:
    return math.log(max(clusters, 2))


def compactness(
    z: Float[Array, "pixel embedding"],
    log_q: Float[Array, "pixel K"],
    bank: Float[Array, "K embedding"],
    weights: Float[Array, " pixel"],
) -> Float[Array, ""]:
    """Mean expected distance 1 - cosine to the assigned centroid.

    Args:
        z: `[pixel, embedding]` unit embeddings.
        log_q: `[pixel, K]` log assignments.
        bank: `[K, embedding]` unit centroids.
        weights: `[pixel]` 1 where valid, else 0.
    """
    return _mean(jnp.sum(jnp.exp(log_q) * (1 - z @ bank.T), axis=-1), weights)


def orthogonality(
    z: Float[Array, "pixel embedding"],
    log_q: Float[Array, "pixel K"],
    weights: Float[Array, " pixel"],
    margin: float = Losses.margin,
) -> Float[Array, ""]:
    """Mean hinge on the cosines between the batch's cluster means.

    Args:
        z: `[pixel, embedding]` unit embeddings.
        log_q: `[pixel, K]` log assignments.
        weights: `[pixel]` 1 where valid, else 0.
        margin: cosine below which two clusters do not repel each other.
    """
    q = jnp.exp(log_q) * weights[:, None]
    means = unit(q.T @ z)
    clusters = means.shape[0]
    above = jnp.triu(jnp.maximum(means @ means.T - margin, 0), 1) / (1 - margin)
    return jnp.sum(above) / max(clusters * (clusters - 1) / 2, 1)


def consistency(
    log_q1: Float[Array, "pixel K"], log_q2: Float[Array, "pixel K"], shared: Float[Array, " pixel"]
) -> Float[Array, ""]:
    """Jensen-Shannon divergence between two views of the same pixels, in bits: 0..1.

    It is bounded, unlike Kullback's, so that pixels which two views see quite differently do not
    drown what the other losses say (Lin 1991).

    Args:
        log_q1: `[pixel, K]` log assignments in the first view.
        log_q2: `[pixel, K]` the same physical pixels in the second view.
        shared: `[pixel]` 1 where both views see the pixel, else 0.
    """
    log_mean = jnp.logaddexp(log_q1, log_q2) - math.log(2)
    first, second = (jnp.sum(jnp.exp(q) * (q - log_mean), axis=-1) for q in (log_q1, log_q2))
    return _mean((first + second) / (2 * math.log(2)), shared)


def balance(
    log_q1: Float[Array, "pixel K"], log_q2: Float[Array, "pixel K"], shared: Float[Array, " pixel"]
) -> Float[Array, ""]:
    """One less the mutual information of paired assignments over log K; arguments as above."""
    q1, q2 = jnp.exp(log_q1) * shared[:, None], jnp.exp(log_q2)
    joint = q1.T @ q2 / jnp.maximum(jnp.sum(shared), 1e-6)
    joint = (joint + joint.T) / 2
    margin = jnp.sum(joint, axis=0)
    tiny = 1e-12
    information = jnp.sum(
        joint
        * (
            jnp.log(joint + tiny)
            - jnp.log(margin + tiny)[:, None]
            - jnp.log(margin + tiny)[None, :]
        )
    )
    seen = jnp.minimum(jnp.sum(shared), 1)  # no shared pixel: no information to ask for
    return seen * (1 - information / _log_clusters(joint.shape[0]))


def anchor(
    p: Float[Array, "pixel embedding"],
    start: Float[Array, "pixel embedding"],
    weights: Float[Array, " pixel"],
) -> Float[Array, ""]:
    """Mean of 1 - cosine between `[pixel, embedding]` unit embeddings now and at step 0."""
    return _mean(1 - jnp.sum(p * start, axis=-1), weights)


def total(terms: dict[str, Float[Array, ""]], weights: Weights) -> Float[Array, ""]:
    """Weighted sum of the terms, each named as in `Weights`."""
    return sum((getattr(weights, name) * term for name, term in terms.items()), jnp.float32(0))
