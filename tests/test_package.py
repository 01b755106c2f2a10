"""What is published: the wheel is the same in every build and holds what it should."""

import email
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
from conftest import ROOT

SOURCES = (
    "dgc_jax", "configs", "docs", "tests", "benchmarks", "studies", "launch.py", "pyproject.toml",
    "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md",
    "MANIFEST.in",
)  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, pathlib.Path]]:
    """Wheel and source archive, built twice in different folders."""
    found = []
    for turn in ("a", "b"):
        folder = tmp_path_factory.mktemp(turn)
        for name in SOURCES:
            own, copy = ROOT / name, folder / "source" / name
            copy.parent.mkdir(exist_ok=True)
            if own.is_dir():
                shutil.copytree(own, copy, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(own, copy)
        subprocess.run(
            [sys.executable, "-m", "build", "--no-isolation", "-o", folder, folder / "source"],
            check=True, capture_output=True, env=os.environ | {"SOURCE_DATE_EPOCH": "1764000000"},
        )  # fmt: skip
        (wheel,), (archive,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
        found.append({"wheel": wheel, "archive": archive})
    return found


@pytest.mark.slow
def test_the_wheel_is_the_same_in_every_build(built: list[dict[str, pathlib.Path]]) -> None:
    assert built[0]["wheel"].read_bytes() == built[1]["wheel"].read_bytes()


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(
    built: list[dict[str, pathlib.Path]],
) -> None:
    with zipfile.ZipFile(built[0]["wheel"]) as wheel:
        names = set(wheel.namelist())
        (about,) = (name for name in names if name.endswith("METADATA"))
        metadata = email.message_from_bytes(wheel.read(about))
    top = {name.partition("/")[0] for name in names}
    assert top == {"dgc_jax", about.partition("/")[0]}
    ours = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "dgc_jax").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if name.startswith("dgc_jax/")} == ours
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"


@pytest.mark.slow
def test_the_source_archive_can_be_tested(built: list[dict[str, pathlib.Path]]) -> None:
    with tarfile.open(built[0]["archive"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert set(SOURCES) <= names
    assert {
        "tests/conftest.py",
        "tests/fuzz/kinds.py",
        "configs/dgc4.py",
        "docs/method.md",
    } <= names
    assert not [name for name in names if name.endswith((".pyc", ".npy", ".zarr"))]
