"""Tables read back as what was measured, whatever the clusters are called."""

import csv
import io

import numpy as np
import pytest
import rich.console
from PIL import Image

from dgc_jax.apply import metrics
from dgc_jax.apply import spectra as sp
from dgc_jax.errors import InputError
from dgc_jax.show import tables
from dgc_jax.show.palette import colours

NAMES = ['healthy, "green"', "läsion\n病斑", "_$x^ [red]", "empty"]
WAVELENGTHS = np.linspace(400.0, 1000.0, 25)


def _measured(bands=25, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (12, 10)).astype(np.uint8)
    reflectance = rng.random((12, 10, bands)) * 0.1 + labels[..., None] * 0.2
    return reflectance, labels, sp.measure(reflectance, labels, 4)


def _read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_spectra_read_back_with_names_of_any_kind(tmp_path):
    reflectance, labels, spectra = _measured()
    tables.write_spectra_csv(tmp_path / "spectra.csv", WAVELENGTHS, spectra, NAMES)
    header, *lines = _read(tmp_path / "spectra.csv")
    expected = [f"{name}_{what}" for name in NAMES for what in ("mean", "std")]
    assert header == ["band", "wavelength_nm", *expected]
    values = np.array([[float(cell or "nan") for cell in line] for line in lines])
    np.testing.assert_array_equal(values[:, 0], range(25))
    np.testing.assert_allclose(values[:, 1], WAVELENGTHS, rtol=1e-5)
    for k in (1, 2, 3):
        members = reflectance[labels == k]
        np.testing.assert_allclose(values[:, 2 * k], members.mean(0), rtol=1e-5)
        np.testing.assert_allclose(values[:, 2 * k + 1], members.std(0), rtol=1e-5)
    assert np.isnan(values[:, 8:]).all()  # a cluster without pixels has no spectrum


def test_spectra_without_wavelengths_leave_their_cells_empty(tmp_path):
    tables.write_spectra_csv(tmp_path / "spectra.csv", None, _measured()[2], NAMES)
    assert {line[1] for line in _read(tmp_path / "spectra.csv")[1:]} == {""}


def test_areas_add_up_to_the_valid_pixels(tmp_path):
    _, labels, _ = _measured()
    rows = tables.areas("scene, 1", labels, NAMES) + tables.areas("b", labels[:1] * 0, NAMES)
    tables.write_areas_csv(tmp_path / "areas.csv", rows)
    header, *lines = _read(tmp_path / "areas.csv")
    assert header == ["scene", "cluster", "name", "pixels", "percent"]
    assert [line[:3] for line in lines[:4]] == [
        ["scene, 1", str(k), name] for k, name in enumerate(NAMES, 1)
    ]
    counts = [int(line[3]) for line in lines[:4]]
    assert counts == [int((labels == k).sum()) for k in (1, 2, 3, 4)]
    shares = [float(line[4]) for line in lines[:4]]
    np.testing.assert_allclose(shares, 100 * np.array(counts) / sum(counts), atol=1e-4)
    assert [line[3:] for line in lines[4:]] == [["0", "0.0000"]] * 4


def _plot(path, wavelengths, spectra, names=NAMES):
    tables.plot_spectra(path, wavelengths, spectra, names, colours(len(names)))
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _has(picture, colour):
    return (picture == colour).all(-1)


@pytest.mark.parametrize("bands", [1, 2, 25])
@pytest.mark.parametrize("with_wavelengths", [True, False])
def test_spectra_are_drawn_in_the_colours_of_the_map(tmp_path, bands, with_wavelengths):
    wavelengths = WAVELENGTHS[:bands] if with_wavelengths else None
    picture = _plot(tmp_path / "spectra.png", wavelengths, _measured(bands)[2])
    for k in (1, 2, 3):
        assert _has(picture, colours(4)[k]).sum() > 50
    assert not _has(picture, colours(4)[4]).any()  # no line and no legend for an empty cluster


def test_brighter_clusters_are_drawn_higher(tmp_path):
    picture = _plot(tmp_path / "spectra.png", WAVELENGTHS, _measured()[2])
    curves = picture[:, : picture.shape[1] // 2]  # the legend is on the right
    heights = [np.flatnonzero(_has(curves, colours(4)[k]).any(1)).mean() for k in (1, 2, 3)]
    assert heights == sorted(heights, reverse=True)  # rows count downwards


def test_a_curve_is_interrupted_where_bands_were_dropped(tmp_path):
    axis = np.r_[np.linspace(400, 600, 40), np.linspace(800, 1000, 40)]
    picture = _plot(tmp_path / "gap.png", axis, _measured(80)[2])
    line = np.flatnonzero(_has(picture[:, :900], colours(4)[3]).any(0))
    assert np.diff(line).max() > 0.2 * (line[-1] - line[0])
    whole = _plot(tmp_path / "whole.png", np.linspace(400, 1000, 80), _measured(80)[2])
    line = np.flatnonzero(_has(whole[:, :900], colours(4)[3]).any(0))
    assert np.diff(line).max() < 0.05 * (line[-1] - line[0])


def test_a_plot_of_no_pixels_is_written(tmp_path):
    assert _plot(tmp_path / "spectra.png", WAVELENGTHS, sp.empty(4, 25)).size


@pytest.mark.parametrize("kind", ["spectra", "areas", "plot"])
def test_a_file_that_cannot_be_written_is_named(tmp_path, kind):
    (tmp_path / "file").touch()
    path, spectra = tmp_path / "file" / "table", _measured()[2]
    write = {
        "spectra": lambda: tables.write_spectra_csv(path, WAVELENGTHS, spectra, NAMES),
        "areas": lambda: tables.write_areas_csv(path, []),
        "plot": lambda: tables.plot_spectra(path, WAVELENGTHS, spectra, NAMES, colours(4)),
    }
    with pytest.raises(InputError, match=r"file/table: cannot be written"):
        write[kind]()


def _printed(scores):
    console = rich.console.Console(file=io.StringIO(), width=100)
    tables.print_scores(scores, console)
    return console.file.getvalue()


def test_scores_are_printed_with_the_papers_numbers_beside():
    counts = np.array([[8, 0, 0], [2, 6, 0], [0, 0, 0]])
    names = ["belt", "leaf [red]", "lesion"]
    text = _printed(metrics.scores(counts, names, background=(1,), table=[1, 2, 2]))
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
    assert ["belt", "0.800", "0.889", "1"] in lines
    assert ["leaf [red]", "0.750", "0.857", "2 3"] in lines
    assert ["lesion", "-", "-", ""] in lines
    assert ["mean", "0.775", "0.873", ""] in lines
    assert ["background", "0.800", "0.972", "0.944"] in lines
    assert ["tissue", "0.750", "0.878", "0.780"] in lines
    assert ["mean", "0.775", "0.925", "0.862"] in lines
    assert "0.935" in text
    assert "accuracy 0.875" in text


def test_the_paper_is_left_out_where_there_is_no_background():
    assert "paper" not in _printed(metrics.scores(np.eye(2, dtype=int), ["a", "b"]))
