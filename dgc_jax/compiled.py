"""Compiled programs kept for the next run: JAX's persistent compilation cache, as commands use it.

    <cache folder>/compiled/     see `dgc_jax.caches`
    DGC_COMPILED=2000            keep up to 2000 MB of them; 500 unless told, 0: keep none

Most of the time from a command to its first result is spent on compiling, which gives the same
programs every time. Commands turn this on; the package, imported, leaves JAX as it is. Where JAX's
own variables say something of its cache, they hold.

JAX has a bound of its own, `jax_compilation_cache_max_size`. It needs a package that JAX does not
bring, locks a file at every program, and fails for good after a process was killed between the two
files it writes of an entry. So the bound is kept here, each time a command starts, and a run may
exceed it by the programs that it adds.
"""

import contextlib
import os
import sys
import warnings
import zlib

from dgc_jax.caches import cache_folder
from dgc_jax.errors import InputError

_MEGABYTES = 500
_STAMP = ".looked-at"  # as old as the last look at the entries
_THEIRS = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")


def keep() -> None:
    """Has JAX keep compiled programs and use those that are kept, also in child processes.

    A folder that cannot be written is told in a note, and the process compiles as ever.

    Raises:
        InputError: if `DGC_COMPILED` is no size.
    """
    most = _bound()
    jax = sys.modules.get("jax")
    if not most or any(name in os.environ for name in _THEIRS):
        return
    if jax is not None and jax.config.jax_compilation_cache_dir is not None:
        return
    folder = os.path.join(cache_folder(), "compiled")
    try:
        _prepare(folder)
        tidy(folder, most)
    except OSError as error:
        print(
            f"note: programs are compiled anew in every run, because {folder} cannot be used "
            f"({error.strerror or error}); set DGC_CACHE to a folder that can be written, or "
            "DGC_COMPILED=0.",
            file=sys.stderr,
        )
        return
    # JAX compiles what it cannot read, and what it cannot write it compiles again the next time.
    warnings.filterwarnings("ignore", r"Error (reading|writing) persistent compilation cache")
    for name, value in (
        ("jax_compilation_cache_dir", folder),
        ("jax_persistent_cache_min_compile_time_secs", 0.0),  # small programs are many
    ):
        if name.upper() in os.environ:
            continue
        if jax is None:  # which reads its variables when it is imported
            os.environ[name.upper()] = str(value)
        else:
            jax.config.update(name, value)


def tidy(folder: str, most: int) -> None:
    """Removes entries that were cut short, and, beyond the bound, those not used for longest.

    Other processes may be using the folder: what they have open stays theirs, and what they lose
    they compile.

    Args:
        folder: of the cache.
        most: bytes that may stay.

    Raises:
        OSError: if the folder cannot be written.
    """
    stamp = os.path.join(folder, _STAMP)
    looked = os.stat(stamp).st_mtime if os.path.exists(stamp) else 0.0
    with open(stamp, "wb"):
        pass
    entries = []
    for where, _, names in os.walk(folder):
        for path in (os.path.join(where, name) for name in names):
            with contextlib.suppress(OSError):
                found = os.stat(path)
                if found.st_mtime >= looked and path.endswith("-cache") and not _is_whole(path):
                    os.remove(path)  # which JAX would never write again
                elif path != stamp:
                    used = max(found.st_atime, found.st_mtime)
                    entries.append((used, found.st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= most:
            break
        with contextlib.suppress(OSError):
            os.remove(path)
            total -= size


def _bound() -> int:
    """Bytes that may be kept."""
    given = os.environ.get("DGC_COMPILED", "").strip()
    if given.lower() in ("off", "no", "false"):
        return 0
    try:
        megabytes = float(given or _MEGABYTES)
        if not 0 <= megabytes < 1e9:  # NaN too
            raise ValueError
    except ValueError:
        raise InputError(
            "DGC_COMPILED",
            expected="how many MB of compiled programs to keep, 0 for none",
            found=repr(given),
            remedy="correct it",
        ) from None
    return int(megabytes * 1e6)


def _prepare(folder: str) -> None:
    """Makes a folder that others cannot write programs into, which this user would then run."""
    if not os.path.isabs(folder):
        raise OSError("the user has no home folder")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and os.stat(folder).st_uid != os.getuid():
        raise PermissionError(0, "it belongs to another user")


def _is_whole(path: str) -> bool:
    """Whether an entry was written to its end, as far as can be told without zstandard."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:1] != b"\x78":  # not zlib's
        return bool(data)
    try:
        zlib.decompress(data)
    except zlib.error:
        return False
    return True
