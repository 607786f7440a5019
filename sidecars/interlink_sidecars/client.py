"""The interLink wire from the caller's side: typed calls to one sidecar.

Owns connections, the session header, deadlines and the mapping of failures to
:mod:`.api.errors`. It knows no pod semantics: what to submit, when to ask again and
what a status means is the caller's. One connection per call, because ``GET`` with a
body, unix sockets and an abandoned log stream all need the connection itself.

Source of the two protocols: interLink ``pkg/interlink/api`` (API server to plugin)
and ``pkg/virtualkubelet/execute.go`` (virtual kubelet to API server).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import ValidationError
from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient
from typing_extensions import override

from .api.errors import ApiError, UnreachableError
from .api.kubernetes import JSON
from .api.messages import (
    ApiServerCreateRequest,
    CreateRequest,
    CreateResponse,
    LogRequest,
    Message,
    Ping,
    PodStatus,
)
from .api.names import SESSION_HEADER

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 110.0
"""interLink gives up after 120 s; a create whose answer is lost may have happened."""
_UNLIMITED: Final = 1 << 62

_M = TypeVar("_M", bound=Message)


class SidecarClient:
    """Calls one sidecar, stock interLink plugin or interLink API server.

    Args:
        url: ``http://host:port``, ``https://host:port`` or ``unix:///path``.
        token_file: file with a bearer token, read again at each call.
        protocol: ``plugin`` for a sidecar or plugin, ``api-server`` for interLink's
            API server.
        ssl_context: for ``https``; the system's authorities by default.

    Every call raises :class:`UnreachableError` when nobody answered, so that its
    effect is unknown, and another :class:`ApiError` when the call was refused.
    """

    def __init__(
        self,
        url: str,
        *,
        token_file: str | Path | None = None,
        protocol: Literal["plugin", "api-server"] = "plugin",
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https", "unix"}:
            raise ValueError(f"{url!r} must begin with http://, https:// or unix://")
        if parts.scheme != "unix" and not parts.hostname:
            raise ValueError(f"{url!r} names no host")
        self.url = url
        self.protocol = protocol
        self._parts = parts
        self._token_file = Path(token_file) if token_file else None
        self._ssl = ssl_context
        self._tcp = TCPClient()
        self._sessions = itertools.count(1)
        self._open: set[IOStream] = set()

    async def create(self, request: CreateRequest) -> CreateResponse:
        """Submit a pod; our sidecars answer a repeat with the first job's id."""
        body = (
            _for_api_server(request) if self.protocol == "api-server" else request
        ).to_json()
        answer = await self._json("CreatePod", "POST", "/create", body)
        if isinstance(answer, list) and len(answer) == 1:
            answer = answer[0]
        return self._parse(CreateResponse, answer, "/create")

    async def delete(self, pod: JSON) -> None:
        """Ask for the end of a pod's job; an unknown pod is a success."""
        method = "DELETE" if self.protocol == "api-server" else "POST"
        await self._read("DeletePod", method, "/delete", pod)

    async def statuses(self, pods: Sequence[JSON]) -> list[PodStatus]:
        """The states of these pods, in any order; a stock plugin may omit some."""
        if not pods:
            return []
        answer = await self._json(
            "GetStatus", "GET", "/status", [_trimmed(pod) for pod in pods]
        )
        if not isinstance(answer, list | None):
            raise self._unreadable("/status")
        return [self._parse(PodStatus, status, "/status") for status in answer or []]

    async def ping(self) -> Ping:
        """Health and inventory; stock plugins answer text, meaning "ok"."""
        if self.protocol == "api-server":
            body = await self._read("PingInterLink", "POST", "/pinglink", None)
        else:
            body = await self._read("PingInterLink", "GET", "/status", [])
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        return (
            self._parse(Ping, answer, "/status") if isinstance(answer, dict) else Ping()
        )

    async def logs(self, request: LogRequest) -> AsyncGenerator[bytes, None]:
        """The log of one container in chunks; ends with it when ``Follow`` is set.

        Leaving the iteration closes the connection.
        """
        async with self._exchange(
            "GetLogs", "GET", "/getLogs", request.to_json()
        ) as response:
            async for chunk in response.chunks():
                yield chunk

    async def close(self) -> None:
        """Close what is open; calls in flight raise :class:`UnreachableError`."""
        for stream in list(self._open):
            stream.close()
        self._tcp.close()

    async def _json(self, operation: str, method: str, path: str, body: Any) -> Any:
        data = await self._read(operation, method, path, body)
        try:
            return json.loads(data)
        except ValueError:
            raise self._unreadable(path) from None

    async def _read(self, operation: str, method: str, path: str, body: Any) -> bytes:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                async with self._exchange(operation, method, path, body) as response:
                    return b"".join([chunk async for chunk in response.chunks()])
        except TimeoutError:
            raise self._unreachable(
                f"no answer within {ANSWER_SECONDS:.0f} s"
            ) from None

    @asynccontextmanager
    async def _exchange(
        self, operation: str, method: str, path: str, body: Any
    ) -> AsyncIterator[_Response]:
        """One request on a connection of its own; the status is 200 when it yields."""
        stream = await self._connect()
        self._open.add(stream)
        response = _Response()
        connection = HTTP1Connection(
            stream,
            is_client=True,
            params=HTTP1ConnectionParameters(
                no_keep_alive=True, max_body_size=_UNLIMITED
            ),
        )
        reading: asyncio.Task[None] | None = None
        try:
            data = b"" if body is None else json.dumps(body).encode()
            try:
                await connection.write_headers(
                    RequestStartLine(method, self._target(path), "HTTP/1.1"),
                    self._headers(operation, len(data)),
                    data,
                )
                connection.finish()
                reading = asyncio.create_task(response.read(connection))
                async with asyncio.timeout(ANSWER_SECONDS):
                    status = await response.status
            except (OSError, TimeoutError) as error:
                raise self._unreachable(_cause(error)) from error
            response.lost = self._unreachable("the connection broke off")
            if status != 200:
                text = b"".join([chunk async for chunk in response.chunks()])
                raise _refusal(status, text)
            yield response
        finally:
            self._open.discard(stream)
            stream.close()
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def _connect(self) -> IOStream:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if self._parts.scheme == "unix":
                    stream = IOStream(socket.socket(socket.AF_UNIX))
                    return await stream.connect(self._parts.path)
                secure = self._parts.scheme == "https"
                return await self._tcp.connect(
                    self._parts.hostname or "",
                    self._parts.port or (443 if secure else 80),
                    ssl_options=(self._ssl or ssl.create_default_context())
                    if secure
                    else None,
                )
        except (OSError, TimeoutError) as error:
            raise self._unreachable(_cause(error)) from error

    def _target(self, path: str) -> str:
        prefix = "" if self._parts.scheme == "unix" else self._parts.path.rstrip("/")
        return prefix + path

    def _headers(self, operation: str, length: int) -> HTTPHeaders:
        host = "unix" if self._parts.scheme == "unix" else self._parts.netloc
        headers = HTTPHeaders(
            {
                "Host": host.rpartition("@")[2],
                "Connection": "close",
                "Content-Type": "application/json",
                "Content-Length": str(length),
                SESSION_HEADER: f"{operation}#{next(self._sessions)}",
            }
        )
        if self._token_file is not None:
            token = self._token_file.read_text().strip()
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _parse(self, model: type[_M], answer: Any, path: str) -> _M:
        try:
            return model.model_validate(answer)
        except ValidationError as error:
            raise self._unreadable(path) from error

    def _unreadable(self, path: str) -> ApiError:
        return ApiError(
            f"The sidecar at {self.url} answered {path} with something that is not"
            " an interLink document. Check the address and the protocol setting.",
            reason="UnreadableAnswer",
            status=502,
        )

    def _unreachable(self, cause: str) -> UnreachableError:
        return UnreachableError(
            f"The sidecar at {self.url} does not answer: {cause}."
            " Check that it runs and that this address reaches it."
        )


