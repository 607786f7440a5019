"""What people read on the pending page, from pods of our kubelet and stock ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import Pod
from interlinkspawner import progress


def pod(
    phase: str = "Pending",
    queue: dict[str, Any] | None = None,
    states: list[dict[str, Any]] | None = None,
    **annotations: str,
) -> Pod:
    found = {names.BACKEND: "slurm", names.SITE: "cnaf", names.JOB_ID: "4242"}
    if queue:
        found[names.JOB_QUEUE] = json.dumps(queue)
    found.update(annotations)
    statuses = [
        {"name": "notebook", "ready": "running" in each, "state": each}
        for each in states or []
    ]
    return Pod.model_validate(
        {
            "metadata": {"name": "jupyter-ada", "annotations": found},
            "spec": {"nodeName": "hpc"},
            "status": {"phase": phase, "containerStatuses": statuses},
        }
    )


QUEUED = {"state": "queued", "reason": "Resources", "message": "Both U55C are in use."}


@pytest.mark.parametrize(
    ("found", "stage", "sentence"),
    [
        (
            pod(queue=QUEUED),
            "queued",
            "Slurm job 4242 on cnaf is waiting: Resources — Both U55C are in use.",
        ),
        (
            pod(
                queue={
                    **QUEUED,
                    "position": 3,
                    "estimatedStart": "2026-03-01T13:30:00+01:00",
                }
            ),
            "queued",
            (
                "Slurm job 4242 on cnaf is waiting: Resources — Both U55C are in use;"
                " position 3; expected to start at 2026-03-01 12:30 UTC."
            ),
        ),
        (
            pod(
                queue={"state": "queued"},
                states=[{"waiting": {"reason": "Priority", "message": ""}}],
            ),
            "queued",
            "Slurm job 4242 on cnaf is waiting: Priority.",
        ),
        (
            pod(queue={"state": "suspended"}),
            "queued",
            "Slurm job 4242 on cnaf is suspended.",
        ),
        (
            pod(queue={"state": "requested"}),
            "pending",
            "Submitting a job to cnaf.",
        ),
        (
            pod(queue={"state": "starting"}),
            "started",
            "Slurm job 4242 on cnaf is starting.",
        ),
        (
            pod("Running", queue={"state": "running"}, states=[{"waiting": {}}]),
            "started",
            "Slurm job 4242 on cnaf is running; waiting for its server to answer.",
        ),
        (
            pod("Running", states=[{"running": {}}]),
            "ready",
            "Slurm job 4242 on cnaf is ready.",
        ),
        (
            pod(
                "Failed",
                states=[{"terminated": {"exitCode": 1, "message": "Out of memory"}}],
            ),
            "ended",
            "Slurm job 4242 on cnaf ended before its server was ready: Out of memory",
        ),
        (pod("Failed"), "ended", "Slurm job 4242 on cnaf ended before its server was"),
    ],
)
def test_sentence(found: Pod, stage: str, sentence: str) -> None:
    assert progress.stage(found) == stage
    assert progress.sentence(found, "en").startswith(sentence)
    assert progress.sentence(found, "it") != sentence


def test_a_pod_that_is_being_deleted() -> None:
    document = pod(queue=QUEUED).model_dump(by_alias=True)
    document["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    said = progress.sentence(Pod.model_validate(document), "en")
    assert said == "Waiting for the previous job of this server to end."


def test_the_state_annotation_is_enough() -> None:
    assert progress.stage(pod(**{names.JOB_STATE: "queued"})) == "queued"
    assert progress.stage(pod(**{names.JOB_STATE: "sleepy"})) == "pending"


def test_a_running_pod_without_statuses_is_not_ready() -> None:
    assert progress.stage(pod("Running")) == "started"


def test_a_job_of_a_stock_virtual_kubelet_has_its_id() -> None:
    found = pod(**{names.JOB_ID: "", names.JOB_ID_UPSTREAM: "17"})
    assert progress.job(found).say("en") == "Slurm job 17"


@pytest.mark.parametrize(
    ("found", "code", "why"),
    [
        (pod("Succeeded"), 0, "Succeeded"),
        (pod("Failed"), 1, "Failed"),
        (
            pod("Failed", states=[{"terminated": {"exitCode": 137}}]),
            137,
            "exit code 137",
        ),
        (
            pod("Failed", states=[{"terminated": {"exitCode": 1, "reason": "Error"}}]),
            1,
            "Error",
        ),
    ],
)
def test_the_end(found: Pod, code: int, why: str) -> None:
    assert progress.exit_code(found) == code
    assert progress.why_ended(found) == why


def test_events_without_a_time() -> None:
    event = {
        "metadata": {"creationTimestamp": "2026-03-01T12:00:00Z"},
        "lastTimestamp": None,
        "eventTime": None,
        "type": "Warning",
        "message": "no",
    }
    assert progress.event_line(event) == "2026-03-01T12:00:00Z [Warning] no"
    assert progress.event_time({}) == ""
