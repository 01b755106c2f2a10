"""Trains Deep Global Clustering: `python launch.py --config=configs/dgc4.py [--workdir=DIR]`.

Any field of the configuration can be set: `--config.data.scenes='cubes/*.hdr'`. Without
`--workdir` the run goes to runs/<name of the configuration>. Exit status: 0 done, 1 training
diverged, 2 bad input or usage.
"""

import os
import re
import sys

from absl import flags
from ml_collections import config_flags

from dgc_jax.errors import DivergedError, InputError

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file.", short_name="c")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")


def main(arguments: list[str]) -> int:
    """Runs one experiment; returns the exit status."""
    if {"--help", "-h"} & set(arguments):
        print(__doc__)
        return 0
    try:
        name = _parse(arguments)
        from dgc_jax.experiment import run  # after the flags: a typing error is told at once

        run(_CONFIG.value, _WORKDIR.value or os.path.join("runs", name))
    except (InputError, DivergedError) as error:
        print(f"launch.py: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


def _parse(arguments: list[str]) -> str:
    """Parses the flags; returns a name for the run, such as `dgc4-tiny`."""
    joined = re.sub(r"(^|\n)(--?c(?:onfig)?)\n", r"\1\2=", "\n".join(arguments))
    given = re.findall(r"^--?c(?:onfig)?=(.*)$", joined, re.MULTILINE)
    path, _, variant = given[-1].partition(":") if given else ("", "", "")
    if given and not (path.endswith(".py") and os.path.isfile(path)):
        raise InputError(f"--config: expected a configuration file, found no {path!r}.")
    try:
        rest = flags.FLAGS(arguments)
    except flags.Error as error:  # the configuration's own InputError comes inside a traceback
        told = re.findall(r"InputError: (.*)", str(error)) or [f"{error}; see configs/default.py."]
        raise InputError(told[0]) from error
    except (AttributeError, KeyError) as error:  # a field that there is not
        wrong = re.findall(r"\w+", str(error))[0]
        near = re.search(r'Did you mean "(\w+)" instead of "(\w+)"', str(error))
        hint = f"{near[2]!r}; did you mean {near[1]!r}?" if near else f"{wrong!r}."
        raise InputError(f"--config: there is no field {hint}") from error
    if not given or len(rest) > 1:
        raise InputError(f"expected --config=configs/dgc4.py, found {rest[1:] or 'none'}.")
    return os.path.splitext(os.path.basename(path))[0] + (variant and f"-{variant}")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
