"""Views: the clusters of a model seen more coarsely or more finely, with names and colours.

A view says which clusters of the model's finest level are shown as one. It is a small JSON file
that a person can read and edit, and costs nothing to apply: it is a lookup table in place of the
model's own. Ids are stable: a group takes the lowest id in it, and a cluster that joins no other
keeps its id, name and colour.

    {"model": "<identity>", "clusters": [
       {"id": 1, "of": [1, 2], "name": "background", "colour": "#0072b2"},
       {"id": 3, "of": [3], "name": "lesion", "colour": "#009e73"}]}
"""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import jax.numpy as jnp
import numpy as np

from dgc_jax import documents
from dgc_jax.apply.segmenter import Segmenter
from dgc_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Group:
    """Clusters that are shown as one.

    Attributes:
        id: label value, the lowest of its clusters' ids.
        of: ids of its clusters at the finest level, ascending.
        name: of the group.
        colour: `#rrggbb`.
    """

    id: int
    of: tuple[int, ...]
    name: str
    colour: str


def cut(segmenter: Segmenter, clusters: int) -> tuple[Group, ...]:
    """The groups at a level of the model's merge tree.

    Args:
        segmenter: the model, not one seen through a view.
        clusters: number of groups, from 1 to the clusters of the model's finest level.

    Raises:
        InputError: if the number is not one of these, or the model is seen through a view.
    """
    return _groups(segmenter, _level(segmenter, clusters), {})


def join(
    segmenter: Segmenter,
    groups: Sequence[Sequence[int]],
    names: Sequence[str] = (),
    *,
    level: int | None = None,
) -> tuple[Group, ...]:
    """Groups chosen by hand; clusters that are in none stay as they are.

    Args:
        segmenter: the model, not one seen through a view.
        groups: ids of the clusters of each group.
        names: names of the groups, in the same order; none: those of their lowest cluster.
        level: number of clusters at the level that the ids are of; None: `clusters.final`.

    Raises:
        InputError: if an id is unknown or in two groups, the names do not fit, or the model is
            seen through a view.
    """
    taken = _level(segmenter, segmenter.clusters if level is None else level)
    known = np.unique(taken).tolist()
    ids = [number for group in groups for number in group]
    wrong = [number for number in ids if number not in known]
    twice = [number for number in ids if ids.count(number) > 1]
    if wrong or twice or not all(groups):
        found = (
            f"cluster {wrong[0]}"
            if wrong
            else f"cluster {twice[0]} twice"
            if twice
            else "an empty group"
        )
        which = (
            f"every cluster from 1 to {known[-1]}"
            if known[-1] == len(known)
            else f"each of the clusters {', '.join(map(str, known))}"
        )
        raise InputError(f"groups: expected {which} at most once, found {found}; correct it.")
    if names and len(names) != len(groups):
        raise InputError(
            f"names: expected one for each of the {len(groups)} groups, found {len(names)}; "
            "give as many."
        )
    if not all(name.strip() for name in names):
        raise InputError("names: expected a name for each group, found an empty one; name it.")
    for group in groups:
        taken[np.isin(taken, group)] = min(group)
    lowest = (min(group) for group in groups)
    return _groups(segmenter, taken, dict(zip(lowest, names, strict=False)))


def _level(segmenter: Segmenter, clusters: int) -> np.ndarray:
    """`[L]` id at a level of each cluster of the finest one."""
    _check_whole(segmenter)
    if not 1 <= clusters <= segmenter.finest:
        raise InputError(
            f"--clusters={clusters}: expected from 1 to {segmenter.finest}, the most clusters that "
            "the model tells apart; choose one of these, or train with more (clusters.train)."
        )
    return segmenter.level(clusters)


def _check_whole(segmenter: Segmenter) -> None:
    """Refuses a model seen through a view: the tree knows nothing of what that has joined."""
    if segmenter.viewed:
        raise InputError(
            "view: expected the model itself, found one that is seen through a view already, whose "
            "groups would be lost; load the model again and make the new view of that."
        )


def _groups(segmenter: Segmenter, taken: np.ndarray, names: Mapping[int, str]) -> tuple[Group, ...]:
    """Groups of equal ids; `names` are those that differ from the model's."""
    found = []
    for lowest in np.unique(taken).tolist():
        red, green, blue = (int(value) for value in segmenter.leaf_colours[lowest])
        found.append(
            Group(
                lowest,
                tuple((np.flatnonzero(taken == lowest) + 1).tolist()),
                names.get(lowest, segmenter.leaf_names[lowest - 1]),
                f"#{red:02x}{green:02x}{blue:02x}",
            )
        )
    return tuple(found)


