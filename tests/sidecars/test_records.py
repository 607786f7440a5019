"""Records: forward only, on the disk at once, and never two of one pod."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlink_sidecars.api.messages import Queue
from interlink_sidecars.backend import Observation
from interlink_sidecars.job import JobSpec
from interlink_sidecars.records import Records

SPEC = JobSpec(uid="0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", namespace="n", name="p")
UID = SPEC.uid
RUNNING = Observation(queue=Queue(state="running"))
FAILED = Observation(queue=Queue(state="failed"), exit_code=1)
COMPLETED = Observation(queue=Queue(state="completed"), exit_code=0)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    records = Records(tmp_path / "jobs.sqlite")
    yield records
    records.close()


def phase(records: Records) -> str:
    record = records.get(UID)
    return record.phase if record else "none"


def test_a_life(records: Records) -> None:
    assert phase(records) == "none"
    assert records.intend(SPEC)
    assert not records.intend(SPEC)
    assert phase(records) == "intent"
    records.submitted(UID, "42")
    records.observed(UID, RUNNING)
    assert phase(records) == "submitted"
    records.observed(UID, FAILED)
    assert phase(records) == "terminal"
    records.observed(UID, COMPLETED)
    record = records.get(UID)
    assert record is not None
    assert record.observation == FAILED
    assert record.job.job_id == "42"
    records.delete(SPEC)
    assert phase(records) == "deleted"
    assert not records.intend(SPEC)


def test_the_wish_to_delete_outlives_the_answer_of_submit(records: Records) -> None:
    records.intend(SPEC)
    records.delete(SPEC)
    records.submitted(UID, "42")
    assert phase(records) == "deleting"
    records.withdraw(UID)
    assert phase(records) == "deleting"
    records.observed(UID, RUNNING)
    assert phase(records) == "deleting"
    records.observed(UID, FAILED)
    assert phase(records) == "deleted"


def test_withdrawn_is_forgotten(records: Records) -> None:
    records.intend(SPEC)
    records.withdraw(UID)
    assert phase(records) == "none"
    records.intend(SPEC)
    records.submitted(UID, "42")
    records.withdraw(UID)
    assert phase(records) == "submitted"


def test_it_is_on_the_disk(tmp_path: Path, records: Records) -> None:
    records.intend(SPEC)
    records.submitted(UID, "42")
    path = tmp_path / "jobs.sqlite"
    assert path.stat().st_mode & 0o777 == 0o600
    other = Records(path)
    assert other.get(UID) == records.get(UID)
    other.close()


def test_what_is_kept(records: Records) -> None:
    records.delete(SPEC)
    assert records.with_secrets() == []
    records.observed(UID, FAILED)
    assert [r.spec for r in records.with_secrets()] == [SPEC]
    records.keep(UID, "logs")
    assert records.with_secrets() == []
    assert records.with_logs(before=0) == []
    assert [r.spec for r in records.with_logs(time.time() + 1)] == [SPEC]
    records.keep(UID, "nothing")
    assert records.with_logs(time.time() + 1) == []
    records.prune(0)
    assert phase(records) == "deleted"
    records.prune(time.time() + 1)
    assert phase(records) == "none"


def test_the_first_user_owns_the_account(tmp_path: Path, records: Records) -> None:
    assert records.claim_account("alice") == "alice"
    assert records.claim_account("bob") == "alice"
    other = Records(tmp_path / "jobs.sqlite")
    assert other.claim_account("bob") == "alice"
    other.close()
