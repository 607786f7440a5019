"""What a Kubernetes person sees of virtual nodes, queues, logs and other people."""

from __future__ import annotations

import asyncio
import json
import os
import re

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from deploy.local.settings import IMAGE
from deploy.local.stack import Stack
from interlink_sidecars.api import names
from tests.e2e.hub import JSON, Hub, until
from tests.e2e.site import Others

pytestmark = [pytest.mark.cluster, pytest.mark.slurm]


def pod(name: str, script: str, **limits: str) -> str:
    """A plain pod for the node ``slurm``, as a Kubernetes person writes it."""
    annotations = (
        {
            names.ACCELERATORS: json.dumps(
                [{"resource_type": "xilinx.com/fpga", "model": "u55c", "count": 1}]
            )
        }
        if limits
        else {}
    )
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "jhub", "annotations": annotations},
            "spec": {
                "nodeSelector": {"kubernetes.io/hostname": "slurm"},
                "tolerations": [{"key": names.TAINT, "operator": "Exists"}],
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "main",
                        "image": IMAGE,
                        "command": ["bash", "-c", script],
                        "resources": {"limits": limits},
                    }
                ],
            },
        }
    )


async def delete(stack: Stack, *pods: str) -> None:
    """Delete pods and wait for their end."""
    await stack.cluster.kubectl("delete", "pod", "-n=jhub", "--timeout=60s", *pods)


async def test_nodes_look_like_nodes(stack: Stack) -> None:
    listed = await stack.cluster.kubectl("get", "nodes", "--no-headers")
    for line in listed.splitlines():
        assert line.split()[1] == "Ready", listed
    described = await stack.cluster.kubectl("describe", "node", "slurm")
    for expected in (
        f"Taints: +{names.TAINT}=true:NoSchedule",
        f"{names.VIRTUAL_NODE_LABEL}={names.VIRTUAL_NODE_VALUE}",
        r"Ready +True",
        r"xilinx.com/fpga: +2",
        r"nvidia.com/gpu: +2",
        r"cpu: +16",
        r"HolderIdentity: +\S+",
        r"Kubelet Version: +\S+",
    ):
        assert re.search(expected, described), f"{expected} is not in\n{described}"


async def test_a_third_pod_waits_in_slurms_queue(stack: Stack, others: Others) -> None:
    pods = ["fpga-0", "fpga-1", "fpga-2"]
    for name in pods:
        document = pod(name, "sleep 600", **{"xilinx.com/fpga": "1"})
        await stack.cluster.kubectl("create", "--filename=-", document=document)

    async def states() -> list[str]:
        listed = await others.slurm.run("squeue", "-h", "-o%T %r")
        found = sorted(listed.splitlines())
        return found if len(found) == 3 and "PENDING Resources" in found else []

    assert await until(states, "three jobs, one of them pending") == [
        "PENDING Resources",
        "RUNNING None",
        "RUNNING None",
    ]

    async def shown() -> bool:
        documents: list[JSON] = json.loads(
            await stack.cluster.kubectl("get", "pods", "-n=jhub", "-ojson")
        )["items"]
        assert all(each["spec"].get("nodeName") == "slurm" for each in documents)
        reasons = [
            container["state"].get("waiting", {}).get("reason")
            for each in documents
            for container in each["status"].get("containerStatuses", [])
        ]
        return sorted(filter(None, reasons)) == ["Resources"]

    await until(shown, "one pod waiting for resources")
    await delete(stack, *pods)
    assert await others.ours() == []


async def test_logs_follow(stack: Stack) -> None:
    """Each line arrives before the next is written: the script waits for the reader."""
    script = "echo first; until [ -e $HOME/go-on ]; do sleep 0.1; done; echo second"
    document = pod("talker", f"rm -f $HOME/go-on; {script}")
    await stack.cluster.kubectl("create", "--filename=-", document=document)
    await stack.cluster.kubectl(
        "wait", "--for=jsonpath={.status.phase}=Running", "-n=jhub", "pod/talker"
    )
    process = await asyncio.create_subprocess_exec(
        *("kubectl", "logs", "--follow", "-n=jhub", "talker"),
        env={**os.environ, "KUBECONFIG": str(stack.cluster.kubeconfig("admin"))},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    async with asyncio.timeout(30):
        assert await process.stdout.readline() == b"first\n"
        await stack.cluster.kubectl("create", "--filename=-", document=pod("go", GO_ON))
        assert await process.stdout.readline() == b"second\n"
        assert await process.stdout.readline() == b""
    assert await process.wait() == 0
    await delete(stack, "talker", "go")


GO_ON = "touch $HOME/go-on"


@pytest.mark.timeout(240)
async def test_another_user_gets_nothing(stack: Stack, hub: Hub) -> None:
    """Neither at the owner's URL without the right, nor at the session's port."""
    for user in ("owner", "stranger"):
        await hub.add(user)
    await hub.start("owner", backend="local")
    await hub.ready("owner")
    stranger = await hub.token("stranger")
    owner = await hub.token("owner")

    async def status(url: str, token: str) -> int:
        headers = {"Authorization": f"token {token}"} if token else {}
        response = await AsyncHTTPClient().fetch(
            HTTPRequest(url, headers=headers, follow_redirects=False),
            raise_error=False,
        )
        return response.code

    port = (
        await stack.cluster.kubectl(
            *("get", "pods", "-n=jhub"),
            f"-ojsonpath={{.items[0].metadata.annotations.{_escaped(names.TUNNEL_URL)}}}",
        )
    ).strip()
    for base in (stack.url, port):
        path = f"{base}/user/owner/api/contents"
        assert await status(path, owner) == 200
        assert await status(path, stranger) == 403
        assert await status(path, "") == 403
    await hub.stop("owner")
    await hub.stopped("owner")


def _escaped(key: str) -> str:
    return key.replace(".", "\\.")
