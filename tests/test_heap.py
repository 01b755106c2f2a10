"""Memory that is kept: fewer pages asked of the system for arrays that come again."""

import pathlib
import subprocess
import sys

import pytest

_PAGES = """
import resource, sys
from dgc_jax import heap
if sys.argv[1] == "kept":
    heap.keep()
import numpy as np
for turn in range(12):
    if turn == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(48 << 20, np.uint8)  # of more than malloc's greatest threshold of mapping
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(how: str) -> int:
    """How many pages ten arrays of 48 MB, one after the other, ask of the system."""
    command = [sys.executable, "-c", _PAGES, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(
    sys.platform != "linux" or pathlib.Path("/proc/driver/nvidia").exists(),
    reason="only glibc is spoken to, and not beside a GPU",
)
def test_kept_memory_is_not_asked_for_again() -> None:
    assert pages("kept") < pages("asked for") / 10
