"""The exceptions that are told to a person in one sentence, without a traceback."""

import contextlib
import errno
import os
import re
import sys
import traceback
from collections.abc import Iterator

from dgc_jax import names

# What libraries without an error number say: TensorStore and HDF5, NumPy.
_FULL = (
    "No space left on device|Disk quota exceeded|File too large|"
    r"Not enough free space|\d+ requested and \d+ written"
)

_LONGEST = 2000  # characters of a message


class InputError(ValueError):
    """Bad input, told in one sentence for the person who gave it.

    The sentence names the file or field, what was expected, what was found and what to do.
    `launch.py` and `dgc` print it and exit with status 2.
    """

    def __init__(self, message: str) -> None:
        text = names.shown(message).replace("\n", "\\n")
        if len(text) > _LONGEST:  # what was found can be of any length
            half = _LONGEST // 2
            text = f"{text[:half]} ... {text[-half:]}"
        super().__init__(text)


class DivergedError(ArithmeticError):
    """Training met a loss that is not finite; `launch.py` prints why and exits with status 1."""


class LostError(ConnectionError):
    """Another process of the same job has stopped; told by commands, which exit with status 1."""


class StorageError(Exception):
    """What a command writes to failed while it was at work: full, or removed; exit status 1."""


def told(error: BaseException) -> tuple[str, int] | None:
    """What to tell of an exception that ended a command, and the exit status.

    Returns:
        None for a fault of this program, of which the traceback is to be shown.
    """
    if isinstance(error, InputError):
        return str(error), 2
    if isinstance(error, DivergedError | LostError | StorageError):
        return names.shown(str(error)), 1
    full = find_full(error)
    if full is None:
        return None
    where = getattr(full, "filename", None)
    place = f"{names.shown(os.fsdecode(where))}: " if isinstance(where, str | bytes) else ""
    return (
        f"{place}the disk is full ({_full(full)}): make room and give the same command again, "
        "which goes on from what is whole."
    ), 1


def end(program: str, error: BaseException) -> int | None:
    """Tells of an exception that ended a command, on standard error.

    With DGC_DEBUG in the environment its traceback and its causes come before.

    Args:
        program: its name, to begin the line with.
        error: the exception.

    Returns:
        The exit status; None (and nothing is told) for a fault of this program.
    """
    found = told(error)
    if found is None:
        return None
    if os.environ.get("DGC_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
    print(f"{program}: {found[0]}", file=sys.stderr)
    return found[1]


def is_full(error: BaseException) -> bool:
    """Whether an exception says that a disk, a quota or a limit of files is exhausted."""
    return _full(error) is not None


def _full(error: BaseException) -> str | None:
    """In which words it says so."""
    if isinstance(error, OSError) and error.errno is not None:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        return os.strerror(error.errno) if full else None
    found = re.search(_FULL, str(error))
    return found[0] if found else None


def find_full(error: BaseException) -> Exception | None:
    """Of an exception and those that it came from the one that says that a disk is full."""
    seen: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in seen:
        if isinstance(each, Exception) and is_full(each):
            return each
        seen.append(each)
        each = each.__cause__ or each.__context__
    return None


def unwritten(path: str | os.PathLike[str], error: Exception) -> Exception:
    """What to raise where writing has failed.

    Args:
        path: that was to be written.
        error: what was raised.

    Returns:
        A `StorageError` if the disk is full, else an `InputError`.
    """
    if is_full(error):
        return StorageError(
            f"{os.fspath(path)} cannot be written, because the disk is full ({_full(error)}): "
            "make room and give the same command again, which goes on from what is whole."
        )
    return InputError(
        f"{os.fspath(path)} cannot be written ({reason(error)}); "
        "choose an output folder that can be."
    )


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], remedy: str) -> Iterator[None]:
    """The boundary to libraries that write; they raise what `unwritten` takes, or a `ValueError`.

    Args:
        path: is written.
        remedy: what to do if it cannot be, to end the sentence with.

    Raises:
        InputError: it cannot be written.
        StorageError: the disk is full.
    """
    try:
        yield
    except (InputError, StorageError):
        raise
    except (OSError, ValueError) as error:
        if is_full(error):
            raise unwritten(path, error) from error
        raise InputError(
            f"{os.fspath(path)} cannot be written ({reason(error)}): {remedy}."
        ) from error


