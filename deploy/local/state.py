"""The directory where the demo remembers: users, databases, notebooks and logs.

Owns where it is. Everybody may pass through it, because the site's part of it belongs
to another account than root's; what is secret in it is closed below. Standard library
only.
"""

from __future__ import annotations

import os
from pathlib import Path


def directory() -> Path:
    """Where it is: ``$XDG_STATE_HOME`` or its default, for root ``/var/lib``."""
    if os.geteuid() == 0:
        home = "/var/lib"
    else:
        home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    return Path(home) / "interlinkspawner"
