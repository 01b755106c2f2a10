"""What is understood of scenes: `dgc inspect`."""

import glob
import os

import click
import PIL.Image

from dgc_jax import terminal
from dgc_jax.data import checksums, preflight
from dgc_jax.data.cube import Cube
from dgc_jax.data.describe import describe
from dgc_jax.data.formats.zarr import is_store
from dgc_jax.data.reading import Reading
from dgc_jax.data.scenes import open_data_set, open_recognised
from dgc_jax.errors import InputError
from dgc_jax.files import replacing


def inspect(
    scenes: tuple[str, ...], *, png: str | None, show: bool, verify: bool, how: Reading
) -> None:
    """Prints what is understood of scenes: of one everything, of several a table.

    Args:
        scenes: paths, folders or globs.
        png: also write a picture of one scene to this file.
        show: also show a picture of one scene in the terminal.
        verify: read all of a prepared scene, by its checksums.
        how: scenes are to be read.

    Raises:
        InputError: if a scene cannot be opened, or an option is not for it.
    """
    if len(scenes) > 1 or _is_many(scenes[0]):
        if png or show or verify:
            raise InputError(
                "png=, show=, verify=",
                expected="one scene",
                found=", ".join(scenes),
                remedy="inspect one by one",
            )
        _inspect_all(scenes, how)
        return
    if verify:
        number = checksums.check(scenes[0], content=True)
        if number is None:
            raise InputError(
                "verify=",
                expected="a scene of dgc prepare, which has checksums",
                found=f"{scenes[0]} without",
                remedy="leave verify= out, or prepare it again",
            )
        click.echo(f"{'verified':<15} {number} files are what they were")
    cube = open_recognised(scenes[0], how.of_scene(scenes[0]))
    facts, warnings = describe(cube)
    for name, text in facts:
        click.echo(f"{name:<15} {text}")
    for note in cube.notes:
        click.echo(f"{'note':<15} {terminal.spoken(note)}")
    for warning in warnings:
        click.echo(f"{'warning':<15} {terminal.spoken(warning)}")
    if png or show:
        _draw(cube, png, show)


def _is_many(path: str) -> bool:
    """Whether a path stands for several scenes."""
    if os.path.isdir(path):
        return not is_store(path)
    return glob.has_magic(path) and not os.path.exists(path) and "://" not in path


def _inspect_all(scenes: tuple[str, ...], how: Reading) -> None:
    wrong: dict[str, InputError] = {}
    if how.keep_bad_bands:
        raise InputError(
            "keep_bad_bands=", expected="one scene", found="several", remedy="inspect one by one"
        )
    found = open_data_set(scenes, how, common_grid=False, wrong=wrong)
    console = terminal.Console()
    seen = preflight.look(found)
    preflight.show(seen, wrong, console)
    try:
        for told in preflight.check(seen, {}) if found else []:
            click.echo(f"! {terminal.spoken(told)}")
    except InputError as error:
        click.echo(f"! {terminal.spoken(error)}")
        raise SystemExit(2) from None
    if wrong:
        raise SystemExit(2)


def _draw(cube: Cube, png: str | None, show: bool) -> None:
    from dgc_jax.show.blocks import print_picture  # only here: pictures take time to import
    from dgc_jax.show.maps import quicklook

    picture = quicklook(cube)
    if png:
        with replacing(png) as temporary:
            PIL.Image.fromarray(picture).save(temporary, "PNG")
        click.echo(f"{'picture':<15} {png}")
    if show:
        print_picture(picture, terminal.Console())
