"""Views: levels of the merge tree and groups chosen by hand, as files and applied."""

import csv
import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest
import rasterio
import spectral.io.envi
from conftest import TinyRun, dgc, each_by_itself, merge_spectra
from sklearn.metrics import adjusted_rand_score

from dgc_jax import InputError, Segmenter, load, open_cube
from dgc_jax.apply import view
from dgc_jax.apply.saved_model import load_model, save_model
from dgc_jax.commands.evaluate import evaluate
from dgc_jax.commands.merge import merge as write
from dgc_jax.model import tree
from dgc_jax.show import maps, overlay


@pytest.fixture(scope="module")
def scene(tiny_run: TinyRun) -> str:
    return str(sorted(pathlib.Path(tiny_run.scenes).glob("*.zarr"))[0])


def merge(clusters: int) -> tree.Merge:
    """20 trained clusters, of which two are dead, merged to some."""
    rng = np.random.default_rng(0)
    counts = rng.integers(10, 99, 20)
    counts[[3, 11]] = 0
    bank = rng.normal(size=(20, 4))
    return merge_spectra(rng.uniform(0.05, 0.9, (20, 12)), counts, bank, clusters)


EVERY = list(range(1, 9))
"""Ids of the finest level of the tiny run, in which all trained clusters have pixels."""

EVERY_NAME = [f"cluster {k}" for k in EVERY]


@pytest.fixture(scope="module")
def merged() -> tree.Merge:
    return merge(9)


def test_every_level_of_a_model_labels_as_the_tree_cut_there(
    segmenter: Segmenter, scene: str
) -> None:
    assert segmenter.finest == len(EVERY)
    cube = open_cube(scene)
    reflectance, valid = cube.read(0, 0, *cube.shape[:2])
    every = dataclasses.replace(segmenter, tree=each_by_itself(segmenter.tree, 8))
    nearest = np.asarray(every.predict(reflectance[None], valid[None]))[0]
    own = segmenter.segment(cube)
    for clusters in EVERY:
        seen = view.apply(segmenter, view.cut(segmenter, clusters))
        labels = seen.segment(cube)
        groups = np.array([0, *(tree.cut_tree(segmenter.tree.linkage, clusters) + 1)])
        assert segmenter.tree.live.tolist() == list(range(8))
        assert adjusted_rand_score(groups[nearest].ravel(), labels.ravel()) == 1
        ids = np.unique(labels[labels > 0]).tolist()
        assert len(seen.names) == len(seen.colours) - 1 == ids[-1]
        assert [k for k, name in enumerate(seen.names, 1) if name] == ids
        assert all(name in ("", own) for name, own in zip(seen.names, EVERY_NAME, strict=False))
        every = segmenter.tree.leaf_colours
        np.testing.assert_array_equal(seen.colours, every[: len(seen.colours)])
        if clusters == 3:
            np.testing.assert_array_equal(labels, own)
        if clusters >= 3:
            shares = np.asarray(seen.probabilities(reflectance[None], valid[None]))
            assert shares.shape[-1] == clusters
            np.testing.assert_allclose(shares.sum(-1)[0], valid, atol=1e-5)


def test_colours_of_a_finer_level_begin_with_those_of_the_run(segmenter: Segmenter) -> None:
    np.testing.assert_array_equal(segmenter.colours, segmenter.tree.leaf_colours[:4])
    assert len(np.unique(segmenter.tree.leaf_colours, axis=0)) == 9


def test_groups_are_of_the_clusters_of_the_run_or_of_another_level(segmenter: Segmenter) -> None:
    def of(groups: tuple[view.Group, ...]) -> dict[int, tuple[int, ...]]:
        return {group.id: group.of for group in groups}

    third = of(view.cut(segmenter, 3))
    assert of(view.join(segmenter, [[1, 3]])) == {
        1: tuple(sorted(third[1] + third[3])),
        2: third[2],
    }
    fifth = of(view.cut(segmenter, 5))
    named = view.join(segmenter, [[4, 2], [5]], ["two", "one"], level=5)
    assert of(named) == {
        1: fifth[1],
        2: tuple(sorted(fifth[2] + fifth[4])),
        3: fifth[3],
        5: fifth[5],
    }
    assert [group.name for group in named] == ["cluster 1", "two", "cluster 3", "one"]
    # Above the run's level ids are those that are left there.
    left = of(view.cut(segmenter, 2))
    (gone,) = {1, 2, 3} - set(left)
    assert of(view.join(segmenter, [list(left)], level=2)) == {1: tuple(EVERY)}
    with pytest.raises(InputError, match=f"at most once, found cluster {gone}"):
        view.join(segmenter, [[gone]], level=2)


