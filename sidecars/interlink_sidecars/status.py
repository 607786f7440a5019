"""Record to PodStatus: what the virtual kubelet is told about a pod. Pure.

A pod that did not succeed always has a container with a non-zero exit code and a
sentence, because interLink takes a missing code for success.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from .api.kubernetes import Pod
from .api.messages import (
    ContainerState,
    ContainerStatus,
    PodStatus,
    Queue,
    Running,
    Terminated,
    Waiting,
)
from .backend import EXIT_CODES, ContainerMark, Observation
from .job import ContainerName
from .records import Record

_REASONS = {
    "completed": "Completed",
    "timeout": "DeadlineExceeded",
    "out_of_memory": "OOMKilled",
    "cancelled": "Cancelled",
    "preempted": "Preempted",
    "node_failed": "NodeFailed",
    "lost": "Lost",
}


_ENDINGS = {
    "never_started": "The pod was deleted before a job was started.",
    "cancelled": "The job was cancelled.",
    "lost": "The scheduler does not know the job and it left no mark. It was probably"
    " removed by an administrator or lost with its node.",
}


def pod_status(record: Record, observed_at: datetime | None) -> PodStatus:
    """The status of a pod whose job is on record.

    ``observed_at`` is when the scheduler last answered.
    """
    spec, seen = record.spec, _adjusted(record)
    statuses = {
        container.name: _container_status(container, seen)
        for container in spec.containers
    }
    return PodStatus(
        name=spec.name,
        namespace=spec.namespace,
        uid=spec.uid,
        jid=record.job_id,
        containers=[statuses[c.name] for c in spec.containers if not c.init],
        init_containers=[statuses[c.name] for c in spec.containers if c.init],
        node_name=seen.node_name,
        observed_at=observed_at,
        queue=seen.queue,
    )


def unknown_status(pod: Pod) -> PodStatus:
    """The status of a pod that was never created here."""
    return PodStatus(
        name=pod.metadata.name,
        namespace=pod.metadata.namespace,
        uid=pod.uid,
        queue=Queue(
            state="unknown",
            reason="NotFound",
            message=f"This sidecar has no record of pod {pod.key}.",
        ),
    )


def ended(
    record: Record, how: Literal["never_started", "cancelled", "lost"]
) -> Observation:
    """The end of a job of which the scheduler says nothing more."""
    queue = record.observation.queue.model_copy(
        update={
            "state": "lost" if how == "lost" else "cancelled",
            "message": _ENDINGS[how],
            "ended_at": datetime.now(UTC),
        }
    )
    return record.observation.model_copy(update={"queue": queue})


def silence(record: Record) -> bytes:
    """A line of log that says why there is none."""
    queue = pod_status(record, None).queue or Queue()
    return f"# {queue.state}: {queue.message or 'no output yet'}\n".encode()


def _adjusted(record: Record) -> Observation:
    """The observation with the words that the record's phase adds."""
    seen = record.observation
    if seen.ended:
        return seen
    if record.phase == "intent":
        message = "The job is being handed to the scheduler."
        queue = Queue(state="requested", reason="Submitting", message=message)
    elif record.phase == "deleting":
        message = "The job was asked to end."
        queue = seen.queue.model_copy(update={"state": "stopping", "message": message})
    elif seen.queue.state == "unknown":
        message = "The scheduler has the job and was not asked about it yet."
        queue = Queue(state="queued", reason="Submitted", message=message)
    else:
        return seen
    return seen.model_copy(update={"queue": queue})


def _container_status(container: ContainerName, seen: Observation) -> ContainerStatus:
    mark = seen.containers.get(container.name, ContainerMark())
    state = _state(mark, seen)
    return ContainerStatus(
        name=container.name,
        image=container.image,
        state=state,
        ready=state.running is not None or (container.init and mark.exit_code == 0),
    )


def _state(mark: ContainerMark, seen: Observation) -> ContainerState:
    queue = seen.queue
    if mark.exit_code is not None or seen.ended:
        return ContainerState(terminated=_terminated(mark, seen))
    if mark.started_at is not None:
        return ContainerState(running=Running(started_at=mark.started_at))
    if any(other.started_at for other in seen.containers.values()):
        return ContainerState(waiting=Waiting(reason="PodInitializing"))
    reason = queue.reason or "ContainerCreating"
    return ContainerState(waiting=Waiting(reason=reason, message=queue.message))


def _terminated(mark: ContainerMark, seen: Observation) -> Terminated:
    """A container's end; one that the job's end cut short has not completed."""
    queue = seen.queue
    code = mark.exit_code
    cut_short = code is None or (
        seen.stopped_at is not None
        and mark.finished_at is not None
        and mark.finished_at >= seen.stopped_at
    )
    failed = queue.state not in {"completed", "failed"} and seen.ended
    if code is None:
        # without its mark nobody saw it succeed, whatever the scheduler says
        code = seen.exit_code or EXIT_CODES.get(queue.state, 1) or 1
    if cut_short and failed:
        return Terminated(
            exit_code=code or EXIT_CODES[queue.state],
            reason=_REASONS[queue.state],
            message=queue.message or "The job was ended from outside.",
            started_at=mark.started_at,
            finished_at=mark.finished_at or queue.ended_at,
        )
    return Terminated(
        exit_code=code,
        reason="Completed" if code == 0 else "Error",
        message="" if code == 0 else _explained(mark, code, queue),
        started_at=mark.started_at,
        finished_at=mark.finished_at or queue.ended_at,
    )


def _explained(mark: ContainerMark, code: int, queue: Queue) -> str:
    if mark.exit_code is None:
        return queue.message or "The container did not start: the job ended before."
    if code > 128:
        return f"The container was ended by signal {code - 128}."
    if code in {126, 127}:
        return "The container's command could not be started; its log says why."
    return f"The container ended with exit code {code}."
