"""Four clusters: lesions become a cluster of their own.

Paper: Deep Global Clustering, K = 4: background IoU 0.944, tissue IoU 0.780 on 86 leaf scenes.

Command:  python launch.py --config=configs/dgc4.py
Test run: python launch.py --config=configs/dgc4.py:tiny

Expected on the simulated leaf scenes: see docs/method.md, "What to expect".
"""

import ml_collections

from configs import default


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration; variant `tiny` is a test run of under a minute."""
    config = default.get_config()
    config.clusters.final = 4
    return default.apply_variant(config, variant)
