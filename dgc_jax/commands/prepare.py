"""Scenes rewritten for fast crops, several at once: `dgc prepare`."""

import concurrent.futures.process
import multiprocessing
import signal
from collections.abc import Iterator

import click
from rich.progress import Progress

from dgc_jax import terminal
from dgc_jax.data.find import LABELS, find_scenes
from dgc_jax.data.formats.detect import scene_name
from dgc_jax.data.prepare import prepare, store_path, why_unprepared
from dgc_jax.data.reading import Reading
from dgc_jax.data.scenes import open_recognised
from dgc_jax.errors import InputError
from dgc_jax.files import still_there
from dgc_jax.lock import alone


def prepare_scenes(scenes: tuple[str, ...], out: str, workers: int, how: Reading) -> None:
    """Writes `<out>/<scene>.zarr` of scenes; those that are complete are left as they are.

    Args:
        scenes: paths, folders or globs.
        out: folder to write into.
        workers: scenes prepared at once, each by a process of its own.
        how: scenes are to be read.

    Raises:
        InputError: if there are no scenes, or another process is at work in the folder.
        SystemExit: if scenes could not be prepared: 2 if none, else 1.
    """
    paths = find_scenes(scenes, companions=(LABELS, *how.patterns))
    failed, whole = 0, list[str]()
    console = terminal.Console()
    with (
        alone(out, "out"),
        Progress(
            console=console, disable=not console.is_terminal, redirect_stderr=False
        ) as progress,
    ):
        for path, (done, line) in zip(
            paths, _prepared(paths, out, how, workers, progress), strict=True
        ):
            failed += not done
            click.echo(line if done else f"dgc: {terminal.spoken(line)}", err=not done)
            whole += [f"{scene_name(path)}.zarr"] * done
        still_there(out, whole)
    if failed:
        raise SystemExit(2 if failed == len(paths) else 1)


def _prepared(
    paths: list[str], out: str, how: Reading, workers: int, progress: Progress
) -> Iterator[tuple[bool, str | InputError]]:
    """Whether each scene is prepared, and what to tell of it, in the order of the paths."""
    if workers == 1 or len(paths) == 1:
        yield from (_prepare_one(path, out, how, progress) for path in paths)
        return
    # Processes, because h5py decompresses in one thread of each; new ones, because TensorStore's
    # threads do not survive a fork. Ctrl-C ends them at once.
    pool = concurrent.futures.ProcessPoolExecutor(
        min(workers, len(paths)),
        multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        futures = [pool.submit(_prepare_one, path, out, how) for path in paths]
        for path, future in progress.track(list(zip(paths, futures, strict=True)), description=""):
            try:
                yield future.result()
            except concurrent.futures.process.BrokenProcessPool:
                yield (
                    False,
                    InputError(
                        path,
                        found="was not prepared, because a worker process was ended from outside "
                        "(out of memory?)",
                        remedy="run the command again with fewer workers=",
                    ),
                )
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare_one(
    path: str, out: str, how: Reading, progress: Progress | None = None
) -> tuple[bool, str | InputError]:
    try:
        cube = open_recognised(path, how.of_scene(path))
        why = why_unprepared(cube, out)
        prepare(cube, out, progress)
    except InputError as error:
        return False, error
    what = "complete already" if why is None else "written"
    return True, f"{store_path(cube, out)}: {what}{f' anew, because {why}' if why else ''}"
