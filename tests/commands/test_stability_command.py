"""`dgc stability`: what it writes and shows of seeds, against scikit-learn and counting by hand."""

import io
import itertools
import json
import pathlib
import re
import shutil
import sys
import time
from typing import Any, NamedTuple

import matplotlib.figure
import numpy as np
import PIL.Image
import pytest
import rich.console
from conftest import ROOT, TinyRun, dgc
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from dgc_jax import InputError, configuration, load, manifest
from dgc_jax.apply import view
from dgc_jax.commands import stability as agreement
from dgc_jax.config import configure
from dgc_jax.show.stability import plot_stability, print_stability

# config_flags imports configuration files in a way that Python 3.11 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

CONFIG = str(ROOT / "configs" / "dgc4.py:tiny")


def fields(tiny_run: TinyRun, **changes: object) -> list[str]:
    finer = {"clusters__final": 5}  # all else as in `tiny_run`, whose compiled programs it shares
    return tiny_run.flags(**finer, **changes)


class Compared(NamedTuple):
    """Three seeds, compared by the command.

    Attributes:
        folder: of all of it.
        result: content of `stability.json`.
        shown: what was printed.
    """

    folder: pathlib.Path
    result: dict[str, Any]
    shown: str

    def maps(self, clusters: int) -> np.ndarray:
        """`[seed, pixel]` labels at a level, of all scenes, from the PNG files of the runs."""
        merged = []
        for seed in self.result["seeds"]:
            model = load(str(self.folder / seed["workdir"]))
            table = view.of_shown(model, view.cut(model, clusters))
            merged.append(table[pixels(self.folder / seed["workdir"] / "maps", self.result)])
        return np.array(merged)

    @property
    def colours(self) -> np.ndarray:
        """Those of the ids of the reference."""
        seed = self.result["seeds"][self.reference]
        return load(str(self.folder / seed["workdir"])).tree.leaf_colours

    @property
    def reference(self) -> int:
        return [seed["seed"] for seed in self.result["seeds"]].index(
            self.result["reference"]["seed"]
        )


def pixels(folder: pathlib.Path, result: dict[str, Any], ending: str = "") -> np.ndarray:
    """All pixels of the pictures of all scenes in a folder."""
    paths = [folder / f"{scene}{ending}.png" for scene in result["scenes"]]
    return np.concatenate([np.asarray(PIL.Image.open(path)).ravel() for path in paths])


