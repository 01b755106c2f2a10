"""Where this user keeps what can be made again: simulated scenes, compiled programs."""

import os

import platformdirs


def cache_folder() -> str:
    """The folder of this user for data that can be made again: `DGC_CACHE`, else the system's."""
    if chosen := os.environ.get("DGC_CACHE"):
        return os.path.abspath(os.path.expanduser(chosen))
    return platformdirs.user_cache_dir("dgc_jax", appauthor=False, opinion=False)
