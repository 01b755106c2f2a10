"""The three exceptions that are told to a person in one sentence, without a traceback."""

import os
import re
import traceback

from dgc_jax import names


class InputError(ValueError):
    """Bad input, told in one sentence for the person who gave it.

    The sentence names the file or field, what was expected, what was found and what to do.
    `launch.py` and `dgc` print it and exit with status 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(names.text(message))


class DivergedError(ArithmeticError):
    """Training met a loss that is not finite; `launch.py` prints why and exits with status 1."""


class LostError(ConnectionError):
    """Another process of the same job has stopped; told by commands, which exit with status 1."""


def flag_error(error: Exception, file: str) -> InputError:
    """What went wrong with flags and a configuration file, in one sentence.

    Args:
        error: from absl, from ml_collections, or from the file, which is a program.
        file: the configuration file.
    """
    told = re.findall(r"InputError: (.*)", str(error))  # the file's own, in a traceback as text
    if isinstance(error, InputError) or told:
        return InputError(told[0] if told else str(error))
    ran = {os.path.abspath(frame.filename) for frame in traceback.extract_tb(error.__traceback__)}
    broken = isinstance(error, SyntaxError | ImportError) or "get_config" in str(error)
    if broken or os.path.abspath(file) in ran:
        why = f"{type(error).__name__}: {(str(error).splitlines() or [''])[-1]}"
        return InputError(f"{file} cannot be run as a configuration ({why}); correct it.")
    if isinstance(error, AttributeError | KeyError):  # a field that there is not
        wrong = re.findall(r"\w+", str(error))[0]
        near = re.search(r'Did you mean "(\w+)" instead of "(\w+)"', str(error))
        hint = f"{near[2]!r}; did you mean {near[1]!r}?" if near else f"{wrong!r}."
        return InputError(f"--config: there is no field {hint}")
    return InputError(f"{error}; see configs/default.py.")
