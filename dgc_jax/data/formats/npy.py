"""NumPy `.npy` files, memory-mapped; pickled content is never loaded.

The axes are `[row, column, band]` unless told otherwise.
"""

import numpy as np

from dgc_jax.data.formats import lazy, variables
from dgc_jax.data.formats.raw import Raw
from dgc_jax.errors import InputError, reason


def read(path: str, *, variable: str | None = None, axes: str | None = None) -> Raw:
    """Maps an array; nothing is read.

    Args:
        path: of the `.npy` file.
        variable: must be None: the file holds one array without a name.
        axes: order of the stored axes, such as `"brc"`; None is `"rcb"`.

    Raises:
        InputError: not a three-dimensional array of plain numbers, or cut short.
    """
    if variable is not None:
        raise InputError(
            path, found="holds one array without a name", remedy=f"leave variable={variable!r} out"
        )
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy parses headers with Python's own parser, which raises much
        raise InputError(
            path,
            found=f"cannot be opened as a NumPy array of plain numbers ({reason(error)})",
            remedy="save it with numpy.save as one array of a numeric type",
        ) from error
    if not isinstance(array, np.ndarray):
        raise InputError(
            path,
            expected="one array",
            found="an archive of several arrays",
            remedy="save the cube with numpy.save",
        )
    if array.dtype.kind not in "biufc":
        raise InputError(
            path, expected="numbers", found=f"{array.dtype} values", remedy="save only numbers"
        )
    order, _ = variables.order_axes(path, "the array", array.shape, axes or "rcb", ())
    store = lazy.array_store(array.transpose([order.index(axis) for axis in "rcb"]))
    return Raw(store, forget=lazy.forgetter(array), intact=lazy.keeper(array))
