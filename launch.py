"""Trains Deep Global Clustering: `python launch.py --config=configs/dgc4.py [--workdir=DIR]`.

Any field of the configuration can be set: `--config.data.scenes='cubes/*.hdr'`. Without
`--workdir` the run goes to runs/<name of the configuration>. `dgc train` does the same without a
clone. On a cluster (docs/cluster.md) add
`--distributed`, or `--coordinator=HOST:PORT --num_processes=N --process_id=I`. Exit status: 0 done,
1 training diverged, the disk is full or another process stopped, 2 bad input or usage; with
DGC_DEBUG=1 a refusal shows where it comes from.
"""

import os
import sys

from absl import flags
from ml_collections import config_flags

from dgc_jax import compiled, configuration, names
from dgc_jax.commands import train as training
from dgc_jax.errors import InputError, end

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file.", short_name="c")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_HOST = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0.")
_NUMBER = flags.DEFINE_integer("num_processes", None, "How many processes there are.")
_INDEX = flags.DEFINE_integer("process_id", None, "Number of this process, from 0.")
_DETECT = flags.DEFINE_bool("distributed", False, "Let the cluster tell these three.")

# What the arguments of `train` and `dgc_jax.processes.joined` are called here.
_OPTIONS = {
    "config": "--config",
    "workdir": "--workdir",
    "coordinator": "--coordinator",
    "number": "--num_processes",
    "index": "--process_id",
    "detect": "--distributed",
}


def main(arguments: list[str]) -> int:
    """Runs one experiment; returns the exit status."""
    if {"--help", "-h"} & set(arguments):
        print(__doc__)
        return 0
    names.show_all()
    try:
        name = _parse(arguments)
        compiled.keep()
        training.train(
            _CONFIG.value,
            _WORKDIR.value or os.path.join("runs", name),
            ["python", *arguments],
            {
                "coordinator": _HOST.value,
                "number": _NUMBER.value,
                "index": _INDEX.value,
                "detect": _DETECT.value,
            },
        )
    except Exception as error:
        status = end("launch.py", error, _OPTIONS)
        if status is None:
            raise
        return status
    return 0


def _parse(arguments: list[str]) -> str:
    """Parses the flags; returns a name for the run, such as `dgc4-tiny`."""
    given = _named(arguments)
    path = (given or "").partition(":")[0]
    if given is not None and not (path.endswith(".py") and os.path.isfile(path)):
        raise InputError("config=", expected="a configuration file", found=f"no {path!r}")
    try:
        rest = flags.FLAGS(arguments)
    except Exception as error:  # the file is a program, in which anything may fail
        raise configuration.flag_error(error, path, arguments) from error
    if given is None or len(rest) > 1:
        found = rest[1:] or "none"
        raise InputError("", expected="--config=configs/dgc4.py", found=found)
    return configuration.name(given)


def _named(arguments: list[str]) -> str | None:
    """The last configuration among the arguments; its name may be an argument of its own."""
    found = None
    for word, after in zip(arguments, [*arguments[1:], ""], strict=True):
        flag, equals, value = word.partition("=")
        if flag in ("--config", "-config", "--c", "-c"):
            found = value if equals else after
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv))
