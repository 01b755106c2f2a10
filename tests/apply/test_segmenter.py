"""A finished model at work: tiles, probabilities, and what it refuses."""

import dataclasses
import json
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TinyRun

from dgc_jax import Cube, InputError, Segmenter, load, open_cube
from dgc_jax.apply import view
from dgc_jax.apply.saved_model import FORMAT, load_model, save_model
from dgc_jax.data.simulation import leaves
from dgc_jax.model import normalisation, tree
from dgc_jax.model.model import Model
from dgc_jax.train import loop, options

GRID = np.linspace(400.0, 1000.0, 301)  # nm, of the model


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Cube:
    """150 x 133 pixels of leaves, with a hole across the seams of tiles of 32, 64 and 100."""
    reflectance, _ = leaves.simulate(0, leaves.Leaves(size=150, seed=5))
    reflectance = np.ascontiguousarray(reflectance[:, :133])
    reflectance[58:70, 20:110] = 0
    reflectance[90:105, 95:101] = 0
    path = tmp_path_factory.mktemp("scene") / "scene.npy"
    np.save(path, reflectance)
    return open_cube(path)


@pytest.fixture(scope="module")
def whole(segmenter: Segmenter, scene: Cube) -> np.ndarray:
    """Its labels, predicted as one image."""
    reflectance, valid = scene.read(0, 0, 150, 133)
    return np.array(segmenter.predict(reflectance[None], valid[None]))[0]


@pytest.mark.parametrize("tile", [32, 64, 100, None])
def test_tiles_give_the_labels_of_the_whole_image(
    unmerged: Segmenter, scene: Cube, tile: int | None
) -> None:
    reflectance, valid = scene.read(0, 0, 150, 133)
    whole = np.array(unmerged.predict(reflectance[None], valid[None]))[0]
    labels = unmerged.segment(scene, tile)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, whole)
    # The test can fail: labels at the seams do depend on what lies beyond them.
    if tile:
        cut = np.array(unmerged.predict(reflectance[None, :tile, :tile], valid[None, :tile, :tile]))
        assert np.any(cut[0] != whole[:tile, :tile])


def test_doubt_of_tiles_is_that_of_the_whole_image(segmenter: Segmenter, scene: Cube) -> None:
    reflectance, valid = scene.read(0, 0, 150, 133)
    shares = np.asarray(segmenter.probabilities(reflectance[None], valid[None]))[0]
    two = np.sort(shares, axis=-1)[..., -2:]
    constants = segmenter.model.normalisation
    spectra = normalisation.to_bins(jnp.where(valid[None, ..., None], reflectance, 0), constants)
    scaled = normalisation.normalise(spectra, constants)
    _, z = segmenter.model.embed(scaled, jnp.asarray(valid)[None])
    cosines = np.asarray(z, np.float64)[0] @ np.asarray(segmenter.model.centroids, np.float64).T
    seen = 0
    plain = segmenter.walk(scene, 64)
    for tile, without in zip(segmenter.walk(scene, 64, confidence=True), plain, strict=True):
        height, width = tile.labels.shape
        at = np.s_[tile.row : tile.row + height, tile.column : tile.column + width]
        assert tile.confidence is not None
        assert without.confidence is None
        np.testing.assert_array_equal(tile.labels, without.labels)
        np.testing.assert_allclose(tile.confidence.probabilities, shares[at], atol=1e-5)
        np.testing.assert_allclose(
            tile.confidence.margin, (two[..., 1] - two[..., 0])[at], atol=2e-5
        )
        expected = np.where(valid, cosines.max(axis=-1), 0)[at]
        np.testing.assert_allclose(tile.confidence.similarity, expected, atol=1e-5)
        seen += tile.labels.size
    assert seen == valid.size


