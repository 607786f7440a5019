"""Processes that belong to a directory and were left behind by whoever started them.

A crashed demo, a daemon that forked, a job whose scheduler died: each still names the
directory in its environment or its arguments, and none has a terminal, as the shells
and pagers of people do who look at its files. Owns finding and ending them; must not
know what they are. Linux only: source of the formats is proc(5).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

_WHERE_SOMEBODY_WAS = (b"PWD=", b"OLDPWD=")


def find(directory: Path) -> list[int]:
    """Process ids of everything that belongs to the directory, except the caller."""
    mark = os.fsencode(directory)
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit()
        and int(entry.name) != os.getpid()
        and any(mark in word for word in _words(entry))
        and not _has_terminal(entry)
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


def _words(entry: Path) -> list[bytes]:
    """Arguments and environment; empty for what has ended and for other users'."""
    words: list[bytes] = []
    for name in ("cmdline", "environ"):
        with contextlib.suppress(OSError):
            words += (entry / name).read_bytes().split(b"\0")
    return [word for word in words if not word.startswith(_WHERE_SOMEBODY_WAS)]


def _has_terminal(entry: Path) -> bool:
    with contextlib.suppress(OSError):
        # The command's name before it may hold spaces and parentheses.
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
        return fields[4] != "0"
    return False
