"""A real hub and proxy, a real API server, and the service between them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.cluster import Cluster
from deploy.local.processes import Process, free_port, listening
from tests.service.hub import Hub
from tests.service.site import Site

NAMESPACE = "service"
SERVICE_TOKEN = "token-of-the-service"

_HUB = """
c.JupyterHub.custom_scopes = {{"custom:interlink:read": {{"description": "jobs"}}}}
c.JupyterHub.services.append({{
    "name": "interlink", "url": "{url}", "api_token": "{token}",
    "oauth_no_confirm": True,
    "oauth_client_allowed_scopes": ["custom:interlink:read!user"],
}})
c.JupyterHub.load_roles += [
    {{"name": "user", "scopes": ["self", "access:services!service=interlink",
                                 "custom:interlink:read!user"]}},
    {{"name": "support", "users": ["carol"], "scopes": ["custom:interlink:read"]}},
]
"""


@dataclass
class Service:
    """The service as callers reach it: at ``url``, which may be the hub's proxy."""

    hub: Hub
    process: Process
    url: str

    async def get(
        self, path: str, token: str | None = None, **headers: str
    ) -> httpx.Response:
        """GET below ``api/v1`` as JupyterLab's front end does."""
        if token is not None:
            headers["Authorization"] = f"token {token}"
        async with httpx.AsyncClient(headers=headers, timeout=30) as client:
            prefix = f"{self.url}/services/interlink"
            return await client.get(f"{prefix}/api/v1/{path}")

    async def job(self, uid: str, token: str) -> Any:
        """The job document."""
        response = await self.get(f"jobs/{uid}", token)
        response.raise_for_status()
        return response.json()


def service_process(
    directory: Path, url: str, hub_api: str, kubeconfig: Path, *options: str
) -> Process:
    """The console script, with the environment that JupyterHub or a Pod gives it."""
    return Process(
        "interlinkspawner-service",
        [
            str(Path(sys.executable).with_name("interlinkspawner-service")),
            f"--namespace={NAMESPACE}",
            *options,
        ],
        directory / "service.log",
        env={
            "KUBECONFIG": str(kubeconfig),
            "JUPYTERHUB_API_TOKEN": SERVICE_TOKEN,
            "JUPYTERHUB_API_URL": hub_api,
            "JUPYTERHUB_CLIENT_ID": "service-interlink",
            "JUPYTERHUB_SERVICE_PREFIX": "/services/interlink/",
            "JUPYTERHUB_SERVICE_URL": url,
        },
    )


@pytest.fixture(scope="session")
async def site(cluster: Cluster) -> AsyncIterator[Site]:
    await cluster.prepare(NAMESPACE)
    site = Site(cluster, NAMESPACE)
    async with site.running():
        yield site


@asynccontextmanager
async def serving(
    hub: Hub, directory: Path, kubeconfig: Path, *options: str
) -> AsyncIterator[Service]:
    """A service of its own, without the proxy, from its first answer on."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = service_process(directory, url, hub.api_url, kubeconfig, *options)
    process.start()
    try:
        await process.ready(listening(port))
        yield Service(hub, process, url)
    finally:
        await process.stop()
    assert process.returncode == 0


@pytest.fixture(scope="session")
async def service(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    directory = tmp_path_factory.mktemp("service")
    url = f"http://127.0.0.1:{free_port()}"
    hub = Hub(directory, _HUB.format(url=url, token=SERVICE_TOKEN))
    process = service_process(directory, url, hub.api_url, site.kubeconfig)
    process.start()
    try:
        async with hub.running():
            for user in ("alice", "bob"):
                await hub.api("POST", f"/users/{user}", {})
            yield Service(hub, process, hub.url)
    finally:
        await process.stop()
