"""A finished run seen more coarsely, or under other names: `dgc merge`.

    merge("runs/dgc16", clusters=4)

Nothing is trained or segmented; a view is a small file.
"""

import itertools
import json
import os
from collections.abc import Sequence
from typing import Any

from dgc_jax import documents
from dgc_jax.apply import view
from dgc_jax.apply.segmenter import Segmenter, load
from dgc_jax.errors import InputError
from dgc_jax.files import replacing
from dgc_jax.model.cluster_tree import Group


def merge(
    workdir: str,
    *,
    clusters: int | None = None,
    groups: Sequence[Sequence[int]] | None = None,
    names: Sequence[str] = (),
    out: str | None = None,
) -> tuple[str, tuple[Group, ...]]:
    """Writes a view of a finished run: a level of its merge tree, or groups chosen by hand.

    Args:
        workdir: folder of a finished run.
        clusters: number of clusters at a level of the tree; None: `clusters.final`.
        groups: ids of the clusters of that level in each group; None: each is one of its own.
        names: names of the groups; without `groups` in the order of their ids. One of the three
            must be given.
        out: JSON file to write; None: `view-<number of groups>.json` in the workdir or, if that
            holds other groups, `view-<number of groups>-2.json` and so on.

    Returns:
        The path of the view, and its groups.

    Raises:
        InputError: if there is no model, the groups are wrong, or the file cannot be written.
    """
    if clusters is None and groups is None and not names:
        raise InputError(
            "dgc merge",
            expected="clusters=, groups= or names=",
            found="none",
            remedy="give clusters= for a level, groups= for groups of its clusters, names= to "
            "rename those that are shown",
        )
    segmenter = load(workdir)
    if groups is None:
        level = segmenter.clusters if clusters is None else clusters
        groups = [[group.id] for group in view.cut(segmenter, level)]
    found = view.join(segmenter, groups, names, level=clusters)
    return write_view(workdir, segmenter, found, out), found


def write_view(workdir: str, segmenter: Segmenter, groups: Sequence[Group], out: str | None) -> str:
    """Writes a view.

    Args:
        workdir: folder of the run.
        segmenter: its model.
        groups: the view.
        out: file to write; None: as for `merge`.

    Returns:
        Its path.

    Raises:
        InputError: if the file cannot be written.
    """
    content = json.dumps(view.as_json(segmenter, groups), indent=1)
    path = out or _view_path(workdir, len(groups), content)
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(content)
    return path


def _view_path(workdir: str, groups: int, content: str) -> str:
    """Where a view goes: the first name that is free or holds the same."""
    for number in itertools.count(1):
        path = os.path.join(workdir, f"view-{groups}{f'-{number}' if number > 1 else ''}.json")
        try:
            if documents.read(path, Any, "a view", "") == json.loads(content):
                return path
        except FileNotFoundError:
            return path
        except InputError:  # something else, which stays
            continue
    raise AssertionError
