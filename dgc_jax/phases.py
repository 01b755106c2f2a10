"""What a run is doing, told before it takes long: a spinner or a bar on a terminal, else a line."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import rich.console
import rich.progress

Item = TypeVar("Item")


def animated(console: rich.console.Console) -> bool:
    """Whether a display that changes can be shown; notebooks would ask for ipywidgets."""
    return console.is_terminal and not console.is_jupyter


@contextlib.contextmanager
def phase(console: rich.console.Console, what: str) -> Iterator[None]:
    """Tells what is done in the block, and on a terminal for how long.

    Args:
        console: where; nothing else may be animated there meanwhile.
        what: in words, such as "reading 48 crops".
    """
    if not animated(console):
        console.print(what, markup=False, highlight=False, soft_wrap=True)
        yield
        return
    columns = (
        rich.progress.SpinnerColumn(finished_text=" "),
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.TimeElapsedColumn(),
    )
    with rich.progress.Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=None)
        yield
        progress.update(task, total=1, completed=1)


def track(items: Sequence[Item], what: str, console: rich.console.Console) -> Iterable[Item]:
    """Goes through items, with a bar on a terminal and a line before the first one elsewhere.

    Args:
        items: what to go through.
        what: is done with each, such as "segmenting".
        console: where it is shown; lines printed there meanwhile come above the bar.
    """
    if animated(console):
        return rich.progress.track(items, what, console=console)
    number = f"{len(items)} scene{'s' if len(items) != 1 else ''}"
    console.print(f"{what} {number}", markup=False, highlight=False, soft_wrap=True)
    return items
