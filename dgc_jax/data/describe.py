"""What was understood of a scene and what looks wrong with it, told from a sparse sample."""

import numpy as np

from dgc_jax.data import empty_bands
from dgc_jax.data.cube import Cube

_COUNTS = 2.0  # reflectance rarely exceeds 1; the brightest hundredth above this is no reflectance


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
    spectra, valid = _sample(cube)
    left_out = cube.store.shape[2] - len(cube.bands)
    facts = [
        ("scene", cube.name),
        ("format", cube.format),
        ("size", f"{rows} rows x {columns} columns x {bands} bands"),
        ("type", cube.store.dtype.name),
        ("wavelengths", _wavelengths(cube)),
        ("bands left out", str(left_out)),
        ("scale", "white and dark reference" if cube.gain is not None else f"{cube.scale:g}"),
        ("ignore value", "none" if cube.ignore_value is None else f"{cube.ignore_value:g}"),
        ("georeference", ", ".join(cube.geo) or "none"),
        ("valid pixels", f"{100 * valid.mean():.1f} % of {valid.size} sampled"),
    ]
    warnings = []
    if cube.wavelengths is None:
        warnings.append(
            "No wavelengths: bands cannot be chosen in nm nor scenes matched; give them by "
            "--wavelengths."
        )
    if not valid.any():
        warnings.append(empty_bands.why_invalid(cube) or "No sampled pixel is valid.")
    elif valid.mean() < 0.5:
        warnings.append(
            "Only a minority of the sampled pixels are valid: check the ignore value, the mask and "
            "the references."
        )
    if len(spectra):
        low, first, median, last, high = np.quantile(spectra, (0, 0.01, 0.5, 0.99, 1))
        facts.append(
            (
                "values",
                f"{low:.4g} to {high:.4g}, median {median:.4g}, 98 % within {first:.4g} to "
                f"{last:.4g} (after scaling)",
            )
        )
        if last > _COUNTS or first < -1:
            warnings.append(
                "Values are far beyond reflectance (0 to 1), so these may be raw counts or "
                "radiance, or a scale factor is missing: calibrate with --white and --dark, or "
                "set the header's 'reflectance scale factor'."
            )
        elif high == low:
            warnings.append("All sampled values are equal: check the data type and header offset.")
        elif last < 0.01 and cube.scale > 1:
            warnings.append(
                f"Values are very small: perhaps the file was divided by its scale factor "
                f"{cube.scale:g} already."
            )
    return facts, warnings


def _wavelengths(cube: Cube) -> str:
    if cube.wavelengths is None:
        return "unknown"
    first, last = cube.wavelengths[0], cube.wavelengths[-1]
    text = f"{first:.6g} to {last:.6g} nm"
    if len(cube.wavelengths) > 1:
        text += f", {(last - first) / (len(cube.wavelengths) - 1):.3g} nm apart on average"
    return text


def _sample(cube: Cube) -> tuple[np.ndarray, np.ndarray]:
    """Spectra `[valid pixel, band]` and validity `[pixel]` of windows spread over the scene."""
    windows = [cube.request(*window) for window in empty_bands.windows(cube.shape[:2])]
    read = [window.result() for window in windows]
    spectra = np.concatenate([reflectance[valid] for reflectance, valid in read])
    return spectra, np.concatenate([valid.ravel() for _, valid in read])
