"""The notebook runs from its first cell to its last, and is committed as it ran."""

import pathlib
import re

import nbclient
import nbformat
import pytest
from conftest import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


def read() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text(notebook: nbformat.NotebookNode) -> str:
    """All that the cells print, pictures left out."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    told = [output.get("text", "") for output in outputs]
    told += [v for o in outputs for k, v in o.get("data", {}).items() if k.startswith("text/")]
    return "\n".join(told)


def assert_clean(notebook: nbformat.NotebookNode) -> None:
    """Every cell has run, in order, without an error, a warning or a path of this machine."""
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for output in (output for cell in cells for output in cell.outputs):
        assert output.output_type in ("stream", "display_data"), output
        assert output.get("name") != "stderr", output.text
    assert not re.search(r"warn|/tmp|/home|/root|/Users", text(notebook), flags=re.I)


@pytest.mark.slow
def test_notebook_runs_and_its_last_cell_finds_what_it_promises(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the kernel and the notebook write goes into the test's own folder.
    for name in ("DATA_DIR", "CONFIG_DIR", "RUNTIME_DIR"):
        monkeypatch.setenv(f"JUPYTER_{name}", str(tmp_path / "jupyter" / name))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # else figures would not become outputs
    notebook = read()
    assert code_cells(notebook)[-1].source.count("assert ") == 4
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    nbclient.NotebookClient(
        notebook,
        timeout=250,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    ).execute()
    assert_clean(notebook)
    (tissue,) = re.findall(r"mean IoU of background and tissue: ([\d.]+)", text(notebook))
    assert 0.95 < float(tissue) <= 1
    assert "['no data', 'conveyor', " in text(notebook)
    assert list(tmp_path.glob("*/leaf_5_map.img"))


def test_committed_outputs_are_clean_and_small() -> None:
    notebook = read()
    assert_clean(notebook)
    figures = [
        output.data["image/png"]
        for cell in code_cells(notebook)
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    shown = [cell for cell in code_cells(notebook) if "plt.show()" in cell.source]
    assert len(figures) == len(shown) >= 6
    assert NOTEBOOK.stat().st_size < 600_000


def test_links_of_the_notebook_lead_somewhere() -> None:
    links = [
        link
        for cell in read().cells
        if cell.cell_type == "markdown"
        for link in re.findall(r"\]\(([^)\s#]+)", cell.source)
    ]
    assert links
    for link in links:
        assert (NOTEBOOK.parent / link).exists(), link
