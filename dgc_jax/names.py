"""Names of files that are not UTF-8, as archives made on other systems leave them.

Python holds such a name as text with a stand-in for each byte that is not UTF-8, with which the
file is found again. The one rule: wherever a name is shown or becomes the name of something else,
each of these bytes is the letter of Windows-1252, `è` for E8. Scenes are named so, and with them
their maps and what tables, JSON and reports call them; messages and lines on the screen are written
so. Libraries that take UTF-8 paths alone are given a link to the file (`utf8_path`).

A name may also hold what steers a terminal. Where it is shown, that is shown as what it is
(`shown`), and what this process writes to its terminal is shown in the same way (`show_all`).
"""

import atexit
import codecs
import contextlib
import functools
import glob
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable
from typing import Any

from dgc_jax import temporary

_HANDLER = "dgc-names"


def text(name: str) -> str:
    """A name, path or sentence as text that can be written: without stand-ins for bytes."""
    return re.sub(
        "[\ud800-\udfff]",
        lambda found: (
            bytes([ord(found[0]) & 0xFF]).decode("cp1252", "replace")
            if "\udc80" <= found[0] <= "\udcff"
            else "\ufffd"
        ),
        name,
    )


# C0 but tab and line feed, DEL, C1, line separators, and what turns the direction of writing.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def shown(name: str) -> str:
    """A name or sentence as a terminal may show it: `text`, with control characters escaped."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text(name))


class _Shown:
    """A stream that writes text as `shown`; everything else of it is that of the stream within."""

    def __init__(self, stream: Any) -> None:
        self.rich_proxied_file = stream  # where rich writes its colours, see `dgc_jax.terminal`

    def write(self, content: str) -> int:
        return self.rich_proxied_file.write(shown(content))

    def writelines(self, lines: Iterable[str]) -> None:
        self.rich_proxied_file.writelines(map(shown, lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def show_all() -> None:
    """Lets this process print any name: its streams write `shown` of it, in letters they know."""
    codecs.register_error(_HANDLER, _shown)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or isinstance(stream, _Shown):
            continue
        with contextlib.suppress(AttributeError, ValueError):  # not a stream of the system's
            stream.reconfigure(errors=_HANDLER)
        setattr(sys, name, _Shown(stream))


def _shown(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = text(error.object[error.start : error.end])
    return part.encode(error.encoding, "backslashreplace"), error.end


def utf8_path(path: str) -> str:
    """A path of the same file that is UTF-8, for TensorStore, GDAL and Orbax.

    The path itself, if it is; else one through a link in a temporary folder, which is removed when
    the process ends. A file that does not exist yet may be written by it, if its own name is UTF-8.

    Args:
        path: of a file or folder, local.
    """
    if path == text(path):
        return path
    folder, name = os.path.split(os.path.abspath(path))
    if name == text(name):
        return os.path.join(_link(folder), name)
    return _link(os.path.join(folder, name))


@functools.cache
def _link(target: str) -> str:
    """A link to a folder or file, beside links to what lies beside it and begins like it."""
    place = tempfile.mkdtemp(dir=_links())
    name = os.path.basename(target)
    stem = os.path.splitext(target)[0]
    beside = [] if os.path.isdir(target) else glob.glob(f"{glob.escape(stem)}.*")  # masks, tags
    for other in {target, *beside}:
        os.symlink(other, os.path.join(place, text(os.path.basename(other))))
    return os.path.join(place, text(name))


@functools.cache
def _links() -> str:
    folder = temporary.path(tempfile.gettempdir())
    os.mkdir(folder, 0o700)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # the links, not what they point to
    return folder