@contextlib.contextmanager
def reading(what: str, remedy: str = "copy or download it again") -> Iterator[None]:
    """The boundary to what others have written: whatever a library raises becomes one sentence.

    Libraries let through whatever the damage of a file happened to trigger. Faults of our own stay
    what they are: a name, attribute or type that is wrong in a line of this package, and failed
    assertions.

    Args:
        what: is read, such as a path, to begin the sentence with.
        remedy: what to do, to end it with.

    Raises:
        InputError: something else was raised in the block; that is its cause.
    """
    try:
        yield
    except (InputError, StorageError):
        raise
    except MemoryError as error:
        raise InputError(
            f"{what} takes more memory than there is: use a smaller part of it, or a machine with "
            "more memory."
        ) from error
    except Exception as error:
        if _is_ours(error):
            raise
        raise InputError(f"{what} could not be read ({reason(error)}): {remedy}.") from error


def reason(error: BaseException) -> str:
    """What an exception says, on one line, without what libraries add for their developers."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    told = (str(error).strip().splitlines() or [""])[0].partition(" [")[0].rstrip(".")
    if isinstance(error, LookupError) or not told:
        told = f"{type(error).__name__} {told}".rstrip()
    return told if len(told) <= 300 else f"{told[:300]}..."


def _is_ours(error: Exception) -> bool:
    """Whether an exception tells of a fault of this package."""
    if isinstance(error, AssertionError | NameError):
        return True
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    inside = last is not None and last.tb_frame.f_globals.get("__name__", "").startswith("dgc_jax")
    return inside and isinstance(error, AttributeError | TypeError | ImportError)


def flag_error(error: Exception, file: str) -> InputError:
    """What went wrong with flags and a configuration file, in one sentence.

    Args:
        error: from absl, from ml_collections, or from the file, which is a program.
        file: the configuration file.
    """
    told = re.findall(r"InputError: (.*)", str(error))  # the file's own, in a traceback as text
    if isinstance(error, InputError) or told:
        return InputError(told[0] if told else str(error))
    ran = {os.path.abspath(frame.filename) for frame in traceback.extract_tb(error.__traceback__)}
    broken = isinstance(error, SyntaxError | ImportError) or "get_config" in str(error)
    if broken or os.path.abspath(file) in ran:
        why = f"{type(error).__name__}: {(str(error).splitlines() or [''])[-1]}"
        return InputError(f"{file} cannot be run as a configuration ({why}); correct it.")
    if isinstance(error, AttributeError | KeyError):  # a field that there is not
        wrong = re.findall(r"\w+", str(error))[0]
        near = re.search(r'Did you mean "(\w+)" instead of "(\w+)"', str(error))
        hint = f"{near[2]!r}; did you mean {near[1]!r}?" if near else f"{wrong!r}."
        return InputError(f"--config: there is no field {hint}")
    return InputError(f"{error}; `dgc train --fields` tells what fields may be.")


@contextlib.contextmanager
def on_a_device() -> Iterator[None]:
    """Tells it in one sentence if the block fails because JAX has no device to compute on.

    Looked for only after something has failed: what JAX raises then differs between versions, and
    commands that do without JAX need none.

    Raises:
        InputError: there is none, as with `JAX_PLATFORMS=cuda` on a machine without a GPU.
    """
    try:
        yield
    except (RuntimeError, AssertionError, ValueError) as error:
        jax = sys.modules.get("jax")
        if jax is None or isinstance(error, InputError):
            raise
        try:
            jax.devices()
        except Exception as why:
            reason = (str(why).strip().splitlines() or ["no such device"])[0].rstrip(".")
        else:
            raise
        names = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")
        asked = [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]
        raise InputError(
            f"{' '.join(asked) or 'JAX'}: expected a device to compute on, found none that this "
            f"installation of JAX can use ({reason}); set JAX_PLATFORMS=cpu, or install the driver "
            "and dgc_jax[cuda12]."
        ) from error
