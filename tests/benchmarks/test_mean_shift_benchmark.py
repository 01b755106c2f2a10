"""The benchmark of the mean shift times three forms of the same thing, and says so."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import python

from benchmarks import mean_shift as benchmark


def direct_sum(samples: np.ndarray, valid: np.ndarray, bandwidth: float) -> np.ndarray:
    """Mean shift pixel by pixel in float64, as the formula says."""
    samples = samples.astype(np.float64)
    out = np.zeros_like(samples)
    for r, c in np.argwhere(valid):
        box = np.s_[max(r - 2, 0) : r + 3, max(c - 2, 0) : c + 3]
        near, z = samples[box][valid[box]], samples[r, c]
        for _ in range(benchmark.ITERATIONS):
            weights = np.exp(-((z - near) ** 2).sum(-1) / (2 * bandwidth**2))
            z = weights @ near / weights.sum()
        out[r, c] = z
    return out


@pytest.mark.parametrize("form", benchmark.FORMS)
def test_every_form_is_the_mean_shift(form: str) -> None:
    samples, valid, bandwidth = benchmark.image(16)
    assert not jnp.all(valid)
    expected = direct_sum(np.asarray(samples)[0], np.asarray(valid)[0], float(bandwidth))
    got = jax.jit(benchmark.FORMS[form])(samples, valid, bandwidth)
    np.testing.assert_allclose(got[0], expected, atol=1e-5)


def test_a_form_that_differs_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    other = lambda samples, valid, h: benchmark.slices(samples, valid, 1.01 * h)  # noqa: E731
    monkeypatch.setitem(benchmark.FORMS, "slices", other)
    with pytest.raises(SystemExit, match="slices differs from blocked"):
        benchmark.row(16, False, memory=1, runs=1)


def test_the_roofline_counts_the_products_and_compares_with_it() -> None:
    # 16 queries of a block with 8 x 8 keys of 32 numbers: scores, then means; five times.
    assert benchmark.flops(8) == 5 * 4 * 2 * (2 * 16 * 64 * 32)
    line = {"blocked ms": 3.0, "slices ms": 4.0, "unfolded ms": None}
    told = benchmark.roofline(line, 8, reached=benchmark.flops(8) / 2e-3)
    assert told.endswith("these alone take 2 ms; in units of that: blocked 1.5, slices 2.0")


def test_a_form_that_takes_too_much_memory_is_left_out_and_told() -> None:
    whole, none = benchmark.row(16, False, memory=1, runs=1)
    assert none == []
    assert whole["blocked MiB"] < whole["slices MiB"] < whole["unfolded MiB"]
    line, notes = benchmark.row(16, False, memory=whole["slices MiB"] * 1.1 / 1024, runs=1)
    assert line["slices ms"] > 0
    assert line["unfolded ms"] is None
    assert line["unfolded / blocked"] is None
    assert notes == [f"16 x 16, forward: unfolded would take {line['unfolded MiB']:.0f} MiB"]


@pytest.mark.slow
def test_small_run_writes_milliseconds_and_their_ratios(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "result.json"
    done = python("-m", "benchmarks.mean_shift", "--small", "--json", path)
    assert done.returncode == 0, done.stderr
    result = json.loads(path.read_text(encoding="utf-8"))
    assert [(row["pixels"], row["pass"]) for row in result["rows"]] == [
        ("16 x 16", "forward"),
        ("16 x 16", "forward + backward"),
    ]
    for row in result["rows"]:
        for form in ("slices", "unfolded"):
            ratio = row[f"{form} ms"] / row["blocked ms"]
            assert abs(row[f"{form} / blocked"] - ratio) <= 0.05 + 0.02 * ratio  # both are rounded
        window = int(row["pixels"].split()[0]) ** 2 * 25 * 32 * 4 / 2**20  # MiB
        assert row["unfolded MiB"] > 0.9 * window  # it does make the array of its name
