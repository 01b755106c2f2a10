"""Views: the clusters of a model seen more coarsely or more finely, with names and colours.

A view says which clusters of the model's finest level are shown as one
(`dgc_jax.model.cluster_tree`). It is a small JSON file that a person can read and edit, and costs
nothing to apply: it is a lookup table in place of the model's own.

    {"model": "<identity>", "clusters": [
       {"id": 1, "of": [1, 2], "name": "background", "colour": "#0072b2"},
       {"id": 3, "of": [3], "name": "lesion", "colour": "#009e73"}]}
"""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np

from dgc_jax import documents
from dgc_jax.apply.segmenter import Segmenter
from dgc_jax.errors import InputError
from dgc_jax.model.cluster_tree import Group


def cut(segmenter: Segmenter, clusters: int) -> tuple[Group, ...]:
    """The groups at a level of the model's tree, see `dgc_jax.model.cluster_tree.ClusterTree.cut`.

    Raises:
        InputError: if there is no such level, or the model is seen through a view.
    """
    return segmenter.tree.cut(clusters)


def join(
    segmenter: Segmenter,
    groups: Sequence[Sequence[int]],
    names: Sequence[str] = (),
    *,
    level: int | None = None,
) -> tuple[Group, ...]:
    """Groups chosen by hand, see `dgc_jax.model.cluster_tree.ClusterTree.join`.

    Raises:
        InputError: if an id is unknown or in two groups, the names do not fit, or the model is
            seen through a view.
    """
    return segmenter.tree.join(groups, names, level=level)


def of_shown(segmenter: Segmenter, groups: Sequence[Group]) -> np.ndarray | None:
    """The label that each one shown becomes, see `dgc_jax.model.cluster_tree.ClusterTree.becomes`.

    Raises:
        InputError: if the model is seen through a view.
    """
    return segmenter.tree.becomes(groups)


def apply(segmenter: Segmenter, groups: Sequence[Group]) -> Segmenter:
    """The model seen through a view, see `dgc_jax.model.cluster_tree.ClusterTree.seen_as`.

    Raises:
        InputError: if the model is seen through a view, or a cluster is in no group or in several.
    """
    text = json.dumps([dataclasses.asdict(group) for group in groups])
    return dataclasses.replace(
        segmenter,
        tree=segmenter.tree.seen_as(groups),
        identity=hashlib.sha256(f"{segmenter.identity}{text}".encode()).hexdigest(),
    )


def seen_through(segmenter: Segmenter, path: str | os.PathLike[str]) -> Segmenter:
    """The model seen through the view of a file.

    Raises:
        InputError: if the file is no view of this model, or it is seen through one already.
    """
    return apply(segmenter, read(path, segmenter))


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
    segmenter.tree.check_whole()
    what, remedy = "a view as written by `dgc merge`", "make one with `dgc merge`"
    found = documents.required(path, _View, what, remedy)
    of_model = found["model"]
    try:
        groups = tuple(_group(each) for each in found["clusters"])
    except ValueError as error:
        raise InputError(
            os.fspath(path), expected=what, found=f"something else ({error})", remedy=remedy
        ) from error
    if of_model != segmenter.identity:
        raise InputError(
            os.fspath(path),
            expected="a view of this model",
            found=f"one of another ({of_model[:12]})",
            remedy="make one with `dgc merge`",
        )
    members = sorted(k for group in groups for k in group.of)
    lowest = all(group.of and group.id == min(group.of) for group in groups)
    if members != list(range(1, segmenter.finest + 1)) or not lowest:
        raise InputError(
            os.fspath(path),
            expected=f"every cluster from 1 to {segmenter.finest} in one group, each with the "
            "lowest id of its clusters",
            found="others",
            remedy="correct `of` and `id`",
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
