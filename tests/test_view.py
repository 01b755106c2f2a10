"""Views: levels of the merge tree and groups chosen by hand, as files and applied."""

import json
import pathlib

import click.testing
import numpy as np
import pytest
from conftest import TinyRun
from sklearn.metrics import adjusted_rand_score

from dgc_jax import InputError, Segmenter, commands, load, open_cube
from dgc_jax.apply import view
from dgc_jax.cli import main
from dgc_jax.model import centroids


@pytest.fixture(scope="module")
def segmenter(tiny_run: TinyRun) -> Segmenter:
    return load(str(tiny_run.workdir))


@pytest.fixture(scope="module")
def scene(tiny_run: TinyRun) -> str:
    return str(sorted(pathlib.Path(tiny_run.scenes).glob("*.zarr"))[0])


def dgc(*arguments: object) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, [str(a) for a in arguments])


def merge(clusters: int) -> centroids.Merge:
    """20 trained clusters, of which two are dead, merged to some."""
    rng = np.random.default_rng(0)
    counts = rng.integers(10, 99, 20)
    counts[[3, 11]] = 0
    bank = rng.normal(size=(20, 4))
    return centroids.merge(rng.uniform(0.05, 0.9, (20, 12)), counts, bank, clusters)


@pytest.fixture(scope="module")
def merged() -> centroids.Merge:
    return merge(9)


@pytest.mark.parametrize("clusters", range(1, 10))
def test_a_level_of_the_tree_is_the_tree_cut_there(merged: centroids.Merge, clusters: int) -> None:
    taken = centroids.cut_ids(merged.tree, merged.live, merged.lookup, clusters)
    assert len(np.unique(taken)) == clusters
    direct = centroids.cut_tree(merged.tree, clusters)
    through = taken[merged.lookup[merged.live] - 1]
    assert adjusted_rand_score(direct, through) == 1


@pytest.mark.parametrize("clusters", range(1, 10))
def test_a_fine_model_cut_later_is_the_coarse_model(merged: centroids.Merge, clusters: int) -> None:
    later = centroids.cut_ids(merged.tree, merged.live, merged.lookup, clusters)[merged.lookup - 1]
    assert adjusted_rand_score(later, merge(clusters).lookup) == 1  # of all 20, the dead ones, too


def test_ids_are_the_lowest_of_a_group_and_change_only_where_groups_join(
    merged: centroids.Merge,
) -> None:
    finest = centroids.cut_ids(merged.tree, merged.live, merged.lookup, 9)
    np.testing.assert_array_equal(finest, np.arange(1, 10))
    before = finest
    for clusters in range(8, 0, -1):
        taken = centroids.cut_ids(merged.tree, merged.live, merged.lookup, clusters)
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
    assert not q[..., 2].any()
    assert seen.names == ("ground", segmenter.names[1], segmenter.names[2])
    np.testing.assert_array_equal(seen.colours, segmenter.colours)
    assert seen.identity != segmenter.identity


def test_a_view_is_read_back_as_it_was_written_and_edited_by_hand(
    segmenter: Segmenter, tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    path, groups = commands.merge(
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
    assert other.exit_code == 2  # those are maps of another view
    labels = "{stem}_labels.*"
    scores = commands.evaluate(str(tiny_run.workdir), labels, view_path=str(path))["scores"]
    again = commands.evaluate(
        str(tiny_run.workdir), labels, [tiny_run.scenes], view_path=str(path)
    )["scores"]
    assert scores == again
    assert scores != commands.evaluate(str(tiny_run.workdir), labels)["scores"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--clusters", "4"], "--clusters=4: expected from 1 to the model's 3 clusters"),
        (["--groups", "1,4"], "expected every cluster from 1 to 3 at most once, found cluster 4"),
        (["--groups", "1,2;2"], "found cluster 2 twice"),
        (["--groups", "1;;2"], "found an empty group"),
        (["--groups", "1-x"], "expected cluster numbers such as 1,2;4-7, found '1-x'"),
        ([], "expected either --clusters or --groups, found neither"),
        (["--groups", "1", "--clusters", "2"], "found both"),
    ],
)
def test_wrong_groups_are_told_in_one_sentence(
    tiny_run: TinyRun, tmp_path: pathlib.Path, options: list[str], told: str
) -> None:
    result = dgc("merge", tiny_run.workdir, *options, "--out", tmp_path / "v.json")
    assert result.exit_code == 2
    assert told in result.output
    assert not (tmp_path / "v.json").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model": "other"}, "expected a view of this model, found one of another"),
        ({"clusters": []}, "expected every cluster from 1 to 3 in one group"),
        ({"clusters": [{"id": 1, "of": [1], "name": " ", "colour": "#000000"}]}, "name ' '"),
        ({"clusters": [{"id": 1, "of": [1], "name": "a", "colour": "red"}]}, "colour 'red'"),
        ({"clusters": [{"id": 2, "of": [1, 2, 3], "name": "a", "colour": "#000000"}]}, "lowest id"),
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
    assert told in str(error.value)
