"""What the site says of a job -> the pod's status and annotations (pure).

Owns the rules of a pod's life: a phase never goes back, an ended container and an
ended pod stay as they are, no address, and Ready only for what answers. Must not know
when any of it is written, nor who asked the site.

Sources: core/v1 ``PodStatus``; the transitions that the API server allows in
``k8s.io/kubernetes/pkg/apis/core/validation`` ``ValidateContainerStateTransition``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON, Container, Pod
from interlink_sidecars.api.messages import (
    ENDED,
    ContainerState,
    ContainerStatus,
    JobState,
    PodStatus,
    Waiting,
)

TERMINAL_PHASES: Final = frozenset({"Succeeded", "Failed"})
_SUBMITTING: Final = Waiting(
    reason="Submitting", message="The job is on its way to the site."
)


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a pod's status follows from, besides the pod itself.

    Attributes:
        observed: the site's last answer, None where there is none.
        problem: why the job could not be submitted yet.
        answering: whether the server answers through the tunnel; None without tunnel.
        now: time of the transitions that these facts bring.
    """

    observed: PodStatus | None
    problem: Waiting | None
    answering: bool | None
    now: datetime


def ended(observed: PodStatus) -> bool:
    """Whether the site is certain that the job is over."""
    if observed.queue is not None and observed.queue.state != "unknown":
        return observed.queue.state in ENDED
    return bool(observed.containers) and all(
        status.state.terminated is not None for status in observed.containers
    )


def known(observed: PodStatus) -> bool:
    """Whether the site knows the pod at all."""
    queue = observed.queue
    return bool(observed.containers) or (queue is not None and queue.state != "unknown")


def job_state(observed: PodStatus) -> JobState:
    """The job's state; a stock plugin says it only through its containers."""
    if observed.queue is not None:
        return observed.queue.state
    states = [status.state for status in observed.containers]
    if any(state.running for state in states):
        return "running"
    if not ended(observed):
        return "queued" if states else "unknown"
    codes = [state.terminated.exit_code for state in states if state.terminated]
    return "failed" if any(codes) else "completed"


def job_annotations(observed: PodStatus) -> dict[str, str]:
    """The job as the hub shows it; nothing where the site does not know the pod."""
    if not known(observed):
        return {}
    annotations: dict[str, str] = {names.JOB_STATE: job_state(observed)}
    if observed.jid:
        annotations[names.JOB_ID] = observed.jid
    if observed.node_name:
        annotations[names.JOB_NODE] = observed.node_name
    if queue := observed.queue:
        annotations[names.JOB_QUEUE] = json.dumps(queue.to_json())
        if queue.deadline is not None:
            annotations[names.DEADLINE] = rfc3339(queue.deadline)
    return annotations


def pod_status(pod: Pod, facts: Facts) -> JSON:
    """The part of ``status`` that is ours; empty for a pod that has ended."""
    if pod.phase in TERMINAL_PHASES:
        return {}
    containers = _container_statuses(pod, facts)
    inits = _init_statuses(pod, facts)
    phase = _phase(pod, containers, inits)
    return {
        "phase": phase,
        **_start_time(pod, facts, containers),
        **_verdict(phase, containers, inits),
        "containerStatuses": containers,
        **({"initContainerStatuses": inits} if inits else {}),
        "conditions": _conditions(pod, facts, phase, containers, inits),
    }


def failed_status(pod: Pod, reason: str, message: str, now: datetime) -> JSON:
    """The status of a pod that the site will never run."""
    ended_at = rfc3339(now)
    containers = [
        {
            **_blank(container),
            "state": {
                "terminated": {
                    "exitCode": 1,
                    "reason": reason,
                    "message": message,
                    "startedAt": ended_at,
                    "finishedAt": ended_at,
                }
            },
        }
        for container in pod.spec.containers
    ]
    facts = Facts(observed=None, problem=None, answering=None, now=now)
    return {
        "phase": "Failed",
        "reason": reason,
        "message": message,
        "containerStatuses": containers,
        "conditions": _conditions(pod, facts, "Failed", containers, []),
    }


def status_patch(pod: JSON, status: JSON, annotations: dict[str, str]) -> JSON:
    """Strategic merge patch for ``pods/status``; empty where nothing changes.

    Annotations travel in the same patch, so that they never contradict the status.
    """
    metadata = pod["metadata"]
    present = metadata.get("annotations") or {}
    changed = {k: v for k, v in annotations.items() if present.get(k) != v}
    patch: JSON = {}
    if changed:
        patch["metadata"] = {"annotations": changed}
    if status and not _covers(pod.get("status") or {}, status):
        patch["status"] = status
    if patch:
        patch.setdefault("metadata", {})["uid"] = metadata["uid"]
    return patch


def rfc3339(moment: datetime) -> str:
    """A moment as Kubernetes writes it, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _container_statuses(pod: Pod, facts: Facts) -> list[JSON]:
    observed = facts.observed.containers if facts.observed else []
    statuses = _statuses(pod, "containerStatuses", pod.spec.containers, observed, facts)
    for index, status in enumerate(statuses):
        running = "running" in status["state"]
        answers = facts.answering is not False or index > 0
        status["started"] = running
        status["ready"] = running and answers
    return statuses


def _init_statuses(pod: Pod, facts: Facts) -> list[JSON]:
    observed = facts.observed.init_containers if facts.observed else []
    statuses = _statuses(
        pod, "initContainerStatuses", pod.spec.init_containers, observed, facts
    )
    for status in statuses:
        ending = status["state"].get("terminated")
        status["ready"] = ending is not None and ending["exitCode"] == 0
    return statuses


def _statuses(
    pod: Pod,
    key: str,
    containers: Sequence[Container],
    observed: Sequence[ContainerStatus],
    facts: Facts,
) -> list[JSON]:
    answers = {status.name: status for status in observed}
    before = {status["name"]: status for status in pod.status.get(key) or []}
    return [
        {
            **_blank(container),
            **_known(answers.get(container.name)),
            "state": _state(
                before.get(container.name, {}).get("state") or {},
                answers.get(container.name),
                facts,
            ),
        }
        for container in containers
    ]


def _blank(container: Container) -> JSON:
    return {
        "name": container.name,
        "image": container.image,
        "imageID": "",
        "restartCount": 0,
        "ready": False,
        "lastState": {},
    }


def _known(answer: ContainerStatus | None) -> JSON:
    if answer is None:
        return {}
    known: JSON = {"restartCount": answer.restart_count}
    if answer.image:
        known["image"] = answer.image
    if answer.image_id:
        known["imageID"] = answer.image_id
    return known


def _state(before: JSON, answer: ContainerStatus | None, facts: Facts) -> JSON:
    """One of waiting, running, terminated; an ended container stays ended."""
    if before.get("terminated"):
        return {"terminated": before["terminated"]}
    state = answer.state if answer else ContainerState()
    if state.terminated is not None:
        return {"terminated": _seconds(state.terminated.to_json())}
    if state.running is not None:
        return {"running": _seconds(state.running.to_json())}
    unknown = facts.observed is None or not known(facts.observed)
    if unknown and before and facts.problem is None:
        return before  # that the site knows nothing is no news
    return {"waiting": _waiting(state.waiting, facts).to_json()}


def _waiting(waiting: Waiting | None, facts: Facts) -> Waiting:
    """The scheduler's word and sentence, or what keeps the job from it."""
    if facts.problem is not None:
        return facts.problem
    if facts.observed is None or not known(facts.observed):
        return _SUBMITTING
    queue = facts.observed.queue
    said = waiting or Waiting()
    reason = said.reason or (queue.reason if queue else "") or "Queued"
    message = said.message or (queue.message if queue else "")
    return Waiting(reason=reason, message=message)


