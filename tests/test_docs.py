"""The documentation is true: its examples run, its names, fields, options and links exist."""

import os
import pathlib
import re
import subprocess

import click
import numpy as np
import pytest
import spectral.io.envi
import yaml
from conftest import ROOT, TinyRun

import dgc_jax
from dgc_jax import losses
from dgc_jax.cli import main

PAGES = (
    *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING")),
    *sorted((ROOT / "docs").glob("*.md")),
)


def prose(page: pathlib.Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def blocks(page: pathlib.Path, language: str) -> list[tuple[int, str]]:
    """The code blocks in a language, each with the number of lines before it."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)
    return [(text.count("\n", 0, match.start(1)), match.group(1)) for match in found]


def execute(page: pathlib.Path) -> dict[str, object]:
    """Runs a page's Python in order and returns its names; errors point into the page."""
    names: dict[str, object] = {}
    for before, code in blocks(page, "python"):
        exec(compile("\n" * before + code, str(page), "exec"), names)
    return names


def anchors(page: pathlib.Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.slow
def test_examples_of_the_api_run(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    execute(ROOT / "docs" / "api.md")
    assert "is finished already" in capsys.readouterr().out


def test_python_of_the_readme_labels_a_crop_as_the_whole_scene(
    tiny_run: TinyRun, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube = dgc_jax.open_scenes(tiny_run.scenes)[0].cube
    reflectance, _ = cube.read(0, 0, *cube.shape[:2])
    about = {"wavelength": cube.wavelengths.tolist(), "wavelength units": "nm"}
    monkeypatch.chdir(tmp_path)
    spectral.io.envi.save_image("scene.hdr", reflectance, metadata=about)
    os.mkdir("runs")
    os.symlink(tiny_run.workdir, "runs/dgc4")

    names = execute(ROOT / "README.md")
    labels, shares = names["labels"], np.asarray(names["shares"])
    assert isinstance(labels, np.ndarray)
    rows, columns = labels.shape
    assert (rows, columns) == cube.shape[:2]
    np.testing.assert_array_equal(np.asarray(names["batch_labels"])[0, :rows, :columns], labels)
    np.testing.assert_allclose(shares.sum(-1)[0, :rows, :columns], 1, atol=1e-5)


@pytest.mark.parametrize("name", dgc_jax.__all__)
def test_every_public_name_has_an_example(name: str) -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    section = re.search(rf"^### `{name}`$(.*?)(?=^##|\Z)", text, flags=re.M | re.S)
    assert section, f"docs/api.md has no heading for {name}"
    assert re.search(rf"```python\n(?s:.*)\b{name}\b(?s:.*)```", section.group(1))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_existing_configurations_fields_and_options(page: pathlib.Path) -> None:
    from configs import default

    config, text = default.get_config(), page.read_text(encoding="utf-8")
    for path in re.findall(r"--config=([\w/.]+)", text):
        assert (ROOT / path).is_file(), path
    for field in re.findall(r"--config\.([\w.]+)", text):
        section, _, name = field.partition(".")
        assert section in config, field
        assert not name or name in config[section], field
    assert isinstance(main, click.Group)
    for line in re.findall(rf"\bdgc (?:{'|'.join(main.commands)})\b[^\n`]*", text):
        _, name, *words = line.split()
        options = {option for p in main.commands[name].params for option in p.opts}
        assert {word for word in words if re.fullmatch(r"--[\w-]+", word)} <= options, line


def test_constants_in_the_method_are_the_defaults() -> None:
    from configs import default

    config = default.get_config()
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    told = re.findall(r"`(\w+)\.(\w+)`\s=\s([\d.]*\d)", text)
    assert len(told) >= 20
    for section, name, value in told:
        assert config[section][name] == float(value), f"{section}.{name}"
    weights = re.findall(r"^(\w+) +\(([\d.]+)\) ", text, flags=re.M)
    assert {name for name, _ in weights} == set(losses.Weights._fields)
    for name, value in weights:
        assert config.loss[name] == float(value), name


def test_ci_runs_the_readme_test_command_word_for_word() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    picked = re.search(r"^command=\$\((grep .*)\)$", ci, flags=re.M)
    assert picked
    found = subprocess.run(["bash", "-c", picked[1]], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.splitlines() == [line for line in readme if "pytest" in line]
    assert found.stdout.startswith("python3 -m venv .venv && . .venv/bin/activate && pip install ")


def test_citation_names_the_paper_and_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["preferred-citation"]["title"].startswith("Deep Global Clustering")
    assert f'version = "{citation["version"]}"' in (ROOT / "pyproject.toml").read_text("utf-8")
