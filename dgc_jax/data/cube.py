"""One hyperspectral scene, whatever its file: `[row, column, band]` reflectance, read by window.

A pixel position is (row, column), row down, column right, in pixels from the upper left corner.
Wavelengths are in nm, ascending; reflectance is unitless, nominally 0..1, float32. Everything that
a file says about its numbers is applied here, once: reflectance is the stored number divided by the
file's scale factor or, with references, `(raw - dark) / (white - dark)` per column and band.

A pixel is valid if it is inside the image, finite and within 1e38 in every band, nowhere the file's
ignore value, not zero in all bands, not masked out by the user and not in a column whose references
are dead.
An ignore value of 0 is an exception: a single zero is a legal dark value, so it only repeats the
rule for all bands.

Nothing is read at open but headers, masks, label maps, the references' mean lines and a few pixels
that tell bands without data; see `empty_bands`.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorstore as ts

from dgc_jax.data import companions, exposure, layouts
from dgc_jax.data.formats import lazy, limits, nodata
from dgc_jax.data.formats.detect import read as read_any
from dgc_jax.data.formats.detect import scene_name
from dgc_jax.data.formats.raw import Raw
from dgc_jax.errors import InputError, reading

Path = str | os.PathLike[str]


@dataclasses.dataclass(frozen=True, eq=False)
class Cube:
    """One scene.

    Attributes:
        name: of the scene: its file's name without folder and endings.
        path: of the file, as given.
        format: what the file is: "ENVI", "MATLAB", "HDF5", "NPY", "GeoTIFF", "EnMAP" or "zarr"; or,
            of what is in memory, "array" (see `dgc_jax.data.arrays`).
        shape: rows, columns, bands of what `read` returns.
        wavelengths: `[band]` nm (float64, ascending) of what `read` returns, or None.
        store: `[row, column, stored band]`, native type.
        bands: `[kept band]` which stored bands are used, by ascending wavelength.
        centres: `[kept band]` their wavelengths, nm, or None.
        scale: what a stored number is divided by to get reflectance; 1 with references.
        geo: georeference, carried to the outputs; see `formats.raw.Raw`.
        notes: one sentence for each thing that was guessed, repaired or left out.
        ignore_value: the stored number that means "no data", or None.
        mask: `[row, column]` bool, True = usable, or None.
        labels: `[row, column]` uint8 label map, 0 = unlabelled, or None.
        dark: `[column, kept band]` float32 stored number of no light, or None.
        gain: `[column, kept band]` float32 reflectance per stored number above dark, 0 where the
            references are dead; or None.
        taps: interpolation onto another band grid: lower and upper kept band and the upper one's
            share, each `[band]`; or None.
        forget: takes what was read of a memory-mapped file out of this process's memory.
        intact: raises OSError if a memory-mapped file was cut short.
        given: the options of `open_cube` that decide what its numbers mean, by name.
    """

    name: str
    path: str
    format: str
    shape: tuple[int, int, int]
    # Arrays stay out of the repr; a store might even print the whole scene.
    wavelengths: np.ndarray | None = dataclasses.field(repr=False)
    store: ts.TensorStore = dataclasses.field(repr=False)
    bands: np.ndarray = dataclasses.field(repr=False)
    centres: np.ndarray | None = dataclasses.field(repr=False)
    scale: float = 1.0
    geo: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
    ignore_value: float | None = None
    mask: np.ndarray | None = dataclasses.field(default=None, repr=False)
    labels: np.ndarray | None = dataclasses.field(default=None, repr=False)
    dark: np.ndarray | None = dataclasses.field(default=None, repr=False)
    gain: np.ndarray | None = dataclasses.field(default=None, repr=False)
    taps: tuple[np.ndarray, np.ndarray, np.ndarray] | None = dataclasses.field(
        default=None, repr=False
    )
    forget: Callable[[], None] = dataclasses.field(default=lambda: None, repr=False)
    intact: Callable[[], None] = dataclasses.field(default=lambda: None, repr=False)
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)

    def read(self, row: int, column: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads a window, which may reach outside the image.

        Args:
            row: of the window's upper left pixel.
            column: of the window's upper left pixel.
            height: rows of the window.
            width: columns of the window.

        Returns:
            Reflectance, float32 `[height, width, band]`, 0 where invalid (never NaN), and validity,
            bool `[height, width]`.

        Raises:
            InputError: the file has become unreadable there.
        """
        return self.request(row, column, height, width).result()

    def request(self, row: int, column: int, height: int, width: int) -> "Pending":
        """Starts reading a window without waiting for it; arguments as for `read`."""
        return Pending(self, (row, column, height, width))

    def for_walking(self) -> "Cube":
        """The same scene for reading it through once: less of it is kept in memory.

        Raises:
            InputError: the file has become unreadable.
        """
        with reading(self.path):
            return dataclasses.replace(self, store=lazy.for_walking(self.store))

    def read_stored(self, row: int, column: int, height: int, width: int) -> np.ndarray:
        """Stored numbers `[height, width, kept band]` of a window inside the image.

        Raises:
            InputError: the file has become unreadable there.
        """
        return self._finish(self._start(row, column, height, width))

    @functools.cached_property
    def _order(self) -> tuple[int, ...]:
        """Axes of the store, as they lie in the file."""
        return tuple(self.store.chunk_layout.inner_order or range(3))

    def _start(self, row: int, column: int, height: int, width: int) -> ts.Future:
        """Starts reading the range of stored bands that covers the kept ones."""
        with reading(self.path):
            self.intact()
        low, high = int(self.bands.min()), int(self.bands.max())
        window = self.store[row : row + height, column : column + width, low : high + 1]
        # In the order of the file: to transpose numbers one by one takes several times as long.
        return window.transpose(self._order).read()

    def _finish(self, future: ts.Future) -> np.ndarray:
        """Waits for what was started, and picks the kept bands (as a view if possible)."""
        with reading(self.path):
            stored = future.result().transpose(np.argsort(self._order))
        index = self.bands - self.bands.min()
        if np.array_equal(index, np.arange(stored.shape[2])):
            return stored
        if np.array_equal(index[::-1], np.arange(stored.shape[2])):
            return stored[:, :, ::-1]
        return stored[:, :, index]

    def usable(self, stored: np.ndarray, row: int, column: int) -> np.ndarray:
        """Which pixels are valid as far as stored numbers, mask and references tell.

        Args:
            stored: `[row, column, kept band]` stored numbers of a window inside the image.
            row: of the window's upper left pixel.
            column: of the window's upper left pixel.

        Returns:
            Bool `[row, column]`; that reflectance, too, is finite is not checked.
        """
        height, width = stored.shape[:2]
        valid = np.any(stored, axis=2)
        valid &= ~nodata.missing(stored, nodata.limits(self.ignore_value, stored.dtype))
        if self.mask is not None:
            valid &= self.mask[row : row + height, column : column + width]
        if self.gain is not None:
            valid &= (self.gain[column : column + width] > 0).all(axis=1)
        return valid

    def with_bands(
        self,
        ranges: Sequence[Sequence[float]] | None,
        drop: Sequence[Sequence[float]] | None = None,
    ) -> "Cube":
        """The same scene with some of its bands.

        Args:
            ranges: what to keep, nm, ends included: `((450, 900),)`; None keeps all.
            drop: what to leave out of that, nm, ends included.

        Raises:
            InputError: the scene's wavelengths are unknown, or no band is left.
        """
        if ranges is None and drop is None:
            return self
        if self.wavelengths is None:
            raise InputError(
                f"{self.path} does not say its wavelengths, so bands cannot be chosen in nm: give "
                "wavelengths=."
            )
        keep = np.ones(len(self.wavelengths), bool)
        if ranges is not None:
            keep = _within(self.wavelengths, ranges, "bands")
        if drop is not None:
            keep &= ~_within(self.wavelengths, drop, "drop")
        if not keep.any():
            raise InputError(
                f"{self.path} has no band left: it has {_range(self.wavelengths)}, and "
                f"bands={ranges}, drop={drop} were asked for."
            )
        chosen = dataclasses.replace(
            self, wavelengths=self.wavelengths[keep], shape=(*self.shape[:2], int(keep.sum()))
        )
        if self.taps is not None:
            lower, upper, share = self.taps
            return dataclasses.replace(chosen, taps=(lower[keep], upper[keep], share[keep]))
        return dataclasses.replace(
            chosen,
            bands=self.bands[keep],
            centres=self.wavelengths[keep],
            dark=None if self.dark is None else self.dark[:, keep],
            gain=None if self.gain is None else self.gain[:, keep],
        )

    def on_grid(self, wavelengths: Sequence[float] | np.ndarray) -> "Cube":
        """The same scene, interpolated linearly onto another band grid.

        Args:
            wavelengths: `[band]` nm, ascending. They may lie beyond the scene's first and last
                band by half the distance to the next one.

        Raises:
            InputError: the scene's wavelengths are unknown or do not cover the grid.
        """
        grid = np.asarray(wavelengths, np.float64)
        if self.centres is None:
            raise InputError(
                f"{self.path} does not say its wavelengths, so it cannot be brought to "
                f"{_range(grid)}: give wavelengths=."
            )
        centres = self.centres
        first, last = centres[0], centres[-1]
        if len(centres) > 1:
            first, last = 1.5 * first - 0.5 * centres[1], 1.5 * last - 0.5 * centres[-2]
        if grid[0] < first or grid[-1] > last:
            raise InputError(
                f"{self.path} has {_range(centres)}, which does not cover the {_range(grid)} "
                "asked for: leave the scene out or keep fewer bands."
            )
        lower = np.clip(np.searchsorted(centres, grid, side="right") - 1, 0, len(centres) - 1)
        upper = np.minimum(lower + 1, len(centres) - 1)
        distance = np.maximum(centres[upper] - centres[lower], 1e-9)
        share = np.clip((grid - centres[lower]) / distance, 0, 1).astype(np.float32)
        return dataclasses.replace(
            self,
            wavelengths=grid,
            shape=(*self.shape[:2], len(grid)),
            taps=(lower, upper, share),
        )


