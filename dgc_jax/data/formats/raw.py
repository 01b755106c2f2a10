"""What a reader of one file format hands over: the stored numbers and what the file says of them.

A reader applies nothing; `dgc_jax.data.cube` turns a `Raw` into reflectance, so that a scale
factor, an ignore value or a bad-band list is applied exactly once, in one place.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorstore as ts


@dataclasses.dataclass(frozen=True)
class Raw:
    """One scene as stored.

    Attributes:
        store: `[row, column, band]`, native type; nothing is read until asked for.
        wavelengths: `[band]` centre wavelengths in nm (float64, in stored order), or None.
        scale: what to divide a stored number by to get reflectance.
        ignore_value: the stored number that means "no data", or None.
        good_bands: `[band]` bool, False for bands that the file calls bad, or None.
        geo: georeference carried to the outputs: ENVI's `map info` and
            `coordinate system string`, and `crs` (WKT) and `transform`, six numbers (a, b, c, d, e,
            f) by which the upper left corner of pixel (row, column) lies at x = a column + b row +
            c, y = d column + e row + f.
        notes: one sentence for each thing that the reader had to guess or repair.
        forget: gives pages of a memory-mapped file back, see `formats.lazy.forgetter`.
        intact: raises OSError if a memory-mapped file was cut short, see `formats.lazy.keeper`.
    """

    store: ts.TensorStore
    wavelengths: np.ndarray | None = None
    scale: float = 1.0
    ignore_value: float | None = None
    good_bands: np.ndarray | None = None
    geo: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    forget: Callable[[], None] = lambda: None
    intact: Callable[[], None] = lambda: None
