"""A finished model as a file that JAX runs without this package: for deployment.

    export/model.jax    the program and its constants: StableHLO as `jax.export` serialises it
    export/model.json   what its user must know: bands, clusters, names, colours, halo

The program takes `[batch, row, column, band]` float32 reflectance, of any number of crops, rows
and columns, and returns `[batch, row, column]` uint8 labels and `[batch, row, column, K]` float32
probabilities: those of `Segmenter.predict` and `Segmenter.probabilities`, whose validity rule it
holds (a pixel that is not finite, or zero in every band, is no data).
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from dgc_jax.apply.segmenter import Segmenter
from dgc_jax.files import replacing
from dgc_jax.model.encoder import RADIUS
from dgc_jax.model.mean_shift import block_size

PLATFORMS = ("cpu", "cuda", "tpu")
"""What the one file is compiled for where it is loaded."""

PROGRAM = "model.jax"
ABOUT = "model.json"


def export(segmenter: Segmenter, folder: str | os.PathLike[str]) -> tuple[str, str]:
    """Writes a model as `<folder>/model.jax` and `<folder>/model.json`.

    Files of an earlier export are replaced, each of them whole. `docs/deploy.md` shows how they
    are used.

    Args:
        segmenter: the model, see `dgc_jax.load`.
        folder: where to write; made if missing.

    Returns:
        The two paths.

    Raises:
        InputError: the files cannot be written.
    """
    program = lower(segmenter)
    about = {"program": PROGRAM, "sha256": hashlib.sha256(program).hexdigest()}
    about |= describe(segmenter)
    paths = os.path.join(folder, PROGRAM), os.path.join(folder, ABOUT)
    _write(paths[0], program)
    _write(paths[1], json.dumps(about, indent=1).encode())
    return paths


def lower(segmenter: Segmenter) -> bytes:
    """The program for every platform and every number of crops, rows and columns, serialised."""
    block = block_size(segmenter.model.mean_shift.window)

    def model(reflectance: jax.Array) -> tuple[jax.Array, jax.Array]:
        # The mean shift pads to whole blocks. Padded here, its shapes are multiples of the block
        # by construction; JAX cannot prove it of a remainder.
        rows, columns = reflectance.shape[1:3]
        missing = [-(-side // block) * block - side for side in (rows, columns)]
        padded = jnp.pad(reflectance, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))
        # Compiled as one: what the two share is computed once.
        labels, probabilities = segmenter.predict(padded), segmenter.probabilities(padded)
        return labels[:, :rows, :columns], probabilities[:, :rows, :columns]

    shape = jax.export.symbolic_shape(f"batch, row, column, {segmenter.bands}")
    with _without_source_paths():
        exported = jax.export.export(jax.jit(model), platforms=PLATFORMS)(
            jax.ShapeDtypeStruct(shape, jnp.float32)
        )
        return bytes(exported.serialize())


def describe(segmenter: Segmenter) -> dict[str, Any]:
    """What a user of the program must know, as JSON values; `docs/deploy.md` lists them."""
    window = segmenter.model.mean_shift.window
    block = block_size(window)
    constants, wavelengths = segmenter.model.normalisation, segmenter.wavelengths
    return {
        "identity": segmenter.identity,
        "versions": {name: version(name) for name in ("dgc-jax", "jax", "jaxlib")},
        "platforms": list(PLATFORMS),
        "input": {"shape": ["batch", "row", "column", segmenter.bands], "type": "float32"},
        "outputs": {
            "labels": {"shape": ["batch", "row", "column"], "type": "uint8"},
            "probabilities": {
                "shape": ["batch", "row", "column", segmenter.clusters],
                "type": "float32",
            },
        },
        "bands": segmenter.bands,
        "wavelengths_nm": None if wavelengths is None else wavelengths.tolist(),
        "clusters": segmenter.clusters,
        "names": list(segmenter.names),
        "colours": segmenter.colours.tolist(),
        "halo": -(-(RADIUS + window // 2) // block) * block,
        "block": block,
        "normalisation": {
            "kind": constants.kind,
            "bin_of_band": np.argmax(constants.bins, axis=1).tolist(),
            "scale": float(constants.scale),
            "mean": np.asarray(constants.mean).tolist(),
            "deviation": np.asarray(constants.deviation).tolist(),
        },
    }


@contextlib.contextmanager
def _without_source_paths() -> Iterator[None]:
    """Keeps the paths of this machine's Python files out of what is lowered.

    They are of no use to others, and without them equal models give equal files.
    """
    name = "jax_traceback_in_locations_limit"
    limit = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, limit)


def _write(path: str, content: bytes) -> None:
    with replacing(path) as unfinished, open(unfinished, "wb") as file:
        file.write(content)
