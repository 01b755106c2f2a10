"""Intervals of numbers, as text: what a field of a configuration may be.

`1..255` is for whole numbers, ends included. `(0, 1]` is for any number, as in mathematics: `[` and
`]` include an end, `(` and `)` do not.
"""

import re
from typing import NamedTuple


class Interval(NamedTuple):
    """An interval of numbers.

    Attributes:
        low: its lower end.
        high: its upper end.
        above: whether the lower end does not belong to it.
        below: whether the upper end does not belong to it.
        whole: whether only whole numbers do.
    """

    low: float
    high: float
    above: bool
    below: bool
    whole: bool

    def holds(self, number: float) -> bool:
        """Whether a number lies in it; NaN lies nowhere."""
        low = number > self.low if self.above else number >= self.low
        high = number < self.high if self.below else number <= self.high
        return low and high and (not self.whole or number == int(number))

    def words(self) -> str:
        """Such as `"above 0 and up to 10"`."""
        if not self.above and not self.below:
            return f"from {self.low:.10g} to {self.high:.10g}"
        return (
            f"{'above' if self.above else 'from'} {self.low:.10g} "
            f"{'and below' if self.below else 'to'} {self.high:.10g}"
        )


def interval(text: str) -> Interval:
    """What `"1..255"` or `"(0, 1]"` stands for.

    Raises:
        ValueError: if it is neither.
    """
    whole = re.fullmatch(r"(-?\d+)\.\.(\d+)", text)
    if whole:
        return Interval(int(whole[1]), int(whole[2]), False, False, True)
    found = re.fullmatch(r"([\[(])(\S+), (\S+)([\])])", text)
    if found is None:
        raise ValueError(f"{text!r} is no interval")
    return Interval(float(found[2]), float(found[3]), found[1] == "(", found[4] == ")", False)
