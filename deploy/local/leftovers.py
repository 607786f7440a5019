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
    """Ids of the processes of the directory, the caller and his parents excepted."""
    mark, mine = os.fsencode(directory), _ancestry()
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit()
        and int(entry.name) not in mine
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
    return _stat(entry)[4] != "0"


def _ancestry() -> set[int]:
    """This process, whoever started it, and so on."""
    found: set[int] = set()
    pid = os.getpid()
    while pid:
        found.add(pid)
        pid = int(_stat(Path("/proc") / str(pid))[1])
    return found


def _stat(entry: Path) -> list[str]:
    """State, parent, group, session, terminal and so on; zeros for what has ended."""
    try:
        # The command's name before them may hold spaces and parentheses.
        return (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["0"] * 5
