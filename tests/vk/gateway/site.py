"""The job's side of a tunnel: the real agent, as one file, around a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from interlink_sidecars.api.kubernetes import JSON, Pod
from interlink_sidecars.ilt.bundle import agent_source

SERVER = Path(__file__).with_name("server.py")
UID = "0b5e4b3a-0000-4000-8000-{:012x}"


def pod(number: int = 1, url: str = "") -> Pod:
    """The pod of one user."""
    return Pod.model_validate(
        {
            "metadata": {
                "name": f"jupyter-user{number}",
                "namespace": "jhub",
                "uid": UID.format(number),
                "annotations": {"interlinkspawner/tunnel-url": url} if url else {},
            }
        }
    )


@cache
def old_python() -> str:
    """The oldest Python on this host that the agent promises to run on."""
    names = [f"python3.{minor}" for minor in range(8, 14)]
    pyenv = Path.home() / ".pyenv/versions"  # whose shims may lead to nothing
    found = [str(p) for name in names for p in sorted(pyenv.glob(f"*/bin/{name}"))]
    found = [*filter(None, map(shutil.which, names)), *found, sys.executable]
    versions = {}
    for path in found:
        with contextlib.suppress(subprocess.CalledProcessError):
            code = "import sys; print('%d.%03d' % sys.version_info[:2])"
            output = subprocess.run([path, "-c", code], check=True, capture_output=True)
            versions[output.stdout] = path
    return versions[min(versions)]


class Job:
    """An agent with its server, in a directory of its own.

    Args:
        session: ``session.json``, as the gateway made it.
        environment: what the job adds to the environment.
    """

    def __init__(self, directory: Path, session: JSON, **environment: str) -> None:
        self._directory = directory
        self._session = session
        self._environment = {**os.environ, "TMPDIR": str(directory), **environment}
        self._process: asyncio.subprocess.Process | None = None
        self.log = directory / "job.log"

    async def start(self, *command: str) -> None:
        """Run ``command``, or else the test server, below the agent."""
        self._directory.mkdir(parents=True, exist_ok=True)
        agent = self._directory / "agent.py"
        agent.write_text(agent_source())
        session = self._directory / "session.json"
        session.write_text(json.dumps(self._session))
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(old_python(), "-I", str(agent), "--session", str(session), "--"),
                *(command or (sys.executable, str(SERVER), "--flag=a b")),
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    def children(self) -> dict[str, int]:
        """The pids of the agent's ``tunnel`` and ``server``, as far as they live."""
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        pids = map(int, task.read_text().split())
        return {"server" if _is_server(pid) else "tunnel": pid for pid in pids}

    async def stop(self) -> int:
        """End the job as a scheduler does; the agent's exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            return await self.process.wait()


def _is_server(pid: int) -> bool:
    """A tunnel is a fork of the agent and shares its command line."""
    return b"--session" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


async def until(condition: Any, *, seconds: float = 15) -> None:
    """Wait for what gives no event of its own: another process's state."""
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if await result if asyncio.iscoroutine(result) else result:
                return
            await asyncio.sleep(0.02)
