"""Wavelengths in nm from any unit, against the closed forms of light in vacuum."""

import h5py
import numpy as np
import pytest
import spectral

from dgc_jax.data.cube import open_cube
from dgc_jax.data.formats.wavelengths import to_nanometres

NM = np.linspace(400.0, 1000.0, 20)
LIGHT = 299_792_458.0  # m/s

SPELLINGS = {
    "nm": (NM, ["nm", "NM", "Nanometers", "nanometre", "Wavelength (nm)", "[nm]", "nm (vacuum)",
                "wavelengths in nanometers", "{Nanometers}", b"nm"]),
    "um": (NM / 1e3, ["um", "µm", "μm", "Âµm", "Micrometers", "micrometre", "microns", "Micron",
                      "Wavelength [µm]", "µm (air)"]),
    "Angstrom": (NM * 10, ["Å", "\u212b", "A", "Angstrom", "Angstroms", "Ångström", "ångströms"]),
    "m": (NM / 1e9, ["m", "meters", "Metre"]),
    "mm": (NM / 1e6, ["mm", "Millimeters"]),
    "cm-1": (1e7 / NM, ["cm-1", "1/cm", "cm^-1", "cm^{-1}", "cm**-1", "cm⁻¹", "cm(-1)", "/cm",
                        "1 / cm", "Wavenumber", "Wavenumbers", "Wavenumber (cm-1)", "per cm",
                        "Inverse Centimeters", "reciprocal centimeter(s)", "Kayser"]),
    "m-1": (1e9 / NM, ["m-1", "1/m", "m^-1"]),
    "GHz": (LIGHT / NM, ["GHz", "gigahertz", "Frequency (GHz)"]),
    "THz": (LIGHT / NM / 1e3, ["THz", "Terahertz"]),
    "Hz": (LIGHT / NM * 1e9, ["Hz", "hertz"]),
    "eV": (1239.841984 / NM, ["eV"]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("values", "unit"),
    [(values, unit) for values, units in SPELLINGS.values() for unit in units],
)
@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_every_unit_in_every_spelling_becomes_nanometres(values, unit, order):
    found, note = to_nanometres(values[order], unit)
    np.testing.assert_allclose(found, NM[order], rtol=1e-6)
    assert note is None


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        (NM, "Micrometers"), (NM, "um"), (NM / 1e3, "nm"), (NM, "Angstroms"), (NM, "m"),
        (NM, "mm"), (NM / 1e3, "m"), (NM / 1e3, "cm-1"), (NM, "eV"), (NM * 1e9, "nm"),
    ],
)  # fmt: skip
def test_a_unit_that_contradicts_the_numbers_is_not_used_and_named(values, unit):
    found, note = to_nanometres(values, unit)
    assert found is None
    assert note.endswith(f"no wavelengths of light in its unit, {unit}: not used")


@pytest.mark.parametrize("unit", ["furlong", "K", "m/s", "W m-2 sr-1 nm-1", "pixel", "Index"])
def test_an_unknown_unit_is_not_used_and_named(unit):
    found, note = to_nanometres(NM, unit)
    assert found is None
    assert unit in note
    assert note.endswith("not used")


@pytest.mark.parametrize("unit", [None, "", "nm", "Micrometers", "Unknown"])
@pytest.mark.parametrize("first", [0, 1, 5, 101])
@pytest.mark.parametrize("step", [1, -1])
def test_band_numbers_are_no_wavelengths(unit, first, step):
    found, note = to_nanometres(np.arange(first, first + 20)[::step], unit)
    assert found is None
    assert "not used" in note


def test_every_second_band_number_is_no_list_of_micrometres():
    assert to_nanometres(np.arange(2, 42, 2))[0] is None


def test_bands_of_one_nanometre_are_wavelengths():
    values = np.arange(350.0, 2501.0)
    for unit in (None, "nm"):
        found, note = to_nanometres(values, unit)
        np.testing.assert_array_equal(found, values)
        assert note is None


@pytest.mark.parametrize(
    ("values", "factor", "taken"),
    [(NM, 1, None), (NM / 1e3, 1e3, "um"), (NM * 10, 1, "nm"), (NM - 250, 1, "nm")],
)
@pytest.mark.parametrize("unit", [None, "", "Unknown", "1"])
def test_without_a_unit_a_guess_that_may_be_wrong_is_told(values, factor, taken, unit):
    found, note = to_nanometres(values, unit)
    np.testing.assert_allclose(found, values * factor)
    assert note is None if taken is None else note.endswith(f"taken as {taken}")


@pytest.mark.parametrize("values", [[500, np.nan], [500, np.inf], [500, 500], [], [0.0, 500.0]])
def test_lists_that_are_none_are_not_used(values):
    found, note = to_nanometres(np.array(values), "nm")
    assert found is None
    assert "not used" in note


def test_light_beyond_the_visible_in_angstroms_is_told():
    found, note = to_nanometres(np.linspace(1200, 2500, 20), "Angstroms")
    np.testing.assert_allclose(found, np.linspace(120, 250, 20))
    assert "ultraviolet" in note


def test_ascending_wavenumbers_give_bands_by_ascending_wavelength(tmp_path):
    values = np.random.default_rng(0).integers(1, 999, (5, 6, 20)).astype("u2")
    k = np.linspace(1000, 1800, 20)
    about = {"wavelength": k.tolist(), "wavelength units": "cm-1"}
    spectral.envi.save_image(str(tmp_path / "a.hdr"), values, metadata=about)
    cube = open_cube(tmp_path / "a.hdr")
    np.testing.assert_allclose(cube.wavelengths, 1e7 / k[::-1])
    np.testing.assert_array_equal(cube.read(0, 0, 5, 6)[0], values[:, :, ::-1])


def test_terahertz_scenes_keep_their_wavelengths_in_nanometres():
    nm = LIGHT / np.linspace(300, 2900, 20)  # of GHz
    found, note = to_nanometres(nm)
    np.testing.assert_array_equal(found, nm)
    assert "taken as nm" in note


@pytest.mark.parametrize(("unit", "factor"), [("angstrom", 10), ("micrometers", 1e-3)])
def test_the_same_rule_holds_in_hdf5(tmp_path, unit, factor):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["r"] = np.ones((5, 6, 20), "f4")
        file["wavelength"] = NM * factor
        file["wavelength"].attrs["units"] = unit
    np.testing.assert_allclose(open_cube(tmp_path / "a.h5").wavelengths, NM)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["wavelength"].attrs["units"] = "micrometers" if factor > 1 else "angstrom"
    cube = open_cube(tmp_path / "a.h5")
    assert cube.wavelengths is None
    assert any("not used" in note for note in cube.notes)
