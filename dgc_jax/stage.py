"""How the stages of a configuration (`dgc_jax.config`) check what they are made of.

A stage is a frozen dataclass whose fields carry, beside their default, what they may be: an
interval of numbers, a list of words, or their type alone. Whatever a stage is made from (a call, a
JSON file, a command line), it holds plain Python values, tuples for lists, or it is refused.
"""

import dataclasses
import difflib
import functools
import math
import os
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self, cast

import numpy as np

from dgc_jax.errors import InputError
from dgc_jax.interval import Interval, interval


def field(
    default: Any,
    may_be: str | Sequence[str] = "",
    about: str = "",
    *,
    unit: str = "",
    source: str = "",
    length: int | None = None,
) -> Any:
    """A field of a stage.

    Args:
        default: its value where nothing else is said.
        may_be: an interval (`dgc_jax.interval`; for each number of a tuple), the words to choose
            from, or "" where the type says enough.
        about: what it is.
        unit: what it is counted in, if it has a unit.
        source: where the default comes from.
        length: of a tuple of numbers, if it is fixed.
    """
    about_it = {"may_be": may_be, "about": about, "unit": unit, "source": source, "length": length}
    return dataclasses.field(default=default, metadata=about_it)


class Stage:
    """What the stages of a configuration have in common.

    Raises:
        InputError: on making one, if a field is unknown or a value is not one that it may be.
    """

    path: ClassVar[str] = ""
    """Name of the stage in the whole, such as `data.leaves`."""

    def __new__(cls, **values: Any) -> Self:
        """Refuses unknown fields, before the dataclass would in other words."""
        for name in values:
            if name not in _types(cls):
                raise unknown(_joined(cls, name))
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):  # type: ignore[arg-type]
            type_ = _types(type(self))[each.name]
            name, value = _joined(type(self), each.name), getattr(self, each.name)
            if type_.stage is not None:
                value = _inner(name, type_.stage, value)
            else:
                value = _fitted(name, each.metadata, type_, value)
            object.__setattr__(self, each.name, value)


def fields(stage: type[Stage]) -> dict[str, "dataclasses.Field[Any]"]:
    """Every field of a stage and of the stages in it, by its whole name such as `train.steps`."""
    found: dict[str, dataclasses.Field[Any]] = {}
    for each in dataclasses.fields(stage):  # type: ignore[arg-type]
        inner = _types(stage)[each.name].stage
        if inner is not None:
            found |= fields(inner)
        else:
            found[_joined(stage, each.name)] = each
    return found


def bound(stage: type[Stage], name: str) -> Interval:
    """The interval of a field of a stage."""
    return interval(fields(stage)[_joined(stage, name)].metadata["may_be"])


def unknown(name: str) -> InputError:
    """That a configuration has no field of this whole name, with the nearest one that it has."""
    from dgc_jax.config import Config  # which is made of stages

    names = list(fields(Config))
    last = {each: each.rpartition(".")[2] for each in names}
    wanted = name.rpartition(".")[2]
    same = [each for each in names if last[each] == wanted]  # train.learning_rate: optim's
    stages = {each.rpartition(".")[0] for each in names} - {""}
    near = same or difflib.get_close_matches(name, [*names, *sorted(stages)], 1)
    if not near and (close := difflib.get_close_matches(wanted, last.values(), 1)):
        near = [each for each in names if last[each] == close[0]]
    remedy = f"did you mean {near[0]!r}?" if near else "`dgc train --fields` lists all"
    return InputError(name, found="there is no such field", remedy=remedy)


def _joined(stage: type[Stage], name: str) -> str:
    return f"{stage.path}.{name}" if stage.path else name


class Type(NamedTuple):
    """What the type of a field says.

    Attributes:
        stage: the stage that it is, if it is one.
        kinds: the types of which a value may be one: tuple and None's of `tuple[int, ...] | None`.
        of: the type of what a tuple holds, if it may be one.
    """

    stage: type[Stage] | None
    kinds: frozenset[type]
    of: Any


def type_of(stage: type[Stage], name: str) -> Type:
    """What the type of a stage's field says."""
    return _types(stage)[name]


def _types(stage: type[Stage]) -> dict[str, Type]:
    """Of each field what its type says."""
    return _resolved(cast(Any, stage))


