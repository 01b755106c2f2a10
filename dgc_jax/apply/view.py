"""Views: the clusters of a model seen more coarsely, with names and colours of one's own.

A view says which clusters are shown as one. It is a small JSON file that a person can read and
edit, and costs nothing to apply: it is a lookup table behind the model's own. Ids are stable: a
group takes the lowest id in it, and a cluster that joins no other keeps its id, name and colour.

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
from typing import Any

import jax.numpy as jnp
import numpy as np

from dgc_jax.apply.segmenter import Segmenter
from dgc_jax.errors import InputError
from dgc_jax.model import centroids


@dataclasses.dataclass(frozen=True)
class Group:
    """Clusters that are shown as one.

    Attributes:
        id: label value, the lowest of its clusters' ids.
        of: ids of its clusters, ascending.
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
        segmenter: the model.
        clusters: number of groups, from 1 to the model's number of clusters.

    Raises:
        InputError: if the number is not one of these.
    """
    if not 1 <= clusters <= segmenter.clusters:
        raise InputError(
            f"--clusters={clusters}: expected from 1 to the model's {segmenter.clusters} clusters; "
            "a view merges clusters, to have more train with a larger clusters.final."
        )
    taken = centroids.cut_ids(
        segmenter.tree, segmenter.live, np.asarray(segmenter.lookup), clusters
    )
    groups = [(np.flatnonzero(taken == k) + 1).tolist() for k in np.unique(taken)]
    return _groups(segmenter, groups, ())


def join(
    segmenter: Segmenter, groups: Sequence[Sequence[int]], names: Sequence[str] = ()
) -> tuple[Group, ...]:
    """Groups chosen by hand; clusters that are in none stay as they are.

    Args:
        segmenter: the model.
        groups: ids of the clusters of each group.
        names: names of the groups, in the same order; none: those of their lowest cluster.

    Raises:
        InputError: if an id is unknown or in two groups, or the names do not fit.
    """
    ids = [number for group in groups for number in group]
    wrong = [number for number in ids if not 1 <= number <= segmenter.clusters]
    twice = [number for number in ids if ids.count(number) > 1]
    if wrong or twice or not all(groups):
        found = (
            f"cluster {wrong[0]}"
            if wrong
            else f"cluster {twice[0]} twice"
            if twice
            else "an empty group"
        )
        raise InputError(
            f"groups: expected every cluster from 1 to {segmenter.clusters} at most once, "
            f"found {found}; correct it."
        )
    if names and len(names) != len(groups):
        raise InputError(
            f"names: expected one for each of the {len(groups)} groups, found {len(names)}; "
            "give as many."
        )
    alone = [[k] for k in range(1, segmenter.clusters + 1) if k not in ids]
    return _groups(segmenter, [*groups, *alone], names)


def _groups(
    segmenter: Segmenter, members: Sequence[Sequence[int]], names: Sequence[str]
) -> tuple[Group, ...]:
    found = []
    for number, group in enumerate(members):
        lowest = int(min(group))
        red, green, blue = (int(value) for value in segmenter.colours[lowest])
        found.append(
            Group(
                lowest,
                tuple(sorted(int(k) for k in group)),
                names[number] if number < len(names) else segmenter.names[lowest - 1],
                f"#{red:02x}{green:02x}{blue:02x}",
            )
        )
    return tuple(sorted(found, key=lambda group: group.id))


def apply(segmenter: Segmenter, groups: Sequence[Group]) -> Segmenter:
    """The model seen through a view: labels are the groups' ids, other ids no longer occur.

    Args:
        segmenter: the model, not one seen through a view already.
        groups: every cluster in exactly one of them.
    """
    table = ids(groups, segmenter.clusters)
    names, colours = list(segmenter.names), segmenter.colours.copy()
    for group in groups:
        names[group.id - 1] = group.name
        colours[group.id] = tuple(bytes.fromhex(group.colour[1:]))
    text = json.dumps([dataclasses.asdict(group) for group in groups])
    return dataclasses.replace(
        segmenter,
        lookup=jnp.asarray(table)[segmenter.lookup],
        names=tuple(names),
        colours=colours,
        identity=hashlib.sha256(f"{segmenter.identity}{text}".encode()).hexdigest(),
    )


def ids(groups: Sequence[Group], clusters: int) -> np.ndarray:
    """`[clusters + 1]` uint8: the label that each label of the model becomes; 0 stays 0."""
    table = np.zeros(clusters + 1, np.uint8)
    for group in groups:
        table[list(group.of)] = group.id
    return table


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
        InputError: if the file is no view, or one of another model.
    """
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        of_model = found["model"]
        groups = tuple(_group(each) for each in found["clusters"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{os.fspath(path)}: expected a view as written by `dgc merge`, found something else "
            f"({getattr(error, 'strerror', None) or error}); make one with `dgc merge`."
        ) from error
    if of_model != segmenter.identity:
        raise InputError(
            f"{os.fspath(path)}: expected a view of this model, found one of another "
            f"({str(of_model)[:12]}); make one with `dgc merge`."
        )
    members = sorted(k for group in groups for k in group.of)
    lowest = all(group.of and group.id == min(group.of) for group in groups)
    if members != list(range(1, segmenter.clusters + 1)) or not lowest:
        raise InputError(
            f"{os.fspath(path)}: expected every cluster from 1 to {segmenter.clusters} in one "
            "group, each with the lowest id of its clusters, found others; correct `of` and `id`."
        )
    return groups


def _group(entry: Mapping[str, Any]) -> Group:
    colour, name = entry["colour"], entry["name"]
    if not (isinstance(colour, str) and re.fullmatch("#[0-9a-fA-F]{6}", colour)):
        raise ValueError(f"colour {colour!r}, not #rrggbb")
    if not (isinstance(name, str) and name.strip()):
        raise ValueError(f"name {name!r}, not a text")
    return Group(int(entry["id"]), tuple(sorted(int(k) for k in entry["of"])), name, colour)
