"""KubeSpawner's view of its pod and Events, made safe for pods that live for days.

Owns reading the shared reflectors. It must not know what the pod is for.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from kubernetes_asyncio.client import ApiException
from kubespawner import KubeSpawner

from interlink_sidecars.api.kubernetes import JSON, Pod

from . import progress


class PodSpawner(KubeSpawner):
    """KubeSpawner whose reflectors recover and whose Events need no time."""

    async def _start_watching_pods(self, replace: bool = False) -> Any:
        """KubeSpawner's reflector gives up after a minute of outage; revive it."""
        return await super()._start_watching_pods(
            replace=replace or _gave_up(self.pod_reflector)
        )

    @property
    def _key(self) -> str:
        return f"{self.namespace}/{self.pod_name}"

    def _pod(self) -> Pod | None:
        """The server's pod as last seen."""
        reflector = self.pod_reflector
        document = reflector.pods.get(self._key) if reflector else None
        return Pod.model_validate(document) if document else None

    async def _is_gone(self) -> bool:
        """Whether there is no pod.

        The API server is asked when none has been seen: the watch may be behind, and
        the hub forgets a server that is said to be gone.
        """
        if self._pod() is not None:
            return False
        try:
            await self.api.read_namespaced_pod(self.pod_name, self.namespace)
        except ApiException as error:
            if error.status == 404:
                return True
            raise
        return False

    @property
    def events(self) -> list[JSON]:
        """This start's Kubernetes Events by time, with every field that is read set.

        KubeSpawner fails for all users on one Event without a time.
        """
        if not self.event_reflector:
            return []
        found = [
            {"type": "Normal", **event, "lastTimestamp": progress.event_time(event)}
            for event in self.event_reflector.resources.values()
            if event["involvedObject"].get("name") == self.pod_name
        ]
        found.sort(key=lambda event: str(event["lastTimestamp"]))
        uids = [event["metadata"]["uid"] for event in found]
        old = uids.index(self._last_event) + 1 if self._last_event in uids else 0
        return [
            {**event, "message": event.get("message") or ""} for event in found[old:]
        ]

    def _get_pod_port(self, pod: JSON) -> int:
        """The notebook port; containers without ports may come before it."""
        containers = [c for c in pod["spec"]["containers"] if c.get("ports")]
        return int(super()._get_pod_port({**pod, "spec": {"containers": containers}}))


def _gave_up(reflector: Any) -> bool:
    """Whether a reflector watches no longer, or never began to."""
    if reflector is None:
        return False
    loaded = reflector.first_load_future
    failed = loaded.done() and (loaded.cancelled() or loaded.exception() is not None)
    return bool(failed or (reflector.watch_task and reflector.watch_task.done()))


def is_remote(address: str) -> bool:
    """Whether an IP address can be another host's."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (ip.is_loopback or ip.is_unspecified)
