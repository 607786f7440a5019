"""A Kubernetes API in memory, and a real hub with a real one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from kubernetes_asyncio.config import kube_config

from deploy.local.cluster import Cluster
from tests.service.hub import Hub
from tests.spawner.kube_api import KubeApi
from tests.spawner.sites import NAMESPACE, Sites
from tests.spawner.virtual_nodes import sites as four_sites

_CONFIG = """
import interlinkspawner
c.JupyterHub.spawner_class = interlinkspawner.InterLinkSpawner
c.JupyterHub.extra_handlers.extend(interlinkspawner.extra_handlers)
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 5}
c.JupyterHub.cleanup_servers = False
c.Spawner.consecutive_failure_limit = 2
c.KubeSpawner.namespace = "spawner"
c.InterLinkSpawner.images = [{"name": "lab:1", "display_name": "JupyterLab"}]
"""


@pytest.fixture
async def kube_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KubeApi]:
    """A Kubernetes API with four nodes, to which KUBECONFIG points."""
    api = KubeApi()
    await api.start()
    for each in four_sites():
        api.put("nodes", each)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [
                    {"name": "test", "context": {"cluster": "test", "user": "test"}}
                ],
                "clusters": [{"name": "test", "cluster": {"server": api.url}}],
                "users": [{"name": "test", "user": {}}],
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setattr(  # read from the environment when it was imported
        kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig)
    )
    yield api
    await api.stop()


@pytest.fixture(scope="session")
async def hub(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Hub]:
    await cluster.prepare(NAMESPACE)
    kubeconfig = str(cluster.kubeconfig("hub", NAMESPACE))
    hub = Hub(
        tmp_path_factory.mktemp("spawner"),
        _CONFIG,
        env={**os.environ, "KUBECONFIG": kubeconfig},
    )
    async with hub.running():
        for user in ("ada", "bob", "eve"):
            await hub.api("POST", f"/users/{user}", {})
        yield hub


@pytest.fixture(scope="session")
def registered(cluster: Cluster) -> Sites:
    return Sites(cluster)


@pytest.fixture
async def sites(registered: Sites, hub: Hub) -> Sites:
    """The nodes ``hpc`` (one of two U55C is free) and ``grid``, known to the hub."""
    await registered.renew()
    choice = {"accelerator": "xilinx.com/fpga/u55c"}
    async with asyncio.timeout(10), hub.browser("ada") as browser:
        while True:
            answer = await browser.get("/hub/interlink/inventory", params=choice)
            if "1 of 2 free at Slurm" in answer.text:
                return registered
            await asyncio.sleep(0.1)
