"""Output files appear whole or not at all."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator

from dgc_jax.errors import InputError


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """Gives a temporary name beside `path`, renamed to it when the block ends without error.

    The folder is made if it is not there. What was half written is removed on an error, and an
    older `path` then stays as it was.

    Args:
        path: where the file (or a folder that does not exist yet) shall be.

    Yields:
        The temporary name.

    Raises:
        InputError: the operating system refuses to write there.
    """
    folder, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.tmp")
    try:
        os.makedirs(folder, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"{os.fspath(path)} cannot be written ({error.strerror or error}); "
            "choose an output folder that can be."
        ) from error
    finally:
        if os.path.isdir(temporary):
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                os.remove(temporary)
