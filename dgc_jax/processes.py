"""Many processes working as one: on the machines of a cluster, or several on one machine.

All run the same command on the same files and are numbered from 0, the first. Training shares
each batch among the devices of all; a scene is segmented by tiles, some in each process. What is
written once (tables, pictures, the model) is written by the first. On its own, a process is the
first of one, and everything here does nothing.

JAX connects them: the first is the coordinator, which misses the heartbeat of a process that died
and then ends the others. Sources: JAX, "Introduction to multi-controller JAX"; `jax.distributed`.
"""

import atexit
import contextlib
import os
import re
import sys
import time
import zlib
from collections.abc import Iterator
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from dgc_jax.errors import InputError, LostError, StorageError

_PATIENCE = 30  # seconds without a heartbeat after which a process counts as dead
_FAREWELL = 2  # seconds

Tree = TypeVar("Tree")


@contextlib.contextmanager
def joined(
    coordinator: str | None = None,
    number: int | None = None,
    index: int | None = None,
    *,
    detect: bool = False,
) -> Iterator[None]:
    """Makes this process one of many for the block, if any argument says so.

    A process that fails in the block ends without waiting for the others; they notice.

    Args:
        coordinator: HOST:PORT at which all reach the first process; it listens there.
        number: of processes.
        index: of this process, from 0.
        detect: take what is not given from SLURM, Open MPI, Kubernetes or the TPU's metadata.

    Raises:
        InputError: if the arguments do not go together, or nothing is detected.
        LostError: if another process has stopped.
    """
    _check(coordinator, number, index, detect)
    if not detect and coordinator is None:
        yield
        return
    # JAX's notice of preemption would swallow the SIGTERM by which schedulers end a job.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator,
            number,
            index,
            heartbeat_timeout_seconds=_PATIENCE,
            shutdown_timeout_seconds=_PATIENCE,
        )
    except (ValueError, RuntimeError) as error:
        raise InputError(
            "detect=",
            expected="a job of SLURM, Open MPI, Kubernetes or a TPU",
            found=f"none that JAX knows ({_first_line(error)})",
            remedy="give the coordinator, the number of processes and the number of this one",
        ) from error
    try:
        yield
        wait()
    except Exception as error:
        # At exit JAX would wait for the others, who may be waiting for this process.
        atexit.register(_leave, 2 if isinstance(error, InputError) else 1)
        if _is_loss(error):
            raise LostError(
                f"Another process of this job has stopped ({_first_line(error)}); see what it "
                "said, and run the same command again to complete the work."
            ) from error
        raise


def first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def part() -> tuple[int, int]:
    """Number of this process, from 0, and how many there are."""
    return jax.process_index(), jax.process_count()


def wait() -> None:
    """Waits until all processes have come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("dgc_jax")


@contextlib.contextmanager
def agreeing(what: str) -> Iterator[None]:
    """Waits at the end of the block for all processes; if one cannot go on, none does.

    Args:
        what: what the block works on, for the message.

    Raises:
        InputError: the block's own, or if the block raised one in another process.
    """
    problem: InputError | StorageError | None = None
    try:
        yield
    except (InputError, StorageError) as error:
        problem = error
    if np.all(_gathered(np.array(problem is None, np.uint8))):
        return
    raise problem or InputError(
        what, found="another process cannot use it", remedy="see what that one said"
    )


def same(what: str, seen: str) -> None:
    """Refuses to go on where processes see different things.

    Args:
        what: where it was named, such as "data.scenes".
        seen: what this process sees.

    Raises:
        InputError: if another process sees something else.
    """
    digests = _gathered(np.array(zlib.crc32(os.fsencode(seen)), np.uint32))
    if np.any(digests != digests[0]):
        raise InputError(
            what,
            expected="the same scenes in all processes",
            found=f"others in process {jax.process_index()}",
            remedy="use a folder that all machines share",
        )


def from_first(tree: Tree) -> Tree:
    """The arrays (or numbers) of the first process, in every process; NumPy, 32 bits at most."""
    return multihost_utils.broadcast_one_to_all(tree) if jax.process_count() > 1 else tree


def summed(array: np.ndarray) -> np.ndarray:
    """The sum of an array over all processes, in its own type, such as float64."""
    # As bytes, because JAX would send 64 bits as 32.
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    each = np.ascontiguousarray(_gathered(flat)).view(array.dtype)  # [process, number]
    return each.sum(axis=0, dtype=array.dtype).reshape(array.shape)


def _gathered(array: np.ndarray) -> np.ndarray:
    """The array of every process, `[process, ...]`."""
    if jax.process_count() == 1:
        return array[None]
    return np.asarray(multihost_utils.process_allgather(array)).reshape(-1, *array.shape)


def _check(coordinator: str | None, number: int | None, index: int | None, detect: bool) -> None:
    given = {"coordinator=": coordinator, "number=": number, "index=": index}
    missing = [name for name, value in given.items() if value is None]
    if 0 < len(missing) < 3 and not detect:
        raise InputError(
            "coordinator=, number=, index=",
            expected="all three or none",
            found=f"no {' and no '.join(missing)}",
            remedy="add it, or detect= where the cluster knows",
        )
    if coordinator is not None and not re.fullmatch(r".+:\d+", coordinator):
        raise InputError(
            "coordinator=",
            expected="HOST:PORT of process 0",
            found=repr(coordinator),
            remedy="correct it",
        )
    if number is not None and number < 1:
        raise InputError("number=", expected="at least 1", found=number, remedy="correct it")
    if index is not None and not 0 <= index < (number or index + 1):
        raise InputError(
            "index=",
            expected=f"a number from 0 to {(number or 1) - 1}",
            found=index,
            remedy="number the processes from 0",
        )


def _is_loss(error: Exception) -> bool:
    """Whether the error is what JAX makes of a connection that broke."""
    words = r"gloo|nccl|coordination service|heartbeat|connection (reset|closed)|barrier"
    plain = isinstance(error, ValueError | RuntimeError) and not isinstance(error, InputError)
    return plain and re.search(words, str(error), re.IGNORECASE) is not None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _leave(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if first():  # with the coordinator gone JAX aborts the others, who may have a word to say
        time.sleep(_FAREWELL)
    os._exit(status)
