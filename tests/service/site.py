"""A virtual node whose jobs a test plays: pods, their states, and their logs.

The API server is real and fetches logs from this node's kubelet API over TLS; the
kubelet writes what the test tells it to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from deploy.local.cluster import Cluster
from deploy.local.processes import free_port
from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON

NODE = "site-a-slurm"


class Log:
    """A growing log with any number of followers."""

    def __init__(self) -> None:
        self.data = b""
        self.ended = False
        self.refused = ""
        self.followers = 0
        self._changed = asyncio.Condition()

    async def write(self, data: bytes, *, end: bool = False) -> None:
        async with self._changed:
            self.data += data
            self.ended = self.ended or end
            self._changed.notify_all()

    async def follow(self) -> AsyncIterator[bytes]:
        sent = 0
        while not (self.ended and sent == len(self.data)):
            if new := self.data[sent:]:
                sent += len(new)
                yield new
            async with self._changed:
                if sent == len(self.data) and not self.ended:
                    await self._changed.wait()


class LogsHandler(RequestHandler):
    """``GET /containerLogs/<namespace>/<pod>/<container>``."""

    following: asyncio.Task[None] | None = None

    async def get(self, pod: str) -> None:
        log = self.settings["logs"].get(pod)
        if log is None or log.refused:
            # of other errors the API server keeps the text to itself
            self.set_status(500)
            self.finish(log.refused if log else "no such job")
            return
        self.following = asyncio.ensure_future(self._send(log))
        with contextlib.suppress(asyncio.CancelledError):
            await self.following

    def on_connection_close(self) -> None:
        if self.following:
            self.following.cancel()

    async def _send(self, log: Log) -> None:
        log.followers += 1
        try:
            await self.flush()
            async for data in log.follow():
                self.write(data)
                await self.flush()
        finally:
            log.followers -= 1


class Site:
    """The node, in one namespace of a cluster."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.logs: dict[str, Log] = {}

    @property
    def kubeconfig(self) -> Path:
        """With the rights of the hub service in this namespace, and no more."""
        return self.cluster.kubeconfig("service", self.namespace)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The node registered, its kubelet API served."""
        pair = self.cluster.serving_certificate("127.0.0.1")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pair.certificate, pair.key)
        routes: list[Any] = [(r"/containerLogs/[^/]+/([^/]+)/[^/]+", LogsHandler)]
        server = HTTPServer(Application(routes, logs=self.logs), ssl_options=context)
        port = free_port()
        server.listen(port, "127.0.0.1")
        await self._register(port)
        try:
            yield
        finally:
            await self.cluster.kubectl("delete", "node", NODE, "--wait=false")
            server.stop()
            await server.close_all_connections()

    async def _register(self, port: int) -> None:
        await self._create(
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        )
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        await self._patch("node", NODE, {"status": status}, "--subresource=status")

    async def submit(
        self, name: str, owner: str, annotations: dict[str, str] | None = None
    ) -> str:
        """An offloaded server of ``owner``, bound to the node; returns its UID."""
        self.logs[name] = Log()
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": {"component": "singleuser-server"},
                "annotations": {
                    names.HUB_USERNAME: owner,
                    names.ACCELERATORS: "[]",
                    names.BACKEND: "slurm",
                    **(annotations or {}),
                },
            },
            "spec": {
                "nodeName": NODE,
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "notebook", "image": "lab"}],
            },
        }
        document = await self._create(pod)
        return str(document["metadata"]["uid"])

    async def annotate(self, name: str, **annotations: str) -> None:
        """What the virtual kubelet writes: ``JOB_STATE="queued"`` and the like."""
        document = {getattr(names, key): value for key, value in annotations.items()}
        await self._patch("pod", name, {"metadata": {"annotations": document}})

    async def set_status(self, name: str, status: JSON) -> None:
        """Replace parts of the pod's status."""
        await self._patch("pod", name, {"status": status}, "--subresource=status")

    async def remove(self, name: str) -> None:
        """Delete the pod, as the hub does, with no kubelet to wait for."""
        await self.cluster.kubectl(
            *("delete", "pod", name, "--namespace", self.namespace),
            *("--grace-period=0", "--force", "--wait=true"),
        )

    async def _create(self, document: JSON) -> JSON:
        answer = await self.cluster.kubectl(
            "create", "--filename=-", "--output=json", document=json.dumps(document)
        )
        created: JSON = json.loads(answer)
        return created

    async def _patch(self, kind: str, name: str, patch: JSON, *flags: str) -> None:
        await self.cluster.kubectl(
            *("patch", kind, name, "--namespace", self.namespace, *flags),
            *("--type=merge", f"--patch={json.dumps(patch)}"),
        )
