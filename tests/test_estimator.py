"""The estimator is a run by other words, and keeps what scikit-learn asks of one."""

import copy
import pathlib
import pickle

import jax
import numpy as np
import pytest
import sklearn.base
import sklearn.pipeline
import sklearn.utils.validation
import xarray

from dgc_jax import DeepGlobalClustering, InputError, Segmenter, load

GRID = np.linspace(400, 1000, 31)  # nm
SMALL = {
    "clusters.train": 6,
    "clusters.sample": 8,
    "centroids.pixels": 1000,
    "data": {"crop": 16, "sample": 8, "batch": 2},
    "model.iterations": 1,
    "monitor.probes": np.int64(2),
    "train.steps": 3,
    "train.checkpoint_every": 3,
}


def simulated(number: int) -> np.ndarray:
    """24 x 20 pixels of three materials in patches of 4 x 4."""
    rng = np.random.default_rng(number)
    red_edge = 0.05 + 0.4 / (1 + np.exp(-(GRID - 710) / 15))
    rise = 0.05 + 0.4 / (1 + np.exp(-(GRID - 850) / 60))
    materials = np.stack([np.full(31, 0.05), red_edge, rise])
    patches = np.kron(rng.integers(0, 3, (6, 5)), np.ones((4, 4), int))
    noise = 0.01 * rng.standard_normal((24, 20, 31))
    return (materials[patches] + noise).astype(np.float32)


def data_array(numbers: np.ndarray) -> xarray.DataArray:
    coords = {"y": np.arange(24) * 2.0, "wavelength": ("wavelength", GRID / 1000, {"units": "um"})}
    array = xarray.DataArray(numbers, coords, ("y", "x", "wavelength"), name="field")
    return array.transpose("wavelength", "y", "x")


@pytest.fixture(scope="module")
def scenes() -> list[object]:
    return [simulated(1), data_array(simulated(2))]


@pytest.fixture(scope="module")
def fitted(scenes: list[object]) -> DeepGlobalClustering:
    return DeepGlobalClustering(3, seed=7, config=SMALL).fit(scenes, wavelengths=GRID)


@pytest.mark.slow
def test_arrays_and_files_make_the_same_model(
    fitted: DeepGlobalClustering, tmp_path: pathlib.Path
) -> None:
    paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for number, path in enumerate(paths, 1):
        np.save(path, simulated(number))
    workdir = tmp_path / "run"
    other = DeepGlobalClustering(3, seed=7, config=SMALL, workdir=workdir)
    maps = other.fit_predict(paths, wavelengths=GRID)
    assert jax.tree.all(
        jax.tree.map(
            lambda one, two: np.array_equal(one, two), fitted.model_.arrays, other.model_.arrays
        )
    )
    assert (workdir / "report.html").is_file()
    for number, found in enumerate(maps, 1):
        np.testing.assert_array_equal(found, fitted.predict(simulated(number)))
        np.testing.assert_array_equal(found, other.predict(paths[number - 1]))
    with pytest.raises(InputError, match=r"found a run that differs in data\.scenes"):
        other.fit([simulated(1)], wavelengths=GRID)


def test_labels_are_what_the_embeddings_say(
    fitted: DeepGlobalClustering, scenes: list[object]
) -> None:
    numbers = simulated(1)
    numbers[3:6, 4:9] = 0
    labels, z = fitted.predict(numbers), fitted.transform(numbers)
    segmenter = fitted.segmenter_
    assert labels.dtype == np.uint8
    assert z.shape == (24, 20, segmenter.model.centroids.shape[1])
    nearest = np.argmax(z @ np.asarray(segmenter.model.centroids).T, axis=-1)
    valid = numbers.any(2)
    np.testing.assert_array_equal(labels, np.where(valid, segmenter.tree.lookup[nearest], 0))
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), valid, atol=1e-5)
    np.testing.assert_allclose(segmenter.embed(numbers, tile=8), z, atol=1e-5)


def test_a_data_array_comes_back_as_one(fitted: DeepGlobalClustering, scenes: list[object]) -> None:
    plain, labels = fitted.predict([simulated(2), scenes[1]])
    assert isinstance(plain, np.ndarray)
    assert labels.dims == ("y", "x")
    np.testing.assert_array_equal(labels.values, plain)
    np.testing.assert_array_equal(labels.y, np.arange(24) * 2.0)
    assert "wavelength" not in labels.coords
    assert labels.attrs["flag_meanings"] == "no_data cluster_1 cluster_2 cluster_3"
    assert labels.attrs["flag_values"].tolist() == [0, 1, 2, 3]
    z = fitted.transform(scenes[1])
    assert z.dims == ("y", "x", "embedding")
    np.testing.assert_array_equal(z.values, fitted.transform(simulated(2)))
    lazy = fitted.segmenter_.segment(scenes[1].chunk(y=7, wavelength=5))
    xarray.testing.assert_identical(lazy, labels)


