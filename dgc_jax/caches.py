"""Where this user keeps what can be made again: simulated scenes, compiled programs."""

import os
import sys


def cache_folder() -> str:
    """The folder of this user for data that can be made again: `DGC_CACHE`, else the system's."""
    if chosen := os.environ.get("DGC_CACHE"):
        return os.path.abspath(os.path.expanduser(chosen))
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        base = os.path.join(home, "Library", "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    return os.path.join(base, "dgc_jax")
