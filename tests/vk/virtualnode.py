"""A real virtual kubelet of a test: its process, its pods, and waiting for them.

All nodes share a namespace, because making one takes seconds: pods are named after
their node, and tests say only what comes before that. Everything is waited for by a
watch on the API server, never by a sleep.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from deploy.local.cluster import NAMESPACE, Cluster
from deploy.local.processes import Process, free_port, logged
from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON
from interlink_vk.kube import (
    KubeClient,
    NotFoundError,
    node_path,
    object_path,
    pod_path,
)

PROGRAM = Path(sys.executable).with_name("interlink-vk")
FPGA = "xilinx.com/fpga"


class VirtualNode:
    """One virtual node, served by a process of its own with its own account."""

    def __init__(
        self,
        cluster: Cluster,
        kube: KubeClient,
        directory: Path,
        sidecar_url: str,
        **node: Any,
    ) -> None:
        self.id = uuid.uuid4().hex[:8]
        self.name = f"node-{self.id}"
        self.cluster, self.kube, self.namespace = cluster, kube, NAMESPACE
        self.directory = directory
        certificate = cluster.serving_certificate("127.0.0.1")
        settings = {
            "VirtualKubelet": {
                "sidecar_url": sidecar_url,
                "node": {
                    "name": self.name,
                    "site": "site-a",
                    "status_interval": 0.3,
                    "ping_interval": 0.3,
                    "unreachable_after": 1,
                }
                | node,
            },
            "KubeletServer": {
                "port": 0,
                "cert_file": str(certificate.certificate),
                "key_file": str(certificate.key),
                "client_ca_file": str(cluster.client_ca or ""),
            },
            "Gateway": {
                "key_file": str(directory / "gateway.key"),
                "listen_port": free_port(),  # agents come back to it after a restart
            },
        }
        self.config = directory / "vk.json"
        self.config.write_text(json.dumps(settings))
        self.process = Process(
            "interlink-vk",
            [str(PROGRAM), f"--config={self.config}"],
            directory / "vk.log",
            env={
                **os.environ,
                "KUBECONFIG": str(cluster.kubeconfig("vk")),
            },
        )

    async def start(self) -> None:
        self.process.start()
        await self.process.ready(logged("serves on port"))

    async def stop(self) -> None:
        await self.process.stop()
        with contextlib.suppress(NotFoundError):
            await self.kube.delete(node_path(self.name))

    # --- pods ------------------------------------------------------------------------

    def pod_name(self, name: str) -> str:
        """The whole name of a pod of this node."""
        return f"{name}-{self.id}"

    def pod_path(self, name: str, subresource: str = "") -> str:
        """The URL path of a pod of this node."""
        return pod_path(self.namespace, self.pod_name(name), subresource)

    def manifest(self, name: str, *command: str, **spec: Any) -> JSON:
        """A pod for this node, as a user would write it."""
        container = {"name": "main", "image": "host", "command": list(command)}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.pod_name(name), "namespace": self.namespace},
            "spec": {
                "nodeSelector": {"kubernetes.io/hostname": self.name},
                "tolerations": [
                    {"key": names.TAINT, "operator": "Exists", "effect": "NoSchedule"}
                ],
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "containers": [container | spec.pop("container", {})],
                **spec,
            },
        }

    async def kubectl(self, *arguments: str) -> str:
        """What kubectl says, in the namespace of the pods."""
        return await self.cluster.kubectl("--namespace", self.namespace, *arguments)

    async def run(self, name: str, *command: str, **spec: Any) -> JSON:
        """Create a pod."""
        return await self.create(self.manifest(name, *command, **spec))

    async def create(self, manifest: JSON) -> JSON:
        """Create what `manifest` made."""
        return await self.kube.create(pod_path(self.namespace), manifest)

    async def pod(self, name: str, is_so: Callable[[JSON], bool]) -> JSON:
        """The pod once it is so."""
        async for pod in self.versions(name):
            if pod is not None and is_so(pod):
                return pod
        raise AssertionError

    async def phase(self, name: str, phase: str) -> JSON:
        """The pod once it has this phase."""
        return await self.pod(name, lambda pod: pod["status"].get("phase") == phase)

    async def waiting(self, name: str, reason: str) -> JSON:
        """The pod once its container waits for this reason."""

        def is_so(pod: JSON) -> bool:
            return waiting_reason(pod) == reason

        return await self.pod(name, is_so)

    async def delete(self, name: str, grace: int | None = None) -> None:
        """Ask for the pod's deletion; it goes when its job has."""
        await self.kube.delete(self.pod_path(name), grace=grace)

    async def gone(self, name: str) -> None:
        """Wait until there is no such pod."""
        async for pod in self.versions(name):
            if pod is None:
                return

    async def ready(self, status: str) -> JSON:
        """The node once its Ready condition has this status."""
        return await self.node(lambda node: node_ready(node) == status)

    async def node(self, is_so: Callable[[JSON], bool]) -> JSON:
        """The node once it is so."""
        async for node in self.follow(node_path(), f"metadata.name={self.name}"):
            if node is not None and is_so(node):
                return node
        raise AssertionError

    async def event(self, name: str, reason: str) -> JSON:
        """The Event of that reason on that pod."""
        path = object_path(self.namespace, "events")
        fields = f"involvedObject.name={self.pod_name(name)},reason={reason}"
        async for event in self.follow(path, fields):
            if event is not None:
                return event
        raise AssertionError

    async def events(self, name: str) -> list[str]:
        """The reasons of all Events of ours on the pod, in their order."""
        items, _ = await self.kube.list_items(
            object_path(self.namespace, "events"),
            fieldSelector=f"involvedObject.name={self.pod_name(name)}",
        )
        ours = [item for item in items if item["source"].get("host") == self.name]
        ours.sort(key=lambda item: int(item["metadata"]["resourceVersion"]))
        return [item["reason"] for item in ours]

    def versions(self, name: str) -> AsyncIterator[JSON | None]:
        """The versions of a pod of this node."""
        fields = f"metadata.name={self.pod_name(name)}"
        return self.follow(pod_path(self.namespace), fields)

    async def follow(
        self, path: str, selector: str, seconds: float = 40
    ) -> AsyncIterator[JSON | None]:
        """An object's versions from now on; None whenever it does not exist.

        Raises TimeoutError with the last version seen when it is waited for too long.
        """
        last: JSON | None = None
        try:
            async with asyncio.timeout(seconds):
                items, version = await self.kube.list_items(
                    path, fieldSelector=selector
                )
                last = items[-1] if items else None
                yield last
                async for event in self.kube.watch(
                    path, version, fieldSelector=selector
                ):
                    if event.kind != "BOOKMARK":
                        last = event.item if event.kind != "DELETED" else None
                        yield last
        except TimeoutError:
            log = self.process.logged_bytes().decode()[-4000:]
            shown = json.dumps(last and last.get("status"), indent=1)
            raise TimeoutError(f"last seen: {shown}\n{log}") from None


def waiting_reason(pod: JSON) -> str | None:
    """Why the pod's first container waits, if it does."""
    statuses = pod["status"].get("containerStatuses") or [{"state": {}}]
    waiting = statuses[0]["state"].get("waiting")
    return str(waiting["reason"]) if waiting else None


def node_ready(node: JSON) -> str:
    """The status of the Ready condition."""
    conditions = {item["type"]: item for item in node["status"]["conditions"]}
    return str(conditions["Ready"]["status"])


def boards(count: int) -> JSON:
    """The part of a container that asks for FPGA boards."""
    return {"resources": {"limits": {FPGA: str(count)}}}
