"""A real API server, real virtual kubelets, and real sites."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from deploy.local.cluster import Cluster
from interlink_vk.kube import KubeClient
from tests.vk.site import Site
from tests.vk.virtualnode import VirtualNode

NodeFactory: TypeAlias = Callable[..., Awaitable[VirtualNode]]


@pytest.fixture
async def kube(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KubeClient]:
    """The API as the administrator has it."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig("admin")))
    client = await KubeClient.from_environment()
    yield client
    await client.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A site with two boards that serves."""
    site = Site(tmp_path)
    await site.start()
    yield site
    await site.stop()


@pytest.fixture
async def new_node(
    cluster: Cluster, kube: KubeClient, tmp_path: Path
) -> AsyncIterator[NodeFactory]:
    """Makes the test's virtual node for the sidecar at a URL, and starts it."""
    nodes: list[VirtualNode] = []

    async def new(url: str, **settings: Any) -> VirtualNode:
        node = VirtualNode(cluster, kube, tmp_path, url, **settings)
        nodes.append(node)
        await node.start()
        return node

    yield new
    for node in nodes:
        await node.stop()


@pytest.fixture
async def node(new_node: NodeFactory, site: Site) -> VirtualNode:
    """A virtual node on the site with two boards."""
    node = await new_node(site.url)
    await node.ready("True")
    return node
