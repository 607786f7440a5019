"""The service's HTTP: JSON below ``api/v1``, and pages for people.

Thin: each handler asks who is calling, picks a job, and lets others make the document.
The API never redirects, since a page's ``fetch`` cannot follow the hub's login; pages
do. There is no tornado-level XSRF check: it would run before authentication and refuse
tokens; :class:`HubOAuth` checks it where a cookie is the credential.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, TypeAlias

from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated
from tornado.web import HTTPError, RequestHandler
from typing_extensions import override

from interlink_sidecars.api.errors import (
    ApiError,
    InvalidRequestError,
    UnreachableError,
)
from interlink_sidecars.api.kubernetes import Pod

from . import page
from .authorization import (
    Authorization,
    Caller,
    ForbiddenError,
    UnauthorizedError,
    may_read,
)
from .jobs import Job, job, server_of
from .logs import Logs
from .pods import Pods, Record

Route: TypeAlias = tuple[str, type[RequestHandler], dict[str, Any]]

_CHUNK = 64 * 1024
_LONGEST_CHUNK = 256 * 1024


class NotFoundError(ApiError):
    """There is no such job, container or page."""

    status = 404
    reason = "NotFound"


class ServiceHandler(HubOAuthenticated, RequestHandler):
    """What the API and the pages share: the caller and the jobs."""

    @override
    def initialize(self, authorization: Authorization, pods: Pods, logs: Logs) -> None:
        self.hub_auth = authorization
        self.pods = pods
        self.logs = logs

    @override
    def set_default_headers(self) -> None:
        self.set_header("Cache-Control", "private, no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def visible_jobs(self, caller: Caller) -> list[Job]:
        """The caller's jobs, newest first.

        Raises:
            UnreachableError: the jobs are not known yet.
        """
        if self.pods.observed_at is None:
            raise UnreachableError(
                "Kubernetes has not told the jobs yet. Try again in a moment.",
                reason="KubernetesUnreachable",
            )
        visible = [
            record for record in self.pods if may_read(caller, *server_of(record.pod))
        ]
        visible.sort(key=lambda record: record.created_at, reverse=True)
        return [self._job(record) for record in visible]

    def visible_job(self, caller: Caller, uid: str) -> tuple[Job, Pod]:
        """One job and its pod.

        Raises:
            NotFoundError: there is no such job (any more).
            ForbiddenError: it is not the caller's.
        """
        record = self.pods.get(uid)
        if record is None:
            raise NotFoundError(
                f"There is no job {uid}. Ended jobs are kept for"
                f" {self.pods.keep_ended / 3600:g} hours."
            )
        if not may_read(caller, *server_of(record.pod)):
            raise ForbiddenError(f"{caller['name']} may not see the job {uid}.")
        return self._job(record), Pod.model_validate(record.pod)

    def _job(self, record: Record) -> Job:
        observed_at = record.gone_at or self.pods.observed_at or datetime.now(UTC)
        return job(record.pod, observed_at, record.gone_at)

    @override
    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if not isinstance(value, ApiError):
            super().log_exception(typ, value, tb)

    @override
    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        error = self.error_of(status_code, kwargs)
        super().send_error(error.status, **{**kwargs, "error": error})

    def error_of(self, status_code: int, kwargs: dict[str, Any]) -> ApiError:
        """What went wrong, with a sentence that gives nothing away."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, ApiError):
            return error
        if isinstance(error, HTTPError):
            return ApiError(
                error.log_message or error.reason or str(error),
                reason="InvalidRequest" if status_code < 500 else "InternalError",
                status=status_code,
            )
        return ApiError("The service failed; its log says why.", status=status_code)


class ApiHandler(ServiceHandler):
    """JSON in and out; errors too."""

    @override
    async def prepare(self) -> None:
        caller = await self.hub_auth.caller(self)
        if caller is None:
            raise UnauthorizedError(
                "The hub does not know this token, or no longer. Log in again."
            )
        self.caller: Caller = caller

    def answer(self, document: dict[str, Any], **volatile: Any) -> None:
        """Send a document; ``volatile`` fields are no part of its ETag."""
        digest = hashlib.sha256(json.dumps(document).encode()).hexdigest()
        self.set_header("ETag", f'W/"{digest[:32]}"')
        if self.check_etag_header():
            self.set_status(304)
            self.finish()
        else:
            self.finish({**document, **volatile})

    @override
    def compute_etag(self) -> None:
        """None: only :meth:`answer` knows which fields count."""

    @override
    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error: ApiError = kwargs["error"]
        if status_code == 503:
            self.set_header("Retry-After", "5")
        self.finish({"reason": error.reason, "message": error.message})


