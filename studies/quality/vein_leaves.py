"""A second simulator of leaves, made apart from the package's own: veins and brown blotches.

Reflectance falls exponentially with what a leaf contains (no layer model); veins are thin curves
drawn at sub-pixel distance. Shapes and strengths are plausible choices, not measurements. Labels
are those of `dgc_jax.data.simulation.leaves`. Absorptions are optical depths of a typical leaf,
wavelengths nm, lengths pixels, positions (row, column), or on a leaf (along, across) in half
lengths.
"""

import os

import numpy as np
import scipy.ndimage
import scipy.spatial

from dgc_jax.files import replacing


def _field(rng: np.random.Generator, size: int, scale: float) -> np.ndarray:
    """A random field `[row, column]`, smooth over `scale` pixels, within -1..1."""
    field = scipy.ndimage.gaussian_filter(rng.standard_normal((size, size)), scale, mode="wrap")
    field -= field.mean()
    return field / np.abs(field).max()


def _absorption(nm: np.ndarray) -> np.ndarray:
    """Optical depth `[content, band]` of chlorophyll, carotenoid, water and brown pigment."""

    def bump(centre: float, width: float) -> np.ndarray:
        return np.exp(-0.5 * ((nm - centre) / width) ** 2)

    red_edge = 1 / (1 + np.exp((nm - 715) / 9))  # 1 in the visible, 0 in the near infrared
    chlorophyll = 1.60 * red_edge - 0.20 * bump(553, 24)
    chlorophyll += 0.3 * bump(385, 25) + 0.5 * bump(430, 20) + 0.4 * bump(460, 18)
    chlorophyll += 0.25 * bump(640, 24) + 0.6 * bump(680, 13)
    carotenoid = 0.35 * bump(452, 16) + 0.45 * bump(482, 18)
    return np.stack([chlorophyll, carotenoid, 0.13 * bump(970, 28), 3 * np.exp((400 - nm) / 170)])


