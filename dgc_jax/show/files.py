"""Where `dgc_jax.files` was in earlier versions, for programs that import it from here."""

from dgc_jax.files import replacing as replacing
from dgc_jax.files import still_there as still_there
