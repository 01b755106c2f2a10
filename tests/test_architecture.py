"""What may import what, see docs/architecture.md: data flows one way."""

import ast
import pathlib

import pytest
from conftest import ROOT

PACKAGE = ROOT / "dgc_jax"
MAY: dict[str, set[str]] = {
    "model": set(),
    "data": set(),
    "train": {"model", "data"},
    "apply": {"model", "data"},
    "show": {"model", "data", "apply"},
}
"""The folders that a folder may import."""
OF_MODEL = {"model", "config", "errors"}  # all of the package that it may import
ABOVE = {"cli", "cli_train", "cli_view", "commands", "estimator", "napari"}
"""What is commands, or the package seen from outside."""
OUTSIDE = {"absl", "click", "h5py", "ml_collections", "orbax", "rich", "tensorstore"}


def imported(path: pathlib.Path) -> set[str]:
    """Dotted names of the modules that a file imports, at its top or later."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by its place"
            module = node.module or ""
            found |= {f"{module}.{name.name}" for name in node.names}
    return found


def parts(names: set[str]) -> set[str]:
    """The folders and modules at the top of the package that names lie in."""
    return {name.split(".")[1] for name in names if name.startswith("dgc_jax.")}


def files(folder: str) -> list[pathlib.Path]:
    found = sorted((PACKAGE / folder).rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize("folder", MAY)
def test_folders_import_only_what_lies_below_them(folder: str) -> None:
    for path in files(folder):
        used = parts(imported(path)) - {folder}
        assert not used & (set(MAY) - MAY[folder]), path
        assert not used & ABOVE, path


def test_the_model_imports_neither_files_nor_flags() -> None:
    for path in files("model"):
        names = imported(path)
        assert parts(names) <= OF_MODEL, path
        assert not {name.partition(".")[0] for name in names} & OUTSIDE, path


def test_modules_at_the_top_are_above_the_folders_or_below_them() -> None:
    for path in sorted(PACKAGE.glob("*.py")):
        if path.stem.startswith("__") or path.stem in ABOVE:
            continue
        used = parts(imported(path))
        assert not used & set(MAY), path
        assert not used & ABOVE, path


def test_every_name_of_the_rule_is_there() -> None:
    for name in ABOVE:
        assert (PACKAGE / f"{name}.py").is_file() or (PACKAGE / name).is_dir(), name
