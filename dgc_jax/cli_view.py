"""The commands `dgc merge` and `dgc name`, which say what clusters are shown as."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import rich.console
import rich.table
import rich.text

from dgc_jax import terminal
from dgc_jax.parameters import GROUPS, LISTED, NAMES, as_ranges

if TYPE_CHECKING:  # JAX takes a second to import
    from dgc_jax.commands import name as naming
    from dgc_jax.model.cluster_tree import Group

_LISTED = 20  # hints that are told one by one


@click.command()
@click.argument("workdir")
@click.option("--clusters", type=int, help="Cut the tree where it has so many, up to all.")
@click.option(
    "--groups", type=GROUPS, help="Show as one '1,2;4-7', clusters of the run or of --clusters."
)
@click.option("--names", type=NAMES, help="Names of the groups, with semicolons between.")
@click.option("--out", help="JSON file to write.  [default: WORKDIR/view-<groups>.json]")
def merge(
    workdir: str,
    clusters: int | None,
    groups: list[list[int]] | None,
    names: list[str] | None,
    out: str | None,
) -> None:
    """Make a view of the finished run WORKDIR: fewer or more clusters, or some shown as one.

    Nothing is trained or segmented; the view is a small file for the --view of other commands.
    """
    # Only here: JAX takes a second to import.
    from dgc_jax.commands.merge import merge as merge_clusters

    path, found = merge_clusters(
        workdir,
        clusters=clusters,
        groups=groups,
        names=names or (),
        out=out,
    )
    console = terminal.Console()
    _show_view(found, console)
    usual = f"view-{len(found)}.json"
    if out is None and os.path.basename(path) != usual:
        console.print(f"note: {usual} holds other groups, and stays.", markup=False, soft_wrap=True)
    console.print(f"View: {path}", markup=False, soft_wrap=True)


@click.command()
@click.argument("workdir")
@click.argument("scenes", nargs=-1)
@click.option("--points", help="Table of scene,row,column,name, or GeoJSON with points.")
@click.option("--labels", help="Sparse label maps instead; {stem} is the scene's name.")
@click.option(
    "--classes", type=LISTED, help="Names of their classes 1, 2, ..., with commas between."
)
@click.option("--unlabelled", type=int, help="Label value of unlabelled pixels.")
@click.option("--out", help="JSON file to write.  [default: WORKDIR/view-<groups>.json]")
def name(
    workdir: str,
    scenes: tuple[str, ...],
    points: str | None,
    labels: str | None,
    classes: list[str] | None,
    unlabelled: int | None,
    out: str | None,
    **reading: str | None,
) -> None:
    """Name the clusters of the finished run WORKDIR from a few named pixels of its scenes.

    Nothing is trained or segmented: clusters go together as the names ask and the tree allows, and
    those without a named pixel with those that they are most like. Writes a view for the --view of
    other commands.
    """
    from dgc_jax.commands import name as naming  # only here: JAX takes a second to import

    console = terminal.Console()
    found = naming.name(
        workdir,
        scenes or None,
        points=points,
        labels=labels,
        classes=classes,
        unlabelled=unlabelled,
        out=out,
        reading=reading,
        console=console,
    )
    _show_view(found.groups, console)
    _tell_hints(found, console)
    console.print(f"View: {found.path}", markup=False, soft_wrap=True)


def _show_view(groups: "Sequence[Group]", console: rich.console.Console) -> None:
    table = rich.table.Table("id", "name", "of the finest clusters")
    for group in groups:
        table.add_row(str(group.id), rich.text.Text(group.name), as_ranges(group.of))
    console.print(table)


def _tell_hints(found: "naming.Named", console: rich.console.Console) -> None:
    """Says what the hints decided, and what of them was not followed."""
    clusters = sum(len(group.of) for group in found.groups)
    lines = [
        f"{len(found.hinted)} of {clusters} clusters have hints; the others go with those that "
        f"they join first in the tree ({found.subtrees} subtrees in all)."
    ]
    for hint, other in found.contradicted[:_LISTED]:
        several = "" if hint.number == 1 else f"{hint.number} pixels, "
        lines.append(
            f"note: {hint.where}: {several}{hint.name!r}, in finest cluster {hint.cluster}, which "
            f"more hints call {other!r}."
        )
    if len(found.contradicted) > _LISTED:
        lines.append(f"note: and {len(found.contradicted) - _LISTED} more like these.")
    if found.missed:
        number = sum(hint.number for hint in found.missed)
        lines.append(
            f"note: {number} hint{'s are' if number > 1 else ' is'} where there is no data, the "
            f"first at {found.missed[0].where}."
        )
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
