"""ENVI's headers: lines `field = value`, of which a value in braces may go on over several lines.

Read as real exports need it: UTF-8, latin-1 or UTF-16, fields in upper case, and comments (`;`) on
lines of their own, in lists and behind values. Neither these nor words behind a closing brace may
swallow the fields that follow, and a brace that is not closed is refused.

Source: ENVI header format (NV5 Geospatial, "ENVI Header Files").
"""

import codecs
import re
from collections.abc import Iterator
from typing import Any

from dgc_jax.errors import InputError

_NUMERIC_LISTS = (
    "wavelength", "fwhm", "bbl", "data ignore value", "reflectance scale factor", "default bands",
    "data gain values", "data offset values", "class lookup",
)  # fmt: skip
_FIELD = re.compile(  # the beginning of one of ENVI's usual fields
    r"(samples|lines|bands|header offset|file type|data type|interleave|byte order|sensor type|"
    r"wavelength( units)?|fwhm|bbl|map info|coordinate system string|projection info|band names|"
    r"class(es| names| lookup)|default bands|data ignore value|reflectance scale factor|"
    r"data (gain|offset) values|[xy] start|z plot (range|titles)|description)\s*=",
    re.IGNORECASE,
)


def read_header(path: str) -> dict[str, Any]:
    """The fields of a header, names in lower case; values are strings or lists of strings.

    Raises:
        InputError: the file is not an ENVI header.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise InputError(path, found=f"cannot be read ({error.strerror})") from error
    # Not splitlines(), for which some letters of latin-1 end a line.
    lines = [line.strip() for line in re.split(r"\r\n|\r|\n", _decoded(content))]
    if not lines or not lines[0].upper().startswith("ENVI"):
        raise InputError(
            path,
            expected="an ENVI header, of which the first line is 'ENVI'",
            found="another",
            remedy="check the file",
        )
    header: dict[str, Any] = {}
    rest = iter([line for line in lines[1:] if line and not line.startswith(";")])
    for line in rest:
        while "=" in line:
            name, _, value = line.partition("=")
            key = re.sub(r"[\s_]+", " ", name.strip().lower())
            value, line = value.strip(), ""
            if not value.startswith("{"):
                header[key] = value.partition(";")[0].strip()
                continue
            inside, behind = _braces(path, key, value, rest)
            header[key] = inside if key == "description" else _listed(key, inside)
            line = behind if _FIELD.match(behind) else ""
    return header


def _decoded(content: bytes) -> str:
    """A header's text: UTF-8 or UTF-16 if it is valid, else latin-1."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _braces(path: str, key: str, value: str, rest: Iterator[str]) -> tuple[str, str]:
    """What stands between a value's braces, with line ends, and what follows them on their line.

    Args:
        path: of the header, for the message.
        key: whose value it is.
        value: from the opening brace on, to the end of its line.
        rest: the lines that follow; those that belong to the value are taken.

    Raises:
        InputError: a brace is not closed.
    """
    text, depth, start = value, 0, 0
    while True:
        for at in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            if depth == 0:
                return text[1:at].strip(), text[at + 1 :].lstrip(" ,")
        start, line = len(text), next(rest, None)
        # A field after a brace that was forgotten must not vanish in the value before it.
        field = line is not None and _FIELD.match(line)
        if field and key == "description" and text.endswith("}"):  # of "{a { b}"
            return text[1:-1].strip(), line or ""
        if line is None or (field and key != "description"):
            raise InputError(
                path,
                found="cannot be parsed as an ENVI header",
                remedy=f"check that every '{{' is closed (that of {key!r} is not)",
            )
        text += "\n" + line


def _listed(key: str, inside: str) -> list[str]:
    """The entries of a list, without the comments at the ends of its lines."""
    lines = inside.split("\n")
    if key in _NUMERIC_LISTS:  # ';' also separates numbers
        lines = [without_comment(line) for line in lines]
    else:  # names may hold ';'
        lines = [re.sub(r"(^|,)\s*;.*$", r"\1", line) for line in lines]
    return [entry.strip() for entry in "\n".join(lines).split(",")]


def without_comment(line: str) -> str:
    """A line of numbers without the words behind `;`, which may also separate numbers."""
    return re.sub(r";(?![\s\d.,+\-eE]*(;|$)).*$", "", line)
