"""The data and the text of the report; what a browser makes of it is in test_report_browser.py."""

import base64
import html.parser
import io
import json
import pathlib
import re
import zlib

import numpy as np
import pytest
from conftest import TinyRun
from PIL import Image

from dgc_jax import Segmenter
from dgc_jax.apply import spectra, view
from dgc_jax.data.scenes import Scene, open_scenes
from dgc_jax.data.simulation import leaves
from dgc_jax.show import results
from dgc_jax.show.portrait import Portrait
from dgc_jax.show.report import concerns, write_report


@pytest.fixture(scope="module")
def scenes(tiny_run: TinyRun) -> list[Scene]:
    return open_scenes([tiny_run.scenes], classes=leaves.CLASSES)


@pytest.fixture(scope="module")
def portraits(segmenter: Segmenter, scenes: list[Scene]) -> tuple[list[Portrait], list[np.ndarray]]:
    """Both scenes, and their label maps at the finest level."""
    seen, maps = [], []
    finest = view.apply(segmenter, view.cut(segmenter, segmenter.finest))
    for scene in scenes:
        seen.append(Portrait(segmenter, scene, len(scenes)))
        seen[-1].look(segmenter, scene.cube)
        maps.append(finest.segment(scene.cube))
    return seen, maps


def picture(url: str) -> np.ndarray:
    head, _, body = url.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.array(Image.open(io.BytesIO(base64.b64decode(body))))


def written(
    segmenter: Segmenter, scene: Scene, folder: pathlib.Path, portrait: Portrait | None
) -> tuple[np.ndarray, results.Summary]:
    """Labels and summary of a scene walked and written, with how sure the labels are."""
    cube, formats = segmenter.adapt(scene.cube), ("envi", "png")
    gathered = results.begin(segmenter, cube, formats, portrait=portrait, confidence=True)
    gathered.walk(segmenter, cube)
    return results.write(segmenter, cube, gathered, str(folder), formats)


def bytes_of(shown: dict[str, object], name: str) -> np.ndarray:
    """One of a scene's maps, `[row, column]` uint8."""
    rows, columns = shown["shown"]
    flat = np.frombuffer(zlib.decompress(base64.b64decode(shown[name])), np.uint8)
    return flat.reshape(len(rows), len(columns))


