"""How sure the labels of a scene are, as files beside its maps.

    <scene>_margin.png       grey 1..255 = margin 0..1; 0 = no data, transparent
    <scene>_margin.hdr, ...  margin and similarity of every pixel, float32, NaN = no data
    <scene>_unlike.png       the map, pale, and in red the pixels that are unlike any cluster
    <scene>_confidence.json  the scene's numbers; written last
    confidence.csv           those of all scenes

The margin is the greatest probability less the second, the similarity the cosine to the nearest
trained centroid. Both are gathered while a scene is segmented, before the sieve.
"""

import json
import os
from collections.abc import Callable, Sequence

import numpy as np
import rich.console
from PIL import Image

from dgc_jax import documents
from dgc_jax.apply.segmenter import Segmenter
from dgc_jax.apply.tiles import Tile
from dgc_jax.data.cube import Cube
from dgc_jax.errors import InputError
from dgc_jax.files import replacing
from dgc_jax.show import geotiff, maps
from dgc_jax.show.overlay import percent
from dgc_jax.show.tables import SceneConfidence

BANDS = ("margin", "similarity")
"""What is told of each pixel, in the order of the bands."""

UNLIKE = (214, 0, 28)
"""Colour of the pixels that are unlike any cluster."""

MANY = 5.0
"""Per cent of a scene's pixels unlike any cluster, above which it is warned of."""

_ENDINGS = {
    "envi": (".hdr", ".img"),
    "png": (".png",),
    "npy": (".npy",),
    "zarr": (".zarr",),
    "geotiff": (".tif",),
}
_PALE = 0.7  # share of white in the map under the red


def blank(shape: tuple[int, int]) -> np.ndarray:
    """The bands of a scene of which nothing is known yet, `[2, row, column]` float32 NaN."""
    return np.full((len(BANDS), *shape), np.nan, np.float32)


def bands_of(tile: Tile) -> np.ndarray:
    """Margin and similarity of a tile, `[2, height, width]` float32, NaN = no data."""
    if tile.confidence is None:
        raise ValueError("the tile was walked without confidence=True")
    both = np.stack([np.asarray(tile.confidence.margin), np.asarray(tile.confidence.similarity)])
    return np.where(tile.labels > 0, both, np.float32(np.nan))


def write(
    segmenter: Segmenter,
    cube: Cube,
    labels: np.ndarray,
    bands: np.ndarray,
    folder: str,
    formats: Sequence[str],
) -> SceneConfidence:
    """Writes how sure the labels of a scene are as `<folder>/<scene>_...`.

    Args:
        segmenter: the model that they are of.
        cube: the scene.
        labels: `[row, column]` uint8, 0 = no data, 1..K.
        bands: `[2, row, column]` float32 margin and similarity, NaN = no data.
        folder: where to write; made if missing.
        formats: some of `dgc_jax.show.results.FORMATS`.

    Returns:
        The scene's numbers.

    Raises:
        InputError: if a file cannot be written.
    """
    stem, floor = os.path.join(folder, cube.name), segmenter.similarity_floor
    title = f"dgc_jax margin and similarity of {cube.name}"
    about = {} if floor is None else {"similarity_floor": floor}
    tags = {"TIFFTAG_IMAGEDESCRIPTION": title} | {k: f"{v:g}" for k, v in about.items()}

    def pictures() -> None:
        if floor is not None:
            _write_unlike(f"{stem}_unlike.png", labels, bands[1] < floor, segmenter.colours)
        _write_margin(f"{stem}_margin.png", bands[0])

    def numbers() -> None:
        with replacing(f"{stem}_margin.npy") as temporary, open(temporary, "wb") as file:
            np.save(file, bands, allow_pickle=False)

    each: dict[str, Callable[[], None]] = {
        "envi": lambda: maps.write_envi_bands(f"{stem}_margin", bands, BANDS, cube.geo, title),
        "png": pictures,
        "npy": numbers,
        "zarr": lambda: maps.write_zarr_array(
            f"{stem}_margin.zarr",
            bands,
            ("band", "row", "column"),
            {"band_names": list(BANDS), **about},
        ),
        "geotiff": lambda: geotiff.write_geotiff_bands(
            f"{stem}_margin.tif", bands, BANDS, cube.geo, tags
        ),
    }
    for name in formats:
        if name in each:  # polygons have no margins
            each[name]()
    line = summarise(cube.name, bands, floor)
    with (
        replacing(f"{stem}_confidence.json") as temporary,
        open(temporary, "w", encoding="utf-8") as file,
    ):
        json.dump(line._asdict(), file, indent=1)
    return line


