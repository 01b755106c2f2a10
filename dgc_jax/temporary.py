"""Names for files and folders that are being written, which tell the process that writes them.

A process that is killed leaves what it was writing. Its name says by which process of which
machine it was made, so that the next one that writes in the folder can remove what is left of dead
ones, and of no other.
"""

import contextlib
import functools
import os
import re
import secrets
import shutil
import socket


def path(folder: str, ending: str = ".tmp") -> str:
    """A name in a folder that nothing has; removes there what dead processes have left.

    Args:
        folder: where the name is to be; it need not exist.
        ending: of the name.
    """
    _clean(os.path.abspath(folder))
    return os.path.join(folder, f".dgc-{_host()}-{os.getpid()}-{secrets.token_hex(4)}{ending}")


def remove(name: str) -> None:
    """Removes a file or folder, as far as that can be done."""
    if os.path.isdir(name) and not os.path.islink(name):
        shutil.rmtree(name, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.remove(name)


@functools.cache
def _clean(folder: str) -> None:
    """Removes what dead processes have left in a folder, once a process."""
    with contextlib.suppress(OSError):  # no folder yet, or not ours to change
        for name in os.listdir(folder):
            made_by = re.fullmatch(r"\.dgc-(.+)-(\d{1,9})-[0-9a-f]{8}\.\w+", name)
            if made_by and made_by[1] == _host() and not _lives(int(made_by[2])):
                remove(os.path.join(folder, name))


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


@functools.cache
def _host() -> str:
    """This machine's name, as part of a file's."""
    return re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:64] or "_"
