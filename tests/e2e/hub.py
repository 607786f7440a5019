"""The hub's REST API as the tests use it, and a kernel in a user's server.

Plain HTTP through the proxy, with tokens as any client would have them.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

JSON = dict[str, Any]
PATIENCE = 90.0


async def until(
    condition: Callable[[], Awaitable[Any]], what: str, timeout: float = PATIENCE
) -> Any:
    """The first true value of a condition, asked again and again."""
    value = None
    try:
        async with asyncio.timeout(timeout):
            while not (value := await condition()):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"not within {timeout:.0f} s: {what}") from None
    return value


class Hub:
    """The REST API of one hub, as its operator."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._token = token

    async def request(
        self, method: str, path: str, body: Any = None, token: str = ""
    ) -> tuple[int, Any]:
        """Status and JSON (or text) of ``path``, whatever the status is."""
        try:
            response = await AsyncHTTPClient().fetch(
                HTTPRequest(
                    f"{self.url}{path}",
                    method=method,
                    body=None if body is None else json.dumps(body),
                    headers={"Authorization": f"Bearer {token or self._token}"},
                    allow_nonstandard_methods=True,
                    request_timeout=60,
                ),
                raise_error=False,
            )
        except (HTTPClientError, OSError) as error:
            return 599, str(error)
        text = response.body.decode(errors="replace") if response.body else ""
        try:
            return response.code, json.loads(text)
        except ValueError:
            return response.code, text

    async def add(self, user: str) -> None:
        """Make a user; one who exists stays."""
        code, answer = await self.request("POST", f"/hub/api/users/{user}")
        assert code in (201, 409), answer

    async def token(self, user: str) -> str:
        """A token with all rights of a user."""
        code, answer = await self.request("POST", f"/hub/api/users/{user}/tokens", {})
        assert code == 201, answer
        return str(answer["token"])

    async def start(self, user: str, **options: Any) -> tuple[int, Any]:
        """Ask for a user's server with these options."""
        return await self.request("POST", f"/hub/api/users/{user}/server", options)

    async def stop(self, user: str) -> int:
        """Ask for the end of a user's server."""
        code, _ = await self.request("DELETE", f"/hub/api/users/{user}/server")
        return code

    async def server(self, user: str) -> JSON | None:
        """The user's server as the hub has it, or None."""
        code, answer = await self.request("GET", f"/hub/api/users/{user}")
        if code != 200:
            return {"ready": False, "pending": "no hub"}
        found: JSON | None = answer["servers"].get("")
        return found

    async def ready(self, user: str) -> None:
        """Wait until the user's server answers."""

        async def is_ready() -> bool:
            server = await self.server(user)
            return bool(server and server["ready"])

        await until(is_ready, f"server of {user} ready")

    async def stopped(self, user: str) -> None:
        """Wait until the hub has no server of the user."""

        async def is_stopped() -> bool:
            return await self.server(user) is None

        await until(is_stopped, f"server of {user} stopped")


class Kernel:
    """One kernel in a user's server, reached as JupyterLab reaches it."""

    def __init__(self, hub: Hub, user: str, token: str) -> None:
        self._hub = hub
        self._path = f"/user/{user}/api/kernels"
        self._token = token
        self._id = ""

    async def start(self) -> None:
        """Start it."""

        async def started() -> str:
            code, answer = await self._hub.request(
                "POST", self._path, {"name": "python3"}, self._token
            )
            return str(answer["id"]) if code == 201 else ""

        self._id = await until(started, f"kernel at {self._path}")

    async def execute(self, code: str) -> str:
        """What a cell prints."""
        connection = await until(self._connect, f"kernel {self._id} reached")
        try:
            async with asyncio.timeout(PATIENCE):
                return await _execute(connection, code)
        finally:
            connection.close()

    async def _connect(self) -> WebSocketClientConnection | None:
        url = f"ws://{urlsplit(self._hub.url).netloc}{self._path}/{self._id}/channels"
        try:
            return await websocket_connect(
                HTTPRequest(url, headers={"Authorization": f"token {self._token}"})
            )
        except (HTTPClientError, OSError):
            return None


async def _execute(connection: WebSocketClientConnection, code: str) -> str:
    message_id = uuid.uuid4().hex
    content = {
        "code": code,
        "silent": False,
        "store_history": False,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": True,
    }
    header = {
        "msg_id": message_id,
        "msg_type": "execute_request",
        "username": "",
        "session": uuid.uuid4().hex,
        "version": "5.3",
        "date": "",
    }
    await connection.write_message(
        json.dumps(
            {
                "channel": "shell",
                "header": header,
                "parent_header": {},
                "metadata": {},
                "content": content,
            }
        )
    )
    printed = ""
    while True:
        raw = await connection.read_message()
        assert isinstance(raw, str), "the kernel's websocket was closed"
        message = json.loads(raw)
        if message["parent_header"].get("msg_id") != message_id:
            continue
        if message["msg_type"] == "stream":
            printed += message["content"]["text"]
        if message["msg_type"] == "error":
            raise AssertionError("\n".join(message["content"]["traceback"]))
        idle = message["content"].get("execution_state") == "idle"
        if message["msg_type"] == "status" and idle:
            return printed.strip()
