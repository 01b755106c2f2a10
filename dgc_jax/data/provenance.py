"""What a scene was read from, and how, as the manifests of outputs record it."""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from dgc_jax import manifest
from dgc_jax.data import arrays
from dgc_jax.data.cube import Cube
from dgc_jax.data.formats.detect import MEMORY, files_of
from dgc_jax.data.labels import split_variable
from dgc_jax.data.reading import BESIDE
from dgc_jax.data.scenes import Scene


def made_from(cube: Cube) -> dict[str, Any]:
    """Everything that decides which numbers an opened scene gives, but for the choice of bands.

    Args:
        cube: the scene.

    Returns:
        JSON values: the files of the `scene` (a fingerprint of one that Python held) and of its
        `mask`, `dark` and `white` reference, see `dgc_jax.manifest.files`; how it was to be opened;
        and what was understood of its numbers.
    """
    how = cube.reading
    held = cube.path.startswith(MEMORY)
    scene = arrays.identity(cube) if held else manifest.files(files_of(cube.path))
    found: dict[str, Any] = {"scene": scene}
    for name in BESIDE:
        found[name] = beside(getattr(how, name))
    wavelengths = how.wavelengths
    if isinstance(wavelengths, str | os.PathLike):
        found["wavelengths"] = manifest.files([wavelengths])
    else:
        numbers = None if wavelengths is None else np.asarray(wavelengths, np.float64)
        found["wavelengths"] = None if numbers is None else manifest.digest(numbers)
    return found | {
        "variable": how.variable,
        "axes": how.axes,
        "stored": [cube.store.dtype.name, *cube.store.shape],
        "scale": float(cube.scale),
        "no data": None if cube.ignore_value is None else str(float(cube.ignore_value)),
    }


def beside(path: str | os.PathLike[str] | None) -> list[dict[str, Any]] | None:
    """The files of what lies beside a scene (`path` or `path:variable`), or None."""
    if path is None:
        return None
    path = os.fspath(path)
    return manifest.files(files_of(path if os.path.exists(path) else split_variable(path)[0]))


def bands(cube: Cube) -> str:
    """A fingerprint of the bands that a scene gives."""
    own = cube.bands
    return manifest.digest(own.index, own.centres, own.wavelengths, *(own.taps or ()))


def of_scenes(scenes: Iterable[Scene]) -> dict[str, Any]:
    """What a data set was read from: `made_from` and the bands of each scene, by its name."""
    return {
        f"{scene.cube.name}: {what}": value
        for scene in scenes
        for what, value in (made_from(scene.cube) | {"bands": bands(scene.cube)}).items()
    }


def of_labels(scenes: Iterable[Scene]) -> dict[str, Any]:
    """The files of the label maps of a data set, and how they are read, by the scene's name."""
    return {f"{scene.cube.name}: labels": beside(scene.labels_path) for scene in scenes}
