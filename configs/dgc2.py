"""Two clusters: background and tissue.

Paper: Deep Global Clustering, K = 2: background IoU 0.972, tissue IoU 0.878 on 86 leaf scenes
(their mean is 0.925; the paper prints 0.935).

Command:  python launch.py --config=configs/dgc2.py
Test run: python launch.py --config=configs/dgc2.py:tiny

Expected on the simulated leaf scenes: see docs/method.md, "What to expect".
"""

import ml_collections

from configs import default


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration; variant `tiny` is a test run of under a minute."""
    config = default.get_config()
    config.clusters.final = 2
    return default.apply_variant(config, variant)
