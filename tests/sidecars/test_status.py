"""What the virtual kubelet is told, from records alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from interlink_sidecars.api.messages import JobState, Queue, Terminated
from interlink_sidecars.backend import EXIT_CODES, ContainerMark, Observation
from interlink_sidecars.job import ContainerName, JobSpec, read_pod
from interlink_sidecars.records import Phase, Record
from interlink_sidecars.status import pod_status, unknown_status
from interlink_sidecars.testing import make_pod

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPEC = JobSpec(
    uid="0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
    namespace="jupyter",
    name="jupyter-alice",
    containers=(
        ContainerName(name="fetch", image="host", init=True),
        ContainerName(name="notebook", image="lab"),
    ),
)
DONE = ContainerMark(started_at=NOON, finished_at=NOON, exit_code=0)


def record(phase: Phase = "submitted", job_id: str = "42", **seen: Any) -> Record:
    return Record(SPEC, phase, job_id, Observation(**seen))


def ended(seen: Record) -> Terminated:
    terminated = pod_status(seen, NOON).containers[0].state.terminated
    assert terminated is not None
    return terminated


def test_golden(golden: Callable[[str, Any], None]) -> None:
    waiting = Queue(state="queued", reason="Priority", message="Others come first.")
    running = Queue(state="running", started_at=NOON, deadline=NOON)
    started = ContainerMark(started_at=NOON)
    records = {
        "intent": record("intent", ""),
        "submitted": record(),
        "queued": record(queue=waiting),
        "init": record(queue=running, containers={"fetch": started}),
        "running": record(
            queue=running,
            node_name="n1",
            containers={"fetch": DONE, "notebook": started},
        ),
        "deleting": record(
            "deleting", queue=running, containers={"fetch": DONE, "notebook": started}
        ),
        "completed": record(
            "terminal",
            queue=Queue(state="completed", ended_at=NOON),
            containers={"fetch": DONE, "notebook": DONE},
        ),
    }
    documents = {name: pod_status(r, NOON).to_json() for name, r in records.items()}
    golden("sidecars/status.json", documents)


@pytest.mark.parametrize("state", sorted(EXIT_CODES))
@pytest.mark.parametrize("code", [None, 0, 9])
def test_only_a_completed_job_has_succeeded(state: str, code: int | None) -> None:
    """Whatever is known or missing, interLink reads no success from a failure."""
    marks = {
        "fetch": DONE,
        "notebook": ContainerMark(
            started_at=NOON, finished_at=code if code is None else NOON, exit_code=code
        ),
    }
    seen = record(
        "terminal",
        queue=Queue.model_validate({"state": state}),
        containers=marks,
        stopped_at=None if state in {"completed", "failed"} else NOON,
    )
    if state == "failed" and code == 0:
        return  # another container failed; this one is as it says
    found = ended(seen)
    if state == "completed":
        # no mark: nobody saw this container succeed
        assert found.exit_code == (1 if code is None else code)
    else:
        assert found.exit_code == (code or EXIT_CODES[state])  # type: ignore[index]
        assert found.message


def test_a_container_that_ended_before_the_stop_keeps_its_success() -> None:
    seen = record(
        "terminal",
        queue=Queue(state="timeout"),
        stopped_at=NOON + timedelta(seconds=5),
        containers={"notebook": DONE},
    )
    assert ended(seen).exit_code == 0


def test_the_schedulers_code_where_no_mark_is() -> None:
    seen = record("terminal", queue=Queue(state="failed"), exit_code=11)
    assert ended(seen).exit_code == 11


def test_after_a_failed_init_container_nothing_waits_for_ever() -> None:
    failed = DONE.model_copy(update={"exit_code": 3})
    seen = record(
        "terminal",
        queue=Queue(state="failed"),
        exit_code=3,
        containers={"fetch": failed},
    )
    assert ended(seen).exit_code == 3
    assert ended(seen).message


def test_unknown_pod_is_unknown_not_succeeded() -> None:
    pod = make_pod()
    status = unknown_status(read_pod(pod))
    assert status.uid == pod["metadata"]["uid"]
    assert status.containers == []
    assert status.queue is not None
    assert status.queue.state == "unknown"


def test_every_end_is_a_state_of_the_wire() -> None:
    assert set(EXIT_CODES) < set(get_args(JobState))
