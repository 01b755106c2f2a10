"""The exceptions that are told to a person in one sentence, without a traceback.

Errors are data: `InputError` has four fields, and only here a sentence is made of them.
"""

import contextlib
import errno
import os
import re
import sys
import traceback
import types
from collections.abc import Iterator, Mapping

from dgc_jax import names

# What libraries without an error number say: TensorStore and HDF5, NumPy.
_FULL = (
    "No space left on device|Disk quota exceeded|File too large|"
    r"Not enough free space|\d+ requested and \d+ written"
)

_LONGEST = 2000  # characters of a message

_NONE: Mapping[str, str] = types.MappingProxyType({})


class InputError(ValueError):
    """Bad input: what of it, what was expected, what was found and what to do.

        InputError(path, expected="3 bands", found=len(bands), remedy="give the RGB file")
        InputError(path, found="is cut short", remedy="copy it again")

    What is known is kept in the four attributes, each text or None; `str` makes one sentence of
    them, see `sentence`. `launch.py` and `dgc` print it and exit with status 2. Code that has to
    know why asks the attributes, the type or `__cause__`, never the sentence.

    Args and attributes:
        subject: the file, the argument or the field that is wrong. Of an argument its name and an
            equals sign (`white=`), perhaps with its value (`out=maps`), of a configuration its
            whole name (`data.white`): what an argument is called at a command line is that
            line's matter, see `called`. On its own it is a whole sentence.
        expected: what it should have been, to follow "expected".
        found: what it was instead, to follow "found"; without `expected` what is wrong, as a
            predicate or a clause.
        remedy: what to do about it, without a full stop.
    """

    def __init__(
        self,
        subject: object,
        expected: object = None,
        found: object = None,
        remedy: object = None,
    ) -> None:
        rest = [None if each is None else str(each) for each in (expected, found, remedy)]
        super().__init__(str(subject), *rest)  # by which it is pickled and copied
        self.subject = str(subject)
        self.expected, self.found, self.remedy = rest

    def __str__(self) -> str:
        return sentence(self.subject, self.expected, self.found, self.remedy)

    def of(self, whole: object) -> "InputError":
        """The same error, told of a part of something: a field of a file, a run of several."""
        subject = f"{whole}: {self.subject}" if self.subject else whole
        return InputError(subject, self.expected, self.found, self.remedy)

    def called(self, names: Mapping[str, str]) -> "InputError":
        """The same error with other names of arguments: those of options, or of fields.

        Args:
            names: by argument, such as `{"number": "--num-processes"}`; see `called`.
        """
        subject, *rest = (each and called(each, names) for each in self.args)
        argument, equals, value = subject.partition("=")
        if equals and value and argument in names:
            subject = f"{names[argument]}={value}"
        return InputError(subject, *rest)


def sentence(subject: str, expected: str | None, found: str | None, remedy: str | None) -> str:
    """What is wrong in one line: `SUBJECT: expected EXPECTED, found FOUND; REMEDY`.

    What is None or empty is left out. Without `expected` it is `SUBJECT: FOUND; REMEDY`, and a
    subject alone is a whole sentence. Control characters are shown as what they are, and of more
    than 2000 characters the middle is left out.
    """
    if re.fullmatch(r"\w+=(, \w+=)*", subject):  # arguments without values
        subject = subject.replace("=", "")
    says = found
    if expected:
        says = f"expected {expected}" + (f", found {found}" if found else "")
    told = "; ".join(filter(None, (says, remedy)))
    text = ": ".join(filter(None, (subject, told)))
    if told and not text.endswith((".", "?")):
        text += "."
    text = names.shown(text).replace("\n", "\\n")
    if len(text) > _LONGEST:  # what was found can be of any length
        half = _LONGEST // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return text


def called(text: str, names: Mapping[str, str]) -> str:
    """A text in which arguments have other names: `give white=` as `give --white`.

    Only what is hardly (part of) the name of a file is taken for one: a known argument with an
    equals sign, after which the word ends or a quoted value begins.

    Args:
        text: of any length.
        names: by argument.
    """
    known = "|".join(map(re.escape, names))
    if not known:
        return text
    word = rf"(?<![^\s(])({known})=(?:(?P<value>['\"])|(?=[,;:.?)]*(?:\s|$)))"
    return re.sub(word, lambda m: names[m[1]] + (f"={m['value']}" if m["value"] else ""), text)


class DivergedError(ArithmeticError):
    """Training met a loss that is not finite; `launch.py` prints why and exits with status 1."""


class LostError(ConnectionError):
    """Another process of the same job has stopped; told by commands, which exit with status 1."""


class StorageError(Exception):
    """What a command writes to failed while it was at work: full, or removed; exit status 1."""


def told(error: BaseException, options: Mapping[str, str] = _NONE) -> tuple[str, int] | None:
    """What to tell of an exception that ended a command, and the exit status.

    Args:
        error: the exception.
        options: of the command, see `InputError.called`.

    Returns:
        None for a fault of this program, of which the traceback is to be shown.
    """
    if isinstance(error, InputError):
        return str(error.called(options)), 2
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


def end(program: str, error: BaseException, options: Mapping[str, str] = _NONE) -> int | None:
    """Tells of an exception that ended a command, on standard error.

    With DGC_DEBUG in the environment its traceback and its causes come before.

    Args:
        program: its name, to begin the line with.
        error: the exception.
        options: of the command, see `InputError.called`.

    Returns:
        The exit status; None (and nothing is told) for a fault of this program.
    """
    found = told(error, options)
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
    return next((one for one in chain(error) if isinstance(one, Exception) and is_full(one)), None)


def chain(error: BaseException) -> list[BaseException]:
    """An exception and those that it came from, the first cause last."""
    seen: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in seen:
        seen.append(each)
        each = each.__cause__ or each.__context__
    return seen


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
        os.fspath(path),
        found=f"cannot be written ({reason(error)})",
        remedy="choose an output folder that can be",
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
        why = f"cannot be written ({reason(error)})"
        raise InputError(os.fspath(path), found=why, remedy=remedy) from error


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
            what,
            found="takes more memory than there is",
            remedy="use a smaller part of it, or a machine with more memory",
        ) from error
    except Exception as error:
        if _is_ours(error):
            raise
        why = f"could not be read ({reason(error)})"
        raise InputError(what, found=why, remedy=remedy) from error


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
            " ".join(asked) or "JAX",
            expected="a device to compute on",
            found=f"none that this installation of JAX can use ({reason})",
            remedy="set JAX_PLATFORMS=cpu, or install the driver and dgc_jax[cuda12]",
        ) from error
