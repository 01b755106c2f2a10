"""How scenes are to be read: the options of opening them that decide what their numbers mean."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgc_jax.data.formats.detect import scene_stem

BESIDE = ("mask", "dark", "white")
"""Options that name files beside scenes."""


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """The options of opening a scene, or all scenes of a data set; None leaves it to the file.

    Attributes:
        variable: which array of a file that holds several.
        axes: order of its axes, such as `"brc"`, if the file does not say.
        wavelengths: of the stored bands, nm (below 100: micrometres): numbers, or the path of a
            text file of them.
        mask: path of a picture of what is usable. Of a data set it may be a pattern with `{stem}`,
            the scene's name; so may the references.
        dark: path of the dark reference; empty: none, not even that of the camera's folder.
        white: path of the white reference, likewise.
        scale: what to divide stored numbers by to get reflectance.
        keep_bad_bands: also use bands that the file calls bad, or that hold no data.
    """

    variable: str | None = None
    axes: str | None = None
    wavelengths: Sequence[float] | np.ndarray | str | os.PathLike[str] | None = None
    mask: str | os.PathLike[str] | None = None
    dark: str | os.PathLike[str] | None = None
    white: str | os.PathLike[str] | None = None
    scale: float | None = None
    keep_bad_bands: bool = False

    def but(self, options: Mapping[str, Any] | None) -> "Reading":
        """The same, but for options (by name) that are not None."""
        given = {name: value for name, value in (options or {}).items() if value is not None}
        return dataclasses.replace(self, **given)

    @property
    def patterns(self) -> tuple[Any, ...]:
        """What files beside scenes are called: paths, patterns or None."""
        return tuple(getattr(self, name) for name in BESIDE)

    def of_scene(self, path: str) -> "Reading":
        """The reading of one scene, `{stem}` being its name and its folder where to look."""
        found = {name: getattr(self, name) for name in BESIDE}
        stem, folder = scene_stem(path), os.path.dirname(path)
        return self.but(
            {
                name: os.path.join(folder, pattern.replace("{stem}", stem))
                for name, pattern in found.items()
                if isinstance(pattern, str) and "{stem}" in pattern
            }
        )


def of_options(options: Any) -> Reading:
    """The reading that attributes of an object of these names tell, such as a configuration's."""
    names = (field.name for field in dataclasses.fields(Reading))
    return Reading(**{name: getattr(options, name) for name in names if hasattr(options, name)})
