"""Findings and advice, from objects as a cluster has them."""

from __future__ import annotations

from typing import Any

from interlink_sidecars.api import names
from interlinkspawner import doctor
from tests.spawner.virtual_nodes import OBSERVED, node

NOW = OBSERVED.timestamp()
ALL = {(resource, verb): True for resource, verbs in doctor.RIGHTS for verb in verbs}


def healthy(name: str = "hpc", *, ready: bool = True) -> dict[str, Any]:
    document = node(name, [], ready=ready)
    document["spec"]["taints"] = [{"key": names.TAINT, "effect": "NoSchedule"}]
    return document


def pod(node_name: str = "hpc", **metadata: Any) -> dict[str, Any]:
    metadata = {"name": "jupyter-ada", "namespace": "hub", **metadata}
    return {"metadata": metadata, "spec": {"nodeName": node_name}, "status": {}}


DELETED = {
    "deletionTimestamp": "2026-03-01T12:00:00Z",
    "finalizers": [names.FINALIZER],
    "annotations": {names.JOB_ID: "4242"},
}


def test_all_is_well() -> None:
    found = [
        *doctor.rights(ALL, "hub"),
        *doctor.virtual_nodes([healthy()], NOW),
        *doctor.held_pods([pod(**DELETED), pod()], [healthy()]),
    ]
    assert len(found) == 5
    assert all(finding.good and not finding.advice for finding in found)


def test_a_missing_right_is_named() -> None:
    found = list(doctor.rights({**ALL, ("nodes", "watch"): False}, "hub"))
    assert [finding.what for finding in found if not finding.good] == [
        "The account may not watch nodes in the cluster"
    ]


def test_no_node() -> None:
    (found,) = doctor.virtual_nodes([], NOW)
    assert not found.good


def test_a_node_that_is_away_untainted_and_silent() -> None:
    found = list(doctor.virtual_nodes([node("hpc", [], ready=False)], NOW + 3600))
    assert [finding.what for finding in found] == [
        "Virtual node hpc is not ready: the sidecar does not answer",
        f"Virtual node hpc lacks the taint {names.TAINT}",
        "The inventory of hpc is 1 h old",
    ]


def test_a_pod_held_by_a_node_that_is_away() -> None:
    (found,) = doctor.held_pods([pod(**DELETED)], [healthy(ready=False)])
    assert "job 4242" in found.what
    assert "kubectl -n hub patch pod jupyter-ada" in found.advice
    (found,) = doctor.held_pods([pod("removed", **DELETED)], [healthy()])
    assert "node removed is away" in found.what


def test_a_secret_without_its_pod() -> None:
    def secret(name: str, **annotations: str) -> dict[str, Any]:
        metadata = {"name": f"{name}-hub-token", "namespace": "hub"}
        return {"metadata": {**metadata, "annotations": annotations}}

    secrets = [
        secret("jupyter-ada", **{names.HUB_USERNAME: "ada"}),
        secret("jupyter-bob", **{names.HUB_USERNAME: "bob"}),
        secret("grafana"),
    ]
    (found,) = doctor.orphan_secrets(secrets, [pod()])
    assert found.advice.endswith("kubectl -n hub delete secret jupyter-bob-hub-token")