class Embedded(html.parser.HTMLParser):
    """What a browser would make of the page's scripts: `[(attributes, text), ...]`."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.tags: list[str] = []
        self._open: dict[str, str | None] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
            self._open = dict(attrs)

    def handle_endtag(self, tag: str) -> None:
        self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            attributes, text = self.scripts[-1]
            self.scripts[-1] = attributes, text + data


def embedded(path: pathlib.Path) -> dict[str, object]:
    scripts = Embedded(path.read_text(encoding="utf-8")).scripts
    (data,) = (text for attributes, text in scripts if attributes.get("id") == "data")
    return json.loads(data)


def test_pictures_and_counts_are_those_of_the_maps(
    portraits: tuple[list[Portrait], list[np.ndarray]],
    scenes: list[Scene],
    segmenter: Segmenter,
) -> None:
    for portrait, labels, scene in zip(*portraits, scenes, strict=True):
        shown = portrait.as_json()
        truth = scene.read_labels().labels
        np.testing.assert_array_equal(bytes_of(shown, "labels"), labels)
        np.testing.assert_array_equal(bytes_of(shown, "truth"), truth)
        assert picture(shown["quicklook"]).shape == (*labels.shape, 3)
        sure = segmenter.confidence(*(each[None] for each in scene.cube.read(0, 0, *labels.shape)))
        unlike = np.asarray(sure.unlike)[0]
        assert shown["unlike_pixels"] == unlike.sum() > 0
        np.testing.assert_array_equal(bytes_of(shown, "unlike"), unlike)
        assert shown["pixels"] == np.bincount(labels.reshape(-1), minlength=9).tolist()
        expected = np.zeros((len(leaves.CLASSES), 8), int)
        for c, k in zip(truth.reshape(-1), labels.reshape(-1), strict=True):
            if c and k:
                expected[c - 1, k - 1] += 1
        np.testing.assert_array_equal(shown["confusion"], expected)
        reflectance, _ = scene.cube.read(0, 0, *labels.shape)
        for mine, whole in zip(
            portrait.spectra, spectra.measure(reflectance, labels, 8), strict=True
        ):
            np.testing.assert_allclose(mine, whole, rtol=1e-6, atol=1e-9)


def test_a_scene_is_walked_once_for_its_maps_and_its_portrait(
    scenes: list[Scene],
    segmenter: Segmenter,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    walks = []
    walk = Segmenter.walk
    monkeypatch.setattr(
        Segmenter, "walk", lambda *args, **how: (walks.append(how), walk(*args, **how))[1]
    )
    for number, scene in enumerate(scenes):
        portrait = Portrait(segmenter, scene)
        labels, both = written(segmenter, scene, tmp_path / "both", portrait)
        assert len(walks) == 2 * number + 1
        plain, alone = written(segmenter, scene, tmp_path / "alone", None)
        np.testing.assert_array_equal(labels, plain)
        np.testing.assert_array_equal(segmenter.tree.shown[portrait._labels], plain)
        assert both.areas == alone.areas
        for mine, theirs in zip(both.spectra, alone.spectra, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)
        for path in (tmp_path / "alone").glob(f"{scene.cube.name}*"):
            other = tmp_path / "both" / path.name
            if path.name.endswith("_margin.img"):  # of the clusters shown
                mine, theirs = (np.fromfile(p, "<f4") for p in (other, path))
                np.testing.assert_allclose(mine, theirs, atol=1e-6)
            elif not path.name.endswith(("_margin.png", ".json")):
                assert other.read_bytes() == path.read_bytes()


def test_doubt_and_samples_are_the_models_own(
    portraits: tuple[list[Portrait], list[np.ndarray]],
    scenes: list[Scene],
    segmenter: Segmenter,
) -> None:
    for portrait, scene in zip(portraits[0], scenes, strict=True):
        shown = portrait.as_json()
        reflectance, valid = scene.cube.read(0, 0, *scene.cube.shape[:2])
        seen = np.asarray(segmenter.probabilities(reflectance[None], valid[None]))[0]
        two = np.sort(seen, axis=-1)
        apart = np.clip(1 - (two[..., -1] - two[..., -2]), 0, 1)
        doubt = np.where(valid, np.sqrt(apart), 0)
        finest = view.apply(segmenter, view.cut(segmenter, segmenter.finest))
        shares = np.asarray(finest.probabilities(reflectance[None], valid[None]))[0]
        np.testing.assert_allclose(bytes_of(shown, "doubt") / 255, doubt, atol=0.5 / 255 + 1e-3)
        samples = shown["samples"]
        at = np.array(samples["row"]), np.array(samples["column"])
        assert len(at[0]) > 100
        levels = np.frombuffer(base64.b64decode(samples["spectra"]), "<u2").reshape(len(at[0]), -1)
        low, high = samples["low"], samples["high"]
        np.testing.assert_allclose(
            low + levels / 65535 * (high - low), reflectance[at], atol=(high - low) / 65535
        )
        stored = np.frombuffer(base64.b64decode(samples["probabilities"]), np.uint8)
        np.testing.assert_allclose(
            stored.reshape(len(at[0]), -1) / 255, shares[at], atol=0.5 / 255 + 1e-4
        )


def test_a_large_scene_is_shown_by_evenly_spaced_pixels_and_fewer_samples(
    segmenter: Segmenter, tmp_path: pathlib.Path
) -> None:
    reflectance, _ = leaves.simulate(0, leaves.Leaves(size=300, seed=5))
    np.save(tmp_path / "a.npy", reflectance[:, :200])
    (scene,) = open_scenes([str(tmp_path / "a.npy")])
    few, many = Portrait(segmenter, scene, 1), Portrait(segmenter, scene, 600)
    labels = np.zeros(scene.cube.shape[:2], np.uint8)
    for tile in segmenter.walk(scene.cube, confidence=True, finest=True):
        few.add(tile)
        many.add(tile)
        height, width = tile.labels.shape
        at = np.s_[tile.row : tile.row + height, tile.column : tile.column + width]
        labels[at] = tile.finest.labels
    np.testing.assert_array_equal(bytes_of(few.as_json(), "labels"), labels)
    shown = many.as_json()
    rows, columns = shown["shown"]
    assert len(rows) <= 96
    assert np.ptp(np.diff(rows)) <= 1
    np.testing.assert_array_equal(bytes_of(shown, "labels"), labels[np.ix_(rows, columns)])
    assert shown["pixels"] == few.as_json()["pixels"]
    assert len(shown["samples"]["row"]) < len(few.as_json()["samples"]["row"])


def test_holes_have_no_samples_and_no_doubt(segmenter: Segmenter, tmp_path: pathlib.Path) -> None:
    reflectance, _ = leaves.simulate(0, leaves.Leaves(size=48, seed=5))
    reflectance = np.ascontiguousarray(reflectance)
    reflectance[:30] = np.nan
    np.save(tmp_path / "a.npy", reflectance)
    (scene,) = open_scenes([str(tmp_path / "a.npy")])
    portrait = Portrait(segmenter, scene)
    portrait.look(segmenter, scene.cube)
    shown = portrait.as_json()
    assert min(shown["samples"]["row"]) >= 30
    assert not bytes_of(shown, "doubt")[:30].any()
    assert not bytes_of(shown, "labels")[:30].any()
    assert shown["truth"] is None
    json.dumps(shown, allow_nan=False)
    assert concerns(segmenter, [portrait], None)[-1].startswith("62 % of a has no data")


def test_the_page_holds_the_model_its_levels_and_the_history(
    tiny_run: TinyRun, segmenter: Segmenter
) -> None:
    data = embedded(tiny_run.workdir / "report.html")
    assert data["model"] == segmenter.identity
    assert [cluster["name"] for cluster in data["clusters"]] == list(segmenter.tree.leaf_names)
    assert data["level"] == 3
    assert list(map(int, data["levels"])) == list(range(1, 9))
    assert data["levels"]["8"] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert data["levels"]["3"] == segmenter.tree.shown[1:].tolist()
    assert data["levels"]["1"] == [1] * 8
    assert data["summary"] == tiny_run.summary
    assert [point[0] for point in data["history"]["loss"]] == list(range(1, 13))
    assert len(data["tree"]["ids"]) == len(segmenter.tree.live) == len(data["tree"]["across"]) + 1
    cosines = np.array(data["similarity"]["cosines"])
    ids = data["similarity"]["ids"]
    assert (np.diff(segmenter.tree.shown[ids]) >= 0).all()
    at = np.argsort(segmenter.tree.leaves)[np.array(ids) - 1]
    bank = np.asarray(segmenter.model.centroids)[at]
    np.testing.assert_allclose(cosines, bank @ bank.T, atol=6e-4)
    for level in data["levels"].values():  # what joins below the run's level lies together
        if len(set(level)) >= 3:
            assert (
                np.count_nonzero(np.diff(np.array(level)[np.array(ids) - 1])) == len(set(level)) - 1
            )
    counted = np.loadtxt(tiny_run.workdir / "areas.csv", str, delimiter=",", skiprows=1)
    pixels = sum(np.array(scene["pixels"])[1:] for scene in data["scenes"])
    assert pixels.sum() == counted[:, 3].astype(int).sum()
    assert data["spectra"]["count"] == pixels.tolist()


def test_text_from_files_never_becomes_markup(
    segmenter: Segmenter,
    portraits: tuple[list[Portrait], list[np.ndarray]],
    tmp_path: pathlib.Path,
) -> None:
    hostile = '</script><script>alert(1)</script><!--"&amp;'
    portrait = portraits[0][0]
    renamed = object.__new__(Portrait)
    renamed.__dict__ |= {**portrait.__dict__, "name": hostile, "classes": (hostile,) * 4}
    plain = tmp_path / "plain.html"
    write_report(plain, segmenter, [portrait], title="x")
    path = tmp_path / "report.html"
    write_report(path, segmenter, [renamed], title=hostile)
    page, without = (Embedded(p.read_text(encoding="utf-8")) for p in (path, plain))
    assert page.tags == without.tags
    data = embedded(path)
    assert data["scenes"][0]["name"] == hostile
    assert data["classes"] == [hostile] * 4


def test_the_policy_allows_these_scripts_alone(tiny_run: TinyRun) -> None:
    text = (tiny_run.workdir / "report.html").read_text(encoding="utf-8")
    policy = re.search('Content-Security-Policy" content="([^"]*)"', text).group(1)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(r"""(src|href)=["']?(http|//)""", text)


