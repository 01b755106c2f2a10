"""The commands `dgc train` and `dgc resume`."""

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import click

from dgc_jax import presets, stage
from dgc_jax.config import SIMULATED, Config, configure
from dgc_jax.errors import InputError


def _complete_presets(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    return [name for name in presets.NAMES if name.startswith(begun)]


def _complete_fields(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    return [f"{name}=" for name in stage.fields(Config) if name.startswith(begun)]


def _show_fields(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        for name, field in stage.fields(Config).items():
            about = field.metadata
            may_be = about["may_be"]
            words = may_be if isinstance(may_be, str) else " or ".join(may_be)
            notes = "; ".join(filter(None, (about["about"], about["unit"], about["source"])))
            click.echo(f"{name:<25} {field.default!r:<18} {words or '-':<16} {notes}")
        context.exit()


def joining_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of many processes, as arguments of `dgc_jax.processes.joined`."""
    options = [
        click.option(
            "--coordinator", help="HOST:PORT of process 0, if many processes do this together."
        ),
        click.option("--num-processes", "number", type=int, help="How many they are."),
        click.option("--process-id", "index", type=int, help="Number of this one, from 0."),
        click.option(
            "--distributed",
            "detect",
            is_flag=True,
            help="Let SLURM, MPI, Kubernetes or TPU tell these.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("scenes", nargs=-1, type=click.Path())
@click.option("--clusters", type=int, help="How many to end with.  [default: the preset's, 4]")
@click.option(
    "--out", "workdir", type=click.Path(), help="Folder of the run.  [default: runs/<scenes>]"
)
@click.option(
    "--preset",
    default="dgc4",
    show_default=True,
    shell_complete=_complete_presets,
    help=f"{', '.join(presets.NAMES)}, NAME:tiny, the workdir of a run, or a configuration file.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    shell_complete=_complete_fields,
    help="Set a field, such as train.steps=300; may be repeated.",
)
@click.option("--seed", type=int, help="Of everything that is random.  [default: 0]")
@click.option(
    "--fields", is_flag=True, is_eager=True, expose_value=False, callback=_show_fields,
    help="List all fields: default, what it may be, what it is; and exit.",
)  # fmt: skip
@joining_options
def train(
    scenes: tuple[str, ...],
    clusters: int | None,
    workdir: str | None,
    preset: str,
    settings: tuple[str, ...],
    seed: int | None,
    coordinator: str | None,
    number: int | None,
    index: int | None,
    detect: bool,
    **reading: str | None,
) -> None:
    """Train on SCENES (files, folders, globs), without labels, and paint their maps.

    Without SCENES it trains on simulated leaves. The same command again, or `dgc resume`, goes on
    with a run that was interrupted.
    """
    from dgc_jax import configuration  # after the options: typing errors show at once
    from dgc_jax.commands import train as training

    config = configuration.read(preset, as_flags(settings))
    given: dict[str, Any] = {f"data.{name}": v for name, v in reading.items() if v is not None}
    if scenes:
        words = tuple(_path(word) for word in scenes)
        given["data.scenes"] = words[0] if len(words) == 1 else words
    if seed is not None:
        given["seed"] = seed
    if clusters is not None:
        given["clusters.final"] = clusters
        if config.clusters.train == config.clusters.final:  # trained directly, as in the paper
            given["clusters.train"] = clusters
    for name in (setting.partition("=")[0] for setting in settings):
        if name in given:
            raise InputError(
                f"--set {name}",
                expected="it once",
                found="it given by another option, too",
                remedy="leave one out",
            )
    config = configure(config, given)
    folder = workdir or os.path.join("runs", _run_name(scenes) or configuration.name(preset))
    if config.data.scenes == SIMULATED and not scenes:
        click.echo("note: no SCENES were given: the simulated leaves are trained on.", err=True)
    if workdir is None:
        click.echo(f"Workdir: {folder}")
    command = ["dgc", *click.get_current_context().find_root().obj]
    training.train(config, folder, command, _joining(coordinator, number, index, detect))


@click.command()
@click.argument("workdir", type=click.Path())
@joining_options
def resume(
    workdir: str,
    coordinator: str | None,
    number: int | None,
    index: int | None,
    detect: bool,
) -> None:
    """Go on with the run of WORKDIR that was interrupted, as its command would.

    It ends with the same bits as a run that was not interrupted, on a CPU.
    """
    from dgc_jax.commands import train as training  # only here: absl takes a while to import

    training.resume(workdir, _joining(coordinator, number, index, detect))


def _joining(
    coordinator: str | None, number: int | None, index: int | None, detect: bool
) -> dict[str, Any]:
    """The options of many processes as `dgc_jax.processes.joined` takes them."""
    return {"coordinator": coordinator, "number": number, "index": index, "detect": detect}


def as_flags(settings: Sequence[str]) -> list[str]:
    """`train.steps=10` as `--config.train.steps=10`.

    Raises:
        InputError: if one is no such setting, or there is no such field.
    """
    known = stage.fields(Config)
    for setting in settings:
        name, equals, _ = setting.partition("=")
        if not equals:
            raise InputError(
                f"--set {setting}", expected="FIELD=VALUE such as train.steps=300", found="no '='"
            )
        if name not in known:
            raise stage.unknown(name)
    return [f"--config.{setting}" for setting in settings]


def _path(word: str) -> str:
    """A scene as it was meant: a folder called `leaves` is not the simulation."""
    return os.path.join(os.curdir, word) if word == SIMULATED and os.path.exists(word) else word


def _run_name(scenes: Sequence[str]) -> str:
    """A name for the run of some scenes: that of the folder they lie in; "" for the simulation."""
    if not scenes or (len(scenes) == 1 and _path(scenes[0]) == SIMULATED):
        return ""
    first = scenes[0]
    plain = re.split(r"[*?[]", first)[0]  # of a glob what comes before its wildcards
    folder = first if os.path.isdir(first) else os.path.dirname(plain)
    return os.path.basename(os.path.abspath(folder))