class Stored(NamedTuple):
    """A window before its numbers became reflectance, so that a device may do it.

    Attributes:
        numbers: `[row, column, band]` of at most 32 bits; reflectance is these by the divisor.
        usable: `[row, column]` bool, inside the image and not masked out.
        divisor: what to divide the numbers by.
        ignored: numbers between these two make their pixel invalid; or None.
        checked: whether `usable` is validity already. If not, a usable pixel is valid if its
            reflectance is finite, its numbers are not all zero, none is `ignored` and none is
            beyond 1e38.
    """

    numbers: np.ndarray
    usable: np.ndarray
    divisor: float
    ignored: nodata.Limits | None
    checked: bool


class Pending:
    """A window of a cube that is being read."""

    def __init__(self, cube: Cube, window: tuple[int, int, int, int]) -> None:
        row, column, height, width = window
        self._cube, self._size = cube, (height, width)
        top, left = max(row, 0), max(column, 0)
        bottom, right = min(row + height, cube.shape[0]), min(column + width, cube.shape[1])
        self._origin = top, left
        self._inside = slice(top - row, bottom - row), slice(left - column, right - column)
        self._future = None
        if bottom > top and right > left:
            self._future = cube._start(top, left, bottom - top, right - left)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Waits for the window; returns what `Cube.read` returns."""
        if self._future is None:
            return self._framed(None, None)
        stored = self._cube._finish(self._future)
        return self._framed(*_to_reflectance(self._cube, stored, *self._origin))

    def stored(self) -> "Stored":
        """Waits for the window; returns it as the file has it, if that is no larger."""
        cube = self._cube
        dtype = cube.store.dtype.numpy_dtype
        short = (dtype.kind in "iu" and dtype.itemsize <= 4) or dtype == np.float32
        if self._future is None or not short or cube.gain is not None or cube.taps is not None:
            return Stored(*self.result(), divisor=1.0, ignored=None, checked=True)
        numbers = cube._finish(self._future)
        window = tuple(slice(n, n + m) for n, m in zip(self._origin, numbers.shape, strict=False))
        usable = np.ones(numbers.shape[:2], bool) if cube.mask is None else cube.mask[window]
        ignored = nodata.limits(cube.ignore_value, dtype)
        return Stored(*self._framed(numbers, usable), cube.scale, ignored, checked=False)

    def _framed(
        self, inside: np.ndarray | None, valid: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The part inside the image with zeros, not valid, around it."""
        if inside is not None and valid is not None and valid.shape == self._size:
            return inside, valid
        dtype = np.dtype(np.float32) if inside is None else inside.dtype
        whole = np.zeros((*self._size, self._cube.shape[2]), dtype)
        whole_valid = np.zeros(self._size, bool)
        if inside is not None and valid is not None:
            whole[self._inside], whole_valid[self._inside] = inside, valid
        return whole, whole_valid


