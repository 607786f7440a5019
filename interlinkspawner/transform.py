"""The offload transform: KubeSpawner's pod becomes a pod for a virtual node. Pure.

What only makes sense on a real node of the cluster is taken out (volume claims,
the iptables init container, affinities, the user scheduler), the place and the
accelerators are put in, and the hub's token moves into a Secret, because the pod's
environment travels to the site. It must not know KubeSpawner or where the plan
comes from.
"""

from __future__ import annotations

import copy
import json

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON

from .plan import Plan

TOKEN_VARIABLES = ("JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN")
"""The hub's token in a server's environment; the second is its name of old."""

_INIT_CONTAINER = "block-cloud-metadata"  # z2jh: iptables, needs NET_ADMIN


def offload(pod: JSON, plan: Plan) -> JSON:
    """The pod that goes to ``plan.node``, made from KubeSpawner's.

    Args:
        pod: a v1 Pod as KubeSpawner makes it; it is not changed.
        plan: what was asked and where it goes.
    """
    pod = copy.deepcopy(pod)
    spec = pod["spec"]
    _drop_claims(spec)
    _drop_placement(spec)
    spec["nodeSelector"] = {"kubernetes.io/hostname": plan.node.name}
    spec["tolerations"] = [*spec.get("tolerations", []), *_tolerations(plan)]
    spec["restartPolicy"] = "Never"
    spec["automountServiceAccountToken"] = False
    spec["enableServiceLinks"] = False
    spec["activeDeadlineSeconds"] = plan.request.walltime * 60
    _use_secret(spec, secret_name(pod["metadata"]["name"]))
    if plan.accelerator:
        resources = spec["containers"][0].setdefault("resources", {})
        resource_type = plan.accelerator.resource_type
        resources.setdefault("limits", {})[resource_type] = str(plan.request.count)
    pod["metadata"].setdefault("annotations", {}).update(_annotations(plan))
    return pod


def secret(pod: JSON) -> JSON:
    """The Secret with the hub's token of KubeSpawner's pod, to be made before it."""
    metadata = pod["metadata"]
    environment = {
        variable["name"]: variable.get("value") or ""
        for container in pod["spec"]["containers"]
        for variable in container.get("env", [])
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name(metadata["name"]),
            "labels": metadata.get("labels", {}),
            "annotations": {
                key: value
                for key, value in metadata.get("annotations", {}).items()
                if key in (names.HUB_USERNAME, names.HUB_SERVERNAME)
            },
        },
        "type": "Opaque",
        "stringData": {
            name: environment[name] for name in TOKEN_VARIABLES if name in environment
        },
    }


def secret_name(pod_name: str) -> str:
    """Named after the pod, so that the next start of this server replaces it."""
    return f"{pod_name}-hub-token"


def _drop_claims(spec: JSON) -> None:
    """Volume claims live in the cluster; no site can mount them."""
    volumes = spec.get("volumes") or []
    claims = {v["name"] for v in volumes if v.get("persistentVolumeClaim")}
    spec["volumes"] = [v for v in volumes if v["name"] not in claims]
    for container in [*spec["containers"], *(spec.get("initContainers") or [])]:
        container["volumeMounts"] = [
            mount
            for mount in container.get("volumeMounts") or []
            if mount["name"] not in claims
        ]


def _drop_placement(spec: JSON) -> None:
    """The plan decides the place; what steers pods among real nodes would forbid it."""
    spec["initContainers"] = [
        container
        for container in spec.get("initContainers") or []
        if container["name"] != _INIT_CONTAINER
    ]
    for field in ("affinity", "schedulerName", "topologySpreadConstraints"):
        spec.pop(field, None)


def _tolerations(plan: Plan) -> list[JSON]:
    """The node's taint, a site that is away for a while, and upstream's model taint."""
    tolerations: list[JSON] = [
        {"key": names.TAINT, "operator": "Exists", "effect": "NoSchedule"},
        *(
            {
                "key": f"node.kubernetes.io/{c}",
                "operator": "Exists",
                "effect": "NoExecute",
            }
            for c in ("not-ready", "unreachable")
        ),
    ]
    accelerator = plan.accelerator
    if accelerator and accelerator.resource_type in names.MODEL_TAINTS:
        tolerations.append(
            {
                "key": names.MODEL_TAINTS[accelerator.resource_type],
                "operator": "Equal",
                "value": accelerator.model.upper(),
                "effect": "NoSchedule",
            }
        )
    return tolerations


def _use_secret(spec: JSON, name: str) -> None:
    for container in spec["containers"]:
        container["env"] = [
            {
                "name": variable["name"],
                "valueFrom": {"secretKeyRef": {"name": name, "key": variable["name"]}},
            }
            if variable["name"] in TOKEN_VARIABLES
            else variable
            for variable in container.get("env", [])
        ]


def _annotations(plan: Plan) -> dict[str, str]:
    accelerator = plan.accelerator
    asked = (
        [
            {
                "resource_type": accelerator.resource_type,
                "model": accelerator.model,
                "count": plan.request.count,
            }
        ]
        if accelerator
        else []
    )
    annotations = {names.ACCELERATORS: json.dumps(asked)}
    if plan.node.backend:
        annotations[names.BACKEND] = plan.node.backend
    if plan.node.site:
        annotations[names.SITE] = plan.node.site
    if plan.node.tunnel:
        annotations[names.TUNNEL] = "ilt"
    return annotations
