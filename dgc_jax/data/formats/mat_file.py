"""The variables of a MATLAB file: of version 5 through scipy, of version 7.3 (HDF5) through h5py.

Fields of structs and cells are listed by their paths as MATLAB writes them: `hsi.Data`,
`scenes{2}`, `runs(3).cube`. Shapes and axes are MATLAB's own, as `size` prints them; a version 7.3
file lists them in reverse. An HDF5 file named `.mat` that MATLAB did not write (no header of 512
bytes, no `MATLAB_class`) keeps the axes that HDF5 lists. Objects and functions are never evaluated.
"""

import contextlib
import dataclasses
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import h5py
import numpy as np
import scipy.io
import scipy.sparse

from dgc_jax.data.formats import attributes, hdf5, limits
from dgc_jax.errors import InputError

_NUMERIC = {"double", "single"} | {f"{sign}int{n}" for sign in ("", "u") for n in (8, 16, 32, 64)}
_CELLS = 1000  # entries of a cell or struct array that are looked into
_HEADER = 128  # bytes of MATLAB's header, within a user block of 512


@dataclasses.dataclass(frozen=True)
class Variables:
    """The numeric variables of a MATLAB file.

    Attributes:
        shapes: MATLAB's `size` of each array of numbers.
        flags: the same of each array of true and false, and of each sparse matrix.
        load: reads one of either whole, axes in MATLAB's order; sparse ones become full.
        datasets: the arrays of `shapes` if the file is HDF5, else empty.
        reverse: whether the axes of `datasets` are those of `shapes` in reverse.
    """

    shapes: Mapping[str, tuple[int, ...]]
    flags: Mapping[str, tuple[int, ...]]
    load: Callable[[str], np.ndarray]
    datasets: Mapping[str, h5py.Dataset] = dataclasses.field(default_factory=dict)
    reverse: bool = True


def open_variables(path: str) -> Variables:
    """Lists the numeric variables of a MATLAB file.

    Of version 5, structs and cells are read for that; plain arrays are not.

    Args:
        path: of the .mat file.

    Raises:
        InputError: the file is not there, not MATLAB's, or cut short.
    """
    if not os.path.isfile(path):
        raise InputError(path, found="does not exist or is not a file", remedy="check the path")
    if h5py.is_hdf5(path):
        return _version_7_3(path)
    try:
        if scipy.io.matlab.matfile_version(path)[0] == 0:
            _walk_version_4(path)
        listed = scipy.io.whosmat(path)
    except Exception as error:  # scipy lets through whatever the damage happened to trigger
        raise InputError(
            path,
            found=f"could not be read as a MATLAB file ({error}), so it is of another format "
            "or cut short",
            remedy="copy or download it again",
        ) from error
    plain = {name: shape for name, shape, kind in listed if kind in _NUMERIC}
    flags = {name: shape for name, shape, kind in listed if kind in ("logical", "sparse")}
    inside: dict[str, Any] = {}
    for name, _, kind in listed:
        if kind in ("struct", "cell"):
            with contextlib.suppress(InputError):  # the cube may lie elsewhere
                inside.update(_fields(name, _load_version_5(path, name)))
    for name, array in inside.items():
        kept = flags if scipy.sparse.issparse(array) or array.dtype.kind == "b" else plain
        kept[name] = array.shape

    def load(name: str) -> np.ndarray:
        if name not in inside:  # as doubles, which is how MATLAB stores most
            shape = plain.get(name) or flags[name]
            limits.check_whole(f"{path}: {name}", shape, 8, os.path.getsize(path))
        array = inside[name] if name in inside else _load_version_5(path, name)
        if scipy.sparse.issparse(array):
            limits.check_whole(f"{path}: {name}", array.shape, array.dtype.itemsize)
            array = array.toarray()
        if array.dtype.kind not in "iufb":
            raise InputError(
                path,
                expected=f"real numbers in {name}",
                found=f"{array.dtype.name} numbers",
                remedy="save real ones",
            )
        return array

    return Variables(
        {name: shape for name, shape in plain.items() if 0 not in shape},
        {name: shape for name, shape in flags.items() if 0 not in shape},
        load,
    )


