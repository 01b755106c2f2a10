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
import json
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from dgc_jax.apply.tiles import Confidence, Doubt, Labelled, Tile, best_side, walk
from dgc_jax.data.cube import Cube, Stored
from dgc_jax.errors import InputError
from dgc_jax.model import centroids, normalisation
from dgc_jax.model.encoder import RADIUS
from dgc_jax.model.mean_shift import block_size
from dgc_jax.train import checkpoint, options
from dgc_jax.train.state import Parameters, Recipe, embed

_SAME_BAND = 0.1  # nm: closer centres count as the same band


@dataclasses.dataclass(frozen=True, eq=False)
class Segmenter:
    """A model that labels pixels 1..K, and 0 where there is no data.

    Attributes:
        recipe: the two modules and the temperature.
        params: their parameters.
        bank: `[K', embedding]` trained centroids.
        normalisation: constants of the data set that it was trained on.
        lookup: `[K']` uint8 final id, 1..K, of every trained centroid.
        tree: `[len(live) - 1, 4]` linkage matrix of the merges, see `dgc_jax.model.centroids`.
        live: indices of the trained centroids that are its leaves.
        wavelengths: `[band]` nm of the bands that it takes, or None.
        bands: number of bands that it takes.
        names: name of each final cluster.
        colours: `[K + 1, 3]` uint8, the colour of each id; row 0 is no data.
        classes: names of the classes of the training labels, or None.
        background: the classes that count as background, or None.
        config: the configuration of its run, as JSON values.
        identity: fingerprint of the model; equal ones give equal maps.
        similarity_floor: cosine to the nearest trained centroid below which a pixel is unlike any
            cluster, see `dgc_jax.train.monitor.RARE`; None for models of earlier versions.
    """

    recipe: Recipe
    params: Parameters
    bank: jax.Array
    normalisation: normalisation.Normalisation
    lookup: jax.Array
    tree: np.ndarray
    live: np.ndarray
    wavelengths: np.ndarray | None
    bands: int
    names: tuple[str, ...]
    colours: np.ndarray
    classes: tuple[str, ...] | None
    background: tuple[int, ...] | None
    config: dict[str, Any]
    identity: str
    similarity_floor: float | None = None

    @property
    def clusters(self) -> int:
        """Number of final clusters K."""
        return len(self.names)

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
        return _labels(
            self.recipe, self.params, self.bank, self.normalisation, self.lookup, crops, valid
        )

    def probabilities(self, batch: jax.typing.ArrayLike, valid: Any = None) -> jax.Array:
        """Soft assignment of a batch of crops to the final clusters; arguments as `predict`.

        The probability of a final cluster is the sum over the trained centroids that make it up,
        whereas its label is that of the nearest centroid.

        Returns:
            `[batch, row, column, K]` float32 that sums to 1, and 0 where invalid.
        """
        return jnp.asarray(self._doubt(*self._checked(batch, valid)).probabilities)

    def confidence(self, batch: jax.typing.ArrayLike, valid: Any = None) -> Confidence:
        """How sure the labels of a batch of crops are; arguments as `predict`.

        Returns:
            Margin, similarity and which pixels are unlike any cluster, `[batch, row, column]`.
        """
        crops, valid = self._checked(batch, valid)
        _, similarity, margin = (jnp.asarray(each) for each in self._doubt(crops, valid))
        unlike = None
        if self.similarity_floor is not None:
            unlike = valid & (similarity < self.similarity_floor)
        return Confidence(margin, similarity, unlike)

    def segment(self, cube: Cube, tile: int | None = None) -> np.ndarray:
        """Labels a whole scene, tile by tile, exactly as if it were one image.

        Args:
            cube: the scene; on another band grid it is interpolated.
            tile: side of a tile in pixels; rounded up to a multiple of the mean shift's block.

        Returns:
            `[row, column]` uint8, 1..K, and 0 where there is no data.

        Raises:
            InputError: if the scene does not cover the model's bands.
        """
        out = np.zeros(cube.shape[:2], np.uint8)
        for row, column, labels in self.tiles(cube, tile):
            out[row : row + labels.shape[0], column : column + labels.shape[1]] = labels
        return out

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
        doubt: bool = False,
    ) -> Iterator[Tile]:
        """As `tiles`, with the numbers that a tile was labelled by, so that no one reads twice.

        Args:
            cube: as for `tiles`.
            tile: as for `tiles`.
            part: as for `tiles`.
            doubt: also tell how sure each label is; the labels stay the same.
        """
        side = _up(tile or self.tile_side(cube), block_size(self.recipe.mean_shift.window))
        label = functools.partial(self._label, doubt=doubt)
        return walk(self.adapt(cube), label, side, self._halo, part)

    def tile_side(self, cube: Cube) -> int:
        """The side of the tiles that a scene is cut into unless told otherwise, pixels."""
        return best_side(*cube.shape[:2], self._halo)

    @property
    def _halo(self) -> int:
        window = self.recipe.mean_shift.window
        return _up(RADIUS + window // 2, block_size(window))

    def with_view(self, path: str) -> "Segmenter":
        """The model seen through a view of `dgc merge`, see `dgc_jax.apply.view`.

        Raises:
            InputError: if the file is no view of this model.
        """
        from dgc_jax.apply import view  # which builds on this module

        return view.apply(self, view.read(path, self))

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
                f"{cube.path}: expected the model's {self.bands} bands, found {cube.shape[2]} and "
                "no wavelengths to match them by; give the wavelengths or the same bands."
            )
        return cube

    def _doubt(self, crops: jax.Array, valid: jax.Array) -> Doubt:
        model = self.recipe, self.params, self.bank, self.normalisation, self.lookup
        return _crop_doubt(*model, crops, valid, clusters=self.clusters)

    def _label(self, stored: Stored, blank: bool, *, doubt: bool) -> Labelled:
        """Labels a window of the model's bands, without waiting for them."""
        clusters = self.clusters if doubt else None
        if blank:
            shape = stored.usable.shape
            zero = np.zeros(shape, np.float32)
            none = Doubt(np.zeros((*shape, self.clusters), np.float32), zero, zero)
            return np.zeros(shape, np.uint8), none if doubt else None
        model = self.recipe, self.params, self.bank, self.normalisation, self.lookup
        return _window_labels(*model, *stored[:-1], checked=stored.checked, clusters=clusters)

    def _checked(self, batch: jax.typing.ArrayLike, valid: Any) -> tuple[jax.Array, jax.Array]:
        crops = jnp.asarray(batch, jnp.float32)
        if crops.ndim != 4 or crops.shape[-1] != self.bands:
            raise InputError(
                f"predict: expected a batch [batch, row, column, {self.bands} bands], found an "
                f"array of shape {crops.shape}; reshape it or interpolate it to the model's bands."
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
    return from_model(checkpoint.load_model(workdir))


def from_model(model: checkpoint.Model) -> Segmenter:
    """The segmenter of a finished model that need not be on disk."""
    arrays, about = model
    config = ml_collections.ConfigDict(about["config"])
    constants = {name: jnp.asarray(value) for name, value in arrays["normalisation"].items()}
    wavelengths = about["wavelengths"]
    return Segmenter(
        recipe=options.recipe(config),
        params=jax.tree.map(jnp.asarray, arrays["params"]),
        bank=jnp.asarray(arrays["centroids"]),
        normalisation=normalisation.Normalisation(**constants, kind=config.data.normalisation),
        lookup=jnp.asarray(about["lookup"], jnp.uint8),
        tree=np.asarray(about["tree"], np.float64).reshape(-1, 4),
        live=np.asarray(about["live"], np.int64),
        wavelengths=None if wavelengths is None else np.asarray(wavelengths, np.float64),
        bands=about["bands"],
        names=tuple(about["names"]),
        colours=np.asarray(about["colours"], np.uint8),
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


def _embed(
    recipe: Recipe,
    params: Parameters,
    constants: normalisation.Normalisation,
    crops: jax.Array,
    valid: jax.Array,
) -> jax.Array:
    # Invalid numbers may be NaN; bins are fewer than bands.
    spectra = jnp.where(valid[..., None], normalisation.to_bins(crops, constants), 0)
    return embed(recipe, params, normalisation.normalise(spectra, constants), valid)[1]


@functools.partial(jax.jit, static_argnums=0)
def _labels(
    recipe: Recipe,
    params: Parameters,
    bank: jax.Array,
    constants: normalisation.Normalisation,
    lookup: jax.Array,
    crops: jax.Array,
    valid: jax.Array,
) -> jax.Array:
    z = _embed(recipe, params, constants, crops, valid)
    return jnp.where(valid, lookup[centroids.nearest(z, bank)], 0)


@functools.partial(jax.jit, static_argnums=0, static_argnames=("checked", "clusters"))
def _window_labels(
    recipe: Recipe,
    params: Parameters,
    bank: jax.Array,
    constants: normalisation.Normalisation,
    lookup: jax.Array,
    numbers: jax.Array,
    usable: jax.Array,
    divisor: float,
    ignored: jax.Array | None,
    *,
    checked: bool,
    clusters: int | None,
) -> tuple[jax.Array, Doubt | None]:
    """Labels of a `dgc_jax.data.cube.Stored`, whose rule of validity this is."""
    reflectance = numbers.astype(jnp.float32) / divisor
    valid = usable
    if not checked:
        valid &= jnp.any(numbers != 0, axis=-1) & jnp.all(jnp.isfinite(reflectance), axis=-1)
    if ignored is not None:
        valid &= jnp.all(numbers != ignored, axis=-1)
    z = _embed(recipe, params, constants, reflectance[None], valid[None])[0]
    labels = jnp.where(valid, lookup[centroids.nearest(z, bank)], 0)
    if clusters is None:
        return labels, None
    return labels, _doubt(recipe, bank, lookup, z, valid, clusters)


@functools.partial(jax.jit, static_argnums=0, static_argnames="clusters")
def _crop_doubt(
    recipe: Recipe,
    params: Parameters,
    bank: jax.Array,
    constants: normalisation.Normalisation,
    lookup: jax.Array,
    crops: jax.Array,
    valid: jax.Array,
    *,
    clusters: int,
) -> Doubt:
    z = _embed(recipe, params, constants, crops, valid)
    return _doubt(recipe, bank, lookup, z, valid, clusters)


def _doubt(
    recipe: Recipe,
    bank: jax.Array,
    lookup: jax.Array,
    z: jax.Array,
    valid: jax.Array,
    clusters: int,
) -> Doubt:
    q = jnp.exp(centroids.assign(z, bank, recipe.temperature))
    member = jax.nn.one_hot(lookup - 1, clusters)  # [K', K]
    probabilities = jnp.where(valid[..., None], q @ member, 0)
    two = jax.lax.top_k(probabilities, min(2, clusters))[0]
    # With one cluster nothing competes.
    margin = two[..., 0] - two[..., 1] if clusters > 1 else two[..., 0]
    return Doubt(probabilities, jnp.where(valid, jnp.max(z @ bank.T, axis=-1), 0), margin)
