"""Pages for people, with whatever foreign sites say in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from interlink_sidecars.api.errors import ApiError
from interlinkspawner.service import page
from interlinkspawner.service.jobs import Job
from interlinkspawner.service.logs import Ring, chunk
from tests.conftest import DATA

BASE = "/services/interlink/"
HOSTILE = "<img src=x onerror=alert(1)>"


def shared_job(**changes: Any) -> Job:
    """The job of the shared document, changed."""
    document = json.loads((DATA / "service" / "job.json").read_text())
    return Job.model_validate({**document, **changes})


def test_job_page(golden: Callable[[str, Any], None]) -> None:
    ring = Ring(12)
    ring.append(b"first line\nlast line\n")
    log = chunk(ring, 0, 100, complete=True, message="")
    job = shared_job(state="timeout", reason="TimeLimit", exit_code=1)
    golden("service/job.html", page.job(BASE, job, {"notebook": log}))


def test_list_page(golden: Callable[[str, Any], None]) -> None:
    golden("service/jobs.html", page.jobs(BASE, [shared_job()]))


def test_every_word_is_escaped() -> None:
    ring = Ring(100)
    ring.append(HOSTILE.encode())
    log = chunk(ring, 0, 100, complete=True, message=HOSTILE)
    job = shared_job(message=HOSTILE, reason=HOSTILE, owner=HOSTILE, queue=HOSTILE)
    pages = [
        page.job(BASE, job, {HOSTILE: log}),
        page.jobs(BASE, [job]),
        page.error(BASE, ApiError(HOSTILE)),
    ]
    assert all(HOSTILE not in text and "&lt;img" in text for text in pages)
