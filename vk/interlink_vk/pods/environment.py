"""A container's ``env`` and ``envFrom`` -> plain names and values (pure).

Source of the rules: ``k8s.io/kubernetes/pkg/kubelet/kubelet_pods.go``
``makeEnvironmentVariables`` and ``third_party/forked/golang/expansion``. The site gets
values only: it cannot read the cluster. Must not know where the objects come from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from interlink_sidecars.api.kubernetes import JSON, Container, Pod

from .downward import field_value, resource_value
from .objects import Objects, decoded, missing_key

Environment: TypeAlias = dict[str, str]

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def environment(pod: Pod, container: Container, objects: Objects) -> Environment:
    """All variables in their order; ``env`` wins over ``envFrom``.

    Raises:
        ApiError: a key that is not optional is missing, or a field is unknown.
    """
    values: Environment = {}
    for source in container.env_from:
        values |= _all_of(source, objects)
    for variable in container.env:
        if variable.value_from is None:
            values[variable.name] = expanded(variable.value, values)
        else:
            value = _referenced(pod, container, variable.value_from, objects)
            if value is not None:
                values[variable.name] = value
    return values


def expanded(text: str, values: Mapping[str, str]) -> str:
    """``$(NAME)`` replaced where NAME is known; ``$$`` stands for one ``$``."""

    def replacement(match: re.Match[str]) -> str:
        name = match[1]
        return "$" if name is None else values.get(name, match[0])

    return _REFERENCE.sub(replacement, text)


def _all_of(source: JSON, objects: Objects) -> Environment:
    prefix = source.get("prefix", "")
    for kind in ("configMapRef", "secretRef"):
        if reference := source.get(kind):
            item = objects.find(kind.removesuffix("Ref"), reference)
            return {prefix + key: text for key, text in _texts(item).items()}
    return {}


def _referenced(
    pod: Pod, container: Container, source: JSON, objects: Objects
) -> str | None:
    """The value of one ``valueFrom``; None where it is optional and not there."""
    if field := source.get("fieldRef"):
        return field_value(pod, field["fieldPath"])
    if resource := source.get("resourceFieldRef"):
        return resource_value(pod, container, resource)
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if reference := source.get(kind):
            item = objects.find(kind.removesuffix("KeyRef"), reference)
            texts = _texts(item)
            if reference["key"] in texts:
                return texts[reference["key"]]
            if not reference.get("optional"):
                raise missing_key(pod, kind, reference)
    return None


def _texts(item: JSON | None) -> Environment:
    if item is None:
        return {}
    return {key: data.decode("utf-8", "replace") for key, data in decoded(item).items()}
