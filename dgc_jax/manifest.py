"""What the files of an output folder were made from: its `manifest.json`.

    {"format": 1,
     "maps": {"a": {"finished": true,
                    "from": {"model": "5e1f...", "view": "90ab...", "sieve": 0,
                             "scene": [{"path": "/d/a.hdr", "bytes": 812, "modified": 17...}, ...],
                             "mask": null, ...},
                    "written_as": {"formats": ["envi", "png"], "confidence": false},
                    "files": {"a.hdr": 388, "a.img": 576, ...},
                    "checksums": {"a.hdr": "07f1...", ...}}}}

Under each kind of output (`maps`, `tables`, `prepared`, `report`, `training`, `results`,
`stability`) there is a record a name. A record is begun before the first of its files is written
and finished after the last, each time by replacing the whole manifest, so that a process killed at
any time leaves no output that is taken for another. An output *is finished* if its record says so,
its `from` is what it would be made from now, and its files are there with their sizes in bytes and
their checksums (SHA-256).

A file or folder that something was made from is known by path, size and time of its last change
(ns since 1970); of a remote one only the address is known.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NotRequired, TypedDict

from dgc_jax import documents
from dgc_jax.errors import InputError, unwritten
from dgc_jax.files import replacing
from dgc_jax.lock import turn

NAME = "manifest.json"

_FORMAT = 1
_MOST = 3  # differences that are told


class Record(NamedTuple):
    """What the manifest says of one output.

    Attributes:
        finished: whether all of it was written.
        made_from: JSON values by what they are, such as `sieve`.
        written_as: which form was chosen for it, such as `formats`, as JSON values.
        files: size in bytes of each of its files, by name in the folder; those that are to be
            written, of size 0, if it is not finished.
        checksums: SHA-256 of some of the files, hexadecimal, by name.
    """

    finished: bool
    made_from: dict[str, Any]
    written_as: dict[str, Any]
    files: dict[str, int]
    checksums: dict[str, str]


_Entry = TypedDict(
    "_Entry",
    {
        "finished": bool,
        "from": dict[str, Any],
        "written_as": dict[str, Any],
        "files": dict[str, int],
        "checksums": NotRequired[dict[str, str]],  # earlier versions kept none
    },
)

Manifest = dict[str, dict[str, Record]]
"""Records by kind and name."""


def read(folder: str | os.PathLike[str]) -> Manifest:
    """The records of a folder; none if it has no manifest.

    Raises:
        InputError: if its `manifest.json` cannot be read, or is of another program or version.
    """
    path = os.path.join(folder, NAME)
    what = "the manifest of an output folder of dgc_jax"
    remedy = "name another folder, or remove it with the outputs beside it"
    try:
        found = documents.read(path, dict[str, dict[str, _Entry] | int], what, remedy)
    except FileNotFoundError:
        return {}
    if found.pop("format", None) != _FORMAT or any(isinstance(of, int) for of in found.values()):
        raise InputError(
            path, expected=what, found="something else (another format)", remedy=remedy
        )
    outside = [file for of in found.values() for each in of.values() for file in each["files"]]
    for file in filter(_is_outside, outside):  # what others wrote must not remove more
        raise InputError(
            path, expected=what, found=f"something else (a file {file!r} outside it)", remedy=remedy
        )
    return {
        kind: {
            name: Record(
                each["finished"],
                each["from"],
                each["written_as"],
                each["files"],
                each.get("checksums", {}),
            )
            for name, each in records.items()
        }
        for kind, records in found.items()
    }


def _is_outside(name: str) -> bool:
    return os.path.isabs(name) or os.pardir in name.split("/")


def get(folder: str | os.PathLike[str], kind: str, name: str) -> Record | None:
    """The record of one output, or None."""
    return read(folder).get(kind, {}).get(name)


def begin(folder: str | os.PathLike[str], kind: str, name: str, files: Iterable[str]) -> None:
    """Notes that files of an output are about to be written, which until `finish` is unfinished.

    Args:
        folder: made if missing.
        kind: of output.
        name: of the output.
        files: names in the folder of what may be written; those of an earlier record stay known.

    Raises:
        InputError: if the manifest cannot be read or written.
    """
    with _changing(folder) as records:
        before = records.get(kind, {}).get(name)
        known = {} if before is None else before.files
        written = {} if before is None else before.written_as
        names = dict.fromkeys([*known, *files], 0)
        records.setdefault(kind, {})[name] = Record(False, {}, written, names, {})


def finish(
    folder: str | os.PathLike[str],
    kind: str,
    name: str,
    made_from: Mapping[str, Any],
    files: Iterable[str],
    *,
    written_as: Mapping[str, Any] | None = None,
) -> None:
    """Notes that an output is complete, and removes what is left of an earlier form of it.

    Args:
        folder: where it is.
        kind: of output.
        name: of the output.
        made_from: JSON values, found before the output was made.
        files: names in the folder of what was written; what is not there was not.
        written_as: JSON values.

    Raises:
        InputError: if the manifest cannot be read or written.
    """
    sizes = {each: size(os.path.join(folder, each)) for each in files}
    there = {each: bytes_ for each, bytes_ in sorted(sizes.items()) if bytes_ is not None}
    sums = {each: sum_ for each in there if (sum_ := _sum(os.path.join(folder, each)))}
    with _changing(folder) as records:
        before = records.get(kind, {}).get(name)
        others = {
            f
            for k, of in records.items()
            for n, r in of.items()
            if (k, n) != (kind, name)
            for f in r.files
        }
        left = set() if before is None else set(before.files) - set(there) - others
        records.setdefault(kind, {})[name] = Record(
            True, _plain(made_from), _plain(written_as or {}), there, sums
        )
        for each in left:
            _remove(os.path.join(folder, each))
            with contextlib.suppress(OSError):  # it holds something else, or is the folder itself
                if os.path.dirname(each):
                    os.rmdir(os.path.join(folder, os.path.dirname(each)))


def why_unfinished(
    folder: str | os.PathLike[str],
    kind: str,
    name: str,
    made_from: Mapping[str, Any] | None,
    files: Iterable[str] = (),
) -> str | None:
    """Why an output must be made (again), or None if it is finished.

    Args:
        folder: where it would be.
        kind: of output.
        name: of the output.
        made_from: JSON values that it would be made from now; None: what it was made from.
        files: names in the folder of what must be there, besides what its record lists.

    Returns:
        None, or words to follow "because", such as "sieve is 30, was 0"; none if there is no
        record of it.

    Raises:
        InputError: if the manifest cannot be read.
    """
    record = get(folder, kind, name)
    if record is None:
        return ""
    if not record.finished:
        return "its writing was interrupted"
    if made_from is not None and (told := difference(record.made_from, made_from)):
        return told
    for each in (*record.files, *files):
        found = size(os.path.join(folder, each))
        if found is None:
            return f"{each} is not there"
        if each not in record.files:
            return f"nothing says what {each} was made from"
        if found != record.files[each]:
            return f"{each} has {found} bytes, and had {record.files[each]}"
        if each in record.checksums and _sum(os.path.join(folder, each)) != record.checksums[each]:
            return f"the content of {each} has changed"
    return None


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In what two sets of JSON values differ, in words; empty if in nothing."""
    now = _plain(now)
    names = [n for n in dict.fromkeys([*now, *before]) if before.get(n) != now.get(n)]
    told = [_differs(name, before.get(name), now.get(name)) for name in names[:_MOST]]
    return ", ".join(told) + (", and more" if len(names) > _MOST else "")


