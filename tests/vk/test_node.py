"""The virtual node in a real cluster."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tornado.testing import bind_unused_port

from deploy.local.processes import ProcessError, free_port, logged
from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON
from interlink_vk.app import VirtualKubelet, main
from interlink_vk.kube import KubeError, lease_path, node_path
from tests.vk.conftest import NodeFactory
from tests.vk.sidecar import Sidecar
from tests.vk.virtualnode import FPGA, VirtualNode


@pytest.fixture
async def sidecar() -> AsyncIterator[Sidecar]:
    sidecar = Sidecar()
    sidecar.ping = offer(total=2, used=0)
    sidecar.start()
    yield sidecar
    await sidecar.stop()


@pytest.fixture
async def node(new_node: NodeFactory, sidecar: Sidecar) -> VirtualNode:
    node = await new_node(sidecar.url, queue_depth=10)
    await node.ready("True")
    return node


def offer(total: int, used: int, **ping: object) -> JSON:
    fpga = {"resourceType": FPGA, "available": str(total), "model": "U55C"}
    accelerators = [fpga | {"total": total, "used": used}]
    return {"status": "ok", "resources": {"accelerators": accelerators}} | ping


def inventory(node: JSON) -> JSON:
    found: JSON = json.loads(node["metadata"]["annotations"][names.INVENTORY])
    return found


def taints(node: JSON) -> set[str]:
    return {taint["key"] for taint in node["spec"].get("taints") or []}


async def test_describe_shows_what_a_kubernetes_person_expects(
    node: VirtualNode,
) -> None:
    text = await node.cluster.kubectl("describe", "node", node.name)
    for words in (
        f"kubernetes.io/hostname={node.name}",
        "model.interlinkspawner/u55c=xilinx.com_fpga",
        f"{names.TAINT}=true:NoSchedule",
        "SidecarReady",
        "InternalIP:  127.0.0.1",
        f"HolderIdentity:  {node.name}",
    ):
        assert words in text
    document = await node.kube.get(node_path(node.name))
    assert document["status"]["capacity"][FPGA] == "2"
    assert document["status"]["allocatable"][FPGA] == "12"


async def test_the_inventory_follows_the_site(
    node: VirtualNode, sidecar: Sidecar
) -> None:
    sidecar.ping = offer(total=2, used=1)
    document = await node.node(lambda n: inventory(n)["accelerators"][0]["free"] == 1)
    version = document["metadata"]["resourceVersion"]
    sidecar.ping = offer(total=3, used=1, status="degraded", message="a board is lost")
    document = await node.node(lambda n: inventory(n)["status"] == "degraded")
    assert inventory(document)["message"] == "a board is lost"
    assert document["status"]["capacity"][FPGA] == "3"
    assert document["metadata"]["resourceVersion"] != version


async def test_taints_come_and_go_with_the_site_and_others_stay(
    node: VirtualNode, sidecar: Sidecar
) -> None:
    await node.cluster.kubectl("taint", "node", node.name, "mine=1:NoSchedule")
    sidecar.ping = offer(2, 0, taints=[{"key": "maintenance", "effect": "NoSchedule"}])
    await node.node(lambda n: "maintenance" in taints(n))
    await node.process.kill()
    sidecar.ping = offer(2, 0, taints=[])
    await node.start()
    document = await node.node(lambda n: "maintenance" not in taints(n))
    assert {names.TAINT, "mine"} <= taints(document)


async def test_what_others_break_is_put_right(node: VirtualNode) -> None:
    uid = (await node.kube.get(node_path(node.name)))["metadata"]["uid"]
    await node.cluster.kubectl("label", "node", node.name, "kubernetes.io/hostname-")
    await node.node(
        lambda n: n["metadata"]["labels"].get("kubernetes.io/hostname") == node.name
    )
    label = {names.VIRTUAL_NODE_LABEL: None}
    record = {names.NODE_TAINTS: "nonsense"}
    broken = {"metadata": {"labels": label, "annotations": record}}
    await node.kube.patch(node_path(node.name), broken, "merge")
    await node.node(
        lambda n: (
            n["metadata"]["labels"].get(names.VIRTUAL_NODE_LABEL)
            == names.VIRTUAL_NODE_VALUE
            and n["metadata"]["annotations"][names.NODE_TAINTS] != "nonsense"
        )
    )
    await node.kube.delete(node_path(node.name))
    await node.node(lambda n: n["metadata"]["uid"] != uid)


async def test_a_restart_adopts_the_node_and_its_lease(node: VirtualNode) -> None:
    before = await node.kube.get(node_path(node.name))
    await node.process.restart()
    await node.ready("True")
    after = await node.kube.get(node_path(node.name))
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    lease = await node.kube.get(lease_path(node.name))
    owner = lease["metadata"]["ownerReferences"][0]
    assert owner["uid"] == before["metadata"]["uid"]
    assert lease["spec"]["leaseDurationSeconds"] == 40


async def test_a_real_node_of_that_name_is_left_alone(
    new_node: NodeFactory, node: VirtualNode, sidecar: Sidecar
) -> None:
    await node.process.stop()
    path = node_path(node.name)
    label = {"metadata": {"labels": {names.VIRTUAL_NODE_LABEL: None}}}
    await node.kube.patch(path, label, "merge")
    with pytest.raises(ProcessError, match="not a virtual one"):
        await node.start()


async def test_a_clean_stop_removes_the_node_only_if_told_so(
    node: VirtualNode,
) -> None:
    await node.process.stop()
    assert node.process.returncode == 0
    assert await node.kube.get(node_path(node.name))
    settings = json.loads(node.config.read_text())
    settings["VirtualKubelet"]["delete_node_on_stop"] = True
    node.config.write_text(json.dumps(settings))
    await node.start()
    await node.process.stop()
    items, _ = await node.kube.list_items(
        node_path(), fieldSelector=f"metadata.name={node.name}"
    )
    assert items == []


async def test_it_stops_at_once_while_it_waits_for_the_api_server(
    node: VirtualNode,
) -> None:
    await node.process.stop()
    assert node.process.env is not None
    node.process.env = {**node.process.env, "KUBECONFIG": str(nowhere(node))}
    node.process.start()
    await node.process.ready(logged("not started yet"))
    await node.process.stop(grace=5)
    assert node.process.returncode == 0


def nowhere(node: VirtualNode) -> Path:
    """A kubeconfig of an API server that does not run."""
    document = json.loads(node.cluster.kubeconfig("admin").read_text())
    document["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{free_port()}"
    path = node.directory / "nowhere.yaml"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"node": {"name": "a", "cpus": "lots"}}, "node.cpus = 'lots'"),
        ({"node": {}}, "node.name"),
        ({"sidecar_url": "ftp://site"}, "ftp://site"),
        ({"sidecar_ca_file": "/nowhere"}, "VirtualKubelet.sidecar_ca_file = /nowhere"),
        ({"tunnel": "maybe"}, "'tunnel' trait"),
    ],
)
async def test_wrong_settings_end_in_one_sentence(
    node: VirtualNode, settings: JSON, words: str
) -> None:
    await node.process.stop()
    node.config.write_text(
        json.dumps({"VirtualKubelet": {"node": {"name": "a"}} | settings})
    )
    node.process.start()
    assert await node.process.wait() == 1
    log = node.process.logged_bytes().decode()
    assert words in log
    assert "Traceback" not in log


@pytest.mark.parametrize("setting", ["Gateway.listen_port", "KubeletServer.port"])
async def test_a_taken_port_ends_in_one_sentence(
    node: VirtualNode, setting: str
) -> None:
    await node.process.stop()
    listener, port = bind_unused_port()
    with listener:
        settings = json.loads(node.config.read_text())
        section, name = setting.split(".")
        settings[section][name] = port
        node.config.write_text(json.dumps(settings))
        node.process.start()
        assert await node.process.wait() == 1
    log = node.process.logged_bytes().decode()
    assert f"interlink-vk: {setting} = 127.0.0.1:{port}: " in log
    assert "Traceback" not in log


def test_what_a_task_dies_of_ends_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(app: VirtualKubelet) -> None:
        refused = KubeError("No node for you.")
        raise ExceptionGroup("tasks", [ExceptionGroup("pods", [refused])])

    monkeypatch.setattr(VirtualKubelet, "start", start)
    monkeypatch.setattr("sys.argv", ["interlink-vk"])
    with pytest.raises(SystemExit, match=r"^interlink-vk: No node for you\.$"):
        main()
