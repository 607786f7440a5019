"""The two budgets of a start, on a clock that is ours."""

from __future__ import annotations

from typing import Any

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import Pod
from interlinkspawner.language import Message
from interlinkspawner.waiting import Wait


def pod(state: str, phase: str = "Pending", **metadata: Any) -> Pod:
    return Pod.model_validate(
        {
            "metadata": {
                "name": "jupyter-ada",
                "annotations": {
                    names.JOB_STATE: state,
                    names.BACKEND: "slurm",
                    names.SITE: "cnaf",
                },
                **metadata,
            },
            "status": {"phase": phase},
        }
    )


def wait() -> Wait:
    return Wait(begun=0, queue_limit=86400, start_limit=60)


def said(message: Message | None) -> str:
    return message.say("en") if message else ""


def test_a_long_queue_is_no_failure() -> None:
    waiting = wait()
    assert waiting.verdict(pod("queued"), 86400) is None
    assert "did not start within 1 d" in said(waiting.verdict(pod("queued"), 86401))


def test_the_start_budget_counts_from_the_jobs_start() -> None:
    waiting = wait()
    assert waiting.verdict(pod("queued"), 80000) is None
    assert waiting.verdict(pod("starting"), 80001) is None
    assert waiting.verdict(pod("running", "Running"), 80061) is None
    assert "did not answer within 1 min" in said(
        waiting.verdict(pod("running", "Running"), 80062)
    )


def test_a_requeued_job_has_its_start_budget_again() -> None:
    waiting = wait()
    assert waiting.verdict(pod("running"), 10) is None
    assert waiting.verdict(pod("queued"), 20) is None
    assert waiting.verdict(pod("running"), 100) is None


def test_before_the_pod_is_seen_nothing_is_lost() -> None:
    waiting = wait()
    assert waiting.verdict(None, 2) is None
    assert waiting.verdict(pod("queued"), 3) is None


def test_a_deleted_pod_ends_the_start() -> None:
    waiting = wait()
    assert waiting.verdict(pod("queued"), 1) is None
    assert "was cancelled" in said(waiting.verdict(None, 2))
    deleted = pod("queued", deletionTimestamp="2026-03-01T12:00:00Z")
    assert "pod jupyter-ada was deleted" in said(wait().verdict(deleted, 1))


def test_a_failed_job_says_why() -> None:
    failed = pod("failed", "Failed")
    assert said(wait().verdict(failed, 1)) == (
        "The Slurm job on cnaf ended before its server was ready: Failed"
    )
