"""A sidecar in the test's own process: real engine, real local jobs, real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from traitlets.config import Config

from interlink_sidecars.backends.local import LocalBackend
from interlink_sidecars.client import SidecarClient
from interlink_sidecars.engine import Engine
from interlink_sidecars.runtimes.process import ProcessRuntime
from interlink_sidecars.server import make_app
from interlink_sidecars.testing import FPGA


async def eventually(condition: Callable[[], object], seconds: float = 10) -> None:
    """Return once it is so; there is no event to wait for across a poll."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@dataclass
class Served:
    """A served engine and two ways to speak to it."""

    engine: Engine
    url: str
    client: SidecarClient

    async def call(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> HTTPResponse:
        """One raw request, as Go would send it; ``bytes`` go out as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await AsyncHTTPClient().fetch(
            self.url + path,
            method=method,
            body=None if body is None and method == "GET" else data,
            headers=headers,
            allow_nonstandard_methods=True,
            raise_error=False,
        )


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    config = Config(
        {
            "Engine": {"poll_interval": 0.1, "settle_seconds": 0.2},
            "ProcessRuntime": {"images": {"host": ""}},
            "LocalBackend": {
                "accelerators": [{"resource_type": FPGA, "model": "u55c", "total": 2}],
                "cpus": 4,
                "memory": "8Gi",
            },
        }
    )
    runtime = ProcessRuntime(config=config)
    engine = Engine(
        LocalBackend(runtime, tmp_path, config=config), tmp_path, config=config
    )
    server = HTTPServer(make_app(engine))
    socket, port = bind_unused_port()
    await engine.start()
    server.add_sockets([socket])
    url = f"http://127.0.0.1:{port}"
    client = SidecarClient(url)
    yield Served(engine, url, client)
    await client.close()
    server.stop()
    await server.close_all_connections()
    await engine.stop()
