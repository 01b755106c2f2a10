"""The `dgc` command: look at scenes, prepare them, train, and apply trained models.

Exit status: 0 done, 1 some scenes or another process failed, training diverged or the disk is full,
2 bad input or usage.
"""

import json
import logging
import os
from collections.abc import Callable
from typing import Any

import click
import rich.table
import rich.text

from dgc_jax import cli_train, cli_view, compiled, terminal
from dgc_jax.data.formats.detect import scene_name
from dgc_jax.errors import end, on_a_device
from dgc_jax.files import replacing
from dgc_jax.names import show_all
from dgc_jax.parameters import LISTED, NUMBERS, TABLE

_WITHOUT_JAX = ("inspect", "prepare")


class _Group(click.Group):
    """Commands whose bad input is told in one line, without a traceback."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keeps the arguments, for commands that note how they were called."""
        ctx.obj = list(args)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Keeps compiled programs, for commands that compile."""
        found = super().resolve_command(ctx, args)
        if found[0] not in _WITHOUT_JAX and not ctx.resilient_parsing:
            compiled.keep()
        return found

    def invoke(self, ctx: click.Context) -> Any:
        try:
            show_all()
            logging.getLogger("dgc_jax").addFilter(terminal.speak)
            with on_a_device():
                return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, click.ClickException):
            raise
        except Exception as error:
            running = self.commands.get(ctx.invoked_subcommand or "")
            status = end("dgc", error, terminal.options(running))
            if status is None:
                raise
            ctx.exit(status)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dgc-jax")
@click.option("--debug", is_flag=True, help="Show where a refusal comes from; also DGC_DEBUG=1.")
def main(debug: bool) -> None:
    """Label-free segmentation of hyperspectral images by Deep Global Clustering."""
    if debug:
        os.environ["DGC_DEBUG"] = "1"  # also of the processes that it starts


def _reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say how to read a scene, as keywords of `open_cube`."""
    options = [
        click.option("--variable", help="Array to read, if the file holds several."),
        click.option("--axes", help="Order of its axes: r row, c column, b band; e.g. brc."),
        click.option("--wavelengths", help="Text file of band centres (nm), if unknown."),
        click.option("--mask", help="PNG or NPY, nonzero = usable; {stem} is the scene's name."),
        click.option("--dark", help="Dark reference; {stem} is the scene's name."),
        click.option("--white", help="White reference; {stem} is the scene's name; '' for none."),
        click.option(
            "--scale",
            type=click.FloatRange(min=0, min_open=True),
            help="What to divide numbers by to get reflectance, e.g. 10000.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _scene_options(command: Callable[..., None]) -> Callable[..., None]:
    """The same, and which bands to use where no model says it."""
    bad = click.option("--keep-bad-bands", is_flag=True, help="Use bands that the file calls bad.")
    return _reading_options(bad(command))


main.add_command(_reading_options(cli_train.train))  # type: ignore[arg-type]
main.add_command(cli_train.resume)
main.add_command(cli_view.merge)
main.add_command(_reading_options(cli_view.name))  # type: ignore[arg-type]


def _view_option(command: Callable[..., None]) -> Callable[..., None]:
    """Which clusters to show as one."""
    option = click.option("--view", "view_path", help="View of the clusters, from dgc merge.")
    return option(command)


@main.command()
@click.argument("scenes", nargs=-1, required=True)
@click.option("--png", type=click.Path(), help="Also write a picture of one scene to this file.")
@click.option("--show", is_flag=True, help="Also show a picture of one scene in the terminal.")
@click.option("--verify", is_flag=True, help="Read all of a prepared scene, by its checksums.")
@_scene_options
def inspect(
    scenes: tuple[str, ...], png: str | None, show: bool, verify: bool, **options: Any
) -> None:
    """Print what is understood of SCENES, what looks wrong, and the range of their values.

    Of one file everything; of folders, globs and several files a table, a line a scene.
    """
    from dgc_jax.commands import inspect as command
    from dgc_jax.data.reading import Reading

    command.inspect(scenes, png=png, show=show, verify=verify, how=Reading(**options))


@main.command("prepare")
@click.argument("scenes", nargs=-1, required=True)
@click.option("--out", required=True, help="Folder to write <scene>.zarr into.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Scenes prepared at once, each by a process of its own.",
)
@_scene_options
def prepare_scenes(scenes: tuple[str, ...], out: str, workers: int, **options: Any) -> None:
    """Rewrite SCENES (files, folders, globs) as sharded zarr3, from which crops are read fastest.

    Safe to interrupt and run again: finished scenes are skipped.
    """
    from dgc_jax.commands.prepare import prepare_scenes as prepare
    from dgc_jax.data.reading import Reading

    prepare(scenes, out, workers, Reading(**options))


@main.command()
@click.argument("workdir")
@click.argument("scenes", nargs=-1, required=True)
@click.option("--out", required=True, help="Folder for maps, spectra and areas.")
@click.option(
    "--format",
    "formats",
    type=LISTED,
    default="envi,png",
    show_default=True,
    help="Some of envi, png, npy, zarr, geotiff, geojson, with commas between.",
)
@click.option(
    "--sieve",
    type=click.IntRange(min=0),
    default=0,
    help="Regions of fewer pixels than this take the label of their neighbours.",
)
@click.option(
    "--confidence",
    is_flag=True,
    help="Also write how sure each label is, and which pixels are unlike any cluster.",
)
@_view_option
@cli_train.joining_options
@_reading_options
def segment(
    workdir: str,
    scenes: tuple[str, ...],
    out: str,
    formats: list[str],
    sieve: int,
    confidence: bool,
    view_path: str | None,
    coordinator: str | None,
    number: int | None,
    index: int | None,
    detect: bool,
    **reading: str | None,
) -> None:
    """Segment SCENES (files, folders, globs) with the model of the finished run WORKDIR.

    Scenes are read as those of the training were, unless options say otherwise. Safe to interrupt
    and run again: finished scenes are skipped.
    """
    # Only here: JAX takes a second to import.
    from dgc_jax import processes
    from dgc_jax.commands.segment import segment as segment_scenes

    with processes.joined(coordinator, number, index, detect=detect):
        console = terminal.Console()
        wrong = segment_scenes(
            workdir,
            scenes,
            out,
            formats=formats,
            view_path=view_path,
            sieve=sieve,
            confidence=confidence,
            reading=reading,
            console=console,
        )
        first = processes.first()
    failed = {path: why for path, why in wrong.items() if why}
    if first and len(failed) < len(wrong):
        console.print(f"Maps, spectra and areas: {out}", markup=False, soft_wrap=True)
    if failed:
        title = f"{len(failed)} of {len(wrong)} scenes failed"
        table = rich.table.Table("scene", "what is wrong", title=title, title_justify="left")
        for path, why in failed.items():
            table.add_row(rich.text.Text(scene_name(path)), rich.text.Text(terminal.spoken(why)))
        if first:
            console.print(table)
        raise SystemExit(2 if len(failed) == len(wrong) else 1)


@main.command()
@click.argument("workdir")
@click.argument("scenes", nargs=-1)
@click.option("--labels", required=True, help="Label maps; {stem} is the scene's name.")
@click.option("--out", help="JSON file to write the scores to.")
@click.option("--classes", type=LISTED, help="Names of the classes 1, 2, ..., with commas between.")
@click.option("--background", type=NUMBERS, help="Label values that count as background: 1,2.")
@click.option("--unlabelled", type=int, help="Label value of unlabelled pixels.")
@click.option(
    "--table",
    type=TABLE,
    help="Class of each cluster: 1=1,2=1,3=2. By default the best one.",
)
@_view_option
@_reading_options
def evaluate(
    workdir: str,
    scenes: tuple[str, ...],
    labels: str,
    out: str | None,
    classes: list[str] | None,
    background: list[int] | None,
    unlabelled: int | None,
    table: dict[int, int] | None,
    view_path: str | None,
    **reading: str | None,
) -> None:
    """Score the finished run WORKDIR against label maps, on its own scenes or on SCENES."""
    # Only here: JAX takes a second to import.
    from dgc_jax.commands.evaluate import evaluate as score
    from dgc_jax.show.tables import print_scores

    console = terminal.Console()
    result = score(
        workdir,
        labels,
        scenes or None,
        classes=classes,
        background=background,
        unlabelled=unlabelled,
        table=table,
        view_path=view_path,
        reading=reading,
        console=console,
    )
    print_scores(result["scores"], console)
    if out is not None:
        with replacing(out) as temporary, open(temporary, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
        console.print(f"Scores: {out}", markup=False, soft_wrap=True)


@main.command("report")
@click.argument("workdir")
@click.argument("scenes", nargs=-1)
@click.option("--out", help="HTML file to write.  [default: WORKDIR/report.html]")
@click.option("--labels", help='Label maps; {stem} is the scene\'s name; "" for none.')
@_view_option
@_reading_options
def write_report(
    workdir: str,
    scenes: tuple[str, ...],
    out: str | None,
    labels: str | None,
    view_path: str | None,
    **reading: str | None,
) -> None:
    """Write the report of the finished run WORKDIR, on its own scenes or on SCENES.

    One file that opens in a browser without a network: maps, spectra, areas, scores, and a slider
    that merges clusters.
    """
    from dgc_jax.commands.report import report  # only here: JAX takes a second to import

    console = terminal.Console()
    path = report(
        workdir,
        scenes or None,
        out=out,
        labels=labels,
        view_path=view_path,
        reading=reading,
        console=console,
    )
    console.print(f"Report: {path}", markup=False, soft_wrap=True)


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("config")
@click.argument("fields", nargs=-1, type=click.UNPROCESSED, metavar="[--config.FIELD=VALUE]...")
@click.option(
    "--seeds", "number", type=int, required=True, help="How many: config.seed and the next ones."
)
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Set a field.")
@click.option("--workdir", help="Folder of the runs.  [default: runs/<name>-stability]")
@click.option("--at-once", type=int, default=1, show_default=True, help="Seeds trained at once.")
def stability(
    config: str,
    fields: tuple[str, ...],
    settings: tuple[str, ...],
    number: int,
    workdir: str | None,
    at_once: int,
) -> None:
    """Train several seeds of CONFIG and tell at how many clusters their maps agree.

    CONFIG is a preset (dgc4, dgc16:tiny), the workdir of a run or a configuration file.
    Safe to interrupt and run again: finished seeds are skipped.
    """
    from dgc_jax.commands.stability import compare_seeds  # only here: JAX takes a second to import

    fields += tuple(cli_train.as_flags(settings))
    compare_seeds(config, fields, number=number, workdir=workdir, at_once=at_once)


@main.command("export")
@click.argument("workdir")
@click.argument("out")
@_view_option
def export_model(workdir: str, out: str, view_path: str | None) -> None:
    """Write the model of the finished run WORKDIR to OUT, to be run with JAX alone.

    OUT/model.jax is the program, for `jax.export.deserialize`; OUT/model.json says what its user
    must know.
    """
    from dgc_jax.apply import view
    from dgc_jax.apply.export import export  # only here: JAX takes a second to import
    from dgc_jax.apply.segmenter import load

    segmenter = load(workdir)
    if view_path is not None:
        segmenter = view.seen_through(segmenter, view_path)
    for path in export(segmenter, out):
        click.echo(path)
