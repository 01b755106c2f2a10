"""Errors are data, of which a sentence is made where they are told; a missing device is one."""

import ast
import copy
import multiprocessing
import pickle
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest
from conftest import ROOT, TinyRun, python

from dgc_jax import cli, errors, stage, terminal
from dgc_jax.commands.segment import segment
from dgc_jax.config import Config
from dgc_jax.errors import InputError, on_a_device

DGC = "import sys; from dgc_jax.cli import main; main(sys.argv[1:], prog_name='dgc')"


@pytest.mark.slow
@pytest.mark.parametrize("platforms", ["no_such_device", "rocm"])
def test_every_command_tells_a_missing_device_in_a_sentence(
    tiny_run: TinyRun, tmp_path, platforms: str
) -> None:
    workdir, out = str(tiny_run.workdir), str(tmp_path / "out")
    dgc = [
        ("segment", workdir, tiny_run.scenes, "--out", out),
        ("evaluate", workdir, "--labels", "{stem}_labels.png"),
        ("merge", workdir, "--clusters", "2", "--out", out),
        ("report", workdir, "--out", out),
        ("export", workdir, out),
        ("stability", "configs/dgc4.py:tiny", "--seeds", "2", "--workdir", out),
    ]
    launch = ["launch.py", "--config=configs/dgc4.py:tiny", f"--workdir={tmp_path / 'run'}"]
    for command in ([*launch], *(["-c", DGC, *arguments] for arguments in dgc)):
        done = python(*command, JAX_PLATFORMS=platforms)
        assert done.returncode == 2, done.stderr
        name = "launch.py" if command == launch else "dgc"
        assert done.stderr.startswith(f"{name}: JAX_PLATFORMS={platforms}: expected a device")
        assert done.stderr.count("\n") == 1


def test_commands_without_jax_need_no_device(tiny_run: TinyRun) -> None:
    scene = f"{tiny_run.scenes}/leaf_00.zarr"
    done = python("-c", DGC, "inspect", scene, JAX_PLATFORMS="no_such_device")
    assert done.returncode == 0
    assert done.stderr == ""


def test_other_errors_are_left_as_they_are() -> None:
    with pytest.raises(RuntimeError, match=r"^something else$"), on_a_device():
        raise RuntimeError("something else")


def test_an_error_is_data_and_its_sentence_is_made_of_it() -> None:
    whole = InputError("a.hdr", expected="3 bands", found=4, remedy="give three")
    assert (whole.subject, whole.expected, whole.found, whole.remedy) == (
        "a.hdr", "3 bands", "4", "give three",
    )  # fmt: skip
    assert str(whole) == "a.hdr: expected 3 bands, found 4; give three."
    for given, told in (
        (("a", "b", "c"), "a: expected b, found c."),
        (("a", "b", None, "d"), "a: expected b; d."),
        (("a", None, "c", "d"), "a: c; d."),
        (("a", None, "c", "did you mean 'd'?"), "a: c; did you mean 'd'?"),
        (("", "b", "c", "d"), "expected b, found c; d."),
        (("one whole sentence.",), "one whole sentence."),
        (("white=", "b", "c"), "white: expected b, found c."),
        (("white=, dark=", "b", "c"), "white, dark: expected b, found c."),
        (("out=maps", "b", "c"), "out=maps: expected b, found c."),
        (("a\x1b[1m\n", "b", "c"), "a\\x1b[1m\\n: expected b, found c."),
    ):
        assert str(InputError(*given)) == told


def test_what_was_found_can_be_of_any_length() -> None:
    told = str(InputError("a", "b", "c" * 10_000, "d"))
    assert 2000 <= len(told) <= 2010
    assert told.startswith("a: expected b, found ccc")
    assert told.endswith("ccc; d.")


class _Special(InputError):
    pass


def _fail(kind: type[InputError]) -> None:
    raise kind("a", expected="b", found="c\n", remedy="d")


@pytest.mark.parametrize("kind", [InputError, _Special])
def test_an_error_travels_whole(kind: type[InputError]) -> None:
    error = kind("a", expected="b", found="c\n", remedy="d")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        raised = pool.submit(_fail, kind).exception()
    for other in (
        copy.copy(error),
        copy.deepcopy(error),
        pickle.loads(pickle.dumps(error)),
        raised,
    ):
        assert type(other) is kind
        assert vars(other) == vars(error)
        assert str(other) == str(error)


def test_an_error_of_a_part_says_of_what() -> None:
    error = InputError("train.steps", expected="more", found=0).of("runs/a/config.json")
    assert str(error) == "runs/a/config.json: train.steps: expected more, found 0."
    assert error.found == "0"
    assert str(InputError("", found="it cannot be read").of("a")) == "a: it cannot be read."


def test_arguments_are_called_as_the_options_of_the_command() -> None:
    options = terminal.options(cli.main.commands["segment"])
    assert options["view_path"] == "--view"
    assert options["number"] == "--num-processes"
    assert "workdir" not in options  # an argument of this command
    for text, told in (
        ("give white= and dark= (data.white, data.dark)", "give --white and --dark (data.white, "
         "data.dark)"),
        ("give axes=.", "give --axes."),
        ("leave axes='brc' out", "leave --axes='brc' out"),
        ("a/mask=/b mask=1.png 'out=' a.scale=3", "a/mask=/b mask=1.png 'out=' a.scale=3"),
        ("workdir= is none of its options", "workdir= is none of its options"),
    ):  # fmt: skip
        assert errors.called(text, options) == told
        assert errors.called(text, {}) == text
    error = InputError("coordinator=, number=, index=", found="no number= and no index=")
    assert str(error.called(options)) == (
        "--coordinator, --num-processes, --process-id: no --num-processes and no --process-id."
    )
    assert str(InputError("out=a b", "c", "d").called(options)) == "--out=a b: expected c, found d."


def test_only_the_command_line_speaks_of_its_options(tmp_path, capsys) -> None:
    missing = str(tmp_path / "a.hdr")
    with pytest.raises(
        InputError, match=r"^formats: expected some of .*, found gif; correct it\.$"
    ):
        segment("run", [missing], str(tmp_path), formats=["gif"])
    command = ["segment", "run", missing, "--out", str(tmp_path), "--format", "gif"]
    with pytest.raises(SystemExit):
        cli.main(command, prog_name="dgc")
    assert capsys.readouterr().err.startswith("dgc: --format: expected some of envi, ")


def _calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted((ROOT / "dgc_jax").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "InputError":
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_errors_below_the_command_line_name_no_options() -> None:
    calls = list(_calls())
    assert len(calls) > 200
    for where, call in calls:
        words = " ".join(
            each.value
            for each in ast.walk(call)
            if isinstance(each, ast.Constant) and isinstance(each.value, str)
        )
        if not where.startswith(("dgc_jax/cli", "dgc_jax/configuration.py")):
            assert not re.search(r"(^|[\s(`'\"])--[a-z]", words), f"{where}: {words}"


def test_the_mathematics_names_no_field_of_the_configuration() -> None:
    named = re.compile(rf"\b({'|'.join(map(re.escape, stage.fields(Config)))})\b")
    plain = {"seed"}  # a word, too
    for where, call in _calls():
        if where.startswith("dgc_jax/model/"):
            found = set(named.findall(ast.unparse(call))) - plain
            assert not found, f"{where}: {found}"
