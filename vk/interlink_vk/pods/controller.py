"""Reconciles one pod at a time: submit its job, show its state, see it to its end.

Owns the order of the steps and what is retried. All that must survive a restart stands
on the pod: the finalizer says that a job may exist, the job id that it does. Must not
know documents (the pure modules make them) nor how the site works.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from interlink_sidecars.api import names
from interlink_sidecars.api.errors import ApiError, UnreachableError
from interlink_sidecars.api.kubernetes import JSON, Pod
from interlink_sidecars.api.messages import CreateRequest, PodStatus, Waiting
from interlink_sidecars.client import SidecarClient
from interlink_vk.config import NodeConfig
from interlink_vk.kube import ConflictError, KubeClient, KubeError, NotFoundError

from .bundle import bundle
from .events import EventRecorder, News
from .informer import PodInformer
from .objects import read_objects
from .queue import WorkQueue
from .status import (
    TERMINAL_PHASES,
    Facts,
    ended,
    failed_status,
    job_annotations,
    known,
    pod_status,
)
from .statuses import StatusPoller
from .tunnel import GRACE_SECONDS, Tunnel, wants_tunnel
from .writer import PodWriter

log = logging.getLogger(__name__)

WORKERS: Final = 32
"""Most of them wait for the site, which limits itself what it does at once."""
CANCEL_AGAIN_SECONDS: Final = 30.0
PROBE_SECONDS: Final = 1.0


@dataclass(slots=True)
class Job:
    """What this process knows of a pod's job besides what stands on the pod.

    Attributes:
        pod: the raw pod, as last seen.
        observed: the site's last answer, and `asked_at` when it was asked.
        problem: why the last step failed, already told to people.
        cancelled_at: when the site last agreed to end the job.
    """

    pod: JSON
    observed: PodStatus | None = None
    asked_at: float = 0.0
    problem: Waiting | None = None
    cancelled_at: float | None = None

    def gone(self) -> bool:
        """Whether the site is certain, by an answer younger than our request."""
        if self.observed is None:
            return False
        if ended(self.observed):
            return True
        cancelled = self.cancelled_at is not None and self.cancelled_at < self.asked_at
        return cancelled and not known(self.observed)


class PodController:
    """The pods of one virtual node.

    Args:
        tunnel: None where this node serves none.
    """

    def __init__(
        self,
        kube: KubeClient,
        sidecar: SidecarClient,
        config: NodeConfig,
        tunnel: Tunnel | None,
    ) -> None:
        self.queue = WorkQueue(clock=asyncio.get_running_loop())
        self.informer = PodInformer(kube, config.name, self.queue.put)
        self._kube = kube
        self._sidecar = sidecar
        self._tunnel = tunnel
        self._site = config.site or config.name
        self._jobs: dict[str, Job] = {}
        self._writer = PodWriter(kube, self.informer, EventRecorder(kube, config.name))
        self._poller = StatusPoller(
            sidecar, config.status_interval, self._submitted, self._on_status
        )

    async def restore(self) -> None:
        """Read the node's pods and bind their sessions, before anybody dials in."""
        await self.informer.list()
        for raw in self.informer.pods():
            pod = Pod.model_validate(raw)
            if names.TUNNEL_URL in pod.metadata.annotations and _claimed(raw):
                try:
                    await self._session(pod)
                except ApiError as error:
                    log.warning("pod=%s without session: %s", pod.key, error.message)

    async def run(self) -> None:
        """Follow pods and jobs until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.informer.run())
                tasks.create_task(self._poller.run())
                for _ in range(WORKERS):
                    tasks.create_task(self._work())
        finally:
            self.queue.close()

    async def _work(self) -> None:
        while True:
            uid = await self.queue.get()
            try:
                if await self.reconcile(uid):
                    self.queue.forget(uid)
                else:
                    self.queue.put_backoff(uid)
            except (ConflictError, NotFoundError):
                self.queue.put_backoff(uid)  # the watch brings what has changed
            except ApiError as error:
                log.warning("uid=%s tried again later: %s", uid, error.message)
                self.queue.put_backoff(uid)
            except Exception:
                log.exception("uid=%s tried again later", uid)
                self.queue.put_backoff(uid)
            finally:
                self.queue.done(uid)

    async def reconcile(self, uid: str) -> bool:
        """Take the pod's next step; False asks for another try after a while."""
        raw = self.informer.get(uid)
        if raw is None:
            return await self._after_pod(uid)
        pod = Pod.model_validate(raw)
        if _claimed(raw) or _has_job(raw):
            self._jobs.setdefault(uid, Job(raw)).pod = raw
        if pod.metadata.deletion_timestamp:
            return await self._end(pod, raw)
        if _of_daemon_set(pod):
            await self._writer.write(raw, _declined(), {})
            return True
        if pod.phase in TERMINAL_PHASES:
            return await self._settle(pod, raw)
        if not (_claimed(raw) and _has_job(raw)):
            return await self._start(pod, raw)
        await self._show(pod, raw)
        return True

    # --- to the site ---------------------------------------------------------------

    async def _start(self, pod: Pod, raw: JSON) -> bool:
        """Submit the pod; what keeps it from that is its waiting reason meanwhile."""
        try:
            await self._submit(pod, raw)
        except KubeError:
            raise
        except UnreachableError as error:
            problem = Waiting(reason="SidecarUnreachable", message=error.message)
        except ApiError as error:
            if error.final:
                await self._fail(pod.uid, error)
                return True
            problem = Waiting(reason=error.reason, message=error.message)
        else:
            return True
        latest = self.informer.get(pod.uid) or raw
        job = self._jobs.setdefault(pod.uid, Job(latest))
        job.problem = problem
        await self._show(Pod.model_validate(latest), latest)
        return False

    async def _submit(self, pod: Pod, raw: JSON) -> None:
        session = await self._session(pod)
        if not _claimed(raw):
            raw = await self._writer.claim(raw, session)
            pod = Pod.model_validate(raw)
        if _has_job(raw):
            return  # only its finalizer was lost
        job = self._jobs.setdefault(pod.uid, Job(raw))
        job.pod = raw
        request = bundle(raw, await read_objects(self._kube, raw))
        answer = await self._sidecar.create(self._with_agent(request, pod))
        job.problem = None
        await self._writer.write(raw, {}, {names.JOB_ID: answer.pod_jid})
        submitted = f"Submitted to {self._site} as job {answer.pod_jid}."
        await self._writer.announce(raw, News("Normal", "Submitted", submitted))

    async def _session(self, pod: Pod) -> dict[str, str]:
        """Open the pod's session; the answer is the annotation that names it."""
        if not wants_tunnel(pod):
            return {}
        if self._tunnel is None:
            raise ApiError(
                f"Pod {pod.key} asks for a tunnel, which its node does not serve."
                " Choose a node with the label of one.",
                reason="NoTunnel",
                final=True,
            )
        return {names.TUNNEL_URL: await self._tunnel.open(pod)}

    def _with_agent(self, request: CreateRequest, pod: Pod) -> CreateRequest:
        if self._tunnel is None or not wants_tunnel(pod):
            return request
        return self._tunnel.inject(request, pod)

    async def _fail(self, uid: str, error: ApiError) -> None:
        raw = self.informer.get(uid)
        if raw is not None:
            pod = Pod.model_validate(raw)
            now = datetime.now(UTC)
            status = failed_status(pod, error.reason, error.message, now)
            await self._writer.write(raw, status, {names.JOB_STATE: "failed"})

    # --- from the site -------------------------------------------------------------

    def _submitted(self) -> list[JSON]:
        """The pods that are asked for: those with a job, or waiting for its end."""
        return [
            raw
            for raw in self.informer.pods()
            if _claimed(raw) and (_has_job(raw) or _leaving(raw))
        ]

    def _on_status(self, status: PodStatus, asked_at: float) -> None:
        raw = self.informer.get(status.uid)
        if raw is None:
            return
        job = self._jobs.setdefault(status.uid, Job(raw))
        changed = job.observed != status
        job.observed, job.asked_at = status, asked_at
        if changed or _leaving(raw):
            self.queue.put(status.uid)

    async def _show(self, pod: Pod, raw: JSON) -> None:
        """Write what the site says of the job."""
        job = self._jobs[pod.uid]
        if job.observed is None and job.problem is None:
            return  # what stands on the pod is the last that was known
        answering = await self._answering(pod, job)
        status = pod_status(
            pod, Facts(job.observed, job.problem, answering, datetime.now(UTC))
        )
        annotations = job_annotations(job.observed) if job.observed else {}
        await self._writer.write(raw, status, annotations, job.observed)

    async def _answering(self, pod: Pod, job: Job) -> bool | None:
        """Ask the tunnel of a running job, and come back while it may change."""
        if self._tunnel is None or not wants_tunnel(pod):
            return None
        running = job.observed is not None and any(
            status.state.running for status in job.observed.containers
        )
        if not running or pod.phase in TERMINAL_PHASES:
            return False
        answering = await self._tunnel.answering(pod)
        pause = GRACE_SECONDS if answering else PROBE_SECONDS
        self.queue.put_after(pod.uid, pause)
        return answering

    # --- to the end ----------------------------------------------------------------

    async def _settle(self, pod: Pod, raw: JSON) -> bool:
        """A pod that has ended keeps its status; its job must have ended, too."""
        if not _claimed(raw):
            return True
        job = self._jobs[pod.uid]
        if job.observed is None:
            return True  # after a restart; the next answer comes back to here
        return await self._finish(pod, raw, job)

    async def _end(self, pod: Pod, raw: JSON) -> bool:
        """A pod that is being deleted goes when its job is gone."""
        if _claimed(raw):
            job = self._jobs[pod.uid]
            if not await self._finish(pod, raw, job):
                return False
            if not job.gone():
                return True
        await self._writer.remove(raw)
        return True

    async def _finish(self, pod: Pod, raw: JSON, job: Job) -> bool:
        """Cancel the job until it is gone, then let the pod go.

        The site cleans up before: without its finalizer, a pod that is deleted while
        this process is away is never heard of again.
        """
        if not job.gone():
            cancelled = await self._cancel(job)
            await self._show(pod, raw)
            return cancelled
        try:
            await self._show(pod, raw)
        except KubeError as error:
            if error.status != 422:
                raise
            log.warning("pod=%s end not shown: %s", pod.key, error.message)
        await self._close(pod.uid)
        if not await self._clean_up(job):
            return False
        await self._writer.release(raw)
        return True

    async def _cancel(self, job: Job) -> bool:
        """Ask the site to end the job, again and again until it has."""
        uid = job.pod["metadata"]["uid"]
        now = time.monotonic()
        if job.cancelled_at is None or now - job.cancelled_at >= CANCEL_AGAIN_SECONDS:
            try:
                await self._sidecar.delete(job.pod)
            except ApiError as error:
                await self._tell_cancel_failed(job, error)
                return False
            job.cancelled_at, job.problem = time.monotonic(), None
        self.queue.put_after(uid, CANCEL_AGAIN_SECONDS)
        return True

    async def _tell_cancel_failed(self, job: Job, error: ApiError) -> None:
        problem = Waiting(reason="CancelFailed", message=error.message)
        if problem != job.problem:
            job.problem = problem
            item = News("Warning", problem.reason, problem.message)
            await self._writer.announce(job.pod, item)

    async def _after_pod(self, uid: str) -> bool:
        """The pod is gone: let the site clean up, whoever removed the pod."""
        await self._close(uid)
        job = self._jobs.get(uid)
        if job is not None and not await self._clean_up(job):
            return False
        self._jobs.pop(uid, None)
        return True

    async def _clean_up(self, job: Job) -> bool:
        """Let the site forget the job, unless it has been told to already."""
        if job.cancelled_at is None:
            try:
                await self._sidecar.delete(job.pod)
            except ApiError as error:
                uid = job.pod["metadata"]["uid"]
                log.warning("uid=%s not removed at the site: %s", uid, error.message)
                return False
            job.cancelled_at = time.monotonic()
        return True

    async def _close(self, uid: str) -> None:
        if self._tunnel is not None:
            await self._tunnel.close(uid)


def _claimed(pod: JSON) -> bool:
    """Whether the pod may have a job, by the finalizer that says so."""
    return names.FINALIZER in (pod["metadata"].get("finalizers") or [])


def _has_job(pod: JSON) -> bool:
    """Whether the site has taken the pod, by the job id that it gave."""
    return names.JOB_ID in (pod["metadata"].get("annotations") or {})


def _leaving(pod: JSON) -> bool:
    """Whether the pod waits for nothing but the end of its job."""
    phase = (pod.get("status") or {}).get("phase")
    return "deletionTimestamp" in pod["metadata"] or phase in TERMINAL_PHASES


def _of_daemon_set(pod: Pod) -> bool:
    return any(
        owner.get("kind") == "DaemonSet" for owner in pod.metadata.owner_references
    )


def _declined() -> JSON:
    """DaemonSets reach every node that they tolerate; the next pod would be no better
    than a failed one, so this one is left waiting."""
    return {
        "phase": "Pending",
        "reason": "NotOffloaded",
        "message": "Pods of a DaemonSet do not run on a virtual node.",
    }