@functools.cache
def _resolved(stage: type[Stage]) -> dict[str, Type]:
    hints = typing.get_type_hints(stage)
    found = {}
    for each in dataclasses.fields(stage):  # type: ignore[arg-type]
        hint = hints[each.name]
        union = typing.get_origin(hint) in (typing.Union, types.UnionType)
        options = typing.get_args(hint) if union else (hint,)
        inner = isinstance(hint, type) and issubclass(hint, Stage)
        found[each.name] = Type(
            hint if inner else None,
            frozenset(typing.get_origin(option) or option for option in options),
            next((typing.get_args(o)[0] for o in options if typing.get_origin(o) is tuple), None),
        )
    return found


def _inner(name: str, stage: type[Stage], value: Any) -> Stage:
    """A stage in another, which may be given as a mapping of its fields."""
    if isinstance(value, stage):
        return value
    if isinstance(value, Mapping):
        return stage(**value)
    raise InputError(
        name, expected=f"a {stage.__name__} or a mapping of its fields", found=repr(value)
    )


def _plain(value: Any) -> Any:
    """A value as plain Python: no NumPy, no paths, tuples for lists."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def _fitted(name: str, about: Mapping[str, Any], type_: Type, value: Any) -> Any:
    """A value as the field holds it."""
    value, may_be, kinds = _plain(value), about["may_be"], type_.kinds
    if value is None and types.NoneType in kinds:
        return None
    if may_be and not isinstance(may_be, str):
        if value not in may_be:
            raise InputError(name, expected=f"one of {', '.join(may_be)}", found=repr(value))
        return value
    if may_be == RANGES:
        return _ranges(name, value)
    if may_be and tuple in kinds:
        return _numbers(name, about, value)
    if may_be:
        return _number(name, may_be, value, value, about["about"])
    if type(value) not in kinds:
        words = {str: "text", tuple: "a tuple", types.NoneType: "None"}
        told = " or ".join(words[kind] for kind in words if kind in kinds)
        raise InputError(name, expected=told, found=repr(value))
    if isinstance(value, tuple):
        wanted = (int, float) if type_.of is float else (type_.of,)
        if wrong := [each for each in value if type(each) not in wanted]:
            word = "numbers" if type_.of is float else "text"
            raise InputError(name, expected=f"a tuple of {word}", found=f"{wrong[0]!r} in it")
        return tuple(map(type_.of, value))
    return value


RANGES = "ranges"
"""What a field may be that holds pairs of wavelengths."""


def _ranges(name: str, ranges: Any) -> tuple[tuple[float, float], ...]:
    """Refuses what are no pairs of wavelengths, lower before upper."""
    pairs = ranges if isinstance(ranges, tuple) else (ranges,)
    for pair in pairs:
        fine = isinstance(pair, tuple) and len(pair) == 2
        if (
            not fine
            or not all(isinstance(end, int | float) for end in pair)
            or not (0 <= pair[0] <= pair[1] < math.inf)
        ):
            raise InputError(
                name, expected="ranges in nm such as ((450, 900),)", found=repr(ranges)
            )
    return pairs


def _numbers(name: str, about: Mapping[str, Any], value: Any) -> tuple[float, ...]:
    length = about["length"]
    if not isinstance(value, tuple) or (length is not None and len(value) != length):
        raise InputError(name, expected=f"{length or 'a tuple of'} numbers", found=repr(value))
    return tuple(_number(name, about["may_be"], each, value) for each in value)


def _number(name: str, may_be: str, number: Any, found: Any, about: str = "") -> float:
    """Refuses what is no number of a field's type and interval; `found` is the whole value."""
    bounds = interval(may_be)
    if found is None:
        kind = "a whole number" if bounds.whole else "a number"
        raise InputError(name, expected=f"{about}, {kind} {bounds.words()}", found="none")
    plain = isinstance(number, int | float) and not isinstance(number, bool)
    if not plain or not bounds.holds(number):
        fine = plain and (not bounds.whole or number % 1 == 0)
        kind = "a whole number" if bounds.whole and not fine else "a number"
        raise InputError(name, expected=f"{kind} {bounds.words()}", found=repr(found))
    return int(number) if bounds.whole else float(number)
