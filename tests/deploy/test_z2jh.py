"""The chart values start a real hub, and hold nothing that would hurt a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tornado.httpserver import HTTPServer
from tornado.web import Application

from deploy.local.processes import free_port
from interlink_sidecars.api import names
from interlink_vk.gateway.gateway import Gateway
from tests.deploy.chart import DEPLOY, SERVICE_TOKEN, configuration, values
from tests.service.hub import Hub

# What the chart supplies by other means. The signature of a user's page token needs
# no Kubernetes, but KubeSpawner wants to know where one would be.
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


@pytest.mark.parametrize(
    "user",
    [
        {"groups": ["users/jhub", "admins/jhub"]},
        {"wlcg.groups": ["/users/jhub", "/admins/jhub"]},
    ],
)
def test_iam_groups_of_either_token_profile(user: dict[str, Any]) -> None:
    extra = values("z2jh-iam.yaml")["hub"]["extraConfig"]["iam-groups"]
    scope: dict[str, Any] = {"c": type("c", (), {"GenericOAuthenticator": type})}
    functions = extra.partition("\nc.")[0]
    exec(compile(functions, "iam-groups", "exec"), scope)
    groups = scope["iam_groups"]({"oauth_user": user})
    assert groups == {"users/jhub", "admins/jhub"}


def test_network_policies_open_the_ports_of_the_tunnels() -> None:
    chart = values("z2jh-values.yaml")
    hub = chart["hub"]["networkPolicy"]["egress"][0]
    proxy = chart["proxy"]["chp"]["networkPolicy"]["egress"][0]
    first, last = Gateway().ports
    assert hub == proxy
    assert hub["ports"] == [{"port": first, "endPort": last}]


def tolerations(document: Any) -> Iterator[Any]:
    """Every toleration that the values set anywhere."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key.lower().endswith("tolerations"):
                yield from value
            else:
                yield from tolerations(value)
    elif isinstance(document, list):
        for value in document:
            yield from tolerations(value)


@pytest.mark.parametrize(
    "path", sorted(DEPLOY.glob("z2jh-*.yaml")), ids=lambda p: p.name
)
def test_no_toleration_reaches_the_image_pullers(path: Path) -> None:
    for toleration in tolerations(yaml.safe_load(path.read_text())):
        key = toleration.get("key")
        assert key not in {None, names.TAINT, *names.MODEL_TAINTS.values()}


def test_lint_sees_tolerations_where_the_chart_has_them() -> None:
    bad = {"singleuser": {"extraTolerations": [{"key": names.TAINT}]}}
    assert list(tolerations(bad)) == [{"key": names.TAINT}]
