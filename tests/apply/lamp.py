"""Two scenes of which one holds a material that no leaf has, and float64 truth on confidence."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import spectral.io.envi

from dgc_jax import Segmenter, open_cube
from dgc_jax.data.simulation import leaves
from dgc_jax.model import normalisation

GRID = np.linspace(400.0, 1000.0, 301)  # nm
LAMP = 0.05 + 0.8 * np.exp(-(((GRID - 650) / 6) ** 2) / 2)  # a line of emission: no leaf has one
SPOT = np.s_[10:22, 30:44]
HOLE = np.s_[0:6, 0:50]


def write(folder: pathlib.Path) -> pathlib.Path:
    """A scene like those of the training, and one with a lamp in it and a hole."""
    rng = np.random.default_rng(0)
    for name in ("known", "lamp"):
        reflectance, _ = leaves.simulate(1, leaves.Leaves(size=56, scenes=2, seed=9))
        if name == "lamp":
            noise = 0.005 * rng.standard_normal((12, 14, 301))
            reflectance[SPOT] = LAMP + noise
            reflectance[HOLE] = 0
        spectral.io.envi.save_image(
            str(folder / f"{name}.hdr"),
            reflectance[:, :50],
            dtype=np.float32,
            metadata={
                "wavelength": GRID.tolist(),
                "wavelength units": "nm",
                "map info": "{UTM, 1, 1, 500000, 4000000, 2, 2, 33, North, WGS-84}",
            },
        )
    return folder


def truth(segmenter: Segmenter, path: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Margin and similarity (float64, NaN = no data) and labels of a scene taken as one image."""
    cube = open_cube(path)
    reflectance, valid = cube.read(0, 0, *cube.shape[:2])
    cosines = cosines_of(segmenter, reflectance[None], valid[None])[0]
    q = scipy.special.softmax(cosines / segmenter.model.temperature, axis=-1)
    ids = np.asarray(segmenter.tree.lookup)
    shares = np.stack([q[..., ids == k].sum(-1) for k in range(1, segmenter.clusters + 1)], -1)
    two = np.sort(shares, axis=-1)[..., -2:]
    margin, similarity = two[..., 1] - two[..., 0], cosines.max(axis=-1)
    labels = np.asarray(segmenter.predict(reflectance[None], valid[None]))[0]
    return np.where(valid, margin, np.nan), np.where(valid, similarity, np.nan), labels


def cosines_of(segmenter: Segmenter, crops: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """`[crop, row, column, K']` float64 cosines to the trained centroids."""

    @jax.jit
    def embedded(crops: jax.Array, valid: jax.Array) -> jax.Array:
        constants = segmenter.model.normalisation
        spectra = normalisation.to_bins(jnp.where(valid[..., None], crops, 0), constants)
        spectra = normalisation.normalise(spectra, constants)
        return segmenter.model.embed(spectra, valid)[1]

    z = embedded(crops, valid)
    return np.asarray(z, np.float64) @ np.asarray(segmenter.model.centroids, np.float64).T
