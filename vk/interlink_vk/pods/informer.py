"""The pods bound to this node, as the API server has them: list, then watch.

Owns the cache and its freshness. A cached pod only ever gets newer, so that what a
controller wrote itself (`update`) is not undone by an older event still under way. Must
not know what is done with a pod.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from interlink_sidecars.api.kubernetes import JSON
from interlink_vk.kube import GoneError, KubeClient, KubeError, pod_path

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0


class PodInformer:
    """A cache of raw pods by uid; every change calls ``on_change`` with the uid."""

    def __init__(
        self, kube: KubeClient, node_name: str, on_change: Callable[[str], None]
    ) -> None:
        self._kube = kube
        self._selector = f"spec.nodeName={node_name}"
        self._on_change = on_change
        self._pods: dict[str, JSON] = {}
        self._version = ""

    def get(self, uid: str) -> JSON | None:
        """The pod, or None where the API server has it no more."""
        return self._pods.get(uid)

    def pods(self) -> list[JSON]:
        """All pods of the node."""
        return list(self._pods.values())

    def named(self, namespace: str, name: str) -> JSON | None:
        """The pod of that name."""
        for pod in self._pods.values():
            metadata = pod["metadata"]
            if (metadata["namespace"], metadata["name"]) == (namespace, name):
                return pod
        return None

    def update(self, pod: JSON) -> None:
        """Take over a pod that the API server answered to a write of ours."""
        if pod["metadata"]["uid"] in self._pods:
            self._store(pod)

    def _store(self, pod: JSON) -> None:
        metadata = pod["metadata"]
        metadata.pop("managedFields", None)  # half of a pod's size, and nobody's here
        known = self._pods.get(metadata["uid"])
        if known is None or _version(known) < _version(pod):
            self._pods[metadata["uid"]] = pod
            self._on_change(metadata["uid"])

    async def list(self) -> None:
        """Fill the cache; pods that are gone are reported like any change."""
        items, self._version = await self._kube.list_items(
            pod_path(), fieldSelector=self._selector
        )
        present = {pod["metadata"]["uid"] for pod in items}
        for uid in set(self._pods) - present:
            self._remove(uid)
        for pod in items:
            self._store(pod)

    async def run(self) -> None:
        """Follow the changes until cancelled; begins from the last `list`."""
        while True:
            try:
                await self._watch()
            except GoneError:
                self._version = ""
            except KubeError as error:
                log.warning("watch of pods broken off: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _watch(self) -> None:
        if not self._version:
            await self.list()
        async for event in self._kube.watch(
            pod_path(), self._version, fieldSelector=self._selector
        ):
            self._version = event.item["metadata"]["resourceVersion"]
            if event.kind == "DELETED":
                self._remove(event.item["metadata"]["uid"])
            elif event.kind != "BOOKMARK":
                self._store(event.item)

    def _remove(self, uid: str) -> None:
        if self._pods.pop(uid, None) is not None:
            self._on_change(uid)


def _version(pod: JSON) -> int:
    return int(pod["metadata"]["resourceVersion"])
