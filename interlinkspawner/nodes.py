"""The one watch on virtual nodes in a process, shared by every form and start.

Owns list, watch, reconnects and the last known table; a 403 or an outage keeps
that table and says since when it is old. KubeSpawner's reflector cannot watch
cluster-scoped kinds. It must not know what the nodes are wanted for.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kubernetes_asyncio.client import ApiException

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON

from .inventory import VirtualNode, virtual_node

SELECTOR = f"{names.VIRTUAL_NODE_LABEL}={names.VIRTUAL_NODE_VALUE}"
_WATCH_SECONDS = 240  # then the API server ends the watch and we make a new one
_REQUEST_SECONDS = 20
_LONGEST_PAUSE = 30.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NodeTable:
    """The virtual nodes at one moment, sorted by name.

    ``problem`` is empty while the watch works; ``since`` is then meaningless, else
    the Unix time at which the table was last known to be true (0: never).
    """

    nodes: tuple[VirtualNode, ...] = ()
    problem: Literal["", "forbidden", "outage"] = ""
    since: float = 0.0


async def list_nodes(api: Any) -> tuple[list[JSON], str]:
    """All virtual nodes as raw JSON, and the resource version to watch from.

    Args:
        api: a ``kubernetes_asyncio.client.CoreV1Api``.

    Raises:
        ApiException: the API server refused.
    """
    response = await api.list_node(
        label_selector=SELECTOR,
        _preload_content=False,
        _request_timeout=_REQUEST_SECONDS,
    )
    body = await response.read()
    if response.status != 200:
        raise ApiException(status=response.status, reason=response.reason)
    document = json.loads(body)
    return document["items"] or [], document["metadata"]["resourceVersion"]


class NodeWatcher:
    """Keeps :attr:`table` true from :meth:`start` to :meth:`stop`."""

    def __init__(self, api: Any) -> None:
        self.table = NodeTable()
        self._api = api
        self._nodes: dict[str, JSON] = {}
        self._answered = asyncio.Event()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch; does nothing when already watching."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="virtual nodes")

    async def stop(self) -> None:
        """End the watch. The table stays as it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def loaded(self, timeout: float = _REQUEST_SECONDS) -> NodeTable:
        """The table, once the API server has answered for the first time."""
        self.start()
        try:
            await asyncio.wait_for(self._answered.wait(), timeout)
        except TimeoutError:
            self._degrade("outage")
        return self.table

    async def changed(self, known: NodeTable, timeout: float) -> NodeTable:
        """The table as soon as it is another than ``known``, or after ``timeout`` s."""
        deadline = time.monotonic() + timeout
        while self.table is known and (left := deadline - time.monotonic()) > 0:
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                break
        return self.table

    async def _run(self) -> None:
        pause = 0.0
        while True:
            try:
                await self._list_and_watch()
            except ApiException as error:
                if error.status == 410:  # our resource version is too old: list again
                    pause = 0.0
                else:
                    self._degrade("forbidden" if error.status == 403 else "outage")
                    pause = self._report(error, pause)
            except Exception as error:  # whatever broke, try again
                self._degrade("outage")
                pause = self._report(error, pause)
            else:
                pause = 0.0
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311

    def _report(self, error: Exception, pause: float) -> float:
        pause = min(_LONGEST_PAUSE, pause * 2 or 0.25)
        log.warning(
            "Virtual nodes cannot be watched, next try in %.1f s: %s", pause, error
        )
        return pause

    async def _list_and_watch(self) -> None:
        items, version = await list_nodes(self._api)
        self._nodes = {node["metadata"]["name"]: node for node in items}
        self._publish()
        response = await self._api.list_node(
            watch=True,
            label_selector=SELECTOR,
            resource_version=version,
            timeout_seconds=_WATCH_SECONDS,
            _preload_content=False,
            _request_timeout=_WATCH_SECONDS + _REQUEST_SECONDS,
        )
        try:
            if response.status != 200:
                raise ApiException(status=response.status, reason=response.reason)
            async for line in response.content:
                self._apply(json.loads(line))
        finally:
            response.close()

    def _apply(self, event: Mapping[str, Any]) -> None:
        node = event["object"]
        if event["type"] == "ERROR":
            raise ApiException(status=node.get("code"), reason=node.get("message"))
        name = node["metadata"]["name"]
        if event["type"] == "DELETED":
            self._nodes.pop(name, None)
        else:
            self._nodes[name] = node
        self._publish()

    def _publish(self) -> None:
        nodes = tuple(virtual_node(self._nodes[name]) for name in sorted(self._nodes))
        self._answered.set()
        self._replace(NodeTable(nodes))

    def _degrade(self, problem: Literal["forbidden", "outage"]) -> None:
        if self.table.problem:
            since = self.table.since
        else:
            since = time.time() if self._nodes else 0.0
        self._answered.set()
        self._replace(NodeTable(self.table.nodes, problem, since))

    def _replace(self, table: NodeTable) -> None:
        if table == self.table:
            return
        self.table = table
        self._changed.set()
        self._changed = asyncio.Event()


_watchers: dict[tuple[asyncio.AbstractEventLoop, str], NodeWatcher] = {}


def shared(api: Any) -> NodeWatcher:
    """The process's watcher for the API server of ``api``, started.

    It runs until the event loop's tasks are cancelled, as KubeSpawner's reflectors
    do, or until :func:`stop_all`.
    """
    key = (asyncio.get_running_loop(), api.api_client.configuration.host)
    watcher = _watchers.get(key)
    if watcher is None:
        watcher = _watchers[key] = NodeWatcher(api)
    watcher.start()
    return watcher


async def stop_all() -> None:
    """End every shared watch of the running loop."""
    loop = asyncio.get_running_loop()
    for key in [key for key in _watchers if key[0] is loop]:
        await _watchers.pop(key).stop()
