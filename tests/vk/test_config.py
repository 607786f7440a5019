"""What an administrator may write, and what he is told otherwise."""

from __future__ import annotations

import pytest

from interlink_vk.config import ConfigError, load_node


def test_a_name_is_enough() -> None:
    node = load_node({"name": "site-a"})
    assert (node.name, node.queue_depth, node.status_interval) == ("site-a", 100, 2.0)


def test_numbers_are_quantities_and_models_lower_case() -> None:
    node = load_node(
        {
            "name": "site-a",
            "cpus": 64,
            "memory": "256Gi",
            "accelerators": [
                {"resource_type": "xilinx.com/fpga", "model": "U55C", "available": 2}
            ],
        }
    )
    assert node.cpus == "64"
    assert node.accelerators[0].model == "u55c"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"name": "Site A"}, ["node.name", "'Site A'"]),
        ({"cpus": "lots"}, ["node.cpus", "'lots'", "quantity"]),
        ({"cpus": -1}, ["node.cpus", "-1", "negative"]),
        ({"memory": "-2Gi"}, ["node.memory", "-2Gi", "negative"]),
        ({"queue_depth": -1}, ["node.queue_depth", "-1"]),
        ({"qeue_depth": 1}, ["node.qeue_depth", "Extra inputs"]),
        ({"ping_interval": 0}, ["node.ping_interval", "0"]),
        ({"site": "two words"}, ["node.site", "'two words'"]),
        ({"labels": {"a": "b c"}}, ["node.labels", "'b c'"]),
        (
            {"accelerators": [{"resource_type": "fpga", "available": 1}]},
            ["node.accelerators.0.resource_type", "'fpga'"],
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(
    setting: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_node({"name": "site-a", **setting})
    for word in words:
        assert word in str(refused.value)


def test_every_wrong_setting_is_named() -> None:
    with pytest.raises(ConfigError) as refused:
        load_node({"name": "", "pods": "many"})
    assert "node.name" in str(refused.value)
    assert "node.pods" in str(refused.value)
