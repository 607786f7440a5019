"""A pod and the objects it names -> the one document that a site needs (pure).

Owns what the site gets instead of what only a cluster can give: values for references,
contents for projected volumes, no service account token. Must not know the tunnel
(:mod:`.inject` adds it) nor where the objects come from.

Source of the document: interLink ``RetrievedPodData``; projections as in its
``pkg/virtualkubelet/execute.go``: one ConfigMap-like object named after the volume.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterator
from typing import Any

from interlink_sidecars.api.errors import InvalidRequestError
from interlink_sidecars.api.kubernetes import JSON, Container, Pod, Volume
from interlink_sidecars.api.messages import ContainerVolumes, CreateRequest

from .downward import field_value, resource_value
from .environment import environment, expanded
from .objects import Objects, decoded, missing_key

_TOKEN_VOLUME = "kube-api-access-"  # noqa: S105 (the API server's name for the volume)
_PROJECTABLE = frozenset({"configMap", "secret", "downwardAPI"})


def bundle(pod: JSON, objects: Objects) -> CreateRequest:
    """The pod as the site gets it, with the objects that each container mounts.

    The service account token that Kubernetes mounts by itself is left out: a job is
    outside of the cluster. ``pod`` is not changed.

    Raises:
        ApiError: something that the pod asks for is missing, or cannot be given.
    """
    wire = _without_token_volume(copy.deepcopy(pod))
    view = Pod.model_validate(wire)
    volumes = {volume.name: volume for volume in view.spec.volumes}
    entries = []
    for kind in ("initContainers", "containers"):
        for raw in wire["spec"].get(kind) or []:
            container = Container.model_validate(raw)
            _resolve(raw, environment(view, container, objects))
            mounted = [
                volumes[name]
                for name in dict.fromkeys(m.name for m in container.volume_mounts)
                if name in volumes
            ]
            entries.append(_entry(view, container.name, mounted, objects))
    for volume in wire["spec"].get("volumes") or []:
        if "downwardAPI" in volume:  # interLink's plugins know it as a projection
            volume["projected"] = {"sources": [{"downwardAPI": volume["downwardAPI"]}]}
            del volume["downwardAPI"]
    return CreateRequest(pod=wire, container=entries)


def _without_token_volume(pod: JSON) -> JSON:
    spec = pod["spec"]
    dropped = {
        volume["name"]
        for volume in spec.get("volumes") or []
        if volume["name"].startswith(_TOKEN_VOLUME)
    }
    if dropped:
        spec["volumes"] = [v for v in spec["volumes"] if v["name"] not in dropped]
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        mounts = container.get("volumeMounts") or []
        container["volumeMounts"] = [m for m in mounts if m["name"] not in dropped]
    return pod


def _resolve(container: JSON, values: dict[str, str]) -> None:
    """Put values where there were references, in the container of the wire copy."""
    container.pop("envFrom", None)
    container["env"] = [{"name": name, "value": text} for name, text in values.items()]
    for key in ("command", "args"):
        if key in container:
            container[key] = [expanded(word, values) for word in container[key]]


def _entry(
    pod: Pod, container: str, mounted: list[Volume], objects: Objects
) -> ContainerVolumes:
    config_maps: list[Any] = []
    secrets: list[Any] = []
    projections = []
    for volume in mounted:
        if volume.config_map is not None:
            config_maps.append(objects.find("configMap", volume.config_map))
        elif volume.secret is not None:
            secrets.append(objects.find("secret", volume.secret))
        elif volume.projected is not None:
            sources = volume.projected.get("sources") or []
            projections.append(_projection(pod, volume.name, sources, objects))
        elif volume.downward_api is not None:
            sources = [{"downwardAPI": volume.downward_api}]
            projections.append(_projection(pod, volume.name, sources, objects))
    return ContainerVolumes(
        name=container,
        config_maps=[item for item in config_maps if item is not None],
        secrets=[item for item in secrets if item is not None],
        projected_volume_maps=projections,
    )


def _projection(pod: Pod, volume: str, sources: list[JSON], objects: Objects) -> JSON:
    """The files of a projected volume as a ConfigMap; later sources win."""
    files: dict[str, bytes] = {}
    for source in sources:
        if unknown := set(source) - _PROJECTABLE:
            raise InvalidRequestError(
                f"Pod {pod.key} projects a {unknown.pop()} into its volume {volume},"
                " which a job outside of the cluster cannot be given. Remove it.",
                reason="UnsupportedVolume",
            )
        files |= dict(_files(pod, source, objects))
    texts: dict[str, str] = {}
    binary: dict[str, str] = {}
    for path, data in files.items():
        try:
            texts[path] = data.decode()
        except UnicodeDecodeError:
            binary[path] = base64.b64encode(data).decode()
    return {
        "metadata": {"name": volume, "namespace": pod.metadata.namespace},
        "data": texts,
        **({"binaryData": binary} if binary else {}),
    }


def _files(pod: Pod, source: JSON, objects: Objects) -> Iterator[tuple[str, bytes]]:
    """Path and content of what one source projects."""
    for item in (source.get("downwardAPI") or {}).get("items") or []:
        yield item["path"], _downward(pod, item).encode()
    for kind in ("configMap", "secret"):
        if (projection := source.get(kind)) is None:
            continue
        entries = decoded(objects.find(kind, projection) or {})
        items = projection.get("items")
        if items is None:
            yield from entries.items()
        for item in items or []:
            if item["key"] in entries:
                yield item["path"], entries[item["key"]]
            elif not projection.get("optional"):
                raise missing_key(pod, kind, {**projection, **item})


def _downward(pod: Pod, item: JSON) -> str:
    if "fieldRef" in item:
        return field_value(pod, item["fieldRef"]["fieldPath"])
    return resource_value(pod, None, item["resourceFieldRef"])
