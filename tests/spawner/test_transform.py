"""KubeSpawner's pod and the offloaded one, as golden files."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from interlink_sidecars.api import names
from interlinkspawner import transform
from interlinkspawner.inventory import virtual_node
from interlinkspawner.options import parse
from interlinkspawner.plan import Image, Plan, Policy, plan
from tests.spawner.virtual_nodes import sites

NODES = [virtual_node(each) for each in sites()]
POLICY = Policy(images=(Image(name="lab:1"),))

Z2JH_POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "jupyter-ada",
        "labels": {"component": "singleuser-server", "app": "jupyterhub"},
        "annotations": {"hub.jupyter.org/username": "ada"},
    },
    "spec": {
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {
                                    "key": "hub.jupyter.org/node-purpose",
                                    "operator": "In",
                                    "values": ["user"],
                                }
                            ]
                        }
                    ]
                }
            }
        },
        "automountServiceAccountToken": False,
        "containers": [
            {
                "name": "notebook",
                "image": "lab:1",
                "args": ["jupyterhub-singleuser"],
                "env": [
                    {"name": "JPY_API_TOKEN", "value": "s3cr3t-of-ada"},
                    {"name": "JUPYTERHUB_API_TOKEN", "value": "s3cr3t-of-ada"},
                    {"name": "JUPYTERHUB_USER", "value": "ada"},
                ],
                "ports": [{"containerPort": 8888, "name": "notebook-port"}],
                "resources": {"limits": {"cpu": 1.0, "memory": "2147483648"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "runAsUser": 1000,
                },
                "volumeMounts": [
                    {"mountPath": "/home/jovyan", "name": "volume-ada"},
                    {"mountPath": "/etc/site", "name": "site"},
                ],
            }
        ],
        "initContainers": [
            {
                "name": "block-cloud-metadata",
                "command": ["iptables"],
                "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}},
            },
            {
                "name": "fetch",
                "volumeMounts": [{"mountPath": "/home", "name": "volume-ada"}],
            },
        ],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "restartPolicy": "OnFailure",
        "schedulerName": "jupyterhub-user-scheduler",
        "securityContext": {"fsGroup": 100},
        "tolerations": [
            {
                "effect": "NoSchedule",
                "key": "hub.jupyter.org/dedicated",
                "operator": "Equal",
                "value": "user",
            }
        ],
        "volumes": [
            {"name": "volume-ada", "persistentVolumeClaim": {"claimName": "claim-ada"}},
            {"name": "site", "configMap": {"name": "site"}},
        ],
    },
}


def planned(**document: Any) -> Plan:
    return plan(parse(document), POLICY, NODES)


def test_fpga_on_our_node(golden: Callable[[str, Any], None]) -> None:
    fpga = planned(accelerator="xilinx.com/fpga/u55c", walltime="2h")
    golden("spawner/pod-fpga.json", transform.offload(Z2JH_POD, fpga))


def test_cpu_on_a_stock_node(golden: Callable[[str, Any], None]) -> None:
    pod = transform.offload(Z2JH_POD, planned(backend="stock"))
    golden("spawner/pod-stock.json", pod)
    assert names.TUNNEL not in pod["metadata"]["annotations"]


def test_secret(golden: Callable[[str, Any], None]) -> None:
    golden("spawner/secret.json", transform.secret(Z2JH_POD))


def test_the_stock_pod_is_not_changed() -> None:
    before = copy.deepcopy(Z2JH_POD)
    transform.offload(Z2JH_POD, planned())
    transform.secret(Z2JH_POD)
    assert before == Z2JH_POD


def test_no_token_in_the_pod() -> None:
    assert "s3cr3t" not in str(transform.offload(Z2JH_POD, planned()))


def test_what_stays() -> None:
    spec = transform.offload(Z2JH_POD, planned())["spec"]
    assert spec["securityContext"] == {"fsGroup": 100}
    assert spec["containers"][0]["securityContext"]["runAsUser"] == 1000
    assert [volume["name"] for volume in spec["volumes"]] == ["site"]
    assert [container["name"] for container in spec["initContainers"]] == ["fetch"]
    assert spec["initContainers"][0]["volumeMounts"] == []


def test_a_bare_pod_is_enough() -> None:
    bare = {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "notebook"}]}}
    pod = transform.offload(bare, planned(accelerator="nvidia.com/gpu/a100", count=2))
    limits = pod["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"nvidia.com/gpu": "2"}
