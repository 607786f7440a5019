"""A sidecar that fails as a test tells it to; its jobs run as long as the test says.

Only for faults that the real sidecar does not have: lost answers, refusals, stock
plugins that forget. Everything else is tested with the real one.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from typing_extensions import override

from deploy.local.processes import free_port
from interlink_sidecars.api.kubernetes import JSON

RUNNING: JSON = {"running": {"startedAt": "2026-11-22T12:00:00Z"}}


class Sidecar:
    """A stock plugin, as seen from outside.

    Attributes:
        jobs: container state by pod uid; a pod without one is not mentioned.
        created, deleted: how often each uid was asked for.
        asked: the uids of each status request.
        ping: the answer to a ping.
        lingering: whether a deleted job goes on until the test ends it.
        on_create, on_delete: what happens before such a call is answered; a dict is
            answered as an error.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.jobs: dict[str, JSON] = {}
        self.created: Counter[str] = Counter()
        self.deleted: Counter[str] = Counter()
        self.asked: list[list[str]] = []
        self.ping: JSON = {"status": "ok"}
        self.on_create: Callable[[], Awaitable[JSON | None]] = _nothing
        self.on_delete: Callable[[], Awaitable[JSON | None]] = _nothing
        self.lingering = False
        self._round = asyncio.Condition()
        self._server: HTTPServer | None = None

    def start(self) -> None:
        """Serve; again after `stop`."""
        routes: list[Any] = [
            (r"/create", CreateHandler),
            (r"/delete", DeleteHandler),
            (r"/status", StatusHandler),
        ]
        self._server = HTTPServer(Application(routes, sidecar=self))
        self._server.listen(self.port, "127.0.0.1")

    async def stop(self) -> None:
        """Answer nobody any more."""
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()

    async def rounds(self, count: int) -> None:
        """Wait for this many more status requests."""
        until = len(self.asked) + count
        async with self._round:
            await self._round.wait_for(lambda: len(self.asked) >= until)

    async def was_asked(self, uids: list[str]) -> None:
        """Take note of a status request."""
        async with self._round:
            self.asked.append(uids)
            self._round.notify_all()


async def _nothing() -> JSON | None:
    return None


class Handler(RequestHandler):
    @property
    def sidecar(self) -> Sidecar:
        sidecar: Sidecar = self.settings["sidecar"]
        return sidecar

    def answer(self, document: Any, error: JSON | None = None) -> None:
        self.set_status(error["status"] if error else 200)
        self.finish(json.dumps(error or document))


class CreateHandler(Handler):
    @override
    async def post(self) -> None:
        uid = json.loads(self.request.body)["pod"]["metadata"]["uid"]
        self.sidecar.created[uid] += 1
        error = await self.sidecar.on_create()
        if error is None:
            self.sidecar.jobs.setdefault(uid, RUNNING)
        self.answer({"PodUID": uid, "PodJID": f"job-{uid[:8]}"}, error)


class DeleteHandler(Handler):
    @override
    async def post(self) -> None:
        uid = json.loads(self.request.body)["metadata"]["uid"]
        self.sidecar.deleted[uid] += 1
        error = await self.sidecar.on_delete()
        if error is None and not self.sidecar.lingering:
            self.sidecar.jobs.pop(uid, None)
        self.answer("ok", error)


class StatusHandler(Handler):
    @override
    async def get(self) -> None:
        pods = json.loads(self.request.body or b"[]")
        if not pods:
            self.answer(self.sidecar.ping)
            return
        uids = [pod["metadata"]["uid"] for pod in pods]
        await self.sidecar.was_asked(uids)
        self.answer(
            [self._status(p) for p in pods if p["metadata"]["uid"] in self.jobs]
        )

    @property
    def jobs(self) -> dict[str, JSON]:
        return self.sidecar.jobs

    def _status(self, pod: JSON) -> JSON:
        metadata = pod["metadata"]
        return {
            "name": metadata["name"],
            "UID": metadata["uid"],
            "namespace": metadata["namespace"],
            "JID": f"job-{metadata['uid'][:8]}",
            "containers": [
                {"name": container["name"], "state": self.jobs[metadata["uid"]]}
                for container in pod["spec"]["containers"]
            ],
        }


class Gate:
    """Holds calls back until it is opened.

    Attributes:
        reached: set when a call waits.
    """

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._open = asyncio.Event()

    def open(self) -> None:
        self._open.set()

    async def __call__(self) -> JSON | None:
        self.reached.set()
        await self._open.wait()
        return None
