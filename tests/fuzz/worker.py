"""Runs cases in a process of its own, within bounds of memory and time."""

import os
import pathlib
import random
import resource
import shutil
import signal
import tempfile
import traceback
import unicodedata
import warnings
import zlib
from collections.abc import Iterable
from multiprocessing.connection import Connection
from types import FrameType
from typing import NamedTuple

from dgc_jax.errors import InputError, StorageError
from tests.fuzz import kinds, mutate

SECONDS = 20
BYTES = 1 << 30

Case = tuple[str, int]
"""Kind and number."""


class Failed(NamedTuple):
    """A case that was neither read nor refused.

    Attributes:
        case: kind and number.
        why: what happened.
        kept: its file, or "".
    """

    case: Case
    why: str
    kept: str


class _TooLongError(BaseException):
    """The time of a case is over; no handler of ours or of a library may take it."""


def run(cases: Iterable[Case], workdir: str, keep: str, pipe: Connection) -> None:
    """Runs cases; sends each before it begins, and what failed.

    Args:
        cases: kinds and numbers.
        workdir: a finished run, for kinds that need one; "" for none.
        keep: folder for the files of failures.
        pipe: takes a `Case` before each, a `Failed` after those that failed, and None at the end.
    """
    os.nice(5)
    warnings.simplefilter("ignore")
    known = dict(kinds.KINDS)
    if workdir:
        known |= kinds.of_run(pathlib.Path(workdir))
    signal.signal(signal.SIGALRM, _too_long)
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)  # what C libraries say of damaged files
        for number, case in enumerate(cases):
            pipe.send(case)
            place = pathlib.Path(folder, str(number))
            place.mkdir()
            why = _one(known[case[0]], case, place)
            if why:
                kept = os.path.join(keep, f"{case[0].replace(' ', '-')}-{case[1]}")
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(place, kept)
                pipe.send(Failed(case, why, kept))
            shutil.rmtree(place, ignore_errors=True)
    pipe.send(None)


def _too_long(_: int, __: FrameType | None) -> None:
    raise _TooLongError


def _one(kind: kinds.Kind, case: Case, place: pathlib.Path) -> str:
    """Makes, changes and reads one file; "" if it was read or refused."""
    path = kind.make(place)
    rng = random.Random(zlib.crc32(f"{case[0]} {case[1]}".encode()))
    # Headers stand beside what they describe.
    mutate.change(path / kind.changed if kind.changed else place, rng)
    used = _address_space()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        kind.read(path)
    except (InputError, StorageError) as refusal:
        if isinstance(refusal.__cause__, MemoryError):
            return f"more than {BYTES >> 20} MB"
        text = str(refusal)
        control = {letter for letter in text if unicodedata.category(letter) == "Cc"}
        if len(text) > 3000 or control - {"\t"}:
            return f"a refusal that is no sentence: {text[:300]!r}"
    except FileNotFoundError:
        return "" if not path.exists() else traceback.format_exc(limit=-8)
    except _TooLongError:
        return f"more than {SECONDS} s"
    except BaseException:
        return traceback.format_exc(limit=-8)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return ""


def _address_space() -> int:
    """Bytes that are mapped by this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
