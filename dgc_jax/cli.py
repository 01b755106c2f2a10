"""The `dgc` command: look at scenes, prepare them, and apply trained models.

Exit status: 0 done, 1 some scenes failed, 2 bad input or usage.
"""

import os
from collections.abc import Callable
from typing import Any

import click
import rich.console
import rich.progress

from dgc_jax.data.cube import Cube, open_cube
from dgc_jax.data.describe import describe
from dgc_jax.data.formats.detect import scene_name
from dgc_jax.data.prepare import prepare, store_path
from dgc_jax.data.scenes import find_scenes
from dgc_jax.errors import InputError

_BESIDE = ("mask", "dark", "white")  # options that may be patterns with {stem}


class _Group(click.Group):
    """Commands whose bad input is told in one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"dgc: {error}", err=True)
            ctx.exit(2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dgc-jax")
def main() -> None:
    """Label-free segmentation of hyperspectral images by Deep Global Clustering."""


def _scene_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say how to read a scene, as keywords of `open_cube`."""
    options = [
        click.option("--variable", help="Array to read, if the file holds several."),
        click.option("--axes", help="Order of its axes: r row, c column, b band; e.g. brc."),
        click.option("--wavelengths", help="Text file of band centres (nm), if unknown."),
        click.option("--mask", help="PNG or NPY, nonzero = usable; {stem} is the scene's name."),
        click.option("--dark", help="Dark reference; {stem} is the scene's name."),
        click.option("--white", help="White reference; {stem} is the scene's name."),
        click.option("--keep-bad-bands", is_flag=True, help="Use bands that the file calls bad."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _open(path: str, options: dict[str, Any]) -> Cube:
    """Opens a scene with the options of `_scene_options`, `{stem}` filled in."""
    stem = scene_name(path)
    beside = {
        key: os.path.join(os.path.dirname(path), options[key].replace("{stem}", stem))
        for key in _BESIDE
        if options[key] is not None and "{stem}" in options[key]
    }
    return open_cube(path, **{**options, **beside})


@main.command()
@click.argument("file")
@_scene_options
def inspect(file: str, **options: Any) -> None:
    """Print what is understood of FILE, what looks wrong, and the range of its values."""
    cube = _open(file, options)
    facts, warnings = describe(cube)
    for name, text in facts:
        click.echo(f"{name:<15} {text}")
    for note in cube.notes:
        click.echo(f"{'note':<15} {note}")
    for warning in warnings:
        click.echo(f"{'warning':<15} {warning}")


@main.command("prepare")
@click.argument("scenes", nargs=-1, required=True)
@click.option("--out", required=True, help="Folder to write <scene>.zarr into.")
@_scene_options
def prepare_scenes(scenes: tuple[str, ...], out: str, **options: Any) -> None:
    """Rewrite SCENES (files, folders, globs) as sharded zarr3, from which crops are read fastest.

    Safe to interrupt and run again: finished scenes are skipped.
    """
    paths = find_scenes(scenes, companions=("{stem}_labels.*", *(options[k] for k in _BESIDE)))
    failed = 0
    console = rich.console.Console()
    with rich.progress.Progress(
        console=console, disable=not console.is_terminal, redirect_stderr=False
    ) as progress:
        for path in paths:
            try:
                cube = _open(path, options)
                written = prepare(cube, out, progress)
            except InputError as error:
                failed += 1
                click.echo(f"dgc: {error}", err=True)
                continue
            click.echo(f"{store_path(cube, out)}: {'written' if written else 'complete already'}")
    if failed:
        raise SystemExit(2 if failed == len(paths) else 1)
