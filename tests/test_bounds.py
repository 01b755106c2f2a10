"""Every number of a configuration has its bounds beside its default, and beyond is refused."""

import inspect
import math
import re

import pytest

from configs import default, dgc4
from dgc_jax.errors import InputError
from dgc_jax.train import options
from dgc_jax.train.bounds import BOUNDS, CHOICES, check, interval

TUPLES = {"data.overlap": (0.5, 0.5), "model.features": (1, 1, 1), "model.strides": (1, 1, 1)}


def changed(field, value):
    """A configuration with a field set past the type check of ConfigDict."""
    config = dgc4.get_config()
    section, _, name = field.rpartition(".")
    inner = config
    for word in filter(None, section.split(".")):
        inner = inner[word]
    with inner.ignore_type():
        inner[name] = value
    return config


def ends(field):
    """Numbers on either side of each end: (within, beyond)."""
    bound = interval(BOUNDS[field])
    step = 1 if bound.whole else 1e-6 * max(1, abs(bound.high))
    low = (bound.low + 1e-9, bound.low) if bound.above else (bound.low, bound.low - step)
    high = (bound.high - 1e-9, bound.high) if bound.below else (bound.high, bound.high + step)
    kind = int if bound.whole else float
    return [tuple(map(kind, end)) for end in (low, high)]


def in_place(field, number):
    """The value of a field in which a number stands."""
    if field in TUPLES:
        return (*TUPLES[field][:-1], number)
    return (number,) if field == "data.background" else number


def test_every_numeric_field_has_bounds_and_no_other():
    fields = options.flat(dgc4.get_config().to_dict())

    def is_number(value):
        return isinstance(value, int | float) and not isinstance(value, bool)

    numeric = {
        name
        for name, value in fields.items()
        if is_number(value) or (isinstance(value, tuple) and all(map(is_number, value)))
    }
    assert numeric | {"model.strides", "data.background"} == set(BOUNDS)
    assert set(CHOICES) < set(fields)


def test_bounds_stand_beside_their_defaults():
    section, told = "", {}
    for line in inspect.getsource(default.get_config).splitlines():
        if made := re.match(r"\s+(?:config|data)\.(\w+) = (\w+) = ", line):
            section = "data.leaves" if made[2] == "leaves" else made[1]
        elif field := re.match(r"\s+(\w+)\.(\w+) = .*?(?:  # ([^;]*).*)?$", line):
            group = {"config": "", "leaves": "data.leaves"}.get(field[1], field[1])
            told[".".join(filter(None, (group, field[2])))] = field[3]
    assert section
    assert {name: told[name] for name in BOUNDS} == BOUNDS


@pytest.mark.parametrize("field", sorted(BOUNDS))
def test_either_side_of_every_bound(field):
    for within, beyond in ends(field):
        config = changed(field, in_place(field, within))
        # What must go together does.
        config.clusters.train = max(config.clusters.train, config.clusters.final)
        config.clusters.final = min(config.clusters.train, config.clusters.final)
        if field == "loss.displacement":
            config.data.crop = 4096
        if field in ("monitor.probes", "data.sample"):
            config.data.sample = max(config.data.sample, config.monitor.probes)
            config.monitor.probes = min(config.data.sample, config.monitor.probes)
        if field == "data.overlap":
            with config.data.ignore_type():
                config.data.overlap = (within, within)
        if field == "model.window":
            assert within % 2
        check(config)
        with pytest.raises(InputError, match=rf"^{re.escape(field)}: expected a.* (from|above)"):
            check(changed(field, in_place(field, beyond)))


@pytest.mark.parametrize("field", sorted(BOUNDS))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "3"])
def test_what_is_no_number_is_refused_by_name(field, value):
    with pytest.raises(InputError, match=rf"^{re.escape(field)}: expected .*found"):
        check(changed(field, in_place(field, value)))


@pytest.mark.parametrize("field", [f for f in sorted(BOUNDS) if interval(BOUNDS[f]).whole])
def test_a_fraction_or_a_truth_of_a_whole_number_is_refused(field):
    for value in (2.5, True):
        with pytest.raises(InputError, match=rf"^{re.escape(field)}: expected a whole number"):
            check(changed(field, in_place(field, value)))


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("model.window", 4, "odd number of pixels, found 4"),
        ("clusters.final", 65, "from 1 to 64 (clusters.train), found 65"),
        ("loss.displacement", 64, "from 0 to 63 (less than data.crop), found 64"),
        ("monitor.probes", 49, "from 1 to 48 (data.sample), found 49"),
        ("data.overlap", (0.8, 0.2), "least share before the greatest, found 0.8 before 0.2"),
        ("data.overlap", (0.5,), "expected 2 numbers, found (0.5,)"),
        ("data.overlap", 0.5, "expected 2 numbers, found 0.5"),
        ("model.features", None, "expected 3 numbers, found None"),
        ("data.background", "1,2", "expected a tuple of numbers, found '1,2'"),
        ("data.bands", ((900, 450),), "expected ranges in nm such as ((450, 900),)"),
        ("data.bands", (450, 900), "expected ranges in nm such as ((450, 900),)"),
        ("data.drop", ((math.nan, 450),), "expected ranges in nm"),
        ("centroids.start", "kmeans", "expected one of kmeans++, random, found 'kmeans'"),
        ("data.normalisation", "none", "expected one of global, band, snv, l2, log"),
        ("train.precision", "float16", "expected one of float32, bfloat16"),
    ],
)
def test_values_that_do_not_go_together_are_refused_by_name(field, value, told):
    with pytest.raises(InputError, match=rf"^{re.escape(field)}: .*{re.escape(told)}"):
        check(changed(field, value))


def test_a_model_of_neither_path_is_refused():
    config = dgc4.get_config()
    config.model.update(linear=0.0, network=0.0)
    with pytest.raises(InputError, match=r"model.linear, model.network: expected one of them"):
        check(config)


@pytest.mark.parametrize(
    ("text", "words"),
    [("1..255", "from 1 to 255"), ("(0, 1]", "above 0 to 1"), ("[-1, 1)", "from -1 and below 1")],
)
def test_intervals_read_as_mathematics(text, words):
    assert interval(text).words() == words
