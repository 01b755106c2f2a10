"""What reading random crops costs: numpy.memmap, this package on the raw file, prepared zarr.

    python -m benchmarks.reader [--json FILE] [--small]

200 crops of 64 x 64 pixels with all bands of a 1000 x 1000 x 301 uint16 scene (see `big_scene`).
`stored` is the numbers as they are, in a new array; `reflectance` is float32 and which pixels are
valid, as training takes it; `8 ahead` requests eight crops before it waits for the first. Each in
a process of its own, at the same places; medians of three rounds at other places.

Warm is with the files in the system's cache. Cold is after asking the system to drop them
(`posix_fadvise`); how much then came from the disk is what the system counts.
"""

import collections
import os
import pathlib
import statistics
import time
from typing import Any

import numpy as np

from benchmarks import bench, big_scene
from dgc_jax.data.cube import open_cube

_AHEAD = 8
_READERS = ("memmap", "raw", "zarr")
_Corners = list[tuple[int, int]]


def read_all(kind: str, path: str, what: str, corners: _Corners, crop: int) -> None:
    """Reads the crops at some corners."""
    if kind == "memmap":
        rows, columns, bands = open_cube(path).shape
        stored = np.memmap(
            big_scene.data_file(path), np.uint16, mode="r", shape=(rows, bands, columns)
        )
        for row, column in corners:
            np.array(stored[row : row + crop, :, column : column + crop])
        return
    cube = open_cube(path)
    if what == "stored":
        for row, column in corners:
            cube.read_stored(row, column, crop, crop)
    elif what == "reflectance":
        for row, column in corners:
            cube.read(row, column, crop, crop)
    else:
        pending: collections.deque[Any] = collections.deque()
        for row, column in corners:
            pending.append(cube.request(row, column, crop, crop))
            if len(pending) > _AHEAD:
                pending.popleft().result()
        while pending:
            pending.popleft().result()


def drop(files: list[str]) -> None:
    """Asks the system to forget files that it has in memory."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)  # what is not yet written is not dropped
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def from_disk() -> int:
    """Bytes that this process has had read from the disk; 0 where the system does not tell."""
    try:
        lines = pathlib.Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return int(next(line.split()[1] for line in lines if line.startswith("read_bytes")))


def seconds(
    kind: str, path: str, what: str, cold: bool, rounds: list[_Corners], crop: int
) -> tuple[float, float]:
    """Median seconds of a round, and MB from the disk in it; in a process of its own.

    A cold process does one round only, because the first one warms what a second would read.
    """
    if cold:
        drop(big_scene.files(path))
    else:
        read_all(kind, path, what, rounds[0], crop)
    times, before = [], from_disk()
    for corners in rounds[:1] if cold else rounds[1:]:
        start = time.perf_counter()
        read_all(kind, path, what, corners, crop)
        times.append(time.perf_counter() - start)
    return statistics.median(times), (from_disk() - before) / 1e6


def measure(small: bool) -> dict[str, Any]:
    """The table: one row a way of reading, warm and cold."""
    size, crop, number = ((200, 160), 16, 20) if small else ((1000, 1000), 64, 200)
    header, store = big_scene.ensure(*size, small)
    rng = np.random.default_rng(0)
    rounds = [
        [tuple(map(int, corner)) for corner in rng.integers(0, np.array(size) - crop, (number, 2))]
        for _ in range(2 if small else 4)
    ]
    ways = (
        ("numpy.memmap", "stored", "memmap", header),
        ("raw ENVI BIL", "stored", "raw", header),
        ("raw ENVI BIL", "reflectance", "raw", header),
        ("raw ENVI BIL", "reflectance, 8 ahead", "raw", header),
        ("prepared zarr3", "stored", "zarr", store),
        ("prepared zarr3", "reflectance", "zarr", store),
        ("prepared zarr3", "reflectance, 8 ahead", "zarr", store),
    )
    rows: list[dict[str, Any]] = []
    for name, what, kind, path in ways:
        row: dict[str, Any] = {"reader": name, "what": what}
        warm, _ = bench.alone(seconds, kind, path, what, False, rounds, crop)
        row["warm, ms a crop"] = round(1000 * warm / number, 3)
        if hasattr(os, "posix_fadvise"):
            runs = [
                bench.alone(seconds, kind, path, what, True, [corners], crop)
                for corners in rounds[1:]
            ]
            cold, disk = (statistics.median(column) for column in zip(*runs, strict=True))
            row["cold, ms a crop"] = round(1000 * cold / number, 3)
            row["from the disk, MB"] = round(disk, 1)
        rows.append(row)
    for row in rows:
        for state in ("warm", "cold"):
            if f"{state}, ms a crop" in row:
                ratio = row[f"{state}, ms a crop"] / rows[0][f"{state}, ms a crop"]
                row[f"{state}, x memmap"] = round(ratio, 2)
    notes = [f"{number} crops of {crop} x {crop} of a scene of {size[0]} x {size[1]} pixels"]
    if not any(row.get("from the disk, MB") for row in rows):
        notes.append("nothing came from the disk: this system did not drop its cache when asked")
    return {"title": "Reading crops", "rows": rows, "notes": notes}


if __name__ == "__main__":
    bench.main(__doc__, measure)
