"""The three exceptions that are told to a person in one sentence, without a traceback."""


class InputError(ValueError):
    """Bad input, told in one sentence for the person who gave it.

    The sentence names the file or field, what was expected, what was found and what to do.
    `launch.py` and `dgc` print it and exit with status 2.
    """


class DivergedError(ArithmeticError):
    """Training met a loss that is not finite; `launch.py` prints why and exits with status 1."""


class LostError(ConnectionError):
    """Another process of the same job has stopped; told by commands, which exit with status 1."""
