"""Clusters of the report in a browser: levels, merging, names, and the views that it exports."""

import pathlib

import numpy as np
import pytest
from conftest import TinyRun, dgc
from playwright.sync_api import Browser, Page

from dgc_jax import load, open_cube
from dgc_jax.apply import metrics, spectra, view
from dgc_jax.commands.merge import merge
from dgc_jax.data.scenes import open_scenes
from dgc_jax.data.simulation import leaves
from dgc_jax.model import tree
from tests.show.pages import K, Made, drawn, exported, needs_chromium, slide, watched

pytestmark = needs_chromium


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
