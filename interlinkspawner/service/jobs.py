"""The job document that the service serves, and how it follows from a pod.

Pure: pod JSON in, :class:`Job` out. It must not know where pods come from, nor who
may see them. The wire shape is shared with the Lab extension through
``tests/data/service/job.json``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON, Pod
from interlink_sidecars.api.messages import ENDED, JobState, Queue, Terminated

T = TypeVar("T")

JOB_ANNOTATIONS: Final = (names.ACCELERATORS, names.JOB_STATE, names.JOB_ID_UPSTREAM)
"""A pod with any of these was offloaded."""

TunnelState: TypeAlias = Literal["up", "down", "unknown"]


class Document(BaseModel):
    """A document of ours: frozen, with no unknown field."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class JobAccelerator(Document):
    """Devices that the job asked for; ``model`` is lower case or empty."""

    resource_type: str
    model: str = ""
    count: int


class TunnelStatus(Document):
    """Whether the notebook server answers through its tunnel, and since when."""

    state: TunnelState = "unknown"
    since: datetime | None = None


class Job(Document):
    """One offloaded server. Times are absent until they are known.

    ``id`` is the pod's UID; ``server`` is empty for the owner's default server.
    ``node`` is the compute node, empty before the job runs; ``site`` is the site, or
    else the virtual node, and ``queue`` the scheduler's partition. ``reason`` and
    ``scheduler_state`` are the scheduler's words, ``message`` is a sentence.
    ``observed_at`` is when Kubernetes last confirmed all this.
    """

    id: str
    owner: str
    server: str
    site: str
    backend: str
    node: str
    job_id: str
    state: JobState
    scheduler_state: str
    reason: str
    message: str
    queue: str
    submitted_at: datetime | None
    estimated_start: datetime | None
    started_at: datetime | None
    deadline: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    signal: int | None
    accelerators: list[JobAccelerator]
    tunnel: TunnelStatus
    observed_at: datetime
    containers: list[str]

    @property
    def ended(self) -> bool:
        """Whether the job is known to have ended."""
        return self.state in ENDED


def is_job(pod: Pod) -> bool:
    """Whether the pod is an offloaded server with an owner."""
    annotations = pod.metadata.annotations
    return names.HUB_USERNAME in annotations and any(
        key in annotations for key in JOB_ANNOTATIONS
    )


def server_of(raw: JSON) -> tuple[str, str]:
    """Owner and server name of a pod for which :func:`is_job` holds."""
    notes = raw["metadata"]["annotations"]
    return notes[names.HUB_USERNAME], notes.get(names.HUB_SERVERNAME, "")


def job(raw: JSON, observed_at: datetime, gone_at: datetime | None = None) -> Job:
    """The job behind a pod for which :func:`is_job` holds.

    Args:
        raw: the pod as Kubernetes last showed it.
        observed_at: when Kubernetes last confirmed it.
        gone_at: when the pod was seen to be removed, or None.
    """
    pod = Pod.model_validate(raw)
    notes = pod.metadata.annotations
    queue = _parse(Queue, notes.get(names.JOB_QUEUE)) or Queue()
    end = _terminated(pod)
    state = _state(pod, gone=gone_at is not None)
    reason, message = _explanation(pod, queue, end, state, gone=gone_at is not None)
    owner, server = server_of(raw)
    return Job(
        id=pod.uid,
        owner=owner,
        server=server,
        site=notes.get(names.SITE) or pod.spec.node_name,
        backend=notes.get(names.BACKEND, ""),
        node=notes.get(names.JOB_NODE, ""),
        job_id=_job_id(pod),
        state=state,
        scheduler_state=queue.scheduler_state,
        reason=reason,
        message=message,
        queue=queue.partition,
        submitted_at=queue.submitted_at,
        estimated_start=queue.estimated_start,
        started_at=queue.started_at or _started_at(pod),
        deadline=_parse(datetime, notes.get(names.DEADLINE)) or queue.deadline,
        ended_at=queue.ended_at or (end and end.finished_at) or gone_at,
        exit_code=end.exit_code if end else None,
        signal=(end.signal or None) if end else None,
        accelerators=_parse(list[JobAccelerator], notes.get(names.ACCELERATORS)) or [],
        tunnel=_tunnel(pod, state),
        observed_at=observed_at,
        containers=[container.name for container in pod.spec.containers],
    )


