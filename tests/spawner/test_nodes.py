"""The watch on nodes: changes wake waiters, failures keep the last known table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from kubernetes_asyncio.client import ApiClient, Configuration, CoreV1Api

from interlinkspawner.nodes import NodeTable, NodeWatcher
from tests.spawner.kube_api import KubeApi
from tests.spawner.virtual_nodes import accelerator, node


@pytest.fixture
async def watcher(kube_api: KubeApi) -> AsyncIterator[NodeWatcher]:
    async with ApiClient(Configuration(host=kube_api.url)) as client:
        watcher = NodeWatcher(CoreV1Api(client))
        yield watcher
        await watcher.stop()


async def until(watcher: NodeWatcher, problem: str) -> NodeTable:
    table = watcher.table
    async with asyncio.timeout(10):
        while table.problem != problem:
            table = await watcher.changed(table, 10)
    return table


def names(table: NodeTable) -> list[str]:
    return [each.name for each in table.nodes]


async def test_list_then_watch(kube_api: KubeApi, watcher: NodeWatcher) -> None:
    table = await watcher.loaded()
    assert names(table) == ["grid", "hpc", "lab", "stock"]
    kube_api.put("nodes", node("hpc", [accelerator("nvidia.com/gpu", "a100", 2, 2)]))
    table = await watcher.changed(table, 10)
    assert table.nodes[1].accelerators[0].free == 0
    kube_api.remove("nodes", "grid")
    table = await watcher.changed(table, 10)
    assert names(table) == ["hpc", "lab", "stock"]


async def test_nothing_changes_nothing_wakes(watcher: NodeWatcher) -> None:
    table = await watcher.loaded()
    assert await watcher.changed(table, 0.05) is table


async def test_an_expired_watch_lists_again(
    kube_api: KubeApi, watcher: NodeWatcher
) -> None:
    table = await watcher.loaded()
    kube_api.objects.pop(("nodes", "", "lab"))  # a change that no event tells
    kube_api.break_watches(410)
    table = await watcher.changed(table, 10)
    assert names(table) == ["grid", "hpc", "stock"]
    assert not table.problem


async def test_an_outage_keeps_the_table_and_ends(
    kube_api: KubeApi, watcher: NodeWatcher
) -> None:
    await watcher.loaded()
    kube_api.refuse = 503
    kube_api.break_watches(500)
    table = await until(watcher, "outage")
    assert names(table) == ["grid", "hpc", "lab", "stock"]
    assert table.since > 0
    kube_api.refuse = 0
    table = await until(watcher, "")
    assert names(table) == ["grid", "hpc", "lab", "stock"]


async def test_no_right_to_list(kube_api: KubeApi, watcher: NodeWatcher) -> None:
    kube_api.refuse = 403
    table = await watcher.loaded()
    assert table == NodeTable(problem="forbidden")


async def test_nobody_there(kube_api: KubeApi, watcher: NodeWatcher) -> None:
    await kube_api.stop()
    table = await watcher.loaded()
    assert table.problem == "outage"
