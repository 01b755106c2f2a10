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

from dgc_jax.data import bands as band_sets
from dgc_jax.data import calibration, companions
from dgc_jax.data.bands import Bands
from dgc_jax.data.calibration import Calibration
from dgc_jax.data.formats import lazy, limits, nodata
from dgc_jax.data.formats.detect import read as read_any
from dgc_jax.data.formats.detect import scene_name
from dgc_jax.data.formats.raw import Raw
from dgc_jax.data.reading import Reading
from dgc_jax.errors import InputError, reading

Path = str | os.PathLike[str]


@dataclasses.dataclass(frozen=True, eq=False)
class Cube:
    """One scene: the store, and what describes it.

    Attributes:
        name: of the scene: its file's name without folder and endings.
        path: of the file, as given.
        format: what the file is: "ENVI", "MATLAB", "HDF5", "NPY", "GeoTIFF", "EnMAP" or "zarr"; or,
            of what is in memory, "array" (see `dgc_jax.data.arrays`).
        store: `[row, column, stored band]`, native type.
        bands: which stored bands are used, at which wavelengths.
        calibration: what makes reflectance of stored numbers.
        geo: georeference, carried to the outputs; see `formats.raw.Raw`.
        notes: one sentence for each thing that was guessed, repaired or left out.
        ignore_value: the stored number that means "no data", or None.
        mask: `[row, column]` bool, True = usable, or None.
        reading: the options that it was opened with.
        forget: takes what was read of a memory-mapped file out of this process's memory.
        intact: raises OSError if a memory-mapped file was cut short.
    """

    name: str
    path: str
    format: str
    # Arrays stay out of the repr; a store might even print the whole scene.
    store: ts.TensorStore = dataclasses.field(repr=False)
    bands: Bands = dataclasses.field(repr=False)
    calibration: Calibration = dataclasses.field(default=Calibration(), repr=False)
    geo: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
    ignore_value: float | None = None
    mask: np.ndarray | None = dataclasses.field(default=None, repr=False)
    reading: Reading = dataclasses.field(default=Reading(), repr=False)
    forget: Callable[[], None] = dataclasses.field(default=lambda: None, repr=False)
    intact: Callable[[], None] = dataclasses.field(default=lambda: None, repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and bands of what `read` returns."""
        return self.store.shape[0], self.store.shape[1], len(self.bands)

    @property
    def wavelengths(self) -> np.ndarray | None:
        """`[band]` nm (float64, ascending) of what `read` returns, or None."""
        return self.bands.wavelengths

    @property
    def scale(self) -> float:
        """What a stored number is divided by to get reflectance; 1 with references."""
        return self.calibration.scale

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
        first, end = self.bands.span
        window = self.store[row : row + height, column : column + width, first:end]
        # In the order of the file: to transpose numbers one by one takes several times as long.
        return window.transpose(self._order).read()

    def _finish(self, future: ts.Future) -> np.ndarray:
        """Waits for what was started, and picks the kept bands (as a view if possible)."""
        with reading(self.path):
            stored = future.result().transpose(np.argsort(self._order))
        return self.bands.pick(stored)

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
        valid &= self.calibration.alive(column, width)
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
        keep = band_sets.chosen(self.path, self.bands, ranges, drop)
        calibrated = self.calibration
        if self.bands.taps is None:
            calibrated = calibrated.of_bands(keep)
        return dataclasses.replace(self, bands=self.bands.kept(keep), calibration=calibrated)

    def on_grid(self, wavelengths: Sequence[float] | np.ndarray) -> "Cube":
        """The same scene, interpolated linearly onto another band grid.

        Args:
            wavelengths: `[band]` nm, ascending. They may lie beyond the scene's first and last
                band by half the distance to the next one.

        Raises:
            InputError: the scene's wavelengths are unknown or do not cover the grid.
        """
        bands = band_sets.on_grid(self.path, self.bands, wavelengths)
        return dataclasses.replace(self, bands=bands)


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
        computed = cube.calibration.by_references or cube.bands.taps is not None
        if self._future is None or not short or computed:
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
    how = Reading(variable, axes, wavelengths, mask, dark, white, scale, keep_bad_bands)
    return open_as(path, how)


def open_as(path: Path, how: Reading) -> Cube:
    """The same as `open_cube`, of a reading whose files are paths.

    Raises:
        InputError: see `open_cube`.
    """
    path = os.path.expanduser(os.fspath(path))
    how = dataclasses.replace(how, dark=how.dark or None, white=how.white or None)  # "": none
    format_name, raw = read_any(path, variable=how.variable, axes=how.axes)
    scale = how.scale
    if scale is not None and not (0 < scale < np.inf):
        raise InputError(
            f"scale={scale:g}", expected="a positive number, such as 10000", remedy="correct it"
        )
    if scale is not None and how.white:
        raise InputError(
            path,
            expected="a scale factor or a white reference, one of which gives reflectance",
            found=f"both scale={scale:g} and {os.fspath(how.white)}",
            remedy="leave one out",
        )
    size = raw.store.shape[0], raw.store.shape[1]
    usable = None
    if how.mask is not None:
        usable = companions.read_mask(os.fspath(how.mask), path, size)
    cube = understood(
        path, format_name, raw, how.wavelengths, usable, keep_bad_bands=how.keep_bad_bands
    )
    notes, calibrated = list(cube.notes), cube.calibration
    if scale is not None:
        if cube.scale not in (1.0, scale):
            notes.append(f"The file's scale factor {cube.scale:g} is overruled by {scale:g}.")
        calibrated = Calibration(float(scale))
    if how.white:
        columns = size[1], raw.store.shape[2]
        calibrated, told = calibration.by_references(
            path, cube.bands.index, columns, how.white, how.dark
        )
        notes += told
    elif how.dark:
        raise InputError(
            os.fspath(how.dark),
            found="a dark reference alone gives no reflectance",
            remedy="give the white reference too",
        )
    return dataclasses.replace(cube, calibration=calibrated, notes=tuple(notes), reading=how)


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
            path,
            expected="real numbers in at least one pixel and band",
            found=f"{raw.store.dtype.name} numbers, rows x columns x bands = {rows} x {columns} x "
            f"{stored_bands}",
        )
    limits.check_image(path, rows, columns)
    if stored_bands > limits.LISTED:
        raise InputError(
            path,
            expected=f"at most {limits.LISTED} bands",
            found=stored_bands,
            remedy="its axes may be in another order, so give axes=",
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
            raise InputError(
                path, found="calls all its bands bad", remedy="correct it, or give keep_bad_bands="
            )
    if centres is not None:
        bands = bands[np.argsort(centres[bands], kind="stable")]
        centres = centres[bands]
    cube = Cube(
        name=scene_name(path),
        path=path,
        format=format_name,
        store=raw.store,
        bands=Bands(bands, centres),
        calibration=Calibration(raw.scale),
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
    reflectance = cube.calibration.reflectance(stored, column)
    if cube.calibration.may_overflow(stored.dtype):
        valid &= np.isfinite(reflectance).all(axis=2)
    if not valid.all():
        reflectance[~valid] = 0
    return cube.bands.interpolate(reflectance), valid
