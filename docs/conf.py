"""The documentation as a site: the same pages as in the repository, with the docstrings in api.md.

    sphinx-build -W -b html -c docs . build/site

The source folder is the whole repository, so that links between pages are those that a code host
follows. No page has anything in it that is for Sphinx alone: the contents are below, and api.md
gets the docstrings of what its headings name while it is read.
"""

import importlib
import inspect
import pathlib
import re
import tomllib

from sphinx.application import Sphinx

_ROOT = pathlib.Path(__file__).parents[1]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = _PROJECT["name"]
release = _PROJECT["version"]
copyright = "the authors of dgc_jax, Apache-2.0"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/*.ipynb"]
exclude_patterns = [".*", "build", "dist", "runs"]

html_theme = "furo"
html_title = f"{project} {release}"
html_additional_pages = {"index": "index.html"}  # sends a visitor to README.html
templates_path = ["."]

myst_heading_anchors = 4  # the anchors that a code host gives to headings
nb_execution_mode = "off"  # tests/test_tutorial.py runs it; its pictures are in the file
default_role = "code"  # docstrings have `code` between single backquotes
highlight_language = "text"  # where a page does not say what a block is
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
strip_signature_backslash = True  # and `fit` may leave names that end in "_"
napoleon_use_ivar = True  # the docstring tells of attributes, once

_CONTENTS = {
    "Use": "data naming report stability confidence cluster deploy",
    "Python": "tutorial api",
    "The method": "method quality performance trust",
    "The project": "architecture /CONTRIBUTING /SECURITY /CHANGELOG",
}


def _toctrees() -> str:
    """The contents, which stand beside every page."""
    found = []
    for caption, pages in _CONTENTS.items():
        lines = "\n".join(p[1:] if p.startswith("/") else f"docs/{p}" for p in pages.split())
        found.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{lines}\n```")
    return "\n\n".join(found)


def _documented(name: str) -> str:
    """The directive that writes the docstring of a name of `dgc_jax`, or of a module in full."""
    package = importlib.import_module("dgc_jax")
    found = importlib.import_module(name) if "." in name else getattr(package, name)
    if inspect.ismodule(found):
        kind, whole = "module", found.__name__
    else:
        kind, whole = "class" if inspect.isclass(found) else "function", f"dgc_jax.{name}"
    members = "" if kind == "function" else "\n   :members:"
    return f"```{{eval-rst}}\n.. auto{kind}:: {whole}{members}\n```"


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Adds the contents to the first page, and its docstring to each name that api.md shows."""
    if docname == root_doc:
        source[0] += f"\n\n{_toctrees()}\n"
    elif docname == "docs/api":
        parts = re.split(r"(?m)^(?=##)", source[0])
        for number, part in enumerate(parts):
            if heading := re.match(r"### `([\w.]+)`$", part, flags=re.M):
                parts[number] = f"{part}\n{_documented(heading[1])}\n\n"
        source[0] = "".join(parts)


def _show_formulas(
    app: Sphinx, what: str, name: str, found: object, options: object, lines: list[str]
) -> None:
    """Marks what a docstring indents after a paragraph, formulas and code, to be shown as it is."""
    for at in range(len(lines) - 1, 1, -1):
        if lines[at].startswith("    ") and not lines[at - 1] and lines[at - 2][:1].strip():
            lines[at:at] = ["::", ""]


def _skip_aliases(
    app: Sphinx, what: str, name: str, found: object, skip: bool, options: object
) -> bool | None:
    """Leaves out the fields of named tuples, which the docstrings of their classes tell of."""
    return True if (inspect.getdoc(found) or "").startswith("Alias for field number") else None


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _show_formulas, priority=400)  # before napoleon
    app.connect("autodoc-skip-member", _skip_aliases)
