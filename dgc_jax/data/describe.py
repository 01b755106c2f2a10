"""What was understood of a scene and what looks wrong with it, told from a sparse sample."""

import numpy as np

from dgc_jax.data import empty_bands, units
from dgc_jax.data.cube import Cube


def describe(cube: Cube) -> tuple[list[tuple[str, str]], list[str]]:
    """Describes a scene.

    Args:
        cube: the scene; at most 9216 pixels of it are read.

    Returns:
        Facts as (name, text), and warnings, one sentence each.

    Raises:
        InputError: the file cannot be read.
    """
    rows, columns, bands = cube.shape
    windows = units.sample(cube)
    valid = np.concatenate([usable.ravel() for _, usable in windows])
    left_out = cube.store.shape[2] - len(cube.bands.index)
    by_references = cube.calibration.by_references
    calibrated = "white and dark reference" if by_references else f"{cube.scale:g}"
    facts = [
        ("scene", cube.name),
        ("format", cube.format),
        ("size", f"{rows} rows x {columns} columns x {bands} bands"),
        ("type", cube.store.dtype.name),
        ("wavelengths", _wavelengths(cube)),
        ("bands left out", str(left_out)),
        ("scale", calibrated),
        ("ignore value", "none" if cube.ignore_value is None else f"{cube.ignore_value:g}"),
        ("georeference", ", ".join(cube.geo) or "none"),
        ("valid pixels", f"{100 * valid.mean():.1f} % of {valid.size} sampled"),
    ]
    warnings = []
    if cube.wavelengths is None:
        warnings.append(
            "No wavelengths: bands cannot be chosen in nm nor scenes matched; give them by "
            "wavelengths=."
        )
    if not valid.any():
        warnings.append(empty_bands.why_invalid(cube) or "No sampled pixel is valid.")
    elif valid.mean() < 0.5:
        warnings.append(
            "Only a minority of the sampled pixels are valid: check the ignore value, the mask and "
            "the references."
        )
    seen = units.numbers(windows)
    if seen is not None:
        facts.append(
            (
                "values",
                f"{seen.least:.4g} to {seen.greatest:.4g}, median {seen.median:.4g}, 98 % within "
                f"{seen.low:.4g} to {seen.high:.4g} (after scaling)",
            )
        )
        complaint = units.complaint(seen, cube.scale)
        if seen.unit != "large" and seen.greatest == seen.least:
            complaint = "All sampled values are equal: check the data type and header offset."
        if complaint is not None:
            warnings.append(complaint)
    return facts, warnings


def _wavelengths(cube: Cube) -> str:
    if cube.wavelengths is None:
        return "unknown"
    first, last = cube.wavelengths[0], cube.wavelengths[-1]
    text = f"{first:.6g} to {last:.6g} nm"
    if len(cube.wavelengths) > 1:
        text += f", {(last - first) / (len(cube.wavelengths) - 1):.3g} nm apart on average"
    return text
