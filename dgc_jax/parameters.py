"""What the options of `dgc` hold that are more than a word: lists, groups and tables.

@click.option("--groups", type=GROUPS)    "1,4-7;2" as [[1, 4, 5, 6, 7], [2]]
"""

from collections.abc import Callable, Sequence
from typing import Any

import click

from dgc_jax.errors import InputError


class Text(click.ParamType):
    """A text of an option as what it means."""

    name = "text"

    def __init__(self, meant: Callable[[str], Any], expected: str) -> None:
        """Takes the function that gives the meaning or a `ValueError`.

        Args:
            meant: the function.
            expected: what the text should be, for the error.
        """
        self._meant = meant
        self._expected = expected

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The meaning of a text.

        Raises:
            InputError: if it has none.
        """
        try:
            return self._meant(value)
        except ValueError as error:
            option = "" if param is None else param.opts[0]
            found = str(error) if isinstance(error, _WordError) else repr(value)
            raise InputError(
                option, expected=self._expected, found=found, remedy="correct it"
            ) from error


class _WordError(ValueError):
    """The word of a text that is wrong, quoted."""


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _ranges(text: str) -> list[int]:
    found: list[int] = []
    for word in _listed(text):
        first, dash, last = word.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise _WordError(repr(word))
        found += range(int(first), int(last or first) + 1)
    return found


def _table(text: str) -> dict[int, int]:
    pairs = [word.partition("=")[::2] for word in _listed(text)]
    table = {int(cluster): int(to) for cluster, to in pairs}
    if not table or len(table) < len(pairs):
        raise ValueError
    return table


LISTED = Text(_listed, "words with commas between")
"""`"a, b"` as two words."""

NUMBERS = Text(lambda text: [int(word) for word in _listed(text)],
               "whole numbers with commas between")  # fmt: skip
"""`"1,2"` as numbers."""

GROUPS = Text(lambda text: [_ranges(part) for part in text.split(";")],
              "cluster numbers such as 1,2;4-7")  # fmt: skip
"""`"1,4-7;2"` as groups of numbers."""

NAMES = Text(lambda text: [name.strip() for name in text.split(";")],
             "names with semicolons between")  # fmt: skip
"""`"a; b c"` as two names."""

TABLE = Text(_table, "a class for each cluster, such as 1=1,2=1,3=2")
"""`"1=1,2=1"` as `{1: 1, 2: 1}`."""


def as_ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as `"1, 4-7"`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
