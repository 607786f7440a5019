"""The tunnel as a pod's life needs it: opened early, answering or not, closed.

Owns which pods get one and when their server counts as answering. Must not know how
bytes get through: that is the gateway's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from interlink_sidecars.api import names
from interlink_sidecars.api.errors import ApiError
from interlink_sidecars.api.kubernetes import JSON, Pod
from interlink_sidecars.api.messages import CreateRequest

from .inject import inject

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 10.0
"""A carrier that comes back within this time was never worth a word."""


class Gateway(Protocol):
    """The in-cluster end of all tunnels; a session is one pod's."""

    def session_document(self, pod: Pod) -> JSON:
        """What the agent in the job needs to dial in, its key included."""

    async def open(self, pod: Pod) -> str:
        """Bind the session's address, or the one that the pod already names."""

    async def close(self, uid: str) -> None:
        """End the session; an unknown one is a success."""

    def connected(self, uid: str) -> bool:
        """Whether the job has dialled in and its connection stands."""

    async def answers(self, uid: str, path: str) -> bool:
        """Whether ``GET path`` through the tunnel is answered with 200."""


class Tunnel:
    """The tunnels of one node's pods.

    Args:
        gateway: carries the bytes.
        agent: source of the one-file agent that runs in the job.
    """

    def __init__(
        self,
        gateway: Gateway,
        agent: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gateway = gateway
        self._agent = agent
        self._clock = clock
        self._silent_since: dict[str, float] = {}

    async def open(self, pod: Pod) -> str:
        """The URL of the pod's session, the same at every call and every restart."""
        return await self._gateway.open(pod)

    async def close(self, uid: str) -> None:
        """End the session of a pod."""
        self._silent_since.pop(uid, None)
        await self._gateway.close(uid)

    def inject(self, request: CreateRequest, pod: Pod) -> CreateRequest:
        """The request with the agent that dials in to the pod's session."""
        return inject(request, self._agent, self._gateway.session_document(pod))

    async def answering(self, pod: Pod) -> bool:
        """Whether the pod's server answers; a short break in between does not count."""
        answered_before = _ready(pod)
        try:
            await self._gateway.open(pod)
        except ApiError as error:  # its port was taken while we were away
            log.warning("pod=%s without session: %s", pod.key, error.message)
            return False
        if self._gateway.connected(pod.uid):
            self._silent_since.pop(pod.uid, None)
            return answered_before or await self._gateway.answers(
                pod.uid, server_path(pod)
            )
        since = self._silent_since.setdefault(pod.uid, self._clock())
        return answered_before and self._clock() - since < GRACE_SECONDS


def wants_tunnel(pod: Pod) -> bool:
    """Whether the pod asks for a tunnel."""
    return pod.metadata.annotations.get(names.TUNNEL) == "ilt"


def server_path(pod: Pod) -> str:
    """The path of the notebook server's version, which it answers to anybody."""
    for variable in pod.spec.containers[0].env:
        if variable.name == "JUPYTERHUB_SERVICE_PREFIX":
            return variable.value.rstrip("/") + "/api"
    return "/api"


def _ready(pod: Pod) -> bool:
    statuses = pod.status.get("containerStatuses") or [{}]
    return bool(statuses[0].get("ready"))
