"""What the files of a prepared scene must be: `checksums.json` in its folder.

A chunk of a zarr store that is not there is read as zeros, thus as no data. A prepared scene
therefore lists its files: a scene of which one is missing or of another size is refused when it is
opened, and `dgc inspect --verify` reads all of them and compares their content.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from typing import NamedTuple

from dgc_jax import documents
from dgc_jax.errors import InputError, reason

NAME = "checksums.json"

_REMEDY = "prepare the scene again, or copy it again"


class _File(NamedTuple):
    """What is kept of a file.

    Attributes:
        bytes: its size.
        sha256: of its content, hexadecimal.
    """

    bytes: int
    sha256: str


def write(folder: str) -> None:
    """Lists the files of a folder in it.

    Args:
        folder: with all its files.
    """
    listed = {
        name: _File(os.path.getsize(path), _sum(path))._asdict() for name, path in _files(folder)
    }
    with open(os.path.join(folder, NAME), "w", encoding="utf-8") as file:
        json.dump(listed, file, indent=1)


def check(folder: str, *, content: bool = False) -> int | None:
    """Sees that the files of a folder are there.

    Args:
        folder: local.
        content: also read them and compare their checksums.

    Returns:
        How many files are listed, or None if the folder has no list.

    Raises:
        InputError: a file is missing or is another one, or the list is damaged.
    """
    path = os.path.join(folder, NAME)
    try:
        listed = documents.read(path, dict[str, _File], "a list of checksums", _REMEDY)
    except FileNotFoundError:
        return None
    for name, wanted in listed.items():
        if os.path.isabs(name) or os.pardir in name.split("/"):
            raise InputError(path, expected="files of its folder", found=repr(name), remedy=_REMEDY)
        file = os.path.join(folder, name)
        try:
            size = os.path.getsize(file)
            if size != wanted["bytes"]:
                raise InputError(
                    folder,
                    expected=f"{name} to have {wanted['bytes']} bytes",
                    found=size,
                    remedy=_REMEDY,
                )
            if content and _sum(file) != wanted["sha256"]:
                raise InputError(
                    folder,
                    expected=f"{name} as it was written",
                    found="another content",
                    remedy=_REMEDY,
                )
        except OSError as error:
            raise InputError(
                folder, found=f"{name} is missing ({reason(error)})", remedy=_REMEDY
            ) from error
    return len(listed)


def _files(folder: str) -> Iterator[tuple[str, str]]:
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            path = os.path.join(place, name)
            yield os.path.relpath(path, folder), path


def _sum(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
