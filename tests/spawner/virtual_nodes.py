"""Node objects as our virtual kubelet and a stock one register them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from interlink_sidecars.api import names
from interlink_sidecars.api.inventory import Accelerator, Inventory, QueueLoad

OBSERVED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def accelerator(resource_type: str, model: str, total: int, used: int) -> Accelerator:
    return Accelerator(resource_type=resource_type, model=model, total=total, used=used)


def node(
    name: str,
    accelerators: list[Accelerator],
    *,
    backend: str = "slurm",
    site: str = "",
    waiting: int = 0,
    ready: bool = True,
) -> dict[str, Any]:
    """A node as our virtual kubelet registers it."""
    inventory = Inventory(
        observed_at=OBSERVED,
        backend=backend,
        site=site or name,
        accelerators=accelerators,
        queue=QueueLoad(running=3, waiting=waiting),
    )
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                names.VIRTUAL_NODE_LABEL: names.VIRTUAL_NODE_VALUE,
                names.BACKEND: backend,
                names.SITE: site or name,
                names.NODE_TUNNEL: "ilt",
                "kubernetes.io/hostname": name,
            },
            "annotations": {names.INVENTORY: inventory.model_dump_json()},
        },
        "spec": {},
        "status": {
            "capacity": {"cpu": "64", "memory": "256Gi", "pods": "100"},
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if ready else "False",
                    "message": "" if ready else "the sidecar does not answer",
                }
            ],
        },
    }


def stock_node() -> dict[str, Any]:
    """A node of a stock interLink virtual kubelet: totals and a model label."""
    return {
        "metadata": {
            "name": "stock",
            "labels": {
                names.VIRTUAL_NODE_LABEL: names.VIRTUAL_NODE_VALUE,
                "nvidia-gpu-type": "T4",
            },
            "annotations": {names.PING_RESPONSE: '{"status": "ok"}'},
        },
        "status": {
            "capacity": {"cpu": "16", "memory": "64Gi", "nvidia.com/gpu": "4"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def sites() -> list[dict[str, Any]]:
    """Three sites of ours, one of them away, and a stock one."""
    return [
        node(
            "hpc",
            [
                accelerator("nvidia.com/gpu", "a100", 2, 1),
                accelerator("xilinx.com/fpga", "u55c", 2, 2),
            ],
            site="cnaf",
            waiting=5,
        ),
        node(
            "grid",
            [accelerator("nvidia.com/gpu", "a100", 8, 1)],
            backend="htcondor",
            site="bari",
            waiting=112,
        ),
        node(
            "lab",
            [accelerator("xilinx.com/fpga", "u250", 1, 0)],
            backend="local",
            ready=False,
        ),
        stock_node(),
    ]
