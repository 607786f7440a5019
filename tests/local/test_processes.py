"""Supervised processes, with real processes."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.processes import (
    PortBusyError,
    Process,
    ProcessError,
    answering,
    fixed_port,
    free_port,
    listening,
    logged,
)

ROOT = Path(__file__).parents[2]


def shell(tmp_path: Path, script: str, **options: str) -> Process:
    return Process(
        "thing", ["/bin/sh", "-c", script], tmp_path / "thing.log", **options
    )


async def gone(pid: int) -> None:
    """Wait until a process that is not our child has ended (or is a zombie)."""
    while True:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        await asyncio.sleep(0.01)


def child_pid(process: Process) -> int:
    """The pid that the shell script has written as its last word."""
    return int(process.logged_bytes().split()[-1])


async def test_a_log_line_makes_it_ready(tmp_path: Path) -> None:
    process = shell(tmp_path, "echo serving; exec sleep 600")
    process.start()
    await process.ready(logged("serving"))
    assert process.running
    await process.stop()
    assert process.returncode == -signal.SIGTERM
    await process.stop()


async def test_a_listening_port_makes_it_ready(tmp_path: Path) -> None:
    port = free_port()
    argv = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    process = Process("web", argv, tmp_path / "web.log", cwd=tmp_path)
    process.start()
    try:
        await process.ready(listening(port))
        await process.ready(answering(f"http://127.0.0.1:{port}/"))
        with pytest.raises(ProcessError, match=r"web was not ready after 0.3 s"):
            await process.ready(answering(f"http://127.0.0.1:{port}/none"), timeout=0.3)
        with pytest.raises(PortBusyError, match=f"Port {port} on 127.0.0.1"):
            fixed_port(port)
    finally:
        await process.stop()
    assert fixed_port(port) == port


async def test_an_early_end_shows_the_tail_of_the_log(tmp_path: Path) -> None:
    process = shell(tmp_path, "echo no such flag: --foo >&2; exit 3")
    process.start()
    with pytest.raises(ProcessError, match=r"(?s)code 3 .*no such flag: --foo"):
        await process.ready(logged("never written"))
    await process.stop()
    assert process.returncode == 3


async def test_the_log_of_an_earlier_life_does_not_count(tmp_path: Path) -> None:
    process = shell(tmp_path, "echo serving; exec sleep 600")
    process.start()
    await process.ready(logged("serving"))
    first = process.pid
    await process.restart()
    await process.ready(logged("serving"))
    assert process.pid != first
    assert process.log.read_text() == "serving\nserving\n"
    assert process.logged_bytes() == b"serving\n"
    await process.stop()


async def test_what_hangs_on_sigterm_is_killed(tmp_path: Path) -> None:
    process = shell(tmp_path, "trap '' TERM; echo deaf; while :; do sleep 1; done")
    process.start()
    await process.ready(logged("deaf"))
    await process.stop(grace=0.2)
    assert process.returncode == -signal.SIGKILL


async def test_stop_takes_the_whole_group(tmp_path: Path) -> None:
    process = shell(tmp_path, "sleep 600 & echo $!; wait")
    process.start()
    await process.ready(logged("\n"))
    child = child_pid(process)
    await process.stop()
    await gone(child)


async def test_kill_leaves_the_children_for_stop(tmp_path: Path) -> None:
    process = shell(tmp_path, "sleep 600 & echo $!; wait")
    process.start()
    await process.ready(logged("\n"))
    orphan = child_pid(process)
    await process.kill()
    assert process.returncode == -signal.SIGKILL
    os.kill(orphan, 0)
    process.start()
    await process.ready(logged("\n"))
    os.kill(orphan, 0)
    await process.stop()
    await gone(orphan)


async def test_nothing_survives_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = f"""
import time
from pathlib import Path
from deploy.local.processes import Process
argv = ["/bin/sh", "-c", "sleep 600 & echo $$ $!; wait"]
process = Process("child", argv, Path({str(tmp_path / "child.log")!r}))
process.start()
while len(process.logged_bytes().split()) < 2:
    time.sleep(0.01)
print(process.logged_bytes().decode(), flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert parent.stdout
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.kill()
    parent.communicate()
    for pid in pids:
        await asyncio.wait_for(gone(pid), 10)


async def test_wait_in_another_event_loop(tmp_path: Path) -> None:
    process = shell(tmp_path, "exec sleep 600")
    process.start()
    waiting = asyncio.create_task(process.wait())
    await asyncio.to_thread(asyncio.run, process.kill())
    assert await waiting == -signal.SIGKILL
    await process.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
async def test_root_runs_it_as_another_user(tmp_path: Path) -> None:
    process = shell(tmp_path, 'id -u; id -g; echo "$HOME"', user="nobody")
    process.start()
    assert await process.wait() == 0
    nobody = pwd.getpwnam("nobody")
    assert process.logged_bytes().decode().split() == [
        str(nobody.pw_uid),
        str(nobody.pw_gid),
        nobody.pw_dir,
    ]
    await process.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
def test_an_unknown_user_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match="there is no user 'nobody-knows'"):
        shell(tmp_path, "true", user="nobody-knows").start()


def test_a_missing_program_is_one_sentence(tmp_path: Path) -> None:
    process = Process("ghost", ["/no/such/program"], tmp_path / "log")
    with pytest.raises(ProcessError, match=r"ghost cannot be started: .*/no/such"):
        process.start()


def test_free_ports_differ() -> None:
    ports = {free_port() for _ in range(50)}
    assert len(ports) == 50
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", ports.pop()))
