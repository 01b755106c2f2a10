"""Colours with meaning: kinds, hues that are kept, and distances by another library."""

import colour
import numpy as np
import pytest

from dgc_jax.show.palette import NO_DATA, of_spectra

NM = np.linspace(400, 1000, 31)
RISE = 1 / (1 + np.exp(-(NM - 715) / 15))
LEAF = 0.05 + 0.02 * np.exp(-(((NM - 550) / 30) ** 2)) + 0.45 * RISE
BROWN = 0.06 + 0.0005 * np.maximum(NM - 500, 0)
RUBBER, STEEL = np.full(31, 0.04), np.full(31, 0.5)
CVD = {"normal": 0.0, "Protanomaly": 1.0, "Deuteranomaly": 1.0}


def seen(colours: np.ndarray, vision: str) -> np.ndarray:
    """CIELAB `[colour, 3]` of sRGB, as with a vision (Machado 2009, of colour-science)."""
    linear = colour.cctf_decoding(colours / 255)
    if CVD[vision]:
        linear = np.clip(linear @ colour.matrix_cvd_Machado2009(vision, CVD[vision]).T, 0, 1)
    return np.asarray(colour.XYZ_to_Lab(colour.RGB_to_XYZ(linear, "sRGB")))


def least(colours: np.ndarray, share: float = 1.0) -> float:
    """Least CIEDE2000 distance of two colours, each over grey with the given opacity."""
    over = share * colours + (1 - share) * 128
    distances = []
    for vision in CVD:
        lab = seen(over, vision)
        pairs = np.triu_indices(len(lab), 1)
        distances.append(colour.delta_E(lab[pairs[0]], lab[pairs[1]], method="CIE 2000").min())
    return float(min(distances))


def hue(rgb: np.ndarray) -> tuple[float, float]:
    """Hue in degrees and chroma in CIELAB."""
    _, a, b = seen(rgb[None].astype(float), "normal")[0]
    return float(np.degrees(np.arctan2(b, a)) % 360), float(np.hypot(a, b))


def plain(*spectra: np.ndarray) -> np.ndarray:
    number = len(spectra)
    return of_spectra(np.array(spectra), np.full(number, 9), np.zeros(number, int), NM)


def test_leaves_are_green_rubber_and_steel_grey_and_a_lesion_neither() -> None:
    found = plain(LEAF, BROWN, RUBBER, STEEL)
    assert tuple(found[0]) == NO_DATA
    assert found.dtype == np.uint8
    angle, chroma = hue(found[1])
    assert 90 < angle < 170
    assert chroma > 20
    assert hue(found[2])[1] > 20
    assert not 90 < hue(found[2])[0] < 170
    assert hue(found[3])[1] < 3
    assert hue(found[4])[1] < 3


@pytest.mark.parametrize(
    "spectra",
    [
        (LEAF, BROWN, RUBBER, STEEL),
        tuple(LEAF * x for x in (0.7, 0.8, 0.9, 1, 1.1, 1.2)),
        tuple(BROWN * x for x in (0.5, 0.8, 1, 1.2, 1.5, 2, 2.5, 3)),
        tuple(STEEL * x for x in (0.3, 0.5, 0.7, 0.9)),
    ],
)
def test_clusters_are_told_apart_by_colour_blind_eyes_and_over_a_picture(
    spectra: tuple[np.ndarray, ...],
) -> None:
    found = plain(*spectra)[1:].astype(float)
    assert least(found) > 9
    assert least(found, 0.6) > 5


def test_parts_keep_the_hue_of_what_they_were_parted_from() -> None:
    spectra = np.array([LEAF, BROWN, RUBBER, 0.9 * LEAF, 1.1 * RUBBER, 0.8 * LEAF, 0.9 * BROWN])
    parents = np.array([0, 0, 0, 1, 3, 4, 2])
    found = of_spectra(spectra, np.arange(7, 0, -1), parents, NM)
    assert len({tuple(each) for each in found.tolist()}) == 8
    for part, parent in ((4, 1), (6, 1), (7, 2)):
        apart = abs(hue(found[part])[0] - hue(found[parent])[0]) % 360
        assert min(apart, 360 - apart) < 35
    assert hue(found[5])[1] < 3
    alone = of_spectra(spectra[:3], np.arange(7, 4, -1), parents[:3], NM)
    np.testing.assert_array_equal(found[:4], alone)  # finer levels change nothing


def test_without_wavelengths_nothing_is_called_vegetation() -> None:
    found = of_spectra(np.array([LEAF, RUBBER]), np.ones(2), np.zeros(2, int), None)
    assert len(found) == 3
    assert hue(found[2])[1] < 3


def test_every_number_of_clusters_has_a_colour_of_its_own_until_hues_run_out() -> None:
    rng = np.random.default_rng(0)
    spectra = rng.uniform(0.02, 0.9, (255, 31))
    parents = np.array([0] * 4 + [int(rng.integers(1, k)) for k in range(5, 256)])
    found = of_spectra(spectra, np.ones(255), parents, NM)
    assert found.shape == (256, 3)
    assert len(np.unique(found[:65], axis=0)) == 65
