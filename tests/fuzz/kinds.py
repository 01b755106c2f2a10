"""Kinds of files: how a good one is made, and who reads it.

Files are made by other libraries than those of `dgc_jax` where there are any, small, so that a
change often meets what matters.
"""

import json
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any, NamedTuple

import h5py
import numpy as np
import PIL.Image
import rasterio
import scipy.io
import spectral.io.envi
import tensorstore as ts

from dgc_jax import configuration, manifest
from dgc_jax.apply import view
from dgc_jax.apply.segmenter import load
from dgc_jax.commands import report as reporting
from dgc_jax.commands.merge import merge
from dgc_jax.data.cube import open_cube
from dgc_jax.data.describe import describe
from dgc_jax.data.hints import read_points
from dgc_jax.data.labels import read_labels
from dgc_jax.storage import model_path
from dgc_jax.train.log import history

ROWS, COLUMNS, BANDS = 6, 5, 4
CUBE = np.linspace(0.05, 0.9, ROWS * COLUMNS * BANDS, dtype="f4").reshape(ROWS, COLUMNS, BANDS)
LABELS = (np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) % 4).astype("u1")
_PICTURES = (".html", ".png")
NM = [450.0, 550.0, 650.0, 800.0]


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        make: writes a good one into a folder, and returns its path.
        read: reads one, damaged or not.
        changed: of the file that is changed, where that is not all of what `make` returns.
    """

    make: Callable[[pathlib.Path], pathlib.Path]
    read: Callable[[pathlib.Path], Any]
    changed: str = ""


def cube(path: pathlib.Path) -> None:
    """Opens a cube, describes it, and reads all or a window of it."""
    opened = open_cube(str(path))
    describe(opened)
    rows, columns, _ = opened.shape
    opened.read(0, 0, min(rows, 8), min(columns, 8))
    opened.read(rows - 1, columns - 1, 2, 2)


def labels(path: pathlib.Path) -> None:
    """Reads a label map of the cube's size."""
    read_labels(str(path), (ROWS, COLUMNS))


