"""The simulated leaf scenes: their optics, their truth, and how they are kept on disk."""

import dataclasses
import os

import numpy as np
import PIL.Image
import platformdirs.macos
import platformdirs.unix
import pytest
import scipy.ndimage
import tensorstore as ts

from dgc_jax import caches
from dgc_jax.data.simulation import leaves
from dgc_jax.data.simulation import optics as leaf_optics
from dgc_jax.errors import InputError

NM = np.linspace(400.0, 1000.0, 301)
TINY = leaves.Leaves(scenes=2, size=48, healthy=0.5)  # scene 0 is diseased, scene 1 healthy
COARSE = leaves.Leaves(scenes=2, size=48, bands=31, healthy=0.5)


def at(spectrum, nm):
    """A spectrum `[..., band]` on the grid `NM` at one wavelength."""
    return spectrum[..., int(np.argmin(np.abs(NM - nm)))]


def pieces_of_leaf(chlorophyll=(45.0,), brown=0.0, water=0.02, scattering=1.0):
    chlorophyll = np.asarray(chlorophyll)
    same = np.ones_like(chlorophyll)
    return leaf_optics.leaf_reflectance(
        NM,
        chlorophyll=chlorophyll,
        carotenoid=0.2 * chlorophyll,
        water=water * same,
        dry=0.006 * same,
        brown=brown * same,
        scattering=scattering * same,
    )


@pytest.fixture(scope="module")
def scenes():
    """Eight scenes of 96 x 96 pixels with the default parameters."""
    parameters = leaves.Leaves(size=96)
    return [leaves.simulate(index, parameters) for index in range(parameters.scenes)]


@pytest.fixture(scope="module")
def mean_spectra(scenes):
    """Mean spectrum `[band]` of each label value over all scenes."""
    reflectance = np.concatenate([r.reshape(-1, 301) for r, _ in scenes]).astype(np.float64)
    labels = np.concatenate([label.ravel() for _, label in scenes])
    return {value: reflectance[labels == value].mean(axis=0) for value in (1, 2, 3, 4)}


# Optics of a leaf


def test_layer_solves_the_two_flux_equations():
    # Integrate dR/dx = S - 2 (K + S) R + S R^2 from the black support (R = 0) upwards.
    absorption, scattering, steps = 0.7, 1.3, 20_000
    reflectance = 0.0
    for _ in range(steps):
        slope = (
            scattering - 2 * (absorption + scattering) * reflectance + scattering * reflectance**2
        )
        reflectance += slope / steps
    assert leaf_optics.layer_reflectance(
        np.array(absorption), np.array(scattering)
    ) == pytest.approx(reflectance, abs=1e-4)


def test_layer_limits_are_those_of_kubelka_and_munk():
    without_absorption = leaf_optics.layer_reflectance(np.array(1e-9), np.array(1.5))
    assert without_absorption == pytest.approx(1.5 / 2.5, rel=1e-4)
    thick = leaf_optics.layer_reflectance(np.array(40.0), np.array(20.0))
    assert thick == pytest.approx(3 - np.sqrt(8), rel=1e-6)


def test_healthy_leaf_has_a_green_bump_a_red_well_and_a_red_edge():
    spectra = pieces_of_leaf(chlorophyll=(20, 30, 45, 60))
    assert ((spectra >= 0) & (spectra <= 1)).all()
    assert (at(spectra, 550) > 1.5 * at(spectra, 680)).all()
    assert (at(spectra, 550) > 1.5 * at(spectra, 450)).all()
    assert (at(spectra, 850) > 4 * at(spectra, 680)).all()
    window = (NM > 640) & (NM < 800)
    edges = NM[window][np.argmax(np.gradient(spectra[:, window], axis=1), axis=1)]
    assert ((edges > 690) & (edges < 750)).all()
    assert edges[-1] > edges[0]  # more chlorophyll moves the red edge to longer waves


def test_more_of_any_content_never_brightens_a_leaf():
    assert (np.diff(pieces_of_leaf(chlorophyll=(10, 20, 40, 80)), axis=0) <= 1e-6).all()
    assert (pieces_of_leaf(brown=1.0) <= pieces_of_leaf(brown=0.5) + 1e-6).all()
    assert (pieces_of_leaf(water=0.05) <= pieces_of_leaf(water=0.01) + 1e-6).all()


