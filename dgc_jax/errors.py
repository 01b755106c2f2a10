"""The three exceptions that are told to a person in one sentence, without a traceback."""

import re


class InputError(ValueError):
    """Bad input, told in one sentence for the person who gave it.

    The sentence names the file or field, what was expected, what was found and what to do.
    `launch.py` and `dgc` print it and exit with status 2.
    """


class DivergedError(ArithmeticError):
    """Training met a loss that is not finite; `launch.py` prints why and exits with status 1."""


class LostError(ConnectionError):
    """Another process of the same job has stopped; told by commands, which exit with status 1."""


def flag_error(error: Exception) -> InputError:
    """What absl and ml_collections say of a wrong flag, in one sentence."""
    if isinstance(error, AttributeError | KeyError):  # a field that there is not
        wrong = re.findall(r"\w+", str(error))[0]
        near = re.search(r'Did you mean "(\w+)" instead of "(\w+)"', str(error))
        hint = f"{near[2]!r}; did you mean {near[1]!r}?" if near else f"{wrong!r}."
        return InputError(f"--config: there is no field {hint}")
    # The configuration's own InputError comes inside a traceback.
    told = re.findall(r"InputError: (.*)", str(error))
    return InputError(told[0] if told else f"{error}; see configs/default.py.")
