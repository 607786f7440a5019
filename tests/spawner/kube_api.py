"""A Kubernetes API that keeps objects in memory: get, list, watch, create, delete.

For the spawner's unit tests, which play the virtual kubelet and break the API at
will. What a real API server does is tested on a real one.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from typing import Any

from tornado import httpserver, netutil, web

JSON = dict[str, Any]


class KubeApi:
    """Objects by (plural, namespace, name); ``requests`` is a log of writes.

    While ``refuse`` is an HTTP status, every request is answered with it. While
    ``hold`` is true, deleted objects stay, as with a finalizer.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], JSON] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.refuse = 0
        self.hold = False
        self._version = itertools.count(1)
        self._events: list[tuple[str, str, JSON]] = []  # type, plural, object
        self._changed = asyncio.Event()

    async def start(self) -> None:
        sockets = netutil.bind_sockets(0, "127.0.0.1")
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        path = r"/api/v1/(?:namespaces/([^/]+)/)?(\w+)(?:/([^/]+))?"
        self._server = httpserver.HTTPServer(
            web.Application(
                [(path, _Handler, {"api": self})], log_function=lambda _: None
            )
        )
        self._server.add_sockets(sockets)

    async def stop(self) -> None:
        self._server.stop()
        self.break_watches(410)
        await self._server.close_all_connections()

    def put(self, plural: str, document: JSON, namespace: str = "") -> JSON:
        """Create or replace an object, as its owner would."""
        metadata = document["metadata"]
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata["resourceVersion"] = str(next(self._version))
        if namespace:
            metadata["namespace"] = namespace
        key = (plural, namespace, metadata["name"])
        kind = "MODIFIED" if key in self.objects else "ADDED"
        self.objects[key] = document
        self._tell(kind, plural, document)
        return document

    def remove(self, plural: str, name: str, namespace: str = "") -> None:
        """Delete an object at once."""
        self._tell("DELETED", plural, self.objects.pop((plural, namespace, name)))

    def break_watches(self, code: int) -> None:
        """End every watch with a Status of this code."""
        status = {"kind": "Status", "code": code, "reason": "Gone", "message": "gone"}
        self._tell("ERROR", "*", status)

    def _tell(self, kind: str, plural: str, document: JSON) -> None:
        self._events.append((kind, plural, json.loads(json.dumps(document))))
        self._changed.set()
        self._changed = asyncio.Event()


class _Handler(web.RequestHandler):
    def initialize(self, api: KubeApi) -> None:
        self.api = api
        self.gone = asyncio.Event()

    def on_connection_close(self) -> None:
        self.gone.set()

    def prepare(self) -> None:
        if self.api.refuse:
            self._status(self.api.refuse, "refused")

    def _status(self, code: int, message: str) -> None:
        self.set_status(code)
        self.finish({"kind": "Status", "code": code, "message": message})

    async def get(self, namespace: str | None, plural: str, name: str | None) -> None:
        if name:
            document = self.api.objects.get((plural, namespace or "", name))
            if document is None:
                self._status(404, "not found")
            else:
                self.finish(document)
        elif self.get_argument("watch", ""):
            await self._watch(plural)
        else:
            items = [
                document
                for (kind, where, _), document in self.api.objects.items()
                if kind == plural and where == (namespace or "")
            ]
            version = str(len(self.api._events))
            self.finish({"metadata": {"resourceVersion": version}, "items": items})

    async def _watch(self, plural: str) -> None:
        position = int(self.get_argument("resourceVersion"))
        await self.flush()
        while not self.gone.is_set():
            changed = self.api._changed
            for kind, about, document in self.api._events[position:]:
                position += 1
                if about in (plural, "*"):
                    self.write(json.dumps({"type": kind, "object": document}) + "\n")
                    await self.flush()
                if kind == "ERROR":
                    return
            waits = [asyncio.ensure_future(e.wait()) for e in (changed, self.gone)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()

    def post(self, namespace: str | None, plural: str, _: str | None) -> None:
        document = json.loads(self.request.body)
        name = document["metadata"]["name"]
        self.api.requests.append(("create", plural, name))
        if (plural, namespace or "", name) in self.api.objects:
            self._status(409, "already exists")
            return
        if plural == "pods":
            document["status"] = {"phase": "Pending"}
        self.set_status(201)
        self.finish(self.api.put(plural, document, namespace or ""))

    def delete(self, namespace: str | None, plural: str, name: str) -> None:
        self.api.requests.append(("delete", plural, name))
        if (plural, namespace or "", name) not in self.api.objects:
            self._status(404, "not found")
            return
        if not self.api.hold:
            self.api.remove(plural, name, namespace or "")
        self.finish({"kind": "Status", "status": "Success"})
