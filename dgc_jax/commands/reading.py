"""How scenes are read: options of commands, and what the training did where they say nothing."""

import os
from collections.abc import Mapping
from typing import Any

from dgc_jax.data.cube import Cube
from dgc_jax.data.formats.detect import scene_stem
from dgc_jax.data.scenes import open_recognised

READING = ("variable", "axes", "wavelengths", "mask", "dark", "white", "scale")
"""Options of `dgc_jax.data.scenes.open_scenes` that may differ from the training's."""
BESIDE = ("mask", "dark", "white")
"""Those that may be patterns with `{stem}`."""


def given(values: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options that say something."""
    return {name: value for name, value in (values or {}).items() if value is not None}


def opened(path: str, options: Mapping[str, Any]) -> Cube:
    """Opens a scene where no model says how.

    Args:
        path: of the scene.
        options: `READING`, each a value or None, and perhaps `keep_bad_bands`.

    Raises:
        InputError: if it cannot be opened.
    """
    stem = scene_stem(path)
    beside = {
        key: os.path.join(os.path.dirname(path), options[key].replace("{stem}", stem))
        for key in BESIDE
        if options[key] is not None and "{stem}" in options[key]
    }
    keep = options.get("keep_bad_bands", False)
    how = {name: value for name, value in options.items() if name != "keep_bad_bands"}
    return open_recognised(path, **{**how, **beside}, keep_bad_bands=keep)
