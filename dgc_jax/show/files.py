"""Output files appear whole or not at all."""

import contextlib
import os
from collections.abc import Iterator

from dgc_jax import temporary
from dgc_jax.errors import unwritten


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """Gives a temporary name beside `path`, renamed to it when the block ends without error.

    The folder is made if it is not there. What was half written is removed on an error, and an
    older `path` then stays as it was. So is what a process that was killed has left there.

    Args:
        path: where the file (or a folder that does not exist yet) shall be.

    Yields:
        The temporary name.

    Raises:
        InputError: the operating system refuses to write there.
        StorageError: the disk is full.
    """
    unfinished = temporary.path(os.path.dirname(os.path.abspath(path)))
    try:
        os.makedirs(os.path.dirname(unfinished), exist_ok=True)
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        raise unwritten(path, error) from error
    finally:
        temporary.remove(unfinished)