def _envi(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.hdr"
    about = {
        "wavelength": NM,
        "wavelength units": "nm",
        "data ignore value": -1,
        "bbl": [1, 1, 0, 1],
    }
    about["map info"] = ["UTM", 1, 1, 5e5, 5e6, 2, 2, 32, "North", "WGS-84"]
    spectral.io.envi.save_image(str(path), CUBE, metadata=about, ext=".img", interleave="bil")
    return path


def _npy(folder: pathlib.Path) -> pathlib.Path:
    np.save(folder / "a.npy", CUBE)
    return folder / "a.npy"


def _mat(folder: pathlib.Path) -> pathlib.Path:
    scipy.io.savemat(
        folder / "a.mat", {"cube": CUBE, "gt": LABELS, "s": {"w": NM}}, do_compression=True
    )
    return folder / "a.mat"


def _hdf5(folder: pathlib.Path, suffix: str = ".h5") -> pathlib.Path:
    path = folder / f"a{suffix}"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("cube", data=CUBE, chunks=(3, 5, 2), compression="gzip")
        data.attrs.update(wavelength=NM, scale_factor=0.5, _FillValue=np.float32(-1))
        file["labels"] = LABELS
    return path


def _netcdf(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.nc"
    with h5py.File(path, "w") as file:
        for name, values in (("y", ROWS), ("x", COLUMNS), ("band", NM)):
            file[name] = np.arange(values) if isinstance(values, int) else values
            file[name].make_scale(name)
        file["reflectance"] = CUBE
        for axis, name in enumerate(("y", "x", "band")):
            file["reflectance"].dims[axis].attach_scale(file[name])
        file["reflectance"].attrs["units"] = "1"
    return path


def _zarr(version: str) -> Callable[[pathlib.Path], pathlib.Path]:
    def make(folder: pathlib.Path) -> pathlib.Path:
        path = folder / "a.zarr"
        spec = {"driver": version, "kvstore": {"driver": "file", "path": str(path)}}
        if version == "zarr":
            spec["metadata"] = {"chunks": [3, 5, 4], "compressor": {"id": "zlib", "level": 1}}
        else:
            spec["metadata"] = {"attributes": {"wavelengths": NM}}
        store = ts.open(spec, create=True, dtype=ts.float32, shape=CUBE.shape).result()
        store.write(CUBE).result()
        return path

    return make


def _tiff(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=COLUMNS, height=ROWS, count=BANDS, dtype="float32",
        compress="deflate", crs="EPSG:32632", transform=rasterio.Affine(2, 0, 5e5, 0, -2, 5e6),
    ) as image:  # fmt: skip
        image.write(np.moveaxis(CUBE, -1, 0))
        image.update_tags(wavelength=",".join(map(str, NM)))
    return path


def _picture(suffix: str) -> Callable[[pathlib.Path], pathlib.Path]:
    def make(folder: pathlib.Path) -> pathlib.Path:
        PIL.Image.fromarray(LABELS).save(folder / f"labels{suffix}")
        return folder / f"labels{suffix}"

    return make


def _labelme(folder: pathlib.Path) -> pathlib.Path:
    shape = {"label": "a", "points": [[0, 0], [4, 0], [4, 4]], "shape_type": "polygon"}
    other = {"label": "b", "points": [[1, 1], [2, 2]], "shape_type": "rectangle"}
    found = {"imageHeight": ROWS, "imageWidth": COLUMNS, "shapes": [shape, other]}
    return _json(folder / "labels.json", found)


def _labels_npy(folder: pathlib.Path) -> pathlib.Path:
    np.save(folder / "labels.npy", LABELS)
    return folder / "labels.npy"


def _json(path: pathlib.Path, value: Any) -> pathlib.Path:
    path.write_text(json.dumps(value, indent=1))
    return path


def _points(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "points.csv"
    path.write_text("scene,row,column,name\na,1,2,leaf\nb,3,4,soil\n")
    return path


def _geojson(folder: pathlib.Path) -> pathlib.Path:
    geometry = {"type": "MultiPoint", "coordinates": [[9.1, 45.2], [9.2, 45.3]]}
    feature = {"type": "Feature", "properties": {"name": "a", "scene": "b"}, "geometry": geometry}
    return _json(folder / "p.geojson", {"type": "FeatureCollection", "features": [feature]})


def _fields(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "fields.txt"
    lines = (
        "train.steps=10", "data.scenes=('a.hdr',)", "model.features=(8,16,32)", "seed=0",
        "loss.balance=3.5", "data.white=", "centroids.start=random", "augment.gain=0.2",
    )  # fmt: skip
    path.write_text("\n".join(f"--config.{line}" for line in lines))
    return path


def _set_fields(path: pathlib.Path) -> None:
    words = path.read_text("utf-8", "replace").split("\n")
    configuration.read("tiny", words[:2000])  # more than any shell passes on


def _large(folder: str, names: list[str]) -> list[str]:
    """What of a run no reader of its model needs."""
    if os.path.basename(folder) == "checkpoints":
        return [name for name in names if name.isdecimal()]
    return [name for name in names if name in ("tensorboard", "maps") or name.endswith(_PICTURES)]


def of_run(workdir: pathlib.Path) -> dict[str, Kind]:
    """Kinds that need a finished run, which is copied and not written into."""
    segmenter = load(str(workdir))

    def copied(folder: pathlib.Path) -> pathlib.Path:
        shutil.copytree(workdir, folder / "run", ignore=_large)
        return folder / "run"

    def a_view(folder: pathlib.Path) -> pathlib.Path:
        groups = view.cut(segmenter, 2)
        return _json(folder / "view.json", view.as_json(segmenter, groups))

    def of(name: str) -> Callable[[pathlib.Path], pathlib.Path]:
        def make(folder: pathlib.Path) -> pathlib.Path:
            shutil.copy(workdir / name, folder)
            return folder / name

        return make

    model = os.path.relpath(model_path(str(workdir)), workdir)
    return {
        "view": Kind(a_view, lambda path: view.read(path, segmenter)),
        "model": Kind(copied, lambda path: load(str(path)), model),
        "merge": Kind(copied, lambda path: merge(str(path), clusters=2), model),
        "summary": Kind(of("summary.json"), lambda path: reporting.read_summary(str(path.parent))),
        "history": Kind(of("metrics.jsonl"), lambda path: history(str(path.parent))),
        "manifest": Kind(
            of("manifest.json"), lambda path: manifest.get(str(path.parent), "results", "run")
        ),
    }


KINDS: dict[str, Kind] = {
    "envi": Kind(_envi, cube),
    "npy": Kind(_npy, cube),
    "mat": Kind(_mat, cube),
    "hdf5": Kind(_hdf5, cube),
    "mat73": Kind(lambda folder: _hdf5(folder, ".mat"), cube),
    "netcdf": Kind(_netcdf, cube),
    "zarr2": Kind(_zarr("zarr"), cube),
    "zarr3": Kind(_zarr("zarr3"), cube),
    "tiff": Kind(_tiff, cube),
    "png labels": Kind(_picture(".png"), labels),
    "tiff labels": Kind(_picture(".tif"), labels),
    "bmp labels": Kind(_picture(".bmp"), labels),
    "npy labels": Kind(_labels_npy, labels),
    "mat labels": Kind(_mat, labels),
    "hdf5 labels": Kind(_hdf5, labels),
    "labelme": Kind(_labelme, labels),
    "points": Kind(_points, lambda path: read_points(str(path))),
    "geojson": Kind(_geojson, lambda path: read_points(str(path))),
    "fields": Kind(_fields, _set_fields),
}
"""Kinds that need nothing else."""
