"""What several walks of parts of a scene gather is, merged, what one walk of it all gathers."""

import json
import pathlib

import numpy as np
import pytest
from conftest import TinyRun

from dgc_jax import InputError, Segmenter
from dgc_jax.apply import gather
from dgc_jax.apply.gather import TileSpectra
from dgc_jax.data.scenes import Scene, open_scenes
from dgc_jax.show.maps import Quicklook
from dgc_jax.show.portrait import Portrait

SIDE, PARTS = 20, 3  # six tiles of a scene of 48 x 48


@pytest.fixture(scope="module")
def scene(tiny_run: TinyRun) -> Scene:
    return open_scenes([tiny_run.scenes])[0]


def begin(segmenter: Segmenter, scene: Scene) -> dict[str, gather.Accumulator]:
    cube = segmenter.adapt(scene.cube)
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, 0.6, (segmenter.clusters, segmenter.bands))
    return {
        "look": Quicklook(cube.shape, cube.wavelengths),
        "spectra": TileSpectra(segmenter.clusters, segmenter.bands),
        "portrait": Portrait(segmenter, scene, 1, centres),
    }


def walked(
    segmenter: Segmenter, scene: Scene, part: tuple[int, int]
) -> dict[str, gather.Accumulator]:
    found = begin(segmenter, scene)
    tiles = segmenter.walk(scene.cube, SIDE, part=part, confidence=True, finest=True)
    gather.feed(tiles, list(found.values()))
    return found


def test_parts_merged_through_files_are_the_whole(
    segmenter: Segmenter, scene: Scene, tmp_path: pathlib.Path
) -> None:
    whole = walked(segmenter, scene, (0, 1))
    parts = [walked(segmenter, scene, (index, PARTS)) for index in range(PARTS)]
    merged = parts[1]  # whoever writes begins with its own
    for index in (0, 2):
        path = str(tmp_path / ".leaf.parts" / f"{index}.npz")
        gather.write(path, parts[index])
        gather.absorb(path, merged)

    np.testing.assert_array_equal(merged["look"].finish(), whole["look"].finish())
    one, other = merged["spectra"].spectra, whole["spectra"].spectra
    np.testing.assert_array_equal(one.count, other.count)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-12)
    np.testing.assert_allclose(one.squares, other.squares, rtol=1e-9, atol=1e-9)
    ours, theirs = (each["portrait"] for each in (merged, whole))
    assert json.dumps(ours.as_json()) == json.dumps(theirs.as_json())
    np.testing.assert_array_equal(ours.rival, theirs.rival)
    assert ours.unlike == theirs.unlike
    assert ours.brightness() == theirs.brightness()
    np.testing.assert_allclose(ours.spectra.mean, theirs.spectra.mean, rtol=1e-12)


def test_spectra_of_tiles_are_means_of_the_pixels(segmenter: Segmenter, scene: Scene) -> None:
    found = TileSpectra(segmenter.clusters, segmenter.bands)
    gather.feed(segmenter.walk(scene.cube, SIDE), [found])
    labels = segmenter.segment(scene.cube)
    reflectance, _ = scene.cube.read(0, 0, *labels.shape)
    for k in range(1, segmenter.clusters + 1):
        own = reflectance[labels == k].astype(np.float64)
        assert found.spectra.count[k - 1] == len(own)
        if len(own):
            np.testing.assert_allclose(found.spectra.mean[k - 1], own.mean(0), rtol=1e-6)


def test_a_part_that_is_no_archive_is_refused_in_a_sentence(
    segmenter: Segmenter, scene: Scene, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "0.npz"
    path.write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(InputError, match="repeat the command"):
        gather.absorb(str(path), begin(segmenter, scene))
