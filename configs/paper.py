"""The published recipe, switched on again; corrected only where it would be a bug.

Paper: Deep Global Clustering, K = 4, random centroids trained directly, no binning, no linear
path, no anchor, light changes of a fixed strength, balance of the same pixels, learning rate 1e-4.
Kept from here, because the published code would not train (docs/method.md, "Departures from the
paper"): the spectral network runs along the bands, consistency compares the same physical pixels
and is bounded, balance has the right sign, borders are masked.

Command:  python launch.py --config=configs/paper.py
Test run: python launch.py --config=configs/paper.py:tiny

Expected on the simulated leaf scenes: see docs/quality.md, "Ablations".
"""

import ml_collections

from dgc_jax import configuration, presets


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration; variant `tiny` is a test run of under a minute."""
    return configuration.as_config_dict(presets.preset(f"paper:{variant}"))
