"""`python -m dgc_jax`: the command `dgc`, where it is not on the path."""

from dgc_jax.cli import main

main(prog_name="python -m dgc_jax")
