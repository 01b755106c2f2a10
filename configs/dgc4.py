"""Four clusters: lesions become a cluster of their own.

Paper: Deep Global Clustering, K = 4: background IoU 0.944, tissue IoU 0.780 on 86 leaf scenes.

Command:  python launch.py --config=configs/dgc4.py
Test run: python launch.py --config=configs/dgc4.py:tiny

Expected on the simulated leaf scenes: see docs/method.md, "What to expect".
"""

import ml_collections

from dgc_jax import configuration, presets


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration; variant `tiny` is a test run of under a minute."""
    return configuration.as_config_dict(presets.preset(f"dgc4:{variant}"))
