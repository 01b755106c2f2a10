"""Scenes of the report in a browser: maps, pictures, pixels, spectra and scores."""

import base64
import csv
import io
import pathlib

import numpy as np
import pytest
from conftest import TinyRun, dgc
from PIL import Image
from playwright.sync_api import Browser, Page

from dgc_jax import open_cube
from dgc_jax.apply import metrics, spectra, view
from dgc_jax.data.scenes import open_scenes
from dgc_jax.data.simulation import leaves
from dgc_jax.show import rival, tables
from tests.show.pages import K, Made, drawn, needs_chromium, slide, watched

pytestmark = needs_chromium


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


def test_a_cluster_pointed_at_stands_alone(page: Page, made: Made) -> None:
    labels = made.segmenter.segment(open_cube(made.paths[0]))
    common = int(np.argmax(np.bincount(labels.reshape(-1))[1:])) + 1
    before = drawn(page)
    page.locator("#legend li").nth(common - 1).hover()
    after = drawn(page)
    np.testing.assert_array_equal(after[labels == common], before[labels == common])
    others = (labels != common) & (labels > 0)
    assert np.any(after[others] != before[others], axis=-1).mean() > 0.9
