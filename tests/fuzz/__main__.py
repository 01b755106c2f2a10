"""The long run, by command; see the package."""

import argparse
import collections
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from tests.fuzz.kinds import KINDS
from tests.fuzz.worker import SECONDS, Case, Failed, run

_RUN = ("view", "model", "merge", "summary", "history", "manifest")
_PART = 500  # cases of a process, after which a new one takes over: libraries leak


def cases(chosen: Sequence[str], number: int, first: int) -> list[Case]:
    """So many cases, of all kinds in turn."""
    return [(chosen[k % len(chosen)], first + k // len(chosen)) for k in range(number)]


def failures(wanted: Sequence[Case], workdir: str, keep: str) -> Iterator[Failed]:
    """Runs cases one after the other; a process that aborts is replaced.

    Args:
        wanted: kinds and numbers.
        workdir: a finished run, or "".
        keep: folder for the files of failures.
    """
    context = multiprocessing.get_context("spawn")
    left = list(wanted)
    while left:
        part, last, done = left[:_PART], None, 0
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=run, args=(part, workdir, keep, theirs))
        process.start()
        theirs.close()
        why = "it ended"
        while True:
            try:
                # The first message waits for JAX to be imported.
                told: Any = ours.recv() if ours.poll(SECONDS + 100) else TimeoutError()
            except EOFError:
                told = EOFError()
            if isinstance(told, Failed):
                yield told
            elif isinstance(told, tuple):
                last, done = told, done + 1
            else:
                break
        if told is not None:
            if isinstance(told, TimeoutError):
                process.kill()
                why = "it hung where no signal reaches"
            process.join()
            if last is None:
                raise RuntimeError(f"no case could be run: exit code {process.exitcode}")
            yield Failed(last, f"{why} (exit code {process.exitcode})", "")
        process.join()
        left = left[done:]


def main() -> None:
    """Runs what is asked for, and tells what failed; exit status 1 if something did."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--cases", type=int, default=10_000, help="how many, of all kinds together")
    parser.add_argument("--kinds", default="", help=f"of {', '.join([*KINDS, *_RUN])}")
    parser.add_argument("--workdir", default="", help=f"a finished run, for {', '.join(_RUN)}")
    parser.add_argument("--first", type=int, default=0, help="number of the first case of a kind")
    parser.add_argument("--keep", help="folder for the files of failures")
    args = parser.parse_args()
    chosen = args.kinds.split(",") if args.kinds else [*KINDS, *(_RUN if args.workdir else ())]
    if unknown := set(chosen) - {*KINDS, *_RUN}:
        parser.error(f"--kinds: found no {', '.join(sorted(unknown))}")
    keep = args.keep or tempfile.mkdtemp(prefix="dgc_jax_fuzz_")
    os.makedirs(keep, exist_ok=True)
    started, found = time.monotonic(), collections.Counter[str]()
    for failed in failures(cases(chosen, args.cases, args.first), args.workdir, keep):
        told = failed.why.strip().splitlines()
        if not found[told[-1]]:
            print(
                f"{failed.case[0]} {failed.case[1]}: {failed.kept}", *told, sep="\n    ", flush=True
            )
        found[told[-1]] += 1
    seconds = time.monotonic() - started
    print(f"{args.cases} cases of {len(chosen)} kinds in {seconds:.0f} s: {found.total()} failed")
    for why, number in found.most_common():
        print(f"{number:6}  {why}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