def open_cube(
    path: Path,
    *,
    labels: Path | None = None,
    mask: Path | None = None,
    dark: Path | None = None,
    white: Path | None = None,
    variable: str | None = None,
    axes: str | None = None,
    wavelengths: Sequence[float] | np.ndarray | Path | None = None,
    keep_bad_bands: bool = False,
    scale: float | None = None,
) -> Cube:
    """Opens a scene; reads a few pixels at most, see `empty_bands`.

    Args:
        path: ENVI header or data file, `.mat`, HDF5 or NetCDF, `.npy`, `.tif`, or the folder or URL
            (`gs://`, `s3://`, `http://`, `https://`, `file://`) of a zarr, zarr3 or n5 array.
        labels: label map of the scene, see `labels.read_labels`.
        mask: PNG or NPY picture of the scene's size, nonzero = usable.
        dark: scene of the same columns and bands, taken without light; lines are averaged.
        white: the same, of a white reference of reflectance 1.
        variable: which array of the file, if it holds several.
        axes: order of the stored axes, such as `"brc"`, if the file does not say.
        wavelengths: of the stored bands, in nm (below 100: micrometres): numbers, or the path of a
            text file of numbers; instead of the file's own.
        keep_bad_bands: also use bands that the file calls bad, or that hold no data.
        scale: what to divide stored numbers by to get reflectance, instead of the file's own.

    Raises:
        InputError: in one sentence, what is wrong with which file and what to do.
    """
    path = os.path.expanduser(os.fspath(path))
    format_name, raw = read_any(path, variable=variable, axes=axes)
    if scale is not None and not (0 < scale < np.inf):
        raise InputError(f"scale={scale:g}: expected a positive number, such as 10000; correct it.")
    if scale is not None and white:
        raise InputError(
            f"{path} has both scale={scale:g} and a white reference ({os.fspath(white)}): "
            "reflectance comes from one of them, so leave the other out."
        )
    size = raw.store.shape[0], raw.store.shape[1]
    usable = None if mask is None else companions.read_mask(os.fspath(mask), path, size)
    cube = understood(path, format_name, raw, wavelengths, usable, keep_bad_bands=keep_bad_bands)
    given = {
        "mask": mask,
        "dark": dark,
        "white": white,
        "variable": variable,
        "axes": axes,
        "wavelengths": wavelengths,
        "scale": scale,
    }
    cube = dataclasses.replace(cube, given=given)
    if scale is not None:
        notes = list(cube.notes)
        if cube.scale not in (1.0, scale):
            notes.append(f"The file's scale factor {cube.scale:g} is overruled by {scale:g}.")
        cube = dataclasses.replace(cube, scale=float(scale), notes=tuple(notes))
    if labels is not None:
        from dgc_jax.data.labels import read_labels  # only here: most scenes have none

        cube = dataclasses.replace(cube, labels=read_labels(os.fspath(labels), size)[0])
    return _calibrated(cube, dark or None, white or None)


