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
    given = [a.split("=", 1)[1] for a in arguments if re.match(r"--?c(onfig)?=", a)]
    path, _, variant = given[-1].partition(":") if given else ("", "", "")
    if given and not os.path.isfile(path):
        raise InputError(f"--config: expected a configuration file, found no {path!r}.")
    try:
        rest = flags.FLAGS(arguments)
    except flags.Error as error:
        raise InputError(f"{error}; see configs/default.py.") from error
    except AttributeError as error:  # a field that there is not; its text suggests another
        found = re.findall(r'"(\w+)"', str(error))
        nearest = f"; did you mean {found[0]!r}?" if found else "."
        raise InputError(f"--config: no such field as {error.args[0]}{nearest}") from error
    if not given or len(rest) > 1:
        raise InputError(
            f"expected --config=configs/dgc4.py and flags, found {rest[1:] or 'none'}; "
            "see the README."
        )
    stem = os.path.splitext(os.path.basename(path))[0]
    return f"{stem}-{variant}" if variant else stem


if __name__ == "__main__":
    sys.exit(main(sys.argv))
