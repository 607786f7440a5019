"""The interLink wire from the sidecar's side: HTTP in, engine calls out.

Serves what a plugin answers to an interLink API server, and what an API server
answers to a virtual kubelet. Success is exactly HTTP 200; a refusal is the JSON of an
:class:`~.api.errors.ApiError`. It must not know schedulers or records.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler
from typing_extensions import override

from .api.errors import ApiError, InvalidRequestError
from .api.messages import (
    ApiServerCreateRequest,
    ContainerVolumes,
    CreateRequest,
    LogRequest,
    Message,
)
from .api.names import SESSION_HEADER
from .engine import Engine
from .job import invalid, read_pod

MAX_BODY: Final = 64 * 1024 * 1024

_log = logging.getLogger(__name__)
_M = TypeVar("_M", bound=Message)


def make_app(engine: Engine, token_file: Path | None = None) -> Application:
    """The routes; with ``token_file`` every call but ``/healthz`` needs its token."""
    known: dict[str, Any] = {"engine": engine, "token_file": token_file}
    return Application(
        [
            (r"/create", CreateHandler, known),
            (r"/delete", DeleteHandler, known),
            (r"/status", StatusHandler, known),
            (r"/pinglink", PingHandler, known),
            (r"/getLogs", LogHandler, known),
            (r"/healthz", HealthHandler),
        ],
        default_handler_class=UnknownHandler,
        log_function=_log_request,
    )


class Handler(RequestHandler):
    """Reads JSON bodies, answers JSON errors."""

    @override
    def initialize(self, engine: Engine, token_file: Path | None) -> None:
        """What the routes hand over."""
        self.engine = engine
        self._token_file = token_file

    @override
    def prepare(self) -> None:
        if self._token_file is None:
            return
        expected = f"Bearer {self._token_file.read_text().strip()}"
        given = self.request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise ApiError(
                "This call needs the token of the sidecar's token_file.",
                reason="Unauthorized",
                status=401,
                final=True,
            )

    def body(self) -> Any:
        """The JSON of the request."""
        try:
            return json.loads(self.request.body)
        except (ValueError, RecursionError):
            raise InvalidRequestError("The request's body is not JSON.") from None

    def document(self) -> dict[str, Any]:
        """The one JSON object of the request; older callers wrap it in a list."""
        body = self.body()
        if isinstance(body, list) and len(body) == 1:
            body = body[0]
        if not isinstance(body, dict):
            raise InvalidRequestError("The request's body is not one JSON object.")
        return body

    @override
    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, HTTPError):
            error = ApiError(error.reason or str(error), status=status_code)
        elif not isinstance(error, ApiError):
            error = ApiError("The sidecar failed inside; its log has the details.")
        self.set_status(error.status)
        self.finish(error.to_json())

    @override
    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        session = self.request.headers.get(SESSION_HEADER, "-")
        if isinstance(value, ApiError):
            _log.info("%s %s: %s", session, value.reason, value.message)
        elif not isinstance(value, HTTPError):
            _log.error("%s failed", session, exc_info=(typ, value, tb))


class CreateHandler(Handler):
    """``POST /create``, with the body of a plugin or of an API server."""

    @override
    async def post(self) -> None:
        """Submit; one object in any case, because interLink reads one."""
        body = self.document()
        keys = {key.lower() for key in body}
        if keys & {"configmaps", "secrets", "projectedvolumesmaps", "jobscripturl"}:
            request = _bundle(_parse(ApiServerCreateRequest, body))
        else:
            request = _parse(CreateRequest, body)
        self.finish((await self.engine.create(request)).to_json())


class DeleteHandler(Handler):
    """``POST /delete`` of a plugin, ``DELETE /delete`` of an API server."""

    @override
    def post(self) -> None:
        """The wish is on the disk when this answers."""
        self.engine.delete(self.document())
        self.finish("deleted")

    delete = post


class StatusHandler(Handler):
    """``GET /status`` with a list of pods; an empty list is a ping."""

    @override
    def get(self) -> None:
        """One status for each pod."""
        pods = self.body() if self.request.body else []
        if not isinstance(pods, list) or not all(isinstance(p, dict) for p in pods):
            raise InvalidRequestError("The request's body is not a list of pods.")
        if not pods:
            self.finish(self.engine.ping().to_json())
            return
        statuses = [status.to_json() for status in self.engine.statuses(pods)]
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(statuses))


class PingHandler(Handler):
    """``POST /pinglink`` of an API server."""

    @override
    def post(self) -> None:
        """Health and inventory."""
        self.finish(self.engine.ping().to_json())


class LogHandler(Handler):
    """``GET /getLogs``, streamed."""

    _reader: asyncio.Task[Any] | None = None

    @override
    async def get(self) -> None:
        """Send the headers at once, then the log as it comes."""
        request = _parse(LogRequest, self.document())
        self._reader = asyncio.current_task()
        with suppress(asyncio.CancelledError, StreamClosedError):
            async with aclosing(self.engine.logs(request)) as stream:
                self.set_header("Content-Type", "text/plain; charset=utf-8")
                await self.flush()
                async for chunk in stream:
                    self.write(chunk)
                    await self.flush()

    @override
    def on_connection_close(self) -> None:
        """Nobody reads any more, so nothing is read for them."""
        if self._reader is not None:
            self._reader.cancel()


class HealthHandler(RequestHandler):
    """``GET /healthz``: the process answers."""

    @override
    def get(self) -> None:
        """Plain text, as Kubernetes' own components answer."""
        self.finish("ok")


class UnknownHandler(RequestHandler):
    """Any other path."""

    @override
    def prepare(self) -> None:
        self.set_status(404)
        error = ApiError(f"There is no {self.request.path} here.", reason="NotFound")
        self.finish(error.to_json())


def _parse(model: type[_M], body: dict[str, Any]) -> _M:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise invalid(error, "") from error


def _bundle(request: ApiServerCreateRequest) -> CreateRequest:
    """The plugin's form of an API server's request: objects by container.

    Every container gets all objects: which of them it mounts stands in the pod.
    """
    pod = read_pod(request.pod)
    return CreateRequest(
        pod=request.pod,
        container=[
            ContainerVolumes(
                name=container.name,
                config_maps=request.config_maps,
                secrets=request.secrets,
                projected_volume_maps=request.projected_volumes_maps,
            )
            for container in (*pod.spec.init_containers, *pod.spec.containers)
        ],
    )


def _log_request(handler: RequestHandler) -> None:
    """One line for what failed; polling would fill the log otherwise."""
    status = handler.get_status()
    if status >= 500:
        request = handler.request
        _log.warning("%d %s %s", status, request.method, request.path)
