"""One colour for each cluster id, the same in every map, plot and legend.

`of_spectra` gives those of a model: green to vegetation, grey to what is dark or has no colour of
its own, other hues to the rest; and to what a cluster is parted into at finer levels its hue. Each
is, of what its kind allows, the farthest from those before, seen with normal vision and with
simulated protan- and deuteranopia.

`colours` knows nothing of spectra. There ids 1..8 have the colours of Okabe and Ito, ordered so
that few clusters are far apart (blue, orange, bluish green first) and black comes last. Ids 9..32
were then chosen one by one to be as far as possible, in CIELAB under normal vision and simulated
protan-, deuter- and tritanopia, from those before, from the no-data grey and from white paper.
Later ids repeat these hues lighter and darker: always different, but no longer easy to tell apart.

References:
    Okabe & Ito 2008, Color Universal Design.
    Machado, Oliveira & Fernandes 2009, A physiologically-based model for simulation of color vision
    deficiency.
    Ottosson 2020, A perceptual color space for image processing (OKLab).
"""

import functools

import numpy as np

NO_DATA = (220, 220, 220)

_BASE = np.frombuffer(
    bytes.fromhex("""
0072b2 e69f00 009e73 56b4e9 cc79a7 d55e00 f0e442 000000
692d0f 9600ff 2d0f96 4bff96 5a4b4b 3c004b 9678ff b4a55a
965a3c a50f87 694bd2 002d2d 96c396 a53c00 004b69 ffc369
96e1ff 786978 c3b4d2 3c0f00 d2ffd2 4b0f78 c3693c 00d22d
"""),
    np.uint8,
).reshape(-1, 3)


def colours(clusters: int) -> np.ndarray:
    """Colours of the label values 0..clusters; the colour of an id never depends on `clusters`.

    Args:
        clusters: number of clusters K, at most 255.

    Returns:
        `[clusters + 1, 3]` uint8 sRGB; row 0 is the grey of "no data".

    Raises:
        ValueError: more clusters than a uint8 label map holds.
    """
    if not 0 <= clusters <= 255:
        raise ValueError(f"a uint8 label map holds 0..255 clusters, not {clusters}")
    return np.array([NO_DATA, *(_colour(k) for k in range(clusters))], np.uint8)


def _colour(index: int) -> np.ndarray:
    cycle, hue = divmod(index, len(_BASE))
    base = _BASE[hue].astype(int)
    if cycle == 0:
        return base
    # Cycles 1, 2, 3, ...: half way to white, half way to black, a quarter to white, ...
    step = (cycle + 1) // 2
    mix = int(f"{step:b}"[::-1], 2) / 2 ** step.bit_length()  # 1/2, 1/4, 3/4, 1/8, ...
    target = 255 if cycle % 2 else 0
    base = np.maximum(base, 40)  # so that black, too, can be darkened
    return np.round(base + (target - base) * mix).astype(int)


# --- colours with meaning

_VISIONS = np.array(
    [
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]],  # protanopia
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]],  # deuteranopia
    ]
)  # fmt: skip
_TO_LMS = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]]
)  # fmt: skip
_TO_LAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]]
)  # fmt: skip

_HUES = {"green": (105.0, 165.0), "other": (165.0, 465.0), "any": (0.0, 360.0)}
"""OKLab hues of the kinds, degrees."""

_GREEN = 0.5  # NDVI from which on it is green vegetation
_FLAT = 0.2  # standard deviation over the bands, of the mean, up to which it has no colour
_DARK = 0.1  # mean reflectance, of the brightest cluster's, up to which it is dark
_TOLD_APART = 0.1  # OKLab distance below which a kind has no colour left


