"""The real sidecar with its local backend, as a process of a test."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from deploy.local.processes import Process, answering, free_port
from tests.vk.virtualnode import FPGA

PROGRAM = Path(sys.executable).with_name("interlink-sidecar")


class Site:
    """A site with two boards; its jobs are processes of this account."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.directory = directory
        config = directory / "sidecar.json"
        offers = [{"resource_type": FPGA, "model": "u55c", "total": 2}]
        settings = {
            "LocalBackend": {"accelerators": offers, "cpus": 64, "memory": "64Gi"},
            "ProcessRuntime": {"images": {"host": ""}, "workspace": str(directory)},
            "Engine": {"poll_interval": 0.2, "settle_seconds": 1.0},
        }
        config.write_text(json.dumps(settings))
        self.process = Process(
            "interlink-sidecar",
            [
                str(PROGRAM),
                "--backend=local",
                f"--port={self.port}",
                f"--state-dir={directory / 'state'}",
                f"--config={config}",
            ],
            directory / "sidecar.log",
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    async def start(self) -> None:
        self.process.start()
        await self.process.ready(answering(f"{self.url}/healthz"))

    async def stop(self) -> None:
        """Stop the sidecar and end the jobs that a test left, failed or not."""
        await self.process.stop()
        while living := self.living():
            for pid in living:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.05)

    def jobs(self) -> list[Path]:
        """The directories of all jobs that ever entered the queue."""
        return [path.parent for path in self.directory.glob("state/jobs/*/queued")]

    def living(self) -> list[int]:
        """Processes of this site's jobs: their working directory is the site's."""
        return [
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/cwd")
            if _target(path).startswith(str(self.directory))
        ]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""  # it has ended meanwhile