class _Response(HTTPMessageDelegate):
    """A response as it arrives; the connection is read only as fast as its chunks."""

    def __init__(self) -> None:
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.lost: Exception = StreamClosedError()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        self._complete = False

    async def read(self, connection: HTTP1Connection) -> None:
        """Read the response to its end, however it ends."""
        with suppress(StreamClosedError):
            await connection.read_response(self)
        if not self.status.done():
            cause = OSError("the connection was closed without an answer")
            self.status.set_exception(StreamClosedError(cause))
        await self._queue.put(None)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body; raises when the connection ended before it."""
        while (chunk := await self._queue.get()) is not None:
            yield chunk
        if not self._complete:
            raise self.lost

    @override
    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        if isinstance(start_line, ResponseStartLine) and start_line.code >= 200:
            self.status.set_result(start_line.code)

    @override
    async def data_received(self, chunk: bytes) -> None:
        await self._queue.put(chunk)

    @override
    def finish(self) -> None:
        self._complete = True


def _cause(error: Exception) -> str:
    """What was behind tornado's "Stream is closed"."""
    return str(getattr(error, "real_error", None) or error) or "no answer in time"


def _refusal(status: int, body: bytes) -> ApiError:
    """The error that a sidecar or plugin answered, in its own words."""
    text = body.decode("utf-8", "replace").strip()
    try:
        document = json.loads(text)
    except ValueError:
        document = {}
    if not isinstance(document, dict) or "message" not in document:
        document = {"message": text[:2000] or f"The sidecar answered HTTP {status}."}
    return ApiError(
        str(document["message"]),
        reason=str(document.get("reason", "SidecarError")),
        status=status,
        final=bool(document.get("final", status == 400)),
    )


def _trimmed(pod: JSON) -> JSON:
    """What plugins read of a pod when asked for its status; never its environment."""
    metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    kept = ("name", "namespace", "uid", "annotations")
    return {
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {
            kind: [{"name": item.get("name", "")} for item in spec[kind]]
            for kind in ("initContainers", "containers")
            if spec.get(kind)
        },
        "status": {"phase": (pod.get("status") or {}).get("phase", "Pending")},
    }


def _for_api_server(request: CreateRequest) -> ApiServerCreateRequest:
    """The same bundle as the virtual kubelet sends it: objects by pod."""
    entries = request.container
    return ApiServerCreateRequest(
        pod=request.pod,
        config_maps=_distinct(item for entry in entries for item in entry.config_maps),
        secrets=_distinct(item for entry in entries for item in entry.secrets),
        projected_volumes_maps=_distinct(
            item for entry in entries for item in entry.projected_volume_maps
        ),
    )


def _distinct(objects: Iterable[JSON]) -> list[JSON]:
    return list({item["metadata"]["name"]: item for item in objects}.values())