def with_pixels(portrait: Portrait, **changes: object) -> Portrait:
    other = object.__new__(Portrait)
    other.__dict__ |= {**portrait.__dict__, **changes}
    return other


def test_concerns_name_what_is_wrong_and_nothing_else(
    segmenter: Segmenter, portraits: tuple[list[Portrait], list[np.ndarray]]
) -> None:
    full = np.array([0, 50, 30, 20, 0, 0, 0, 0, 0])  # parts without pixels are no concern
    one = with_pixels(portraits[0][0], pixels=full, unlike=4)
    bright = np.float32(2.5) * one._spectra  # the median of all is at 1.025
    fine = {"stopped_because": "all 60 steps were taken", "nmi_between_epochs": 0.97}
    others = [
        with_pixels(one, name=f"s{k}", _spectra=(1 + k / 100) * one._spectra) for k in range(5)
    ]
    assert concerns(segmenter, others, fine) == []
    told = concerns(segmenter, [*others, with_pixels(one, name="lit", _spectra=bright)], fine)
    assert told == [
        "lit is 2.4 times as bright as the other scenes in the median: check its exposure or its "
        "white reference."
    ]
    assert concerns(segmenter, [with_pixels(one, name="new", unlike=12)], fine) == [
        "12 % of new is unlike any cluster, as if the training had not seen its like; look at its "
        "confidence."
    ]
    empty = [with_pixels(one, pixels=100 * (segmenter.tree.shown == 1))]
    told = concerns(segmenter, empty, fine)
    assert told[0] == "No pixel of these scenes belongs to cluster 2 or cluster 3."
    assert told[1].startswith("cluster 1 holds 100.0 % of all pixels, so the map says little")
    assert len(told) == 2
    most = one.pixels.copy() * 0
    most[1:] = np.where(segmenter.tree.shown[1:] == 1, 99_000, 0)
    most[np.flatnonzero(segmenter.tree.shown == 2)[0]] = 7
    most[np.flatnonzero(segmenter.tree.shown == 3)[0]] = 100
    told = concerns(segmenter, [with_pixels(one, pixels=most, unlike=0)], fine)
    assert [text.split(":")[0] for text in told] == [
        "cluster 1 holds 99.9 % of all pixels, so the map says little",
        "Fewer than 20 pixels belong to cluster 2",
    ]
    counts = [with_pixels(one, _spectra=np.float32(3000) * one._spectra)]
    (told_of_counts,) = concerns(segmenter, counts, fine)
    assert told_of_counts.startswith(
        "The numbers are no reflectance (half of the pixels are above "
    )
    moving = fine | {"nmi_between_epochs": 0.5, "stopped_because": "x", "stopped_early": True}
    told = concerns(segmenter, [one], moving)
    assert [text.split(",")[0] for text in told] == [
        "Training ended early",
        "At the end clusters were still moving: the NMI between the last two epochs is 0.50; try "
        "more steps (train.steps).",
    ]