def _walk_version_4(path: str) -> None:
    """Sees that the variables of a file of version 4 end within it, before scipy believes them.

    Source: MAT-File Format, MathWorks, appendix "MAT-File Level 4".

    Raises:
        ValueError: one does not.
    """
    size, at = os.path.getsize(path), 0
    with open(path, "rb") as file:
        while header := file.read(20):
            order = "<" if 0 <= struct.unpack("<i", header[:4])[0] < 5000 else ">"
            kind, rows, columns, imaginary, name = struct.unpack(f"{order}5i", header)
            precision = (8, 4, 4, 2, 2, 1)[kind // 10 % 10]
            at += 20 + name + rows * columns * precision * (2 if imaginary else 1)
            if min(rows, columns, name) < 0 or at > size:
                raise ValueError(f"a variable of {rows} x {columns} numbers ends beyond it")
            file.seek(at)


def _load_version_5(path: str, name: str) -> Any:
    try:
        return scipy.io.loadmat(path, variable_names=[name])[name]
    except Exception as error:  # as above: OSError, ValueError, TypeError, zlib.error, ...
        raise InputError(
            path,
            found=f"ends or is damaged within variable {name} ({error})",
            remedy="copy or download it again",
        ) from error


def _fields(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Path and content of every array in a struct or cell of version 5."""
    if scipy.sparse.issparse(value):
        yield name, value
    elif not isinstance(value, np.ndarray) or isinstance(
        value, scipy.io.matlab.MatlabOpaque | scipy.io.matlab.MatlabFunction
    ):
        return
    elif value.dtype.names:
        for place, entry in enumerate(value.ravel(order="F")[:_CELLS]):
            own = name if value.size == 1 else f"{name}({place + 1})"
            for field in value.dtype.names:
                yield from _fields(f"{own}.{field}", entry[field])
    elif value.dtype.kind == "O":
        for place, entry in enumerate(value.ravel(order="F")[:_CELLS]):
            yield from _fields(f"{name}{{{place + 1}}}", entry)
    elif value.dtype.kind in "iufbc":
        yield name, value


def _version_7_3(path: str) -> Variables:
    file = hdf5.open_file(path)
    by_matlab = file.userblock_size >= _HEADER or any(
        "MATLAB_class" in item.attrs for item in _members(file).values()
    )
    found: dict[str, h5py.Dataset | h5py.Group] = {}
    for key, item in _members(file).items():
        found.update(_datasets(file, key, item))
    shapes: dict[str, tuple[int, ...]] = {}
    flags: dict[str, tuple[int, ...]] = {}
    for name, item in found.items():
        if isinstance(item, h5py.Group):
            columns = item["jc"].size - 1 if "jc" in item else 0
            flags[name] = (int(item.attrs["MATLAB_sparse"]), columns)
        else:
            shape = tuple(item.shape[::-1] if by_matlab else item.shape)
            (flags if _class(item) == "logical" or item.dtype.kind == "b" else shapes)[name] = shape

    def load(name: str) -> np.ndarray:
        item = found[name]
        if isinstance(item, h5py.Group):
            return _full(path, name, item, flags[name])
        array = hdf5.whole(path, item)
        return array.T if by_matlab else array

    arrays = {name: found[name] for name in shapes}
    return Variables(
        shapes,
        {name: shape for name, shape in flags.items() if 0 not in shape},
        load,
        arrays,
        by_matlab,
    )


def _members(group: h5py.Group) -> dict[str, h5py.Dataset | h5py.Group]:
    """What lies in a group itself; links out of the file are not followed."""
    own = [key for key in group if isinstance(group.get(key, getlink=True), h5py.HardLink)]
    # MATLAB keeps what its cells and objects refer to in `#refs#` and `#subsystem#`.
    return {key: group[key] for key in own if not key.startswith("#")}


def _datasets(
    file: h5py.File, name: str, item: Any, depth: int = 8
) -> Iterator[tuple[str, h5py.Dataset | h5py.Group]]:
    """Path and content of every array in a variable of version 7.3."""
    if depth == 0:
        return
    if isinstance(item, h5py.Group):
        if "MATLAB_sparse" in item.attrs:
            yield name, item
            return
        for key, member in _members(item).items():
            entries = _references(member)
            if entries and _class(member) != "cell":  # a field of an array of structs
                for place, reference in enumerate(entries):
                    path = f"{name}({place + 1}).{key}"
                    yield from _datasets(file, path, file[reference], depth - 1)
            else:
                yield from _datasets(file, f"{name}.{key}", member, depth - 1)
    elif isinstance(item, h5py.Dataset):
        for place, reference in enumerate(_references(item)):
            yield from _datasets(file, f"{name}{{{place + 1}}}", file[reference], depth - 1)
        numbers = item.dtype.kind in "iufb" and _class(item) not in ("char", "cell")
        if numbers and item.shape and 0 not in item.shape and "MATLAB_empty" not in item.attrs:
            yield name, item


def _references(item: Any) -> list[h5py.Reference]:
    """What a cell, or a field of an array of structs, refers to, in MATLAB's order."""
    if not isinstance(item, h5py.Dataset) or h5py.check_ref_dtype(item.dtype) != h5py.Reference:
        return []
    if item.size > limits.LISTED or item.external or item.is_virtual:
        return []
    return [reference for reference in item[()].ravel()[:_CELLS] if reference]


def _class(item: Any) -> str:
    return attributes.text(item.attrs.get("MATLAB_class")) or ""


def _full(path: str, name: str, group: h5py.Group, shape: tuple[int, ...]) -> np.ndarray:
    """A sparse matrix of version 7.3 with its zeros: compressed columns `data`, `ir`, `jc`."""
    limits.check_whole(f"{path}: {name}", shape, 8)
    try:
        rows = hdf5.whole(path, group["ir"]) if "ir" in group else np.zeros(0, int)
        columns = hdf5.whole(path, group["jc"])
        values = hdf5.whole(path, group["data"]) if "data" in group else np.zeros(0)
        return scipy.sparse.csc_array((values, rows, columns), shape=shape).toarray()
    except InputError:
        raise
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            path,
            found=f"the sparse matrix {name} is damaged ({error})",
            remedy="save it with full()",
        ) from error
