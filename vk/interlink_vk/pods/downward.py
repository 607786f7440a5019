"""The downward API: fields of a pod as text (pure).

Source: ``k8s.io/kubernetes/pkg/fieldpath`` and ``pkg/api/v1/resource``. A pod on a
virtual node has no IP address, so the address fields are empty.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

from interlink_sidecars.api.errors import InvalidRequestError
from interlink_sidecars.api.kubernetes import JSON, Container, Pod
from interlink_sidecars.api.quantity import parse

_ENTRY = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


def field_value(pod: Pod, path: str) -> str:
    """The text of a ``fieldRef``.

    Raises:
        InvalidRequestError: the downward API has no such field.
    """
    metadata = pod.metadata
    if match := _ENTRY.fullmatch(path):
        entries = metadata.labels if match[1] == "labels" else metadata.annotations
        return entries.get(match[2], "")
    values = {
        "metadata.name": metadata.name,
        "metadata.namespace": metadata.namespace,
        "metadata.uid": metadata.uid,
        "metadata.labels": _lines(metadata.labels),
        "metadata.annotations": _lines(metadata.annotations),
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        **dict.fromkeys(
            ("status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"), ""
        ),
    }
    if path not in values:
        raise InvalidRequestError(
            f"Pod {pod.key} asks for its field {path}, which a job cannot be given."
            " Remove it from the pod.",
            reason="UnsupportedField",
        )
    return values[path]


def resource_value(pod: Pod, container: Container | None, reference: JSON) -> str:
    """The text of a ``resourceFieldRef``, such as ``limits.cpu`` in cores rounded up.

    A limit that is not set reads as the request, and that as 0.
    """
    name = reference.get("containerName") or (container.name if container else "")
    for candidate in pod.spec.containers + pod.spec.init_containers:
        if candidate.name == name:
            return _quantity(candidate, reference)
    raise InvalidRequestError(
        f"Pod {pod.key} asks for resources of container {name!r}, which it has not.",
        reason="UnsupportedField",
    )


def _quantity(container: Container, reference: JSON) -> str:
    kind, _, resource = str(reference["resource"]).partition(".")
    asked = container.resources
    value = asked.requests.get(resource, 0)
    if kind == "limits":
        value = asked.limits.get(resource, value)
    # the API server writes a divisor that is not set as "0"
    divisor = parse(reference.get("divisor") or "0") or 1
    return str(math.ceil(parse(value) / divisor))


def _lines(entries: Mapping[str, str]) -> str:
    return "\n".join(f"{key}={json.dumps(entries[key])}" for key in sorted(entries))
