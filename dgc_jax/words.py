"""What the words of `dgc`'s options mean: lists, ranges and tables."""

from collections.abc import Sequence

from dgc_jax.errors import InputError


def listed(text: str) -> list[str]:
    """`"a, b"` as two words."""
    return [word.strip() for word in text.split(",") if word.strip()]


def numbers(option: str, text: str) -> list[int]:
    """`"1,2"` as numbers; the option's name is for the error."""
    try:
        return [int(word) for word in listed(text)]
    except ValueError as error:
        raise InputError(
            f"{option}: expected whole numbers with commas between, found {text!r}; correct it."
        ) from error


def ranges(text: str) -> list[int]:
    """`"1,4-7"` as numbers."""
    found: list[int] = []
    for word in listed(text):
        first, dash, last = word.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise InputError(
                f"--groups: expected cluster numbers such as 1,2;4-7, found {word!r}; correct it."
            )
        found += range(int(first), int(last or first) + 1)
    return found


def as_ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as `"1, 4-7"`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def table(text: str) -> dict[int, int]:
    """`"1=1,2=1"` as `{1: 1, 2: 1}`."""
    pairs = [word.partition("=")[::2] for word in listed(text)]
    try:
        table = {int(cluster): int(to) for cluster, to in pairs}
    except ValueError:
        table = {}
    if not table or len(table) < len(pairs):
        raise InputError(
            f"--table: expected a class for each cluster, such as 1=1,2=1,3=2, found {text!r}; "
            "correct it."
        )
    return table
