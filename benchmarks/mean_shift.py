"""The mean shift in blocks against the two plain ways of writing it.

    python -m benchmarks.mean_shift [--json FILE] [--small] [--sides 64,128] [--memory GIB]

*blocked* is `dgc_jax.model.mean_shift`: matrix products of blocks of queries with the keys around
them. *slices* adds up the window as 25 shifted copies of the image. *unfolded* makes the array of
pixels x 25 x 32 first, as the authors' code does. All three take the same embeddings, with some
invalid pixels, and must agree to 1e-4, in their result or their gradients, before they are timed.
Then they take turns, so that whatever else the machine does slows all of them; medians. What the
machine's own matrix product reaches says how much there is to gain at most.
"""

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import bench
from dgc_jax.model.mean_shift import block_size, mean_shift

SIDES = (64, 128, 256, 512)  # pixels
CHANNELS, ITERATIONS, WINDOW = 32, 5, 5
BANDWIDTH = 0.25  # what training starts from
TOLERANCE = 1e-4

Function = Callable[[jax.Array, jax.Array, jax.Array], Any]


def blocked(samples: jax.Array, valid: jax.Array, bandwidth: jax.Array) -> jax.Array:
    """The package's own."""
    return mean_shift(samples, valid, bandwidth, iterations=ITERATIONS, window=WINDOW)