class JobsHandler(ApiHandler):
    """``GET api/v1/jobs``: the caller's jobs, newest first."""

    @override
    async def get(self) -> None:
        jobs = [each.model_dump(mode="json") for each in self.visible_jobs(self.caller)]
        self.answer({"jobs": jobs}, served_at=datetime.now(UTC).isoformat())


class JobHandler(ApiHandler):
    """``GET api/v1/jobs/<id>``: one job."""

    @override
    async def get(self, uid: str) -> None:
        found, _ = self.visible_job(self.caller, uid)
        self.answer(found.model_dump(mode="json"))


class LogHandler(ApiHandler):
    """``GET api/v1/jobs/<id>/logs/<container>?offset=&limit=``: a piece of a log.

    A negative offset counts from the end.
    """

    @override
    async def get(self, uid: str, container: str) -> None:
        found, pod = self.visible_job(self.caller, uid)
        if container not in found.containers:
            raise NotFoundError(f"The job {uid} has no container {container!r}.")
        offset = self._number("offset", 0)
        limit = min(max(self._number("limit", _CHUNK), 4), _LONGEST_CHUNK)
        chunk = await self.logs.chunk(pod, container, offset, limit)
        self.answer(chunk.model_dump(mode="json"))

    def _number(self, name: str, default: int) -> int:
        text = self.get_query_argument(name, str(default))
        try:
            return int(text)
        except ValueError as error:
            raise InvalidRequestError(
                f"{name}={text!r} is not a whole number of bytes."
            ) from error


class UnknownHandler(ApiHandler):
    """Any other path."""

    @override
    async def prepare(self) -> None:
        raise NotFoundError(f"There is nothing at {self.request.path}.")


class PageHandler(ServiceHandler):
    """HTML; a visitor whom the hub does not know is sent to its login."""

    @override
    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Content-Security-Policy", page.CONTENT_SECURITY_POLICY)

    @override
    async def prepare(self) -> None:
        caller = await self.hub_auth.caller(self)
        if caller is None:
            self.redirect(self.get_login_url())
        else:
            self.caller: Caller = caller

    @override
    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error: ApiError = kwargs["error"]
        self.finish(page.error(self.hub_auth.base_url, error))


class JobsPage(PageHandler):
    """``GET /``: the visitor's jobs."""

    @override
    async def get(self) -> None:
        jobs = self.visible_jobs(self.caller)
        self.finish(page.jobs(self.hub_auth.base_url, jobs))


class JobPage(PageHandler):
    """``GET jobs/<id>``: one job with the end of its logs, also after it has ended."""

    @override
    async def get(self, uid: str) -> None:
        found, pod = self.visible_job(self.caller, uid)
        logs = {
            name: await self.logs.chunk(pod, name, -_CHUNK, _CHUNK)
            for name in found.containers
        }
        self.finish(page.job(self.hub_auth.base_url, found, logs))


def routes(authorization: Authorization, pods: Pods, logs: Logs) -> list[Route]:
    """All paths below the service's prefix."""
    parts = {"authorization": authorization, "pods": pods, "logs": logs}
    prefix = authorization.base_url
    return [
        (f"{prefix}api/v1/jobs", JobsHandler, parts),
        (f"{prefix}api/v1/jobs/([^/]+)", JobHandler, parts),
        (f"{prefix}api/v1/jobs/([^/]+)/logs/([^/]+)", LogHandler, parts),
        (f"{prefix}oauth_callback", HubOAuthCallbackHandler, {}),
        (prefix, JobsPage, parts),
        (f"{prefix}jobs/([^/]+)", JobPage, parts),
        (r".*", UnknownHandler, parts),
    ]
