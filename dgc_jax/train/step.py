"""One step of training: augment, encode, mean-shift, four losses, AdamW, then the centroids.

`train_step` is a pure function of the state and a batch of crop pairs. `jitted_step` compiles it
once, donates the state, and shares the batch among the devices of a mesh, which may be those of
many processes: each then reads its own pairs of a batch only, and holds the whole state.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from dgc_jax import processes
from dgc_jax.data.crops import Batch
from dgc_jax.errors import InputError
from dgc_jax.model import augment, centroids, losses
from dgc_jax.model.model import Parameters
from dgc_jax.train.state import TrainState

Metrics = dict[str, Float[Array, "..."]]


def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    """Takes one step.

    Args:
        state: the state before the step.
        batch: crops `[batch, 2, row, column, band]` reflectance, valid
            `[batch, 2, row, column]` bool, offset `[batch, 2]` pixels from the first crop to the
            second.

    Returns:
        The state after the step, and the metrics: `loss`, each term as `loss/<name>`,
        `gradient_norm`, `bandwidth`, and `usage` `[K]`, the share of each cluster.
    """
    recipe = state.recipe
    key = jax.random.fold_in(state.key, state.step)
    augment_key, kick_key = jax.random.split(key)

    crops, seen, offset = (jnp.asarray(array) for array in batch)
    pairs, _, rows, columns, bands = crops.shape
    views = crops.reshape(2 * pairs, rows, columns, bands)
    valid = seen.reshape(2 * pairs, rows, columns)
    spectra, turned, element = augment.augment_views(
        augment_key, state.model.bins(views, valid), valid, recipe.augment, state.light
    )
    spectra = state.model.normalise(spectra)

    def forward(
        params: Parameters,
    ) -> tuple[
        Float[Array, ""], tuple[Metrics, Float[Array, "pixel embedding"], Float[Array, "pixel K"]]
    ]:
        model = state.model.replace(params=params)
        p, z = model.embed(spectra, turned)
        log_q = model.assign(z)
        flat_z, flat_q = z.reshape(-1, z.shape[-1]), log_q.reshape(-1, log_q.shape[-1])
        weights = turned.reshape(-1).astype(jnp.float32)
        log_q = augment.unturn(log_q, element)
        pixels = _shared_pixels(log_q, seen, offset, recipe.displacement)
        q1, q2, shared = pixels(0, 0)
        terms = {
            "compactness": losses.compactness(flat_z, flat_q, state.centroids, weights),
            "orthogonality": losses.orthogonality(flat_z, flat_q, weights, recipe.margin),
            "consistency": losses.consistency(q1, q2, shared),
            "balance": _balance(pixels, recipe.displacement),
        }
        if recipe.weights.anchor:
            p0 = model.encode(spectra, turned, encoder=state.anchor)
            terms["anchor"] = losses.anchor(
                p.reshape(flat_z.shape), p0.reshape(flat_z.shape), weights
            )
        q = jnp.exp(flat_q) * weights[:, None]
        return losses.total(terms, recipe.weights), (terms, flat_z, q)

    (loss, (terms, z, q)), gradient = jax.value_and_grad(forward, has_aux=True)(state.params)
    optimizer = recipe.optimizer.transformation()
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    bank = centroids.move(kick_key, state.centroids, z, q, decay=recipe.decay, noise=recipe.kick)

    metrics = {"loss": loss} | {f"loss/{name}": term for name, term in terms.items()}
    metrics["gradient_norm"] = optax.tree.norm(gradient)
    metrics["bandwidth"] = jax.nn.softplus(state.params["mean_shift"]["bandwidth"])
    metrics["usage"] = jnp.sum(q, axis=0) / jnp.maximum(jnp.sum(q), 1)
    model = state.model.replace(params=params, centroids=bank)
    return state.replace(step=state.step + 1, model=model, opt_state=opt_state), metrics


Pixels = Callable[
    [int, int],
    tuple[Float[Array, "pixel K"], Float[Array, "pixel K"], Float[Array, " pixel"]],
]
"""Assignments of pixels of both crops, those of the second so many rows and columns displaced."""


def _balance(pixels: Pixels, displacement: int) -> Float[Array, ""]:
    """The balance between pixels of the second crops and pixels beside them in the first.

    Args:
        pixels: see `_shared_pixels`.
        displacement: in pixels: to the right, below and along both diagonals, of which the mean is
            taken; 0: the same pixels. The balance is symmetric, so that the other four neighbours
            count as much.
    """
    d = displacement
    beside = ((0, d), (d, 0), (d, d), (d, -d)) if d else ((0, 0),)
    found = [losses.balance(*pixels(*by)) for by in beside]
    return sum(found, jnp.float32(0)) / len(found)


def _shared_pixels(
    log_q: Float[Array, "views row column K"],
    valid: Bool[Array, "batch 2 row column"],
    offset: Int[Array, "batch 2"],
    furthest: int = 0,
) -> Pixels:
    """Assignments of the pixels that both crops of a pair show.

    The second crops are looked up once, with a margin in which the displaced pixels lie.

    Args:
        log_q: `[2 batch, row, column, K]` in crop coordinates.
        valid: `[batch, 2, row, column]` bool.
        offset: `[batch, 2]` pixels from the first crop to the second.
        furthest: greatest displacement, rows or columns.

    Returns:
        A function of a displacement, which the second crops are moved by: `[pixel, K]` in the first
        view, `[pixel, K]` in the second, `[pixel]` 1 where both are valid.
    """
    pairs, _, rows, columns = valid.shape
    clusters = log_q.shape[-1]
    log_q = log_q.reshape(pairs, 2, rows, columns, clusters)
    second, inside = augment.align(log_q[:, 1], offset, furthest)
    second_valid, _ = augment.align(valid[:, 1], offset, furthest)
    second_valid &= inside
    first = log_q[:, 0].reshape(-1, clusters)

    def pixels(down: int, right: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        top, left = furthest - down, furthest - right
        window = np.s_[:, top : top + rows, left : left + columns]
        shared = valid[:, 0] & second_valid[window]
        moved = second[window].reshape(-1, clusters)
        return first, moved, shared.reshape(-1).astype(jnp.float32)

    return pixels


def data_mesh(batch: int) -> Mesh:
    """A mesh of one axis, `data`, over which a batch is split.

    Args:
        batch: number of pairs in a batch, of all processes together.

    Returns:
        The mesh of all devices of all processes; a process on its own leaves devices out until
        they share the batch evenly.

    Raises:
        InputError: if the devices of several processes do not share the batch evenly.
    """
    devices = jax.devices()
    if jax.process_count() == 1:
        number = max(n for n in range(1, len(devices) + 1) if batch % n == 0)
        devices = devices[:number]
    elif batch % len(devices):
        raise InputError(
            "data.batch",
            expected=f"a multiple of {len(devices)}, the number of devices of all "
            f"{jax.process_count()} processes",
            found=batch,
            remedy="change data.batch or the number of processes",
        )
    return jax.make_mesh((len(devices),), ("data",), (jax.sharding.AxisType.Auto,), devices=devices)


def own_slots(mesh: Mesh, batch: int) -> list[int]:
    """Which pairs of a batch the devices of this process compute, ascending."""
    split = NamedSharding(mesh, PartitionSpec("data"))
    places = split.addressable_devices_indices_map((batch,)).values()
    return sorted({slot for place in places if place for slot in range(batch)[place[0]]})


def whole_batch(mesh: Mesh, batch: int, own: Batch) -> Batch:
    """The batch of all processes, on the devices of the mesh.

    Args:
        mesh: see `data_mesh`.
        batch: number of pairs in it.
        own: the pairs `own_slots(mesh, batch)` of it, in this process.

    Returns:
        Global arrays `[batch, ...]`, split over the mesh.
    """
    split = NamedSharding(mesh, PartitionSpec("data"))
    return Batch(
        *(
            jax.make_array_from_process_local_data(split, array, (batch, *array.shape[1:]))
            for array in own
        )
    )


def everywhere(state: TrainState, mesh: Mesh) -> TrainState:
    """The first process's state, on every device of the mesh."""
    plain = processes.from_first(state.replace(key=jax.random.key_data(state.key)))
    plain = jax.device_put(plain, NamedSharding(mesh, PartitionSpec()))
    return plain.replace(key=jax.random.wrap_key_data(plain.key))


def here(state: TrainState) -> TrainState:
    """The state of `everywhere` on one device, with which this process can work on its own."""
    return jax.tree.map(lambda array: array.addressable_data(0), state)


def jitted_step(mesh: Mesh) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """`train_step`, compiled: the state replicated and donated, the batch split over the mesh."""
    whole, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    return jax.jit(
        train_step,
        in_shardings=(whole, split),
        out_shardings=(whole, whole),
        donate_argnums=0,
    )