class _Leaf:
    """Shape of one leaf: an ovate superellipse with a bent midrib, turned in the image."""

    def __init__(self, rng: np.random.Generator, centre: np.ndarray, angle: float) -> None:
        self.centre = centre
        self.turn = np.array([[np.sin(angle), np.cos(angle)], [np.cos(angle), -np.sin(angle)]])
        self.width, self.power = rng.uniform(0.52, 0.68), rng.uniform(1.6, 2.1)
        self.egg, self.bend = rng.uniform(0.1, 0.35), rng.uniform(-0.12, 0.12)
        self.wave = rng.uniform(0, 2 * np.pi, 2)

    def half_width(self, along: np.ndarray) -> np.ndarray:
        """Distance from the midrib to the margin."""
        bow = np.clip(1 - np.abs(along) ** self.power, 0, None) ** (1 / self.power)
        return self.width * bow * (1 - self.egg * along)

    def coordinates(self, size: int, length: float) -> tuple[np.ndarray, np.ndarray]:
        """(along, across) `[row, column]` of the pixels, for a half length in pixels."""
        offset = np.stack(np.mgrid[:size, :size], -1) + 0.5 - self.centre
        along, across = np.moveaxis(offset @ self.turn.T / length, -1, 0)
        return along, across - self.bend * (along**2 - 0.3)

    def inside(self, size: int, length: float) -> np.ndarray:
        """Which pixels the leaf covers, `[row, column]`."""
        along, across = self.coordinates(size, length)
        wavy = 1 + 0.025 * np.sin(9 * along + self.wave[(across > 0).astype(int)])
        return np.abs(across) < self.half_width(along) * wavy

    def veins(self, rng: np.random.Generator, size: int, length: float) -> np.ndarray:
        """Share of each pixel that is vein, `[row, column]`: midrib and 10 to 16 side veins."""
        steps = np.linspace(0, 1, int(8 * length))[:, None]
        midrib = rng.uniform(1.25, 1.5) * (1 - 0.25 * steps)
        curves = [np.hstack([2 * steps - 1, 0 * steps, midrib])]
        pairs, lean = int(rng.integers(5, 9)), rng.uniform(0.5, 0.9)
        for vein in range(2 * pairs):
            side = 1 if vein % 2 else -1
            start = -0.85 + 1.5 * (vein // 2 + 0.35 * (vein % 2) + rng.normal(0, 0.06)) / pairs
            reach = lean * self.half_width(np.array(start + 0.15))
            along = start + reach * (0.75 * steps + 0.45 * steps**2)
            across = side * 0.93 * steps * self.half_width(along)
            curves.append(np.hstack([along, across, np.full_like(steps, rng.uniform(0.5, 0.75))]))
        along, across, half = np.concatenate(curves).T
        on_leaf = np.stack([along, across + self.bend * (along**2 - 0.3)], -1)
        tree = scipy.spatial.cKDTree(on_leaf * length @ self.turn + self.centre)
        pixels = np.stack(np.mgrid[:size, :size], -1) + 0.5
        distance, nearest = tree.query(pixels, distance_upper_bound=4)
        return np.clip(np.append(half, 0)[nearest] + 0.5 - distance, 0, 1)


def _place(rng: np.random.Generator, size: int) -> tuple[list[_Leaf], float]:
    """One or two leaves, and the half length with which they cover 35 to 50 % of the scene."""
    count, angle = int(rng.integers(1, 3)), rng.uniform(0, 2 * np.pi)
    away = np.array([np.cos(angle), -np.sin(angle)])  # across the midribs
    leaves = []
    for sign in (0,) if count == 1 else (-1, 1):
        centre = size * (0.5 + 0.235 * sign * away + rng.normal(0, 0.015, 2))
        leaves.append(_Leaf(rng, centre, angle + np.pi * rng.integers(2) + rng.normal(0, 0.12)))
    share, low, high = rng.uniform(0.36, 0.49), 0.1 * size, 1.0 * size
    for _ in range(14):
        length = (low + high) / 2
        covered = np.any([leaf.inside(size, length) for leaf in leaves], 0).mean()
        low, high = (length, high) if covered < share else (low, length)
    return leaves, low


def _lesions(rng: np.random.Generator, leaf: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`[row, column]` brownness, 0 outside of blotches, and strength of their halos, 0..1."""
    size, count = len(leaf), int(rng.integers(5, 13))
    unit = size / 160  # larger scenes have larger blotches, not more
    places = np.argwhere(scipy.ndimage.binary_erosion(leaf, iterations=3))
    centres = places[rng.integers(0, len(places), count)]
    radii, target = rng.uniform(2, 7, count) * unit, rng.uniform(0.016, 0.024) * size**2
    brownness, halos = rng.uniform(0.85, 1.3, count), rng.uniform(0.5, 1, count)
    halos *= rng.uniform(size=count) < 0.5
    waves = rng.normal(0, 0.13, (count, 4)), rng.uniform(0, 2 * np.pi, (count, 4))
    ragged = 1 + 0.35 * _field(rng, size, 1.2)
    pixels = np.mgrid[:size, :size]
    for _ in range(4):  # rescale the radii until the area is about right
        depth = np.full((count, size, size), -np.inf)  # pixels inside the rim
        for i, (row, column) in enumerate(centres):
            down, right = pixels[0] - row, pixels[1] - column
            angle = np.arctan2(down, right)[..., None] * np.arange(1, 5) + waves[1][i]
            rim = radii[i] * (1 + np.cos(angle) @ waves[0][i]) * ragged
            depth[i] = np.where(leaf, rim - np.hypot(down, right), -np.inf)
        radii = radii * np.sqrt(target / max((depth.max(0) > 0).sum(), 1))
        radii = radii.clip(2 * unit, 7 * unit)
    which, deepest = depth.argmax(0), depth.max(0)
    lesion = deepest > 0
    brown = np.where(lesion, brownness[which] * (0.7 + 0.3 * (deepest / 2.5).clip(0, 1)), 0)
    ring = scipy.ndimage.binary_dilation(lesion) & leaf & ~lesion
    return brown, np.where(ring, halos[which], 0)


def _background(
    rng: np.random.Generator, leaf: np.ndarray, nm: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Reflectance of the table, and which pixels are a band or a corner of rough material."""
    size, position = len(leaf), (nm - 700) / 300
    row, column = np.mgrid[:size, :size] / size
    if rng.uniform() < 0.5:
        angle = rng.uniform(0, np.pi)
        far = (row - 0.5) * np.sin(angle) + (column - 0.5) * np.cos(angle)
        far = np.abs(far - rng.uniform(-0.4, 0.4))
    else:
        far = np.hypot(row - rng.integers(2), 1.2 * (column - rng.integers(2)))
    rough = far < np.quantile(far[~leaf], rng.uniform(0.3, 0.6))
    table = rng.uniform(0.035, 0.055) * (1 + rng.uniform(-0.12, 0.12) * position)
    mat = rng.uniform(0.075, 0.095) * (1 + rng.uniform(0.2, 0.4) * position)
    grain = np.exp(0.55 * _field(rng, size, 1.3))
    specks = scipy.ndimage.gaussian_filter(rng.standard_normal((size, size)), 0.7)
    grain *= 1 + 0.4 * np.sign(specks) * (np.abs(specks) > 2 * specks.std())
    grain /= grain[rough & ~leaf].mean()
    return np.where(rough[..., None], grain[..., None] * mat, table), rough


def simulate(
    index: int, *, seed: int, size: int = 160, bands: int = 150
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scene `index` of a seed, with `bands` from 400 to 1000 nm; a function of its arguments.

    Returns:
        Reflectance `[row, column, band]`, labels `[row, column]` uint8, wavelengths `[band]`, nm.
    """
    rng, nm = np.random.default_rng([seed, index]), np.linspace(400.0, 1000.0, bands)
    leaves, length = _place(rng, size)
    labels = np.ones((size, size), np.uint8)
    chlorophyll, water, plateau = np.zeros((3, size, size))
    blade = np.ones((size, size))  # shading across the blade
    for leaf in leaves:
        inside = leaf.inside(size, length)
        along, across = leaf.coordinates(size, length)
        labels[inside] = 3
        green = rng.uniform(0.7, 1.3) * (1 + 0.25 * _field(rng, size, 0.09 * size))
        veins = leaf.veins(rng, size, length)
        green *= 1 - rng.uniform(0.45, 0.70) * veins
        curve = np.sin(rng.uniform(1.5, 2.5) * across / leaf.width + rng.uniform(-1, 1))
        shade = 1 + 0.15 * rng.choice([-1, 1]) * curve * np.cos(0.8 * along)
        infrared = rng.uniform(0.45, 0.50) * (1 - rng.uniform(0.06, 0.10) * veins)
        moist = rng.uniform(0.8, 1.2) * (1 + 0.1 * _field(rng, size, 0.06 * size))
        chlorophyll, water = np.where(inside, [green, moist], [chlorophyll, water])
        plateau, blade = np.where(inside, [infrared, shade], [plateau, blade])
    brown, halo = _lesions(rng, labels == 3)
    lesion = brown > 0
    carotenoid = chlorophyll**0.7 * np.where(lesion, 0.2, 1)  # outlasts chlorophyll in the halo
    chlorophyll = chlorophyll * np.where(lesion, rng.uniform(0.03, 0.1), 1 - 0.65 * halo)
    water = water * np.where(lesion, 0.4, 1)
    plateau = plateau * np.where(lesion, 1 - rng.uniform(0.25, 0.40), 1)

    reflectance, rough = _background(rng, labels >= 3, nm)
    labels[rough & (labels == 1)] = 2
    labels[lesion] = 4
    tissue = labels >= 3
    contents = np.stack([chlorophyll, carotenoid, water, brown], -1)[tissue]
    reflectance[tissue] = plateau[tissue, None] * np.exp(-contents @ _absorption(nm))
    # The light: level and tilt of the scene, uneven over it, and across the blades.
    light = rng.normal(1, 0.10) * (1 + rng.normal(0, 0.05) * (nm - 700) / 300)
    gain = (1 + 0.12 * _field(rng, size, 0.25 * size)) * blade
    reflectance *= gain[..., None] * light
    # The sensor: blur, striped columns, noise.
    reflectance = scipy.ndimage.gaussian_filter(reflectance, (0.6, 0.6, 0), mode="nearest")
    reflectance *= rng.normal(1, 0.005, (size, 1))
    ends = np.where(np.abs(np.linspace(-1, 1, bands)) > 0.9, 4.0, 1.0)  # 5 % on either side
    noise = rng.standard_normal(reflectance.shape, np.float32) * ends
    reflectance += noise * (0.004 + 0.01 * reflectance)
    return reflectance.clip(0, 1).astype(np.float32), labels, nm


def write(folder: str, scenes: int, seed: int, size: int = 160, bands: int = 150) -> None:
    """Writes scenes 0 to `scenes` - 1 (see `simulate`) into a new folder, which appears whole.

    It holds `scene_00.npy` (float32 `[row, column, band]`), `scene_00_labels.npy` (uint8
    `[row, column]`) and so on, and `wavelengths.txt` (nm, one a line).
    """
    with replacing(folder) as temporary:
        os.makedirs(temporary)
        for index in range(scenes):
            reflectance, labels, nm = simulate(index, seed=seed, size=size, bands=bands)
            np.save(os.path.join(temporary, f"scene_{index:02d}.npy"), reflectance)
            np.save(os.path.join(temporary, f"scene_{index:02d}_labels.npy"), labels)
            np.savetxt(os.path.join(temporary, "wavelengths.txt"), nm, fmt="%.3f")
