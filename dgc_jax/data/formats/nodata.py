"""Which stored numbers mean "no data".

Files write the number as text, often with fewer digits than the numbers themselves have, so that
floats need a tolerance: GDAL's, four units in the last place (`ARE_REAL_EQUAL`). Numbers beyond
1e38 are never data: they are what is left of -3.4028235e+38, the usual "no data" of float32, after
a program or two.
"""

import numpy as np

LARGEST = 1e38
"""A float beyond this, of either sign, is never data."""

Limits = tuple[np.generic, np.generic]


def limits(value: float | None, dtype: np.dtype) -> Limits | None:
    """The stored numbers that a no-data number stands for, as an interval with its ends.

    Args:
        value: as the file says it, or None.
        dtype: of the stored numbers.

    Returns:
        The least and the largest of them, equal where numbers are whole; None if there are none,
        or if another rule covers them: 0 (only counts in all bands), NaN, and beyond `LARGEST`.
    """
    if value is None or value == 0 or not abs(value) <= LARGEST or dtype.kind not in "iuf":
        return None
    if dtype.kind == "f":
        # In float64, and rounded to the stored type at the very end.
        stored = float(dtype.type(value))
        epsilon = np.finfo(np.float64 if dtype.itemsize > 4 else np.float32).eps
        tolerance = 4 * float(epsilon) * abs(stored)
        return dtype.type(stored - tolerance), dtype.type(stored + tolerance)
    whole = round(value)
    possible = np.iinfo(dtype)
    if abs(value - whole) > 1e-6 * abs(value) or not possible.min <= whole <= possible.max:
        return None
    return dtype.type(whole), dtype.type(whole)


def missing(numbers: np.ndarray, span: Limits | None) -> np.ndarray:
    """Which pixels have no data in some band: a no-data number, NaN, or one beyond `LARGEST`.

    Args:
        numbers: `[row, column, band]` as stored.
        span: from `limits`.

    Returns:
        Bool `[row, column]`.
    """
    found = np.zeros(numbers.shape[:2], bool)
    if not numbers.size:
        return found
    if numbers.dtype.kind != "f":
        return found if span is None else (numbers == span[0]).any(axis=2)
    # The range of all numbers costs a third of a look at each, and mostly tells that all is well.
    least, greatest = numbers.min(), numbers.max()
    largest = min(LARGEST, float(np.finfo(numbers.dtype).max))
    if not (least >= -largest and greatest <= largest):  # so with NaN
        found |= ~(np.abs(numbers) <= largest).all(axis=2)
    if span is not None and not (least > span[1] or greatest < span[0]):
        found |= ((numbers >= span[0]) & (numbers <= span[1])).any(axis=2)
    return found


def holes(numbers: np.ndarray, span: Limits | None) -> np.ndarray:
    """Which numbers are none: a no-data number, NaN, or one beyond `LARGEST`.

    Args:
        numbers: as stored, any shape.
        span: from `limits`.

    Returns:
        Bool of the same shape; `missing` tells faster whether a pixel has any.
    """
    found = np.zeros(numbers.shape, bool)
    with np.errstate(invalid="ignore"):
        if numbers.dtype.kind == "f":
            found = ~(np.abs(numbers) <= min(LARGEST, float(np.finfo(numbers.dtype).max)))
        if span is not None:
            found |= (numbers >= span[0]) & (numbers <= span[1])
    return found
