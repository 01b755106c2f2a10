"""The page of the report in a browser: access, print, phones, and what is left out or refused.

Runs wherever a Chromium is found; on Debian and Ubuntu `apt install chromium`.
"""

import json
import pathlib
import shutil
from typing import Any

import numpy as np
import pytest
import scipy.interpolate
import spectral.io.envi
from axe_playwright_python.sync_playwright import Axe
from conftest import dgc
from playwright.sync_api import Browser, Page

from tests.show.pages import HOSTILE, K, Made, needs_chromium, watched

pytestmark = needs_chromium


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(made: Made, browser: Browser, scheme: str) -> None:
    with watched(browser, made.report, color_scheme=scheme) as page:
        found = Axe().run(page)
        serious = [
            f"{each['id']}: {each['nodes'][0]['html'][:200]}"
            for each in found.response["violations"]
            if each["impact"] in ("serious", "critical")
        ]
        assert serious == []


def test_printing_keeps_maps_and_legend_and_leaves_controls_out(
    made: Made, browser: Browser
) -> None:
    with watched(browser, made.report) as page:
        page.emulate_media(media="print")
        assert page.locator("#bar").is_hidden()
        assert page.locator("#view").is_visible()
        assert page.locator("#legend li").count() == K
        exact = "getComputedStyle($('legend')).printColorAdjust"
        assert page.evaluate(exact) == "exact"


def test_hostile_names_are_shown_as_text(page: Page) -> None:
    assert "<script>alert(1)<!--" in page.locator("#scenes").text_content()
    assert page.get_by_label("Name of cluster 6", exact=True).input_value() == HOSTILE
    assert page.locator("img").count() == 0


@pytest.mark.parametrize(
    "context",
    [
        {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
        {"viewport": {"width": 1400, "height": 900}, "color_scheme": "dark"},
    ],
    ids=["phone", "dark"],
)
def test_it_fits_a_phone_and_darkness(
    made: Made, browser: Browser, context: dict[str, Any]
) -> None:
    with watched(browser, made.report, **context) as page:
        assert page.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth")
        ink, paper = page.evaluate(
            "(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))"
        )
        bright = [sum(map(int, c[4:-1].split(","))) / 765 for c in (ink, paper)]
        dark = context["color_scheme"] == "dark"
        assert (bright[1] < 0.2 and bright[0] > 0.8) if dark else bright[0] < 0.2 < 0.8 < bright[1]


def test_a_report_of_scenes_without_labels_offers_no_truth(
    made: Made, browser: Browser, tmp_path: pathlib.Path
) -> None:
    done = dgc("report", made.workdir, made.paths[0], "--labels", "", "--out", tmp_path / "r.html")
    assert done.exit_code == 0, done.output
    with watched(browser, tmp_path / "r.html") as page:
        assert page.locator("#scores-section").is_hidden()
        assert page.locator("#mode option[value=truth]").is_disabled()


def test_the_stability_of_this_model_is_shown_and_of_no_other(
    made: Made, browser: Browser, tmp_path: pathlib.Path
) -> None:
    workdir = tmp_path / "seeds" / "seed-0"
    shutil.copytree(made.workdir, workdir)
    found = {
        "seeds": [{"model": made.segmenter.identity}],
        "levels": [{"clusters": k, "ari": {"mean": 1 / k, "min": 0.1 / k}} for k in range(2, 7)],
        "suggested": {"in_words": "Seeds agree best at <2> clusters."},
    }
    for identity, shown in ((made.segmenter.identity, True), ("another", False)):
        found["seeds"] = [{"model": identity}]
        (workdir.parent / "stability.json").write_text(json.dumps(found))
        assert dgc("report", workdir, made.paths[0]).exit_code == 0
        with watched(browser, workdir / "report.html") as page:
            assert page.locator("#stability-section").is_visible() == shown
            if shown:
                text = page.locator("#stability-note").text_content()
                assert text == "Seeds agree best at <2> clusters."
                assert page.locator("#stability path.curve").count() == 2


def test_scenes_on_other_grids_are_taken_one_by_one_to_the_models(
    made: Made, tmp_path: pathlib.Path
) -> None:
    reflectance = np.load(made.paths[0])
    wider = np.linspace(360, 1040, 171)
    grid = np.linspace(400, 1000, 301)
    stretched = scipy.interpolate.interp1d(grid, reflectance, fill_value="extrapolate")(wider)
    for name, values, nm in (("a", stretched, wider), ("b", reflectance, grid)):
        about = {"wavelength": nm.tolist(), "wavelength units": "nm"}
        path = str(tmp_path / f"{name}.hdr")
        spectral.io.envi.save_image(path, values.astype(np.float32), metadata=about)
    out = tmp_path / "[red]r[/b].html"  # no markup of rich's
    done = dgc("report", made.workdir, tmp_path / "*.hdr", "--labels", "", "--out", out)
    assert done.exit_code == 0, done.output
    assert str(out) in done.output.replace("\n", "")
    assert out.exists()


def test_a_report_of_nothing_is_refused_in_one_sentence(made: Made, tmp_path: pathlib.Path) -> None:
    missing = dgc("report", made.workdir, tmp_path / "none.npy", "--out", tmp_path / "r.html")
    assert missing.exit_code == 2
    assert missing.output.count("\n") == 1
    mistyped = dgc("report", made.workdir, made.paths[0], "--labels", "{stem}_lables.npy")
    assert mistyped.exit_code == 2
    assert "--labels={stem}_lables.npy: expected label maps" in mistyped.output
    folder = dgc("report", made.workdir, made.paths[0], "--out", tmp_path)
    assert folder.exit_code == 2
    assert "found a folder" in folder.output
    nowhere = dgc("report", tmp_path, "--out", tmp_path / "r.html")
    assert nowhere.exit_code == 2
    assert json.dumps(str(tmp_path))[1:-1] in nowhere.output
    assert not (tmp_path / "r.html").exists()
