"""Virtual nodes in a real cluster and their pods, with the test as their kubelet."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deploy.local.cluster import Cluster
from tests.spawner.virtual_nodes import accelerator, node

NAMESPACE = "spawner"
_HEARTBEAT_SECONDS = 20  # after 40 the cluster thinks that a node is away


@dataclass
class Sites:
    """Two virtual nodes in a cluster and, for their pods, what a kubelet reports."""

    cluster: Cluster
    applied: float = 0.0

    async def renew(self) -> None:
        """Register the nodes as they are at first, unless that was just done."""
        if time.monotonic() - self.applied > _HEARTBEAT_SECONDS:
            await self.apply()
            self.applied = time.monotonic()

    async def apply(self, used: int = 1) -> None:
        """Register the nodes with this many boards in use."""
        self.applied = 0.0
        fpgas = [accelerator("xilinx.com/fpga", "u55c", 2, used)]
        await asyncio.gather(
            self._node(node("hpc", fpgas, site="cnaf")),
            self._node(node("grid", [], backend="htcondor")),
        )

    async def _node(self, document: dict[str, Any]) -> None:
        for condition in document["status"]["conditions"]:
            condition["lastHeartbeatTime"] = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        for flag in ((), ("--subresource=status",)):
            await self.cluster.kubectl(
                *("apply", "--server-side", "--force-conflicts", "--filename=-", *flag),
                document=json.dumps(document),
            )

    async def objects(self, kind: str) -> dict[str, Any]:
        """The objects of a kind in the hub's namespace, by name."""
        answer = await self.cluster.kubectl(
            "get", kind, f"--namespace={NAMESPACE}", "--output=json"
        )
        return {o["metadata"]["name"]: o for o in json.loads(answer)["items"]}

    async def report(self, pod: str, phase: str, **annotations: str) -> None:
        """What our virtual kubelet says of a pod."""
        statuses = [{"name": "notebook", "ready": phase == "Running", "image": "lab:1"}]
        for flag, patch in (
            ((), {"metadata": {"annotations": annotations}}),
            (
                ("--subresource=status",),
                {"status": {"phase": phase, "containerStatuses": statuses}},
            ),
        ):
            await self.cluster.kubectl(
                *("patch", "pod", pod, f"--namespace={NAMESPACE}", *flag),
                *("--type=merge", f"--patch={json.dumps(patch)}"),
            )

    async def end(self, pod: str) -> None:
        """Let a pod go once the hub has deleted it, as a kubelet does."""
        async with asyncio.timeout(20):
            while found := (await self.objects("pods")).get(pod):
                if "deletionTimestamp" in found["metadata"]:
                    await self.cluster.kubectl(
                        *("delete", "pod", pod, f"--namespace={NAMESPACE}"),
                        *("--force", "--grace-period=0", "--ignore-not-found"),
                    )
                await asyncio.sleep(0.1)
