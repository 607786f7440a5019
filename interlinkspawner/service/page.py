"""The service's pages: jobs and logs as HTML for people.

Pure: documents in, HTML out. No scripts, so that a page can forbid them all; every
value is escaped, for logs and scheduler messages come from foreign sites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from jinja2 import Environment, PackageLoader

from interlink_sidecars.api.errors import ApiError

from .jobs import Job
from .logs import LogChunk

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)


def _shown(value: object) -> object:
    """Times as people read them; everything else as it is."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return value


_TEMPLATES = Environment(
    loader=PackageLoader("interlinkspawner.service"), autoescape=True, finalize=_shown
)


def jobs(base_url: str, jobs: Sequence[Job]) -> str:
    """The list of a visitor's jobs."""
    return _TEMPLATES.get_template("jobs.html").render(base_url=base_url, jobs=jobs)


def job(base_url: str, job: Job, logs: Mapping[str, LogChunk]) -> str:
    """One job, and the end of the log of each of its containers."""
    return _TEMPLATES.get_template("job.html").render(
        base_url=base_url, job=job, logs=logs
    )


def error(base_url: str, error: ApiError) -> str:
    """Why there is no page."""
    return _TEMPLATES.get_template("error.html").render(base_url=base_url, error=error)
