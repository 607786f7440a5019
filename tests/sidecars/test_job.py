"""What a pod asks for, and which pods are refused before anything is built."""

from __future__ import annotations

import json
from typing import Any

import pytest

from interlink_sidecars.api import names
from interlink_sidecars.api.errors import InvalidRequestError
from interlink_sidecars.api.kubernetes import JSON
from interlink_sidecars.job import JobSpec, job_spec, read_pod
from interlink_sidecars.testing import make_pod

GPU = "nvidia.com/gpu"


def container(name: str, **limits: str) -> JSON:
    return {"name": name, "resources": {"limits": limits}}


def spec_of(pod: JSON) -> JobSpec:
    return job_spec(read_pod(pod))


@pytest.mark.parametrize(
    ("containers", "init", "cpus", "memory"),
    [
        ([container("a")], [], 1, 0),
        ([container("a", cpu="500m", memory="1.5Gi")], [], 1, 1610612736),
        ([container("a", cpu="500m"), container("b", cpu="600m")], [], 2, 0),
        ([container("a", cpu="1")], [container("i", cpu="4", memory="1k")], 4, 1000),
        ([container("a", cpu="1e1", memory="128974848")], [], 10, 128974848),
    ],
)
def test_resources_count_as_in_kubernetes(
    containers: list[JSON], init: list[JSON], cpus: int, memory: int
) -> None:
    spec = spec_of(make_pod(containers=containers, initContainers=init))
    assert (spec.cpus, spec.memory) == (cpus, memory)


def test_requests_where_there_is_no_limit() -> None:
    pod = make_pod()
    pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": 3, "memory": "1M"}}
    spec = spec_of(pod)
    assert (spec.cpus, spec.memory) == (3, 1_000_000)


def test_identity_times_and_flags() -> None:
    pod = make_pod(activeDeadlineSeconds=90, terminationGracePeriodSeconds=0)
    pod["metadata"]["annotations"][names.SLURM_FLAGS] = "--qos=x"
    spec = spec_of(pod)
    uid = pod["metadata"]["uid"]
    assert spec.uid == uid
    assert spec.job_name == "il-" + uid.replace("-", "")[:12]
    assert spec.owner == "alice"
    assert (spec.walltime, spec.grace, spec.flags) == (90, 1, "--qos=x")


def test_accelerators_with_and_without_a_model() -> None:
    pod = make_pod(boards=2)
    pod["spec"]["containers"][0]["resources"]["limits"][GPU] = "1"
    found = [(a.resource_type, a.model, a.count) for a in spec_of(pod).accelerators]
    assert found == [("xilinx.com/fpga", "u55c", 2), (GPU, "", 1)]


@pytest.mark.parametrize(
    ("annotation", "complaint"),
    [
        ("{", "not a list"),
        ("[1]", "not a list"),
        (
            '[{"resource_type": "xilinx.com/fpga", "model": "$(id)", "count": 1}]',
            "model",
        ),
        (
            '[{"resource_type": "xilinx.com/fpga", "model": "u55c", "count": 0}]',
            "count",
        ),
        (
            '[{"resource_type": "xilinx.com/fpga", "model": "u55c", "count": 2}]',
            "agree",
        ),
    ],
)
def test_accelerators_that_cannot_be(annotation: str, complaint: str) -> None:
    pod = make_pod(boards=1)
    pod["metadata"]["annotations"][names.ACCELERATORS] = annotation
    with pytest.raises(InvalidRequestError, match=complaint):
        spec_of(pod)


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("metadata.uid", "../../etc", "metadata.uid"),
        ("metadata.uid", "1" * 36 + "\n", "metadata.uid"),
        ("metadata.namespace", "a/b", "metadata.namespace"),
        ("metadata.name", "-x", "metadata.name"),
        ("metadata.name", 7, "pod.metadata.name"),
        ("metadata", "x", "pod.metadata"),
        ("spec.containers", [{"name": "a b"}], "container's name"),
        ("spec.containers", [{"name": "a"}, {"name": "a"}], "two containers"),
        ("spec.containers", [{"image": "x"}], r"pod.spec.containers.0.name"),
        ("spec.containers", [], "no container"),
        ("spec.containers", [{"name": "a"}] * 0, "no container"),
        ("spec.volumes", [{"name": "../x"}], "volume's name"),
        ("spec.activeDeadlineSeconds", -1, "activeDeadlineSeconds"),
        ("spec.activeDeadlineSeconds", 10**12, "activeDeadlineSeconds"),
        ("spec.activeDeadlineSeconds", "soon", "activeDeadlineSeconds"),
        ("spec.initContainers", [{"name": "i", "restartPolicy": "Always"}], "Always"),
        ("spec.containers", [container("a", cpu="-1")], "asks for -1"),
        ("spec.containers", [container("a", memory="lots")], "quantity"),
    ],
)
def test_refused_with_the_field(path: str, value: Any, complaint: str) -> None:
    pod = make_pod()
    part = pod
    *parents, last = path.split(".")
    for parent in parents:
        part = part[parent]
    part[last] = value
    with pytest.raises(InvalidRequestError, match=complaint) as caught:
        spec_of(pod)
    assert caught.value.message.endswith(".")


def test_a_spec_survives_the_disk() -> None:
    spec = spec_of(make_pod(boards=1, activeDeadlineSeconds=3))
    assert JobSpec.model_validate(json.loads(spec.model_dump_json())) == spec
