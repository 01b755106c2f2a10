"""Two processes on one machine do what one does alone, or say why they cannot."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import jax
import numpy as np
import pytest
import yaml
from conftest import ROOT, TinyRun

from dgc_jax import InputError, open_cube, processes
from dgc_jax.apply.saved_model import load_model
from dgc_jax.commands.segment import segment
from dgc_jax.train import step
from dgc_jax.train.checkpoint import has_checkpoint

DGC = "import sys; from dgc_jax.cli import main; main(sys.argv[1:], prog_name='dgc')"


def start(command: list[str], *flags: str, **variables: str) -> list[subprocess.Popen[str]]:
    """Starts two processes of a command, of one CPU device each.

    Args:
        command: what to run.
        flags: how they find each other, with {port} and {index}.
        variables: of the environment, with the same.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return [
        subprocess.Popen(
            [sys.executable, *command, *(flag.format(port=port, index=index) for flag in flags)],
            cwd=ROOT,
            env={
                **os.environ,
                "JAX_NUM_CPU_DEVICES": "1",
                **{k: v.format(port=port, index=index) for k, v in variables.items()},
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]


def launch(tiny_run: TinyRun, workdir: pathlib.Path) -> list[subprocess.Popen[str]]:
    fields = [f"--config.{name}={value}" for name, value in tiny_run.overrides.items()]
    command = ["launch.py", "--config=configs/dgc4.py:tiny", f"--workdir={workdir}", *fields]
    flags = ("--coordinator=localhost:{port}", "--num_processes=2", "--process_id={index}")
    return start(command, *flags)


def ended(both: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Status, output and errors of each process."""
    said = [process.communicate(timeout=120) for process in both]
    return [(process.returncode, *words) for process, words in zip(both, said, strict=True)]


def kill_second(both: list[subprocess.Popen[str]], when: Callable[[], bool]) -> None:
    """Kills one of two, and sees that the other ends with a message."""
    while both[1].poll() is None:
        if when():
            both[1].send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    killed = time.monotonic()
    (status, _, errors), (killed_status, _, why) = ended(both)
    assert killed_status == -signal.SIGKILL, why
    assert time.monotonic() - killed < 40
    assert status not in (0, 2)
    assert "nother process of this job has stopped" in errors or "another task died" in errors


def losses(workdir: pathlib.Path) -> dict[int, float]:
    with open(workdir / "metrics.jsonl", encoding="utf-8") as file:
        entries = [json.loads(line) for line in file]
    assert len({entry["step"] for entry in entries}) == len(entries)
    return {entry["step"]: entry["loss"] for entry in entries if entry["step"]}


@pytest.mark.slow
def test_killed_process_ends_the_run_and_two_others_complete_it_as_one_would(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    workdir = tmp_path / "run"
    both = launch(tiny_run, workdir)
    kill_second(both, lambda: has_checkpoint(str(workdir)))
    assert not (workdir / "summary.json").exists()

    (status, shown, errors), (other_status, other_shown, other_errors) = ended(
        launch(tiny_run, workdir)
    )
    assert (status, other_status) == (0, 0), errors + other_errors
    assert "resuming after step" in shown
    assert "step" not in other_shown  # one of them tells
    mine, alone = (load_model(str(folder)).arrays for folder in (workdir, tiny_run.workdir))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), mine, alone)
    assert losses(workdir) == pytest.approx(losses(tiny_run.workdir), rel=1e-4)
    with open(workdir / "summary.json", encoding="utf-8") as file:
        summary = json.load(file)
    assert summary["scores"]["iou"] == pytest.approx(tiny_run.summary["scores"]["iou"], abs=1e-2)
    assert summary["active_clusters"] == tiny_run.summary["active_clusters"]
    for name in ("leaf_00.img", "leaf_01.img", "leaf_01_overlay.png"):
        assert (workdir / "maps" / name).exists()
    assert not [name for name in os.listdir(workdir / "maps") if name.startswith(".")]
    # The report knows finer clusters than the maps, and counts the same pixels.
    text = (workdir / "report.html").read_text(encoding="utf-8")
    report = json.loads(re.search('id="data">(.*?)</script>', text).group(1))
    assert len(report["clusters"]) > report["level"] == 3
    counted = np.loadtxt(workdir / "areas.csv", str, delimiter=",", skiprows=1)[:, 3].astype(int)
    for scene, expected in zip(report["scenes"], counted.reshape(2, 3), strict=True):
        pixels = np.bincount(report["levels"]["3"], scene["pixels"][1:])
        np.testing.assert_array_equal(pixels[1:], expected)


@pytest.mark.slow
def test_killed_process_ends_segmenting_and_two_others_complete_it_as_one_would(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    reflectance, _ = open_cube(f"{tiny_run.scenes}/leaf_00.zarr").read(0, 0, 48, 48)
    np.save(scenes / "a_wide.npy", np.tile(reflectance[:20], (1, 12, 1)))  # three tiles
    np.save(scenes / "b_small.npy", reflectance[10:])
    np.save(scenes / "c_bad.npy", reflectance[..., :7])
    np.save(scenes / "d_small.npy", reflectance[:, 20:])
    command = ["-c", DGC, "segment", str(tiny_run.workdir), str(scenes), "--format=npy,png,zarr"]
    command += ["--confidence", f"--out={tmp_path / 'two'}"]
    flags = ("--coordinator=localhost:{port}", "--num-processes=2", "--process-id={index}")
    kill_second(start(command, *flags), (tmp_path / "two" / ".a_wide.labels").exists)
    assert not (tmp_path / "two" / "areas.csv").exists()

    slurm = {  # as it starts two tasks; JAX makes a port of the job's number
        "SLURM_JOB_ID": "{port}",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": "{index}",
        "SLURM_LOCALID": "{index}",
    }
    together = ended(start(command, "--distributed", **slurm))
    assert [status for status, _, _ in together] == [1, 1], together
    for _, _, errors in together:
        assert "c_bad.npy: expected the model's 301 bands, found 7" in errors
    assert "a_wide: segmented" in together[0][1]
    assert "b_small: segmented" in together[1][1]
    assert "1 of 4 scenes failed" in together[0][1]

    wrong = segment(
        str(tiny_run.workdir),
        str(scenes),
        str(tmp_path / "one"),
        formats=("npy", "png", "zarr"),
        confidence=True,
    )
    assert [path for path, why in wrong.items() if why] == [str(scenes / "c_bad.npy")]
    names = [sorted(os.listdir(tmp_path / folder)) for folder in ("one", "two")]
    assert names[0] == names[1]
    for name in names[0]:
        one, two = tmp_path / "one" / name, tmp_path / "two" / name
        if one.is_file():
            assert one.read_bytes() == two.read_bytes(), name
    for name in ("a_wide", "b_small", "d_small"):
        for ending in (".npy", "_margin.npy"):
            one, two = (np.load(tmp_path / folder / f"{name}{ending}") for folder in ("one", "two"))
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("host:1234", None, None), "expected all three or none, found no number= and no index="),
        ((None, 2, 0), "found no coordinator=; add it"),
        (("host", 2, 0), "coordinator: expected HOST:PORT of process 0, found 'host'"),
        (("host:1234", 0, 0), "number: expected at least 1, found 0"),
        (("host:1234", 2, 2), "index: expected a number from 0 to 1, found 2"),
        (("host:1234", 2, -1), "index: expected a number from 0 to 1, found -1"),
    ],
)
def test_wrong_combinations_are_refused(given: tuple[object, ...], told: str) -> None:
    with pytest.raises(InputError, match=told), processes.joined(*given):  # type: ignore[arg-type]
        pass


def test_job_that_nothing_tells_of_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def initialize(*arguments: object, **options: object) -> None:
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with (
        pytest.raises(InputError, match="detect: expected a job of SLURM, Open MPI"),
        processes.joined(detect=True),
    ):
        pass


def test_process_on_its_own_is_the_first_of_one() -> None:
    with processes.joined():
        assert processes.first()
        assert processes.part() == (0, 1)
        processes.wait()
        np.testing.assert_array_equal(processes.summed(np.arange(3.0)), np.arange(3.0))
        assert processes.from_first({"a": 1}) == {"a": 1}
        processes.same("data.scenes", "a, b")
        with pytest.raises(InputError, match="bad"), processes.agreeing("x"):
            raise InputError("bad")


def test_batch_that_the_devices_of_many_processes_cannot_share_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(InputError, match=r"data\.batch: expected a multiple of 2, .* found 5"):
        step.data_mesh(5)


def test_scripts_of_the_documentation_are_well_formed() -> None:
    text = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    scripts = re.findall(r"^```bash\n(.*?)^```$", text, flags=re.M | re.S)
    assert scripts
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    (manifest,) = re.findall(r"^```yaml\n(.*?)^```$", text, flags=re.M | re.S)
    service, job = yaml.safe_load_all(manifest)
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (command,) = pod["containers"][0]["args"]
    assert spec["completions"] == spec["parallelism"]
    assert f"--num_processes={spec['completions']} " in command
    name, subdomain = job["metadata"]["name"], pod["subdomain"]
    assert f"--coordinator={name}-0.{subdomain}:" in command
    assert service["metadata"]["name"] == subdomain
    assert service["spec"]["selector"] == {"job-name": name}


def test_slots_of_one_process_are_the_whole_batch() -> None:
    assert step.own_slots(step.data_mesh(4), 4) == [0, 1, 2, 3]
    assert step.own_slots(step.data_mesh(3), 3) == [0, 1, 2]  # one device cannot be shared


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (ValueError("UNKNOWN: Gloo AllGather failed: Connection reset by peer"), True),
        (RuntimeError("INTERNAL: NCCL operation failed: remote process exited"), True),
        (ValueError("operands could not be broadcast together"), False),
        (InputError("a.hdr: connection closed"), False),
    ],
)
def test_broken_connections_are_told_from_other_errors(error: Exception, lost: bool) -> None:
    assert processes._is_loss(error) is lost