def understood(
    path: str,
    format_name: str,
    raw: Raw,
    wavelengths: Sequence[float] | np.ndarray | Path | None = None,
    mask: np.ndarray | None = None,
    *,
    keep_bad_bands: bool = False,
) -> Cube:
    """The scene that a reader has found, its bands sorted and those without data left out.

    Args:
        path: what messages call it; its name without folder and endings is the scene's.
        format_name: what it was read from.
        raw: its numbers and what is known of them.
        wavelengths: of the stored bands, as for `open_cube`.
        mask: `[row, column]` bool, True = usable, or None.
        keep_bad_bands: also use bands that are called bad, or that hold no data.

    Raises:
        InputError: it holds no real numbers, all its bands are bad, or wavelengths do not fit.
    """
    rows, columns, stored_bands = raw.store.shape
    if raw.store.dtype.numpy_dtype.kind not in "iufb" or 0 in raw.store.shape:
        raise InputError(
            f"{path} holds {raw.store.dtype.name} numbers, rows x columns x bands = {rows} x "
            f"{columns} x {stored_bands}: expected real numbers in at least one pixel and band."
        )
    limits.check_image(path, rows, columns)
    if stored_bands > limits.LISTED:
        raise InputError(
            f"{path}: expected at most {limits.LISTED} bands, found {stored_bands}: its axes may "
            "be in another order, so give axes=."
        )
    notes = list(raw.notes)
    centres = raw.wavelengths
    if wavelengths is not None:
        centres = companions.read_wavelengths(wavelengths, path, stored_bands)
    dtype, ignored = raw.store.dtype.numpy_dtype, raw.ignore_value
    if dtype.kind in "iu" and ignored and nodata.limits(ignored, dtype) is None:
        notes.append(f"The no-data number {ignored:g} cannot stand among {dtype.name} numbers.")
    bands = np.arange(stored_bands)
    if raw.good_bands is not None and not raw.good_bands.all() and not keep_bad_bands:
        bands = np.flatnonzero(raw.good_bands)
        notes.append(f"{stored_bands - len(bands)} bands that the file calls bad are left out.")
        if not len(bands):
            raise InputError(f"{path} calls all its bands bad: correct it, or keep bad bands.")
    if centres is not None:
        bands = bands[np.argsort(centres[bands], kind="stable")]
        centres = centres[bands]
    cube = Cube(
        name=scene_name(path),
        path=path,
        format=format_name,
        shape=(rows, columns, len(bands)),
        wavelengths=centres,
        store=raw.store,
        bands=bands,
        centres=centres,
        scale=raw.scale,
        geo=raw.geo,
        notes=tuple(notes),
        forget=raw.forget,
        intact=raw.intact,
        ignore_value=raw.ignore_value,
        mask=mask,
    )
    if keep_bad_bands:
        return cube
    from dgc_jax.data import empty_bands  # only here: it is about cubes

    return empty_bands.without_empty_bands(cube)


