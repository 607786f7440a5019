"""The interLink wire as Go writes and reads it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from interlink_sidecars.api import kubernetes, messages

UID = "0f9a3c52-6a43-4f0e-8d7c-0a9c2c1b7d11"


def log_request(**options: Any) -> messages.LogRequest:
    return messages.LogRequest.model_validate(
        {
            "Namespace": "jhub",
            "PodUID": UID,
            "PodName": "jupyter-ada",
            "ContainerName": "notebook",
            "Opts": options,
        }
    )


def test_keys_are_matched_without_regard_to_case() -> None:
    answer = messages.CreateResponse.model_validate({"poduid": UID, "PODJID": "7"})
    assert (answer.pod_uid, answer.pod_jid) == (UID, "7")
    assert answer.to_json() == {"PodUID": UID, "PodJID": "7"}


def test_a_numeric_job_id_is_refused_because_go_refuses_it() -> None:
    with pytest.raises(ValidationError):
        messages.CreateResponse.model_validate({"PodUID": UID, "PodJID": 7})


def test_null_lists_of_go_are_empty() -> None:
    request = messages.ApiServerCreateRequest.model_validate(
        {
            "pod": {"metadata": {"uid": UID}},
            "configmaps": None,
            "secrets": None,
            "projectedvolumesmaps": None,
            "jobscriptURL": "",
        }
    )
    assert request.config_maps == []
    assert request.projected_volumes_maps == []


def test_the_three_spellings_of_volume_keys() -> None:
    sent = messages.ContainerVolumes(
        name="c",
        config_maps=[{"metadata": {"name": "a"}}],
        projected_volume_maps=[{"metadata": {"name": "b"}}],
        secrets=[],
    ).to_json()
    assert set(sent) == {"name", "configMaps", "projectedvolumemaps", "secrets"}


def test_unknown_fields_of_a_status_survive() -> None:
    raw = {
        "name": "p",
        "UID": UID,
        "namespace": "ns",
        "JID": "12",
        "containers": [
            {
                "name": "c",
                "state": {"running": {"startedAt": "2026-07-14T10:00:00Z"}},
                "lastState": {},
                "ready": True,
                "restartCount": 0,
                "image": "",
                "imageID": "",
                "allocatedResources": {"cpu": "1"},
            }
        ],
        "initContainers": None,
    }
    status = messages.PodStatus.model_validate(raw)
    assert status.containers[0].state.running is not None
    assert status.to_json()["containers"][0]["allocatedResources"] == {"cpu": "1"}


def test_go_zero_values_of_log_options_mean_unset() -> None:
    request = log_request(
        Tail=0,
        Bytes=0,
        Timestamps=False,
        Follow=True,
        SinceSeconds=0,
        SinceTime="0001-01-01T00:00:00Z",
    )
    assert request.options.since(datetime.now(UTC)) is None
    assert request.options.follow


def test_the_sdk_spelling_of_the_byte_limit_is_accepted() -> None:
    options = log_request(LimitBytes=10).options
    assert options.limit_bytes == 10
    assert options.to_json()["Bytes"] == 10


@pytest.mark.parametrize(
    "options",
    [
        {"Tail": 1, "Bytes": 1},
        {"SinceSeconds": 1, "SinceTime": "2026-07-14T10:00:00Z"},
        {"Tail": -1},
    ],
)
def test_contradicting_log_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        log_request(**options)


@pytest.mark.parametrize("uid", ["", "../../etc", UID.upper(), f"{UID}/x", f"{UID}\n"])
def test_a_log_request_cannot_name_a_path(uid: str) -> None:
    with pytest.raises(ValidationError):
        messages.LogRequest.model_validate(
            {"Namespace": "n", "PodUID": uid, "PodName": "p", "ContainerName": "c"}
        )


def test_pod_views_keep_what_they_do_not_name() -> None:
    raw = {
        "metadata": {"name": "p", "labels": None, "selfLink": "x"},
        "spec": {"containers": [{"name": "c", "tty": True}], "hostIPC": True},
        "status": {"phase": "Running"},
    }
    pod = kubernetes.Pod.model_validate(raw)
    assert pod.phase == "Running"
    assert pod.metadata.labels == {}
    dumped = pod.model_dump(by_alias=True, exclude_unset=True)
    assert dumped["spec"]["hostIPC"] is True
    assert dumped["spec"]["containers"] == [{"name": "c", "tty": True}]
