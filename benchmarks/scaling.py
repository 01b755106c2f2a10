"""What it costs to share a step of training among devices and processes, on one machine.

    python -m benchmarks.scaling [--json FILE] [--small]

Every layout takes the same steps: a batch of 4 pairs of 64 x 64 crops of 301 bands, split over 1, 2
or 4 devices that JAX simulates on the CPU, in one process or in two that talk over loopback. The
work and the cores are the same for all, so that a ratio above 1 to the single device is what
sharing costs. Layouts take turns, block by block, so that other load on the machine meets all.

Also told: the bytes that a step exchanges, counted from the collective operations of the compiled
program, and from them, on paper, what a network would need.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks import bench

ROOT = pathlib.Path(__file__).parents[1]

_BYTES = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2}
_COLLECTIVES = r"all-reduce|all-gather|reduce-scatter|collective-permute|all-to-all"
_NETWORK = 10e9 / 8  # bytes a second: 10 Gbit/s, for the sums on paper
_HOSTS = (2, 8, 32)


class Layout(NamedTuple):
    """How a step is shared: devices in each of the processes."""

    processes: int
    devices: int


LAYOUTS = (Layout(1, 1), Layout(1, 2), Layout(1, 4), Layout(2, 1))


def exchanged(program: str) -> int:
    """Bytes of all results of collective operations in a compiled program.

    Args:
        program: text of the compiled module (HLO).
    """
    total = 0
    for shapes in re.findall(rf"= (.*?) (?:{_COLLECTIVES})(?:-start)?\(", program):
        for kind, sizes in re.findall(r"([a-z]+\d*)\[([\d,]*)\]", shapes):
            number = 1
            for size in filter(None, sizes.split(",")):
                number *= int(size)
            total += number * _BYTES.get(kind, 1)
    return total


def work(small: bool) -> None:
    """One process of a layout: says that it is ready, then takes steps as asked on its input."""
    import jax
    import numpy as np

    from configs import default
    from dgc_jax.data.crops import Batch
    from dgc_jax.train import options, step
    from dgc_jax.train.state import create_state

    side, bands = (16, 12) if small else (64, 301)
    config = default.get_config()
    if small:  # as little to compile as there can be
        config.update_from_flattened_dict(
            {"model.iterations": 1, "loss.anchor": 0.0, "clusters.train": 4}
        )
    clusters, pairs = config.clusters.train, config.data.batch
    config.clusters.final = clusters
    rng = np.random.default_rng(0)
    crops = rng.uniform(0.1, 0.9, (pairs, 2, side, side, bands)).astype(np.float32)
    valid = np.ones(crops.shape[:-1], bool)
    state = create_state(
        jax.random.key(0),
        options.recipe(config),
        crops[:, 0],
        valid[:, 0],
        clusters=clusters,
        wavelengths=np.linspace(400, 1000, bands),
        bin_width=config.data.bin_width,
        start="random",
    )
    mesh = step.data_mesh(pairs)
    offset = np.full((pairs, 2), side // 2, np.int32)
    own = step.own_slots(mesh, pairs)
    batch = step.whole_batch(mesh, pairs, Batch(crops[own], valid[own], offset[own]))
    state = step.everywhere(state, mesh)
    take = step.jitted_step(mesh).lower(state, batch).compile()
    state, metrics = take(state, batch)
    jax.block_until_ready(metrics)
    parameters = sum(leaf.nbytes for leaf in jax.tree.leaves(state.params))
    told = {"devices": len(mesh.devices), "bytes": exchanged(take.as_text())}
    told |= {"loss": float(metrics["loss"]), "parameters": parameters, "batch": crops.nbytes}
    print(json.dumps(told), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            state, metrics = take(state, batch)
            jax.block_until_ready(metrics)
            times.append(time.perf_counter() - start)
        print(json.dumps(times), flush=True)


def answer(process: subprocess.Popen[str]) -> Any:
    """The next line of JSON that a process says."""
    assert process.stdout is not None
    for line in process.stdout:
        with contextlib.suppress(ValueError):  # Gloo says something, too
            return json.loads(line)
    raise SystemExit(f"a process of the benchmark has ended ({process.wait()})")


@contextlib.contextmanager
def started(layout: Layout, small: bool) -> Iterator[list[subprocess.Popen[str]]]:
    """The processes of a layout, which end with the block."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"localhost:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "benchmarks.scaling", *["--small"] * small]
    command += ["--work", coordinator, str(layout.processes)]
    environment = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(layout.devices)}
    running = [
        subprocess.Popen(
            [*command, str(index)], env=os.environ | environment, cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for index in range(layout.processes)
    ]  # fmt: skip
    try:
        yield running
    finally:
        for process in running:
            assert process.stdin is not None
            process.stdin.close()
        for process in running:
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def measure(layouts: tuple[Layout, ...], small: bool) -> dict[str, Any]:
    """The table, a row a layout."""
    rounds, steps = (2, 2) if small else (6, 5)
    times: dict[Layout, list[float]] = {layout: [] for layout in layouts}
    with contextlib.ExitStack() as stack:
        running, facts = {}, {}
        for layout in layouts:  # one after the other: compiling takes all cores
            running[layout] = stack.enter_context(started(layout, small))
            facts[layout], *_ = [answer(process) for process in running[layout]]
        for _ in range(rounds):
            for layout, processes in running.items():
                for process in processes:
                    assert process.stdin is not None
                    process.stdin.write(f"{steps}\n")
                    process.stdin.flush()
                seconds, *_ = [answer(process) for process in processes]
                times[layout] += seconds
    medians = {layout: statistics.median(each) for layout, each in times.items()}
    base = medians[layouts[0]]
    rows = [
        {
            "processes": layout.processes,
            "devices": facts[layout]["devices"],
            "ms a step": round(1000 * medians[layout], 2),
            "to one device": round(medians[layout] / base, 3),
            "bytes exchanged": facts[layout]["bytes"],
            "loss of the first step": round(facts[layout]["loss"], 4),
        }
        for layout in layouts
    ]
    return {
        "title": "A step shared among devices and processes of one machine",
        "rows": rows,
        "notes": notes(base, facts[layouts[-1]]),
    }


def notes(seconds: float, facts: dict[str, Any]) -> list[str]:
    """What the bytes mean, and what a network would need, on paper.

    Args:
        seconds: of a step on one device.
        facts: of a layout with several devices.
    """
    size, batch = facts["bytes"], facts["batch"]
    # A ring sends each byte twice, but for the part that a host holds itself.
    sent = {hosts: 2 * size * (hosts - 1) / hosts for hosts in _HOSTS}
    told = ", ".join(
        f"{hosts} hosts {number / _NETWORK / seconds:.2%} ({number / 1e6:.2f} MB sent by each)"
        for hosts, number in sent.items()
    )
    return [
        f"bytes exchanged: results of the collective operations in the compiled step, "
        f"{size / facts['parameters']:.2f} times the {facts['parameters']} bytes of parameters; "
        "gradients (some in the form in which kernels multiply) and sums over clusters, so the "
        "same for any batch and number of devices",
        f"on paper, each host with such a batch of its own and a network of 10 Gbit/s: the "
        f"exchange, in a ring and hidden behind nothing, would add to a step of "
        f"{1000 * seconds:.0f} ms: {told}; latency not counted",
        f"each host then reads {batch / 1e6:.0f} MB of crops a step, as float32; a step of "
        f"{1000 * seconds:.0f} ms needs {batch / seconds / 1e6:.0f} MB/s of storage for each",
        "all layouts share the same cores: the ratios are the overhead of sharing, not a speed-up",
    ]


def main() -> None:
    """Measures, prints, and writes what was asked for."""
    parser = bench.parser(__doc__)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)  # one process of a layout
    args = parser.parse_args()
    if args.work:
        from dgc_jax.processes import joined

        coordinator, number, index = args.work[0], int(args.work[1]), int(args.work[2])
        alone = number == 1
        with contextlib.nullcontext() if alone else joined(coordinator, number, index):
            work(args.small)
        return
    layouts = (LAYOUTS[0], LAYOUTS[-1]) if args.small else LAYOUTS
    bench.tell(measure(layouts, args.small), args.json)


if __name__ == "__main__":
    main()
