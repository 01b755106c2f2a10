"""The screen as rich writes to it, where names of files, classes and views are only ever text.

The one console of this package: what it is given is no markup (`[red]`), and control characters in
it are shown as what they are, see `dgc_jax.names.shown`. Only rich's own reach the terminal.
"""

import logging
from collections.abc import Iterator
from typing import IO, Any

import click
import rich.console
from rich.segment import Segment

from dgc_jax import errors, names


def options(command: click.Command | None = None) -> dict[str, str]:
    """What the arguments of a command are called at the command line: `{"white": "--white"}`.

    Args:
        command: None: the one that is running; there is none where Python calls.
    """
    if command is None:
        context = click.get_current_context(silent=True)
        command = None if context is None else context.command
    given = command.params if command is not None else []
    return {each.name: each.opts[0] for each in given if isinstance(each, click.Option)}


def spoken(told: str | errors.InputError) -> str:
    """A note or an error for the one who gave the command, see `dgc_jax.errors.called`."""
    if isinstance(told, errors.InputError):
        return str(told.called(options()))
    return errors.called(told, options())


def speak(record: logging.LogRecord) -> bool:
    """A filter that makes what is logged `spoken`."""
    record.msg, record.args = spoken(record.getMessage()), ()
    return True


class Console(rich.console.Console):
    """A console on which nothing that is printed can steer the terminal.

    Args:
        **options: those of `rich.console.Console`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, **options})

    def print(self, *objects: Any, **how: Any) -> None:
        """Prints; in text, arguments are called as the options of the running command."""
        super().print(*(spoken(each) if isinstance(each, str) else each for each in objects), **how)

    def render(self, *arguments: Any, **options: Any) -> Iterator[Segment]:
        """What rich prints of something, piece by piece."""
        for piece in super().render(*arguments, **options):
            yield piece if piece.control else Segment(names.shown(piece.text), piece.style)

    @property
    def file(self) -> IO[str]:
        """The stream itself, without what escapes the rest that is written to it."""
        stream = super().file
        while (inner := getattr(stream, "rich_proxied_file", None)) is not None:
            stream = inner
        return stream

    @file.setter
    def file(self, stream: IO[str]) -> None:
        self._file = stream
