"""Closed-form optics of a leaf lying on a black conveyor: what is in it -> reflectance.

A leaf is one scattering layer over a black support. Its contents absorb, K is their sum, and the
two-flux equations of Kubelka and Munk give the reflectance of the layer; the surface of the leaf
adds a reflectance of its own, the same at every wavelength. Absorption is a sum of Gaussians
whose positions and widths follow the literature and whose heights were chosen to give spectra
like those of leaves: a simulation, not measurements.

Units: wavelengths nm; pigments ug/cm2; water and dry matter cm and g/cm2; brown pigment 1 for a
leaf as brown as a dead one; absorption and scattering per layer; reflectance 0..1.

Sources: two-flux layer: Kubelka, J. Opt. Soc. Am. 38 (1948) 448. Positions of pigment bands in
the living leaf: Lichtenthaler, Methods Enzymol. 148 (1987) 350; Feret et al., Remote Sens.
Environ. 112 (2008) 3030. Water: Kou et al., Appl. Opt. 32 (1993) 3531. Oxidised polyphenols
absorb like melanins, falling exponentially with wavelength.
"""

from collections.abc import Sequence

import numpy as np

SURFACE = 0.025
"""Reflectance of the leaf's surface, which no pigment reaches."""

# (centre nm, standard deviation nm, height). The broad bands at 600 nm stand for the lengthened
# light path of a living leaf, which makes it absorb green; the one at 698 nm for the long-wave
# forms of chlorophyll a that put the red edge beyond 700 nm.
_CHLOROPHYLL_A = (
    (415, 17, 0.055),
    (438, 18, 0.090),
    (600, 50, 0.029),
    (622, 14, 0.008),
    (660, 16, 0.035),
    (678, 11, 0.080),
    (698, 11, 0.020),
)
_CHLOROPHYLL_B = ((455, 14, 0.080), (476, 20, 0.130), (600, 50, 0.029), (650, 14, 0.080))
_CAROTENOID = ((422, 14, 0.070), (450, 16, 0.110), (482, 18, 0.110), (506, 22, 0.080))
_WATER = ((740, 10, 0.020), (836, 14, 0.022), (972, 24, 0.430), (1030, 45, 0.160))  # 1/cm


def _gaussians(wavelengths: np.ndarray, bands: Sequence[tuple[float, float, float]]) -> np.ndarray:
    centre, width, height = np.array(bands, np.float64).T
    offset = (np.asarray(wavelengths, np.float64)[:, None] - centre) / width
    return np.exp(-0.5 * offset**2) @ height


def specific_absorption(wavelengths: np.ndarray) -> dict[str, np.ndarray]:
    """Absorption per unit of each content of a leaf.

    Args:
        wavelengths: `[band]` in nm.

    Returns:
        `[band]` float64 for each of `chlorophyll_a`, `chlorophyll_b`, `carotenoid` (cm2/ug),
        `water` (1/cm), `dry` (cm2/g) and `brown` (per leaf as brown as a dead one).
    """
    wavelengths = np.asarray(wavelengths, np.float64)
    return {
        "chlorophyll_a": _gaussians(wavelengths, _CHLOROPHYLL_A),
        "chlorophyll_b": _gaussians(wavelengths, _CHLOROPHYLL_B),
        "carotenoid": _gaussians(wavelengths, _CAROTENOID),
        "water": _gaussians(wavelengths, _WATER),
        "dry": 2.0 + 12.0 * np.exp(-(wavelengths - 400.0) / 100.0),
        "brown": 10.0 * np.exp(-(wavelengths - 550.0) / 125.0),
    }


def layer_reflectance(absorption: np.ndarray, scattering: np.ndarray) -> np.ndarray:
    """Reflectance of a Kubelka-Munk layer over a black support.

    `R = 1 / (a + b coth(b S))`, `a = 1 + K / S`, `b = sqrt(a^2 - 1)`; without absorption
    `S / (1 + S)`, for a thick layer `a - b`.

    Args:
        absorption: K of the layer, > 0; any shape.
        scattering: S of the layer, > 0; broadcast against `absorption`.

    Returns:
        Reflectance 0..1 of the broadcast shape.
    """
    excess = absorption / scattering
    b = np.sqrt(excess * (excess + 2))
    damped = np.tanh(b * scattering)
    return damped / ((1 + excess) * damped + b)


def leaf_reflectance(
    wavelengths: np.ndarray,
    *,
    chlorophyll: np.ndarray,
    carotenoid: np.ndarray,
    water: np.ndarray,
    dry: np.ndarray,
    brown: np.ndarray,
    scattering: np.ndarray,
) -> np.ndarray:
    """Reflectance of pieces of leaf on a black support.

    Args:
        wavelengths: `[band]` in nm.
        chlorophyll: `[pixel]` chlorophyll a + b (3 : 1), ug/cm2; 20 to 60 in a green leaf.
        carotenoid: `[pixel]` ug/cm2; about a fifth of the chlorophyll.
        water: `[pixel]` thickness of the water, cm; about 0.02.
        dry: `[pixel]` dry matter, g/cm2; about 0.006.
        brown: `[pixel]` brown pigment; 0 in a healthy leaf.
        scattering: `[pixel]` scattering of the layer; about 1.

    Returns:
        `[pixel, band]` float32, 0..1.
    """
    contents = {
        "chlorophyll_a": 0.75 * chlorophyll,
        "chlorophyll_b": 0.25 * chlorophyll,
        "carotenoid": carotenoid,
        "water": water,
        "dry": dry,
        "brown": brown,
    }
    specific = specific_absorption(wavelengths)
    amounts = np.stack([contents[name] for name in specific], axis=-1).astype(np.float32)
    spectra = np.stack(list(specific.values())).astype(np.float32)
    # Diffuse light travels twice the thickness of a layer, and a leaf is about 1.5 layers.
    absorption = 2 * 1.5 * amounts @ spectra  # [pixel, band]
    below = layer_reflectance(absorption, np.asarray(scattering, np.float32)[:, None])
    return SURFACE + (1 - SURFACE) * below


def conveyor_reflectance(wavelengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reflectance of the black conveyor: carbon-black rubber, rising slowly with wavelength.

    Args:
        wavelengths: `[band]` in nm.

    Returns:
        `[band]` float32 of the flat part, and of the textured part (a paler, dustier rubber).
    """
    position = (np.asarray(wavelengths, np.float64) - 700.0) / 300.0  # -1..1
    flat = 0.040 * (1 + 0.06 * position)
    textured = 0.075 * (1 + 0.20 * position)
    return flat.astype(np.float32), textured.astype(np.float32)
