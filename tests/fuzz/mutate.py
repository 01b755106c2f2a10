"""Changes to files: of bytes, and of the words and numbers of text."""

import pathlib
import random
import re

_LARGEST = 1 << 20  # bytes; larger files may take longer
_NUMBERS = [
    "0", "-1", "1", "2", "255", "256", "65536", "2147483647", "2147483648", "4294967296",
    "9223372036854775807", "18446744073709551616", "1e308", "1e309", "-1e309", "nan", "inf",
    "0.5", "1" * 400, "1e-320", "00", "0x10", "1_0", "", "null", "true", '"x"', "[]", "{}",
]  # fmt: skip
_WORDS = ["", "\x00", "\x1b[31m", "é", "\ud7ff", "..", "/etc/passwd", "{", "}", "[", "]", '"', "\\"]
_INTEGERS = [
    0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1,
]  # fmt: skip


def change(folder: pathlib.Path, rng: random.Random) -> None:
    """Changes one of the files of a folder in place."""
    file = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    data = file.read_bytes()
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        data = _changed(data, rng)[:_LARGEST]
    if rng.random() < 0.02:
        file.unlink()
    else:
        file.write_bytes(data)


def _changed(data: bytes, rng: random.Random) -> bytes:
    """Bytes or text after one change."""
    if not data:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(9)))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _bytes(data, rng)
    return (
        _text(text, rng).encode("utf-8", "surrogatepass")
        if rng.random() < 0.8
        else _bytes(data, rng)
    )


def _bytes(data: bytes, rng: random.Random) -> bytes:
    # Headers are short and at the front; half of the changes are there.
    at = rng.randrange(min(len(data), 512) if rng.random() < 0.5 else len(data))
    kind = rng.randrange(6)
    if kind == 0:
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    if kind == 1:
        return data[:at]
    if kind == 2:
        size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
        value = rng.choice(_INTEGERS) & (256**size - 1)
        return data[:at] + value.to_bytes(size, order) + data[at + size :]
    if kind == 3:
        return data[:at] + data[at + rng.choice((1, 4, 16, 256)) :]
    if kind == 4:
        other = rng.randrange(len(data))
        size = rng.choice((1, 4, 16, 64))
        return data[:at] + data[other : other + size] + data[at + size :]
    return data[:at] + bytes(rng.randrange(256) for _ in range(rng.choice((1, 8, 64)))) + data[at:]


def _text(text: str, rng: random.Random) -> str:
    kind = rng.randrange(6)
    if kind <= 2:  # a number or word becomes another
        found = list(re.finditer(r"-?\d+(\.\d+)?" if kind <= 1 else r"[A-Za-z_]+", text))
        if found:
            one = rng.choice(found)
            new = rng.choice(_NUMBERS) if kind <= 1 else rng.choice([*_WORDS, rng.choice(found)[0]])
            return text[: one.start()] + new + text[one.end() :]
    lines = text.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    if kind == 3:
        return "".join(lines[:at] + lines[at + 1 :])
    if kind == 4:
        return "".join(lines[: at + 1] * rng.choice((1, 2, 300)) + lines[at:])
    place = rng.randrange(len(text) + 1)
    if rng.random() < 0.1:
        deep = rng.choice((40, 5000))
        return text[:place] + "[" * deep + text[place:]
    return text[:place] + rng.choice(_WORDS + _NUMBERS) + text[place + rng.randrange(4) :]
