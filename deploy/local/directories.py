"""Where things lie on this machine: what may be thrown away, and what is remembered.

Source: the XDG base directories; for root those of the Filesystem Hierarchy Standard,
because root's home is closed to the account as which jobs run.
"""

from __future__ import annotations

import os
from pathlib import Path

NAME = "interlinkspawner"


def cache_directory() -> Path:
    """Environments and builds, made again when missing."""
    return _directory("/var/cache", "XDG_CACHE_HOME", ".cache")


def state_directory() -> Path:
    """The demo's users, databases and logs."""
    return _directory("/var/lib", "XDG_STATE_HOME", ".local/state")


def _directory(for_root: str, variable: str, below_home: str) -> Path:
    if os.geteuid() == 0:
        return Path(for_root) / NAME
    return Path(os.environ.get(variable) or Path.home() / below_home) / NAME