def test_the_finest_level_of_tiles_is_that_of_a_view_of_it(
    segmenter: Segmenter, scene: Cube
) -> None:
    seen = view.apply(segmenter, view.cut(segmenter, segmenter.finest))
    pairs = zip(
        segmenter.walk(scene, 64, finest=True, confidence=True),
        seen.walk(scene, 64, confidence=True),
        segmenter.walk(scene, 64, confidence=True),
        strict=True,
    )
    for tile, fine, plain in pairs:
        assert tile.finest is not None
        assert fine.finest is None
        np.testing.assert_array_equal(tile.finest.labels, fine.labels)
        np.testing.assert_allclose(
            tile.finest.probabilities, fine.confidence.probabilities, atol=1e-6
        )
        np.testing.assert_array_equal(tile.labels, segmenter.tree.shown[tile.finest.labels])
        for mine, theirs in zip(tile.confidence, plain.confidence, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_a_blank_tile_has_a_finest_level_of_nothing(
    segmenter: Segmenter, tmp_path: pathlib.Path
) -> None:
    np.save(tmp_path / "blank.npy", np.zeros((20, 20, 301), np.float32))
    (tile,) = segmenter.walk(open_cube(tmp_path / "blank.npy"), confidence=True, finest=True)
    assert tile.finest.labels.shape == (20, 20)
    assert tile.finest.labels.dtype == np.uint8
    assert tile.finest.probabilities.shape == (20, 20, segmenter.finest)
    assert not np.any(tile.finest.labels)
    assert not np.any(tile.finest.probabilities)


@pytest.mark.parametrize("count", [1, 3, 40])
def test_parts_share_the_tiles_out_and_cover_the_scene_once(
    segmenter: Segmenter, scene: Cube, whole: np.ndarray, count: int
) -> None:
    corners, painted = [], np.zeros((150, 133), int)
    for index in range(count):
        mine = []
        for row, column, labels in segmenter.tiles(scene, 64, part=(index, count)):
            height, width = labels.shape
            assert labels.dtype == np.uint8
            np.testing.assert_array_equal(
                labels, whole[row : row + height, column : column + width]
            )
            painted[row : row + height, column : column + width] += 1
            mine.append((row, column))
        corners.append(mine)
    every = [(row, column) for row in (0, 64, 128) for column in (0, 64, 128)]
    assert corners == [every[index::count] for index in range(count)]
    assert np.all(painted == 1)


def test_tile_without_data_is_zero(segmenter: Segmenter, tmp_path: pathlib.Path) -> None:
    reflectance = np.zeros((40, 30, 301), np.float32)
    reflectance[20:] = np.random.default_rng(0).uniform(0.1, 0.9, (20, 30, 301))
    np.save(tmp_path / "half.npy", reflectance)
    tiles = list(segmenter.tiles(open_cube(tmp_path / "half.npy"), 12))
    assert len(tiles) == 4 * 3
    for row, column, labels in tiles:
        expected = reflectance[row : row + 12, column : column + 12].any(axis=2)
        np.testing.assert_array_equal(labels > 0, expected)


def test_pixels_are_labelled_exactly_where_there_are_data(
    segmenter: Segmenter, scene: Cube, whole: np.ndarray
) -> None:
    _, valid = scene.read(0, 0, 150, 133)
    assert np.count_nonzero(~valid) == 12 * 90 + 15 * 6
    np.testing.assert_array_equal(whole > 0, valid)
    assert whole.max() <= segmenter.clusters


def test_scene_without_data_has_only_zeros(segmenter: Segmenter, tmp_path: pathlib.Path) -> None:
    np.save(tmp_path / "empty.npy", np.zeros((40, 30, 301), np.float32))
    labels = segmenter.segment(open_cube(tmp_path / "empty.npy"))
    np.testing.assert_array_equal(labels, np.zeros((40, 30)))


def test_labels_are_those_of_the_nearest_centroid(segmenter: Segmenter, scene: Cube) -> None:
    reflectance, valid = (array[None] for array in scene.read(40, 10, 64, 64))
    constants = segmenter.model.normalisation
    spectra = normalisation.normalise(normalisation.to_bins(reflectance, constants), constants)
    _, z = jax.jit(Model.embed)(segmenter.model, spectra, valid)
    cosines = np.asarray(z, np.float64) @ np.asarray(segmenter.model.centroids, np.float64).T
    expected = np.where(valid, np.asarray(segmenter.tree.lookup)[cosines.argmax(-1)], 0)
    labels = np.asarray(segmenter.predict(reflectance, valid))
    assert np.mean(labels == expected) > 0.999  # ties apart


def test_probabilities_sum_to_one_and_gather_the_merged_centroids(
    segmenter: Segmenter, scene: Cube
) -> None:
    reflectance, valid = (array[None] for array in scene.read(40, 10, 64, 64))
    found = np.asarray(segmenter.probabilities(reflectance, valid))
    assert found.shape == (1, 64, 64, segmenter.clusters)
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(-1), valid.astype(float), atol=1e-5)

    constants = segmenter.model.normalisation
    spectra = normalisation.normalise(normalisation.to_bins(reflectance, constants), constants)
    _, z = jax.jit(Model.embed)(segmenter.model, spectra, valid)
    logits = np.asarray(z, np.float64) @ np.asarray(segmenter.model.centroids, np.float64).T
    q = np.exp((logits - logits.max(-1, keepdims=True)) / segmenter.model.temperature)
    q /= q.sum(-1, keepdims=True)
    for cluster in range(1, segmenter.clusters + 1):
        expected = q[..., np.asarray(segmenter.tree.lookup) == cluster].sum(-1)
        np.testing.assert_allclose(found[valid][:, cluster - 1], expected[valid], atol=1e-3)


