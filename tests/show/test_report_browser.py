"""The report in a browser: what a person does in it, and what the program makes of it.

Runs wherever a Chromium is found; on Debian and Ubuntu `apt install chromium`.
"""

import base64
import contextlib
import csv
import io
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.interpolate
import spectral.io.envi
from axe_playwright_python.sync_playwright import Axe
from click.testing import CliRunner, Result
from conftest import TinyRun
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from dgc_jax import Segmenter, load, open_cube
from dgc_jax.apply import metrics, spectra, view
from dgc_jax.apply.saved_model import load_model, save_model
from dgc_jax.cli import main
from dgc_jax.commands.merge import merge
from dgc_jax.data.scenes import open_scenes
from dgc_jax.data.simulation import leaves
from dgc_jax.model import tree
from dgc_jax.show import rival, tables
from dgc_jax.show.palette import colours

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
HOSTILE = "</script><img src=x onerror=alert(1)>"
K = 6

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="no Chromium is installed"
)


def dgc(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


class Made(NamedTuple):
    """A model of six clusters, three scenes with labels, and its report."""

    workdir: pathlib.Path
    paths: list[pathlib.Path]
    report: pathlib.Path
    segmenter: Segmenter


@pytest.fixture(scope="module")
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


def test_the_slider_recolours_the_maps_as_the_lookup_says(page: Page, made: Made) -> None:
    slide(page, "opacity", 100)
    for level in (6, 4, 2, 5):
        slide(page, "level", level)
        seen = view.apply(made.segmenter, view.cut(made.segmenter, level))
        for number, path in enumerate(made.paths):
            labels = seen.segment(open_cube(path))
            shown = drawn(page, number)
            assert shown.shape[:2] == labels.shape
            np.testing.assert_array_equal(shown[labels > 0], seen.colours[labels[labels > 0]])
    assert page.locator("#level-shown").text_content() == "5"


def test_the_slider_goes_up_to_every_cluster_and_everything_follows(
    tiny_run: TinyRun, browser: Browser, tmp_path: pathlib.Path
) -> None:
    segmenter = load(str(tiny_run.workdir))
    scenes = open_scenes([tiny_run.scenes])
    with watched(browser, tiny_run.workdir / "report.html") as page:
        assert page.locator("#level-shown").text_content() == "3"
        assert page.locator("#level-most").text_content() == "of up to 8"
        ends = page.locator("#level").evaluate("input => [input.min, input.max, input.value]")
        assert ends == ["2", "8", "3"]
        slide(page, "opacity", 100)
        for level in (8, 3, 5, 2, 7):
            slide(page, "level", level)
            groups = view.cut(segmenter, level)
            assert view.read(exported(page, tmp_path), segmenter) == groups
            assert page.locator("#legend li").count() == level
            seen = view.apply(segmenter, groups)
            counts, whole = 0, spectra.empty(seen.clusters, 301)
            for number, scene in enumerate(scenes):
                labels = seen.segment(scene.cube)
                shown = drawn(page, number)
                np.testing.assert_array_equal(shown[labels > 0], seen.colours[labels[labels > 0]])
                truth = scene.read_labels().labels
                counts += metrics.confusion(truth, labels, len(leaves.CLASSES), seen.clusters)
                reflectance, _ = scene.cube.read(0, 0, *scene.cube.shape[:2])
                whole = spectra.combine(whole, spectra.measure(reflectance, labels, seen.clusters))
            rows = [group.id - 1 for group in groups]
            found = page.evaluate("scoresOf(confusion, state.groups, null).iou")
            table = metrics.map_clusters(counts[:, rows], "majority")
            expected = metrics.scores(counts[:, rows], leaves.CLASSES, None, table)
            np.testing.assert_allclose(found, list(expected["iou"].values()), atol=1e-12)
            means = page.evaluate(
                "state.groups.map((group) => Array.from(mergedSpectra(spectra, group.of).mean))"
            )
            np.testing.assert_allclose(means, whole.mean[rows], atol=1e-6)
            pixels = page.evaluate(
                "data.scenes.map((scene) => groupPixels(scene.pixels, state.groups))"
            )
            np.testing.assert_array_equal(np.sum(pixels, axis=0), whole.count[rows])
            numbers = page.locator("#tree text").all_text_contents()
            assert set(numbers) == {str(group.id) for group in groups}
        page.locator("#reset").click()
        assert page.locator("#level-shown").text_content() == "3"


def test_clusters_of_any_level_are_merged_and_parted_along_the_tree(
    tiny_run: TinyRun, browser: Browser, tmp_path: pathlib.Path
) -> None:
    segmenter = load(str(tiny_run.workdir))
    of = {group.id: group.of for group in view.cut(segmenter, 3)}
    with watched(browser, tiny_run.workdir / "report.html") as page:
        page.get_by_label("Merge cluster 1 with", exact=True).select_option("3")
        merged = view.read(exported(page, tmp_path), segmenter)
        assert merged == view.join(segmenter, [[1, 3]])
        assert page.locator("#legend .of").all_text_contents() == ["of 1, 3"]
        page.get_by_label("Take cluster 1 apart", exact=True).click()
        assert {g.id: g.of for g in view.read(exported(page, tmp_path), segmenter)} == of
        assert page.locator("#legend .of").count() == 0
        parents = [k for k in of if len(of[k]) > 1]
        page.get_by_label(f"Take cluster {parents[0]} apart", exact=True).click()
        groups = {g.id: g.of for g in view.read(exported(page, tmp_path), segmenter)}
        # The level at which the tree parts this cluster first.
        ids = next(
            ids
            for ids in map(segmenter.tree.level, range(1, 9))
            if len({ids[k - 1] for k in of[parents[0]]}) > 1
        )
        parts = {
            tuple(k for k in of[parents[0]] if ids[k - 1] == part) for part in np.unique(ids)
        } - {()}
        assert {groups[k] for k in groups} == parts | {of[k] for k in of if k != parents[0]}
        assert all(number == min(members) for number, members in groups.items())


def test_the_exported_view_segments_as_the_page_shows(
    page: Page, made: Made, tmp_path: pathlib.Path
) -> None:
    slide(page, "level", 4)
    path = exported(page, tmp_path)
    assert view.read(path, made.segmenter) == view.cut(made.segmenter, 4)
    done = dgc(
        "segment", made.workdir, made.paths[0], "--out", tmp_path / "maps", "--format", "npy",
        "--view", path,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    slide(page, "opacity", 100)
    labels = np.load(tmp_path / "maps" / "a.npy")
    colour = view.apply(made.segmenter, view.cut(made.segmenter, 4)).colours
    np.testing.assert_array_equal(drawn(page)[labels > 0], colour[labels[labels > 0]])


def test_clusters_are_named_recoloured_merged_and_parted(
    page: Page, made: Made, tmp_path: pathlib.Path
) -> None:
    page.get_by_label("Name of cluster 2", exact=True).fill("stem & <b>vein</b>")
    page.get_by_label("Colour of cluster 2", exact=True).fill("#123456")
    page.get_by_label("Merge cluster 5 with", exact=True).select_option("2")
    items = page.locator("#legend li")
    items.nth(3).drag_to(items.nth(0))  # 4 onto 1
    groups = view.read(exported(page, tmp_path), made.segmenter)
    assert [(g.id, g.of) for g in groups] == [(1, (1, 4)), (2, (2, 5)), (3, (3,)), (6, (6,))]
    assert (groups[1].name, groups[1].colour) == ("stem & <b>vein</b>", "#123456")
    slide(page, "opacity", 100)
    labels = np.array([0, 1, 2, 3, 1, 2, 6])[made.segmenter.segment(open_cube(made.paths[0]))]
    assert np.any(labels == 2)
    shown = np.unique(drawn(page)[labels == 2], axis=0)
    np.testing.assert_array_equal(shown, [[0x12, 0x34, 0x56]])
    page.get_by_label("Take cluster 2 apart", exact=True).click()
    parted = view.read(exported(page, tmp_path), made.segmenter)
    assert [(g.id, g.of) for g in parted][1:4] == [(2, (2,)), (3, (3,)), (5, (5,))]
    assert parted[1].name == "stem & <b>vein</b>"
    page.locator("#reset").click()
    whole = view.read(exported(page, tmp_path), made.segmenter)
    assert whole == view.cut(made.segmenter, K)


def test_a_click_tells_the_spectrum_that_the_cube_holds(page: Page, made: Made) -> None:
    cube = open_cube(made.paths[1])
    rows, columns, _ = cube.shape
    box = page.locator(".map canvas").nth(1).bounding_box()
    for row, column in ((20, 33), (7, 20), (0, 0)):
        at = {"x": (column + 0.5) / columns * box["width"], "y": (row + 0.5) / rows * box["height"]}
        page.locator(".map canvas").nth(1).click(position=at)
        pixel = page.evaluate("report.state.inspected")
        assert (pixel["scene"], pixel["row"], pixel["column"]) == ("b, second", row, column)
        labels = made.segmenter.segment(cube)
        assert pixel["label"] == labels[row, column]
        facts = page.locator("#pixel-facts").text_content()
        assert f"row {row}, column {column}" in facts
        assert ("no data" in facts) == (labels[row, column] == 0)
        sample = pixel["sample"]
        if labels[row, column] == 0:
            assert sample is None
            continue
        assert labels[sample["row"], sample["column"]] == labels[row, column]
        truth, valid = cube.read(sample["row"], sample["column"], 1, 1)
        assert valid.all()
        np.testing.assert_allclose(sample["spectrum"], truth[0, 0], atol=2e-5)
        crop, valid = cube.read(sample["row"] - 8, sample["column"] - 8, 17, 17)
        shares = np.asarray(made.segmenter.probabilities(crop[None], valid[None]))[0, 8, 8]
        np.testing.assert_allclose(sample["shares"], shares, atol=0.5 / 255 + 1e-4)


def test_arrow_keys_move_the_pixel(page: Page) -> None:
    page.locator(".map canvas").first.focus()
    for key in ("Enter", "ArrowRight", "ArrowDown", "Shift+ArrowUp"):
        page.keyboard.press(key)
    pixel = page.evaluate("report.state.inspected")
    assert (pixel["row"], pixel["column"]) == (30 + 1 - 10, 31)


def test_clusters_are_merged_and_spectra_read_by_keyboard_alone(
    page: Page, made: Made, tmp_path: pathlib.Path
) -> None:
    merge = page.get_by_label("Merge cluster 5 with", exact=True)
    merge.focus()
    page.keyboard.press("ArrowDown")  # opens the list, and merges nothing
    assert page.locator("#level-shown").text_content() == str(K)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function("report.state.groups.length === 5")
    groups = view.read(exported(page, tmp_path), made.segmenter)
    assert (groups[0].id, groups[0].of) == (1, (1, 5))
    page.get_by_label("Take cluster 1 apart", exact=True).focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.ariaLabel") == "Merge cluster 1 with"
    page.locator("#spectra svg").focus()
    page.wait_for_function("report.state.alone === 0")  # no longer cluster 1 alone
    page.keyboard.press("ArrowRight")
    read = page.locator("#spectra-read").text_content()
    assert read.startswith("702 nm: ")  # 301 bands from 400 to 1000 nm, the middle one at 700
    page.keyboard.press("Shift+ArrowLeft")
    assert page.locator("#spectra-read").text_content().startswith("682 nm: ")
    page.locator("#similarity").focus()
    page.keyboard.press("ArrowDown")
    cosines = page.evaluate("data.similarity.cosines")
    assert f"cosine {cosines[1][0]:.2f}" in page.locator("#similarity-read").text_content()


def test_a_name_is_selected_with_the_mouse_and_other_lists_learn_it(page: Page) -> None:
    name = page.get_by_label("Name of cluster 2", exact=True)
    box = name.bounding_box()
    page.mouse.move(box["x"] + 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    chosen = name.evaluate("input => input.value.slice(input.selectionStart, input.selectionEnd)")
    assert chosen == "cluster 2"
    page.keyboard.type("stem")
    other = page.get_by_label("Merge cluster 3 with", exact=True)
    other.focus()
    assert "2 stem" in other.text_content()


def test_scores_and_spectra_follow_as_python_computes_them(page: Page, made: Made) -> None:
    scenes = open_scenes([str(path) for path in made.paths])
    counts = sum(
        metrics.confusion(
            scene.read_labels().labels, made.segmenter.segment(scene.cube), len(leaves.CLASSES), K
        )
        for scene in scenes
    )
    whole = spectra.empty(K, 301)
    for scene in scenes:
        reflectance, _ = scene.cube.read(0, 0, *scene.cube.shape[:2])
        part = spectra.measure(reflectance, made.segmenter.segment(scene.cube), K)
        whole = spectra.combine(whole, part)
    for level in range(2, K + 1):
        slide(page, "level", level)
        groups = view.cut(made.segmenter, level)
        table = view.apply(made.segmenter, groups).tree.shown
        folded = np.stack([counts[:, np.array(g.of) - 1].sum(1) for g in groups], axis=1)
        expected = metrics.scores(
            folded, leaves.CLASSES, leaves.BACKGROUND, metrics.map_clusters(folded, "majority")
        )
        found = page.evaluate("scoresOf(confusion, state.groups, data.background)")
        np.testing.assert_allclose(found["iou"], list(expected["iou"].values()), atol=1e-12)
        for name, key in (
            ("mean", "mean_iou"),
            ("accuracy", "accuracy"),
            ("background", "background_iou"),
            ("tissue", "tissue_iou"),
            ("both", "background_tissue_mean_iou"),
        ):
            assert found[name] == pytest.approx(expected[key], abs=1e-12)
        assert f"{expected['mean_iou']:.3f}" in page.locator("#scores").text_content()
        merged = spectra.merge(whole, table)
        for group in groups:
            seen = page.evaluate(
                """of => { const { count, mean, deviation } = mergedSpectra(spectra, of);
                          return [count, Array.from(mean), Array.from(deviation)]; }""",
                list(group.of),
            )
            row = group.id - 1
            assert seen[0] == merged.count[row]
            np.testing.assert_allclose(seen[1], merged.mean[row], atol=1e-6)
            deviation = spectra.standard_deviation(merged)[row]
            np.testing.assert_allclose(seen[2], deviation, atol=1e-5)


def test_areas_download_as_the_program_counts_them(page: Page, made: Made) -> None:
    slide(page, "level", 3)
    with page.expect_download() as download:
        page.locator("#areas-csv").click()
    text = pathlib.Path(download.value.path()).read_text(encoding="utf-8")
    found = list(csv.reader(io.StringIO(text)))[1:]
    seen = view.apply(made.segmenter, view.cut(made.segmenter, 3))
    expected = []
    for path in made.paths:
        cube = open_cube(path)
        lines = tables.areas(cube.name, seen.segment(cube), seen.names)
        kept = {group.id for group in view.cut(made.segmenter, 3)}
        expected += [
            [line.scene, str(line.cluster), line.name, str(line.pixels), f"{line.percent:.4f}"]
            for line in lines
            if line.cluster in kept
        ]
    assert found == expected


def test_truth_errors_and_confidence_are_shown(page: Page, made: Made) -> None:
    slide(page, "opacity", 100)
    slide(page, "level", 2)
    (scene,) = open_scenes([str(made.paths[0])])
    truth, fine = scene.read_labels().labels, made.segmenter.segment(scene.cube)
    page.locator("#mode").select_option("truth")
    palette = page.evaluate("data.class_colours")
    expected = np.array([list(bytes.fromhex(colour[1:])) for colour in palette])
    np.testing.assert_array_equal(drawn(page)[truth > 0], expected[truth[truth > 0] - 1])
    assert leaves.CLASSES[3] in page.locator("#mode-note").text_content()
    page.locator("#mode").select_option("errors")
    table = page.evaluate("scoresOf(confusion, state.groups, null).table")
    groups = view.cut(made.segmenter, 2)
    of_cluster = {k: table[g] + 1 for g, group in enumerate(groups) for k in group.of}
    stands = np.array([0, *(of_cluster[k] for k in range(1, K + 1))])[fine]
    wrong = (stands != truth) & (fine > 0) & (truth > 0)
    assert 0 < wrong.sum() < wrong.size / 2
    np.testing.assert_array_equal((drawn(page) == [213, 0, 60]).all(axis=-1), wrong)
    page.locator("#mode").select_option("margin")
    crop, valid = scene.cube.read(0, 0, *fine.shape)
    unlike = np.asarray(made.segmenter.confidence(crop[None], valid[None]).unlike)[0]
    assert 0 < unlike.sum() < unlike.size / 4
    padded = np.pad(unlike, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    outline = unlike & ~inner
    np.testing.assert_array_equal((drawn(page) == [213, 0, 60]).all(axis=-1), outline)
    shares = np.sort(np.asarray(made.segmenter.probabilities(crop[None], valid[None]))[0], axis=-1)
    doubt = np.sqrt(1 - (shares[..., -1] - shares[..., -2]))
    seen = (fine > 0) & ~outline
    # From 0.6 of the picture's grey to (255, 140, 0); red tells the share.
    grey = page.evaluate(
        "Array.from({length: state.scenes[0].labels.length}, (_, i) => "
        "(state.scenes[0].quicklook[4*i] + state.scenes[0].quicklook[4*i+1] + "
        "state.scenes[0].quicklook[4*i+2]) / 3)"
    )
    grey = 0.6 * np.reshape(grey, fine.shape)
    expected = grey + doubt * (255 - grey)
    np.testing.assert_allclose(drawn(page)[..., 0][seen], expected[seen], atol=1.5)


def stage(page: Page) -> np.ndarray:
    """What the large view shows, `[row, column, 3]`, in CSS pixels."""
    _, _, body = page.evaluate("$('view').toDataURL('image/png')").partition(",")
    return np.array(Image.open(io.BytesIO(base64.b64decode(body))).convert("RGB"))


def at_pixel(page: Page, row: int, column: int) -> tuple[float, float]:
    """Where the middle of a scene's pixel is in the large view, from its left and top."""
    x, y = page.evaluate(
        "([row, column]) => [panes()[0].width / 2 + (column + 0.5 - viewer.column) * viewer.scale,"
        " $('view').clientHeight / 2 + (row + 0.5 - viewer.row) * viewer.scale]",
        [row, column],
    )
    return x, y


def test_a_scene_is_shown_large_zoomed_and_moved_with_crisp_pixels(page: Page, made: Made) -> None:
    slide(page, "opacity", 100)
    view_ = page.locator("#view")
    # A scene of 48 pixels fills the stage that the window leaves it.
    assert page.evaluate("viewer.scale * viewer.scene.height >= 0.55 * window.innerHeight")
    small = drawn(page)
    for _ in range(3):
        page.locator("#zoom-in").click()
    scale = page.evaluate("viewer.scale")
    assert scale > 20
    middle = page.evaluate("[Math.floor(viewer.row), Math.floor(viewer.column)]")
    for row, column in ((middle[0], middle[1]), (middle[0] - 3, middle[1] + 4)):
        x, y = at_pixel(page, row, column)
        square = stage(page)[
            int(y - scale / 3) : int(y + scale / 3), int(x - scale / 3) : int(x + scale / 3)
        ]
        np.testing.assert_array_equal(square, np.broadcast_to(small[row, column], square.shape))
    # A click finds the pixel that is seen there.
    x, y = at_pixel(page, middle[0] - 3, middle[1] + 4)
    view_.click(position={"x": x, "y": y})
    assert (
        f"row {middle[0] - 3}, column {middle[1] + 4}:"
        in page.locator("#pixel-facts").text_content()
    )
    # Dragging moves the scene with the pointer, and chooses no pixel.
    before = page.evaluate("[viewer.row, viewer.column]")
    box = view_.bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 300 + 2 * scale, box["y"] + 200 + scale, steps=4)
    page.mouse.up()
    moved = page.evaluate("[viewer.row, viewer.column]")
    np.testing.assert_allclose(np.subtract(before, moved), [1, 2], atol=0.2)
    assert f"row {middle[0] - 3}," in page.locator("#pixel-facts").text_content()
    # The wheel zooms at the pointer, and keys do the rest.
    page.mouse.wheel(0, -200)
    assert page.evaluate("viewer.scale") > scale
    view_.focus()
    page.keyboard.press("0")
    assert page.evaluate("viewer.scale === fitting()")
    page.keyboard.press("+")
    assert page.evaluate("viewer.scale > fitting()")
    page.keyboard.press("ArrowDown")
    assert f"row {middle[0] - 2}," in page.locator("#pixel-facts").text_content()


def test_map_and_picture_are_compared_side_by_side_and_swiped(page: Page) -> None:
    slide(page, "opacity", 100)
    page.locator("#compare").select_option("beside")
    left, right = page.evaluate("panes().map(({left, width}) => [left, width])")
    colours_ = page.evaluate("state.groups.map((group) => rgb(group.colour))")

    def share_of_clusters(part: np.ndarray) -> float:
        flat = part.reshape(-1, 3)
        return float(np.mean((flat[:, None] == np.array(colours_)[None]).all(-1).any(-1)))

    seen = stage(page)
    assert share_of_clusters(seen[:, int(left[0]) : int(left[0] + left[1])]) < 0.05
    assert share_of_clusters(seen[:, int(right[0]) : int(right[0] + right[1])]) > 0.5
    page.locator("#compare").select_option("swipe")
    shown = page.evaluate("viewer.scene.width * viewer.scale")
    for percent in (50, 40):
        slide(page, "split", percent)
        seen = stage(page)
        width = seen.shape[1]
        edge, begin = int(width * percent / 100), int((width - shown) / 2) + 2
        assert begin < edge - 3
        assert share_of_clusters(seen[:, begin : edge - 3]) < 0.05
        assert share_of_clusters(seen[:, edge + 3 : int((width + shown) / 2) - 2]) > 0.95


def test_plain_k_means_is_shown_in_the_colours_of_the_clusters(page: Page, made: Made) -> None:
    slide(page, "opacity", 100)
    page.locator("#mode").select_option("rival")
    centres = rival.fit(made.segmenter, [open_cube(path) for path in made.paths])
    ids = page.evaluate("data.rival.ids")
    palette = page.evaluate("data.clusters.map((cluster) => rgb(cluster.colour))")
    reflectance, valid = open_cube(made.paths[0]).read(0, 0, 60, 60)
    plain = np.array(ids)[rival.nearest(centres, reflectance)]
    seen = valid & (plain > 0)
    np.testing.assert_array_equal(drawn(page)[seen], np.array(palette)[plain[seen] - 1])
    told = page.locator("#mode-note").text_content()
    assert f"{page.evaluate('data.rival.agreement'):.2f} (adjusted Rand index" in told


def test_the_picture_is_in_natural_colours_or_infrared(
    tiny_run: TinyRun, browser: Browser, tmp_path: pathlib.Path, page: Page
) -> None:
    assert page.locator("#picture").is_hidden()  # its scenes say no wavelengths
    done = dgc("report", tiny_run.workdir, "--out", tmp_path / "r.html")
    assert done.exit_code == 0, done.output
    with watched(browser, tmp_path / "r.html") as page:
        slide(page, "opacity", 0)
        natural = drawn(page).astype(int)
        page.locator("#picture").select_option("false")
        infrared = drawn(page).astype(int)
        leaf = page.evaluate("Array.from(state.scenes[0].truth)")
    healthy = np.reshape(leaf, natural.shape[:2]) == 3
    assert healthy.any()
    red, green, _ = natural[healthy].mean(axis=0)
    assert green > red
    red, green, _ = infrared[healthy].mean(axis=0)
    assert red > green


def test_the_strip_chooses_the_scene(page: Page, made: Made) -> None:
    page.locator("#scenes button.name").nth(1).click()
    assert page.locator("#stage-name").text_content() == page.evaluate("data.scenes[1].name")
    assert page.evaluate("viewer.scene === state.scenes[1]")
    pressed = page.locator("#scenes button.name[aria-pressed=true]")
    assert pressed.count() == 1


def test_pixels_that_are_named_name_all_clusters_as_the_program_does(
    page: Page, made: Made, tmp_path: pathlib.Path
) -> None:
    rng = np.random.default_rng(3)
    names = ["belt", "leaf", "<b>spot</b>"]
    for number in range(9):
        at = np.argwhere(made.segmenter.segment(open_cube(made.paths[number % 3])) > 0)
        row, column = at[rng.integers(len(at))].tolist()
        page.evaluate("([s, r, c]) => inspect(state.scenes[s], r, c)", [number % 3, row, column])
        page.get_by_label("What is here?").fill(names[number % 3])
        page.get_by_role("button", name="Name", exact=True).click()
    with page.expect_download() as download:
        page.locator("#hints-csv").click()
    points = tmp_path / "points.csv"
    download.value.save_as(points)
    out = tmp_path / "view.json"
    done = dgc("name", made.workdir, *made.paths, "--points", points, "--out", out)
    assert done.exit_code == 0, done.output
    assert view.read(out, made.segmenter) == view.read(
        exported(page, tmp_path / "e"), made.segmenter
    )
    assert page.locator("#hints li").count() == 9
    assert (
        done.output.count("note: line") == page.locator("#hints li", has_text="is called").count()
    )
    page.locator("#hints button").first.click()
    assert page.locator("#hints li").count() == 8
    page.get_by_label("What is here?").fill("")
    page.get_by_role("button", name="Name", exact=True).click()
    assert "Write a name" in page.locator("#hint-note").text_content()


def test_a_saved_page_opens_with_names_colours_and_clusters(
    page: Page, browser: Browser, tmp_path: pathlib.Path
) -> None:
    slide(page, "level", 3)
    page.get_by_label("Name of cluster 1", exact=True).fill("</script>belt & more")
    page.evaluate("inspect(state.scenes[0], 2, 3); nameHere('a'); state.groups")
    groups = page.evaluate("state.groups")
    with page.expect_download() as download:
        page.locator("#save").click()
    path = tmp_path / "saved.html"
    download.value.save_as(path)
    with watched(browser, path) as again:
        assert again.evaluate("state.groups") == groups
        assert again.locator("#level-shown").text_content() == "3"
        assert (
            again.get_by_label("Name of cluster 1", exact=True).input_value()
            == "</script>belt & more"
        )
        assert again.locator("#hints li").count() == 1
        assert len(again.evaluate("data.scenes")) == 3
        with again.expect_download() as download:  # and can be saved again
            again.locator("#save").click()
        twice = tmp_path / "twice.html"
        download.value.save_as(twice)
    assert len(twice.read_bytes()) == pytest.approx(len(path.read_bytes()), rel=0.01)


def test_levels_that_stand_out_are_marked_and_lead_there(page: Page, made: Made) -> None:
    joins, _ = made.segmenter.tree.joins
    marked = tree.standing_out(joins)
    assert marked
    buttons = page.locator("#level-marks button")
    assert [int(text) for text in buttons.all_text_contents()] == marked
    for number, level in enumerate(marked):
        buttons.nth(number).click()
        assert page.locator("#level-shown").text_content() == str(level)


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


def test_a_cluster_pointed_at_stands_alone(page: Page, made: Made) -> None:
    labels = made.segmenter.segment(open_cube(made.paths[0]))
    common = int(np.argmax(np.bincount(labels.reshape(-1))[1:])) + 1
    before = drawn(page)
    page.locator("#legend li").nth(common - 1).hover()
    after = drawn(page)
    np.testing.assert_array_equal(after[labels == common], before[labels == common])
    others = (labels != common) & (labels > 0)
    assert np.any(after[others] != before[others], axis=-1).mean() > 0.9


def test_hostile_names_are_shown_as_text(page: Page) -> None:
    assert "<script>alert(1)<!--" in page.locator("#scenes").text_content()
    assert page.get_by_label("Name of cluster 6", exact=True).input_value() == HOSTILE
    assert page.locator("img").count() == 0


def test_a_report_made_with_a_view_opens_with_it(
    made: Made, browser: Browser, tmp_path: pathlib.Path
) -> None:
    path, groups = merge(
        str(made.workdir), groups=[[1, 2], [5, 6]], names=["ground", "leaf"],
        out=str(tmp_path / "v.json"),
    )  # fmt: skip
    out = tmp_path / "report.html"
    done = dgc("report", made.workdir, made.paths[0], "--view", path, "--out", out)
    assert done.exit_code == 0, done.output
    with watched(browser, out) as page:
        assert page.locator("#level-shown").text_content() == "4"
        assert page.get_by_label("Name of cluster 1", exact=True).input_value() == "ground"
        assert view.read(exported(page, tmp_path), made.segmenter) == groups
        assert page.locator("#mode option[value=truth]").is_enabled()


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
