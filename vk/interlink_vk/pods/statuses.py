"""Asks the site for the states of all jobs of the node, in one request.

Owns the rhythm and the matching of answers to pods. Must not know what a state means.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from interlink_sidecars.api.errors import ApiError
from interlink_sidecars.api.kubernetes import JSON
from interlink_sidecars.api.messages import PodStatus
from interlink_sidecars.client import SidecarClient

log = logging.getLogger(__name__)


class StatusPoller:
    """Polls one sidecar.

    Args:
        interval: seconds between two requests.
        pods: the raw pods to ask for; the client sends only what a plugin reads.
        on_answer: called for every pod with its status and the `time.monotonic` at
            which it was asked. A pod that the site does not mention is "unknown".
    """

    def __init__(
        self,
        sidecar: SidecarClient,
        interval: float,
        pods: Callable[[], Sequence[JSON]],
        on_answer: Callable[[PodStatus, float], None],
    ) -> None:
        self._sidecar = sidecar
        self._interval = interval
        self._pods = pods
        self._on_answer = on_answer
        self._silent = False

    async def run(self) -> None:
        """Poll until cancelled; a site that does not answer changes nothing."""
        while True:
            try:
                await self._poll()
                self._silent = False
            except ApiError as error:
                if not self._silent:
                    log.warning("states of jobs unknown: %s", error.message)
                self._silent = True
            await asyncio.sleep(self._interval)

    async def _poll(self) -> None:
        pods = self._pods()
        asked_at = time.monotonic()
        answers = {item.uid: item for item in await self._sidecar.statuses(pods)}
        for pod in pods:
            metadata = pod["metadata"]
            unknown = PodStatus(
                name=metadata["name"],
                uid=metadata["uid"],
                namespace=metadata["namespace"],
            )
            self._on_answer(answers.get(metadata["uid"], unknown), asked_at)