def test_water_dips_near_970_nm_by_its_thickness():
    def dip(water):
        spectrum = pieces_of_leaf(water=water)[0]
        return at(spectrum, 900) - at(spectrum, 970)

    assert dip(0.04) > dip(0.02) > dip(0.0) + 0.005
    assert dip(0.0) < 0.001
    wet = pieces_of_leaf(water=0.04)[0]
    dry = pieces_of_leaf(water=0.0)[0]
    assert NM[np.argmax(dry - wet)] == pytest.approx(972, abs=4)


# Scenes


def test_a_scene_depends_on_its_parameters_and_index_alone():
    once, labels = leaves.simulate(1, COARSE)
    leaves.simulate(0, COARSE)
    np.random.default_rng(5).normal()
    again, labels_again = leaves.simulate(1, COARSE)
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(labels, labels_again)


@pytest.mark.parametrize("change", [{"seed": 1}, {"light": 0.0}, {"lesion_share": 0.04}])
def test_parameters_change_the_scene(change):
    usual, _ = leaves.simulate(0, COARSE)
    changed, _ = leaves.simulate(0, dataclasses.replace(COARSE, **change))
    assert np.abs(usual - changed).max() > 0.02


def test_light_and_bands_leave_the_truth_as_it_is():
    _, labels = leaves.simulate(0, COARSE)
    for change in ({"light": 2.0}, {"bands": 301}):
        np.testing.assert_array_equal(
            leaves.simulate(0, dataclasses.replace(COARSE, **change))[1], labels
        )


@pytest.mark.parametrize(("size", "bands"), [(24, 2), (50, 7), (80, 301)])
def test_any_size_and_number_of_bands(size, bands):
    parameters = leaves.Leaves(scenes=2, size=size, bands=bands)
    reflectance, labels = leaves.simulate(0, parameters)
    assert reflectance.shape == (size, size, bands)
    assert reflectance.dtype == np.float32
    assert labels.shape == (size, size)
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) == {1, 2, 3, 4}
    wavelengths = leaves.wavelengths(parameters)
    assert (wavelengths[0], wavelengths[-1], len(wavelengths)) == (400.0, 1000.0, bands)


def test_reflectance_lies_within_0_and_1(scenes):
    for reflectance, _ in scenes:
        assert reflectance.min() >= 0
        assert reflectance.max() <= 1
        assert (reflectance > 0).any(axis=2).all()  # no pixel looks like missing data


def test_mean_spectra_are_those_of_leaves_lesions_and_black_rubber(mean_spectra):
    flat, textured, healthy, lesion = (mean_spectra[value] for value in (1, 2, 3, 4))
    assert at(healthy, 550) > 1.5 * at(healthy, 680)
    red = (NM > 640) & (NM < 800)
    assert 690 < NM[red][np.argmax(np.gradient(healthy)[red])] < 750
    assert at(healthy, 970) < at(healthy, 900)
    # In the near infrared the lesion lies between conveyor and leaf, in the visible it is as
    # dark as the conveyor.
    near_infrared, visible = NM > 800, (NM > 450) & (NM < 650)
    assert lesion[near_infrared].mean() < 0.6 * healthy[near_infrared].mean()
    assert lesion[near_infrared].mean() > 1.5 * textured[near_infrared].mean()
    assert flat[visible].mean() < textured[visible].mean()
    assert 0.8 * flat[visible].mean() < lesion[visible].mean() < 1.2 * textured[visible].mean()
    assert lesion[visible].mean() < 0.6 * healthy[visible].mean()


def test_texture_and_noise_are_where_they_belong(scenes):
    relief, noise = {1: [], 2: []}, []
    for reflectance, labels in scenes:
        away = scipy.ndimage.distance_transform_edt(labels < 3) > 10  # from leaf and shadow
        for value in (1, 2):
            level = reflectance[away & (labels == value)][:, 25:275].mean(axis=1)  # 450-950 nm
            relief[value].append(level.std() / level.mean())
        flat = reflectance[labels == 1].astype(np.float64)
        noise.append(np.diff(flat, 2, axis=1).std(axis=0))  # smooth spectra: all noise
    assert min(relief[2]) > 1.5 * max(relief[1])
    assert len(relief[1]) == len(relief[2]) == len(scenes)
    noise = np.mean(noise, axis=0)
    assert noise[:5].mean() > 3 * noise[100:200].mean()
    assert noise[-5:].mean() > 3 * noise[100:200].mean()


