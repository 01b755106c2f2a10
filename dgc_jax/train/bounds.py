"""What each number of a configuration may be, and the check of a whole configuration.

`1..255` is for whole numbers, ends included. `(0, 1]` is for any number, as in mathematics: `[` and
`]` include an end, `(` and `)` do not. The same text begins the field's comment in
`configs/default.py`, beside its default. Lower bounds are where nothing can be computed any more (a
division by 0, a spectral kernel of one band); upper ones lie well beyond what is of use.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections

from dgc_jax.errors import InputError
from dgc_jax.model.normalisation import KINDS

BOUNDS = {
    "seed": "0..4294967295",
    "clusters.train": "1..255",
    "clusters.starts": "1..100",
    "clusters.sample": "1..1000000",
    "clusters.final": "1..255",
    "model.embedding": "2..1024",
    "model.features": "1..1024",
    "model.strides": "1..1000",
    "model.kernel": "2..99",
    "model.iterations": "0..1000",
    "model.window": "1..99",
    "model.bandwidth": "[0.001, 10]",
    "model.temperature": "[0.001, 10]",
    "model.whiten": "[0, 1]",
    "model.linear": "[0, 1000]",
    "model.network": "[0, 1000]",
    "data.unlabelled": "-2147483648..4294967295",
    "data.background": "-2147483648..4294967295",
    "data.crop": "8..4096",
    "data.overlap": "(0, 1]",
    "data.batch": "1..4096",
    "data.pairs_per_window": "1..1000000",
    "data.bin_width": "[0, 10000]",
    "data.sample": "1..100000",
    "data.leaves.scenes": "1..10000",
    "data.leaves.size": "24..4096",
    "data.leaves.seed": "0..4294967295",
    "data.leaves.light": "[0, 3]",
    "data.leaves.lesion_share": "[0, 0.08]",
    "augment.flip": "[0, 1]",
    "augment.turn": "[0, 1]",
    "augment.gain": "[0, 3]",
    "augment.tilt": "[0, 3]",
    "augment.agreement": "[0, 1]",
    "augment.noise": "[0, 10]",
    "augment.band_dropout": "[0, 1)",
    "augment.band_shift": "[0, 10]",
    "loss.compactness": "[0, 1000]",
    "loss.orthogonality": "[0, 1000]",
    "loss.consistency": "[0, 1000]",
    "loss.balance": "[0, 1000]",
    "loss.anchor": "[0, 1000]",
    "loss.displacement": "0..4095",
    "loss.margin": "[-1, 1)",
    "centroids.decay": "[0, 1]",
    "centroids.pixels": "1..100000000",
    "centroids.kick": "[0, 10]",
    "optim.learning_rate": "[0, 1]",
    "optim.warmup": "0..1000000000",
    "optim.final": "[0, 1]",
    "optim.weight_decay": "[0, 10]",
    "optim.clip": "(0, 1000000000]",
    "optim.bandwidth": "[0, 1000]",
    "train.steps": "0..1000000000",
    "train.log_every": "1..1000000000",
    "train.checkpoint_every": "1..1000000000",
    "monitor.every": "1..1000000000",
    "monitor.probes": "1..100000",
    "monitor.threshold": "[0, 1]",
    "monitor.patience": "0..1000000000",
}
"""Interval of every numeric field; of a tuple, of each number in it."""

CHOICES = {
    "centroids.start": ("kmeans++", "random"),
    "data.normalisation": KINDS,
    "train.precision": ("float32", "bfloat16"),
}
"""Words that the other fields of a closed list take."""

_LENGTHS = {"data.overlap": 2, "model.features": 3, "model.strides": 3, "data.background": None}
# `None` is a choice of its own there.
_MAY_BE_NONE = ("clusters.final", "model.strides", "data.background")


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses values that no run can be made of.

    Raises:
        InputError: naming the first such field, what was expected and what was found.
    """
    if config.clusters.final is None:
        raise InputError(
            "clusters.final: expected the number of clusters to end with, found none; "
            "set --config.clusters.final or use configs/dgc4.py."
        )
    for field in BOUNDS:
        value = _value(config, field)
        if value is None and field in _MAY_BE_NONE:
            continue
        if field in _LENGTHS:
            _check_tuple(field, value)
        else:
            _check_number(field, value, value)
    for field, choices in CHOICES.items():
        value = _value(config, field)
        if value not in choices:
            raise InputError(f"{field}: expected one of {', '.join(choices)}, found {value!r}.")
    _check_together(config)