def timeless(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same without the times of files."""

    def without(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: without(each) for key, each in value.items() if key != "modified"}
        return [without(each) for each in value] if isinstance(value, list | tuple) else value

    return without(values)


def _differs(name: str, before: Any, now: Any) -> str:
    """How one value has changed."""
    if _are_files(before) and _are_files(now):
        paths = [each["path"] for each in now]
        if paths == [each["path"] for each in before]:
            changed = [a["path"] for a, b in zip(now, before, strict=True) if a != b]
            return f"{changed[0]} has changed since"
    return f"{name} is {_brief(now)}, was {_brief(before)}"


def _are_files(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, dict) and "path" in v for v in value)


def _brief(value: Any) -> str:
    """A value in few words: paths without sizes, digests without their tail."""
    if value is None or value == []:
        return "none"
    if _are_files(value):
        return value[0]["path"]
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def files(paths: Iterable[str | os.PathLike[str]]) -> list[dict[str, Any]]:
    """What is known of files and folders that something is made from.

    Args:
        paths: of files, folders or remote ones (URLs), whose content is not known.

    Returns:
        `path` (absolute, links resolved), and of those that are there `bytes` and `modified`.
    """
    return [_known(os.fspath(path)) for path in paths]


def _known(path: str) -> dict[str, Any]:
    path = path.removeprefix("file://")
    if "://" in path:
        return {"path": path}
    path = os.path.realpath(path)
    try:
        stats = [os.stat(path)]
        if os.path.isdir(path):
            stats = [os.stat(each) for each in _inside(path)]
    except OSError:
        return {"path": path}
    newest = max((each.st_mtime_ns for each in stats), default=0)
    known = {"path": path, "bytes": sum(each.st_size for each in stats), "modified": newest}
    return known | ({"files": len(stats)} if os.path.isdir(path) else {})


def _inside(folder: str) -> Iterator[str]:
    for where, _, names in os.walk(folder):
        yield from (os.path.join(where, name) for name in names)


def size(path: str) -> int | None:
    """Bytes of a file, or of all files in a folder; None if it is not there."""
    try:
        if os.path.isdir(path):
            return sum(os.stat(each).st_size for each in _inside(path))
        # An open asks a network file system anew, a stat alone may be seconds old.
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_size
    except OSError:
        return None


def _sum(path: str) -> str | None:
    """SHA-256 of a file; None if it is a folder (a store, see `dgc_jax.data.checksums`) or gone."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def digest(*parts: Any) -> str:
    """A fingerprint (SHA-256, hexadecimal) of JSON values, bytes and NumPy arrays."""
    whole = hashlib.sha256()
    for part in parts:
        if isinstance(part, bytes):
            text = part
        elif hasattr(part, "tobytes"):
            text = f"{part.dtype.str}{part.shape}".encode() + part.tobytes()
        else:
            text = json.dumps(part, sort_keys=True).encode()
        whole.update(f"{len(text)}:".encode() + text)
    return whole.hexdigest()


def refuse_clashes(
    folder: str | os.PathLike[str],
    argument: str,
    wanted: Mapping[tuple[str, str], Sequence[str]],
    *,
    foreign: bool = True,
) -> None:
    """Sees that outputs overwrite neither one another nor what they have not written.

    Args:
        folder: where they are to be.
        argument: that named it, such as "out", for messages.
        wanted: names in the folder of the files of each output, by its kind and name.
        foreign: whether files of which the manifest does not know are refused, too.

    Raises:
        InputError: if two outputs, or one and another of the manifest, have a file in common, or
            a file is there of which the manifest does not know.
    """
    owner = {
        file: (kind, name)
        for kind, records in read(folder).items()
        for name, record in records.items()
        for file in record.files
        if record.finished or os.path.lexists(os.path.join(folder, file))
    }
    known = set(owner)
    for (kind, name), names in wanted.items():
        for file in names:
            other = owner.setdefault(file, (kind, name))
            if other != (kind, name):
                raise InputError(
                    f"{argument}={os.fspath(folder)}",
                    expected="a file of its own for each output",
                    found=f"{file} to be one of {kind} {name} and of {other[0]} {other[1]}",
                    remedy="rename a scene, or name a folder for each",
                )
            if foreign and file not in known and os.path.lexists(os.path.join(folder, file)):
                raise InputError(
                    f"{argument}={os.fspath(folder)}",
                    expected="nothing there that would be overwritten unasked",
                    found=f"{file}, of which {NAME} does not say what it was made from",
                    remedy="name another folder, or remove the file",
                )


@contextlib.contextmanager
def _changing(folder: str | os.PathLike[str]) -> Iterator[Manifest]:
    """The records, which the block may change; other processes wait meanwhile."""
    path = os.path.join(folder, NAME)
    try:
        os.makedirs(folder, exist_ok=True)
        with turn(f"{path}.lock"):
            records = read(folder)
            yield records
            content = {"format": _FORMAT} | {
                kind: {
                    name: {
                        "finished": record.finished,
                        "from": record.made_from,
                        "written_as": record.written_as,
                        "files": record.files,
                        "checksums": record.checksums,
                    }
                    for name, record in sorted(of.items())
                }
                for kind, of in sorted(records.items())
            }
            with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=1)
    except OSError as error:
        raise unwritten(path, error) from error


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.remove(path)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as JSON gives them back."""
    return json.loads(json.dumps(dict(values)))
