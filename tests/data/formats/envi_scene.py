"""A small scene written by the `spectral` package, as ENVI."""

import re
from pathlib import Path

import numpy as np
import spectral

from dgc_jax.data.formats import envi

SHAPE = (5, 7, 4)
CENTRES = [450.0, 550.0, 650.0, 850.0]


def numbers(dtype="u2", shape=SHAPE):
    return np.random.default_rng(0).integers(1, 120, shape).astype(dtype)


def write(folder: Path, values, *, interleave="bil", byteorder=0, ext=".raw", **metadata) -> Path:
    """Writes `scene.hdr` and its data by spectral; returns the header's path."""
    path = folder / "scene.hdr"
    spectral.envi.save_image(
        str(path),
        values,
        dtype=values.dtype,
        interleave=interleave,
        byteorder=byteorder,
        ext=ext,
        force=True,
        metadata={key.replace("_", " "): value for key, value in metadata.items()},
    )
    return path


def edit(header: Path, pattern: str, replacement: str) -> None:
    """Changes a header's text, as hand or another program would."""
    text = header.read_text()
    changed = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    assert changed != text
    header.write_text(changed)


def stored(path: Path) -> np.ndarray:
    return envi.read(str(path)).store.read().result()
