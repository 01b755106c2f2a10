"""What the C library does with memory that is given back: keep it, or let it go.

Arrays of tens of megabytes are by default asked of the system anew each time, which hands them out
page by page, each cleared first: a third of a step of training on a CPU. Only glibc is spoken to;
elsewhere nothing is done.
"""

import contextlib
import ctypes
import os

# Of malloc.h: which setting, and its value.
_ONE_HEAP = (-8, 1)  # M_ARENA_MAX: others than the first cannot hold large arrays
_NO_MAPPING = (-4, 0)  # M_MMAP_MAX: large arrays come from the heap, too
_NO_TRIMMING = (-1, 2**31 - 1)  # M_TRIM_THRESHOLD: the heap does not shrink by itself
_GROWTH = (-2, 64 << 20)  # M_TOP_PAD: bytes by which it grows


def keep() -> None:
    """Has a process keep the memory that it frees, for arrays of the same size that come again.

    To be called before JAX has started its threads, by the program that owns the process. With a
    GPU the large arrays lie on it, and threads that read would only wait for the one heap.
    """
    if os.path.exists("/proc/driver/nvidia"):
        return
    with contextlib.suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        for setting in (_ONE_HEAP, _NO_MAPPING, _NO_TRIMMING, _GROWTH):
            library.mallopt(*setting)


def trim() -> None:
    """Has the C library give back what is free, which it else keeps in a heap for each thread.

    Without it memory creeps up for thousands of rows of a scene.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
