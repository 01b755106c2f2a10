"""A device that is asked for and not there is one sentence and exit status 2, in every command."""

import pytest
from conftest import TinyRun, python

from dgc_jax.errors import on_a_device

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
