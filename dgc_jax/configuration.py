"""Configurations by name, and their fields as `launch.py` takes them.

    read("dgc16:tiny", ["--config.data.scenes=cubes/*.hdr"])    a preset
    read("runs/field", ["--config.seed=1"])                     that of a run
    read("configs/mine.py")                                     a file

A configuration file is a Python program of the user's own, and is run; its `get_config` returns a
`ConfigDict`, such as `as_config_dict` makes. `ConfigDict`s exist at the command line only: what
comes out of here is a `dgc_jax.config.Config`.
"""

import contextlib
import dataclasses
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_dict, config_flags

from dgc_jax import documents, presets
from dgc_jax.config import Config, configure
from dgc_jax.errors import InputError, chain
from dgc_jax.stage import Stage, type_of, unknown
from dgc_jax.stage import fields as all_fields


def read(path: str, fields: Sequence[str] = ()) -> Config:
    """The configuration of a name, with fields of it set.

    Args:
        path: a preset, the workdir of a run, or a file; presets and files perhaps with a variant,
            such as `configs/dgc4.py:tiny`.
        fields: settings such as `--config.train.steps=10`, typed as the fields are.

    Raises:
        InputError: if there is no such configuration, variant or field, or a value does not fit.
    """
    file = path.partition(":")[0]
    arguments, known = ["dgc", *fields], flags.FlagValues()
    try:
        if file.endswith(".py"):
            if not os.path.isfile(file):
                raise InputError(
                    "CONFIG",
                    expected="a configuration file such as configs/dgc4.py",
                    found=f"no {file!r}",
                )
            arguments.insert(1, f"--config={path}")
            asked = config_flags.DEFINE_config_file("config", flag_values=known, sys_argv=arguments)
            with _importing(os.getcwd(), os.path.dirname(os.path.dirname(os.path.abspath(file)))):
                rest = known(arguments)
        else:
            asked = config_flags.DEFINE_config_dict(
                "config", as_config_dict(_named(path)), flag_values=known, sys_argv=arguments
            )
            rest = known(arguments)
    except Exception as error:  # the file is a program, in which anything may fail
        raise flag_error(error, file, arguments) from error
    if len(rest) > 1:
        wanted = "fields such as --config.train.steps=10"
        raise InputError("", expected=wanted, found=repr(rest[1]))
    return configure(asked.value)


def of_workdir(workdir: str) -> Config:
    """The configuration that a run was started with.

    Raises:
        InputError: if the folder is not one of a run.
    """
    path = os.path.join(workdir, "config.json")
    try:
        found = documents.read(path, dict[str, Any], "a configuration", "correct or delete it")
    except FileNotFoundError as error:
        raise InputError(
            workdir,
            expected="the workdir of a run",
            found="no config.json in it",
            remedy="name the folder that the run was started with",
        ) from error
    try:
        return configure(found)
    except InputError as error:
        raise error.of(path) from error


def name(path: str) -> str:
    """A name for runs of a configuration: `dgc4-tiny` for `configs/dgc4.py:tiny`."""
    file, _, variant = path.partition(":")
    stem = os.path.basename(os.path.normpath(file))
    return stem.removesuffix(".py") + (variant and f"-{variant}")


def as_config_dict(config: Any) -> ml_collections.ConfigDict:
    """A configuration for `config_flags`, which sets fields by the types that they have.

    Args:
        config: whatever `dgc_jax.config.configure` takes.
    """
    return _as_config_dict(configure(config))


def _as_config_dict(stage: Stage) -> ml_collections.ConfigDict:
    found = ml_collections.ConfigDict()
    for each in dataclasses.fields(stage):  # type: ignore[arg-type]
        value, type_ = getattr(stage, each.name), type_of(type(stage), each.name)
        kinds = type_.kinds - {type(None)}
        if type_.stage is not None:
            found[each.name] = _as_config_dict(value)
        elif len(kinds) > 1:  # text or a tuple
            found[each.name] = config_dict.FieldReference(value, field_type=object)
        elif kinds != type_.kinds:  # perhaps None
            found[each.name] = config_dict.FieldReference(value, field_type=next(iter(kinds)))
        else:
            found[each.name] = value
    return found


def _named(path: str) -> Config:
    """The configuration of a preset or of a workdir."""
    if path.partition(":")[0] not in presets.NAMES and os.path.isdir(path):
        return of_workdir(path)
    try:
        return presets.preset(path)
    except InputError as error:
        if path.partition(":")[0] in presets.NAMES:
            raise
        near = presets.nearest(path)
        raise InputError(
            "CONFIG",
            expected=f"a preset ({', '.join(presets.NAMES)}), the workdir of a run or a "
            "configuration file such as configs/dgc4.py",
            found=f"no {path!r}",
            remedy="name one of them" if near is None else f"did you mean {near!r}?",
        ) from error


def flag_error(error: Exception, file: str, arguments: Sequence[str]) -> InputError:
    """What went wrong with flags and a configuration file.

    Args:
        error: from absl, from ml_collections, or from the file, which is a program.
        file: the configuration file.
        arguments: of the command.
    """
    # ml_collections wraps what the file raises in one more of its type, with a traceback as text.
    if own := [each for each in chain(error) if isinstance(each, InputError)]:
        return own[-1]
    ran = {os.path.abspath(frame.filename) for frame in traceback.extract_tb(error.__traceback__)}
    # That there is no `get_config` is known by the name alone: both libraries raise other types.
    broken = isinstance(error, SyntaxError | ImportError) or "get_config" in str(error)
    if broken or os.path.abspath(file) in ran:
        why = f"{type(error).__name__}: {(str(error).splitlines() or [''])[-1]}"
        return InputError(
            file, found=f"cannot be run as a configuration ({why})", remedy="correct it"
        )
    if isinstance(error, AttributeError | KeyError):  # a field that there is not
        known = all_fields(Config)
        flags = (each.partition("=")[0].lstrip("-") for each in arguments)
        names = (flag.removeprefix("config.") for flag in flags if flag.startswith("config."))
        if wrong := next((name for name in names if name not in known), None):
            return unknown(wrong)
    return InputError(
        "config=", found=error, remedy="`dgc train --fields` tells what fields may be"
    )


@contextlib.contextmanager
def _importing(*folders: str) -> Iterator[None]:
    """Lets a configuration import its like, `from configs import default`, as `launch.py` does."""
    before = list(sys.path)
    sys.path[:0] = folders
    try:
        yield
    finally:
        sys.path[:] = before
