"""The service's view of Kubernetes: offloaded pods, ended ones included, and logs.

The only module of the service that talks to Kubernetes. One list and watch keeps
every job of the namespace in memory; while Kubernetes does not answer, the last
known jobs stay, and :attr:`Pods.observed_at` says how old they are. It must not know
who asks, nor what a job means.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import aiohttp
from kubernetes_asyncio import client, config
from traitlets import Float, Unicode, default
from traitlets.config import LoggingConfigurable

from interlink_sidecars.api.errors import ApiError, UnreachableError
from interlink_sidecars.api.kubernetes import JSON, Pod

from .jobs import is_job

_NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_WATCH_SECONDS: Final = 30
_RETRY_SECONDS: Final = (1, 2, 5, 10, 30)


@dataclass(frozen=True, slots=True)
class Record:
    """One pod as last seen, and when it was found to be gone."""

    pod: JSON
    gone_at: datetime | None = None

    @property
    def uid(self) -> str:
        """The pod's UID."""
        return str(self.pod["metadata"]["uid"])

    @property
    def created_at(self) -> str:
        """RFC 3339 time in UTC, in which order of text is order of time."""
        return str(self.pod["metadata"]["creationTimestamp"])


class Pods(LoggingConfigurable):
    """List and watch of the offloaded pods in one namespace."""

    namespace = Unicode(
        help="Namespace of the user pods. Default: the service's own, else `default`."
    ).tag(config=True)

    label_selector = Unicode(
        "component=singleuser-server",
        help="Labels of the hub's user pods, as KubeSpawner sets them.",
    ).tag(config=True)

    keep_ended = Float(
        24 * 3600, help="Seconds for which a job is shown after its pod is gone."
    ).tag(config=True)

    @default("namespace")
    def _default_namespace(self) -> str:
        if _NAMESPACE_FILE.exists():
            return _NAMESPACE_FILE.read_text().strip()
        return "default"

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.observed_at: datetime | None = None
        self.on_change: Callable[[Record], None] = lambda _: None
        """Called with each record that is new, changed or gone."""
        self._records: dict[str, Record] = {}
        self._api: client.CoreV1Api | None = None

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def __contains__(self, uid: str) -> bool:
        return uid in self._records

    def get(self, uid: str) -> Record | None:
        """The record of a pod, or None where no such job is known."""
        return self._records.get(uid)

    # --- list and watch ----------------------------------------------------------

    async def connect(self) -> None:
        """Find out where Kubernetes is.

        Raises:
            UnreachableError: nothing says so.
        """
        self._configuration = await _configuration()

    async def run(self) -> None:
        """Keep the records true until cancelled; an outage only makes them older."""
        failures = 0
        async with client.ApiClient(self._configuration) as connection:
            self._api = client.CoreV1Api(connection)
            while True:
                try:
                    version = await self._list()
                    failures = 0
                    while True:
                        version = await self._watch(version)
                except ApiError as error:
                    delay = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
                    failures += 1
                    self.log.warning("pods: %s Next try in %d s.", error, delay)
                    await asyncio.sleep(delay)

    async def _list(self) -> str:
        """Replace all records; returns the resource version to watch from."""
        async with self._answer("list_namespaced_pod", silence=60) as response:
            document = await response.json()
        found = {pod["metadata"]["uid"] for pod in document["items"]}
        for pod in document["items"]:
            self._put(pod)
        for uid in self._records.keys() - found:
            self._gone(uid)
        self._observed()
        return str(document["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> str:
        """Apply one watch's events; returns the version to go on from."""
        async with self._answer(
            "list_namespaced_pod",
            silence=2 * _WATCH_SECONDS,
            watch=True,
            allow_watch_bookmarks=True,
            resource_version=version,
            timeout_seconds=_WATCH_SECONDS,
        ) as response:
            self._observed()
            async for line in response.content:
                version = self._apply(json.loads(line))
                self._observed()
        return version

    def _apply(self, event: JSON) -> str:
        """Take over one watch event; returns its resource version."""
        pod = event["object"]
        if event["type"] == "ERROR":
            raise ApiError(f"the watch ended: {pod.get('message')}")
        if event["type"] in {"ADDED", "MODIFIED"}:
            self._put(pod)
        elif event["type"] == "DELETED":
            self._put(pod)
            self._gone(pod["metadata"]["uid"])
        return str(pod["metadata"]["resourceVersion"])

    def _put(self, pod: JSON) -> None:
        if not is_job(Pod.model_validate(pod)):
            return
        pod["metadata"].pop("managedFields", None)
        self._store(Record(pod))

    def _gone(self, uid: str) -> None:
        record = self._records.get(uid)
        if record is not None and record.gone_at is None:
            self._store(replace(record, gone_at=_now()))

    def _store(self, record: Record) -> None:
        self._records[record.uid] = record
        self.on_change(record)

    def _observed(self) -> None:
        self.observed_at = _now()
        oldest = self.observed_at - timedelta(seconds=self.keep_ended)
        for uid, record in list(self._records.items()):
            if record.gone_at is not None and record.gone_at < oldest:
                del self._records[uid]

    # --- logs ---------------------------------------------------------------------

    async def follow_log(
        self, name: str, container: str
    ) -> AsyncGenerator[bytes, None]:
        """Follow a container's log from its first byte to its end.

        Raises:
            ApiError: the pod, its container or its kubelet gave no log; ``status``
                is 404 where the pod is gone.
        """
        async with self._answer(
            "read_namespaced_pod_log", name=name, container=container, follow=True
        ) as response:
            async for data in response.content.iter_any():
                yield data

    # --- HTTP ---------------------------------------------------------------------

    @asynccontextmanager
    async def _answer(
        self, call: str, *, silence: float | None = None, **query: object
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A raw answer of ``CoreV1Api``.

        ``silence`` is the longest pause in seconds that is not yet an outage.
        """
        if self._api is None:
            raise UnreachableError("The service has not reached Kubernetes yet.")
        if call.startswith("list"):
            query["label_selector"] = self.label_selector
        try:
            response = await getattr(self._api, call)(
                namespace=self.namespace,
                _preload_content=False,
                _request_timeout=aiohttp.ClientTimeout(
                    sock_connect=10, sock_read=silence
                ),
                **query,
            )
            async with response:
                if response.status != 200:
                    raise await _refusal(response)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise UnreachableError(
                f"Kubernetes did not answer: {type(error).__name__} {error}".rstrip()
            ) from error


async def _refusal(response: aiohttp.ClientResponse) -> ApiError:
    """Kubernetes' ``Status`` object as an error of ours."""
    try:
        status = json.loads(await response.text())
    except ValueError:
        status = {}
    return ApiError(
        status.get("message") or f"Kubernetes answered {response.status}.",
        reason=status.get("reason") or "KubernetesRefused",
        status=response.status,
    )


async def _configuration() -> client.Configuration:
    """In a pod its service account, elsewhere ``KUBECONFIG``."""
    configuration = client.Configuration()
    try:
        config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    except config.ConfigException:
        try:
            await config.load_kube_config(client_configuration=configuration)
        except config.ConfigException as error:
            raise UnreachableError(
                f"Nothing says where Kubernetes is: no service account, and {error}"
            ) from error
    return configuration


def _now() -> datetime:
    """The time in whole seconds, as Kubernetes writes it."""
    return datetime.now(UTC).replace(microsecond=0)
