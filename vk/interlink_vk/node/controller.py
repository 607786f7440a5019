"""Keeps the Node in the cluster equal to what the site is.

Owns the ping and the judgement whether the site answers. Every round reads the node
and writes only what differs, so whatever else changes it is put right. Must not know
pods, nor what the documents contain.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from interlink_sidecars.api import names
from interlink_sidecars.api.errors import ApiError, UnreachableError
from interlink_sidecars.api.kubernetes import JSON, ObjectMeta
from interlink_sidecars.api.messages import Ping, PingResources
from interlink_sidecars.client import SidecarClient
from interlink_vk.config import ConfigError, NodeConfig
from interlink_vk.kube import (
    ConflictError,
    KubeClient,
    KubeError,
    NotFoundError,
    node_path,
)

from .changes import status_patch, taint_patch, timed_conditions
from .spec import Endpoint, Report, node_document

log = logging.getLogger(__name__)

PING_SECONDS: Final = 10.0
LONGEST_PAUSE: Final = 15.0


class NodeController:
    """Registers one virtual node and keeps it true.

    Attributes:
        uid: the node's, empty until it is registered; another one when somebody
            deleted the node and it was made again.
    """

    def __init__(
        self,
        kube: KubeClient,
        sidecar: SidecarClient,
        config: NodeConfig,
    ) -> None:
        self._kube = kube
        self._sidecar = sidecar
        self._config = config
        self.uid = ""
        self._answered_at: float | None = None
        self._failures = 0
        self._report = Report(
            ping=Ping(),
            observed_at=datetime.now(UTC),
            ready=False,
            reason="Starting",
            message="the sidecar has not been asked yet",
        )

    async def register(self, endpoint: Endpoint) -> None:
        """Create the node, or adopt the one there is.

        Raises:
            ConfigError: a node of that name exists and is not a virtual one.
            KubeError: the API server refused.
        """
        await self._ping()
        await self._sync(endpoint)

    async def run(self, endpoint: Endpoint) -> None:
        """Ping and write what changed, until cancelled."""
        while True:
            await asyncio.sleep(self._pause())
            await self._ping()
            try:
                await self._sync(endpoint)
            except ConflictError:
                continue  # somebody else changed it meanwhile; read it again
            except KubeError as error:
                log.warning("node=%s not written: %s", self._config.name, error)

    async def remove(self) -> None:
        """Delete the node; pods of it are then removed by the cluster."""
        try:
            await self._kube.delete(node_path(self._config.name))
        except NotFoundError:
            return

    def _pause(self) -> float:
        return min(self._config.ping_interval * 2.0**self._failures, LONGEST_PAUSE)

    async def _ping(self) -> None:
        try:
            async with asyncio.timeout(PING_SECONDS):
                ping = await self._sidecar.ping()
        except TimeoutError:
            self._no_answer(
                "SidecarUnreachable",
                f"The sidecar at {self._sidecar.url} took more than"
                f" {PING_SECONDS:.0f} s to answer.",
            )
        except UnreachableError as error:
            self._no_answer("SidecarUnreachable", error.message)
        except ApiError as error:
            self._no_answer(error.reason, error.message)
        else:
            self._answer(ping)

    def _answer(self, ping: Ping) -> None:
        """Take over what the site says; what it leaves out stays as it was."""
        before = self._report.ping
        if ping.resources == PingResources():
            ping = ping.model_copy(update={"resources": before.resources})
        if ping.taints is None:
            ping = ping.model_copy(update={"taints": before.taints})
        self._answered_at, self._failures = time.monotonic(), 0
        degraded = ping.status == "degraded"
        self._report = Report(
            ping=ping,
            observed_at=datetime.now(UTC),
            ready=True,
            reason="SiteDegraded" if degraded else "SidecarReady",
            message=ping.message or "the sidecar answers",
        )

    def _no_answer(self, reason: str, message: str) -> None:
        """The node stays Ready through a short silence, such as a sidecar's restart."""
        if self._failures == 0:
            log.warning("node=%s: %s", self._config.name, message)
        self._failures = min(self._failures + 1, 10)
        silence = time.monotonic() - (self._answered_at or float("-inf"))
        if silence >= self._config.unreachable_after:
            self._report = replace(
                self._report, ready=False, reason=reason, message=message
            )

    async def _sync(self, endpoint: Endpoint) -> None:
        """Bring the node in the cluster in line."""
        now = datetime.now(UTC)
        path = node_path(self._config.name)
        wanted = node_document(self._config, self._report, endpoint)
        try:
            live = await self._kube.get(path)
        except NotFoundError:
            wanted["status"]["conditions"] = timed_conditions(wanted, {}, now)
            log.info("node=%s registered", self._config.name)
            live = await self._kube.create(node_path(), wanted)
        if live["metadata"]["uid"] != self.uid:  # ours stays ours without its label
            self._check_is_virtual(live)
        self.uid = live["metadata"]["uid"]
        if patch := taint_patch(wanted, live):
            live = await self._kube.patch(path, patch, "merge")
        if patch := status_patch(wanted, live, now, self._config.heartbeat_interval):
            await self._kube.patch(f"{path}/status", patch, "strategic")

    def _check_is_virtual(self, live: JSON) -> None:
        labels = ObjectMeta.model_validate(live["metadata"]).labels
        if labels.get(names.VIRTUAL_NODE_LABEL) != names.VIRTUAL_NODE_VALUE:
            raise ConfigError(
                f"The cluster has a node {self._config.name} that is not a virtual one."
                " Give this virtual node another name."
            )