def of_spectra(
    spectra: np.ndarray,
    pixels: np.ndarray,
    parents: np.ndarray,
    wavelengths: np.ndarray | None,
) -> np.ndarray:
    """Colours of the label values 0..L of a model, by what its clusters look like.

    Args:
        spectra: `[L, band]` mean reflectance of the clusters of the finest level, by id.
        pixels: `[L]` their pixels.
        parents: `[L]` id of the cluster that each was parted from; 0 for those of the level that
            is shown. A parent's id is lower.
        wavelengths: `[band]` nm, or None.

    Returns:
        `[L + 1, 3]` uint8 sRGB; row 0 is the grey of "no data".
    """
    number = len(spectra)
    roots = np.arange(1, number + 1)
    for k, parent in enumerate(parents.tolist()):
        if parent:
            roots[k] = roots[parent - 1]
    mass = np.bincount(roots, pixels, number + 1)
    total = np.zeros((number + 1, spectra.shape[1]))
    np.add.at(total, roots, pixels[:, None] * spectra)
    means = total / np.maximum(mass, 1)[:, None]
    first = [k for k in range(1, number + 1) if not parents[k - 1]]
    kinds = dict(zip(first, _kinds(means[first], wavelengths), strict=True))
    found = np.zeros((number + 1, 3), np.uint8)
    found[0] = NO_DATA
    used = [0]
    # The largest first: it has the plainest colour of its kind.
    for k in sorted(first, key=lambda k: (-mass[k], k)):
        found[k] = _farthest(_allowed(kinds[k]), found[used], _allowed("any"))
        used.append(k)
    for k in range(1, number + 1):
        if parents[k - 1]:
            found[k] = _farthest(_like(found[roots[k - 1]]), found[used], None)
            used.append(k)
    return found


def _kinds(spectra: np.ndarray, wavelengths: np.ndarray | None) -> list[str]:
    """`"green"`, `"grey"` or `"other"` for each of some spectra `[cluster, band]`."""
    ndvi = np.zeros(len(spectra))
    if wavelengths is not None and wavelengths.min() < 680 and wavelengths.max() > 780:
        red, infrared = (spectra[:, np.argmin(np.abs(wavelengths - nm))] for nm in (670, 800))
        ndvi = (infrared - red) / np.maximum(infrared + red, 1e-9)
    brightness = spectra.mean(axis=1)
    flat = spectra.std(axis=1) < _FLAT * brightness
    dark = brightness < _DARK * brightness.max()
    return [
        "green" if n > _GREEN and not d else "grey" if f or d else "other"
        for n, f, d in zip(ndvi, flat, dark, strict=True)
    ]


def _lab(colours: np.ndarray) -> np.ndarray:
    """OKLab `[vision, colour, 3]` of sRGB `[colour, 3]` 0..255."""
    share = colours / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.einsum("vij,cj->vci", _VISIONS, linear), 0, 1)
    return np.cbrt(seen @ _TO_LMS.T) @ _TO_LAB.T


def _grid(hues: np.ndarray, chromas: np.ndarray, lightnesses: np.ndarray) -> np.ndarray:
    """The colours sRGB `[colour, 3]` that there are of these OKLab hues, chromas, lightnesses."""
    hue, chroma, light = (
        g.ravel() for g in np.meshgrid(np.radians(hues), chromas, lightnesses, indexing="ij")
    )
    lab = np.stack([light, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    linear = ((lab @ np.linalg.inv(_TO_LAB).T) ** 3) @ np.linalg.inv(_TO_LMS).T
    linear = linear[np.all((linear >= 0) & (linear <= 1), axis=1)]
    share = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.unique(np.round(255 * share).astype(np.uint8), axis=0)


@functools.cache
def _allowed(kind: str) -> np.ndarray:
    """The colours of `"grey"` or of a kind in `_HUES`."""
    if kind == "grey":
        return _grid(np.zeros(1), np.zeros(1), np.linspace(0.3, 0.8, 26))
    hues = np.arange(*_HUES[kind], 10.0)
    return _grid(hues, np.array([0.1, 0.14, 0.18]), np.linspace(0.55, 0.86, 16))


def _like(colour: np.ndarray) -> np.ndarray:
    """Colours of about the hue of another."""
    _, a, b = _lab(colour[None].astype(float))[0, 0]
    chroma, hue = np.hypot(a, b), np.degrees(np.arctan2(b, a))
    if chroma < 0.02:
        return _grid(np.zeros(1), np.zeros(1), np.linspace(0.2, 0.84, 65))
    chromas = np.linspace(0.03, 0.2, 8)
    return _grid(hue + np.arange(-15, 16, 5.0), chromas, np.linspace(0.25, 0.92, 34))


def _farthest(allowed: np.ndarray, used: np.ndarray, otherwise: np.ndarray | None) -> np.ndarray:
    """Of the allowed colours that with the greatest least distance from those in use.

    Args:
        allowed: `[colour, 3]`.
        used: `[colour, 3]`.
        otherwise: what is allowed if none of them can be told apart; None: nothing else.
    """
    apart = np.linalg.norm(_lab(allowed)[:, :, None] - _lab(used)[:, None, :], axis=-1)
    least = apart.min(axis=(0, 2))
    best = int(np.argmax(least))
    if otherwise is not None and least[best] < _TOLD_APART:
        return _farthest(otherwise, used, None)
    return allowed[best]
