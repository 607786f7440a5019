"""The Node document and the inventory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON
from interlink_sidecars.api.messages import Ping
from interlink_vk.config import load_node
from interlink_vk.node import spec
from interlink_vk.node.spec import Endpoint, Report, node_document

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ENDPOINT = Endpoint(address="10.0.0.7", port=10250, tunnel=True)
CONFIG = load_node(
    {
        "name": "site-a-slurm",
        "site": "site-a",
        "backend": "slurm",
        "cpus": "128",
        "memory": "512Gi",
        "pods": 200,
        "labels": {"region": "north"},
        "taints": [{"key": "team", "value": "fpga"}],
        "accelerators": [
            {"resource_type": "nvidia.com/gpu", "model": "A100", "available": 2},
            {"resource_type": "xilinx.com/fpga", "model": "U55C", "available": 9},
        ],
    }
)


def report(ping: JSON, **changes: Any) -> Report:
    facts: JSON = {
        "observed_at": NOW,
        "ready": True,
        "reason": "SidecarReady",
        "message": "the sidecar answers",
    }
    return Report(ping=Ping.model_validate(ping), **(facts | changes))


LIVE: JSON = {
    "status": "ok",
    "backend": "slurm",
    "resources": {
        "cpu": "96",
        "memory": "384Gi",
        "accelerators": [
            {
                "resourceType": "xilinx.com/fpga",
                "model": "U55C",
                "available": "1",
                "total": 2,
                "used": 1,
            }
        ],
    },
    "taints": [{"key": "vendor.io/maintenance", "effect": "NoSchedule"}],
    "queue": {"running": 3, "waiting": 5},
    "observedAt": "2026-11-22T11:59:58Z",
}


@pytest.fixture(autouse=True)
def one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec, "VERSION", "v0-interlink-vk")


def test_node_of_a_site_that_discovers(golden: Callable[[str, Any], None]) -> None:
    golden("vk/node-live.json", node_document(CONFIG, report(LIVE), ENDPOINT))


def test_node_from_settings_alone(golden: Callable[[str, Any], None]) -> None:
    endpoint = Endpoint(address="127.0.0.1", port=10251, tunnel=False)
    lost = report(
        {},
        ready=False,
        reason="SidecarUnreachable",
        message="The sidecar at http://site:4000 does not answer: refused.",
    )
    golden("vk/node-unreachable.json", node_document(CONFIG, lost, endpoint))


def test_queue_depth_is_added_to_what_exists_and_only_there() -> None:
    ping = Ping.model_validate(
        {
            "resources": {
                "cpu": "1500m",
                "accelerators": [
                    {"resourceType": "nvidia.com/gpu", "available": "0"},
                    {"resourceType": "xilinx.com/fpga", "available": "2"},
                ],
            }
        }
    )
    devices = spec.accelerators(CONFIG, ping)
    allocatable = spec.allocatable(CONFIG, ping, devices)
    assert allocatable["xilinx.com/fpga"] == "102"
    assert allocatable["nvidia.com/gpu"] == "0"
    assert allocatable["cpu"] == "151500m"
    assert allocatable["pods"] == "300"


def test_a_stock_plugin_gets_the_one_configured_model() -> None:
    ping = Ping.model_validate(
        {
            "resources": {
                "accelerators": [{"resourceType": "xilinx.com/fpga", "available": "4"}]
            }
        }
    )
    fpga = spec.accelerators(CONFIG, ping)[0]
    assert (fpga.model, fpga.total, fpga.free) == ("u55c", 4, 4)


def test_two_models_of_one_type_each_have_a_label() -> None:
    accelerators = [
        {"resourceType": "nvidia.com/gpu", "model": model, "available": "1"}
        for model in ("a100", "H100 NVL/94GB")
    ]
    ping = Ping.model_validate({"resources": {"accelerators": accelerators}})
    labels = spec.labels(CONFIG, ping, spec.accelerators(CONFIG, ping), tunnel=False)
    assert labels[names.MODEL_LABEL_PREFIX + "a100"] == "nvidia.com_gpu"
    assert labels[names.MODEL_LABEL_PREFIX + "h100-nvl-94gb"] == "nvidia.com_gpu"


def test_own_labels_cannot_be_configured_away() -> None:
    config = CONFIG.model_copy(update={"labels": {"kubernetes.io/hostname": "x"}})
    labels = spec.labels(config, Ping(), [], tunnel=False)
    assert labels["kubernetes.io/hostname"] == "site-a-slurm"


def test_a_degraded_site_stays_ready_and_says_why() -> None:
    degraded = report({"status": "degraded"}, message="slurmctld does not answer")
    inventory = spec.inventory(CONFIG, degraded)
    assert inventory.status == "degraded"
    assert inventory.message == "slurmctld does not answer"