def test_another_order_of_wavelengths_changes_nothing(fitted: DeepGlobalClustering) -> None:
    numbers = simulated(1)
    turned = fitted.predict(numbers[:, :, ::-1], wavelengths=GRID[::-1])
    np.testing.assert_array_equal(turned, fitted.predict(numbers))
    with pytest.raises(InputError, match="expected the model's 31 bands, found 30"):
        fitted.predict(numbers[:, :, 1:])


def test_a_model_is_saved_without_pickle(
    fitted: DeepGlobalClustering, tmp_path: pathlib.Path
) -> None:
    fitted.save(tmp_path / "model")
    again = DeepGlobalClustering.load(tmp_path / "model")
    assert (again.clusters, again.seed) == (3, 7)
    labels = fitted.predict(simulated(1))
    np.testing.assert_array_equal(again.predict(simulated(1)), labels)
    np.testing.assert_array_equal(load(tmp_path / "model").segment(simulated(1)), labels)
    assert again.segmenter_.identity == fitted.segmenter_.identity
    assert again.config["train.steps"] == 3
    assert again.config["data.wavelengths"] == GRID.tolist()
    assert not [p for p in (tmp_path / "model").rglob("*") if p.suffix in (".pkl", ".pickle")]
    fitted.save(tmp_path / "model")  # in its own place
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="workdir of a run"):
        fitted.save(tmp_path)
    for refused in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"save\(path\)"):
            refused(fitted)


def test_scikit_learn_clones_and_changes_it(fitted: DeepGlobalClustering) -> None:
    made = sklearn.base.clone(fitted)
    assert made.get_params() == fitted.get_params()
    assert not hasattr(made, "segmenter_")
    with pytest.raises(InputError, match="not fitted"):
        made.predict(simulated(1))
    assert made.set_params(clusters=2, workdir="runs/x") is made
    assert (made.clusters, made.seed, made.workdir) == (2, 7, "runs/x")
    with pytest.raises(InputError, match=r"found 'cluster'; did you mean 'clusters'"):
        made.set_params(cluster=2)
    sklearn.utils.validation.check_is_fitted(fitted)
    assert sklearn.base.is_clusterer(fitted)
    pipeline = sklearn.pipeline.Pipeline([("clusters", fitted)])
    np.testing.assert_array_equal(pipeline.predict(simulated(1)), fitted.predict(simulated(1)))
    assert pipeline.get_params()["clusters__seed"] == 7


def test_what_it_is_fits_on_a_screen(fitted: DeepGlobalClustering) -> None:
    assert repr(DeepGlobalClustering()) == "DeepGlobalClustering()"
    assert repr(DeepGlobalClustering(8, seed=2)) == "DeepGlobalClustering(clusters=8, seed=2)"
    lines = repr(fitted.segmenter_).splitlines()
    assert "3 clusters" in lines[0]
    assert "31 bands of 400 to 1000 nm" in lines[0]
    colour = bytes(fitted.segmenter_.colours[1].tolist()).hex()
    assert lines[1].split() == ["1", f"#{colour}", "cluster", "1"]
    assert len(lines) == 4


def test_many_clusters_of_long_names_fit_too(fitted: DeepGlobalClustering) -> None:
    import dataclasses

    tree = dataclasses.replace(
        fitted.segmenter_.tree,
        names=("leaf " * 40, "", *(f"cluster {k}" for k in range(3, 201))),
        colours=np.zeros((201, 3), np.uint8),
    )
    many = dataclasses.replace(fitted.segmenter_, tree=tree)
    lines = str(many).splitlines()
    assert isinstance(many, Segmenter)
    assert len(lines) < 24
    assert max(map(len, lines)) <= 80
    assert lines[-1].strip() == "and 183 more"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"clusters": 2.5}, "clusters.final: expected a whole number from 1 to 255, found 2.5"),
        ({"clusters": 0}, "clusters.final: expected a number from 1"),
        ({"seed": "a"}, "seed: expected a whole number .*, found 'a'"),
        (
            {"config": {"train.step": 3}},
            "train.step: there is no such field; did you mean 'train.steps'",
        ),
        ({"config": {"steps": 3}}, "steps: there is no such field; did you mean 'train.steps'"),
        ({"config": {"train": {"steps": "many"}}}, "train.steps: expected a whole number"),
        ({"config": {"clusters.final": 3}}, "give clusters= instead"),
        ({"config": {"data.scenes": "x"}}, r"give the scenes to fit\(\) instead"),
        ({"config": "train.steps=3"}, "expected a configuration"),
    ],
)
def test_impossible_parameters_are_refused_before_scenes_are_read(
    arguments: dict[str, object], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        DeepGlobalClustering(**arguments).fit(None)


def test_no_scene_is_refused() -> None:
    with pytest.raises(InputError, match="expected a path, a Cube"):
        DeepGlobalClustering().fit(None)
    with pytest.raises(InputError, match="shape"):
        DeepGlobalClustering().fit(np.zeros((8, 4)))
    with pytest.raises(InputError, match=r"scenes: expected paths, folders or globs, found none"):
        DeepGlobalClustering().fit([])