def apply(segmenter: Segmenter, groups: Sequence[Group]) -> Segmenter:
    """The model seen through a view: labels are the groups' ids.

    Other ids no longer occur. Those above the highest group's are gone, and those between have the
    name "", by which legends and tables leave them out.

    Args:
        segmenter: the model, not one seen through a view already.
        groups: every cluster of the finest level in exactly one of them.

    Raises:
        InputError: if the model is seen through a view, or a cluster is in no group or in several.
    """
    _check_whole(segmenter)
    members = sorted(k for group in groups for k in group.of)
    if members != list(range(1, segmenter.finest + 1)):
        raise InputError(
            f"groups: expected every cluster from 1 to {segmenter.finest} in one of them, found "
            f"others ({len(set(members))} of {segmenter.finest}); make them by `cut` or `join`."
        )
    table = ids(groups, segmenter.finest)
    number = int(table.max())
    names = [""] * number
    colours = segmenter.leaf_colours[: number + 1].copy()
    for group in groups:
        names[group.id - 1] = group.name
        colours[group.id] = tuple(bytes.fromhex(group.colour[1:]))
    text = json.dumps([dataclasses.asdict(group) for group in groups])
    return dataclasses.replace(
        segmenter,
        viewed=True,
        lookup=jnp.asarray(table[segmenter.leaves]),
        names=tuple(names),
        colours=colours,
        identity=hashlib.sha256(f"{segmenter.identity}{text}".encode()).hexdigest(),
    )


def ids(groups: Sequence[Group], clusters: int) -> np.ndarray:
    """`[clusters + 1]` uint8: the label that each label of the finest level becomes; 0 stays 0."""
    table = np.zeros(clusters + 1, np.uint8)
    for group in groups:
        table[list(group.of)] = group.id
    return table


def of_shown(segmenter: Segmenter, groups: Sequence[Group]) -> np.ndarray | None:
    """The label that each label that a model shows becomes in a view.

    Args:
        segmenter: the model, not one seen through a view.
        groups: the view.

    Returns:
        `[K + 1]` uint8, 0 stays 0; None if the view takes a cluster of these apart.

    Raises:
        InputError: if the model is seen through a view.
    """
    _check_whole(segmenter)
    shown, becomes = segmenter.shown, ids(groups, segmenter.finest)
    table = np.zeros(segmenter.clusters + 1, np.uint8)
    table[shown] = becomes
    return table if np.array_equal(table[shown], becomes) else None


def as_json(segmenter: Segmenter, groups: Sequence[Group]) -> dict[str, Any]:
    """What `read` takes: the model's identity, and the groups."""
    return {
        "model": segmenter.identity,
        "clusters": [dataclasses.asdict(group) for group in groups],
    }


def read(path: str | os.PathLike[str], segmenter: Segmenter) -> tuple[Group, ...]:
    """Reads a view of a model from its JSON file.

    Args:
        path: the file.
        segmenter: the model that it must be of.

    Raises:
        InputError: if the file is no view, or one of another model, or the model is seen through
            a view.
    """
    _check_whole(segmenter)
    what, remedy = "a view as written by `dgc merge`", "make one with `dgc merge`"
    found = documents.required(path, _View, what, remedy)
    of_model = found["model"]
    try:
        groups = tuple(_group(each) for each in found["clusters"])
    except ValueError as error:
        raise InputError(
            f"{os.fspath(path)}: expected {what}, found something else ({error}); {remedy}."
        ) from error
    if of_model != segmenter.identity:
        raise InputError(
            f"{os.fspath(path)}: expected a view of this model, found one of another "
            f"({of_model[:12]}); make one with `dgc merge`."
        )
    members = sorted(k for group in groups for k in group.of)
    lowest = all(group.of and group.id == min(group.of) for group in groups)
    if members != list(range(1, segmenter.finest + 1)) or not lowest:
        raise InputError(
            f"{os.fspath(path)}: expected every cluster from 1 to {segmenter.finest} in one "
            "group, each with the lowest id of its clusters, found others; correct `of` and `id`."
        )
    return groups


class _Entry(TypedDict):
    """A group as its file holds it."""

    id: int
    of: list[int]
    name: str
    colour: str


class _View(TypedDict):
    """What the file holds."""

    model: str
    clusters: list[_Entry]


def _group(entry: _Entry) -> Group:
    if not re.fullmatch("#[0-9a-fA-F]{6}", entry["colour"]):
        raise ValueError(f"colour {entry['colour']!r}, not #rrggbb")
    if not entry["name"].strip():
        raise ValueError(f"name {entry['name']!r}, not a text")
    return Group(entry["id"], tuple(sorted(entry["of"])), entry["name"], entry["colour"])
