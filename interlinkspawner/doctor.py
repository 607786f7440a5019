"""What is wrong with an installation, and what to do about it. Pure.

From the objects that the hub's account can read to findings with a sentence each.
It must not know how they were fetched.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON, Pod

from . import progress
from .inventory import virtual_node
from .language import duration
from .transform import secret_name

RIGHTS = (
    ("nodes", ("get", "list", "watch")),
    ("pods", ("get", "list", "watch", "create", "delete")),
    ("secrets", ("get", "list", "create", "delete")),
    ("events", ("list", "watch")),
)
"""What the hub's account needs, by resource; nodes in the whole cluster."""

_STALE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; ``advice`` is empty when it is ``good``."""

    good: bool
    what: str
    advice: str = ""


def rights(allowed: dict[tuple[str, str], bool], namespace: str) -> Iterator[Finding]:
    """One finding per resource of :data:`RIGHTS`."""
    for resource, verbs in RIGHTS:
        missing = [verb for verb in verbs if not allowed.get((resource, verb))]
        where = "in the cluster" if resource == "nodes" else f"in namespace {namespace}"
        yield Finding(
            not missing,
            f"The account may {', '.join(missing or verbs)} {resource} {where}"
            if not missing
            else f"The account may not {', '.join(missing)} {resource} {where}",
            f"Grant {', '.join(missing)} on {resource}." if missing else "",
        )


def virtual_nodes(documents: Sequence[JSON], now: float) -> Iterator[Finding]:
    """Readiness, taint and age of the inventory of every virtual node."""
    if not documents:
        yield Finding(
            False,
            "There is no virtual node",
            "Start a virtual kubelet (interlink-vk), and see its log.",
        )
    for document in documents:
        node = virtual_node(document)
        if node.ready:
            yield Finding(True, f"Virtual node {node.name} is ready")
        else:
            why = node.message or "it was never ready"
            yield Finding(
                False,
                f"Virtual node {node.name} is not ready: {why}",
                "See the logs of its virtual kubelet and of its sidecar.",
            )
        taints = (document.get("spec") or {}).get("taints") or []
        if names.TAINT not in [taint.get("key") for taint in taints]:
            yield Finding(
                False,
                f"Virtual node {node.name} lacks the taint {names.TAINT}",
                "DaemonSets of the cluster become jobs there: kubectl taint node"
                f" {node.name} {names.TAINT}=true:NoSchedule",
            )
        age = now - node.observed_at.timestamp() if node.observed_at else 0
        if age > _STALE_SECONDS:
            yield Finding(
                False,
                f"The inventory of {node.name} is {duration(age)} old",
                "Its virtual kubelet does not reach the sidecar or has ended.",
            )


def held_pods(pods: Sequence[JSON], nodes: Sequence[JSON]) -> Iterator[Finding]:
    """Deleted pods whose finalizer nobody removes, because their node is away."""
    ready = {found.name for node in nodes if (found := virtual_node(node)).ready}
    for document in pods:
        pod = Pod.model_validate(document)
        held = pod.metadata.deletion_timestamp and (
            names.FINALIZER in pod.metadata.finalizers
        )
        if held and pod.spec.node_name not in ready:
            job = progress.job_id(pod) or "unknown"
            yield Finding(
                False,
                f"Pod {pod.key} is deleted, but its node {pod.spec.node_name or '?'} is"
                f" away and cannot confirm that job {job} has ended",
                "Bring the virtual kubelet back; or make sure at the site that the job"
                f" has ended, then: kubectl -n {pod.metadata.namespace} patch pod"
                f" {pod.metadata.name} --type=merge"
                ' -p \'{"metadata":{"finalizers":null}}\'',
            )


def orphan_secrets(secrets: Sequence[JSON], pods: Sequence[JSON]) -> Iterator[Finding]:
    """Hub tokens of servers that are no more, left by a hub that was killed."""
    wanted = {secret_name(pod["metadata"]["name"]) for pod in pods}
    suffix = secret_name("")
    for document in secrets:
        name = document["metadata"]["name"]
        ours = names.HUB_USERNAME in (document["metadata"].get("annotations") or {})
        if ours and name.endswith(suffix) and name not in wanted:
            yield Finding(
                False,
                f"Secret {name} belongs to no pod",
                "Its token is of no use any more: kubectl -n"
                f" {document['metadata']['namespace']} delete secret {name}",
            )


def findings(
    allowed: dict[tuple[str, str], bool],
    namespace: str,
    nodes: Sequence[JSON],
    pods: Sequence[JSON],
    secrets: Sequence[JSON],
) -> list[Finding]:
    """Everything, in the order in which one would look."""
    return [
        *rights(allowed, namespace),
        *virtual_nodes(nodes, time.time()),
        *held_pods(pods, nodes),
        *orphan_secrets(secrets, pods),
    ]