def _parse(kind: type[T], text: str | None) -> T | None:
    """An annotation's value; None where it is absent or not what it should be."""
    if not text:
        return None
    adapter = TypeAdapter(kind)
    try:
        return (
            adapter.validate_json(text)
            if text[0] in "[{"
            else (adapter.validate_python(text))
        )
    except ValidationError:
        return None


def _job_id(pod: Pod) -> str:
    notes = pod.metadata.annotations
    return notes.get(names.JOB_ID) or notes.get(names.JOB_ID_UPSTREAM, "")


def _container_state(pod: Pod, kind: str) -> JSON:
    """``status.containerStatuses[0].state.<kind>``, the notebook's, or nothing."""
    statuses = pod.status.get("containerStatuses") or [{}]
    state: JSON = (statuses[0].get("state") or {}).get(kind) or {}
    return state


def _terminated(pod: Pod) -> Terminated | None:
    state = _container_state(pod, "terminated")
    return Terminated.model_validate(state) if state else None


def _started_at(pod: Pod) -> datetime | None:
    state = _container_state(pod, "running") or _container_state(pod, "terminated")
    return _parse(datetime, state.get("startedAt"))


def _state(pod: Pod, *, gone: bool) -> JobState:
    """The virtual kubelet's word, unless the pod itself says that all is over.

    A stock interLink node writes no word, so the phase must do.
    """
    word = pod.metadata.annotations.get(names.JOB_STATE)
    state: JobState | None = word if word in get_args(JobState) else None  # type: ignore[assignment]
    if state in ENDED:
        return state
    if pod.phase in {"Succeeded", "Failed"}:
        return _end_of(pod)
    if gone:
        # Our finalizer goes only once the site has confirmed the end, so a pod that
        # went after its deletion was asked for has a cancelled job.
        return "cancelled" if pod.metadata.deletion_timestamp else "unknown"
    if pod.metadata.deletion_timestamp:
        return "stopping"
    return state or _state_of_phase(pod)


def _end_of(pod: Pod) -> JobState:
    if pod.phase == "Succeeded":
        return "completed"
    if pod.status.get("reason") == "DeadlineExceeded":
        return "timeout"
    if _container_state(pod, "terminated").get("reason") == "OOMKilled":
        return "out_of_memory"
    return "failed"


def _state_of_phase(pod: Pod) -> JobState:
    if pod.phase == "Running":
        return "running"
    if pod.phase == "Pending":
        return "queued" if _job_id(pod) else "requested"
    return "unknown"


def _explanation(
    pod: Pod, queue: Queue, end: Terminated | None, state: JobState, *, gone: bool
) -> tuple[str, str]:
    """Reason and sentence from the source that knows most about this state."""
    if gone and state == "unknown":
        return "PodGone", "The pod was removed; how its job ended is not known."
    waiting = _container_state(pod, "waiting")
    sources = [
        (queue.reason, queue.message),
        (str(waiting.get("reason", "")), str(waiting.get("message", ""))),
        (str(pod.status.get("reason", "")), str(pod.status.get("message", ""))),
    ]
    if end is not None and state in ENDED:
        sources.insert(0, (end.reason, end.message))
    return next((pair for pair in sources if any(pair)), ("", ""))


def _tunnel(pod: Pod, state: JobState) -> TunnelStatus:
    """Our virtual kubelet makes a pod Ready only while its tunnel answers."""
    if pod.metadata.annotations.get(names.TUNNEL) != "ilt" or state != "running":
        return TunnelStatus()
    for condition in pod.status.get("conditions") or []:
        if condition.get("type") == "Ready":
            return TunnelStatus(
                state="up" if condition.get("status") == "True" else "down",
                since=_parse(datetime, condition.get("lastTransitionTime")),
            )
    return TunnelStatus()
