"""Where things are in a simulated leaf scene, and how the light falls on their relief.

Fields are `[row, column]` over a square image of `size` x `size` pixels; lengths are shares of the
image, except where a detail would become finer than the pixels. Light is a unit vector
(row, column) in the plane of the conveyor, pointing towards the lamp.
"""

from collections.abc import Iterator

import numpy as np
import scipy.ndimage


def smooth(rng: np.random.Generator, size: int, scale: float) -> np.ndarray:
    """A random field `[row, column]` of unit variance, smooth over `scale` of the image."""
    field = scipy.ndimage.gaussian_filter(rng.standard_normal((size, size)), scale * size)
    return (field - field.mean()) / field.std()


def conveyor(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels of the conveyor are textured `[row, column]`, and the gain of its relief."""
    row, column = np.mgrid[:size, :size] / size
    boundary = rng.uniform(0.35, 0.65) + rng.uniform(-0.15, 0.15) * (row - 0.5)
    textured = (column > boundary) == (rng.uniform() < 0.5)
    ribs = max(5.0, size / rng.uniform(22, 30))  # pixels from one rib to the next
    angle = rng.uniform(np.pi / 6, np.pi / 3)
    along = (row * np.sin(angle) + column * np.cos(angle)) * size * 2 * np.pi / ribs
    across = (row * np.cos(angle) - column * np.sin(angle)) * size * 2 * np.pi / ribs
    relief = 1 + 0.25 * np.sin(along) + 0.25 * np.sin(across)
    relief += 0.06 * rng.standard_normal(row.shape)
    gain = np.where(textured, relief, 1 + 0.02 * rng.standard_normal(row.shape))
    return textured, gain * (1 + 0.05 * smooth(rng, size, 0.15))


TRAITS = ("chlorophyll", "carotenoid", "water", "dry", "scattering")


def leaves(
    rng: np.random.Generator, size: int, towards_light: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """One to three leaves, the lowest first.

    Yields:
        For each leaf which pixels it covers `[row, column]`, its shading `[row, column]` (1 where
        it lies flat) and its `TRAITS` `[trait, row, column]`.
    """
    count = int(rng.integers(1, 4))
    half_length = (0.44, 0.40, 0.31)[count - 1]
    width = (0.50, 0.36, 0.40)[count - 1]  # half width over half length
    turn = rng.uniform(0, 2 * np.pi)
    for leaf in range(count):
        place = turn + 2 * np.pi * leaf / count
        apart = (0.0, 0.21, 0.28)[count - 1]
        centre = 0.5 + apart * np.array([np.sin(place), np.cos(place)]) + rng.normal(0, 0.015, 2)
        # Side by side when there are two, pointing outwards when there are three.
        angle = place + (np.pi / 2 if count < 3 else 0)
        angle += rng.normal(0, 0.15 if count < 3 else 0.4)
        yield _leaf(
            rng,
            size,
            centre,
            angle,
            half_length * rng.uniform(0.92, 1.08),
            width * rng.uniform(0.9, 1.15),
            towards_light,
        )


def _leaf(
    rng: np.random.Generator,
    size: int,
    centre: np.ndarray,
    angle: float,
    half_length: float,
    width: float,
    towards_light: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One leaf: where it is, how it is shaded, what it contains (see `leaves`).

    `along` runs from -1 at the base to 1 at the tip, `across` is 0 on the midrib; both are in
    half lengths of the leaf.
    """
    row, column = (np.mgrid[:size, :size] + 0.5) / size
    along = (column - centre[1]) * np.cos(angle) + (row - centre[0]) * np.sin(angle)
    across = (row - centre[0]) * np.cos(angle) - (column - centre[1]) * np.sin(angle)
    along, across = along / half_length, across / half_length
    across = across + rng.uniform(-0.15, 0.15) * (along**2 - 0.3)  # a curved midrib

    # Outline: a beta curve, widest at 0.45 to 0.55 of the length, each margin wavy by itself.
    base, tip = rng.uniform(0.55, 0.75), rng.uniform(0.65, 0.9)
    clipped = np.clip(along, -1, 1)
    outline = ((1 + clipped) / (2 * base)) ** base * ((1 - clipped) / (2 * tip)) ** tip
    outline = width * outline * (base + tip) ** (base + tip)
    phases = rng.uniform(0, 2 * np.pi, (2, 2))
    side = (across > 0).astype(int)
    wavy = 1 + 0.04 * np.sin(7 * along + phases[side, 0])
    wavy += 0.02 * np.sin(17 * along + phases[side, 1])
    outline = outline * wavy
    inside = (np.abs(along) < 1) & (np.abs(across) < outline)
    margin = np.abs(across) / np.maximum(outline, 1e-6)  # 0 on the midrib, 1 at the edge

    # Veins: a tapering midrib, side veins curving towards the tip.
    pixel = 1 / (size * half_length)
    midrib = np.exp(-0.5 * (across / np.maximum(0.012 * (1.6 - along), 0.5 * pixel)) ** 2)
    pairs = rng.uniform(5, 8)
    phase = (along - 0.7 * np.abs(across) - 0.35 * across**2) * pairs + 0.5 * side
    distance = np.abs(phase - np.round(phase)) / pairs
    veins = np.exp(-0.5 * (distance / np.maximum(0.010, 0.45 * pixel)) ** 2)
    veins = np.where(inside, np.maximum(midrib, 0.55 * veins * np.sqrt(1 - margin.clip(0, 1))), 0)

    # Relief in half lengths: folded at the midrib, undulating, ribbed by the veins.
    height = rng.uniform(0.05, 0.25) * np.abs(across) - rng.uniform(0, 0.15) * across**2
    height = height + 0.018 * smooth(rng, size, 0.07) - rng.uniform(-0.08, 0.08) * along**2
    height = height + 0.006 * scipy.ndimage.gaussian_filter(veins, max(1.0, 0.006 * size))
    slope = np.stack(np.gradient(height, pixel))
    facing = 1 - 0.8 * np.tensordot(towards_light, slope, 1)  # light from 51 degrees above
    shading = np.clip(facing / np.sqrt(1 + (slope**2).sum(0)), 0.45, 1.45)

    chlorophyll = rng.uniform(32, 62) * np.exp(0.10 * smooth(rng, size, 0.06))
    chlorophyll *= 1 + rng.uniform(-0.2, 0.2) * along - rng.uniform(0, 0.2) * margin.clip(0, 1)
    chlorophyll = np.maximum(chlorophyll * (1 - 0.55 * veins), 4)
    carotenoid = chlorophyll**0.7 * rng.uniform(0.55, 0.75)
    water = rng.uniform(0.02, 0.035) * np.exp(0.05 * smooth(rng, size, 0.1)) * (1 + 0.5 * veins)
    dry = np.full_like(water, rng.uniform(0.004, 0.008))
    scattering = rng.uniform(0.8, 1.1) * np.exp(0.04 * smooth(rng, size, 0.05)) * (1 + 0.12 * veins)
    return inside, shading, np.stack([chlorophyll, carotenoid, water, dry, scattering])


def shadow(inside: np.ndarray, towards_light: np.ndarray) -> np.ndarray:
    """What a leaf leaves of the light on what lies beneath it, `[row, column]`."""
    size = len(inside)
    cast = scipy.ndimage.shift(inside.astype(float), -0.03 * size * towards_light, order=1)
    return 1 - 0.55 * scipy.ndimage.gaussian_filter(cast, 0.008 * size)


def severity(rng: np.random.Generator, lamina: np.ndarray) -> np.ndarray:
    """How near each pixel of the lamina is to falling ill `[row, column]`, -inf elsewhere."""
    size = len(lamina)
    places = np.argwhere(lamina)
    foci = places[rng.integers(0, len(places), int(rng.integers(3, 8)))]
    row, column = np.mgrid[:size, :size].astype(float)
    row += 0.012 * size * smooth(rng, size, 0.02)  # warped, so that lesions are not round
    column += 0.012 * size * smooth(rng, size, 0.02)
    radii = rng.uniform(0.5, 1.5, len(foci))
    distance = np.stack([np.hypot(row - r, column - c) for r, c in foci], -1) / size
    return np.where(lamina, np.max(-distance / radii, axis=-1), -np.inf)


def lesions(severity: np.ndarray, pixels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The `pixels` worst pixels, how far gone they are and how yellowed their surroundings.

    Returns:
        `[row, column]` each: which pixels are lesion; from 0 at a lesion's rim to 1 some two
        hundredths of the image inside it; from 1 at the rim to 0 far away on the lamina.
    """
    if pixels == 0:
        return np.zeros(severity.shape, bool), np.zeros(severity.shape), np.zeros(severity.shape)
    pixels = min(pixels, int(0.8 * np.isfinite(severity).sum()))  # some of it stays healthy
    worst = np.argsort(severity, axis=None, kind="stable")[-pixels:]
    lesion = np.zeros(severity.size, bool)
    lesion[worst] = True
    depth = severity - severity.ravel()[worst[0]]
    halo = np.where(np.isfinite(severity), np.exp(depth.clip(max=0) / 0.02), 0)
    return lesion.reshape(severity.shape), (depth / 0.015).clip(0, 1), halo
