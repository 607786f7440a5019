"""The ConfigMaps and Secrets that a pod names: which, and their contents.

Owns reading them, each once, and the sentence about one that is not there. Must not
know what they are used for.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from interlink_sidecars.api.errors import ApiError
from interlink_sidecars.api.kubernetes import JSON, Pod
from interlink_vk.kube import KubeClient, KubeError, NotFoundError, object_path

_RESOURCES: Final = {"configMap": "configmaps", "secret": "secrets"}


class MissingObjectError(ApiError):
    """A pod needs a ConfigMap or Secret that is not there yet; it waits for it."""

    status = 424
    reason = "CreateContainerConfigError"


@dataclass(frozen=True, slots=True)
class Reference:
    """``kind`` is ``configMap`` or ``secret``."""

    kind: str
    name: str
    optional: bool


class Objects:
    """What was read for one pod, by kind and name."""

    def __init__(self, found: dict[tuple[str, str], JSON]) -> None:
        self._found = found

    def find(self, kind: str, source: JSON) -> JSON | None:
        """The object that a volume, projection or variable names, if it is there."""
        return self._found.get((kind, object_name(source)))


def object_name(source: JSON) -> str:
    """The name in a source; Secret volumes write it as ``secretName``."""
    return str(source.get("secretName") or source.get("name") or "")


def references(pod: JSON) -> Iterator[Reference]:
    """Every ConfigMap and Secret that the pod needs before it can start."""
    spec = pod["spec"]
    for volume in spec.get("volumes") or []:
        yield from _of(volume)
        for source in (volume.get("projected") or {}).get("sources") or []:
            yield from _of(source)
    containers = [*(spec.get("initContainers") or []), *spec["containers"]]
    for container in containers:
        for source in container.get("envFrom") or []:
            yield from _of(source, "Ref")
        for variable in container.get("env") or []:
            yield from _of(variable.get("valueFrom") or {}, "KeyRef")


def _of(holder: JSON, suffix: str = "") -> Iterator[Reference]:
    for kind in _RESOURCES:
        if source := holder.get(kind + suffix):
            yield Reference(kind, object_name(source), bool(source.get("optional")))


async def read_objects(kube: KubeClient, pod: JSON) -> Objects:
    """Read all that the pod names.

    Raises:
        MissingObjectError: one that is not optional does not exist, or may not be
            read.
        KubeError: the API server did not answer.
    """
    view = Pod.model_validate(pod)
    found: dict[tuple[str, str], JSON] = {}
    absent: set[tuple[str, str]] = set()
    for reference in references(pod):
        key = reference.kind, reference.name
        if key not in found and key not in absent:
            resource = _RESOURCES[reference.kind]
            try:
                found[key] = await kube.get(
                    object_path(view.metadata.namespace, resource, reference.name)
                )
            except NotFoundError:
                absent.add(key)
            except KubeError as error:
                if error.status != 403:
                    raise
                raise MissingObjectError(
                    f"The virtual kubelet may not read the {reference.kind}"
                    f" {reference.name} of pod {view.key}. Bind its Role for ConfigMaps"
                    f" and Secrets in the namespace {view.metadata.namespace}."
                ) from error
        if key in absent and not reference.optional:
            raise MissingObjectError(
                f"Pod {view.key} waits for the {reference.kind} {reference.name}, which"
                " does not exist in its namespace. Create it and the pod goes on."
            )
    return Objects(found)


def missing_key(pod: Pod, where: str, source: JSON) -> MissingObjectError:
    """The error for an object that is there and lacks the key that is asked for."""
    return MissingObjectError(
        f"Pod {pod.key} waits for the key {source['key']} in {object_name(source)}"
        f" ({where}), which is not there. Add it and the pod goes on."
    )


def decoded(item: JSON) -> dict[str, bytes]:
    """The entries of a ConfigMap or Secret as bytes."""
    if "kind" in item and item["kind"] == "Secret":
        return {k: base64.b64decode(v) for k, v in (item.get("data") or {}).items()}
    texts = {key: text.encode() for key, text in (item.get("data") or {}).items()}
    binary = item.get("binaryData") or {}
    return texts | {key: base64.b64decode(data) for key, data in binary.items()}
