"""Two clusters: background and tissue.

Paper: Deep Global Clustering, K = 2: background IoU 0.972, tissue IoU 0.878 on 86 leaf scenes
(their mean is 0.925; the paper prints 0.935).

Command:  python launch.py --config=configs/dgc2.py
Test run: python launch.py --config=configs/dgc2.py:tiny

Expected on the simulated leaf scenes: see docs/method.md, "What to expect".
"""

import ml_collections

from dgc_jax import configuration, presets


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration; variant `tiny` is a test run of under a minute."""
    return configuration.as_config_dict(presets.preset(f"dgc2:{variant}"))
