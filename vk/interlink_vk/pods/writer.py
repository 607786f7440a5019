"""Every write on a pod: status and annotations, finalizer, removal; and its Events.

Owns the conditions under which a write is safe: always for one uid, so that a pod that
took over a name is never meant. Must not decide when to write.
"""

from __future__ import annotations

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON, Pod
from interlink_sidecars.api.messages import PodStatus
from interlink_vk.kube import ConflictError, KubeClient, NotFoundError, pod_path

from .events import EventRecorder, News, news
from .informer import PodInformer
from .status import status_patch


class PodWriter:
    """Writes to the pods of one node, and lets the cache know."""

    def __init__(
        self, kube: KubeClient, informer: PodInformer, events: EventRecorder
    ) -> None:
        self._kube = kube
        self._informer = informer
        self._events = events

    async def claim(self, pod: JSON, annotations: dict[str, str]) -> JSON:
        """Add the finalizer: from now on the pod stays until its job is gone.

        Raises:
            KubeError: among others when the pod is gone or being deleted.
        """
        claimed = await self._kube.patch(
            _path(pod),
            {
                "metadata": {
                    "uid": pod["metadata"]["uid"],
                    "finalizers": [names.FINALIZER],
                    "annotations": annotations,
                }
            },
            "strategic",
        )
        self._informer.update(claimed)
        return claimed

    async def write(
        self,
        pod: JSON,
        status: JSON,
        annotations: dict[str, str],
        observed: PodStatus | None = None,
    ) -> None:
        """Write what differs, and post an Event for what that tells people."""
        patch = status_patch(pod, status, annotations)
        if not patch:
            return
        written = await self._kube.patch(_path(pod, "status"), patch, "strategic")
        self._informer.update(written)
        view = Pod.model_validate(pod)
        for item in news(view, patch.get("status", {}), observed):
            await self._events.post(view, item)

    async def announce(self, pod: JSON, item: News) -> None:
        """Post an Event that no change of status tells."""
        await self._events.post(Pod.model_validate(pod), item)

    async def release(self, pod: JSON) -> None:
        """Remove the finalizer; the pod may go now."""
        if names.FINALIZER not in (pod["metadata"].get("finalizers") or []):
            return
        patch = {
            "metadata": {
                "uid": pod["metadata"]["uid"],
                "$deleteFromPrimitiveList/finalizers": [names.FINALIZER],
            }
        }
        try:
            self._informer.update(
                await self._kube.patch(_path(pod), patch, "strategic")
            )
        except (NotFoundError, ConflictError):
            return  # it is gone already, and maybe another one has its name

    async def remove(self, pod: JSON) -> None:
        """Delete a pod that waits for its kubelet to say that it has ended."""
        if pod["metadata"].get("deletionGracePeriodSeconds") == 0:
            return  # removing the finalizer was enough
        try:
            await self._kube.delete(_path(pod), uid=pod["metadata"]["uid"], grace=0)
        except (NotFoundError, ConflictError):
            return


def _path(pod: JSON, subresource: str = "") -> str:
    metadata = pod["metadata"]
    return pod_path(metadata["namespace"], metadata["name"], subresource)
