"""Models, checkpoints and folders that were damaged: refused or told, never taken for whole."""

import json
import logging
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import click.testing
import numpy as np
import pytest
import rich.console
from conftest import TinyRun, dgc

from dgc_jax import storage, temporary
from dgc_jax.apply.saved_model import load_model
from dgc_jax.apply.segmenter import load
from dgc_jax.commands import experiment
from dgc_jax.commands import prepare as prepare_command
from dgc_jax.commands import report as reporting
from dgc_jax.commands.experiment import run
from dgc_jax.commands.report import report
from dgc_jax.commands.segment import segment
from dgc_jax.errors import InputError, StorageError
from dgc_jax.files import replacing
from dgc_jax.train import options

QUIET = rich.console.Console(quiet=True)


@pytest.fixture
def copied(tiny_run: TinyRun, tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(tiny_run.workdir, tmp_path / "run"))


def unfinish(workdir: pathlib.Path) -> None:
    """As if it had been killed after its last checkpoint."""
    (workdir / "summary.json").unlink()
    shutil.rmtree(workdir / "checkpoints/model")


def steps(workdir: pathlib.Path) -> list[int]:
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())


def flip(path: pathlib.Path, place: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def largest(folder: pathlib.Path) -> pathlib.Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


# --- finished models


def test_a_bit_of_a_model_that_flipped_changes_nothing_or_is_refused(
    tiny_run: TinyRun, copied: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    want = load(str(tiny_run.workdir))
    arrays = copied / "checkpoints/model/arrays"
    files = sorted(p for p in arrays.rglob("*") if p.stat().st_size and p.is_file())
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(40):
        path = largest(arrays) if number % 2 else files[rng.integers(len(files))]
        place, bit = int(rng.integers(path.stat().st_size)), int(rng.integers(8))
        flip(path, place, bit)
        try:
            found = load(str(copied))
            assert found.content == want.content
        except InputError as error:
            refused += 1
            assert f"{copied}/checkpoints/model: the model: could not be read" in str(error)  # noqa: PT017
        flip(path, place, bit)
    assert refused >= 15
    assert "Traceback" not in capfd.readouterr().err
    assert load(str(copied)).identity == want.identity


def about(workdir: pathlib.Path) -> pathlib.Path:
    return workdir / "checkpoints/model/about.json"


def change_about(workdir: pathlib.Path, **fields: object) -> None:
    about(workdir).write_text(json.dumps(json.loads(about(workdir).read_text()) | fields))


def joined_twice(workdir: pathlib.Path) -> list[list[float]]:
    """The tree with a row that joins what a row before it has joined."""
    tree = json.loads(about(workdir).read_text())["tree"]
    tree[-1][0] = tree[0][0]
    return tree


DAMAGES = {
    "cut": (lambda w: os.truncate(about(w), 3000), "no JSON"),
    "empty": (lambda w: about(w).write_text(""), "no JSON"),
    "another": (lambda w: about(w).write_text("{}"), "no field config"),
    "typed": (lambda w: change_about(w, lookup=[1, "2"]), r"lookup\[1\] is .2., not a whole"),
    "ids": (lambda w: change_about(w, lookup=[300]), "lookup"),
    "names": (lambda w: change_about(w, names=["a"]), "names"),
    "colours": (lambda w: change_about(w, colours=[[0, 0, 900]]), "colours"),
    "tree": (lambda w: change_about(w, tree=[]), "tree"),
    "joined twice": (lambda w: change_about(w, tree=joined_twice(w)), "tree"),
    "arrays": (lambda w: shutil.rmtree(w / "checkpoints/model/arrays"), "its arrays are not there"),
    "manifest": (
        lambda w: (w / "checkpoints/model/arrays/manifest.ocdbt").write_bytes(b""),
        "could not be read",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_model_is_refused_in_a_sentence(copied: pathlib.Path, name: str) -> None:
    damage, why = DAMAGES[name]
    damage(copied)
    with pytest.raises(InputError, match=why) as told:
        load(str(copied))
    assert str(copied) in str(told.value)


def test_a_model_without_checksums_loads_and_is_the_same(
    tiny_run: TinyRun, copied: pathlib.Path
) -> None:
    content = json.loads(about(copied).read_text())
    assert content.pop("checksums")
    about(copied).write_text(json.dumps(content))
    assert load(str(copied)).identity == load(str(tiny_run.workdir)).identity


# --- checkpoints


def empty(step: pathlib.Path) -> None:
    shutil.rmtree(step)
    step.mkdir()


def without_arrays(step: pathlib.Path) -> None:
    shutil.rmtree(step / "state")


def flipped(step: pathlib.Path) -> None:
    path = largest(step / "state")
    flip(path, path.stat().st_size // 2, 3)


def cut(step: pathlib.Path) -> None:
    path = largest(step / "state")
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [empty, without_arrays, flipped, cut])
def test_the_checkpoint_before_a_damaged_one_is_taken_with_a_note(
    tiny_run: TinyRun, copied: pathlib.Path, caplog: pytest.LogCaptureFixture, damage
) -> None:
    unfinish(copied)
    newest = steps(copied)[-1]
    damage(copied / f"checkpoints/{newest}")
    with caplog.at_level(logging.WARNING, "dgc_jax"):
        run(tiny_run.config(), str(copied), QUIET)
    assert f"the checkpoint of step {newest} is damaged" in caplog.text
    assert (copied / f"checkpoints/{newest}.damaged").is_dir()
    assert steps(copied) == steps(tiny_run.workdir)
    for one in (tiny_run.workdir / "maps").glob("*.img"):
        assert (copied / "maps" / one.name).read_bytes() == one.read_bytes()
    whole, again = (load_model(str(workdir)).arrays for workdir in (tiny_run.workdir, copied))
    assert storage.checksums(whole) == storage.checksums(again)


def test_checkpoints_that_are_all_damaged_are_refused(
    tiny_run: TinyRun, copied: pathlib.Path
) -> None:
    unfinish(copied)
    for step in steps(copied):
        cut(copied / f"checkpoints/{step}")
    with pytest.raises(InputError, match=f"found step {steps(copied)[-1]} with other or damaged"):
        run(tiny_run.config(), str(copied), QUIET)
    assert steps(copied) == steps(tiny_run.workdir)  # nothing is set aside


@pytest.mark.parametrize("gone", [["config.json"], ["config.json", "metrics.jsonl"]])
@pytest.mark.parametrize("finished", [False, True])
def test_checkpoints_of_another_configuration_are_never_adopted(
    tiny_run: TinyRun, copied: pathlib.Path, gone: list[str], finished: bool
) -> None:
    if not finished:
        unfinish(copied)
    for name in gone:
        (copied / name).unlink()
    with pytest.raises(InputError, match=r"differs in seed \(0 there, 7 here\)"):
        run(tiny_run.config(seed=7), str(copied), QUIET)


def test_a_damaged_configuration_is_refused(tiny_run: TinyRun, copied: pathlib.Path) -> None:
    for content, why in (("{", "no JSON"), ("[]", "it is a list"), ('{"seed": {}}', "differs in")):
        (copied / "config.json").write_text(content)
        with pytest.raises(InputError, match=why):
            run(tiny_run.config(), str(copied), QUIET)


# --- what lies beside them


@pytest.mark.parametrize("name", ["summary.json", "../stability.json", "metrics.jsonl"])
@pytest.mark.parametrize("content", ["[1]\n[1]", "{}\n{}", '{"seeds": 3}\n1', "{" * 10**5 + "\n1"])
def test_a_report_of_damaged_numbers_is_refused_with_their_file(
    copied: pathlib.Path, name: str, content: str
) -> None:
    (copied / name).write_text(content)
    with pytest.raises(InputError, match=os.path.basename(name)):
        report(str(copied), console=QUIET)


# --- folders that vanish


def test_what_was_removed_meanwhile_is_named(
    tiny_run: TinyRun, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dgc_jax.commands import segment as commands

    out, real = tmp_path / "out", commands._sum_up

    def vanishing(*arguments: object) -> None:
        shutil.rmtree(out)
        real(*arguments)

    monkeypatch.setattr(commands, "_sum_up", vanishing)
    with pytest.raises(StorageError, match=r"out: .*\.hdr, .*\.img, .* were written, and are not"):
        segment(str(tiny_run.workdir), [tiny_run.scenes], str(out), console=QUIET)
    monkeypatch.undo()
    assert not any(segment(str(tiny_run.workdir), [tiny_run.scenes], str(out)).values())


def test_a_run_whose_maps_were_removed_meanwhile_names_them_and_writes_them_again(
    copied: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = options.of_run(load(str(copied)).config)
    real, one = experiment.write_report, sorted((copied / "maps").glob("*.img"))[0]
    before = one.read_bytes()

    def vanishing(*arguments: Any, **named: Any) -> None:
        shutil.rmtree(copied / "maps")
        real(*arguments, **named)

    (copied / "summary.json").unlink()
    monkeypatch.setattr(experiment, "write_report", vanishing)
    with pytest.raises(StorageError, match=r"maps: .*\.hdr, .* were written, and are not"):
        run(config, str(copied), QUIET)
    monkeypatch.undo()
    run(config, str(copied), QUIET)
    assert one.read_bytes() == before


def test_a_report_that_was_removed_meanwhile_is_named(
    tiny_run: TinyRun, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, out = reporting.write_report, tmp_path / "out"

    def vanishing(*arguments: Any, **named: Any) -> None:
        real(*arguments, **named)
        shutil.rmtree(out)

    monkeypatch.setattr(reporting, "write_report", vanishing)
    with pytest.raises(StorageError, match=r"r\.html"):
        report(str(tiny_run.workdir), out=str(out / "r.html"), console=QUIET)


def test_scenes_removed_while_others_are_prepared_are_named(
    tiny_run: TinyRun, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, out = prepare_command.prepare, tmp_path / "out"

    def vanishing(*arguments: Any) -> Any:
        if out.exists():
            for store in out.glob("*.zarr"):
                shutil.rmtree(store)
        return real(*arguments)

    monkeypatch.setattr(prepare_command, "prepare", vanishing)
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    for name in ("a", "b"):
        np.save(scenes / f"{name}.npy", np.random.default_rng(0).random((8, 8, 4), np.float32))
    result = dgc("prepare", str(scenes), f"--out={out}")
    assert result.exit_code == 1
    assert "a.zarr were written, and are not there any more" in result.output
    assert (out / "b.zarr").is_dir()


# --- temporary files of dead processes


def dead() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_leftovers_of_dead_processes_of_this_machine_go_and_no_others(
    tmp_path: pathlib.Path,
) -> None:
    mine = os.path.basename(temporary.path(str(tmp_path / "elsewhere")))
    of = mine.replace(f"-{os.getpid()}-", f"-{dead()}-")
    assert of != mine
    elsewhere = of.replace(f".dgc-{temporary._host()}-", ".dgc-other-")
    living = mine.replace(f"-{os.getpid()}-", f"-{os.getppid()}-")
    for name in (mine, of, elsewhere, living, ".dgc-x.tmp", "a.tmp"):
        (tmp_path / name).write_text("")
    (tmp_path / of.replace(".tmp", ".zarr")).mkdir()
    (tmp_path / of.replace(".tmp", ".zarr") / "c").write_text("")
    with replacing(tmp_path / ("n" * 255)) as name:  # as long as names may be
        pathlib.Path(name).write_text("x")
    left = set(os.listdir(tmp_path))
    assert left == {mine, elsewhere, living, ".dgc-x.tmp", "a.tmp", "n" * 255}


def test_a_failed_write_leaves_nothing_and_the_old_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_text("old")

    def fail(name: str) -> None:
        pathlib.Path(name).write_text("new")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a") as name:
        fail(name)
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


# --- maps and prepared scenes


def test_a_map_that_was_changed_since_is_made_again_and_says_so(
    tiny_run: TinyRun, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    segment(str(tiny_run.workdir), [tiny_run.scenes], str(out), console=QUIET)
    path = sorted(out.glob("*.img"))[0]
    whole = path.read_bytes()
    flip(path, 100, 1)  # of the same size
    segment(str(tiny_run.workdir), [tiny_run.scenes], str(out))
    shown = capsys.readouterr().out
    assert f"segmented anew, because the content of {path.name} has changed" in shown
    assert shown.count("complete already") == 1
    assert path.read_bytes() == whole


def prepared(tmp_path: pathlib.Path) -> pathlib.Path:
    from dgc_jax.data.cube import open_cube
    from dgc_jax.data.prepare import prepare

    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((40, 70, 9), np.float32))
    prepare(open_cube(tmp_path / "x.npy"), tmp_path / "out")
    return tmp_path / "out/x.zarr"


def test_a_prepared_scene_is_verified_by_its_checksums(tmp_path: pathlib.Path) -> None:
    store = prepared(tmp_path)

    def verify() -> click.testing.Result:
        return dgc("inspect", str(store), "--verify")

    done = verify()
    assert done.exit_code == 0
    assert "files are what they were" in done.output
    chunk = largest(store / "c")
    flip(chunk, chunk.stat().st_size // 2, 0)
    done = verify()
    assert done.exit_code == 2
    assert f"expected {chunk.relative_to(store)} as it was written, found another" in done.output
    (store / "checksums.json").unlink()
    assert "expected a scene of dgc prepare, which has checksums" in verify().output


@pytest.mark.parametrize("damage", [os.remove, lambda path: os.truncate(path, 10)])
def test_a_missing_chunk_of_a_prepared_scene_is_not_taken_for_no_data(
    tmp_path: pathlib.Path, damage
) -> None:
    from dgc_jax.data.cube import open_cube

    store = prepared(tmp_path)
    open_cube(store)
    chunk = largest(store / "c")
    damage(chunk)
    with pytest.raises(InputError, match=f"{chunk.relative_to(store)} (is missing|to have)"):
        open_cube(store)


@pytest.mark.parametrize("name", ["../../x.npy", "/etc/passwd"])
def test_checksums_are_of_files_in_the_folder_alone(tmp_path: pathlib.Path, name: str) -> None:
    from dgc_jax.data.cube import open_cube

    store = prepared(tmp_path)
    (store / "checksums.json").write_text(json.dumps({name: {"bytes": 1, "sha256": ""}}))
    with pytest.raises(InputError, match="expected files of its folder"):
        open_cube(store)
