"""Shared fixtures, and the strictness under which every test runs."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # before the backend starts

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 2)
