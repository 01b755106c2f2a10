"""A finished model at work: batches of crops, and whole scenes in tiles.

The label of a pixel depends on pixels at most 4 away: two 3 x 3 convolutions reach 2, the
mean-shift window reaches 2 more, and its samples stay fixed. A tile that is read with a halo of
that width (see `dgc_jax.apply.tiles`) therefore gets exactly the labels that it would get as part
of the whole image. Tiles start at multiples of the mean shift's block, so that even the order of
its sums is that of the whole image.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import os
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np

from dgc_jax import manifest
from dgc_jax.apply import likeness, programs
from dgc_jax.apply.saved_model import SavedModel, load_model
from dgc_jax.apply.tiles import Confidence, Finest, Labelled, Tile, TileConfidence, best_side, walk
from dgc_jax.config import stored
from dgc_jax.data import arrays, reading
from dgc_jax.data.cube import Cube, Path, Stored
from dgc_jax.data.scenes import open_data_set
from dgc_jax.errors import InputError
from dgc_jax.model.cluster_tree import ClusterTree
from dgc_jax.model.encoder import RADIUS
from dgc_jax.model.mean_shift import block_size
from dgc_jax.model.model import Model, encoder, mean_shift
from dgc_jax.model.normalisation import Normalisation

_SAME_BAND = 0.1  # nm: closer centres count as the same band
_AROUND = 32  # side of a tile that is read for single pixels
_SHOWN = 16  # clusters that `print` names


@dataclasses.dataclass(frozen=True, eq=False)
class Segmenter:
    """A model that labels pixels 1..K, and 0 where there is no data.

    It shows the clusters of one level of its tree, at first `clusters.final`, or those of a view
    (`dgc_jax.apply.view`), and knows those of the finest level, 1..L, of which all others are made.

    Attributes:
        model: what was trained; K' centroids.
        tree: its clusters, and what is shown of them.
        wavelengths: `[band]` nm of the bands that it takes, or None.
        bands: number of bands that it takes.
        classes: names of the classes of the training labels, or None.
        background: the classes that count as background, or None.
        config: the configuration of its run, as JSON values.
        identity: fingerprint of the model; equal ones give equal maps.
        similarity_floor: cosine to the nearest trained centroid below which a pixel is unlike any
            cluster, see `dgc_jax.train.describe.RARE`; None for models of earlier versions.
    """

    model: Model
    tree: ClusterTree
    wavelengths: np.ndarray | None
    bands: int
    classes: tuple[str, ...] | None
    background: tuple[int, ...] | None
    config: dict[str, Any]
    identity: str
    similarity_floor: float | None = None

    def __repr__(self) -> str:
        """What it is and the names of its clusters, in a few lines."""
        bands = f"{self.bands} bands"
        if self.wavelengths is not None:
            bands += f" of {self.wavelengths[0]:.6g} to {self.wavelengths[-1]:.6g} nm"
        lines = [f"Segmenter of {self.clusters} clusters (of {self.finest} to merge), {bands}"]
        shown = [(k, name) for k, name in enumerate(self.names, 1) if name]
        for k, name in shown[:_SHOWN]:
            colour = bytes(self.colours[k].tolist()).hex()
            lines.append(f"{k:>5}  #{colour}  {textwrap.shorten(name, 50, placeholder=' ...')}")
        if len(shown) > _SHOWN:
            lines.append(f"       and {len(shown) - _SHOWN} more")
        return "\n".join(lines)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each cluster shown, 1..K; "" for an id that a view has merged away."""
        return self.tree.names

    @property
    def colours(self) -> np.ndarray:
        """`[K + 1, 3]` uint8, the colour of each id shown; row 0 is no data."""
        return self.tree.colours

    @property
    def clusters(self) -> int:
        """Number of clusters shown K, the highest label."""
        return len(self.names)

    @property
    def finest(self) -> int:
        """Number of clusters at the finest level L."""
        return self.tree.finest

    @functools.cached_property
    def content(self) -> str:
        """Fingerprint of everything of the model that its maps depend on, but for a view."""
        model, constants, clusters = self.model, self.model.normalisation, self.tree
        arrays = jax.tree.map(
            np.asarray,
            (
                jax.tree.leaves(model.params),
                [
                    self.model.centroids,
                    constants.bins,
                    constants.scale,
                    constants.mean,
                    constants.deviation,
                ],
                [clusters.leaves, clusters.linkage, clusters.live, clusters.leaf_colours],
                [self.wavelengths],
            ),
        )
        about = [clusters.leaf_names, self.bands, self.config, self.similarity_floor]
        return manifest.digest(*jax.tree.leaves(arrays), about)

    @functools.cached_property
    def seen(self) -> str:
        """Fingerprint of what the model shows of its clusters: a level of its tree, or a view."""
        return manifest.digest(self.tree.lookup, list(self.names), self.colours)

    def predict(self, batch: jax.typing.ArrayLike, valid: Any = None) -> jax.Array:
        """Labels a batch of crops; compiled once for each shape.

        Args:
            batch: `[batch, row, column, band]` reflectance on the model's bands.
            valid: `[batch, row, column]` bool; None: every pixel that is finite and not all zero.

        Returns:
            `[batch, row, column]` uint8, 1..K, and 0 where invalid.

        Raises:
            InputError: if the batch does not have the model's bands.
        """
        crops, valid = self._checked(batch, valid)
        return programs.labels(self.model, self.tree.lookup, crops, valid)

    def probabilities(self, batch: jax.typing.ArrayLike, valid: Any = None) -> jax.Array:
        """Soft assignment of a batch of crops to the clusters; arguments as `predict`.

        The probability of a cluster is the sum over the trained centroids that make it up,
        whereas its label is that of the nearest centroid.

        Returns:
            `[batch, row, column, K]` float32 that sums to 1, and 0 where invalid.
        """
        return jnp.asarray(self._confidence(*self._checked(batch, valid)).probabilities)

    def confidence(self, batch: jax.typing.ArrayLike, valid: Any = None) -> Confidence:
        """How sure the labels of a batch of crops are; arguments as `predict`.

        Returns:
            Margin, similarity and which pixels are unlike any cluster, `[batch, row, column]`.
        """
        crops, valid = self._checked(batch, valid)
        _, similarity, margin = (jnp.asarray(each) for each in self._confidence(crops, valid))
        unlike = None
        if self.similarity_floor is not None:
            unlike = valid & (similarity < self.similarity_floor)
        return Confidence(margin, similarity, unlike)

    @overload
    def segment(
        self,
        scene: Cube | str | os.PathLike[str] | np.ndarray,
        tile: int | None = None,
        *,
        wavelengths: Sequence[float] | np.ndarray | Path | None = None,
    ) -> np.ndarray: ...

    @overload
    def segment(self, scene: Any, tile: int | None = None, *, wavelengths: Any = None) -> Any: ...

    def segment(self, scene: Any, tile: int | None = None, *, wavelengths: Any = None) -> Any:
        """Labels a whole scene, tile by tile, exactly as if it were one image.

        A scene unlike those of the training (`dgc_jax.apply.likeness`) gets its labels too, and a
        warning by the logger `dgc_jax` that names the likely reason.

        Args:
            scene: a `Cube`, a path, which is read as the scenes of the training were, or an array,
                see `dgc_jax.data.arrays`; on another band grid it is interpolated.
            tile: side of a tile in pixels; rounded up to a multiple of the mean shift's block.
            wavelengths: of the scene's bands, if it does not say them, nm.

        Returns:
            `[row, column]` uint8, 1..K, and 0 where there is no data; of an `xarray.DataArray` as
            one with its row and column dimension and their coordinates.

        Raises:
            InputError: if it is no scene, or does not cover the model's bands.
        """
        cube = self.opened(scene, wavelengths)
        out = np.zeros(cube.shape[:2], np.uint8)
        for row, column, labels in self.tiles(cube, tile):
            out[row : row + labels.shape[0], column : column + labels.shape[1]] = labels
        words = [re.sub(r"\W+", "_", name) or f"unused_{k}" for k, name in enumerate(self.names, 1)]
        about = {
            "long_name": "cluster",
            "flag_values": np.arange(self.clusters + 1, dtype=np.uint8),
            "flag_meanings": " ".join(["no_data", *words]),
        }
        return arrays.like(scene, out, "cluster", about)

    @overload
    def embed(
        self,
        scene: Cube | str | os.PathLike[str] | np.ndarray,
        tile: int | None = None,
        *,
        wavelengths: Sequence[float] | np.ndarray | Path | None = None,
    ) -> np.ndarray: ...

    @overload
    def embed(self, scene: Any, tile: int | None = None, *, wavelengths: Any = None) -> Any: ...

    def embed(self, scene: Any, tile: int | None = None, *, wavelengths: Any = None) -> Any:
        """The embeddings by which the pixels of a scene are labelled; arguments as `segment`.

        Returns:
            `[row, column, embedding]` float32, z of docs/method.md: of length 1, and 0 where there
            is no data. A pixel belongs to the centroid of `model` with the greatest product.

        Raises:
            InputError: if it is no scene, or does not cover the model's bands.
        """
        cube = self.adapt(self.opened(scene, wavelengths))
        side, halo = _up(tile or self.tile_side(cube), self._block), self._halo
        rows, columns, _ = cube.shape
        out = np.zeros((rows, columns, self.model.centroids.shape[1]), np.float32)
        inner = slice(halo, halo + side)
        corners = itertools.product(range(0, rows, side), range(0, columns, side))
        for row, column in corners:
            window = row - halo, column - halo, side + 2 * halo, side + 2 * halo
            crop, valid = cube.read(*window)
            z = programs.embeddings(self.model, crop[None], valid[None])
            here = out[row : row + side, column : column + side]
            here[...] = np.asarray(z[0])[inner, inner][: here.shape[0], : here.shape[1]]
            cube.forget()
        return arrays.like(scene, out, "embedding", {"long_name": "embedding"})

    def opened(self, scene: Any, wavelengths: Any = None) -> Cube:
        """A scene as `segment` takes it as a cube; a path is opened as in training.

        Raises:
            InputError: if it is no scene, or several.
        """
        if not isinstance(scene, str | os.PathLike):
            return arrays.as_cube(scene, wavelengths=wavelengths)
        how = reading.of_options(stored(self.config).data).but({"wavelengths": wavelengths})
        found = open_data_set(os.fspath(scene), how, labels=None, common_grid=False)
        if len(found) > 1:
            raise InputError(
                os.fspath(scene),
                expected="one scene",
                found=len(found),
                remedy="give them one by one",
            )
        return found[0].cube

    def tiles(
        self, cube: Cube, tile: int | None = None, *, part: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[int, int, np.ndarray]]:
        """Labels a scene tile by tile; later tiles are read and computed meanwhile.

        Tiles start at multiples of the tile's side, and come row by row.

        Args:
            cube: the scene; on another band grid it is interpolated.
            tile: side of a tile in pixels; rounded up to a multiple of the mean shift's block.
            part: (index, count): every count-th tile, from the index-th (0 is the first) on.

        Yields:
            Row and column of the tile's upper left pixel and its labels, uint8
            `[height, width]`, 1..K, and 0 where there is no data; tiles at the lower and right
            edges are cut to the image.

        Raises:
            InputError: if the scene does not cover the model's bands.
        """
        for done in self.walk(cube, tile, part=part):
            yield done.row, done.column, done.labels

    def walk(
        self,
        cube: Cube,
        tile: int | None = None,
        *,
        part: tuple[int, int] = (0, 1),
        confidence: bool = False,
        finest: bool = False,
    ) -> Iterator[Tile]:
        """As `tiles`, with the numbers that a tile was labelled by, so that no one reads twice.

        Args:
            cube: as for `tiles`.
            tile: as for `tiles`.
            part: as for `tiles`.
            confidence: also tell how sure each label is; the labels stay the same.
            finest: also tell what each pixel is at the finest level.
        """
        side = _up(tile or self.tile_side(cube), self._block)
        label = functools.partial(self._label, confidence=confidence, finest=finest)
        cube = self.adapt(cube)
        tiles = walk(cube, label, side, self._halo, part)
        return likeness.watched(self, cube, tiles) if part[0] == 0 else tiles

    def finest_at(self, cube: Cube, pixels: np.ndarray) -> np.ndarray:
        """The clusters of the finest level at some pixels, read with what is around them.

        Args:
            cube: the scene; on another band grid it is interpolated.
            pixels: `[pixel, 2]` rows and columns, within the scene.

        Returns:
            `[pixel]` uint8, 1..L, those of `walk`, and 0 where there is no data.

        Raises:
            InputError: if the scene does not cover the model's bands.
        """
        cube, halo = self.adapt(cube), self._halo
        side = _up(_AROUND, self._block)
        out = np.zeros(len(pixels), np.uint8)
        tiles = np.asarray(pixels) // side
        for tile in np.unique(tiles, axis=0):
            row, column = tile * side - halo
            crop, valid = cube.read(row, column, side + 2 * halo, side + 2 * halo)
            found = programs.labels(self.model, self.tree.leaves, crop[None], valid[None])
            here = np.all(tiles == tile, axis=1)
            out[here] = np.asarray(found)[0][tuple((pixels[here] - (row, column)).T)]
            cube.forget()
        return out

    def tile_side(self, cube: Cube) -> int:
        """The side of the tiles that a scene is cut into unless told otherwise, pixels."""
        return best_side(*cube.shape[:2], self._halo)

    @property
    def _block(self) -> int:
        return block_size(self.model.mean_shift.window)

    @property
    def _halo(self) -> int:
        return _up(RADIUS + self.model.mean_shift.window // 2, self._block)

    def adapt(self, cube: Cube) -> Cube:
        """The scene on the model's bands: those of its own, or interpolated.

        Raises:
            InputError: if its bands do not cover the model's, or cannot be told.
        """
        if cube.wavelengths is not None and self.wavelengths is not None:
            distance = np.abs(cube.wavelengths[:, None] - self.wavelengths[None, :])
            if np.all(np.min(distance, axis=0) <= _SAME_BAND):  # it has them, and perhaps more
                own = cube.wavelengths[np.argmin(distance, axis=0)]
                chosen = cube.with_bands([(w, w) for w in own])
                if chosen.shape[2] == self.bands:
                    return chosen
            return cube.on_grid(self.wavelengths)
        if cube.shape[2] != self.bands:
            raise InputError(
                cube.path,
                expected=f"the model's {self.bands} bands",
                found=f"{cube.shape[2]} and no wavelengths to match them by",
                remedy="give the wavelengths or the same bands",
            )
        return cube

    def _confidence(self, crops: jax.Array, valid: jax.Array) -> TileConfidence:
        model = self.model, self.tree.lookup
        return programs.crop_confidence(*model, crops, valid, clusters=self.clusters)

    def _label(self, stored: Stored, blank: bool, *, confidence: bool, finest: bool) -> Labelled:
        """Labels a window of the model's bands, without waiting for them."""
        if blank:
            shape = stored.usable.shape
            labels, zero = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
            shares, fine = (
                np.zeros((*shape, number), np.float32) for number in (self.clusters, self.finest)
            )
            return (
                labels,
                TileConfidence(shares, zero, zero) if confidence else None,
                Finest(labels, fine) if finest else None,
            )
        model = self.model, self.tree.lookup
        return programs.window_labels(
            *model,
            *stored[:-1],
            self.tree.leaves if finest else None,
            checked=stored.checked,
            clusters=self.clusters if confidence else None,
            finest=self.finest if finest else None,
        )

    def _checked(self, batch: jax.typing.ArrayLike, valid: Any) -> tuple[jax.Array, jax.Array]:
        crops = jnp.asarray(batch, jnp.float32)
        if crops.ndim != 4 or crops.shape[-1] != self.bands:
            raise InputError(
                "predict",
                expected=f"a batch [batch, row, column, {self.bands} bands]",
                found=f"an array of shape {crops.shape}",
                remedy="reshape it or interpolate it to the model's bands",
            )
        if valid is None:
            return crops, jnp.all(jnp.isfinite(crops), axis=-1) & jnp.any(crops != 0, axis=-1)
        return crops, jnp.asarray(valid, bool)


def load(workdir: str) -> Segmenter:
    """Loads the finished model of a run; its configuration file is not needed.

    Args:
        workdir: the folder of the run.

    Raises:
        InputError: if the folder holds no finished run.
    """
    return from_model(load_model(workdir))


def from_model(model: SavedModel) -> Segmenter:
    """The segmenter of a finished model that need not be on disk."""
    arrays, about = model
    config = stored(about["config"])
    constants = {name: jnp.asarray(value) for name, value in arrays["normalisation"].items()}
    wavelengths = about["wavelengths"]
    lookup = np.asarray(about["lookup"], np.uint8)
    leaves, clusters = np.asarray(about.get("leaves", lookup), np.uint8), int(lookup.max())
    names, colours = tuple(about["names"]), np.asarray(about["colours"], np.uint8)
    shown = np.zeros(len(names) + 1, np.uint8)
    shown[leaves] = lookup
    return Segmenter(
        model=Model(
            params=jax.tree.map(jnp.asarray, _whole(arrays["params"])),
            centroids=jnp.asarray(arrays["centroids"]),
            normalisation=Normalisation(**constants, kind=config.data.normalisation),
            encoder=encoder(config),
            mean_shift=mean_shift(config),
            temperature=config.model.temperature,
        ),
        tree=ClusterTree(
            linkage=np.asarray(about["tree"], np.float64).reshape(-1, 4),
            live=np.asarray(about["live"], np.int64),
            leaves=leaves,
            leaf_names=names,
            leaf_colours=colours,
            shown=shown,
            names=names[:clusters],
            colours=colours[: clusters + 1],
        ),
        wavelengths=None if wavelengths is None else np.asarray(wavelengths, np.float64),
        bands=about["bands"],
        classes=None if about["classes"] is None else tuple(about["classes"]),
        background=None if about["background"] is None else tuple(about["background"]),
        config=about["config"],
        identity=hashlib.sha256(
            json.dumps(about, sort_keys=True).encode() + np.asarray(arrays["centroids"]).tobytes()
        ).hexdigest(),
        similarity_floor=about.get("similarity_floor"),
    )


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _whole(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters; of models of earlier versions with the residuals that they did without."""
    encoder = dict(params["encoder"])
    for name in ("turn", "blend"):
        encoder.setdefault(name, np.zeros_like(encoder["mix"]))
    return {**params, "encoder": encoder}
