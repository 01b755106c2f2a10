"""The screen as rich writes to it, where names of files, classes and views are only ever text.

The one console of this package: what it is given is no markup (`[red]`), and control characters in
it are shown as what they are, see `dgc_jax.names.shown`. Only rich's own reach the terminal.
"""

from collections.abc import Iterator
from typing import IO, Any

import rich.console
from rich.segment import Segment

from dgc_jax import names


class Console(rich.console.Console):
    """A console on which nothing that is printed can steer the terminal.

    Args:
        **options: those of `rich.console.Console`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, **options})

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
