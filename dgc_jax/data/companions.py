"""What a user lays beside a scene: masks, lists of wavelengths, white and dark references."""

import io
import os
import re
from collections.abc import Sequence

import numpy as np
import PIL.Image
import tensorstore as ts

from dgc_jax.data.formats.wavelengths import to_nanometres
from dgc_jax.errors import InputError, reading, reason

PICTURES = ("PNG", "TIFF", "BMP", "GIF", "JPEG", "PPM")
"""Formats of masks and label maps; others of Pillow's run programs or read what a file names."""

_IN_MEMORY = 1 << 26
"""Bytes up to which a picture is read before Pillow sees it."""

BOMBS = (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning)
_BLOCK_BYTES = 64 * 2**20  # of a reference read at a time


def open_picture(path: str, formats: tuple[str, ...] = PICTURES) -> PIL.Image.Image:
    """Opens a picture; who calls closes it.

    Pillow asks a file for as many bytes as a length in it says, for which Python makes room before
    it finds that there are fewer; bytes in memory give what there is.

    Raises:
        OSError: and whatever else Pillow raises.
    """
    if os.path.getsize(path) > _IN_MEMORY:
        return PIL.Image.open(path, formats=formats)
    with open(path, "rb") as file:
        return PIL.Image.open(io.BytesIO(file.read()), formats=formats)


def read_wavelengths(
    given: Sequence[float] | np.ndarray | str | os.PathLike[str], path: str, bands: int
) -> np.ndarray:
    """Wavelengths that the user gives.

    Args:
        given: numbers, or the path of a text file of numbers (`#` starts a comment), in nm or,
            below 100, in micrometres.
        path: of the scene, for the message.
        bands: stored in the scene.

    Returns:
        `[band]` nm, float64.

    Raises:
        InputError: not one wavelength for each band.
    """
    source = "wavelengths="
    if isinstance(given, str | os.PathLike):
        source = os.fspath(given)
        try:
            with open(source, encoding="utf-8-sig") as file:
                lines = [line.partition("#")[0] for line in file]
            given = [float(word) for word in re.split(r"[\s,;]+", " ".join(lines)) if word]
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise InputError(
                source,
                expected="a text file of numbers, the wavelengths",
                found=f"something that cannot be read as one ({reason})",
                remedy="correct the file",
            ) from error
    values = np.asarray(given, np.float64).ravel()
    if values.size != bands:
        raise InputError(
            source,
            expected=f"a wavelength for each of the {bands} stored bands of {path}",
            found=f"{values.size} wavelengths",
            remedy="give one for each",
        )
    found, why = to_nanometres(values)
    if found is None:
        raise InputError(
            source, found=(why or "").removesuffix(": not used"), remedy="give nm or micrometres"
        )
    return found


def read_mask(mask_path: str, path: str, size: tuple[int, int]) -> np.ndarray:
    """A validity mask from a picture or a NPY array.

    Args:
        mask_path: of the mask; nonzero (in any colour) = usable.
        path: of the scene, for the message.
        size: rows and columns of the scene.

    Returns:
        Bool `[row, column]`.

    Raises:
        InputError: it cannot be read or has another size.
    """
    try:
        if mask_path.lower().endswith(".npy"):
            mapped = np.load(mask_path, mmap_mode="r", allow_pickle=False)
            mask = mapped if mapped.shape[:2] != size else np.array(mapped)
        else:
            with open_picture(mask_path) as picture:
                if picture.size != size[::-1]:
                    raise _other_size(mask_path, picture.size[::-1], path, size)
                colours = picture.convert("RGB") if "A" in picture.getbands() else picture
                mask = np.asarray(colours)
    except InputError:
        raise
    except (OSError, ValueError, EOFError, SyntaxError, AttributeError, *BOMBS) as error:
        raise InputError(
            mask_path,
            expected="a mask, as PNG picture or NPY array",
            found=f"something that cannot be read as one ({reason(error)})",
            remedy="correct the file",
        ) from error
    if mask.ndim == 3:
        mask = mask.any(axis=2)
    if mask.shape != size:
        raise _other_size(mask_path, mask.shape, path, size)
    return mask != 0


def _other_size(
    mask_path: str, found: Sequence[int], path: str, size: tuple[int, int]
) -> InputError:
    return InputError(
        mask_path,
        expected=f"the {size[0]} rows and {size[1]} columns of {path}",
        found=f"shape {list(found)}",
        remedy="give a mask of the same size",
    )


def mean_line(
    reference: str, store: ts.TensorStore, path: str, size: tuple[int, int]
) -> np.ndarray:
    """Mean over the lines of a reference, read some lines at a time.

    Args:
        reference: path of the reference, for the message.
        store: the reference, `[row, column, band]`.
        path: of the scene, for the message.
        size: columns and bands of the scene.

    Returns:
        Float64 `[column, band]`, stored numbers.

    Raises:
        InputError: it has other columns or bands than the scene.
    """
    rows, columns, bands = store.shape
    if (columns, bands) != size:
        raise InputError(
            reference,
            expected=f"the {size[0]} columns and {size[1]} bands of {path}",
            found=f"{columns} columns and {bands} bands",
            remedy="give a reference of the same camera settings",
        )
    step = max(1, _BLOCK_BYTES // (columns * bands * store.dtype.numpy_dtype.itemsize))
    total = np.zeros((columns, bands))
    for start in range(0, rows, step):
        with reading(reference):
            lines = store[start : min(start + step, rows)].read().result()
        total += lines.sum(axis=0, dtype=np.float64)
    return total / rows


def reflectance_per_count(white: np.ndarray, dark: np.ndarray) -> np.ndarray:
    """`1 / (white - dark)` as float32, and 0 where white is not brighter than dark.

    Args:
        white: `[column, band]` stored numbers of reflectance 1.
        dark: `[column, band]` stored numbers of no light.
    """
    alive = white > dark
    gain = np.zeros(alive.shape, np.float32)
    gain[alive] = 1 / (white - dark)[alive]
    return gain
