"""What the commands of `dgc` do, one module a command; `dgc_jax.cli` has their options."""
