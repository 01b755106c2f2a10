"""The clusters of a model as a tree with names and colours, of which one level or view is shown.

    tree.cut(4)                      groups at a level
    tree.join([[1, 3]], ["ground"])  groups by hand
    tree.seen_as(groups)             the same tree, showing them

Ids are stable: a group takes the lowest id in it, and a cluster that joins no other keeps its id,
name and colour.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Integer, UInt8

from dgc_jax.errors import InputError
from dgc_jax.model import tree


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


@dataclasses.dataclass(frozen=True, eq=False)
class ClusterTree:
    """The trained clusters, how they join, and what is shown of them.

    Attributes:
        linkage: `[len(live) - 1, 4]` matrix of the joins, see `dgc_jax.model.tree`.
        live: indices of the trained clusters that are its leaves.
        leaves: `[K']` uint8 id at the finest level, 1..L, of every trained cluster. Of models of
            earlier versions it is that at `clusters.final`.
        leaf_names: name of each id of the finest level.
        leaf_colours: `[L + 1, 3]` uint8, the colour of each; row 0 is no data.
        shown: `[L + 1]` uint8, what each id of the finest level is shown as, 1..K; 0 stays 0.
        names: name of each id shown, 1..K; "" for one that a view has merged away.
        colours: `[K + 1, 3]` uint8, likewise.
        viewed: whether groups are shown, of which no others can be made: the tree knows nothing
            of what they have joined.
    """

    linkage: np.ndarray
    live: np.ndarray
    leaves: np.ndarray
    leaf_names: tuple[str, ...]
    leaf_colours: np.ndarray
    shown: np.ndarray
    names: tuple[str, ...]
    colours: np.ndarray
    viewed: bool = False

    @property
    def finest(self) -> int:
        """Number of clusters at the finest level L."""
        return len(self.leaf_names)

    @functools.cached_property
    def lookup(self) -> UInt8[np.ndarray, " K"]:
        """`[K']` uint8 id shown, 1..K, of every trained cluster."""
        return self.shown[self.leaves]

    @functools.cached_property
    def joins(self) -> tuple[Float[np.ndarray, "joins 4"], Integer[np.ndarray, " joins+1"]]:
        """The tree over the ids of the finest level, see `dgc_jax.model.tree.of_ids`."""
        return tree.of_ids(self.linkage, self.live, self.leaves)

    def level(self, clusters: int) -> UInt8[np.ndarray, " {self.finest}"]:
        """The ids that the clusters of the finest level have at another one.

        Args:
            clusters: number of clusters of the level, 1..L.

        Returns:
            `[L]` uint8.
        """
        return tree.cut_ids(self.linkage, self.live, self.leaves, clusters)

    def cut(self, clusters: int) -> tuple[Group, ...]:
        """The groups at a level.

        Args:
            clusters: number of groups, 1..L.

        Raises:
            InputError: if there is no such level, or groups are shown already.
        """
        return self._groups(self._level(clusters), {})

    def join(
        self,
        groups: Sequence[Sequence[int]],
        names: Sequence[str] = (),
        *,
        level: int | None = None,
    ) -> tuple[Group, ...]:
        """Groups chosen by hand; clusters that are in none stay as they are.

        Args:
            groups: ids of the clusters of each group.
            names: names of the groups, in the same order; none: those of their lowest cluster.
            level: number of clusters at the level that the ids are of; None: the one shown.

        Raises:
            InputError: if an id is unknown or in two groups, the names do not fit, or groups are
                shown already.
        """
        taken = self._level(len(self.names) if level is None else level)
        _check_groups(groups, np.unique(taken).tolist())
        if names and len(names) != len(groups):
            raise InputError(
                "names=",
                expected=f"one for each of the {len(groups)} groups",
                found=len(names),
                remedy="give as many",
            )
        if not all(name.strip() for name in names):
            raise InputError(
                "names=", expected="a name for each group", found="an empty one", remedy="name it"
            )
        for group in groups:
            taken[np.isin(taken, group)] = min(group)
        lowest = (min(group) for group in groups)
        return self._groups(taken, dict(zip(lowest, names, strict=False)))

    def seen_as(self, groups: Sequence[Group]) -> "ClusterTree":
        """The tree of which groups are shown: labels are their ids.

        Other ids no longer occur. Those above the highest group's are gone, and those between have
        the name "", by which legends and tables leave them out.

        Args:
            groups: every cluster of the finest level in exactly one of them.

        Raises:
            InputError: if groups are shown already, or a cluster is in no group or in several.
        """
        self.check_whole()
        members = sorted(k for group in groups for k in group.of)
        if members != list(range(1, self.finest + 1)):
            raise InputError(
                "groups=",
                expected=f"every cluster from 1 to {self.finest} in one of them",
                found=f"others ({len(set(members))} of {self.finest})",
                remedy="make them by `cut` or `join`",
            )
        shown = self._labels(groups)
        number = int(shown.max())
        names = [""] * number
        colours = self.leaf_colours[: number + 1].copy()
        for group in groups:
            names[group.id - 1] = group.name
            colours[group.id] = tuple(bytes.fromhex(group.colour[1:]))
        return dataclasses.replace(
            self, shown=shown, names=tuple(names), colours=colours, viewed=True
        )

    def becomes(self, groups: Sequence[Group]) -> UInt8[np.ndarray, " labels"] | None:
        """What each label that is shown becomes in a view.

        Returns:
            `[K + 1]` uint8, 0 stays 0; None if the view takes one of them apart.

        Raises:
            InputError: if groups are shown already.
        """
        self.check_whole()
        labels = self._labels(groups)
        table = np.zeros(len(self.names) + 1, np.uint8)
        table[self.shown] = labels
        return table if np.array_equal(table[self.shown], labels) else None

    def check_whole(self) -> None:
        """Refuses a tree of which groups are shown.

        Raises:
            InputError: if they are.
        """
        if self.viewed:
            raise InputError(
                "view",
                expected="the model itself",
                found="one that is seen through a view already, whose groups would be lost",
                remedy="load the model again and make the new view of that",
            )

    def _level(self, clusters: int) -> UInt8[np.ndarray, " {self.finest}"]:
        """`[L]` id at a level of each cluster of the finest one."""
        self.check_whole()
        if not 1 <= clusters <= self.finest:
            raise InputError(
                "clusters=",
                expected=f"from 1 to {self.finest}, the most that the model tells apart",
                found=clusters,
                remedy="choose one of these, or train with more",
            )
        return self.level(clusters)

    def _labels(self, groups: Sequence[Group]) -> UInt8[np.ndarray, " {self.finest+1}"]:
        """`[L + 1]` uint8: what each id of the finest level becomes in a view."""
        table = np.zeros(self.finest + 1, np.uint8)
        for group in groups:
            table[list(group.of)] = group.id
        return table

    def _groups(
        self, taken: UInt8[np.ndarray, " leaf"], names: Mapping[int, str]
    ) -> tuple[Group, ...]:
        """Groups of equal ids; `names` are those that differ from the model's."""
        return tuple(
            Group(
                lowest,
                tuple((np.flatnonzero(taken == lowest) + 1).tolist()),
                names.get(lowest, self.leaf_names[lowest - 1]),
                f"#{bytes(self.leaf_colours[lowest].tolist()).hex()}",
            )
            for lowest in np.unique(taken).tolist()
        )


def _check_groups(groups: Sequence[Sequence[int]], known: Sequence[int]) -> None:
    """Refuses ids that are not `known`, or in two groups."""
    ids = [number for group in groups for number in group]
    wrong = [number for number in ids if number not in known]
    twice = [number for number in ids if ids.count(number) > 1]
    if not wrong and not twice and all(groups):
        return
    first = f"cluster {wrong[0]}" if wrong else f"cluster {twice[0]} twice" if twice else ""
    found = first or "an empty group"
    which = (
        f"every cluster from 1 to {known[-1]}"
        if known[-1] == len(known)
        else f"each of the clusters {', '.join(map(str, known))}"
    )
    raise InputError("groups=", expected=f"{which} at most once", found=found, remedy="correct it")