def test_lesions_lie_inside_leaves_and_have_the_share_asked_for():
    for share in (0.01, 0.02, 0.05):
        parameters = leaves.Leaves(size=64, bands=3, lesion_share=share)
        without = dataclasses.replace(parameters, lesion_share=0.0)
        lesion_pixels = 0
        for index in range(parameters.scenes):
            labels = leaves.simulate(index, parameters)[1]
            labels_without = leaves.simulate(index, without)[1]
            assert (labels_without[labels == 4] == 3).all()
            np.testing.assert_array_equal(labels[labels != 4], labels_without[labels != 4])
            lesion_pixels += (labels == 4).sum()
        assert lesion_pixels / (parameters.scenes * 64**2) == pytest.approx(share, rel=0.01)


@pytest.mark.parametrize(
    ("scene_count", "healthy", "ill"), [(8, 0.25, 6), (5, 0.0, 5), (6, 1 / 3, 4), (4, 1.0, 0)]
)
def test_healthy_scenes_have_no_lesion(scene_count, healthy, ill):
    parameters = leaves.Leaves(scenes=scene_count, size=32, bands=3, healthy=healthy)
    diseased = [
        (leaves.simulate(index, parameters)[1] == 4).any() for index in range(parameters.scenes)
    ]
    assert sum(diseased) == ill


def test_light_differs_between_scenes_by_its_parameter():
    def light(strength):
        parameters = leaves.Leaves(size=24, light=strength)
        return np.stack([leaves.illumination(index, parameters) for index in range(8)])

    np.testing.assert_array_equal(light(0.0), 1.0)
    levels = light(1.0).mean(axis=1)
    tilts = light(1.0)[:, -1] / light(1.0)[:, 0]
    assert levels.std() > 0.05
    assert tilts.std() > 0.03
    assert light(2.0).mean(axis=1).std() > 1.5 * levels.std()


def test_a_scene_is_seen_in_its_light():
    dark = dataclasses.replace(TINY, light=0.0)
    seen = leaves.simulate(0, TINY)[0].mean(axis=(0, 1), dtype=np.float64)
    unlit = leaves.simulate(0, dark)[0].mean(axis=(0, 1), dtype=np.float64)
    np.testing.assert_allclose(seen / unlit, leaves.illumination(0, TINY), rtol=0.01)
    assert np.abs(leaves.illumination(0, TINY) - 1).max() > 0.05


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 8}, r"size of the leaf scenes: expected a number from 24 to 4096, found 8"),
        ({"scenes": 0}, r"scenes of the leaf scenes: expected a number from 1"),
        (
            {"lesion_share": 0.5},
            r"lesion_share of the leaf scenes: expected a number from 0 to 0.08",
        ),
        ({"lesion_share": 0.08, "healthy": 0.8}, r"lower one of them"),
    ],
)
def test_parameters_without_sense_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        leaves.Leaves(**wrong)


# On disk


def modified(folder):
    """Time of the last change of every file below `folder`."""
    return {
        os.path.join(root, name): os.stat(os.path.join(root, name)).st_mtime_ns
        for root, _, names in os.walk(folder)
        for name in names
    }


def read_store(path):
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
    return ts.open(spec, open=True).result()


def test_stored_scene_is_the_simulated_one(tmp_path):
    leaves.write(str(tmp_path), COARSE, progress=False)
    for index in range(2):
        reflectance, labels = leaves.simulate(index, COARSE)
        store = read_store(tmp_path / f"leaf_{index:02d}.zarr")
        stored = store.read().result()
        assert stored.dtype == np.uint16
        np.testing.assert_array_equal(stored, np.round(reflectance * 10000).astype(np.uint16))
        attributes = store.spec().to_json()["metadata"]["attributes"]
        assert attributes["scale"] == 10000
        np.testing.assert_allclose(attributes["wavelengths"], np.linspace(400, 1000, 31))
        with PIL.Image.open(tmp_path / f"leaf_{index:02d}_labels.png") as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), labels)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "leaf_00.zarr",
        "leaf_00_labels.png",
        "leaf_01.zarr",
        "leaf_01_labels.png",
        "leaves.json",
    ]


