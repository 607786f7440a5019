"""A real hub starts from the chart values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest
from tornado.httpserver import HTTPServer
from tornado.web import Application

from deploy.local.processes import free_port
from tests.deploy.chart import SERVICE_TOKEN, configuration, values
from tests.service.hub import Hub

pytestmark = pytest.mark.node

# What the chart knows from its release.
CHART = """
c.KubeSpawner.namespace = "jhub"
"""


def started(directory: Path, config: str) -> AbstractAsyncContextManager[Hub]:
    return Hub(directory, f"{CHART}\n{config}").running()


@pytest.fixture(scope="module")
async def service_url() -> AsyncIterator[str]:
    """Where something answers: a hub that starts waits for its services."""
    server = HTTPServer(Application())
    port = free_port()
    server.listen(port, "127.0.0.1")
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture(scope="module")
async def hub(
    tmp_path_factory: pytest.TempPathFactory, service_url: str
) -> AsyncIterator[Hub]:
    config = configuration(values("z2jh-values.yaml"), service_url)
    async with started(tmp_path_factory.mktemp("hub"), config) as hub:
        yield hub


async def test_hub_starts_from_the_values(hub: Hub) -> None:
    info = await hub.api("GET", "/info")
    assert info["spawner"]["class"] == "interlinkspawner.spawner.InterLinkSpawner"
    assert "not recognized" not in hub.process.logged_bytes().decode()


async def test_hub_serves_what_the_form_asks_for(hub: Hub) -> None:
    async with httpx.AsyncClient() as client:
        inventory = await client.get(f"{hub.url}/hub/interlink/inventory")
    assert inventory.status_code == 403


async def test_users_reach_the_job_panel_and_nothing_more(hub: Hub) -> None:
    await hub.api("POST", "/users/alice", {})
    token = await hub.token("alice", "inherit")
    headers = {"Authorization": f"token {token}"}
    async with httpx.AsyncClient(headers=headers) as client:
        alice = (await client.get(f"{hub.api_url}/user")).json()
        others = await client.get(f"{hub.api_url}/users")
    assert {
        "access:servers!user=alice",
        "access:services!service=interlink",
        "custom:interlink:read!user=alice",
    } <= set(alice["scopes"])
    assert others.status_code == 403


async def test_service_is_known_to_the_hub(hub: Hub) -> None:
    headers = {"Authorization": f"token {SERVICE_TOKEN}"}
    async with httpx.AsyncClient(headers=headers) as client:
        service = (await client.get(f"{hub.api_url}/user")).json()
    assert (service["kind"], service["name"]) == ("service", "interlink")


async def test_hub_starts_with_the_iam(tmp_path: Path, service_url: str) -> None:
    config = configuration(values("z2jh-values.yaml", "z2jh-iam.yaml"), service_url)
    # The chart makes this key and keeps it in its Secret.
    key = "c.CryptKeeper.keys = [bytes(32)]"
    secret = "c.GenericOAuthenticator.client_secret = 'secret'"
    async with started(tmp_path, f"{config}\n{key}\n{secret}") as hub:
        info = await hub.api("GET", "/info")
        async with httpx.AsyncClient() as client:
            login = await client.get(f"{hub.url}/hub/oauth_login")
    assert info["authenticator"]["class"].endswith("GenericOAuthenticator")
    assert login.headers["location"].startswith("https://iam.example.org/authorize?")
