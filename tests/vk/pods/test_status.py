"""The rules of a pod's life on a virtual node."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON, Pod
from interlink_sidecars.api.messages import PodStatus, Waiting
from interlink_vk.pods.status import (
    Facts,
    ended,
    failed_status,
    job_annotations,
    job_state,
    pod_status,
    status_patch,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
UID = "6f1c2d3e-4b5a-4c6d-8e7f-0a1b2c3d4e5f"
POD: JSON = {
    "metadata": {"name": "p", "namespace": "n", "uid": UID},
    "spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "notebook", "image": "base"}],
    },
    "status": {"phase": "Pending"},
}
WAITING: JSON = {"waiting": {"reason": "Resources", "message": "both boards are busy"}}
RUNNING: JSON = {"running": {"startedAt": "2026-11-22T11:59:00.25Z"}}
QUEUED: JSON = {
    "state": "queued",
    "schedulerState": "PENDING",
    "reason": "Resources",
    "message": "both boards are busy",
    "position": 1,
}


def terminated(code: int, **more: Any) -> JSON:
    return {"terminated": {"exitCode": code, **more}}


def answer(*states: JSON, queue: JSON | None = None, **more: Any) -> PodStatus:
    wanted = [container["name"] for container in POD["spec"]["containers"]]
    document = {
        "name": "p",
        "UID": UID,
        "namespace": "n",
        "JID": "42",
        "containers": [
            {"name": name, "state": state}
            for name, state in zip([*wanted, "second"], states, strict=False)
        ],
        "queue": queue,
    }
    return PodStatus.model_validate(document | more)


def status(
    observed: PodStatus | None,
    pod: JSON = POD,
    *,
    problem: Waiting | None = None,
    answering: bool | None = None,
) -> JSON:
    return pod_status(Pod.model_validate(pod), Facts(observed, problem, answering, NOW))


def after(wanted: JSON, pod: JSON = POD) -> JSON:
    """The pod once that status was written."""
    return {**pod, "status": {**pod["status"], **wanted}}


def ready(wanted: JSON) -> str:
    return str(next(c["status"] for c in wanted["conditions"] if c["type"] == "Ready"))


@pytest.mark.parametrize(
    ("name", "observed"),
    [
        ("queued", answer(WAITING, queue=QUEUED)),
        ("running", answer(RUNNING, nodeName="node7")),
        ("succeeded", answer(terminated(0, finishedAt="2026-11-22T11:59:30Z"))),
        (
            "failed",
            answer(terminated(124, reason="Timeout", message="Its time is up.")),
        ),
    ],
)
def test_documents(
    name: str, observed: PodStatus, golden: Callable[[str, Any], None]
) -> None:
    golden(f"vk/status-{name}.json", status(observed))


def test_the_document_of_a_refused_pod(golden: Callable[[str, Any], None]) -> None:
    pod = Pod.model_validate(POD)
    refused = failed_status(pod, "SubmitFailed", "sbatch: invalid partition x", NOW)
    golden("vk/status-refused.json", refused)


def test_the_scheduler_s_words_are_the_waiting_reason() -> None:
    wanted = status(answer(WAITING, queue=QUEUED))
    assert wanted["containerStatuses"][0]["state"] == WAITING
    assert wanted["phase"] == "Pending"


def test_no_address_is_ever_shown() -> None:
    assert not {"podIP", "podIPs", "hostIP"} & set(status(answer(RUNNING)))


def test_unknown_is_never_an_end() -> None:
    assert status(answer())["phase"] == "Pending"
    running = after(status(answer(RUNNING)))
    wanted = status(answer(), running)
    assert wanted["phase"] == "Running"
    assert "running" in wanted["containerStatuses"][0]["state"]


def test_unknown_keeps_the_reason_for_waiting() -> None:
    queued = after(status(answer(WAITING, queue=QUEUED)))
    assert status(answer(), queued)["containerStatuses"][0]["state"] == WAITING


def test_a_running_pod_never_goes_back_to_pending() -> None:
    running = after(status(answer(RUNNING)))
    wanted = status(answer(WAITING, queue=QUEUED), running)
    assert wanted["phase"] == "Running"
    assert ready(wanted) == "False"


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_an_ended_pod_stays_as_it_is(phase: str) -> None:
    pod = {**POD, "status": {"phase": phase}}
    assert status(answer(RUNNING), pod) == {}


def test_an_ended_container_stays_ended() -> None:
    two = {**POD, "spec": {"containers": [{"name": "notebook"}, {"name": "second"}]}}
    first = after(status(answer(terminated(0), RUNNING), two), two)
    wanted = status(answer(RUNNING, RUNNING), first)
    assert "terminated" in wanted["containerStatuses"][0]["state"]
    assert wanted["phase"] == "Running"


def test_one_failed_container_fails_the_pod() -> None:
    two = {**POD, "spec": {"containers": [{"name": "notebook"}, {"name": "second"}]}}
    ending = terminated(3, reason="Error", message="It broke.")
    wanted = status(answer(terminated(0), ending), two)
    assert (wanted["phase"], wanted["reason"], wanted["message"]) == (
        "Failed",
        "Error",
        "It broke.",
    )


def test_a_failed_init_container_fails_the_pod() -> None:
    pod = {
        **POD,
        "spec": {**POD["spec"], "initContainers": [{"name": "prepare"}]},
    }
    inits = [{"name": "prepare", "state": terminated(2)}]
    wanted = status(answer(WAITING, initContainers=inits), pod)
    assert wanted["phase"] == "Failed"
    assert "exit code 2" in wanted["message"]


def test_a_pod_with_a_tunnel_is_ready_when_its_server_answers() -> None:
    silent = status(answer(RUNNING), answering=False)
    assert (silent["phase"], ready(silent)) == ("Running", "False")
    assert silent["containerStatuses"][0]["ready"] is False
    answering = status(answer(RUNNING), answering=True)
    assert ready(answering) == "True"
    assert answering["containerStatuses"][0]["ready"] is True


def test_a_pod_without_tunnel_is_ready_when_it_runs() -> None:
    assert ready(status(answer(RUNNING))) == "True"


def test_a_transition_keeps_its_time() -> None:
    running = after(status(answer(RUNNING)))
    for condition in running["status"]["conditions"]:
        condition["lastTransitionTime"] = "2026-11-22T11:00:00Z"
    wanted = status(answer(RUNNING), running)
    times = {c["type"]: c["lastTransitionTime"] for c in wanted["conditions"]}
    assert times["Ready"] == "2026-11-22T11:00:00Z"
    stopped = status(answer(terminated(0)), running)
    times = {c["type"]: c["lastTransitionTime"] for c in stopped["conditions"]}
    assert times["Ready"] == "2026-11-22T12:00:00Z"


def test_the_start_time_is_the_job_s() -> None:
    queue = QUEUED | {"state": "running", "startedAt": "2026-11-22T11:58:00Z"}
    assert "startTime" not in status(answer(WAITING, queue=QUEUED))
    assert status(answer(RUNNING, queue=queue))["startTime"] == "2026-11-22T11:58:00Z"


def test_a_problem_is_the_waiting_reason() -> None:
    problem = Waiting(reason="SidecarUnreachable", message="refused")
    state = status(None, problem=problem)["containerStatuses"][0]["state"]
    assert state == {"waiting": {"reason": "SidecarUnreachable", "message": "refused"}}


# --- annotations and ends ----------------------------------------------------------


def test_annotations_carry_the_job(golden: Callable[[str, Any], None]) -> None:
    queue = QUEUED | {"deadline": "2026-11-22T14:00:00.5Z"}
    golden("vk/job-annotations.json", job_annotations(answer(WAITING, queue=queue)))


def test_an_unknown_pod_has_no_annotations() -> None:
    assert job_annotations(answer()) == {}
    assert job_annotations(answer(queue={"state": "unknown"})) == {}


@pytest.mark.parametrize(
    ("observed", "state", "over"),
    [
        (answer(WAITING), "queued", False),
        (answer(RUNNING), "running", False),
        (answer(terminated(0)), "completed", True),
        (answer(terminated(1)), "failed", True),
        (answer(), "unknown", False),
        (answer(terminated(0), queue={"state": "stopping"}), "stopping", False),
        (answer(queue={"state": "cancelled"}), "cancelled", True),
    ],
)
def test_the_job_s_state_with_and_without_a_queue(
    observed: PodStatus, state: str, over: bool
) -> None:
    assert job_state(observed) == state
    assert ended(observed) is over


# --- patches -----------------------------------------------------------------------


def test_a_patch_says_only_what_differs() -> None:
    annotations = {names.JOB_ID: "42"}
    wanted = status(answer(RUNNING))
    patch = status_patch(POD, wanted, annotations)
    assert patch["metadata"] == {"uid": UID, "annotations": annotations}
    assert patch["status"] == wanted

    metadata = {**POD["metadata"], "annotations": annotations}
    written = {**after(wanted), "metadata": metadata}
    written["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "True"},
        *(
            {k: v for k, v in condition.items() if v is not None}
            for condition in wanted["conditions"]
        ),
    ]
    assert status_patch(written, wanted, annotations) == {}
    assert status_patch(written, wanted, {names.JOB_ID: "43"}) == {
        "metadata": {"uid": UID, "annotations": {names.JOB_ID: "43"}}
    }
