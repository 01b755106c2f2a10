"""Sixteen clusters: more than there are materials, to see what the scenes are made of.

Not in the paper.

Command:  python launch.py --config=configs/dgc16.py
Test run: python launch.py --config=configs/dgc16.py:tiny
"""

import ml_collections

from dgc_jax import configuration, presets


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration; variant `tiny` is a test run of under a minute."""
    return configuration.as_config_dict(presets.preset(f"dgc16:{variant}"))
