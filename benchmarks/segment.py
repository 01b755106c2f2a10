"""What segmenting a whole scene costs, in time and in memory.

    python -m benchmarks.segment [--json FILE] [--small]

The scene is 1000 x 1000 x 301 uint16, raw ENVI (BIL) and prepared (zarr3), see `big_scene`. Time is
that of labels in memory from files in the system's cache, compiled before; it is set against
reading the files once in blocks of 8 MB, and against scikit-learn's MiniBatchKMeans of 4 clusters
labelling the same spectra, read by this package line by line. Medians of three runs in turn.

Memory is the largest resident size while a scene is segmented, less that of the same process when
it has labelled one tile and waits, for 1000 and for 8000 rows; each in a process of its own. It is
given as the system counts it, and its anonymous part alone, without mapped files.
"""

import os
import pathlib
import shutil
import statistics
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn.cluster

from benchmarks import bench, big_scene
from dgc_jax import heap
from dgc_jax.apply.segmenter import Segmenter
from dgc_jax.data.cube import Cube, open_cube
from dgc_jax.data.simulation import leaves

_BLOCK = 8 << 20  # bytes
_LINES = 32  # read at a time for k-means
_TIMES = 8  # how much taller the tall scene is


def read_once(path: str) -> int:
    """Reads all files of a scene in blocks; returns how many bytes."""
    block, total = bytearray(_BLOCK), 0
    for each in big_scene.files(path):
        with open(each, "rb", buffering=0) as file:
            while got := file.readinto(block):
                total += got
    return total


def kmeans(cube: Cube) -> Callable[[], np.ndarray]:
    """MiniBatchKMeans, fitted to every 97th pixel, as a function that labels the scene."""
    rows, columns, bands = cube.shape
    sample = np.concatenate(
        [cube.read(row, 0, 1, columns)[0].reshape(-1, bands)[::7] for row in range(0, rows, 14)]
    )
    model = sklearn.cluster.MiniBatchKMeans(4, random_state=0, n_init=1).fit(sample)

    def label() -> np.ndarray:
        labels = np.zeros((rows, columns), np.uint8)
        for row in range(0, rows, _LINES):
            lines, _ = cube.read(row, 0, min(_LINES, rows - row), columns)
            found = model.predict(np.ascontiguousarray(lines).reshape(-1, bands))
            labels[row : row + _LINES] = found.reshape(-1, columns)
        return labels

    return label


def times(header: str, store: str, segmenter: Segmenter, repeats: int) -> list[dict[str, Any]]:
    """Rows of the table: seconds of each way for each format."""
    rows: list[dict[str, Any]] = []
    for name, path in (("raw ENVI BIL", header), ("prepared zarr3", store)):
        cube = open_cube(path)
        ways: dict[str, Callable[[], Any]] = {
            "read the files once": lambda path=path: read_once(path),
            "MiniBatchKMeans(4).predict": kmeans(cube),
            "segment": lambda cube=cube: segmenter.segment(cube),
        }
        medians = bench.in_turn(ways, repeats)
        rows += [
            {
                "input": name,
                "what": way,
                "s": round(wall, 3),
                "CPU s": round(cpu, 3),
                "x reading": round(wall / medians["read the files once"][0], 2),
                "x k-means": round(wall / medians["MiniBatchKMeans(4).predict"][0], 3),
            }
            for way, (wall, cpu) in medians.items()
        ]
    return rows


def memory(path: str, segmenter: Segmenter) -> dict[str, float]:
    """Largest resident memory while a scene is segmented above that before, MiB."""
    cube = open_cube(path)
    next(iter(segmenter.tiles(cube)))  # compiles
    cube.forget()
    heap.trim()  # what compiling left would hide what is used from now on
    idle, peak = resident(), {"RSS": 0.0, "RSS, anonymous": 0.0}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            for name, now in resident().items():
                peak[name] = max(peak[name], now)

    watcher = threading.Thread(target=watch)
    watcher.start()
    segmenter.segment(cube)
    done.set()
    watcher.join()
    return {name: peak[name] - idle[name] for name in peak}


def resident() -> dict[str, float]:
    """Resident memory of this process, MiB: all, and without mapped files."""
    lines = pathlib.Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    sizes = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith(" kB")}
    return {
        "RSS": int(sizes["VmRSS"]) / 1024,
        "RSS, anonymous": int(sizes["RssAnon"]) / 1024,
    }


def memories(header: str, store: str, segmenter: Segmenter, repeats: int) -> list[dict[str, Any]]:
    """Rows of the table: memory of each format for the scene and for a taller one."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=leaves.cache_folder(), prefix="tall-") as folder:
        tall = {
            "raw ENVI BIL": (header, big_scene.write_tall(header, _TIMES, folder)),
            "prepared zarr3": (store, big_scene.link_tall(store, _TIMES, folder)),
        }
        for name, paths in tall.items():
            found = []
            for path in paths:
                runs = [bench.alone(memory, path, segmenter) for _ in range(repeats)]
                found.append({key: statistics.median(r[key] for r in runs) for key in runs[0]})
                rows.append(
                    {"input": name, "what": f"memory, {open_cube(path).shape[0]} rows"}
                    | {f"{key}, MiB": round(value, 1) for key, value in found[-1].items()}
                )
            growth = {f"{k}, growth": round(found[1][k] / found[0][k] - 1, 3) for k in found[0]}
            rows[-1] |= growth
    return rows


def measure(small: bool) -> dict[str, Any]:
    """The table: seconds first, then memory."""
    size = (200, 160) if small else (1000, 1000)
    header, store = big_scene.ensure(*size, small)
    repeats = 1 if small else 3
    room = shutil.disk_usage(leaves.cache_folder()).free
    needed = _TIMES * os.path.getsize(big_scene.data_file(header))
    segmenter = big_scene.segmenter(small)
    rows = times(header, store, segmenter, repeats)
    notes = [
        f"{' x '.join(map(str, open_cube(header).shape))} uint16, files in the system's cache",
        "memory above that of the process that waits; the scene is taller by repetition",
    ]
    if not pathlib.Path("/proc/self/status").exists():
        notes.append("memory was not measured: this system does not tell it")
    elif room < 2 * needed:
        notes.append(f"memory was not measured: {needed / 1e9:.1f} GB of disk are needed")
    else:
        rows += memories(header, store, segmenter, repeats)
    return {"title": "Segmenting a whole scene", "rows": rows, "notes": notes}


if __name__ == "__main__":
    bench.main(__doc__, measure)
