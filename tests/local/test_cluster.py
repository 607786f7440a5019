"""The local cluster: real control plane, real rights, no node."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes_asyncio import client, config

from deploy.local.cluster import Cluster, ClusterError
from deploy.local.processes import ProcessError

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "notebook"},
    "spec": {"containers": [{"name": "notebook", "image": "base"}]},
}


@contextlib.asynccontextmanager
async def connected(kubeconfig: Path) -> AsyncIterator[client.ApiClient]:
    settings = client.Configuration()
    await config.load_kube_config(str(kubeconfig), client_configuration=settings)
    async with client.ApiClient(settings) as api:
        yield api


@contextlib.contextmanager
def forbidden() -> Any:
    with pytest.raises(client.ApiException) as caught:
        yield
    assert caught.value.status == 403


async def create(cluster: Cluster, document: dict[str, Any], namespace: str) -> None:
    await cluster.kubectl(
        "create",
        "--filename=-",
        "--namespace",
        namespace,
        document=json.dumps(document),
    )


async def test_it_serves_as_a_release_without_nodes(cluster: Cluster) -> None:
    version = json.loads(await cluster.kubectl("version", "--output=json"))
    assert version["serverVersion"]["gitVersion"].startswith("v1.")
    nodes = json.loads(await cluster.kubectl("get", "nodes", "--output=json"))
    assert nodes["kind"] == "List"


async def test_the_hub_sees_nodes_and_its_own_namespace_only(
    cluster: Cluster, namespace: str
) -> None:
    async with connected(cluster.kubeconfig("hub", namespace)) as api:
        core = client.CoreV1Api(api)
        await core.list_node()
        await core.list_namespaced_secret(namespace)
        await core.create_namespaced_pod(namespace, POD)
        await core.delete_namespaced_pod("notebook", namespace)
        with forbidden():
            await core.list_namespaced_secret("jhub")
        with forbidden():
            await core.read_namespaced_secret("anything", "kube-system")
        with forbidden():
            await core.list_pod_for_all_namespaces()


async def test_the_virtual_kubelet_reads_secrets_only_where_notebooks_run(
    cluster: Cluster, namespace: str
) -> None:
    await cluster.kubectl(
        *("create", "secret", "generic", "given", "--from-literal=word=1"),
        *("--namespace", namespace),
    )
    async with connected(cluster.kubeconfig("vk", namespace)) as api:
        core = client.CoreV1Api(api)
        assert await core.read_namespaced_secret("given", namespace)
        await core.list_pod_for_all_namespaces()
        with forbidden():
            await core.list_secret_for_all_namespaces()
        with forbidden():
            await core.list_namespaced_secret(namespace)
        with forbidden():
            await core.read_namespaced_secret("given", "jhub")
        with forbidden():
            await core.create_namespaced_pod(namespace, POD)


async def test_the_virtual_kubelet_keeps_a_node_with_its_lease(
    cluster: Cluster, namespace: str
) -> None:
    name = f"node-{namespace}"
    node = {"metadata": {"name": name}}
    lease = {"metadata": {"name": name}, "spec": {"holderIdentity": name}}
    patch = {"status": {"capacity": {"xilinx.com/fpga": "2"}}}
    async with connected(cluster.kubeconfig("vk", namespace)) as api:
        core = client.CoreV1Api(api)
        await core.create_node(node)
        changed = await core.patch_node_status(name, patch)
        assert changed.status.capacity == {"xilinx.com/fpga": "2"}
        leases = client.CoordinationV1Api(api)
        await leases.create_namespaced_lease("kube-node-lease", lease)
        await leases.patch_namespaced_lease(name, "kube-node-lease", lease)
        await core.delete_node(name)


async def test_the_service_only_reads(cluster: Cluster, namespace: str) -> None:
    await create(cluster, POD, namespace)
    async with connected(cluster.kubeconfig("service", namespace)) as api:
        core = client.CoreV1Api(api)
        assert (await core.list_namespaced_pod(namespace)).items
        assert not await core.read_namespaced_pod_log("notebook", namespace)
        with forbidden():
            await core.delete_namespaced_pod("notebook", namespace)
        with forbidden():
            await core.list_namespaced_secret(namespace)
        with forbidden():
            await core.list_namespaced_pod("jhub")


async def test_a_pod_without_nodes_stays_pending_and_says_why(
    cluster: Cluster, namespace: str
) -> None:
    pod = {**POD, "spec": {**POD["spec"], "nodeSelector": {"no": "such-node"}}}
    await create(cluster, pod, namespace)
    reason = "jsonpath={.status.conditions[?(@.type=='PodScheduled')].reason}"
    await cluster.kubectl(
        *("wait", f"--for={reason}=Unschedulable", "pod/notebook"),
        *("--namespace", namespace, "--timeout=30s"),
    )
    await cluster.kubectl(
        *("wait", "--for=jsonpath={.reason}=FailedScheduling", "events", "--all"),
        *("--namespace", namespace, "--timeout=30s"),
    )
    found = await cluster.kubectl("get", "pods", "--output=json", "-n", namespace)
    assert json.loads(found)["items"][0]["status"]["phase"] == "Pending"


async def test_logs_come_from_a_kubelet_that_knows_the_api_server(
    cluster: Cluster, namespace: str
) -> None:
    """A kubelet in miniature: TLS both ways, one answer."""
    if cluster.client_ca is None:
        pytest.skip("an existing cluster keeps the CA of its kubelet client to itself")
    pair = cluster.serving_certificate("127.0.0.1")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair.certificate, pair.key)
    tls.load_verify_locations(cluster.client_ca)
    tls.verify_mode = ssl.CERT_REQUIRED
    requests: list[str] = []

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
        subject = writer.get_extra_info("peercert")["subject"]
        requests.append(str(dict(name[0] for name in subject)["commonName"]))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nepoch 1 of 3\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    node = f"node-{namespace}"
    await create(
        cluster, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}, ""
    )
    status = {
        "status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }
    }
    patch = ("--subresource=status", "--patch", json.dumps(status))
    await cluster.kubectl("patch", "node", node, *patch)
    await create(cluster, {**POD, "spec": {**POD["spec"], "nodeName": node}}, namespace)
    async with server, connected(cluster.kubeconfig("service", namespace)) as api:
        said = await client.CoreV1Api(api).read_namespaced_pod_log(
            "notebook", namespace
        )
    assert said == "epoch 1 of 3\n"
    path = f"GET /containerLogs/{namespace}/notebook/notebook"
    assert requests[0].startswith(path)
    assert requests[1] == "kube-apiserver-kubelet-client"
    await cluster.kubectl("delete", "node", node)


async def test_its_files_are_its_owners(cluster: Cluster) -> None:
    for account in ("admin", "hub", "vk", "service"):
        assert cluster.kubeconfig(account).stat().st_mode & 0o777 == 0o600
    for key in (cluster.state_dir / "pki").glob("*.key"):
        assert key.stat().st_mode & 0o777 == 0o600


async def test_kubectl_says_what_was_refused(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="not found"):
        await cluster.kubectl("get", "pod", "nobody")


async def test_an_existing_cluster_has_the_same_interface(
    cluster: Cluster,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig("admin")))
    assert Cluster.from_environment(tmp_path / "ours").client_ca
    monkeypatch.setenv("USE_EXISTING_CLUSTER", "true")
    theirs = Cluster.from_environment(tmp_path / "theirs")
    await theirs.start()
    assert not theirs.processes
    assert theirs.client_ca is None
    await theirs.prepare(namespace)
    async with connected(theirs.kubeconfig("hub", namespace)) as api:
        await client.CoreV1Api(api).list_node()
        with forbidden():
            await client.CoreV1Api(api).list_namespaced_secret("jhub")
    await theirs.stop()
    assert await cluster.kubectl("get", "namespace", namespace)


@pytest.mark.cluster
async def test_a_stopped_cluster_leaves_no_process_and_keeps_its_objects(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path)
    try:
        await cluster.start()
        with pytest.raises(ProcessError, match=f"already running on {tmp_path}"):
            await Cluster(tmp_path).start()
        await cluster.kubectl("create", "configmap", "kept")
        apiserver = cluster.processes["kube-apiserver"]
        await apiserver.kill()
        with pytest.raises(ClusterError, match="refused"):
            await cluster.kubectl("get", "configmap", "kept")
        pids = [process.pid for process in cluster.processes.values()]
        await cluster.stop()
        for pid in pids:
            assert pid
            assert not Path(f"/proc/{pid}").exists()
        await cluster.stop()
        await cluster.start()
        assert "kept" in await cluster.kubectl("get", "configmap", "kept")
    finally:
        await cluster.stop()