def test_validity_is_found_out_when_it_is_not_given(segmenter: Segmenter, scene: Cube) -> None:
    reflectance, valid = (array[None] for array in scene.read(40, 10, 64, 64))
    with_nan = np.where(valid[..., None], reflectance, np.nan)
    expected = segmenter.predict(reflectance, valid)
    np.testing.assert_array_equal(segmenter.predict(reflectance), expected)
    np.testing.assert_array_equal(segmenter.predict(with_nan), expected)


@pytest.mark.parametrize("shape", [(1, 16, 16, 300), (16, 16, 301), (2, 2, 16, 16, 301)])
def test_batch_of_another_shape_is_refused(segmenter: Segmenter, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected a batch \[batch, row, column, 301 bands\]"):
        segmenter.predict(np.zeros(shape, np.float32))


def test_ids_go_from_dark_to_bright_on_the_training_sample(
    tiny_run: TinyRun, segmenter: Segmenter
) -> None:
    config = tiny_run.config()
    crops, valid = loop.sample_crops(config, options.scenes(config))
    labels = np.asarray(segmenter.predict(crops, valid))
    binned = crops @ np.asarray(segmenter.model.normalisation.bins)
    brightness = [binned[labels == k].mean() for k in range(1, segmenter.clusters + 1)]
    assert segmenter.clusters == 3
    assert brightness == sorted(brightness)


def test_loading_keeps_ids_colours_and_classes(tiny_run: TinyRun, segmenter: Segmenter) -> None:
    about = load_model(str(tiny_run.workdir)).about
    again = load(str(tiny_run.workdir))
    np.testing.assert_array_equal(segmenter.tree.lookup, about["lookup"])
    np.testing.assert_array_equal(again.tree.lookup, segmenter.tree.lookup)
    assert sorted(set(about["lookup"])) == [1, 2, 3]
    np.testing.assert_array_equal(again.tree.leaves, about["leaves"])
    assert sorted(again.tree.leaves[again.tree.live]) == list(range(1, len(again.tree.live) + 1))
    assert again.finest == len(again.tree.live) == len(again.tree.leaf_colours) - 1
    np.testing.assert_array_equal(again.tree.shown[again.tree.leaves], again.tree.lookup)
    assert again.tree.shown.tolist()[:4] == [0, 1, 2, 3]
    assert again.colours.shape == (4, 3)
    assert again.names == ("cluster 1", "cluster 2", "cluster 3")
    assert again.classes == leaves.CLASSES
    assert again.background == leaves.BACKGROUND
    assert again.identity == segmenter.identity
    np.testing.assert_allclose(again.wavelengths, GRID)
    # The tree is kept: cut at three, it gives the groups that the ids name.
    groups = tree.cut_tree(np.array(about["tree"]), 3)
    ids = np.array(about["lookup"])[about["live"]]
    assert len({(group, id_) for group, id_ in zip(groups, ids, strict=True)}) == 3


def test_model_of_an_earlier_version_has_no_residuals_and_no_finer_level(
    tiny_run: TinyRun, segmenter: Segmenter, scene: Cube, tmp_path: pathlib.Path
) -> None:
    model = load_model(str(tiny_run.workdir))
    params = model.arrays["params"]
    residuals = {name: params["encoder"][name] for name in ("turn", "blend")}
    assert all(np.any(residual) for residual in residuals.values())
    fewer = {name: v for name, v in params["encoder"].items() if name not in residuals}
    arrays = {**model.arrays, "params": {**params, "encoder": fewer}}
    about = {name: v for name, v in model.about.items() if name not in ("leaves", "agreement")}
    about |= {"names": about["names"][:3], "colours": about["colours"][:4]}
    save_model(str(tmp_path), model._replace(arrays=arrays, about=about))
    old = load(str(tmp_path))
    assert old.finest == old.clusters == 3
    encoder = {**params["encoder"], **{n: 0 * v for n, v in residuals.items()}}
    model = segmenter.model.replace(params={**params, "encoder": encoder})
    plain = dataclasses.replace(segmenter, model=model)
    reflectance, valid = (array[None] for array in scene.read(40, 10, 64, 64))
    np.testing.assert_array_equal(
        old.predict(reflectance, valid), plain.predict(reflectance, valid)
    )


def test_models_say_their_format_and_one_of_a_later_version_is_refused(
    tiny_run: TinyRun, segmenter: Segmenter, scene: Cube, tmp_path: pathlib.Path
) -> None:
    save_model(str(tmp_path), load_model(str(tiny_run.workdir)))
    path = tmp_path / "checkpoints" / "model" / "about.json"
    about = json.loads(path.read_text())
    assert about["format"] == FORMAT
    without = {name: value for name, value in about.items() if name != "format"}
    path.write_text(json.dumps(without))  # as before there were versions
    old = load(str(tmp_path))
    assert old.identity == segmenter.identity
    np.testing.assert_array_equal(old.segment(scene), segmenter.segment(scene))
    path.write_text(json.dumps({"format": FORMAT + 1}))  # the rest may be otherwise
    with pytest.raises(InputError, match=f"found one of format {FORMAT + 1}, .* update dgc_jax"):
        load(str(tmp_path))


def test_model_works_on_another_device_than_it_was_trained_on(
    tiny_run: TinyRun, segmenter: Segmenter, scene: Cube
) -> None:
    reflectance, valid = (array[None] for array in scene.read(40, 10, 64, 64))
    expected = segmenter.predict(reflectance, valid)
    with jax.default_device(jax.devices()[1]):
        labels = load(str(tiny_run.workdir)).predict(reflectance, valid)
    assert labels.devices() == {jax.devices()[1]}
    np.testing.assert_array_equal(labels, expected)


def test_model_does_not_need_the_configuration_file(
    tiny_run: TinyRun, segmenter: Segmenter, tmp_path: pathlib.Path
) -> None:
    os.symlink(tiny_run.workdir / "checkpoints", tmp_path / "checkpoints")
    assert load(str(tmp_path)).identity == segmenter.identity


def test_folder_that_is_no_run_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="expected the workdir of a finished run, found none"):
        load(str(tmp_path))


def test_run_that_has_not_finished_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"seed": 0}))
    with pytest.raises(InputError, match="a run that has not finished; repeat its command"):
        load(str(tmp_path))
