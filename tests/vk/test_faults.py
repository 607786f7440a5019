"""Calls that fail or get lost: no pod is lost, and no job is doubled or left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON
from tests.vk.conftest import NodeFactory
from tests.vk.sidecar import Gate, Sidecar
from tests.vk.virtualnode import VirtualNode


@pytest.fixture
async def sidecar() -> AsyncIterator[Sidecar]:
    sidecar = Sidecar()
    sidecar.start()
    yield sidecar
    await sidecar.stop()


@pytest.fixture
async def node(new_node: NodeFactory, sidecar: Sidecar) -> VirtualNode:
    """A virtual node on the failing sidecar."""
    node = await new_node(sidecar.url)
    await node.ready("True")
    return node


def refusal(*, final: bool) -> JSON:
    return {
        "status": 422,
        "reason": "SubmitFailed",
        "message": "sbatch: error: invalid partition specified: x",
        "final": final,
    }


async def test_a_site_that_is_away_gets_the_pod_when_it_is_back(
    node: VirtualNode, sidecar: Sidecar
) -> None:
    await sidecar.stop()
    manifest = node.manifest("p", "true")
    # bound by hand: kube-scheduler gives nothing to a node that is about to be NotReady
    manifest["spec"]["nodeName"] = node.name
    pod = await node.create(manifest)
    await node.waiting("p", "SidecarUnreachable")
    sidecar.start()
    await node.phase("p", "Running")
    assert sidecar.created == {pod["metadata"]["uid"]: 1}


async def test_a_temporary_refusal_is_shown_and_tried_again(
    node: VirtualNode, sidecar: Sidecar
) -> None:
    async def refused() -> JSON | None:
        return refusal(final=False)

    sidecar.on_create = refused
    await node.run("p", "true")
    waiting = await node.waiting("p", "SubmitFailed")
    state = waiting["status"]["containerStatuses"][0]["state"]["waiting"]
    assert "invalid partition" in state["message"]
    sidecar.on_create = Sidecar().on_create
    await node.phase("p", "Running")
    reasons = await node.events("p")
    assert reasons.count("SubmitFailed") == 1


async def test_a_final_refusal_is_the_end(node: VirtualNode, sidecar: Sidecar) -> None:
    async def refused() -> JSON | None:
        return refusal(final=True)

    sidecar.on_create = refused
    pod = await node.run("p", "true")
    failed = await node.phase("p", "Failed")
    assert failed["status"]["reason"] == "SubmitFailed"
    assert "invalid partition" in failed["status"]["message"]
    assert failed["metadata"]["annotations"][names.JOB_STATE] == "failed"
    await node.pod("p", lambda p: not p["metadata"].get("finalizers"))
    assert sidecar.created == {pod["metadata"]["uid"]: 1}


async def test_killed_before_the_job_id_is_stored(
    node: VirtualNode, sidecar: Sidecar
) -> None:
    gate = Gate()
    sidecar.on_create = gate
    pod = await node.run("p", "true")
    await gate.reached.wait()
    await node.process.kill()
    gate.open()
    held = await node.kube.get(node.pod_path("p"))
    assert held["metadata"]["finalizers"] == [names.FINALIZER]
    await node.start()
    running = await node.phase("p", "Running")
    uid = pod["metadata"]["uid"]
    assert running["metadata"]["annotations"][names.JOB_ID] == f"job-{uid[:8]}"
    assert list(sidecar.jobs) == [uid]
    assert sidecar.created[uid] == 2  # the second answer is the first one's


async def test_deleted_while_it_is_submitted(
    node: VirtualNode, sidecar: Sidecar
) -> None:
    gate = Gate()
    sidecar.on_create = gate
    await node.run("p", "true")
    await gate.reached.wait()
    await node.delete("p", grace=0)
    gate.open()
    await node.gone("p")
    assert sidecar.jobs == {}


async def test_a_cancel_that_fails_is_told_and_repeated(
    node: VirtualNode, sidecar: Sidecar
) -> None:
    async def broken() -> JSON | None:
        return {"status": 500, "reason": "CancelFailed", "message": "scancel: no"}

    pod = await node.run("p", "true")
    await node.phase("p", "Running")
    sidecar.on_delete = broken
    await node.delete("p")
    told = await node.event("p", "CancelFailed")
    assert "scancel: no" in told["message"]
    assert sidecar.jobs
    sidecar.on_delete = Sidecar().on_delete
    await node.gone("p")
    assert sidecar.jobs == {}
    assert sidecar.deleted[pod["metadata"]["uid"]] >= 2


async def test_a_pod_goes_only_when_the_site_says_that_its_job_has(
    node: VirtualNode, sidecar: Sidecar
) -> None:
    pod = await node.run("p", "true")
    uid = pod["metadata"]["uid"]
    await node.phase("p", "Running")
    sidecar.lingering = True
    await node.delete("p")
    await sidecar.rounds(4)
    held = await node.kube.get(node.pod_path("p"))
    assert held["metadata"]["finalizers"] == [names.FINALIZER]
    sidecar.jobs[uid] = {"terminated": {"exitCode": 143, "reason": "Cancelled"}}
    await node.gone("p")
    assert sidecar.deleted[uid] == 1


async def test_a_pod_torn_from_its_finalizer_leaves_no_job(
    node: VirtualNode, sidecar: Sidecar
) -> None:
    async def broken() -> JSON | None:
        return {"status": 500, "reason": "CancelFailed", "message": "scancel: no"}

    pod = await node.run("p", "true")
    await node.phase("p", "Running")
    sidecar.on_delete = broken
    await node.delete("p", grace=0)
    await node.event("p", "CancelFailed")
    path = node.pod_path("p")
    await node.kube.patch(path, {"metadata": {"finalizers": None}}, "merge")
    await node.gone("p")
    gate = Gate()
    sidecar.on_delete = gate
    async with asyncio.timeout(20):
        await gate.reached.wait()
    gate.open()
    assert sidecar.created == {pod["metadata"]["uid"]: 1}


async def test_a_lost_finalizer_comes_back_without_a_second_job(
    node: VirtualNode, sidecar: Sidecar
) -> None:
    pod = await node.run("p", "true")
    await node.phase("p", "Running")
    path = node.pod_path("p")
    await node.kube.patch(path, {"metadata": {"finalizers": None}}, "merge")
    await node.pod("p", lambda p: p["metadata"].get("finalizers") == [names.FINALIZER])
    await sidecar.rounds(2)
    assert sidecar.created == {pod["metadata"]["uid"]: 1}


async def test_a_pod_that_somebody_else_ended_loses_its_job(
    node: VirtualNode, sidecar: Sidecar
) -> None:
    """As the pod garbage collector does with pods of nodes that were away."""
    await node.run("p", "true")
    await node.phase("p", "Running")
    path = node.pod_path("p", "status")
    await node.kube.patch(path, {"status": {"phase": "Failed"}}, "merge")
    await node.pod("p", lambda p: not p["metadata"].get("finalizers"))
    assert sidecar.jobs == {}


async def test_all_pods_are_asked_for_at_once(
    node: VirtualNode, sidecar: Sidecar
) -> None:
    uids = set()
    for name in ("a", "b", "c"):
        pod = await node.run(name, "true")
        uids.add(pod["metadata"]["uid"])
        await node.phase(name, "Running")
    assert set(sidecar.asked[-1]) == uids


async def test_killed_while_the_site_cleans_up_after_an_ended_pod(
    node: VirtualNode, sidecar: Sidecar
) -> None:
    pod = await node.run("p", "true")
    uid = pod["metadata"]["uid"]
    await node.phase("p", "Running")
    gate = Gate()
    sidecar.on_delete = gate
    sidecar.jobs[uid] = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    async with asyncio.timeout(20):
        await gate.reached.wait()
    await node.process.kill()
    held = await node.phase("p", "Succeeded")
    assert held["metadata"]["finalizers"] == [names.FINALIZER]
    sidecar.on_delete = Sidecar().on_delete
    await node.start()
    await node.pod("p", lambda p: not p["metadata"].get("finalizers"))
    assert sidecar.deleted[uid] == 2
    await node.delete("p")
    await node.gone("p")
    gate.open()
    assert sidecar.jobs == {}
    assert sidecar.deleted[uid] == 2