def test_complete_scenes_are_not_written_again(tmp_path):
    leaves.write(str(tmp_path), COARSE, progress=False)
    before = modified(tmp_path)
    leaves.write(str(tmp_path), COARSE, progress=False)
    assert modified(tmp_path) == before


def test_interrupted_write_leaves_no_half_scene_and_is_repaired(tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    leaves.write(str(whole), COARSE, progress=False)
    folder = tmp_path / "interrupted"
    simulate = leaves.simulate

    def interrupted_at_the_second(index, parameters):
        if index == 1:
            raise KeyboardInterrupt
        return simulate(index, parameters)

    monkeypatch.setattr(leaves, "simulate", interrupted_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        leaves.write(str(folder), COARSE, progress=False)
    assert not (folder / "leaf_01.zarr").exists()
    monkeypatch.undo()

    # A scene without metadata, as after a crash of the machine, and labels that got lost.
    (folder / "leaf_01.zarr" / "c").mkdir(parents=True)
    (folder / "leaf_00_labels.png").unlink()
    leaves.write(str(folder), COARSE, progress=False)
    for index in range(2):
        np.testing.assert_array_equal(
            read_store(folder / f"leaf_{index:02d}.zarr").read().result(),
            read_store(whole / f"leaf_{index:02d}.zarr").read().result(),
        )
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}
    leaves.write(str(folder), COARSE, progress=False)


def test_failure_while_writing_leaves_nothing_behind(tmp_path, monkeypatch):
    def fails(path, *arguments, **keywords):
        os.makedirs(path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(leaves, "create_store", fails)
    with pytest.raises(InputError, match="No space left on device"):
        leaves.write(str(tmp_path), COARSE, progress=False)
    assert not list(tmp_path.glob("*.zarr"))
    assert not list(tmp_path.glob(".*"))


def test_a_scene_that_another_process_finished_first_stays(tmp_path, monkeypatch):
    folder = tmp_path / "shared"
    create_store = leaves.create_store

    def while_another_finishes(path, *arguments, **keywords):
        monkeypatch.undo()
        leaves.write(str(folder), COARSE, progress=False)  # the other process, start to end
        times.update(modified(folder / "leaf_00.zarr"))
        return create_store(path, *arguments, **keywords)

    times = {}
    monkeypatch.setattr(leaves, "create_store", while_another_finishes)
    leaves.write(str(folder), COARSE, progress=False)
    assert times
    assert modified(folder / "leaf_00.zarr") == times
    assert not list(folder.glob(".*"))


def test_folder_of_other_parameters_is_refused(tmp_path):
    leaves.write(str(tmp_path), COARSE, progress=False)
    with pytest.raises(InputError, match="choose another folder"):
        leaves.write(str(tmp_path), dataclasses.replace(COARSE, seed=3), progress=False)
    os.remove(tmp_path / "leaves.json")
    with pytest.raises(InputError, match=r"without the leaves\.json"):
        leaves.write(str(tmp_path), COARSE, progress=False)


def test_ensure_writes_once_to_the_cache_and_names_the_folder(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("DGC_CACHE", str(tmp_path / "cache"))
    folder = leaves.ensure(COARSE)
    assert os.path.dirname(folder) == str(tmp_path / "cache")
    assert folder in capfd.readouterr().err
    before = modified(folder)
    assert leaves.ensure(COARSE) == folder
    assert modified(folder) == before
    assert capfd.readouterr().err == ""
    other = leaves.ensure(dataclasses.replace(COARSE, seed=1), progress=False)
    assert other != folder
    assert capfd.readouterr().err == ""


def test_cache_folder_follows_the_system(monkeypatch):
    monkeypatch.delenv("DGC_CACHE", raising=False)
    monkeypatch.setattr("platformdirs.PlatformDirs", platformdirs.unix.Unix)
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert caches.cache_folder() == "/home/ann/.cache/dgc_jax"
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch/ann")
    assert caches.cache_folder() == "/scratch/ann/dgc_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("platformdirs.PlatformDirs", platformdirs.macos.MacOS)
    assert caches.cache_folder() == "/home/ann/Library/Caches/dgc_jax"


def test_unwritable_cache_is_told_in_one_sentence(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("DGC_CACHE", str(blocked))
    with pytest.raises(InputError, match="set DGC_CACHE to a folder that can be written") as told:
        leaves.ensure(COARSE)
    assert str(blocked) in str(told.value)
