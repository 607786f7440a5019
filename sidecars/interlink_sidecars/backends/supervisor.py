"""The parent of one local job: starts it once, ends it in time, leaves nothing.

Run as a program, with no package around it: ``supervisor.py DIRECTORY WALLTIME
GRACE``. It detaches, so that the job outlives the sidecar, and claims the directory;
a directory that is already claimed is left alone. Marks that it writes:

``claim``  JSON: its pid and start time, and when (Unix time)
``ended``  ``cancelled`` or ``timeout`` where that was asked of the job, else
           ``ended``, and the Unix time; written once nothing of the job is left
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
WATCHED = {signal.SIGTERM, signal.SIGCHLD}
MARGIN_SECONDS = 5


def start_time(pid: int) -> str | None:
    """When a process began, in kernel ticks; None if it does not run.

    With the pid it names a process for good: pids are used again, times are not.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def claim(directory: Path, content: dict[str, object]) -> bool:
    """Take a job for good; False if somebody has it."""
    draft = directory / f".claim-{os.getpid()}"
    draft.write_text(json.dumps(content))
    try:
        (directory / "claim").hardlink_to(draft)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def main(argv: list[str]) -> int:
    """Detach, claim and run one job; the first process returns once it is claimed."""
    directory, walltime, grace = Path(argv[1]), float(argv[2]), float(argv[3])
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        os.read(reader, 1)  # until the child has closed its end
        return 0 if (directory / "claim").exists() else 1
    os.close(reader)
    os.setsid()
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    own = os.getpid()
    if not claim(directory, {"pid": own, "start": start_time(own), "at": time.time()}):
        return 0
    with (directory / "logs" / "_job.log").open("ab") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    job = subprocess.Popen(
        ["bash", directory / "job.sh"],
        stdin=subprocess.DEVNULL,
        preexec_fn=_in_job,  # noqa: PLW1509 - this program has one thread
    )
    os.close(writer)
    why = _watch(job, walltime, grace)
    _end_descendants()
    draft = directory / ".ended"
    draft.write_text(f"{why} {int(time.time())}\n")
    draft.rename(directory / "ended")
    return 0


def prctl(option: int, value: int) -> None:
    """Linux' prctl(2)."""
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _in_job() -> None:
    """In the new process: it gets signals again, and TERM if we die."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _watch(job: subprocess.Popen[bytes], walltime: float, grace: float) -> str:
    """Wait for the end and say why it came.

    TERM is handed on, USR1 says that the time is over, KILL follows in the end.
    """
    limit = time.monotonic() + walltime if walltime else None
    doom = None
    why = "ended"
    while job.poll() is None:
        deadlines = [moment for moment in (limit, doom) if moment is not None]
        pause = min(deadlines) - time.monotonic() if deadlines else 3600
        got = signal.sigtimedwait(WATCHED, max(0, pause))
        now = time.monotonic()
        ending = None
        if got is not None and got.si_signo == signal.SIGTERM:
            ending, reason = signal.SIGTERM, "cancelled"
        elif limit is not None and now >= limit:
            ending, reason, limit = signal.SIGUSR1, "timeout", None
        if ending is not None:
            why = reason if doom is None else why
            doom = doom or now + grace + MARGIN_SECONDS
            job.send_signal(ending)
        if doom is not None and now >= doom:
            job.kill()
    return why


def _end_descendants() -> None:
    """Kill what the job left; all of it has become our child."""
    while True:
        for child in _children():
            os.kill(child, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    own = str(os.getpid())
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if stat[1] == own:
                found.append(int(entry.name))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv))
