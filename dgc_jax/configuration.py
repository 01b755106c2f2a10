"""Configuration files read by commands, with fields set as `launch.py` takes them.

    read("configs/dgc16.py:tiny", ["--config.data.scenes=cubes/*.hdr"])

A configuration file is a Python program of the user's own, and is run.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

import ml_collections
from absl import flags
from ml_collections import config_flags

from dgc_jax.errors import InputError, flag_error


def read(path: str, fields: Sequence[str] = ()) -> ml_collections.ConfigDict:
    """Reads a configuration file and sets fields of it.

    Args:
        path: the file, perhaps with a variant, such as `configs/dgc4.py:tiny`.
        fields: settings such as `--config.train.steps=10`, typed as the fields are.

    Raises:
        InputError: if there is no such file, variant or field, or a value does not fit.
    """
    file = path.partition(":")[0]
    if not (file.endswith(".py") and os.path.isfile(file)):
        raise InputError(
            f"CONFIG: expected a configuration file such as configs/dgc4.py, found no {file!r}."
        )
    arguments = ["dgc", f"--config={path}", *fields]
    known = flags.FlagValues()
    config = config_flags.DEFINE_config_file("config", flag_values=known, sys_argv=arguments)
    try:
        with _importing(os.getcwd(), os.path.dirname(os.path.dirname(os.path.abspath(file)))):
            rest = known(arguments)
    except Exception as error:  # the file is a program, in which anything may fail
        raise flag_error(error, file) from error
    if len(rest) > 1:
        raise InputError(f"expected fields such as --config.train.steps=10, found {rest[1]!r}.")
    return config.value


def name(path: str) -> str:
    """A name for runs of a configuration file: `dgc4-tiny` for `configs/dgc4.py:tiny`."""
    file, _, variant = path.partition(":")
    return os.path.splitext(os.path.basename(file))[0] + (variant and f"-{variant}")


@contextlib.contextmanager
def _importing(*folders: str) -> Iterator[None]:
    """Lets a configuration import its like, `from configs import default`, as `launch.py` does."""
    before = list(sys.path)
    sys.path[:0] = folders
    try:
        yield
    finally:
        sys.path[:] = before
