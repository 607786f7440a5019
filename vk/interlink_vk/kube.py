"""The Kubernetes API: raw JSON in and out, errors as sentences, lists that stay fresh.

The only module that imports ``kubernetes_asyncio``, and of it only the way to find and
keep credentials and one HTTP session: its model classes drop fields they do not know.
Must not know what any object means.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, TypeAlias
from urllib.parse import quote

import aiohttp
from kubernetes_asyncio import client as kubernetes
from kubernetes_asyncio import config as credentials

from interlink_sidecars.api.errors import ApiError
from interlink_sidecars.api.kubernetes import JSON

CALL_SECONDS: Final = 30.0
WATCH_SECONDS: Final = 240
"""The API server ends a watch after this long; a dead connection shows soon after."""

PatchKind: TypeAlias = Literal["merge", "strategic", "json"]

_PATCH_TYPES: Final[Mapping[PatchKind, str]] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}


class KubeError(ApiError):
    """The API server refused a call, or did not answer (status 503)."""

    reason = "KubernetesError"


class NotFoundError(KubeError):
    """The object, or what it stands in, does not exist."""

    status = 404
    reason = "NotFound"


class ConflictError(KubeError):
    """The object is not the one, or not in the version, that the caller means."""

    status = 409
    reason = "Conflict"


class GoneError(KubeError):
    """A watch cannot go on from this resource version; list again."""

    status = 410
    reason = "Expired"


_ERRORS: Final = {
    kind.status: kind for kind in (NotFoundError, ConflictError, GoneError)
}


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change: ``ADDED``, ``MODIFIED``, ``DELETED`` or ``BOOKMARK``."""

    kind: str
    item: JSON


def node_path(name: str = "") -> str:
    """URL path of one node, or of all."""
    return _join("/api/v1/nodes", name)


def pod_path(namespace: str = "", name: str = "", subresource: str = "") -> str:
    """URL path of one pod or a subresource of it, or of all pods of the cluster."""
    if not namespace:
        return "/api/v1/pods"
    return _join(_namespaced(namespace, "pods"), name, subresource)


def object_path(namespace: str, resource: str, name: str = "") -> str:
    """URL path of a core/v1 object, such as one of ``configmaps``; or of all."""
    return _join(_namespaced(namespace, resource), name)


def lease_path(name: str = "") -> str:
    """URL path of a node's lease, or of all."""
    return _join("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", name)


def _namespaced(namespace: str, resource: str) -> str:
    return _join("/api/v1/namespaces", namespace, resource)


def _join(base: str, *parts: str) -> str:
    return "/".join([base, *(quote(part, safe="") for part in parts if part)])


class KubeClient:
    """One connection pool to one API server, with whatever credentials there are."""

    def __init__(self, configuration: Any) -> None:
        self._api = kubernetes.ApiClient(configuration)
        self._server: str = configuration.host

    @classmethod
    async def from_environment(cls) -> Self:
        """The cluster of ``KUBECONFIG``, else the one that this pod runs in.

        Raises:
            KubeError: neither is there.
        """
        configuration = kubernetes.Configuration()
        try:
            if files := os.environ.get("KUBECONFIG"):
                await credentials.load_kube_config(
                    config_file=files, client_configuration=configuration
                )
            else:
                credentials.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        except credentials.ConfigException as error:
            why = str(error).rstrip(".")
            raise KubeError(
                f"No Kubernetes cluster to talk to: {why}. Set KUBECONFIG, or run in"
                " a pod with a service account.",
                reason="NoCluster",
            ) from error
        return cls(configuration)

    async def close(self) -> None:
        """Close every connection."""
        await self._api.close()

    async def get(self, path: str) -> JSON:
        """One object."""
        return await self._call("GET", path)

    async def list_items(self, path: str, **query: str) -> tuple[list[JSON], str]:
        """All objects below a path, and the resource version of the list."""
        answer = await self._call("GET", path, query=query)
        return answer.get("items") or [], answer["metadata"]["resourceVersion"]

    async def create(self, path: str, body: JSON) -> JSON:
        """Create an object; raises :class:`ConflictError` if it exists."""
        return await self._call("POST", path, body=body)

    async def patch(self, path: str, body: JSON | list[JSON], kind: PatchKind) -> JSON:
        """Change an object; ``metadata.uid`` or ``resourceVersion`` are conditions."""
        return await self._call("PATCH", path, body=body, content=_PATCH_TYPES[kind])

    async def delete(
        self, path: str, *, uid: str = "", grace: int | None = None
    ) -> None:
        """Delete an object: the one with this uid, with this many seconds of grace."""
        options: JSON = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        await self._call("DELETE", path, body=options)

    async def watch(
        self, path: str, resource_version: str, **query: str
    ) -> AsyncIterator[WatchEvent]:
        """Changes since a resource version, until the server ends the watch.

        Raises:
            GoneError: the version is too old; list again.
        """
        query |= {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        async with self._request(
            "GET", path, query=query, seconds=WATCH_SECONDS + 30
        ) as answer:
            async for line in answer.content:
                try:
                    event = json.loads(line)
                except ValueError:
                    return  # cut off in the middle; the next watch brings it again
                if event["type"] == "ERROR":
                    raise _error(int(event["object"].get("code", 500)), event["object"])
                yield WatchEvent(event["type"], event["object"])

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: JSON | list[JSON] | None = None,
        content: str = "application/json",
    ) -> JSON:
        async with self._request(
            method,
            path,
            query=query or {},
            body=body,
            seconds=CALL_SECONDS,
            content=content,
        ) as answer:
            document: JSON = await answer.json(content_type=None)
            return document

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        body: JSON | list[JSON] | None = None,
        seconds: float,
        content: str = "application/json",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One exchange; the status is a success when it yields."""
        headers = {"Content-Type": content, "Accept": "application/json"}
        try:
            await self._api.update_params_for_auth(headers, [], ["BearerToken"])
            answer: aiohttp.ClientResponse = await self._api.rest_client.request(
                method,
                self._server + path,
                query_params=dict(query),
                headers=headers,
                body=body,
                _preload_content=False,
                _request_timeout=seconds,
            )
            async with answer:
                if answer.status >= 300:
                    raise _error(answer.status, await _status_document(answer))
                yield answer
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise KubeError(
                f"The Kubernetes API at {self._server} does not answer {method} {path}:"
                f" {error or 'no answer in time'}.",
                reason="KubernetesUnreachable",
                status=503,
            ) from error


async def _status_document(answer: aiohttp.ClientResponse) -> JSON:
    text = await answer.text()
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    return document if isinstance(document, dict) else {"message": text[:2000]}


def _error(status: int, document: JSON) -> KubeError:
    """The error that the API server described in a ``metav1.Status``."""
    kind = _ERRORS.get(status, KubeError)
    return kind(
        str(document.get("message") or f"The API server answered HTTP {status}."),
        reason=str(document.get("reason") or kind.reason),
        status=status,
    )
