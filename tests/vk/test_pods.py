"""Pods on a virtual node, from `kubectl apply` to the last trace of their jobs."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from deploy.local.cluster import ClusterError
from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON
from interlink_vk.kube import object_path, pod_path
from tests.vk.site import Site
from tests.vk.virtualnode import VirtualNode, boards, waiting_reason

KUBECTL = str(Path(sys.executable).with_name("kubectl"))


def noted(pod: JSON) -> dict[str, str]:
    found: dict[str, str] = pod["metadata"].get("annotations") or {}
    return found


async def test_a_plain_pod_runs_and_succeeds(node: VirtualNode, site: Site) -> None:
    go_on = site.directory / "go-on"
    await node.run("p", "sh", "-c", f"until [ -e {go_on} ]; do sleep 0.1; done")
    running = await node.phase("p", "Running")
    status = running["status"]
    assert names.FINALIZER in running["metadata"]["finalizers"]
    assert noted(running)[names.JOB_STATE] == "running"
    assert {"type": "Ready", "status": "True"}.items() <= next(
        item for item in status["conditions"] if item["type"] == "Ready"
    ).items()
    assert not {"podIP", "hostIP"} & set(status)
    go_on.touch()
    await node.phase("p", "Succeeded")
    ended = await node.pod("p", lambda p: not p["metadata"].get("finalizers"))
    assert noted(ended)[names.JOB_STATE] == "completed"
    assert json.loads(noted(ended)[names.JOB_QUEUE])["state"] == "completed"
    assert (
        ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    )
    reasons = await node.events("p")
    assert [r for r in reasons if r != "Queued"] == [
        "Submitted",
        "Started",
        "Completed",
    ]
    event = await node.event("p", "Completed")
    assert event["lastTimestamp"]
    assert event["involvedObject"]["uid"] == ended["metadata"]["uid"]


async def test_a_failing_pod_has_its_exit_code(node: VirtualNode) -> None:
    await node.run("p", "sh", "-c", "exit 3")
    failed = await node.phase("p", "Failed")
    ending = failed["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ending["exitCode"] == 3
    assert failed["status"]["reason"] == "Error"
    assert "3" in failed["status"]["message"]
    assert (await node.event("p", "Error"))["type"] == "Warning"


async def test_a_refused_pod_has_the_site_s_sentence(node: VirtualNode) -> None:
    await node.run("p", "true", container={"image": "nobody/has:this"})
    failed = await node.phase("p", "Failed")
    assert "no image nobody/has:this" in failed["status"]["message"].replace("'", "")
    await node.event("p", failed["status"]["reason"])
    await node.pod("p", lambda pod: not pod["metadata"].get("finalizers"))


async def test_deleting_a_pod_ends_its_job(node: VirtualNode, site: Site) -> None:
    await node.run("p", "sleep", "1000")
    await node.phase("p", "Running")
    assert site.living()
    await node.delete("p")
    await node.gone("p")
    assert site.living() == []


async def test_a_third_pod_for_two_boards_waits_at_the_site(
    node: VirtualNode, site: Site
) -> None:
    for name in ("a", "b"):
        await node.run(name, "sleep", "1000", container=boards(1))
        await node.phase(name, "Running")
    await node.run("c", "sleep", "1000", container=boards(1))
    waiting = await node.waiting("c", "Resources")
    assert waiting["spec"]["nodeName"] == node.name
    queue = json.loads(noted(waiting)[names.JOB_QUEUE])
    assert (queue["state"], queue["reason"]) == ("queued", "Resources")
    assert queue["message"]
    assert "Resources" in (await node.event("c", "Queued"))["message"]
    await node.delete("a")
    await node.phase("c", "Running")


async def test_a_missing_config_map_is_waited_for(node: VirtualNode) -> None:
    words_name = node.pod_name("words")
    await node.run(
        "p",
        "sh",
        "-c",
        'test "$WORD $(cat /etc/words/word)" = "hello hello"',
        container={
            "volumeMounts": [{"name": "words", "mountPath": "/etc/words"}],
            "env": [
                {
                    "name": "WORD",
                    "valueFrom": {
                        "configMapKeyRef": {"name": words_name, "key": "word"}
                    },
                }
            ],
        },
        volumes=[{"name": "words", "configMap": {"name": words_name}}],
    )
    waiting = await node.waiting("p", "CreateContainerConfigError")
    state = waiting["status"]["containerStatuses"][0]["state"]["waiting"]
    assert "words" in state["message"]
    warned = await node.event("p", "CreateContainerConfigError")
    assert warned["type"] == "Warning"
    words = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": node.pod_name("words")},
        "data": {"word": "hello"},
    }
    await node.kube.create(object_path(node.namespace, "configmaps"), words)
    await node.phase("p", "Succeeded")


async def test_a_secret_and_the_downward_api_reach_the_job(node: VirtualNode) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": node.pod_name("keys")},
        "stringData": {"TOKEN": "s3cret"},
    }
    await node.kube.create(object_path(node.namespace, "secrets"), secret)
    downward = {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}
    await node.run(
        "p",
        "sh",
        "-c",
        "cat /etc/keys/TOKEN /etc/self/name | grep -qx s3cretp-[0-9a-f]*"
        ' && test "$TOKEN" = s3cret',
        container={
            "envFrom": [{"secretRef": {"name": node.pod_name("keys")}}],
            "volumeMounts": [
                {"name": "keys", "mountPath": "/etc/keys"},
                {"name": "self", "mountPath": "/etc/self"},
            ],
        },
        volumes=[
            {"name": "keys", "secret": {"secretName": node.pod_name("keys")}},
            {"name": "self", "downwardAPI": downward},
        ],
    )
    await node.phase("p", "Succeeded")


async def test_a_pod_goes_through_an_api_server_as_well(
    node: VirtualNode, site: Site
) -> None:
    await node.process.stop()
    settings = json.loads(node.config.read_text())
    settings["VirtualKubelet"]["sidecar_protocol"] = "api-server"
    node.config.write_text(json.dumps(settings))
    await node.start()
    downward = {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}
    await node.run(
        "p",
        *("sh", "-c", "grep -q ^p- /etc/self/name && sleep 1000"),
        container={"volumeMounts": [{"name": "self", "mountPath": "/etc/self"}]},
        volumes=[{"name": "self", "downwardAPI": downward}],
    )
    await node.phase("p", "Running")
    await node.delete("p")
    await node.gone("p")
    assert site.living() == []


async def test_a_daemon_set_s_pod_is_left_alone(node: VirtualNode, site: Site) -> None:
    manifest = node.manifest("d", "sleep", "1000")
    template = {
        "metadata": {"labels": {"app": node.id}},
        "spec": manifest["spec"] | {"restartPolicy": "Always"},
    }
    daemon_set = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": node.pod_name("d")},
        "spec": {"selector": {"matchLabels": {"app": node.id}}, "template": template},
    }
    path = f"/apis/apps/v1/namespaces/{node.namespace}/daemonsets"
    await node.kube.create(path, daemon_set)

    pods = node.follow(pod_path(node.namespace), f"spec.nodeName={node.name}")
    declined: JSON = {}
    async for pod in pods:
        if not declined and pod and pod["status"].get("reason") == "NotOffloaded":
            declined = pod
            await node.kube.delete(f"{path}/{node.pod_name('d')}")
        if pod is None and declined:
            break
    of_the_pod = f"involvedObject.name={declined['metadata']['name']}"
    events, _ = await node.kube.list_items(
        object_path(node.namespace, "events"),
        fieldSelector=f"{of_the_pod},source=interlink-vk",
    )
    assert events == []
    assert site.jobs() == []


# --- logs ----------------------------------------------------------------------------


async def test_kubectl_follows_a_log_as_it_is_written(
    node: VirtualNode, site: Site
) -> None:
    go_on = site.directory / "go-on"
    await node.run(
        "p",
        "sh",
        "-c",
        f"echo first; until [ -e {go_on} ]; do sleep 0.1; done; echo second",
    )
    await node.phase("p", "Running")
    kubectl = await asyncio.create_subprocess_exec(
        *(KUBECTL, "--kubeconfig", str(node.cluster.kubeconfig("admin"))),
        *("--namespace", node.namespace, "logs", "--follow", node.pod_name("p")),
        stdout=asyncio.subprocess.PIPE,
    )
    assert kubectl.stdout is not None
    async with asyncio.timeout(20):
        assert await kubectl.stdout.readline() == b"first\n"
        go_on.touch()
        assert await kubectl.stdout.readline() == b"second\n"
        assert await kubectl.wait() == 0
    await node.pod("p", lambda p: not p["metadata"].get("finalizers"))
    log = await node.kubectl("logs", node.pod_name("p"), "--tail=1")
    assert log == "second\n"


async def test_kubectl_exec_is_told_why_not(node: VirtualNode) -> None:
    await node.run("p", "sleep", "1000")
    await node.phase("p", "Running")
    with pytest.raises(ClusterError, match="no exec, attach or port-forward"):
        await node.kubectl("exec", node.pod_name("p"), "--", "true")


# --- crashes -------------------------------------------------------------------------


async def test_a_pod_deleted_while_the_kubelet_is_down_keeps_its_job_in_hand(
    node: VirtualNode, site: Site
) -> None:
    await node.run("p", "sleep", "1000")
    await node.phase("p", "Running")
    await node.process.kill()
    await node.delete("p", grace=0)
    held = await node.pod("p", lambda p: "deletionTimestamp" in p["metadata"])
    assert held["metadata"]["finalizers"] == [names.FINALIZER]
    assert site.living()
    await node.start()
    await node.gone("p")
    assert site.living() == []


async def test_killed_while_queued_running_and_deleting(
    node: VirtualNode, site: Site
) -> None:
    stubborn = "trap '' TERM; while :; do sleep 0.1; done"
    ids = {}
    for name in ("a", "b", "c"):
        await node.run(
            name,
            *("sh", "-c", stubborn),
            container=boards(1),
            terminationGracePeriodSeconds=2,
        )
        submitted = await node.pod(name, lambda p: names.JOB_ID in noted(p))
        ids[name] = noted(submitted)[names.JOB_ID]
    await node.process.kill()
    await node.start()
    await node.phase("b", "Running")
    await node.waiting("c", "Resources")
    await node.process.kill()
    await node.delete("a")
    await node.start()
    await node.gone("a")
    running = await node.phase("c", "Running")
    assert noted(running)[names.JOB_ID] == ids["c"]
    for name in ("b", "c"):
        await node.delete(name)
        await node.pod(name, lambda p: noted(p).get(names.JOB_STATE) == "stopping")
    await node.process.kill()
    await node.start()
    await node.gone("b")
    await node.gone("c")
    assert site.living() == []
    assert len(site.jobs()) == 3


async def test_an_unreachable_site_changes_no_pod(
    node: VirtualNode, site: Site
) -> None:
    await node.run("p", "sleep", "1000")
    before = await node.phase("p", "Running")
    await site.process.kill()
    lost = await node.ready("False")
    conditions = {c["type"]: c for c in lost["status"]["conditions"]}
    assert conditions["Ready"]["reason"] == "SidecarUnreachable"
    inventory = json.loads(lost["metadata"]["annotations"][names.INVENTORY])
    assert inventory["status"] == "degraded"
    assert inventory["accelerators"][0]["total"] == 2
    await site.start()
    await node.ready("True")
    after = await node.phase("p", "Running")
    assert noted(after)[names.JOB_ID] == noted(before)[names.JOB_ID]
    assert waiting_reason(after) is None
