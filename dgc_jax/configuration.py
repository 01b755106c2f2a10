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
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_dict, config_flags

from dgc_jax import documents, presets
from dgc_jax.config import Config, configure
from dgc_jax.errors import InputError, flag_error
from dgc_jax.stage import Stage, type_of


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
                    "CONFIG: expected a configuration file such as configs/dgc4.py, found no "
                    f"{file!r}."
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
        raise flag_error(error, file) from error
    if len(rest) > 1:
        raise InputError(f"expected fields such as --config.train.steps=10, found {rest[1]!r}.")
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
            f"{workdir}: expected the workdir of a run, found no config.json in it; name the "
            "folder that the run was started with."
        ) from error
    try:
        return configure(found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


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
        found = re.search(r"; (did you mean .*)\?$", str(error))
        near = f"; {found[1]}?" if found else "; name one of them."
        raise InputError(
            f"CONFIG: expected a preset ({', '.join(presets.NAMES)}), the workdir of a run or a "
            f"configuration file such as configs/dgc4.py, found no {path!r}{near}"
        ) from error


@contextlib.contextmanager
def _importing(*folders: str) -> Iterator[None]:
    """Lets a configuration import its like, `from configs import default`, as `launch.py` does."""
    before = list(sys.path)
    sys.path[:0] = folders
    try:
        yield
    finally:
        sys.path[:] = before
