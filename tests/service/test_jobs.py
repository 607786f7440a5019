"""From pod JSON to the job document that the Lab extension shares."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON, Pod
from interlinkspawner.service.jobs import Job, is_job, job
from tests.conftest import DATA

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
SHARED = DATA / "service" / "job.json"


def pod(
    annotations: dict[str, str] | None = None,
    *,
    status: JSON | None = None,
    **metadata: Any,
) -> JSON:
    """Alice's default server, offloaded; more as asked."""
    return {
        "metadata": {
            "name": "jupyter-alice",
            "namespace": "hub",
            "uid": "6f1c2d3e-4b5a-4c6d-8e7f-0a1b2c3d4e5f",
            "annotations": {
                names.HUB_USERNAME: "alice",
                names.BACKEND: "slurm",
                **(annotations or {}),
            },
            **metadata,
        },
        "spec": {
            "nodeName": "site-a-slurm",
            "containers": [{"name": "notebook", "image": "lab"}],
        },
        "status": {"phase": "Pending", **(status or {})},
    }


def container(**state: Any) -> JSON:
    """A pod status with one container in this state."""
    return {"containerStatuses": [{"name": "notebook", "state": state}]}


RUNNING = pod(
    {
        names.SITE: "site-a",
        names.TUNNEL: "ilt",
        names.JOB_ID: "1234567",
        names.JOB_NODE: "fpga07",
        names.JOB_STATE: "running",
        names.DEADLINE: "2026-11-22T14:00:00Z",
        names.ACCELERATORS: json.dumps(
            [{"resource_type": "xilinx.com/fpga", "model": "u55c", "count": 2}]
        ),
        names.JOB_QUEUE: json.dumps(
            {
                "state": "running",
                "schedulerState": "RUNNING",
                "partition": "fpga",
                "submittedAt": "2026-11-22T11:58:30Z",
                "startedAt": "2026-11-22T12:00:00Z",
            }
        ),
    },
    status={
        "phase": "Running",
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "lastTransitionTime": "2026-11-22T12:00:09Z",
            }
        ],
        **container(running={"startedAt": "2026-11-22T12:00:01Z"}),
    },
)


def test_running_job_is_the_document_that_the_lab_extension_reads() -> None:
    assert job(RUNNING, NOW).model_dump(mode="json") == json.loads(SHARED.read_text())


def test_shared_document_is_a_job() -> None:
    document = json.loads(SHARED.read_text())
    assert Job.model_validate(document).model_dump(mode="json") == document


def test_queued_job_tells_the_schedulers_reason(
    golden: Callable[[str, Any], None],
) -> None:
    queue = {
        "state": "queued",
        "schedulerState": "PENDING",
        "reason": "Resources",
        "message": "Waiting for devices that other jobs hold.",
        "partition": "fpga",
        "submittedAt": "2026-11-22T12:00:00Z",
        "estimatedStart": "2026-11-22T13:00:00Z",
    }
    notes = {
        names.JOB_ID: "8",
        names.JOB_STATE: "queued",
        names.JOB_QUEUE: json.dumps(queue),
        names.HUB_SERVERNAME: "gpu1",
    }
    queued = job(pod(notes), NOW)
    golden("service/job-queued.json", queued.model_dump(mode="json"))


def test_lost_tunnel_of_a_running_job() -> None:
    down = json.loads(json.dumps(RUNNING))
    down["status"]["conditions"][0]["status"] = "False"
    assert job(down, NOW).tunnel.state == "down"


@pytest.mark.parametrize(
    ("raw", "state"),
    [
        (pod(), "requested"),
        (pod({names.JOB_ID_UPSTREAM: "7"}), "queued"),
        (pod(status={"phase": "Running"}), "running"),
        (pod(status={"phase": "Succeeded"}), "completed"),
        (pod(status={"phase": "Failed"}), "failed"),
        (pod(status={"phase": "Failed", "reason": "DeadlineExceeded"}), "timeout"),
        (
            pod(
                status={
                    "phase": "Failed",
                    **container(terminated={"exitCode": 137, "reason": "OOMKilled"}),
                }
            ),
            "out_of_memory",
        ),
        (pod(status={"phase": "Unknown"}), "unknown"),
        (pod({names.JOB_STATE: "suspended"}), "suspended"),
        (pod({names.JOB_STATE: "no such word"}), "requested"),
        (
            pod({names.JOB_STATE: "running"}, status={"phase": "Failed"}),
            "failed",
        ),
        (
            pod({names.JOB_STATE: "preempted"}, status={"phase": "Failed"}),
            "preempted",
        ),
        (
            pod({names.JOB_STATE: "running"}, deletionTimestamp="2026-11-22T12:29:00Z"),
            "stopping",
        ),
    ],
)
def test_state(raw: JSON, state: str) -> None:
    assert job(raw, NOW).state == state


def test_pod_removed_on_request_was_cancelled() -> None:
    removed = pod(deletionTimestamp="2026-11-22T12:29:00Z")
    ended = job(removed, NOW, gone_at=NOW)
    assert (ended.state, ended.ended_at) == ("cancelled", NOW)


def test_vanished_pod_says_that_nothing_is_known() -> None:
    vanished = job(pod({names.JOB_STATE: "running"}), NOW, gone_at=NOW)
    assert (vanished.state, vanished.reason) == ("unknown", "PodGone")


def test_failure_is_explained_by_the_container_that_ended() -> None:
    status = {
        "phase": "Failed",
        **container(
            terminated={
                "exitCode": 9,
                "signal": 9,
                "reason": "Error",
                "message": "Killed by the site.",
                "finishedAt": "2026-11-22T12:20:00Z",
            }
        ),
    }
    failed = job(pod(status=status), NOW)
    assert (failed.reason, failed.message) == ("Error", "Killed by the site.")
    assert (failed.exit_code, failed.signal) == (9, 9)
    assert failed.ended_at == datetime(2026, 11, 22, 12, 20, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "no such word"}', "null"])
def test_unreadable_annotations_are_absent_ones(text: str) -> None:
    notes = {names.JOB_QUEUE: text, names.ACCELERATORS: text, names.DEADLINE: text}
    bare = job(pod(notes), NOW)
    assert (bare.queue, bare.accelerators, bare.deadline) == ("", [], None)


@pytest.mark.parametrize(
    ("annotations", "offloaded"),
    [
        ({names.HUB_USERNAME: "alice", names.ACCELERATORS: "[]"}, True),
        ({names.HUB_USERNAME: "alice", names.JOB_ID_UPSTREAM: "1"}, True),
        ({names.HUB_USERNAME: "alice"}, False),
        ({names.ACCELERATORS: "[]"}, False),
    ],
)
def test_only_offloaded_servers_are_jobs(
    annotations: dict[str, str], offloaded: bool
) -> None:
    raw = {"metadata": {"annotations": annotations}}
    assert is_job(Pod.model_validate(raw)) is offloaded
