"""The embedded data set: simulated scenes of leaves on a black conveyor, with their truth.

A simulation, not measurements. Each scene is a square image of a line-scan camera, 400-1000 nm:
one to three leaves, healthy or with brown blight, on a conveyor that is flat on one side and
textured on the other. The spectra come from `optics`; around them the things that make real
scenes hard are modelled: gradients of pigment, veins, the shading of a curved lamina, shadows cast
on the conveyor, light that differs between scenes in level and colour, blur that mixes the pixels
along edges, a gain of its own in every column, and noise that grows towards both spectral ends.
Lesions are nearly as black in the visible as the conveyor; only the near infrared gives them away.

Convention: reflectance `[row, column, band]`, labels `[row, column]` with 1 = flat background,
2 = textured background, 3 = healthy leaf (veins included), 4 = lesion. A scene is a function of
the parameters and its index alone.
"""

import dataclasses
import hashlib
import json
import math
import os
import shutil

import numpy as np
import PIL.Image
import rich.console
import rich.progress
import scipy.ndimage

from dgc_jax import config, terminal
from dgc_jax.caches import cache_folder
from dgc_jax.data.prepare import create_store
from dgc_jax.data.simulation import optics, shapes
from dgc_jax.errors import InputError
from dgc_jax.files import whole
from dgc_jax.stage import bound, fields

CLASSES = ("flat background", "textured background", "healthy leaf", "lesion")
"""Names of the label values 1, 2, 3, 4."""

BACKGROUND = (1, 2)
"""Label values that count as background in the background/tissue score."""

SCALE = 10000
"""Stored numbers are reflectance times this, uint16."""

_VERSION = 1  # raise when the simulation changes, so that no older cached data set is reused
_PARAMETERS = "leaves.json"


