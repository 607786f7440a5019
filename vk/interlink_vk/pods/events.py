"""Events on a pod: what changed in its job, in words.

Owns which changes are worth an Event (`news`, pure) and posting it (`EventRecorder`).
The comparison is with what stands on the pod, so that a restart repeats nothing.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from interlink_sidecars.api import names
from interlink_sidecars.api.errors import ApiError
from interlink_sidecars.api.kubernetes import JSON, Pod
from interlink_sidecars.api.messages import PodStatus
from interlink_vk.kube import KubeClient, object_path

from .status import known, rfc3339

log = logging.getLogger(__name__)

COMPONENT: Final = "interlink-vk"
LONGEST_MESSAGE: Final = 1024
"""core/v1 Events refuse more."""
_ON_THE_WAY: Final = frozenset({"Submitting", "Submitted", "ContainerCreating"})
"""Reasons for waiting that last for moments and tell nobody anything."""


@dataclass(frozen=True, slots=True)
class News:
    """One thing that happened to a pod's job."""

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


def news(before: Pod, status: JSON, observed: PodStatus | None) -> Iterator[News]:
    """What a new status of a pod tells beside the one that it has."""
    phase = status.get("phase", before.phase)
    waiting = _waiting(status)
    if waiting and waiting != _waiting(before.status) and waiting[0] not in _ON_THE_WAY:
        reason, message = waiting
        if observed is not None and known(observed):
            yield News("Normal", "Queued", f"{reason}: {message}".rstrip(": "))
        else:
            yield News("Warning", reason, message)
    if phase == "Running" and before.phase == "Pending":
        where = f" on {observed.node_name}" if observed and observed.node_name else ""
        yield News("Normal", "Started", f"The job has started{where}.")
    if names.TUNNEL in before.metadata.annotations:
        if _ready(status) and not _ready(before.status):
            message = "The server answers through the tunnel."
            yield News("Normal", "TunnelUp", message)
        elif _ready(before.status) and phase == "Running" and not _ready(status):
            message = "The server no longer answers through the tunnel."
            yield News("Warning", "TunnelDown", message)
    if phase != before.phase and phase == "Succeeded":
        yield News("Normal", "Completed", "The job has ended with exit code 0.")
    if phase != before.phase and phase == "Failed":
        yield News("Warning", status["reason"], status["message"])


def _waiting(status: JSON) -> tuple[str, str] | None:
    """Reason and message of the first container, while it waits."""
    for container in status.get("containerStatuses") or []:
        waiting = container["state"].get("waiting")
        if waiting is None:
            return None
        return waiting.get("reason", ""), waiting.get("message", "")
    return None


def _ready(status: JSON) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in status.get("conditions") or []
    )


class EventRecorder:
    """Posts Events on pods in the name of this node."""

    def __init__(self, kube: KubeClient, node_name: str) -> None:
        self._kube = kube
        self._node_name = node_name

    async def post(self, pod: Pod, item: News) -> None:
        """Post one; an Event that cannot be posted is only logged."""
        log.info("pod=%s uid=%s %s: %s", pod.key, pod.uid, item.reason, item.message)
        document = event_document(pod, item, self._node_name, datetime.now(UTC))
        try:
            await self._kube.create(
                object_path(pod.metadata.namespace, "events"), document
            )
        except ApiError as error:
            log.warning("pod=%s Event not posted: %s", pod.key, error)


def event_document(pod: Pod, item: News, node_name: str, now: datetime) -> JSON:
    """A core/v1 Event; KubeSpawner's pending page sorts by ``lastTimestamp``."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{pod.metadata.name[:200]}.{uuid.uuid4().hex[:16]}",
            "namespace": pod.metadata.namespace,
        },
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": pod.metadata.namespace,
            "name": pod.metadata.name,
            "uid": pod.uid,
        },
        "type": item.kind,
        "reason": item.reason,
        "message": item.message[:LONGEST_MESSAGE],
        "count": 1,
        "firstTimestamp": rfc3339(now),
        "lastTimestamp": rfc3339(now),
        "source": {"component": COMPONENT, "host": node_name},
        "reportingComponent": COMPONENT,
        "reportingInstance": node_name,
    }
