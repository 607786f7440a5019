"""Nodes as the hub reads them: ours, stock interLink ones, and broken ones."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from interlink_sidecars.api import names
from interlinkspawner.inventory import accelerator_value, virtual_node
from tests.spawner.virtual_nodes import OBSERVED, accelerator, node, stock_node


def test_our_node() -> None:
    u55c = accelerator("xilinx.com/fpga", "u55c", 2, 1)
    found = virtual_node(node("hpc", [u55c], site="cnaf", waiting=5))
    assert (found.name, found.backend, found.site) == ("hpc", "slurm", "cnaf")
    assert found.ready
    assert found.tunnel
    assert found.live
    assert found.cpus == 64
    assert found.memory == 256 * 2**30
    assert found.observed_at == OBSERVED
    assert found.queue is not None
    assert found.queue.waiting == 5
    assert found.accelerator("xilinx.com/fpga/u55c") == u55c
    assert found.accelerator("xilinx.com/fpga/u250") is None


def test_stock_node_has_totals_only() -> None:
    found = virtual_node(stock_node())
    assert not found.live
    assert not found.tunnel
    assert found.site == "stock"
    assert [accelerator_value(a) for a in found.accelerators] == ["nvidia.com/gpu/t4"]
    assert found.accelerators[0].total == 4


def test_our_sidecar_behind_a_stock_virtual_kubelet_tells_counts() -> None:
    document = stock_node()
    document["metadata"]["annotations"][names.PING_RESPONSE] = json.dumps(
        {
            "status": "ok",
            "backend": "slurm",
            "resources": {
                "accelerators": [
                    {
                        "resourceType": "nvidia.com/gpu",
                        "available": "4",
                        "model": "T4",
                        "total": 4,
                        "used": 3,
                    }
                ]
            },
        }
    )
    found = virtual_node(document)
    assert found.live
    assert found.backend == "slurm"
    assert [a.free for a in found.accelerators] == [1]


def test_why_a_node_is_not_ready() -> None:
    found = virtual_node(node("lab", [], ready=False))
    assert not found.ready
    assert found.message == "the sidecar does not answer"


def test_cordoned() -> None:
    document = node("hpc", [])
    document["spec"]["unschedulable"] = True
    assert virtual_node(document).cordoned


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(inventory=json_values, ping=json_values)
def test_whatever_an_annotation_holds_a_node_is_read(
    inventory: object, ping: object
) -> None:
    document = stock_node()
    document["metadata"]["annotations"] = {
        names.INVENTORY: json.dumps(inventory),
        names.PING_RESPONSE: json.dumps(ping),
    }
    assert virtual_node(document).name == "stock"


def test_an_empty_node_is_read() -> None:
    assert not virtual_node({}).ready
