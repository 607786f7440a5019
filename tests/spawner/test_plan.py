"""What may start and where: refusals with a sentence, and the choice of a site."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlinkspawner.inventory import virtual_node
from interlinkspawner.options import OffloadOptions, OptionsError, parse
from interlinkspawner.plan import Image, Policy, choose, plan, request
from tests.spawner.virtual_nodes import accelerator, node, sites

NODES = [virtual_node(each) for each in sites()]
POLICY = Policy(
    images=(
        Image(name="lab:1", display_name="JupyterLab"),
        Image(name="fpga:1", backends=["slurm"]),
    ),
    max_cpus=32,
    max_memory=64 * 2**30,
)


def test_nothing_means_the_defaults() -> None:
    found = plan(parse({}), POLICY, NODES)
    assert found.request.image.name == "lab:1"
    assert found.request.cpus == 1
    assert found.request.memory == 2 * 2**30
    assert found.request.walltime == 120
    assert found.request.count == 0
    assert found.accelerator is None
    assert found.node.name == "hpc"


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"gpus": 1}, "gpus: there is no such option. The options are image, cpus,"),
        ({"cpus": "many"}, "cpus: 'many' is not a whole number"),
        ({"cpus": True}, "cpus: True is not a whole number"),
        ({"cpus": 0}, "cpus: 0 is not a whole number"),
        ({"cpus": 1.5}, "cpus: 1.5 is not a whole number"),
        ({"cpus": [1]}, "cpus: [1] is not a whole number"),
        ({"cpus": 33}, "cpus: 33 is more than the 32 that this hub allows."),
        ({"memory": "lots"}, "memory: 'lots' is not an amount of memory"),
        ({"memory": -1}, "memory: -1 is not an amount of memory"),
        ({"memory": float("nan")}, "memory: nan is not an amount of memory"),
        ({"memory": "65Gi"}, "memory: 65 GiB is more than the 64 GiB"),
        ({"walltime": "-5"}, "walltime: '-5' is not a time"),
        ({"walltime": -5}, "walltime: -5 is not a time"),
        ({"walltime": 0}, "walltime: 0 is not a time"),
        ({"walltime": "9999999d"}, "walltime: '9999999d' is not a time"),
        ({"walltime": "100d"}, "walltime: 100d is more than the 1d"),
        ({"image": "evil:1"}, "image: 'evil:1' is not an image of this hub."),
        ({"image": "lab:1; rm -rf /"}, "image: 'lab:1; rm -rf /' is not an image"),
        ({"image": {"name": "lab:1"}}, "image: {'name': 'lab:1'} is not a text"),
        ({"backend": "$(reboot)"}, "backend: '$(reboot)' is not a site of this hub."),
        ({"backend": None}, "backend: None is not a text"),
        ({"accelerator": "u55c"}, "accelerator: no site has 'u55c'. There is nvidia"),
        (
            {"accelerator": "xilinx.com/fpga/u55c`id`"},
            "accelerator: no site has 'xilinx.com/fpga/u55c`id`'",
        ),
        ({"count": 2}, "count: 2 devices of no accelerator."),
        ({"count": -1, "accelerator": "nvidia.com/gpu/a100"}, "count: -1 is not"),
        (
            {"accelerator": "nvidia.com/gpu/a100", "count": 9},
            "count: no site can run this: Slurm · cnaf",
        ),
        (
            {"accelerator": "nvidia.com/gpu/a100", "count": 3, "backend": "hpc"},
            "count: Slurm · cnaf has only 2 ",
        ),
        (
            {"accelerator": "xilinx.com/fpga/u55c", "backend": "grid"},
            "accelerator: HTCondor · bari has no U55C.",
        ),
        (
            {"backend": "lab"},
            "backend: Local · lab not reachable now: the sidecar",
        ),
        (
            {"image": "fpga:1", "backend": "grid"},
            "image: HTCondor · bari does not have this",
        ),
        ({"cpus": 17, "backend": "stock"}, "cpus: stock has only 16 CPUs."),
        ({"language": "tlh"}, "language: 'tlh' is not a language"),
    ],
)
def test_refusals_name_the_field(document: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OptionsError) as refusal:
        plan(parse(document), POLICY, NODES)
    assert str(refusal.value).startswith(sentence)
    assert str(refusal.value).startswith(refusal.value.field)
    assert refusal.value.message.say("it") != str(refusal.value)


def test_a_long_value_is_shortened_in_the_sentence() -> None:
    with pytest.raises(OptionsError) as refusal:
        plan(parse({"image": "x" * 10_000}), POLICY, NODES)
    assert len(str(refusal.value)) < 200


def test_no_site_at_all() -> None:
    with pytest.raises(OptionsError, match="No site is connected to this hub"):
        plan(parse({}), POLICY, [])


def test_no_site_ready() -> None:
    away = [virtual_node(node("lab", [], ready=False))]
    with pytest.raises(OptionsError, match="No site can take a job at the moment"):
        plan(parse({}), POLICY, away)


def test_all_devices_in_use_is_no_refusal() -> None:
    found = plan(parse({"accelerator": "xilinx.com/fpga/u55c"}), POLICY, NODES)
    assert found.node.name == "hpc"
    assert found.accelerator is not None
    assert found.accelerator.free == 0


def gpus(name: str, total: int, used: int, waiting: int = 0) -> Any:
    a100 = accelerator("nvidia.com/gpu", "a100", total, used)
    return virtual_node(node(name, [a100], waiting=waiting))


@pytest.mark.parametrize(
    ("nodes", "count", "chosen"),
    [
        ([gpus("a", 8, 7), gpus("b", 8, 2)], 1, "b"),
        ([gpus("a", 8, 8, 9), gpus("b", 8, 8, 1)], 1, "b"),
        ([gpus("a", 4, 0), gpus("b", 8, 5)], 4, "a"),
        ([gpus("b", 2, 0), gpus("a", 2, 0)], 1, "a"),
        ([gpus("a", 2, 0), gpus("b", 8, 8)], 3, "b"),
    ],
    ids=["most free", "shortest queue", "enough free", "by name", "enough at all"],
)
def test_automatic(nodes: list[Any], count: int, chosen: str) -> None:
    asked = parse({"accelerator": "nvidia.com/gpu/a100", "count": count})
    found = choose(nodes, request(asked, POLICY))
    assert found is not None
    assert found.name == chosen


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
field_names = st.sampled_from(list(OffloadOptions.model_fields)) | st.text()


@given(st.dictionaries(field_names, json_values))
def test_any_json_is_accepted_or_refused_with_a_sentence(document: Any) -> None:
    try:
        found = plan(parse(document), POLICY, NODES)
    except OptionsError as error:
        refusal = str(error)
        assert ": " in refusal
    else:
        assert found.node.ready
        assert 1 <= found.request.walltime <= POLICY.max_walltime
        assert 1 <= found.request.cpus <= POLICY.max_cpus
