"""Whatever names hold, the terminal is not steered by them; nor is a spreadsheet."""

import csv
import io
import pathlib
import re
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import rich.progress
import rich.table
from conftest import TinyRun, dgc

import dgc_jax
from dgc_jax import names, terminal
from dgc_jax.errors import InputError
from dgc_jax.show.tables import Area, write_areas_csv

EVIL = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202e[blink]:smile:[/]\x7f\r"
"""Sets the title, colours, clears (as C1), turns the direction, and is markup of rich."""


def steers(text: str) -> list[str]:
    """The characters that are no text, by what Unicode says of them."""
    allowed = "\n\t"
    return [
        c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c not in allowed
    ]


def test_shown_is_text_without_any_control_character() -> None:
    every = "".join(map(chr, (*range(0x250), *range(0x600, 0x620), *range(0x2000, 0x2070))))
    format_only = {"\xad", *"\u0600\u0601\u0602\u0603\u0604\u0605\u200b\u200c\u200d\u2060"}
    left = set(steers(names.shown(every))) - format_only - set("\u2061\u2062\u2063\u2064")
    assert left <= set(map(chr, range(0x206A, 0x2070)))  # deprecated, without effect
    assert names.shown("a\x1b[0m\u202e\x85é") == r"a\x1b[0m\u202e\x85é"
    assert names.shown(names.shown(EVIL)) == names.shown(EVIL)


def test_refusals_are_one_line_without_control_characters() -> None:
    told = str(InputError(f"{EVIL}\nx: bad"))
    assert not steers(told)
    assert "\n" not in told
    assert r"\x1b]0;owned\x07" in told


@pytest.mark.parametrize("is_terminal", [False, True])
def test_console_shows_names_as_text(is_terminal: bool) -> None:
    file = io.StringIO()
    console = terminal.Console(file=file, width=200, force_terminal=is_terminal, color_system=None)
    table = rich.table.Table("scene", title=EVIL)
    table.add_row(EVIL)
    console.print(EVIL, table, {"a": EVIL})
    console.rule(EVIL)
    for _ in rich.progress.track([1], rich.markup.escape(EVIL), console=console):
        console.print(f"working on {EVIL}")
    text = file.getvalue()
    own = re.sub(r"\x1b\[(\?25[hl]|2K|\d*A|0?m)|\r", "", text) if is_terminal else text
    assert "owned" in own
    assert not steers(own)
    assert text.count("[blink]:smile:[/]") >= 4  # no markup, no emoji


def test_streams_logs_and_warnings_show_names_as_text(tmp_path: pathlib.Path) -> None:
    program = f"""
import logging, sys, warnings
import click
from dgc_jax.names import show_all
show_all(); show_all()
evil = {EVIL!r}
print(evil); print(evil, file=sys.stderr); click.echo(evil); click.echo(evil, err=True)
sys.stdout.writelines([evil])
logging.getLogger("dgc_jax").warning("%s", evil); warnings.warn(evil)
print(b"\\xe8".decode("utf-8", "surrogateescape"))
raise RuntimeError(evil)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    for stream, times in ((done.stdout, 3), (done.stderr, 4)):
        text = stream.decode()
        assert not steers(text)
        assert text.count(r"\x1b]0;owned\x07") >= times
    assert "è" in done.stdout.decode()


def test_commands_show_hostile_names_of_files_as_text(
    tiny_run: TinyRun, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, title = EVIL.replace("/", ""), EVIL.replace(";", "")
    scene = np.random.default_rng(0).random((8, 8, 5), np.float32)
    np.save(f"{name}.npy", scene)
    commands = [
        ["inspect", f"{name}.npy"],
        ["inspect", f"{name}.none"],
        ["prepare", f"{name}.npy", "--out", f"o{name}"],
        ["segment", str(tiny_run.workdir), f"{name}.npy", "--out", f"o{name}"],
        [
            "merge",
            str(tiny_run.workdir),
            "--groups",
            "1;2,3",
            "--names",
            f"{title};b",
            "--out",
            "v",
        ],
        ["train", f"{name}.npy", "--set", f"data.mask={name}"],
    ]
    for command in commands:
        done = dgc(*command)
        assert not steers(done.output), command
        assert "owned" in done.output, command


def test_no_other_console_is_made_in_the_package() -> None:
    folder = pathlib.Path(dgc_jax.__file__).parent
    makes = [
        p.name
        for p in folder.rglob("*.py")
        if re.search(r"[= ]rich\.console\.Console\(", p.read_text())
    ]
    assert makes == []


@pytest.mark.parametrize("name", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\r=1"])
def test_names_in_tables_are_no_formulas(tmp_path: pathlib.Path, name: str) -> None:
    path = tmp_path / "areas.csv"
    write_areas_csv(path, [Area(name, 1, name, 5, 12.5), Area("b", 2, "-3.5", 0, -0.5)])
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1] == [f"'{name}", "1", f"'{name}", "5", "12.5000"]
    assert rows[2] == ["b", "2", "-3.5", "0", "-0.5000"]  # numbers stay numbers


def test_debug_shows_where_a_refusal_comes_from(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DGC_DEBUG", raising=False)
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00\x02\x00a(")
    plain = dgc("inspect", str(path))
    assert plain.exit_code == 2
    assert "Traceback" not in plain.output
    monkeypatch.setenv("DGC_DEBUG", "0")
    debug = dgc("--debug", "inspect", str(path))
    assert debug.exit_code == 2
    assert "Traceback" in debug.output
    assert "numpy/lib" in debug.output  # the cause
    assert debug.output.endswith(plain.output)
