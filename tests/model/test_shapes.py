"""The tests check the shapes that the model's functions are annotated with."""

import jax.numpy as jnp
import jaxtyping
import pytest

from dgc_jax.model import losses
from dgc_jax.train import step


def test_an_array_that_would_be_broadcast_is_caught() -> None:
    p, start, weights = jnp.ones((3, 4)), jnp.ones((1, 4)), jnp.ones(3)
    losses.anchor(p, jnp.ones((3, 4)), weights)
    with pytest.raises(jaxtyping.TypeCheckError, match="start"):
        losses.anchor(p, start, weights)


def test_an_offset_for_each_pair_is_asked_of_a_step() -> None:
    log_q, valid = jnp.zeros((4, 5, 6, 3)), jnp.ones((2, 2, 5, 6), bool)
    step._shared_pixels(log_q, valid, jnp.zeros((2, 2), jnp.int32), 1)
    with pytest.raises(jaxtyping.TypeCheckError, match="offset"):
        step._shared_pixels(log_q, valid, jnp.zeros((1, 2), jnp.int32), 1)
