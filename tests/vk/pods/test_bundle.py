"""What a site gets instead of what only a cluster has."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from typing import Any

import pytest

from interlink_sidecars.api.errors import ApiError, InvalidRequestError
from interlink_sidecars.api.kubernetes import JSON
from interlink_vk.pods.bundle import bundle
from interlink_vk.pods.environment import expanded
from interlink_vk.pods.inject import inject
from interlink_vk.pods.objects import (
    MissingObjectError,
    Objects,
    Reference,
    references,
)

UID = "6f1c2d3e-4b5a-4c6d-8e7f-0a1b2c3d4e5f"


def base64_of(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


SETTINGS: JSON = {
    "kind": "ConfigMap",
    "metadata": {"name": "settings", "namespace": "n"},
    "data": {"MODE": "fast", "config.yaml": "a: 1\n"},
}
PASSWORDS: JSON = {
    "kind": "Secret",
    "metadata": {"name": "passwords", "namespace": "n"},
    "data": {"token": base64_of("s3cret"), "raw": base64_of(b"\xff\x00")},
}
OBJECTS = Objects(
    {("configMap", "settings"): SETTINGS, ("secret", "passwords"): PASSWORDS}
)


def pod(**spec: Any) -> JSON:
    container = {"name": "main", "image": "base", **spec.pop("container", {})}
    return {
        "metadata": {
            "name": "p",
            "namespace": "n",
            "uid": UID,
            "labels": {"app": "x", "b": 'quo"te'},
            "annotations": {"note": "hello"},
        },
        "spec": {"nodeName": "site-a", "containers": [container], **spec},
    }


def environment(*variables: JSON, sources: list[JSON] | None = None) -> list[JSON]:
    container = {"env": list(variables), "envFrom": sources or []}
    request = bundle(pod(container=container), OBJECTS)
    result: list[JSON] = request.pod["spec"]["containers"][0]["env"]
    return result


FULL = pod(
    initContainers=[
        {
            "name": "prepare",
            "image": "base",
            "envFrom": [{"secretRef": {"name": "passwords"}}],
            "volumeMounts": [{"name": "files", "mountPath": "/etc/files"}],
        }
    ],
    container={
        "args": ["serve", "--mode=$(MODE)", "--cost=$$5"],
        "env": [
            {"name": "MODE", "value": "slow"},
            {"name": "USER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "X_"}],
        "resources": {"limits": {"memory": "1Gi"}},
        "volumeMounts": [
            {"name": "files", "mountPath": "/etc/files"},
            {"name": "keys", "mountPath": "/etc/keys"},
            {"name": "all", "mountPath": "/etc/all"},
            {"name": "self", "mountPath": "/etc/self"},
            {"name": "scratch", "mountPath": "/scratch"},
            {"name": "kube-api-access-x1y2z", "mountPath": "/var/run/secrets"},
        ],
    },
    volumes=[
        {"name": "files", "configMap": {"name": "settings"}},
        {"name": "keys", "secret": {"secretName": "passwords"}},
        {
            "name": "all",
            "projected": {
                "sources": [
                    {
                        "configMap": {
                            "name": "settings",
                            "items": [{"key": "config.yaml", "path": "conf/a.yaml"}],
                        }
                    },
                    {"secret": {"name": "passwords"}},
                ]
            },
        },
        {
            "name": "self",
            "downwardAPI": {
                "items": [
                    {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                    {
                        "path": "memory",
                        "resourceFieldRef": {
                            "containerName": "main",
                            "resource": "limits.memory",
                            "divisor": "1Mi",
                        },
                    },
                ]
            },
        },
        {"name": "scratch", "emptyDir": {}},
        {
            "name": "kube-api-access-x1y2z",
            "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
        },
    ],
)


def test_a_pod_with_everything(golden: Callable[[str, Any], None]) -> None:
    before = copy.deepcopy(FULL)
    golden("vk/bundle.json", bundle(FULL, OBJECTS).to_json())
    assert before == FULL


def test_a_pod_with_the_agent(golden: Callable[[str, Any], None]) -> None:
    plain = bundle(pod(container={"args": ["jupyterhub-singleuser"]}), OBJECTS)
    request = inject(plain, "print('agent')\n", {"sid": UID, "key": "k"})
    golden("vk/inject.json", request.to_json())
    assert "volumes" not in plain.pod["spec"]


def test_the_agent_goes_before_a_command_and_only_into_the_first_container() -> None:
    two = pod(container={"command": ["tini", "--"], "args": ["serve"]})
    two["spec"]["containers"].append({"name": "other", "args": ["x"]})
    request = inject(bundle(two, OBJECTS), "", {})
    first, other = request.pod["spec"]["containers"]
    assert first["command"][-3:] == ["--", "tini", "--"]
    assert first["args"] == ["serve"]
    assert other["args"] == ["x"]
    assert request.container[1].config_maps == []


def test_env_wins_over_env_from_and_sees_it() -> None:
    sources = [{"configMapRef": {"name": "settings"}}]
    variables = environment(
        {"name": "BOTH", "value": "$(MODE)-$(NOPE)"},
        {"name": "MODE", "value": "mine"},
        sources=sources,
    )
    assert {"name": "BOTH", "value": "fast-$(NOPE)"} in variables
    assert [v["value"] for v in variables if v["name"] == "MODE"] == ["mine"]


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ({"configMapKeyRef": {"name": "settings", "key": "MODE"}}, "fast"),
        ({"secretKeyRef": {"name": "passwords", "key": "token"}}, "s3cret"),
        ({"fieldRef": {"fieldPath": "metadata.annotations['note']"}}, "hello"),
        ({"fieldRef": {"fieldPath": "spec.nodeName"}}, "site-a"),
        ({"fieldRef": {"fieldPath": "status.podIP"}}, ""),
        ({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "0"}}, "0"),
    ],
)
def test_references_become_values(source: JSON, value: str) -> None:
    assert environment({"name": "V", "valueFrom": source}) == [
        {"name": "V", "value": value}
    ]


def test_cores_are_rounded_up() -> None:
    source = {"resourceFieldRef": {"resource": "limits.cpu"}}
    container = {
        "env": [{"name": "V", "valueFrom": source}],
        "resources": {"limits": {"cpu": "1500m"}},
    }
    request = bundle(pod(container=container), OBJECTS)
    assert request.pod["spec"]["containers"][0]["env"][0]["value"] == "2"


def test_an_optional_reference_to_nothing_is_left_out() -> None:
    absent = {"name": "nope", "key": "x", "optional": True}
    assert environment({"name": "V", "valueFrom": {"configMapKeyRef": absent}}) == []
    request = bundle(
        pod(
            container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            volumes=[{"name": "v", "configMap": {"name": "nope", "optional": True}}],
        ),
        OBJECTS,
    )
    assert request.container[0].config_maps == []


def test_a_missing_key_is_named() -> None:
    source = {"secretKeyRef": {"name": "passwords", "key": "nope"}}
    with pytest.raises(MissingObjectError, match=r"n/p.*nope.*passwords"):
        environment({"name": "V", "valueFrom": source})


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        ({"serviceAccountToken": {"path": "t"}}, "serviceAccountToken"),
        (
            {
                "downwardAPI": {
                    "items": [{"path": "x", "fieldRef": {"fieldPath": "spec.secret"}}]
                }
            },
            "spec.secret",
        ),
    ],
)
def test_what_a_job_cannot_have_is_refused_for_good(volume: JSON, words: str) -> None:
    asking = pod(
        container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
        volumes=[{"name": "v", "projected": {"sources": [volume]}}],
    )
    with pytest.raises(InvalidRequestError, match=words) as refused:
        bundle(asking, OBJECTS)
    assert isinstance(refused.value, ApiError)
    assert refused.value.final


def test_every_object_is_asked_for() -> None:
    wanted = set(references(FULL))
    assert wanted == {
        Reference("configMap", "settings", False),
        Reference("secret", "passwords", False),
    }
    variable = {
        "name": "V",
        "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}},
    }
    assert list(references(pod(container={"env": [variable]}))) == [
        Reference("secret", "s", True)
    ]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$(B)$(A)", "$(B)1"),
        ("$(A", "$(A"),
        ("cost: $5 $", "cost: $5 $"),
        ("$$", "$"),
    ],
)
def test_expansion_is_kubernetes(text: str, result: str) -> None:
    assert expanded(text, {"A": "1"}) == result