def summarise(scene: str, bands: np.ndarray, floor: float | None) -> SceneConfidence:
    """The numbers of a scene.

    Args:
        scene: its name.
        bands: `[2, row, column]` float32 margin and similarity, NaN = no data.
        floor: similarity below which a pixel is unlike any cluster, or None.
    """
    margin, similarity = bands
    pixels = int(np.count_nonzero(~np.isnan(margin)))
    unlike = None if floor is None else int(np.count_nonzero(similarity < floor))
    if not pixels:
        return SceneConfidence(scene, 0, None, None, unlike, None, floor)
    return SceneConfidence(
        scene,
        pixels,
        float(np.nansum(margin, dtype=np.float64)) / pixels,
        100 * np.count_nonzero(margin < 0.5) / pixels,
        unlike,
        None if unlike is None else 100 * unlike / pixels,
        floor,
    )


def files(name: str, formats: Sequence[str], floor: float | None) -> list[str]:
    """Names of the files that `write` writes for a scene.

    Args:
        name: of the scene.
        formats: some of `dgc_jax.show.results.FORMATS`.
        floor: the model's similarity floor, or None.
    """
    endings = [f"_margin{ending}" for each in formats for ending in _ENDINGS.get(each, ())]
    if "png" in formats and floor is not None:
        endings.append("_unlike.png")
    return [name + ending for ending in (*endings, "_confidence.json")]


def read(folder: str, name: str) -> SceneConfidence:
    """Reads the numbers of a scene that `write` has written.

    Raises:
        InputError: they cannot be read.
    """
    path = os.path.join(folder, f"{name}_confidence.json")
    what = "the numbers that dgc segment has written of how sure it is"
    remedy = "delete the file, and the scene is segmented again"
    try:
        found = documents.read(path, SceneConfidence, what, remedy)
    except FileNotFoundError as error:
        raise InputError(path, expected=what, found="none", remedy="repeat the command") from error
    return SceneConfidence(**{field: found[field] for field in SceneConfidence._fields})


def tell(
    console: rich.console.Console, scene: str, what: str, line: SceneConfidence | None
) -> None:
    """Says on one line what was done with a scene, and warns if much of it is unlike any cluster.

    Args:
        console: where to print.
        scene: its name.
        what: was done.
        line: its numbers, if there are any.
    """
    share = None if line is None else line.unlike_percent
    more = "" if share is None else f", {percent(share)} of its pixels unlike any cluster"
    lines = [f"{scene}: {what}{more}"]
    if share is not None and share > MANY:
        lines.append(
            f"warning: {percent(share)} of the pixels of {scene} are unlike what the model was "
            "trained on (another material, light or unit of reflectance?), and their labels mean "
            f"little; {scene}_unlike.png, if maps are written as PNG, shows where they are."
        )
    for text in lines:
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def _write_margin(path: str, margin: np.ndarray) -> None:
    grey = np.clip(np.nan_to_num(np.round(255 * margin)), 1, 255).astype(np.uint8)
    grey[np.isnan(margin)] = 0
    with replacing(path) as temporary:
        Image.fromarray(grey).save(temporary, format="png", transparency=0)


def _write_unlike(path: str, labels: np.ndarray, unlike: np.ndarray, colours: np.ndarray) -> None:
    pale = np.round(_PALE * 255 + (1 - _PALE) * colours).astype(np.uint8)
    opacity = np.full((len(colours), 1), 255, np.uint8)
    opacity[0] = 0  # no data
    picture = np.hstack([pale, opacity])[labels]
    picture[unlike] = (*UNLIKE, 255)
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="png")
