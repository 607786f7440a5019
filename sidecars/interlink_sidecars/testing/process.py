"""The real command in a process of its own, to be killed and started again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from interlink_sidecars.api.errors import ApiError, UnreachableError
from interlink_sidecars.api.kubernetes import JSON
from interlink_sidecars.api.messages import (
    CreateResponse,
    LogOptions,
    LogRequest,
    PodStatus,
)
from interlink_sidecars.client import SidecarClient

from .pods import bundle


class SidecarProcess:
    """The command ``interlink-sidecar``, to be killed and started again.

    Args:
        directory: short path for its state, configuration, socket and log.
        options: command line, ``--backend=…`` at least.
        config: settings by class, beside those that make a test fast.
        env: variables on top of ours.
    """

    def __init__(
        self,
        directory: Path,
        options: Sequence[str],
        config: Mapping[str, JSON],
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.state_dir = directory / "state"
        self._socket = directory / "sidecar.sock"
        self.client = SidecarClient(f"unix://{self._socket}")
        self.env = {**os.environ, **(env or {})}
        fast = {
            "Engine": {
                "poll_interval": 0.3,
                "inventory_interval": 0.5,
                "settle_seconds": 1.0,
                "cancel_interval": 3.0,
            },
            "ProcessRuntime": {"images": {"host": ""}},
        }
        file = directory / "config.json"
        file.write_text(json.dumps(fast | dict(config)))
        program = Path(sys.executable).with_name("interlink-sidecar")
        places = [f"--socket={self._socket}", f"--state-dir={self.state_dir}"]
        self._argv = [str(program), *options, *places, f"--config={file}"]
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.directory / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv, stdin=DEVNULL, stdout=log, stderr=log, env=self.env
            )
        async with asyncio.timeout(30):
            while True:
                with suppress(UnreachableError):
                    await self.client.ping()
                    return
                assert self._process.returncode is None, self.log()
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """Kill it as a power cut would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to stop; its jobs go on."""
        await self._end(signal.SIGTERM)

    async def restart(self) -> None:
        """Start it again after it was killed, by us or by somebody else."""
        await self._end(signal.SIGKILL)
        await self.start()

    async def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
            async with asyncio.timeout(30):
                await self._process.wait()

    def log(self) -> str:
        """What it said."""
        return (self.directory / "log").read_text()

    async def create(self, pod: JSON) -> CreateResponse:
        """Create a pod as a virtual kubelet does: again while that is not final."""
        async with asyncio.timeout(30):
            while True:
                try:
                    return await self.client.create(bundle(pod))
                except ApiError as error:
                    if error.final:
                        raise
                    await asyncio.sleep(0.2)

    async def status(self, pod: JSON) -> PodStatus:
        """The status of one pod."""
        (status,) = await self.client.statuses([pod])
        return status

    async def until(
        self, pod: JSON, expected: Callable[[PodStatus], bool], seconds: float = 30
    ) -> PodStatus:
        """The first status that is as expected."""
        status = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    status = await self.status(pod)
                    if expected(status):
                        return status
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"still {status}\n{self.log()}") from None

    async def until_state(self, pod: JSON, *states: str) -> PodStatus:
        """The first status whose job is in one of these states."""
        return await self.until(
            pod, lambda s: s.queue is not None and s.queue.state in states
        )

    async def read_log(self, pod: JSON, container: str = "main", **options: Any) -> str:
        """The log of one container."""
        meta = pod["metadata"]
        request = LogRequest(
            namespace=meta["namespace"],
            pod_uid=meta["uid"],
            pod_name=meta["name"],
            container_name=container,
            options=LogOptions(**options),
        )
        chunks = [chunk async for chunk in self.client.logs(request)]
        return b"".join(chunks).decode()
