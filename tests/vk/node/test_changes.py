"""Patches between the Node as it should be and as it is."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON
from interlink_sidecars.api.messages import Ping
from interlink_vk.config import load_node
from interlink_vk.node.changes import status_patch, taint_patch, timed_conditions
from interlink_vk.node.spec import Endpoint, Report, node_document

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HEARTBEAT = 30.0
READY: JSON = {"ready": True, "reason": "SidecarReady", "message": "answers"}


def wanted(seconds: float = 0, taints: list[JSON] | None = None, **facts: Any) -> JSON:
    config = load_node(
        {
            "name": "site-a",
            "backend": "slurm",
            "accelerators": [
                {"resource_type": "xilinx.com/fpga", "model": "u55c", "available": 2}
            ],
        }
    )
    ping = Ping.model_validate({"taints": taints or []})
    observed_at = NOW + timedelta(seconds=seconds)
    known = Report(ping=ping, observed_at=observed_at, **(READY | facts))
    return node_document(config, known, Endpoint("127.0.0.1", 10250, tunnel=True))


@pytest.fixture
def live() -> JSON:
    """The node as the API server has it after it was registered."""
    node = copy.deepcopy(wanted())
    node["metadata"]["resourceVersion"] = "7"
    node["metadata"]["labels"]["added-by"] = "somebody"
    node["status"]["capacity"]["memory"] = "1048576Ki"  # the same as 1Gi
    node["status"]["conditions"] = timed_conditions(node, {}, NOW)
    node["status"]["images"] = []
    return node


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_nothing_changed_is_no_write(live: JSON) -> None:
    assert status_patch(wanted(3), live, later(3), HEARTBEAT) == {}
    assert taint_patch(wanted(3), live) == {}


def test_a_heartbeat_brings_the_inventory_up_to_date(live: JSON) -> None:
    patch = status_patch(wanted(30), live, later(30), HEARTBEAT)
    inventory = json.loads(patch["metadata"]["annotations"][names.INVENTORY])
    assert inventory["observed_at"] == "2026-11-22T12:00:30Z"
    ready = patch["status"]["conditions"][0]
    assert ready["lastHeartbeatTime"] == "2026-11-22T12:00:30Z"
    assert ready["lastTransitionTime"] == "2026-11-22T12:00:00Z"
    assert set(patch["status"]) == {"conditions"}


def test_a_transition_is_written_at_once_and_dated(live: JSON) -> None:
    lost = wanted(5, ready=False, reason="SidecarUnreachable", message="silence")
    patch = status_patch(lost, live, later(5), HEARTBEAT)
    ready, *others = patch["status"]["conditions"]
    assert ready["status"] == "False"
    assert ready["lastTransitionTime"] == "2026-11-22T12:00:05Z"
    assert {item["lastTransitionTime"] for item in others} == {"2026-11-22T12:00:00Z"}
    inventory = json.loads(patch["metadata"]["annotations"][names.INVENTORY])
    assert inventory["status"] == "degraded"
    assert inventory["accelerators"][0]["total"] == 2


def test_a_resource_that_is_gone_is_removed(live: JSON) -> None:
    for key in ("capacity", "allocatable"):
        live["status"][key]["nvidia.com/gpu"] = "2"
    patch = status_patch(wanted(3), live, later(3), HEARTBEAT)
    assert patch["status"]["capacity"]["nvidia.com/gpu"] is None
    assert patch["status"]["allocatable"]["nvidia.com/gpu"] is None


def test_labels_of_ours_go_and_labels_of_others_stay(live: JSON) -> None:
    stale = names.MODEL_LABEL_PREFIX + "a100"
    live["metadata"]["labels"] |= {stale: "nvidia.com_gpu", "nvidia-gpu-type": "a100"}
    patch = status_patch(wanted(3), live, later(3), HEARTBEAT)
    assert patch["metadata"]["labels"] == {stale: None, "nvidia-gpu-type": None}


def test_taints_of_others_stay(live: JSON) -> None:
    cordon = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    live["spec"]["taints"].append(cordon)
    assert taint_patch(wanted(3), live) == {}
    patch = taint_patch(wanted(3, taints=[{"key": "maintenance"}]), live)
    assert cordon in patch["spec"]["taints"]
    assert {taint["key"] for taint in patch["spec"]["taints"]} == {
        cordon["key"],
        names.TAINT,
        "maintenance",
    }
    assert patch["metadata"]["resourceVersion"] == "7"


def test_a_taint_of_ours_goes_again_and_only_that(live: JSON) -> None:
    foreign = {"key": "foreign", "effect": "NoExecute", "timeAdded": "2026-01-01"}
    during = wanted(3, taints=[{"key": "maintenance"}])
    live["spec"]["taints"] = [foreign, *during["spec"]["taints"]]
    live["metadata"]["annotations"] = during["metadata"]["annotations"]
    patch = taint_patch(wanted(6), live)
    assert patch["spec"]["taints"] == [foreign, *wanted(6)["spec"]["taints"]]


def test_our_taint_comes_back(live: JSON) -> None:
    live["spec"]["taints"] = []
    assert taint_patch(wanted(3), live)["spec"]["taints"][0]["key"] == names.TAINT


@pytest.mark.parametrize("record", ["", "not json", "5", '[{"value": "x"}]'])
def test_a_record_of_taints_that_somebody_broke_is_written_again(
    live: JSON, record: str
) -> None:
    good = live["metadata"]["annotations"][names.NODE_TAINTS]
    live["metadata"]["annotations"][names.NODE_TAINTS] = record
    patch = taint_patch(wanted(), live)
    assert patch["metadata"]["annotations"] == {names.NODE_TAINTS: good}
    assert patch["spec"]["taints"] == live["spec"]["taints"]
