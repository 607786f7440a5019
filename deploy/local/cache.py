"""The directory outside the repository where what is slow to make is kept.

Owns where it is, who may read it, and that two programs at once make a thing once.
Must not know what is kept there. Standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def directory() -> Path:
    """The cache, created if need be.

    ``$INTERLINKSPAWNER_CACHE`` wins. Root's lies where every user can read it,
    because the site's processes run as an ordinary user even when root starts them.
    """
    chosen = os.environ.get("INTERLINKSPAWNER_CACHE")
    if chosen:
        path = Path(chosen).absolute()
    elif os.geteuid() == 0:
        path = Path("/var/cache/interlinkspawner")
    else:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        path = Path(home) / "interlinkspawner"
    return readable(path)


def readable(path: Path) -> Path:
    """Make a directory that everybody can read, whatever the umask says."""
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o755)
    return path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; whoever comes second waits until the first is done."""
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
