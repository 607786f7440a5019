"""What a pod and its events say about a start, in words. Pure.

Reads the annotations of our virtual kubelet, or a stock pod's container state.
It must not know JupyterHub; the spawner decides when to look and what to raise.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Literal, TypeAlias

from pydantic import ValidationError

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON, Pod
from interlink_sidecars.api.messages import JobState, Queue

from .language import Language, Message, backend_name, say

Stage: TypeAlias = Literal["pending", "queued", "started", "ready", "ended"]
"""Where a start stands: no job yet, waiting for devices, running, answering, over."""

_NO_JOB_YET: frozenset[JobState] = frozenset({"unknown", "requested"})
_WAITING: frozenset[JobState] = frozenset({"queued", "suspended"})
_PROGRESS: dict[Stage, int] = {
    "pending": 10,
    "queued": 25,
    "started": 65,
    "ready": 95,
    "ended": 100,
}


def queue(pod: Pod) -> Queue:
    """The job's standing at its scheduler, as far as the virtual kubelet knows."""
    annotations = pod.metadata.annotations
    try:
        found = Queue.model_validate_json(annotations.get(names.JOB_QUEUE, ""))
    except ValidationError:
        found = Queue()
    state = annotations.get(names.JOB_STATE)
    if found.state == "unknown" and state:
        try:
            found = Queue.model_validate({**found.to_json(), "state": state})
        except ValidationError:
            return found
    return found


def job_id(pod: Pod) -> str:
    """The scheduler's id of the job, or nothing."""
    annotations = pod.metadata.annotations
    return annotations.get(names.JOB_ID) or annotations.get(names.JOB_ID_UPSTREAM, "")


def stage(pod: Pod) -> Stage:
    """How far the start has come."""
    if pod.phase in ("Succeeded", "Failed"):
        return "ended"
    state = queue(pod).state
    if pod.phase == "Running":
        return "ready" if is_ready(pod) else "started"
    if state in _NO_JOB_YET:
        return "pending"
    return "queued" if state in _WAITING else "started"


def is_ready(pod: Pod) -> bool:
    """Whether every container is; a pod without container statuses is not."""
    statuses = pod.status.get("containerStatuses") or []
    return bool(statuses) and all(status.get("ready") for status in statuses)


def percent(pod: Pod) -> int:
    """A number for the progress bar; it says the stage, not the time left."""
    return _PROGRESS[stage(pod)]


def job(pod: Pod) -> Message:
    """The job's name in a sentence: ``Slurm job 4242``."""
    backend = backend_name(pod.metadata.annotations.get(names.BACKEND, "batch"))
    if job_id(pod):
        return Message("job", backend=backend, id=job_id(pod))
    return Message("job_unnamed", backend=backend)


def site(pod: Pod) -> str:
    """The site's name for people."""
    return pod.metadata.annotations.get(names.SITE) or pod.spec.node_name


def sentence(pod: Pod, language: Language) -> str:
    """What the start is waiting for, in one line."""
    if pod.metadata.deletion_timestamp:
        return say(language, "job_ending")
    found = queue(pod)
    named = {"job": job(pod), "site": site(pod)}
    at = stage(pod)
    if at == "ready":
        return say(language, "job_ready", **named)
    if at == "started":
        key = "job_starting" if found.state == "starting" else "job_running"
        return say(language, key, **named)
    if at == "ended":
        return say(language, "job_failed", why=why_ended(pod), **named)
    if at == "queued":
        key = "job_suspended" if found.state == "suspended" else "job_waiting"
        words = "; ".join(_queue_words(pod, found, language))
        return say(language, key, **named) + (f": {words}." if words else ".")
    key = "submitting" if pod.spec.node_name else "asking"
    return say(language, key, site=site(pod))


def _queue_words(pod: Pod, found: Queue, language: Language) -> Iterator[str]:
    waiting = next(_states(pod, "waiting"), {})
    reason = found.reason or waiting.get("reason", "")
    message = found.message or waiting.get("message", "")
    if reason or message:
        yield " — ".join(part.rstrip(".") for part in (reason, message) if part)
    if found.position is not None:
        yield say(language, "job_position", position=found.position)
    if found.estimated_start is not None:
        time = found.estimated_start.astimezone(UTC)
        yield say(language, "job_estimate", time=f"{time:%Y-%m-%d %H:%M} UTC")


def why_ended(pod: Pod) -> str:
    """The job's own sentence about its end, else the best word that is known."""
    for terminated in _states(pod, "terminated"):
        words = terminated.get("message") or terminated.get("reason")
        if words:
            return str(words)
        return f"exit code {terminated.get('exitCode', '?')}"
    return str(pod.status.get("message") or pod.status.get("reason") or pod.phase)


def exit_code(pod: Pod) -> int:
    """The exit code of the first container that has one, else 0 or 1 by phase."""
    for terminated in _states(pod, "terminated"):
        return int(terminated.get("exitCode", 1))
    return 0 if pod.phase == "Succeeded" else 1


def _states(pod: Pod, kind: Literal["waiting", "terminated"]) -> Iterator[JSON]:
    for status in pod.status.get("containerStatuses") or []:
        state = (status.get("state") or {}).get(kind)
        if state is not None:
            yield state


def event_line(event: JSON) -> str:
    """A Kubernetes Event as KubeSpawner's pages show it."""
    return f"{event_time(event)} [{event.get('type')}] {event.get('message') or ''}"


def event_time(event: JSON) -> str:
    """When an Event was last seen, RFC 3339; every field of it may be null."""
    metadata = event.get("metadata") or {}
    return (
        event.get("lastTimestamp")
        or event.get("eventTime")
        or event.get("firstTimestamp")
        or metadata.get("creationTimestamp")
        or ""
    )
