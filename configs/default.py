"""What `configs/*.py` are made of: the configuration of the package, for `--config.FIELD=VALUE`.

Every field, with its default, bounds, unit and source: `dgc_jax/config.py`. What the configurations
of this folder set: `dgc_jax/presets.py`. A file of your own changes what it likes:

    from configs import default

    def get_config(variant=""):
        config = default.get_config()
        config.clusters.final = 6
        return default.apply_variant(config, variant)
"""

import ml_collections

from dgc_jax import configuration, presets


def get_config() -> ml_collections.ConfigDict:
    """The defaults."""
    return configuration.as_config_dict({})


def apply_variant(config: ml_collections.ConfigDict, variant: str) -> ml_collections.ConfigDict:
    """Changes a configuration as `--config=FILE:VARIANT` asks.

    Raises:
        InputError: if there is no such variant.
    """
    config.update(presets.variant(variant))
    return config