@dataclasses.dataclass(frozen=True)
class Leaves:
    """What to simulate.

    Attributes:
        scenes: number of scenes.
        size: rows and columns of a scene, pixels. Simulating takes 4 kB of memory a pixel.
        bands: number of bands, evenly spaced from 400 to 1000 nm.
        seed: the seed; scene `index` draws from `[seed, index]`.
        light: how much the light differs between scenes. 0: not at all; 1: level within
            exp(+-0.22), tilt within +-10 % at the spectral ends; 2: twice that, for scenes that
            are to be unlike those trained on.
        lesion_share: share of lesion among all pixels of the data set, 0 to 0.08. Diseased
            scenes take turns at half and one and a half times their mean.
        healthy: share of scenes without lesion, 0 to 1, spread evenly: with 0.25 every fourth.
    """

    scenes: int = config.Leaves.scenes
    size: int = config.Leaves.size
    bands: int = 301
    seed: int = config.Leaves.seed
    light: float = config.Leaves.light
    lesion_share: float = config.Leaves.lesion_share
    healthy: float = 0.25

    def __post_init__(self) -> None:
        told = [name.rpartition(".")[2] for name in fields(config.Leaves)]
        for name, least, most in (
            *((name, *bound(config.Leaves, name)[:2]) for name in told),
            ("bands", 2, 10_000),
            ("healthy", 0, 1),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise InputError(
                    f"{name} of the leaf scenes",
                    expected=f"a number from {least:.10g} to {most:.10g}",
                    found=value,
                    remedy="choose a value within",
                )
        most_ill = max(lesion_pixels(index, self) for index in range(self.scenes)) / self.size**2
        if most_ill > 0.16:
            raise InputError(
                "lesion_share=",
                found=f"{self.lesion_share} with healthy= {self.healthy} would cover "
                f"{most_ill:.0%} of a diseased scene, more than the 16 % that leaves have "
                "room for",
                remedy="lower one of them",
            )


def wavelengths(parameters: Leaves) -> np.ndarray:
    """Centre wavelengths `[band]` in nm, float64, 400 to 1000."""
    return np.linspace(400.0, 1000.0, parameters.bands)


def lesion_pixels(index: int, parameters: Leaves) -> int:
    """How many pixels of scene `index` are lesion."""

    def healthy_before(scene: int) -> int:
        return math.floor(scene * parameters.healthy + 1e-9)

    if healthy_before(index + 1) > healthy_before(index):
        return 0
    diseased = parameters.scenes - healthy_before(parameters.scenes)
    turn = index - healthy_before(index)  # which diseased scene this is
    weight = 0.5 if turn % 2 == 0 else 1.5
    if turn == diseased - 1 and diseased % 2 == 1:
        weight = 1.0  # has no partner to make up for it
    pixels = parameters.lesion_share * parameters.size**2 * parameters.scenes / diseased
    return round(weight * pixels)


def illumination(index: int, parameters: Leaves) -> np.ndarray:
    """The light of scene `index` relative to that of the white reference.

    Returns:
        `[band]` float64: level times tilt, 1 everywhere where `parameters.light` is 0.
    """
    level, tilt = np.random.default_rng([parameters.seed, index]).uniform(-1, 1, 2)
    position = (wavelengths(parameters) - 700.0) / 300.0  # -1..1
    return np.exp(0.22 * parameters.light * level) * (1 + 0.10 * parameters.light * tilt * position)


def simulate(index: int, parameters: Leaves) -> tuple[np.ndarray, np.ndarray]:
    """One scene; the same for the same arguments, whatever else was simulated.

    Args:
        index: number of the scene, from 0.
        parameters: what to simulate.

    Returns:
        Reflectance `[row, column, band]` float32, 0..1, and labels `[row, column]` uint8, 1..4.
    """
    rng = np.random.default_rng([parameters.seed, index])
    rng.uniform(-1, 1, 2)  # those of `illumination`
    size = parameters.size

    textured, conveyor_gain = shapes.conveyor(rng, size)
    flat_spectrum, textured_spectrum = optics.conveyor_reflectance(wavelengths(parameters))
    labels = np.where(textured, 2, 1).astype(np.uint8)

    lit = conveyor_gain  # what the light and the relief do to each pixel
    light_direction = rng.uniform(0, 2 * np.pi)
    towards_light = np.array([np.sin(light_direction), np.cos(light_direction)])
    traits = np.zeros((len(shapes.TRAITS), size, size))
    for inside, shading, leaf_traits in shapes.leaves(rng, size, towards_light):
        lit = np.where(inside, shading, lit * shapes.shadow(inside, towards_light))
        traits = np.where(inside, leaf_traits, traits)
        labels[inside] = 3

    severity = shapes.severity(rng, labels == 3)
    lesion, grown, halo = shapes.lesions(severity, lesion_pixels(index, parameters))
    labels[lesion] = 4
    brown = rng.uniform(0.6, 1.0) * np.exp(0.25 * shapes.smooth(rng, size, 0.02))
    brown = np.where(lesion, brown * (0.15 + 0.85 * grown), 0.05 * halo)

    contents = dict(zip(shapes.TRAITS, traits, strict=True))
    alive = np.where(lesion, 0.3 - 0.25 * grown, 1 - 0.5 * halo)
    spectra = np.where(textured[..., None], textured_spectrum, flat_spectrum)
    leaf = labels >= 3
    spectra[leaf] = optics.leaf_reflectance(
        wavelengths(parameters),
        chlorophyll=(contents["chlorophyll"] * alive)[leaf],
        carotenoid=(contents["carotenoid"] * np.sqrt(alive))[leaf],
        water=(contents["water"] * np.where(lesion, 0.8 - 0.5 * grown, 1))[leaf],
        dry=contents["dry"][leaf],
        brown=brown[leaf],
        scattering=(contents["scattering"] * np.where(lesion, 0.85 - 0.3 * grown, 1))[leaf],
    )
    spectra *= lit.astype(np.float32)[..., None]
    return _camera(rng, spectra, illumination(index, parameters)), labels


def _camera(rng: np.random.Generator, spectra: np.ndarray, light: np.ndarray) -> np.ndarray:
    """What the camera makes, in place, of reflectance `[row, column, band]` in a light `[band]`."""
    bands, size = spectra.shape[2], spectra.shape[1]
    blur = rng.uniform(0.65, 0.95)  # pixels, standard deviation of the point spread
    for axis in (0, 1):
        scipy.ndimage.gaussian_filter1d(spectra, blur, axis, output=spectra, mode="nearest")
    position = np.linspace(-1, 1, size)
    falloff = 1 - 0.06 * position**2 + 0.02 * rng.uniform(-1, 1) * position
    column = falloff * rng.normal(1, 0.01, size)
    pattern = rng.normal(1, 0.004, (size, bands))
    gain = (column[:, None] * pattern * light).astype(np.float32)  # [column, band]
    # The lamp and the sensor are weak at both ends, where the noise is about six times as large.
    nm = np.linspace(400.0, 1000.0, bands)
    ends = 1 + 5 * np.exp(-(nm - 400) / 22) + 5 * np.exp(-(1000 - nm) / 30)
    ends = ends.astype(np.float32)
    for line in spectra:  # as the camera does, and no second copy of the scene is needed
        line *= gain
        noise = ends * np.sqrt(0.0025**2 + 0.008**2 * line)
        line += noise * rng.standard_normal(line.shape, np.float32)
        np.clip(line, 0, 1, out=line)
    return spectra


def ensure(
    parameters: Leaves | None = None, folder: str | None = None, progress: bool = True
) -> str:
    """Have a data set of leaf scenes, written now unless it already is.

    Args:
        parameters: what to simulate; by default `Leaves()`.
        folder: where; by default a folder of `cache_folder()` named after the parameters.
        progress: say on screen where the scenes are written, with a progress bar.

    Returns:
        The folder, which holds `leaf_00.zarr`, `leaf_00_labels.png`, `leaf_01.zarr` and so on.

    Raises:
        InputError: if the folder cannot be written or holds scenes of other parameters.
    """
    parameters = parameters or Leaves()
    if folder is None:
        digest = hashlib.sha256(_described(parameters).encode()).hexdigest()[:10]
        folder = os.path.join(cache_folder(), f"leaves-{digest}")
    write(folder, parameters, progress)
    return folder


def write(folder: str, parameters: Leaves, progress: bool = True) -> None:
    """Write the scenes of `parameters` that `folder` lacks.

    Each scene and each label map appears under its name only when it is whole, so an interrupted
    run can simply be repeated, and several processes may write the same data set at once.

    Args:
        folder: made if missing.
        parameters: what to simulate.
        progress: say on screen where the scenes are written, with a progress bar.

    Raises:
        InputError: if the folder cannot be written or holds scenes of other parameters.
    """
    folder = os.path.abspath(folder)
    try:
        os.makedirs(folder, exist_ok=True)
        _claim(folder, parameters)
        missing = [i for i in range(parameters.scenes) if not _complete(folder, i)]
        if not missing:
            return
        console = terminal.Console(stderr=True, quiet=not progress)
        console.print(
            f"Simulating {len(missing)} leaf scenes in {folder}", markup=False, soft_wrap=True
        )
        for index in rich.progress.track(missing, "Leaf scenes", console=console):
            if not _complete(folder, index):  # another process may have been faster
                _write_scene(folder, index, parameters)
    except OSError as error:
        raise InputError(
            folder,
            found=f"the leaf scenes cannot be written ({error.strerror or error})",
            remedy="free space there, or set DGC_CACHE to a folder that can be written",
        ) from error


def _described(parameters: Leaves) -> str:
    return json.dumps({"version": _VERSION} | dataclasses.asdict(parameters), indent=1)


def _paths(folder: str, index: int) -> tuple[str, str]:
    stem = os.path.join(folder, f"leaf_{index:02d}")
    return f"{stem}.zarr", f"{stem}_labels.png"


def _complete(folder: str, index: int) -> bool:
    scene, labels = _paths(folder, index)
    return os.path.exists(os.path.join(scene, "zarr.json")) and os.path.exists(labels)


def _claim(folder: str, parameters: Leaves) -> None:
    """Note the parameters in a new folder; refuse one that was written with others."""
    note, wanted = os.path.join(folder, _PARAMETERS), _described(parameters)
    if not os.path.exists(note):
        if any(name.startswith("leaf_") for name in os.listdir(folder)):
            raise InputError(
                folder,
                found=f"holds leaf scenes without the {_PARAMETERS} that says of which parameters "
                "they are",
                remedy="choose another folder or empty this one",
            )
        with whole(note) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write(wanted)
    with open(note, encoding="utf-8") as file:
        found = file.read()
    if found != wanted:
        raise InputError(
            note,
            expected=f"leaf scenes of the parameters {' '.join(wanted.split())}",
            found=f"those of {' '.join(found.split())}",
            remedy="choose another folder or empty this one",
        )


def _write_scene(folder: str, index: int, parameters: Leaves) -> None:
    reflectance, labels = simulate(index, parameters)
    scene_path, labels_path = _paths(folder, index)
    with whole(labels_path) as temporary:
        PIL.Image.fromarray(labels).save(temporary, format="PNG")
    if os.path.isdir(scene_path) and not _complete(folder, index):
        shutil.rmtree(scene_path)  # damaged
    try:
        with whole(scene_path) as temporary:
            store = create_store(
                temporary,
                reflectance.shape,
                np.uint16,
                wavelengths=wavelengths(parameters),
                scale=SCALE,
            )
            try:
                store.write(np.round(reflectance * SCALE).astype(np.uint16)).result()
            except ValueError as error:  # how TensorStore says that a disk is full
                raise OSError(str(error)) from error
    except OSError:
        if not _complete(folder, index):  # else another process has written it meanwhile
            raise