def _check_together(config: ml_collections.ConfigDict) -> None:
    """Refuses numbers that are fine alone and do not go together."""
    for field, low, high, bound in (
        ("clusters.final", 1, config.clusters.train, "clusters.train"),
        ("loss.displacement", 0, config.data.crop - 1, "less than data.crop"),
        ("monitor.probes", 1, config.data.sample, "data.sample"),
    ):
        value = _value(config, field)
        if not low <= value <= high:
            raise InputError(
                f"{field}: expected a number from {low} to {high} ({bound}), found {value}."
            )
    if config.model.window % 2 == 0:
        raise InputError(
            f"model.window: expected an odd number of pixels, found {config.model.window}; "
            "a window has its pixel in the middle."
        )
    if not config.model.linear and not config.model.network:
        raise InputError(
            "model.linear, model.network: expected one of them above 0, found 0 for both, which "
            "makes all pixels alike; raise one."
        )
    least, greatest = config.data.overlap
    if least > greatest:
        raise InputError(
            f"data.overlap: expected the least share before the greatest, found {least} before "
            f"{greatest}; swap them."
        )
    for field in ("data.bands", "data.drop"):
        _check_ranges(field, _value(config, field))


def _check_tuple(field: str, value: Any) -> None:
    length = _LENGTHS[field]
    numbers = isinstance(value, Sequence) and not isinstance(value, str)
    if not numbers or (length is not None and len(value) != length):
        found = tuple(value) if numbers else repr(value)
        raise InputError(f"{field}: expected {length or 'a tuple of'} numbers, found {found}.")
    for number in value:
        _check_number(field, number, tuple(value))


def _check_number(field: str, number: Any, found: Any) -> None:
    """Refuses what is no number of a field's type and interval; `found` is the whole value."""
    bound = interval(BOUNDS[field])
    plain = isinstance(number, int | float) and not isinstance(number, bool)
    if not plain or not bound.holds(number):
        fine = plain and (not bound.whole or number % 1 == 0)
        kind = "a whole number" if bound.whole and not fine else "a number"
        raise InputError(f"{field}: expected {kind} {bound.words()}, found {found!r}.")


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
    """What `"1..255"` or `"(0, 1]"` stands for."""
    whole = re.fullmatch(r"(-?\d+)\.\.(\d+)", text)
    if whole:
        return Interval(int(whole[1]), int(whole[2]), False, False, True)
    found = re.fullmatch(r"([\[(])(\S+), (\S+)([\])])", text)
    if found is None:
        raise ValueError(f"{text!r} is no interval")
    return Interval(float(found[2]), float(found[3]), found[1] == "(", found[4] == ")", False)


def _check_ranges(field: str, ranges: Any) -> None:
    """Refuses what are no pairs of wavelengths, lower before upper."""
    if ranges is None:
        return
    for pair in ranges:
        fine = isinstance(pair, Sequence) and len(pair) == 2
        if (
            not fine
            or not all(isinstance(end, int | float) for end in pair)
            or not (0 <= pair[0] <= pair[1] < math.inf)
        ):
            raise InputError(
                f"{field}: expected ranges in nm such as ((450, 900),), found {tuple(ranges)}."
            )


def _value(config: Mapping[str, Any], field: str) -> Any:
    value: Any = config
    for name in field.split("."):
        value = value[name]
    return value
