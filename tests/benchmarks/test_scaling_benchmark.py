"""The benchmark of sharing a step counts bytes rightly, and every layout takes the same step."""

import json
import pathlib

import jax
import jax.numpy as jnp
import pytest
from conftest import python
from jax.sharding import NamedSharding, PartitionSpec

from benchmarks import scaling as benchmark
from dgc_jax.train.step import data_mesh


def test_bytes_are_those_of_the_sum_that_is_exchanged() -> None:
    mesh = data_mesh(2)
    split = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())
    rows = jax.device_put(jnp.ones((2, 3, 5)), split)
    summed = jax.jit(lambda x: (x.sum(0), x.max()), out_shardings=whole).lower(rows).compile()
    assert benchmark.exchanged(summed.as_text()) == 3 * 5 * 4 + 4
    each = jax.jit(lambda x: 2 * x, out_shardings=split).lower(rows).compile()
    assert benchmark.exchanged(each.as_text()) == 0


def test_bytes_on_paper_follow_from_a_ring() -> None:
    facts = {"bytes": 1_000_000, "parameters": 500_000, "batch": 50_000_000}
    meaning, network, storage, _ = benchmark.notes(0.1, facts)
    assert "2.00 times the 500000 bytes" in meaning
    # Two hosts: each sends half of it twice, 1 MB, which takes 0.8 ms of 100 at 10 Gbit/s.
    assert "2 hosts 0.80% (1.00 MB sent by each)" in network
    assert "needs 500 MB/s" in storage


@pytest.mark.slow
def test_small_run_takes_the_same_step_in_two_processes_as_in_one(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "result.json"
    done = python(
        *("-m", "benchmarks.scaling", "--small", "--json", path),
        XLA_FLAGS="--xla_backend_optimization_level=0",  # compiles faster
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert [(row["processes"], row["devices"]) for row in rows] == [(1, 1), (2, 2)]
    alone, shared = rows
    assert alone["to one device"] == 1
    assert shared["to one device"] == pytest.approx(
        shared["ms a step"] / alone["ms a step"], abs=0.01
    )
    assert shared["loss of the first step"] == pytest.approx(alone["loss of the first step"])
    assert alone["bytes exchanged"] == 0 < shared["bytes exchanged"]