def _to_reflectance(
    cube: Cube, stored: np.ndarray, row: int, column: int
) -> tuple[np.ndarray, np.ndarray]:
    """Stored numbers of a window inside the image as reflectance and validity."""
    valid = cube.usable(stored, row, column)
    with np.errstate(over="ignore", invalid="ignore"):  # such pixels are not valid
        reflectance = stored.astype(np.float32)
        if cube.dark is not None and cube.gain is not None:
            window = slice(column, column + stored.shape[1])
            reflectance -= cube.dark[window]
            reflectance *= cube.gain[window]
        elif cube.scale != 1:
            reflectance /= np.float32(cube.scale)
    if stored.dtype.kind == "f" and (cube.gain is not None or cube.scale < 1):  # may overflow
        valid &= np.isfinite(reflectance).all(axis=2)
    if not valid.all():
        reflectance[~valid] = 0
    if cube.taps is not None:
        lower, upper, share = cube.taps
        reflectance = reflectance[:, :, lower] * (1 - share) + reflectance[:, :, upper] * share
    return reflectance, valid


def _within(wavelengths: np.ndarray, ranges: Sequence[Sequence[float]], field: str) -> np.ndarray:
    """Which wavelengths lie in one of some ranges."""
    limits = np.asarray(ranges, np.float64).reshape(-1, 2) if np.size(ranges) % 2 == 0 else None
    if limits is None or (limits[:, 0] > limits[:, 1]).any():
        raise InputError(f"{field}={ranges} must be ranges in nm, such as ((450, 900),).")
    low, high = limits[:, :1], limits[:, 1:]  # [range, 1]
    return np.any((wavelengths >= low) & (wavelengths <= high), axis=0)


def _range(wavelengths: np.ndarray) -> str:
    return f"{len(wavelengths)} bands of {wavelengths[0]:.6g} to {wavelengths[-1]:.6g} nm"


def _calibrated(cube: Cube, dark: Path | None, white: Path | None) -> Cube:
    """The cube with references, if there are any."""
    if white is None:
        if dark is not None:
            raise InputError(
                f"A dark reference ({os.fspath(dark)}) alone gives no reflectance: give the white "
                "reference too."
            )
        return cube
    white, dark = os.fspath(white), None if dark is None else os.fspath(dark)
    white_line = _reference_line(white, cube)
    dark_line = np.zeros_like(white_line)
    notes = ["Reflectance by white and dark reference; a scale factor is not applied."]
    dark_of_white = None
    if dark is not None:
        dark_line = _reference_line(dark, cube)
        dark_of_white = layouts.dark_of_white(white)
    white_dark = dark_line
    if dark_of_white is not None:
        white_dark = _reference_line(dark_of_white, cube)
        notes.append(f"{os.path.basename(dark_of_white)} is the dark of the white reference.")
    factor, told = exposure.of_white(cube.path, white, dark)
    notes += told
    gain = companions.reflectance_per_count(white_line, white_dark) / np.float32(factor)
    alive = np.all(gain > 0, axis=1)  # [column]
    dead = int((~alive).sum())
    if dead == len(alive):
        raise InputError(
            f"{white} is in every column somewhere not brighter than "
            f"{dark_of_white or dark or '0'}: check that the white and dark "
            "references are not swapped."
        )
    if dead:
        notes.append(f"{dead} of {len(alive)} columns are dead in the references: no data there.")
    return dataclasses.replace(
        cube,
        scale=1.0,
        dark=dark_line.astype(np.float32),
        gain=gain,
        notes=(*cube.notes, *notes),
    )


def _reference_line(reference: str, cube: Cube) -> np.ndarray:
    """Mean line of a reference, `[column, kept band]`."""
    _, raw = read_any(reference)
    size = cube.shape[1], cube.store.shape[2]
    with reading(reference):
        return companions.mean_line(reference, raw.store, cube.path, size)[:, cube.bands]
