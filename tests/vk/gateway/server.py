"""A small real notebook server: HTTP and websockets on ``--ServerApp.sock=PATH``."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys

from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler


def content(size: int) -> bytes:
    """``size`` bytes that repeat nowhere near a frame's length."""
    block = hashlib.shake_256(b"content").digest(65521)
    return (block * (size // len(block) + 1))[:size]


class Api(RequestHandler):
    def get(self) -> None:
        self.write({"version": "test"})


class Facts(RequestHandler):
    def get(self) -> None:
        self.write(
            {"pid": os.getpid(), "argv": sys.argv, "environment": dict(os.environ)}
        )


class Bytes(RequestHandler):
    def get(self, size: str) -> None:
        self.write(content(int(size)))


class Digest(RequestHandler):
    def put(self) -> None:
        self.write(hashlib.sha256(self.request.body).hexdigest())


class Hub(RequestHandler):
    async def get(self) -> None:
        answer = await AsyncHTTPClient().fetch(os.environ["JUPYTERHUB_API_URL"])
        self.write(answer.body)


class Exit(RequestHandler):
    def get(self, code: str) -> None:
        asyncio.get_running_loop().call_soon(os._exit, int(code))


class Echo(WebSocketHandler):
    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(message, isinstance(message, bytes))


async def main() -> None:
    """Serve until killed."""
    application = Application(
        [
            (r"/api", Api),
            (r"/facts", Facts),
            (r"/bytes/(\d+)", Bytes),
            (r"/digest", Digest),
            (r"/hub", Hub),
            (r"/exit/(\d+)", Exit),
            (r"/echo", Echo),
        ]
    )
    server = HTTPServer(application, max_buffer_size=1 << 28)
    prefix = "--ServerApp.sock="
    path = next(a.removeprefix(prefix) for a in sys.argv if a.startswith(prefix))
    server.add_socket(bind_unix_socket(path))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