def test_the_command_joins_clusters_of_a_finer_level_and_names_them(
    segmenter: Segmenter, tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "view.json"
    made = dgc(
        "merge", tiny_run.workdir, "--clusters", 6, "--groups", "1,2;6", "--names", "a;b", "--out",
        path,
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    assert view.read(path, segmenter) == view.join(segmenter, [[1, 2], [6]], ["a", "b"], level=6)
    names = [f"n{k}" for k in range(1, 9)]
    named = dgc(
        "merge", tiny_run.workdir, "--clusters", 8, "--names", ";".join(names), "--out", path
    )
    assert named.exit_code == 0, named.output
    groups = view.read(path, segmenter)
    assert [(g.id, g.of, g.name) for g in groups] == [(k, (k,), f"n{k}") for k in EVERY]


def test_names_alone_rename_the_clusters_that_are_shown(
    tiny_run: TinyRun, segmenter: Segmenter, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "named.json"
    made = dgc("merge", tiny_run.workdir, "--names", "ground; leaf ;spot", "--out", path)
    assert made.exit_code == 0, made.output
    found, plain = view.read(path, segmenter), view.cut(segmenter, segmenter.clusters)
    assert [group.name for group in found] == ["ground", "leaf", "spot"]
    assert [group.of for group in found] == [group.of for group in plain]
    assert [group.colour for group in found] == [group.colour for group in plain]
    few = dgc("merge", tiny_run.workdir, "--names", "ground;leaf", "--out", tmp_path / "few.json")
    assert few.exit_code == 2
    assert "expected one for each of the 3 groups, found 2" in few.output


def test_a_finer_view_segments_and_is_scored_on_maps_of_its_own(
    segmenter: Segmenter, tiny_run: TinyRun, scene: str, tmp_path: pathlib.Path
) -> None:
    path, _ = write(str(tiny_run.workdir), clusters=8, out=str(tmp_path / "v.json"))
    done = dgc(
        "segment", tiny_run.workdir, scene, "--out", tmp_path / "maps", "--format", "npy,envi",
        "--view", path,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    labels = np.load(tmp_path / "maps" / f"{pathlib.Path(scene).stem}.npy")
    np.testing.assert_array_equal(segmenter.tree.shown[labels], segmenter.segment(open_cube(scene)))
    assert labels.max() > 3
    fine = evaluate(str(tiny_run.workdir), "{stem}_labels.*", view_path=path)["scores"]
    again = evaluate(str(tiny_run.workdir), "{stem}_labels.*", [tiny_run.scenes], view_path=path)[
        "scores"
    ]
    assert fine == again
    assert set(fine["cluster_to_class"]) > {"1", "2", "3"}


def test_a_view_of_the_shown_clusters_is_told_from_one_that_takes_them_apart(
    segmenter: Segmenter, scene: str
) -> None:
    own = segmenter.segment(open_cube(scene))
    for clusters in EVERY:
        groups = view.cut(segmenter, clusters)
        table = segmenter.tree.becomes(groups)
        assert (table is None) == (clusters > 3)
        if table is not None:
            labels = view.apply(segmenter, groups).segment(open_cube(scene))
            np.testing.assert_array_equal(table[own], labels)


def test_a_model_of_an_earlier_version_and_its_views_mean_what_they_did(
    tiny_run: TinyRun, scene: str, tmp_path: pathlib.Path
) -> None:
    model = load_model(str(tiny_run.workdir))
    about = {name: value for name, value in model.about.items() if name != "leaves"}
    about |= {"names": about["names"][:3], "colours": about["colours"][:4]}
    save_model(str(tmp_path), model._replace(about=about))
    old, new = load(str(tmp_path)), load(str(tiny_run.workdir))
    assert old.finest == old.clusters == 3
    cube = open_cube(scene)
    own = old.segment(cube)
    np.testing.assert_array_equal(own, new.segment(cube))
    lines = [
        {"id": 1, "of": [1, 3], "name": "ground", "colour": "#0072b2"},
        {"id": 2, "of": [2], "name": "leaf", "colour": "#e69f00"},
    ]
    path = tmp_path / "view.json"
    path.write_text(json.dumps({"model": old.identity, "clusters": lines}))
    seen = view.seen_through(old, path)
    np.testing.assert_array_equal(seen.segment(cube), np.array([0, 1, 2, 1])[own])
    assert seen.names == ("ground", "leaf")
    for clusters in (1, 2, 3):
        of = {k for group in view.cut(old, clusters) for k in group.of}
        assert of == {1, 2, 3}
        tables = [view.of_shown(m, view.cut(m, clusters)) for m in (old, new)]
        np.testing.assert_array_equal(*tables)
    with pytest.raises(
        InputError,
        match=r"clusters: expected from 1 to 3, .* found 4",
    ):
        view.cut(old, 4)


@pytest.mark.parametrize("clusters", range(1, 10))
def test_a_level_of_the_tree_is_the_tree_cut_there(merged: tree.Merge, clusters: int) -> None:
    taken = tree.cut_ids(merged.tree, merged.live, merged.lookup, clusters)
    assert len(np.unique(taken)) == clusters
    direct = tree.cut_tree(merged.tree, clusters)
    through = taken[merged.lookup[merged.live] - 1]
    assert adjusted_rand_score(direct, through) == 1


@pytest.mark.parametrize("clusters", range(1, 10))
def test_a_fine_model_cut_later_is_the_coarse_model(merged: tree.Merge, clusters: int) -> None:
    later = tree.cut_ids(merged.tree, merged.live, merged.lookup, clusters)[merged.lookup - 1]
    assert adjusted_rand_score(later, merge(clusters).lookup) == 1  # of all 20, the dead ones, too


def test_ids_are_the_lowest_of_a_group_and_change_only_where_groups_join(
    merged: tree.Merge,
) -> None:
    finest = tree.cut_ids(merged.tree, merged.live, merged.lookup, 9)
    np.testing.assert_array_equal(finest, np.arange(1, 10))
    before = finest
    for clusters in range(8, 0, -1):
        taken = tree.cut_ids(merged.tree, merged.live, merged.lookup, clusters)
        np.testing.assert_array_equal(taken[taken - 1], taken)  # a group has the id of a member
        assert np.all(taken <= np.arange(1, 10))
        gone = np.setdiff1d(before, taken)
        assert len(gone) == 1
        changed = before != taken
        np.testing.assert_array_equal(before[changed], gone[0])
        before = taken


def test_a_view_relabels_maps_and_sums_probabilities(segmenter: Segmenter, scene: str) -> None:
    groups = view.join(segmenter, [[1, 3]], ["ground"])
    seen = view.apply(segmenter, groups)
    cube = open_cube(scene)
    fine, coarse = segmenter.segment(cube), seen.segment(cube)
    np.testing.assert_array_equal(coarse, np.array([0, 1, 2, 1])[fine])
    crop, valid = cube.read(0, 0, 16, 16)
    p, q = (np.asarray(each.probabilities(crop[None], valid[None])) for each in (segmenter, seen))
    np.testing.assert_allclose(q[..., 0], p[..., 0] + p[..., 2], atol=1e-6)
    np.testing.assert_allclose(q[..., 1], p[..., 1], atol=1e-6)
    assert q.shape[-1] == 2
    assert seen.names == ("ground", segmenter.names[1])
    np.testing.assert_array_equal(seen.colours, segmenter.colours[:3])
    assert seen.identity != segmenter.identity


def test_a_view_is_read_back_as_it_was_written_and_edited_by_hand(
    segmenter: Segmenter, tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    path, groups = write(
        str(tiny_run.workdir), clusters=2, names=["dark", "bright"], out=str(tmp_path / "v.json")
    )
    assert view.read(path, segmenter) == groups
    assert [group.name for group in groups] == ["dark", "bright"]
    saved = json.loads(pathlib.Path(path).read_text())
    saved["clusters"][1] |= {"name": "<leaf>", "colour": "#102030"}
    pathlib.Path(path).write_text(json.dumps(saved))
    seen = view.apply(segmenter, view.read(path, segmenter))
    assert seen.names[groups[1].id - 1] == "<leaf>"
    assert seen.colours[groups[1].id].tolist() == [16, 32, 48]


def test_segment_and_evaluate_take_a_view(
    segmenter: Segmenter, tiny_run: TinyRun, scene: str, tmp_path: pathlib.Path
) -> None:
    path, out = tmp_path / "view.json", tmp_path / "maps"
    made = dgc(
        "merge", tiny_run.workdir, "--groups", "2-3", "--names", "leaf; all of it", "--out", path
    )
    assert made.exit_code == 2  # two names for one group
    made = dgc("merge", tiny_run.workdir, "--groups", "2-3", "--names", "leaf", "--out", path)
    assert made.exit_code == 0, made.output
    done = dgc("segment", tiny_run.workdir, scene, "--out", out, "--format", "npy", "--view", path)
    assert done.exit_code == 0, done.output
    fine = segmenter.segment(open_cube(scene))
    found = np.load(out / f"{pathlib.Path(scene).stem}.npy")
    np.testing.assert_array_equal(found, np.array([0, 1, 2, 2])[fine])
    assert "leaf" in (out / "areas.csv").read_text()
    other = dgc("segment", tiny_run.workdir, scene, "--out", out, "--format", "npy")
    assert other.exit_code == 0
    assert "segmented anew, because view is " in other.stdout
    found = np.load(out / f"{pathlib.Path(scene).stem}.npy")
    np.testing.assert_array_equal(found, fine)
    labels = "{stem}_labels.*"
    scores = evaluate(str(tiny_run.workdir), labels, view_path=str(path))["scores"]
    again = evaluate(str(tiny_run.workdir), labels, [tiny_run.scenes], view_path=str(path))[
        "scores"
    ]
    assert scores == again
    assert scores != evaluate(str(tiny_run.workdir), labels)["scores"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--clusters", "0"], "clusters: expected from 1 to {finest}, the most"),
        (["--clusters", "9"], "clusters: expected from 1 to {finest}, the most"),
        (["--groups", "1,4"], "expected every cluster from 1 to 3 at most once, found cluster 4"),
        (["--groups", "1,2;2"], "found cluster 2 twice"),
        (["--groups", "1;;2"], "found an empty group"),
        (["--groups", "1,2;3", "--names", "a;"], "expected a name for each group, found an empty"),
        (["--groups", "1-x"], "expected cluster numbers such as 1,2;4-7, found '1-x'"),
        ([], "expected --clusters, --groups or --names, found none"),
        (
            ["--groups", "1,6", "--clusters", "5"],
            "cluster from 1 to 5 at most once, found cluster 6",
        ),
        (["--groups", "1;1", "--clusters", "2"], "at most once, found cluster 1 twice"),
    ],
)
def test_wrong_groups_are_told_in_one_sentence(
    segmenter: Segmenter, tiny_run: TinyRun, tmp_path: pathlib.Path, options: list[str], told: str
) -> None:
    assert segmenter.finest < 9
    result = dgc("merge", tiny_run.workdir, *options, "--out", tmp_path / "v.json")
    assert result.exit_code == 2
    assert told.format(finest=segmenter.finest) in result.output
    assert not (tmp_path / "v.json").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model": "other"}, "expected a view of this model, found one of another"),
        ({"clusters": []}, "expected every cluster from 1 to {finest} in one group"),
        ({"clusters": [{"id": 1, "of": [1], "name": " ", "colour": "#000000"}]}, "name ' '"),
        ({"clusters": [{"id": 1, "of": [1], "name": "a", "colour": "red"}]}, "colour 'red'"),
        ({"clusters": [{"id": 2, "of": EVERY, "name": "a", "colour": "#000000"}]}, "lowest id"),
        ({"clusters": [{"id": 1, "of": EVERY[:-1], "name": "a", "colour": "#000000"}]}, "others"),
        ({"clusters": 3}, "expected a view as written by `dgc merge`"),
    ],
)
def test_a_file_that_is_no_view_of_the_model_is_refused(
    segmenter: Segmenter, tmp_path: pathlib.Path, change: dict[str, object], told: str
) -> None:
    path = tmp_path / "view.json"
    path.write_text(json.dumps(view.as_json(segmenter, view.cut(segmenter, 3)) | change))
    with pytest.raises(InputError, match=r"view\.json") as error:
        view.read(path, segmenter)
    assert told.format(finest=segmenter.finest) in str(error.value)


def test_a_view_of_a_view_is_refused_because_it_would_lose_the_first(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    segmenter = load(str(tiny_run.workdir))
    path = tmp_path / "view.json"
    groups = view.join(segmenter, [[1, 3]])
    path.write_text(json.dumps(view.as_json(segmenter, groups)))
    seen = view.seen_through(segmenter, path)
    for again in (
        lambda: view.cut(seen, 2),
        lambda: view.join(seen, [[1, 2]]),
        lambda: view.apply(seen, groups),
        lambda: view.of_shown(seen, groups),
        lambda: view.seen_through(seen, path),
    ):
        with pytest.raises(InputError, match="the model itself, found one that is seen through a"):
            again()


def test_groups_that_leave_a_cluster_out_are_refused(tiny_run: TinyRun) -> None:
    segmenter = load(str(tiny_run.workdir))
    groups = view.cut(segmenter, 3)
    with pytest.raises(InputError, match=r"every cluster from 1 to .*, found others"):
        view.apply(segmenter, groups[:2])


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("groups", [[1, 3], [1, 2], [1, 2, 3]])
def test_merged_away_clusters_are_in_no_legend_table_or_file(
    segmenter: Segmenter, tiny_run: TinyRun, scene: str, tmp_path: pathlib.Path, groups: list[int]
) -> None:
    left = [1, *({2, 3} - set(groups))]
    names = {1: "ground", 2: "cluster 2", 3: "cluster 3"}
    view_file, out = tmp_path / "v.json", tmp_path / "maps"
    write(str(tiny_run.workdir), groups=[groups], names=["ground"], out=str(view_file))
    done = dgc(
        "segment", tiny_run.workdir, scene, "--out", out, "--format", "npy,png,envi,zarr,geotiff",
        "--view", view_file,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    stem = out / pathlib.Path(scene).stem
    with open(out / "areas.csv", encoding="utf-8", newline="") as file:
        areas = list(csv.DictReader(file))
    assert [(int(row["cluster"]), row["name"]) for row in areas] == [(k, names[k]) for k in left]
    with open(out / "spectra.csv", encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    assert header[2:] == [f"{names[k]}_{what}" for k in left for what in ("mean", "std")]
    by_label = ["no data", *(names[k] if k in left else "unused" for k in range(1, max(left) + 1))]
    envi = spectral.io.envi.open(f"{stem}.hdr", f"{stem}.img")
    assert envi.metadata["class names"] == by_label
    about = json.loads((stem.with_suffix(".zarr") / "zarr.json").read_text())["attributes"]
    assert about["class_names"] == by_label
    seen = view.apply(segmenter, view.read(view_file, segmenter))
    pixels = maps.pixels_per_label(np.array([left], np.uint8), seen.clusters)
    legend = overlay._entries(pixels, seen.colours, seen.names)
    assert [name for _, name, _ in legend] == [names[k] for k in left]
    with rasterio.open(f"{stem}.tif") as image:
        tags = {k: v for k, v in image.tags().items() if k.startswith("CLASS_")}
    assert tags == {f"CLASS_{k}": names[k] for k in left}
    scores = evaluate(str(tiny_run.workdir), "{stem}_labels.*", view_path=str(view_file))["scores"]
    assert list(scores["cluster_to_class"]) == [str(k) for k in left]


def test_a_view_of_other_groups_goes_to_another_file_and_is_told(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run.workdir / "checkpoints" / "model", run / "checkpoints" / "model")
    first = dgc("merge", run, "--groups", "1,2")
    assert f"View: {run}/view-2.json" in first.output
    text = (run / "view-2.json").read_text()
    other = dgc("merge", run, "--groups", "2,3")
    assert "note: view-2.json holds other groups, and stays." in other.output
    assert f"View: {run}/view-2-2.json" in other.output
    named = dgc("merge", run, "--groups", "1,2", "--names", "ground")
    assert f"View: {run}/view-2-3.json" in named.output
    again = dgc("merge", run, "--groups", "1,2")
    assert f"View: {run}/view-2.json" in again.output
    assert "note" not in again.output
    assert (run / "view-2.json").read_text() == text
    assert dgc("merge", run, "--groups", "2,3").output == other.output
    views = sorted(path.name for path in run.glob("view*"))
    assert views == ["view-2-2.json", "view-2-3.json", "view-2.json"]