@pytest.fixture(scope="module")
def compared(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    folder = tmp_path_factory.mktemp("stability")
    done = dgc("stability", CONFIG, "--seeds", 3, "--workdir", folder, *fields(tiny_run))
    assert done.exit_code == 0, done.output
    result = json.loads((folder / "stability.json").read_text(encoding="utf-8"))
    return Compared(folder, result, done.output)


def test_json_has_what_scikit_learn_says_of_the_maps_at_every_level(compared: Compared) -> None:
    assert [level["clusters"] for level in compared.result["levels"]] == [2, 3, 4, 5]
    for level in compared.result["levels"]:
        maps = compared.maps(level["clusters"])
        for key, score in (
            ("ari", adjusted_rand_score),
            ("nmi", normalized_mutual_info_score),
        ):
            expected = {(i, j): score(maps[i], maps[j]) for i, j in ((0, 1), (0, 2), (1, 2))}
            found = {tuple(pair["seeds"]): pair["value"] for pair in level[key]["pairs"]}
            assert found == pytest.approx(expected, abs=1e-12)
            assert level[key]["mean"] == pytest.approx(np.mean(list(expected.values())))
            assert level[key]["min"] == pytest.approx(min(expected.values()))


def test_reference_is_the_medoid_and_is_named_with_its_model(compared: Compared) -> None:
    maps = compared.maps(5)
    mean = [
        np.mean([adjusted_rand_score(maps[i], maps[j]) for j in range(3) if j != i])
        for i in range(3)
    ]
    assert compared.reference == np.argmax(mean)
    reference = compared.result["reference"]
    assert load(str(compared.folder / reference["workdir"])).identity == reference["model"]
    found = [seed["mean_ari"] for seed in compared.result["seeds"]]
    assert found == pytest.approx(mean, abs=1e-12)


def test_the_report_of_the_reference_has_the_curve(compared: Compared) -> None:
    reference = compared.folder / compared.result["reference"]["workdir"]
    text = (reference / "report.html").read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert data
    assert json.loads(data[1])["stability"] == compared.result


def test_stability_of_each_cluster_is_its_mean_best_overlap(compared: Compared) -> None:
    finest = compared.maps(max(level["clusters"] for level in compared.result["levels"]))
    for level in compared.result["levels"]:
        maps, me = compared.maps(level["clusters"]), compared.reference
        ids = [cluster["id"] for cluster in level["per_cluster"]]
        assert sorted(ids) == np.unique(maps[me]).tolist()
        for cluster in level["per_cluster"]:
            mine = maps[me] == cluster["id"]
            assert cluster["of"] == np.unique(finest[me][mine]).tolist()
            best = [
                max(
                    np.sum(mine & (maps[other] == k)) / np.sum(mine | (maps[other] == k))
                    for k in np.unique(maps[other])
                )
                for other in range(3)
                if other != me
            ]
            assert cluster["stability"] == pytest.approx(np.mean(best), abs=1e-12)
            assert cluster["worst"] == pytest.approx(min(best), abs=1e-12)
            assert cluster["pixels"] == np.count_nonzero(mine)
            assert cluster["percent"] == pytest.approx(100 * np.mean(mine))
            red, green, blue = compared.colours[cluster["id"]]
            assert cluster["colour"] == f"#{red:02x}{green:02x}{blue:02x}"


def test_consensus_is_the_vote_of_all_ways_to_match_tried(compared: Compared) -> None:
    for level in compared.result["levels"]:
        k, me = level["clusters"], compared.reference
        maps = compared.maps(k)
        ids = np.unique(maps[me])
        cast = [maps[me]]
        for other in (m for m in range(3) if m != me):
            theirs = np.unique(maps[other])
            renamed = []
            for order in itertools.permutations(ids):
                table = np.zeros(6, int)
                table[theirs] = order
                renamed.append(table[maps[other]])
            cast.append(max(renamed, key=lambda labels: np.sum(labels == maps[me])))
        votes = np.array(cast)
        counts = np.array([np.sum(votes == votes[m], axis=0) for m in range(3)])
        expected = np.where(counts.max(0) == counts[0], votes[0], votes[1])
        folder = compared.folder / "consensus" / str(k)
        assert level["consensus"]["maps"] == f"consensus/{k}"
        np.testing.assert_array_equal(pixels(folder, compared.result), expected)
        share = counts.max(0) / 3
        np.testing.assert_array_equal(
            pixels(folder, compared.result, "_agreement"), np.round(255 * share)
        )
        assert level["consensus"]["agreement"] == pytest.approx(share.mean())
        assert level["consensus"]["unanimous"] == pytest.approx(np.mean(counts.max(0) == 3))
    with PIL.Image.open(folder / f"{compared.result['scenes'][0]}.png") as picture:
        colours = np.array(picture.getpalette(), np.uint8).reshape(-1, 3)
    np.testing.assert_array_equal(colours[1:6], compared.colours[1:6])


def test_table_shows_every_level_and_the_last_line_what_to_do(compared: Compared) -> None:
    for level in compared.result["levels"]:
        row = next(
            line
            for line in compared.shown.splitlines()
            if line.startswith("│") and line.split("│")[1].strip() == str(level["clusters"])
        )
        cells = [cell.strip() for cell in row.split("│")]
        expected = [level[key][which] for key in ("ari", "nmi") for which in ("mean", "min")]
        assert cells[2:6] == [f"{value:.3f}" for value in expected]
        least = min(level["per_cluster"], key=lambda cluster: cluster["stability"])
        assert cells[7] == f"{least['id']}: {least['stability']:.2f}"
    last = compared.shown.splitlines()[-1]
    workdir = compared.folder / compared.result["reference"]["workdir"]
    clusters = compared.result["suggested"]["clusters"]
    todo = f"merge {workdir} --clusters {clusters}" if clusters < 5 else f"segment {workdir}"
    assert last.startswith(f"Use it: dgc {todo}")


def test_picture_shows_the_numbers_of_the_json(
    compared: Compared, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    write = matplotlib.figure.Figure.savefig

    def savefig(figure: matplotlib.figure.Figure, *arguments: Any, **options: Any) -> None:
        drawn.append(figure)
        write(figure, *arguments, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", savefig)
    suggested = {**compared.result["suggested"], "clusters": 3}
    plot_stability(tmp_path / "s.png", {**compared.result, "suggested": suggested})
    levels = compared.result["levels"]
    curves, *bars = drawn[0].axes
    lines = {line.get_label(): line.get_ydata() for line in curves.lines}
    for label, key, which in (
        ("ARI, mean", "ari", "mean"),
        ("ARI, worst pair", "ari", "min"),
        ("NMI, mean", "nmi", "mean"),
        ("NMI, worst pair", "nmi", "min"),
    ):
        np.testing.assert_array_equal(lines[label], [level[key][which] for level in levels])
    for plot, level in zip(bars, (levels[1], levels[3]), strict=True):
        heights = [patch.get_height() for patch in plot.patches]
        assert heights == [cluster["stability"] for cluster in level["per_cluster"]]
    with PIL.Image.open(tmp_path / "s.png") as picture:
        assert picture.size == (1350, 1050)


def test_a_cluster_without_pixels_is_shown_as_none(
    compared: Compared, tmp_path: pathlib.Path
) -> None:
    result = json.loads(json.dumps(compared.result))
    empty = result["levels"][-1]["per_cluster"][0]
    empty.update(pixels=0, percent=0, stability=None, worst=None)
    plot_stability(tmp_path / "s.png", result)
    shown = io.StringIO()
    print_stability(result, rich.console.Console(file=shown, width=120))
    assert f" {empty['id']}: " not in shown.getvalue().splitlines()[-3]


def test_rerun_trains_nothing_and_writes_the_same(compared: Compared, tiny_run: TinyRun) -> None:
    written = (compared.folder / "stability.json").read_bytes()
    logs = sorted(compared.folder.glob("seed-*/metrics.jsonl"))
    before = [path.stat().st_mtime_ns for path in logs]
    call = ["stability", CONFIG, *fields(tiny_run), "--workdir", compared.folder, "--seeds", 3]
    done = dgc(*call)
    assert done.exit_code == 0
    assert done.output.count("is finished already") == len(before) == 3
    assert [path.stat().st_mtime_ns for path in logs] == before
    assert (compared.folder / "stability.json").read_bytes() == written


@pytest.mark.slow
def test_seeds_at_once_give_the_same_as_in_turn(
    compared: Compared,
    tiny_run: TinyRun,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_turn, at_once = tmp_path / "in_turn", tmp_path / "at_once"
    shutil.copytree(compared.folder, in_turn)
    call = ["stability", CONFIG, "--seeds", 2, *fields(tiny_run), "--workdir"]
    assert dgc(*call, in_turn).exit_code == 0
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "2")  # as in this process, see conftest.py
    done = dgc(*call, at_once, "--at-once", 2)
    assert done.exit_code == 0, done.output
    files = ["stability.json", "consensus/2/leaf_00.png", "consensus/5/leaf_01_agreement.png"]
    for name in files:
        assert (at_once / name).read_bytes() == (in_turn / name).read_bytes(), name
    assert "Stopped because" in (at_once / "seed-1.log").read_text(encoding="utf-8")


def test_process_that_finds_bad_input_ends_the_command_with_its_words_and_status_2(
    compared: Compared, tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    shutil.copytree(compared.folder / "seed-0", tmp_path / "seed-1")  # another configuration's
    call = ["stability", CONFIG, "--seeds", 2, "--workdir", tmp_path, "--at-once", 2]
    begun = time.monotonic()
    done = dgc(*call, *fields(tiny_run, train__steps=10**6))
    assert done.exit_code == 2
    told = done.stderr.splitlines()[-1]
    assert told.startswith(f"dgc: seed 1: --workdir={tmp_path / 'seed-1'}: expected a new folder")
    assert "seed (0 there, 1 here)" in told
    assert time.monotonic() - begun < 200  # the other one, which would take hours, is ended
    assert not (tmp_path / "stability.json").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([CONFIG, "--seeds", "1"], "--seeds: expected a number from 2 to 255, found 1."),
        ([CONFIG, "--seeds", "2", "--at-once", "0"], "--at-once: expected a number from 1 to 255"),
        (["none.py", "--seeds", "2"], "CONFIG: expected a configuration file"),
        ([f"{CONFIG}er", "--seeds", "2"], "expected no variant or ':tiny'"),
        ([CONFIG, "--seeds", "2", "--config.train.stepz=1"], "did you mean 'train.steps'?"),
        ([CONFIG, "--seeds", "2", "--config.train.steps=many"], "train.steps"),
        ([CONFIG, "--seeds", "2", "--wrokdir=x"], "Unknown command line flag 'wrokdir'"),
        ([CONFIG, "--seeds", "2", "scene.hdr"], "found 'scene.hdr'"),
        ([CONFIG, "--seeds", "2", "--config.clusters.final=1"], "clusters.final: expected at"),
        ([CONFIG, "--seeds", "2", "--config.data.scenes=nowhere"], "nowhere"),
        (
            [CONFIG, "--seeds", "2", "--at-once", "2", "--config.data.scenes=nowhere"],
            "nowhere",
        ),
    ],
)
def test_bad_usage_is_told_in_one_line_and_exits_with_2(
    tmp_path: pathlib.Path, arguments: list[str], told: str
) -> None:
    done = dgc("stability", *arguments, "--workdir", tmp_path / "runs")
    assert done.exit_code == 2
    assert done.stderr.startswith("dgc: ")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs" / "stability.json").exists()


def test_scenes_whose_consensus_maps_would_overwrite_one_another_are_refused(
    tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    for name in ("a", "a_agreement"):
        np.save(tmp_path / f"{name}.npy", np.ones((4, 4, 3), np.float32))
    changed = [*fields(tiny_run), f"--config.data.scenes={tmp_path / '*.npy'}"]
    done = dgc("stability", CONFIG, "--seeds", 2, "--workdir", tmp_path / "runs", *changed)
    assert done.exit_code == 2
    assert "found consensus/2/a_agreement.png to be one of" in done.stderr
    assert not (tmp_path / "runs" / "seed-0").exists()


def test_everything_written_is_in_a_manifest_that_says_it_is_finished(compared: Compared) -> None:
    records = manifest.read(compared.folder)["stability"]["all"]
    assert records.finished
    models = [seed["model"] for seed in compared.result["seeds"]]
    assert records.made_from["models"] == models
    written = {
        str(path.relative_to(compared.folder)): path.stat().st_size
        for path in compared.folder.rglob("*")
        if path.is_file() and "seed-" not in str(path.relative_to(compared.folder))
    }
    del written["manifest.json"]
    assert records.files == written
    reference = compared.folder / compared.result["reference"]["workdir"]
    assert manifest.why_unfinished(reference, "report", "report.html", None) is None


def test_maps_that_were_deleted_are_asked_for(
    compared: Compared, tiny_run: TinyRun, tmp_path: pathlib.Path
) -> None:
    shutil.copytree(compared.folder, tmp_path / "copy")
    (tmp_path / "copy" / "seed-2" / "maps" / "leaf_01.hdr").unlink()
    config = configuration.read(CONFIG, fields(tiny_run))
    quiet = rich.console.Console(quiet=True)
    with pytest.raises(InputError, match=r"seed-2/maps: expected the .* none of leaf_01 \("):
        agreement.measure(config, str(tmp_path / "copy"), range(3), quiet)


def test_configuration_is_read_as_launch_does_from_any_folder(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from configs import dgc4

    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    found = configuration.read(
        CONFIG,
        ["--config.seed", "4", "--config.data.classes=('a','b')", "--config.loss.anchor=2"],
    )
    expected = dgc4.get_config("tiny")
    expected.update_from_flattened_dict({"seed": 4, "data.classes": ("a", "b"), "loss.anchor": 2.0})
    assert found == configure(expected)
    assert sys.path == before
    assert configuration.name(CONFIG) == "dgc4-tiny"
    assert configuration.name("configs/dgc16.py") == "dgc16"
