"""The report of a model of six clusters, open in a browser; the fixtures of its tests."""

import base64
import contextlib
import io
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import TinyRun, dgc
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from dgc_jax import Segmenter, load
from dgc_jax.apply.saved_model import load_model, save_model
from dgc_jax.data.simulation import leaves
from dgc_jax.model import tree
from dgc_jax.show.palette import colours

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
HOSTILE = "</script><img src=x onerror=alert(1)>"
K = 6
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="no Chromium is installed"
)


class Made(NamedTuple):
    """A model of six clusters, three scenes with labels, and its report."""

    workdir: pathlib.Path
    paths: list[pathlib.Path]
    report: pathlib.Path
    segmenter: Segmenter


@pytest.fixture(scope="session")
def made(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The tiny run, cut at six clusters; one scene and one cluster have hostile names.

    It is a model of an earlier version, which knows nothing finer.
    """
    folder = tmp_path_factory.mktemp("report")
    model = load_model(str(tiny_run.workdir))
    about = {name: value for name, value in model.about.items() if name != "leaves"}
    live = np.array(about["live"])
    bank = np.asarray(model.arrays["centroids"])
    groups = tree.cut_tree(np.array(about["tree"]), K)
    nearest = np.argmax(bank @ bank[live].T, axis=1)
    nearest[live] = np.arange(len(live))
    about |= {
        "lookup": (groups[nearest] + 1).tolist(),
        "names": [f"cluster {k}" for k in range(1, K)] + [HOSTILE],
        "colours": colours(K).tolist(),
    }
    workdir = folder / "run"
    save_model(str(workdir), model._replace(about=about))
    for name in ("summary.json", "metrics.jsonl"):
        shutil.copy(tiny_run.workdir / name, workdir)
    paths = []
    for number, name in enumerate(["a", "b, second", "<script>alert(1)<!--"]):
        reflectance, labels = leaves.simulate(number, leaves.Leaves(size=60, scenes=3, seed=3))
        reflectance = np.array(reflectance[: 60 - 8 * number])
        reflectance[5:9, 10:30] = 0  # no data
        paths.append(folder / f"{name}.npy")
        np.save(paths[-1], reflectance)
        np.save(folder / f"{name}_labels.npy", labels[: 60 - 8 * number])
    report = folder / "report.html"
    done = dgc("report", workdir, *paths, "--out", report)
    assert done.exit_code == 0, done.output
    return Made(workdir, paths, report, load(str(workdir)))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, made: Made) -> Iterator[Page]:
    with watched(browser, made.report) as page:
        yield page


@contextlib.contextmanager
def watched(browser: Browser, path: pathlib.Path, **context: Any) -> Iterator[Page]:
    """An open report; at the end it has kept to itself, and complained of nothing."""
    page = browser.new_page(**context)
    told: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("dialog", lambda dialog: (told.append("alert"), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    yield page
    page.close()
    assert told == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [path.as_uri()]


def slide(page: Page, name: str, value: float) -> None:
    page.locator(f"#{name}").evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", value
    )


def drawn(page: Page, scene: int = 0) -> np.ndarray:
    """What the map of a scene shows, `[row, column, 3]`."""
    script = "scene => document.querySelectorAll('.map canvas')[scene].toDataURL('image/png')"
    _, _, body = page.evaluate(script, scene).partition(",")
    return np.array(Image.open(io.BytesIO(base64.b64decode(body))).convert("RGB"))


def exported(page: Page, folder: pathlib.Path) -> pathlib.Path:
    with page.expect_download() as download:
        page.locator("#export").click()
    path = folder / "view.json"
    download.value.save_as(path)
    return path
