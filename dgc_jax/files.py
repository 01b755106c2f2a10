"""Output files appear whole or not at all."""

import contextlib
import os
from collections.abc import Iterable, Iterator

from dgc_jax import temporary
from dgc_jax.errors import StorageError, unwritten


@contextlib.contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[str]:
    """Gives a temporary name beside `path`, renamed to it when the block ends without error.

    The folder is made if it is not there. What was half written is removed on an error, and an
    older `path` then stays as it was. So is what a process that was killed has left there.

    Args:
        path: where the file (or a folder that does not exist yet) shall be.

    Yields:
        The temporary name.

    Raises:
        OSError: the operating system refuses to write there, or `path` is a folder.
    """
    unfinished = temporary.path(os.path.dirname(os.path.abspath(path)))
    try:
        os.makedirs(os.path.dirname(unfinished), exist_ok=True)
        yield unfinished
        os.replace(unfinished, path)
    finally:
        temporary.remove(unfinished)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """The same as `whole`, for those who have no better words for what goes wrong.

    Raises:
        InputError: the operating system refuses to write there.
        StorageError: the disk is full.
    """
    try:
        with whole(path) as unfinished:
            yield unfinished
    except OSError as error:
        raise unwritten(path, error) from error


def still_there(folder: str | os.PathLike[str], names: Iterable[str]) -> None:
    """Sees at the end of a command that what it has written was not removed meanwhile.

    Args:
        folder: where it was written.
        names: of the files and folders in it.

    Raises:
        StorageError: some are not there; they are named.
    """
    gone = [
        name
        for name in names
        if not os.path.lexists(os.path.join(folder, name)) and not name.endswith(".aux.xml")
    ]  # not every GeoTIFF has one of these beside it
    if gone:
        more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
        raise StorageError(
            f"{os.fspath(folder)}: {', '.join(gone[:3])}{more} were written, and are not there any "
            "more; give the same command again, which writes what is missing."
        )
