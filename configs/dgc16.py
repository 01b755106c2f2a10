"""Sixteen clusters: more than there are materials, to see what the scenes are made of.

Not in the paper.

Command:  python launch.py --config=configs/dgc16.py
Test run: python launch.py --config=configs/dgc16.py:tiny
"""

import ml_collections

from configs import default


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration; variant `tiny` is a test run of under a minute."""
    config = default.get_config()
    config.clusters.final = 16
    return default.apply_variant(config, variant)
