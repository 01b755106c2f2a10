"""The one exception that means "the input is at fault, not the program"."""


class InputError(ValueError):
    """Bad input, told in one sentence for the person who gave it.

    The sentence names the file or field, what was expected, what was found and what to do.
    `launch.py` and `dgc` print it without a traceback and exit with status 2.
    """