def _shifted(image: jax.Array) -> list[jax.Array]:
    """The image moved by every offset of the window, zero or False outside."""
    rows, columns = image.shape[1:3]
    edge = (WINDOW // 2, WINDOW // 2)
    padded = jnp.pad(image, ((0, 0), edge, edge) + ((0, 0),) * (image.ndim - 3))
    return [padded[:, i : i + rows, j : j + columns] for i in range(WINDOW) for j in range(WINDOW)]


def slices(samples: jax.Array, valid: jax.Array, bandwidth: jax.Array) -> jax.Array:
    """A sum over 25 shifted images; gradients as the package's, from the last iteration alone."""
    samples = jnp.where(valid[..., None], samples, 0)
    neighbours = list(zip(_shifted(samples), _shifted(valid), strict=True))
    z = samples
    for _ in range(ITERATIONS):
        query = jax.lax.stop_gradient(z)
        total, weighted = jnp.zeros(valid.shape), jnp.zeros(samples.shape)
        for neighbour, usable in neighbours:
            distance = jnp.sum((query - neighbour) ** 2, axis=-1)
            weight = jnp.where(usable, jnp.exp(-distance / (2 * bandwidth**2)), 0)
            total = total + weight
            weighted = weighted + weight[..., None] * neighbour
        z = weighted / jnp.maximum(total, 1e-30)[..., None]
    return jnp.where(valid[..., None], z, 0)


def unfolded(samples: jax.Array, valid: jax.Array, bandwidth: jax.Array) -> jax.Array:
    """Every pixel with a copy of its window; gradients as the package's."""
    samples = jnp.where(valid[..., None], samples, 0)
    # The barrier keeps the compiler from turning the copies into slices again.
    windows = jax.lax.optimization_barrier(jnp.stack(_shifted(samples), axis=3))
    usable = jnp.stack(_shifted(valid), axis=3)  # [batch, row, column, 25]
    z = samples
    for _ in range(ITERATIONS):
        query = jax.lax.stop_gradient(z)[..., None, :]
        distance = jnp.sum((query - windows) ** 2, axis=-1)
        weight = jnp.where(usable, jnp.exp(-distance / (2 * bandwidth**2)), 0)
        total = jnp.maximum(jnp.sum(weight, axis=-1, keepdims=True), 1e-30)
        z = jnp.einsum("brck,brckd->brcd", weight / total, windows)
    return jnp.where(valid[..., None], z, 0)


FORMS: dict[str, Function] = {"blocked": blocked, "slices": slices, "unfolded": unfolded}


def with_backward(function: Function) -> Function:
    """The sum of a form's result, with its gradients to the samples and the bandwidth."""

    def summed(samples: jax.Array, valid: jax.Array, bandwidth: jax.Array) -> jax.Array:
        return jnp.sum(function(samples, valid, bandwidth))

    return jax.value_and_grad(summed, argnums=(0, 2))


def image(side: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Unit embeddings of four materials in patches, a few pixels invalid, and the bandwidth."""
    rng = np.random.default_rng(0)
    materials = rng.normal(size=(4, CHANNELS))
    patches = rng.integers(4, size=(-(-side // 8), -(-side // 8)))
    where = np.kron(patches, np.ones((8, 8), int))[:side, :side]
    samples = materials[where] + 0.5 * rng.normal(size=(side, side, CHANNELS))
    samples /= np.linalg.norm(samples, axis=-1, keepdims=True)
    valid = rng.random((side, side)) > 0.02
    return (
        jnp.asarray(samples[None], jnp.float32),
        jnp.asarray(valid[None]),
        jnp.float32(BANDWIDTH),
    )


def difference(one: Any, other: Any) -> float:
    """Largest difference, in units of the larger of 1 and the largest magnitude of each array."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(
        float(jnp.max(jnp.abs(a - b)) / jnp.maximum(1, jnp.max(jnp.abs(a)))) for a, b in pairs
    )


def row(side: int, backward: bool, memory: float, runs: int) -> tuple[dict[str, Any], list[str]]:
    """One line of the table, and what could not be measured.

    Raises:
        SystemExit: the forms disagree.
    """
    arguments = image(side)
    compiled, temporary, notes = {}, {}, []
    name = "forward + backward" if backward else "forward"
    for form, function in FORMS.items():
        program = jax.jit(with_backward(function) if backward else function)
        ready = program.lower(*arguments).compile()
        temporary[form] = ready.memory_analysis().temp_size_in_bytes / 2**20
        if temporary[form] > memory * 1024:
            notes.append(f"{side} x {side}, {name}: {form} would take {temporary[form]:.0f} MiB")
        else:
            compiled[form] = ready
    expected = compiled["blocked"](*arguments)
    for form, ready in compiled.items():
        if not (found := difference(expected, ready(*arguments))) <= TOLERANCE:
            sys.exit(f"{side} x {side}, {name}: {form} differs from blocked by {found:.1e}")
    ms = milliseconds({form: (ready, *arguments) for form, ready in compiled.items()}, runs)
    line: dict[str, Any] = {"pixels": f"{side} x {side}", "pass": name}
    line |= {f"{form} ms": round(ms[form], 3) if form in ms else None for form in FORMS}
    for form in ("slices", "unfolded"):
        ratio = round(ms[form] / ms["blocked"], 1) if form in ms else None
        line[f"{form} / blocked"] = ratio
    line |= {f"{form} MiB": round(temporary[form], 1) for form in FORMS}
    return line, notes


def milliseconds(calls: Mapping[str, tuple[Any, ...]], runs: int) -> dict[str, float]:
    """Medians of compiled functions with their arguments, in turn, their results waited for."""
    waited = lambda function, *given: jax.block_until_ready(function(*given))  # noqa: E731
    ready = {name: functools.partial(waited, *call) for name, call in calls.items()}
    return {name: 1000 * wall for name, (wall, _) in bench.in_turn(ready, runs).items()}


def flops(side: int) -> int:
    """Operations in the matrix products of the blocked form: two for each query and key."""
    keys = (block_size(WINDOW) + WINDOW - 1) ** 2  # around the block that a query is in
    return side**2 * ITERATIONS * 2 * (2 * keys * CHANNELS)


def peak(runs: int, size: int = 2048) -> float:
    """Operations a second that a product of two matrices reaches here."""
    matrix = jnp.ones((size, size), jnp.float32)
    product = jax.jit(jnp.matmul).lower(matrix, matrix).compile()
    return 2000 * size**3 / milliseconds({"product": (product, matrix, matrix)}, runs)["product"]


def roofline(line: dict[str, Any], side: int, reached: float) -> str:
    """What the blocked form could take at best, in words.

    Args:
        line: of the table, its forward pass.
        side: of its image, pixels.
        reached: operations a second, from `peak`.
    """
    floor = 1000 * flops(side) / reached
    known = [form for form in FORMS if line[f"{form} ms"] is not None]
    apart = ", ".join(f"{form} {line[f'{form} ms'] / floor:.1f}" for form in known)
    return (
        f"{side} x {side}, forward: the blocked form's products are {flops(side) / 1e9:.3g} GFLOP; "
        f"at {reached / 1e9:.0f} GFLOP/s, which the product of two large matrices reaches here, "
        f"these alone take {floor:.3g} ms; in units of that: {apart}"
    )


def measure(sides: tuple[int, ...], memory: float, runs: int) -> dict[str, Any]:
    """The table: a row for each side and pass."""
    rows, notes = [], []
    # A GPU would round the products of float32 matrices; here all forms compute the same.
    with jax.default_matmul_precision("highest"):
        for backward in (False, True):
            for side in sides:
                line, told = row(side, backward, memory, runs)
                rows.append(line)
                notes += told
        side = max(side for side in sides if side <= 256 or side == min(sides))
        forward = next(line for line in rows if line["pixels"] == f"{side} x {side}")
        notes.append(roofline(forward, side, peak(runs)))
    notes.append(
        f"{CHANNELS} channels, window {WINDOW} x {WINDOW}, {ITERATIONS} iterations, float32 with "
        f"exact products; medians of {runs} runs in turn; MiB are temporary memory"
    )
    return {"title": "Mean shift", "rows": rows, "notes": notes}


def main() -> None:
    """Measures, prints, and writes what was asked for."""
    parser = bench.parser(__doc__)
    parser.add_argument("--sides", help="pixels, with commas between")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--memory", type=float, default=8, help="GiB that a form may take")
    args = parser.parse_args()
    sides = (16,) if args.small else SIDES
    if args.sides:
        sides = tuple(int(side) for side in args.sides.split(","))
    bench.tell(measure(sides, args.memory, 2 if args.small else args.runs), args.json)


if __name__ == "__main__":
    main()
