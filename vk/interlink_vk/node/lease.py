"""The node's lease: the sign that this process lives, as every kubelet gives it.

Owns one ``coordination.k8s.io/v1`` Lease. It says nothing about the site: a site that
does not answer makes the node NotReady, and the node controller says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from interlink_sidecars.api.kubernetes import JSON
from interlink_vk.kube import KubeClient, KubeError, NotFoundError, lease_path

log = logging.getLogger(__name__)


class Lease:
    """Renews the lease of one node, four times in its duration."""

    def __init__(self, kube: KubeClient, node_name: str, seconds: int) -> None:
        self._kube = kube
        self._node_name = node_name
        self._seconds = seconds

    async def run(self, node_uid: Callable[[], str]) -> None:
        """Renew until cancelled; a failure is tried again soon."""
        while True:
            try:
                await self.renew(node_uid())
            except KubeError as error:
                log.warning("node=%s lease not renewed: %s", self._node_name, error)
            await asyncio.sleep(self._seconds / 4)

    async def renew(self, node_uid: str) -> None:
        """Write the time of now, into a new lease where there is none."""
        document = lease_document(
            self._node_name, node_uid, self._seconds, datetime.now(UTC)
        )
        try:
            await self._kube.patch(lease_path(self._node_name), document, "merge")
        except NotFoundError:
            await self._kube.create(lease_path(), document)


def lease_document(name: str, uid: str, seconds: int, now: datetime) -> JSON:
    """The lease, owned by the node so that it goes with it."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
            ],
        },
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": seconds,
            "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }
