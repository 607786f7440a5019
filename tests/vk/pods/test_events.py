"""Which changes of a pod are worth an Event."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON, Pod
from interlink_sidecars.api.messages import PodStatus
from interlink_vk.pods.events import News, event_document, news

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
OBSERVED = PodStatus.model_validate(
    {
        "name": "p",
        "UID": "u",
        "namespace": "n",
        "nodeName": "node7",
        "queue": {"state": "queued"},
    }
)


def status(phase: str, state: JSON, *, ready: bool = False, **more: Any) -> JSON:
    return {
        "phase": phase,
        "containerStatuses": [{"name": "notebook", "state": state}],
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        **more,
    }


def told(before: JSON, after: JSON, observed: PodStatus | None = OBSERVED) -> list[str]:
    pod = Pod.model_validate(
        {
            "metadata": {"annotations": {names.TUNNEL: "ilt"}},
            "status": before,
        }
    )
    return [f"{n.kind} {n.reason}: {n.message}" for n in news(pod, after, observed)]


def waiting(reason: str, message: str = "why") -> JSON:
    return {"waiting": {"reason": reason, "message": message}}


def test_a_new_reason_in_the_queue() -> None:
    before = status("Pending", waiting("Priority"))
    after = status("Pending", waiting("Resources", "boards busy"))
    assert told(before, after) == ["Normal Queued: Resources: boards busy"]
    assert told(after, after) == []


def test_what_keeps_a_pod_from_its_queue_is_a_warning() -> None:
    after = status("Pending", waiting("CreateContainerConfigError"))
    assert told({}, after, None) == ["Warning CreateContainerConfigError: why"]
    assert told({}, status("Pending", waiting("Submitting")), None) == []


def test_start_tunnel_and_end() -> None:
    queued = status("Pending", waiting("Resources"))
    running = status("Running", {"running": {}})
    assert told(queued, running) == ["Normal Started: The job has started on node7."]
    ready = status("Running", {"running": {}}, ready=True)
    assert told(running, ready)[0].startswith("Normal TunnelUp")
    assert told(ready, running)[0].startswith("Warning TunnelDown")
    done = status("Succeeded", {"terminated": {"exitCode": 0}})
    assert told(ready, done)[0].startswith("Normal Completed")
    failed = status(
        "Failed", {"terminated": {}}, reason="Timeout", message="Time is up."
    )
    assert told(ready, failed) == ["Warning Timeout: Time is up."]


def test_a_patch_of_annotations_alone_tells_nothing() -> None:
    assert told(status("Running", {"running": {}}), {}) == []


def test_the_document_is_what_the_pending_page_sorts_and_selects() -> None:
    metadata = {"name": "p", "namespace": "n", "uid": "u"}
    pod = Pod.model_validate({"metadata": metadata})
    event = event_document(pod, News("Normal", "Queued", "x" * 2000), "site-a", NOW)
    assert event["lastTimestamp"] == "2026-11-22T12:00:00Z"
    assert event["involvedObject"]["kind"] == "Pod"
    assert event["involvedObject"]["uid"] == "u"
    assert len(event["message"]) == 1024
