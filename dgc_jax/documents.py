"""JSON files that others may have written or changed, read as what they are expected to hold.

What is expected is a type: a `TypedDict` or `NamedTuple` for an object, a list or dictionary of
something, a union, a plain value, or `Any`. Whatever else a file holds (it is too large or too
deep, is no JSON, or a field is missing or of another type) is told in one sentence with the file
and the field. Fields that nothing is expected of are let through.
"""

import json
import os
import types
import typing
from typing import Any, NoReturn

from dgc_jax.errors import InputError, reason

LARGEST = 2**26
"""Bytes that a file may have; those of dgc_jax have less than a hundredth."""

DEEPEST = 32
"""Lists and dictionaries in one another, at most."""

_WORDS = {
    dict: "a JSON object", list: "a list", str: "text", bool: "true or false",
    int: "a whole number", float: "a number", types.NoneType: "null",
}  # fmt: skip


class _Misfit(ValueError):
    """What does not fit, to follow the name of the file."""


def read(path: str | os.PathLike[str], expected: Any, what: str, remedy: str) -> Any:
    """Reads a JSON file.

    Args:
        path: of the file.
        expected: the type of its content.
        what: it is expected to be, in words.
        remedy: what to do if it is something else, to end the sentence with.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it cannot be read, or is something else.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(str(error)) from error
    except OSError as error:
        raise InputError(
            os.fspath(path),
            expected=what,
            found=f"something that cannot be read ({reason(error)})",
            remedy=remedy,
        ) from error
    return parse(content, expected, os.fspath(path), what, remedy)


def required(path: str | os.PathLike[str], expected: Any, what: str, remedy: str) -> Any:
    """As `read`, of a file that must be there.

    Raises:
        InputError: there is no such file, it cannot be read, or is something else.
    """
    try:
        return read(path, expected, what, remedy)
    except FileNotFoundError as error:
        raise InputError(
            os.fspath(path), expected=what, found="no such file", remedy=remedy
        ) from error


def parse(content: bytes, expected: Any, path: str, what: str, remedy: str) -> Any:
    """The value of JSON text, if it is of a type; arguments as for `read`.

    Args:
        content: UTF-8.
        expected: the type.
        path: where it stands, to begin the sentence with.
        what: it is expected to be.
        remedy: to end the sentence with.

    Raises:
        InputError: it is something else.
    """
    try:
        if len(content) > LARGEST:
            raise _Misfit(f"more than {LARGEST >> 20} MiB")
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:  # also text that is not UTF-8
            raise _Misfit(f"no JSON: {reason(error)}") from error
        _check_depth(value)
        _check(value, expected, "")
    except _Misfit as error:
        raise InputError(
            path, expected=what, found=f"something else ({error})", remedy=remedy
        ) from error
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise _Misfit(f"lists and objects more than {DEEPEST} deep")


def _check(value: Any, expected: Any, field: str) -> None:
    """Sees that a value is of a type."""
    if expected is Any:
        return
    origin, inner = typing.get_origin(expected), typing.get_args(expected)
    if origin in (typing.Union, types.UnionType):
        of = [one for one in inner if type(value) in _kinds(one)]
        if not of:
            _refuse(value, " or ".join(_WORDS[_kinds(one)[0]] for one in inner), field)
        _check(value, of[0], field)
    elif type(value) not in _kinds(expected):
        _refuse(value, _WORDS[_kinds(expected)[0]], field)
    elif _is_record(expected):
        hints = typing.get_type_hints(expected)
        for name, hint in hints.items():
            if name in value:
                _check(value[name], hint, f"{field}.{name}")
            elif name in getattr(expected, "__required_keys__", hints):
                raise _Misfit(f"no field {f'{field}.{name}'[1:]}")
    elif origin is list:
        for index, each in enumerate(value):
            _check(each, inner[0], f"{field}[{index}]")
    elif origin is dict:
        for name, each in value.items():
            _check(each, inner[1], f"{field}.{name}")
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise _Misfit(f"{_named(field)} is beyond 2^63")


def _is_record(expected: Any) -> bool:
    return typing.is_typeddict(expected) or hasattr(expected, "_fields")


def _kinds(expected: Any) -> tuple[type, ...]:
    """The Python types that a value of a type may have, as JSON is read."""
    kind = dict if _is_record(expected) else typing.get_origin(expected) or expected
    return (float, int) if kind is float else (kind,)


def _refuse(value: Any, wanted: str, field: str) -> NoReturn:
    found = _WORDS[type(value)]
    if not isinstance(value, dict | list):
        text = json.dumps(value)
        found = text if len(text) <= 60 else f"{text[:57]}..."
    raise _Misfit(f"{_named(field)} is {found}, not {wanted}")


def _named(field: str) -> str:
    return field.lstrip(".") or "it"