def _seconds(state: JSON) -> JSON:
    """Times without fractions, as the API server stores them."""
    return {
        key: rfc3339(datetime.fromisoformat(value)) if key.endswith("At") else value
        for key, value in state.items()
    }


def _phase(pod: Pod, containers: list[JSON], inits: list[JSON]) -> str:
    endings = [status["state"].get("terminated") for status in containers]
    if containers and all(endings):
        return "Failed" if any(end["exitCode"] for end in endings) else "Succeeded"
    if any("running" in status["state"] for status in containers):
        return "Running"
    if _failures(inits):
        return "Failed"
    return "Running" if pod.phase == "Running" or any(endings) else "Pending"


def _failures(statuses: list[JSON]) -> list[JSON]:
    endings = [status["state"].get("terminated") or {} for status in statuses]
    return [ending for ending in endings if ending.get("exitCode")]


def _verdict(phase: str, containers: list[JSON], inits: list[JSON]) -> JSON:
    """Why the pod failed, for those who look at the pod and not its containers."""
    if phase != "Failed":
        return {}
    ending = (_failures(containers) or _failures(inits))[0]
    return {
        "reason": ending.get("reason") or "Error",
        "message": ending.get("message")
        or f"The job ended with exit code {ending['exitCode']}.",
    }


def _start_time(pod: Pod, facts: Facts, containers: list[JSON]) -> JSON:
    """When the job started: a deadline must not count the time in the queue."""
    if pod.status.get("startTime"):
        return {}
    queue = facts.observed.queue if facts.observed else None
    if queue is not None and queue.started_at is not None:
        return {"startTime": rfc3339(queue.started_at)}
    running = any("running" in status["state"] for status in containers)
    return {"startTime": rfc3339(facts.now)} if running else {}


def _conditions(
    pod: Pod, facts: Facts, phase: str, containers: list[JSON], inits: list[JSON]
) -> list[JSON]:
    before = {item["type"]: item for item in pod.status.get("conditions") or []}
    initialized = all(status["ready"] for status in inits)
    why = _unready(phase, facts, containers)
    conditions: list[JSON] = [
        {"type": "Initialized", "status": _truth(initialized)},
        {"type": "ContainersReady", "status": _truth(not why), **why},
        {"type": "Ready", "status": _truth(not why), **why},
    ]
    for condition in conditions:
        old = before.get(condition["type"], {})
        same = old.get("status") == condition["status"]
        condition["lastTransitionTime"] = (
            same and old.get("lastTransitionTime")
        ) or rfc3339(facts.now)
        for key in ("reason", "message"):  # a merge keeps what it is not told to drop
            condition.setdefault(key, None)
    return conditions


def _unready(phase: str, facts: Facts, containers: list[JSON]) -> JSON:
    """Reason and sentence why the pod is not ready; empty where it is."""
    if phase in TERMINAL_PHASES:
        return {"reason": "PodCompleted" if phase == "Succeeded" else "PodFailed"}
    waiting = [status["name"] for status in containers if not status["ready"]]
    if not waiting:
        return {}
    if facts.answering is False and "running" in containers[0]["state"]:
        return {
            "reason": "TunnelNotReady",
            "message": "The job runs; its server does not answer through the tunnel.",
        }
    return {
        "reason": "ContainersNotReady",
        "message": f"containers with unready status: [{' '.join(waiting)}]",
    }


def _truth(value: bool) -> str:
    return "True" if value else "False"


def _covers(live: Any, wanted: Any) -> bool:
    """Whether ``live`` says all that ``wanted`` says; None stands for absent."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            _covers(live.get(key), value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        if wanted and isinstance(wanted[0], dict) and "type" in wanted[0]:
            by_type = {item["type"]: item for item in live or []}
            return all(_covers(by_type.get(item["type"]), item) for item in wanted)
        return (
            isinstance(live, list)
            and len(live) == len(wanted)
            and all(map(_covers, live, wanted))
        )
    return bool(live == wanted)
