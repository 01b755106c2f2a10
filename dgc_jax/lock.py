"""One process at a time in a folder, by a lock that ends with its process, however that ends.

The operating system holds the lock (`flock`) and not the file `.lock`, which only says who it is:
one that a killed process has left there locks nothing. On network file systems the lock reaches as
far as theirs does: NFS from Linux 2.6.12 on and Lustre with `-o flock` lock between machines.
"""

import contextlib
import datetime
import json
import os
import socket
from collections.abc import Iterator

from dgc_jax.errors import InputError, unwritten

try:
    import fcntl
except ImportError:  # Windows has none, and goes without
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def alone(folder: str | os.PathLike[str], argument: str) -> Iterator[None]:
    """Keeps other processes out of a folder for the block.

    A folder that this process must not write to needs no lock, and gets none.

    Args:
        folder: made if missing.
        argument: that named it, such as "out", for messages.

    Raises:
        InputError: if another process is at work there, or the folder cannot be made.
    """
    place = os.fspath(folder)
    try:
        os.makedirs(place, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{argument}={place}",
            expected="a folder that can be written",
            found=error.strerror or error,
            remedy="name another one",
        ) from error
    if not os.access(place, os.W_OK):
        yield
        return
    with _locked(os.path.join(place, ".lock"), argument, wait=False):
        yield


def turn(path: str) -> contextlib.AbstractContextManager[None]:
    """Waits until no other process holds the lock of this file, and holds it for the block."""
    return _locked(path, "", wait=True)


@contextlib.contextmanager
def _locked(path: str, argument: str, *, wait: bool) -> Iterator[None]:
    file = _open_locked(path, argument, wait)
    try:
        yield
    finally:
        if file is not None:
            with contextlib.suppress(OSError):
                os.unlink(path)  # while it is locked, so that it is this process's own
            os.close(file)


def _open_locked(path: str, argument: str, wait: bool) -> int | None:
    """The open and locked file, or None where the file system knows no locks."""
    while fcntl is not None:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise unwritten(path, error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            who = _holder(file)
            os.close(file)
            raise InputError(
                f"{argument}={os.path.dirname(path)}",
                expected="a folder in which no other process is at work",
                found=who,
                remedy="wait for its end, or name another folder",
            ) from error
        except OSError:
            os.close(file)
            return None
        if _is_at(file, path):
            with contextlib.suppress(OSError):  # a full disk
                os.truncate(file, 0)
                os.pwrite(file, _me().encode(), 0)
            return file
        os.close(file)  # the holder before has removed this file: lock the new one
    return None


def _is_at(file: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _me() -> str:
    since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    return json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": since})


def _holder(file: int) -> str:
    try:
        told = json.loads(os.pread(file, 4096, 0))
        return f"process {told['process']} on {told['host']}, since {told['since']}"
    except (OSError, ValueError, TypeError, KeyError):  # it has not said so yet
        return "one that has just begun"
