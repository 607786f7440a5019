"""Processes that belong to a directory and were left behind by whoever started them.

A crashed demo, a daemon that forked, a job whose scheduler died: each still names the
directory in its environment, its arguments or its working directory. Owns finding and
ending them; must not know what they are. Linux only (/proc).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path


def find(directory: Path) -> list[int]:
    """Process ids of everything that names the directory, the caller excepted."""
    mark = os.fsencode(directory)
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit()
        and int(entry.name) != os.getpid()
        and mark in _words(entry)
    ]


def end(directory: Path, seconds: float = 10) -> list[int]:
    """Kill them all, those that appear meanwhile too; the ids of any that remain."""
    deadline = time.monotonic() + seconds
    while (left := find(directory)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    return left


def _words(entry: Path) -> bytes:
    """All that a process says about where it belongs; empty for foreign ones."""
    said = b""
    for name in ("environ", "cmdline"):
        with contextlib.suppress(OSError):
            said += (entry / name).read_bytes() + b"\0"
    with contextlib.suppress(OSError):
        said += os.fsencode((entry / "cwd").readlink())
    return said
