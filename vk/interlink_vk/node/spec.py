"""Settings and the sidecar's report -> the Node document and the inventory (pure).

Owns what the node shows: resources, labels, taints, conditions. Must not know what the
cluster holds at the moment; :mod:`.changes` compares the two.

Sources: core/v1 ``Node``; labels, taint and address as in interLink
``pkg/virtualkubelet/virtualkubelet.go``, so that its manifests find this node.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from importlib.metadata import version
from typing import Final

from interlink_sidecars.api import names
from interlink_sidecars.api.inventory import Accelerator, Inventory, QueueLoad
from interlink_sidecars.api.kubernetes import JSON
from interlink_sidecars.api.messages import Ping, PingAccelerator, Taint
from interlink_sidecars.api.quantity import ceil, parse
from interlink_vk.config import NodeConfig

VERSION: Final = f"v{version('interlink-vk')}-interlink-vk"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the API server reaches this kubelet, and whether a tunnel is served."""

    address: str
    port: int
    tunnel: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of the site: its last answer, and whether it still answers."""

    ping: Ping
    observed_at: datetime
    ready: bool
    reason: str
    message: str


def node_document(config: NodeConfig, report: Report, endpoint: Endpoint) -> JSON:
    """The whole Node; conditions carry no times yet."""
    devices = accelerators(config, report.ping)
    applied = [taint.to_json() for taint in taints(config, report.ping)]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": config.name,
            "labels": labels(config, report.ping, devices, endpoint.tunnel),
            "annotations": {
                names.INVENTORY: inventory(config, report).model_dump_json(),
                names.NODE_TAINTS: json.dumps(applied),
            },
        },
        "spec": {"providerID": f"external:///{config.name}", "taints": applied},
        "status": {
            "capacity": capacity(config, report.ping, devices),
            "allocatable": allocatable(config, report.ping, devices),
            "conditions": conditions(report),
            "addresses": [{"type": "InternalIP", "address": endpoint.address}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": endpoint.port}},
            "nodeInfo": _node_info(config, report.ping),
        },
    }


def accelerators(config: NodeConfig, ping: Ping) -> list[Accelerator]:
    """The site's devices: discovered ones win over configured ones of their type."""
    reported = ping.resources.accelerators
    discovered = {item.resource_type for item in reported}
    configured = [
        Accelerator(
            resource_type=item.resource_type, model=item.model, total=item.available
        )
        for item in config.accelerators
        if item.resource_type not in discovered
    ]
    return [_discovered(config, item) for item in reported] + configured


def _discovered(config: NodeConfig, item: PingAccelerator) -> Accelerator:
    """A reported device; a stock plugin names no model, so the settings may."""
    models = {
        known.model
        for known in config.accelerators
        if known.resource_type == item.resource_type
    }
    model = item.model or (models.pop() if len(models) == 1 else "")
    total = item.total if item.total is not None else ceil(item.available)
    return Accelerator(
        resource_type=item.resource_type,
        model=model.lower(),
        total=max(0, total),
        used=max(0, item.used or 0),
    )


def inventory(config: NodeConfig, report: Report) -> Inventory:
    """What the hub's form shows; degraded where the site no longer answers."""
    ping = report.ping
    healthy = report.ready and ping.status == "ok"
    queue = ping.queue.model_dump() if ping.queue else {}
    return Inventory(
        observed_at=ping.observed_at or report.observed_at,
        backend=ping.backend or config.backend,
        site=config.site,
        status="ok" if healthy else "degraded",
        message="" if healthy else report.message,
        accelerators=accelerators(config, ping),
        queue=QueueLoad.model_validate(queue),
    )


def capacity(config: NodeConfig, ping: Ping, devices: list[Accelerator]) -> JSON:
    """What the site has in all."""
    resources = ping.resources
    return {
        "cpu": resources.cpu or config.cpus,
        "memory": resources.memory or config.memory,
        "pods": resources.pods or str(config.pods),
        **{key: str(count) for key, count in _totals(devices).items()},
    }


def allocatable(config: NodeConfig, ping: Ping, devices: list[Accelerator]) -> JSON:
    """What kube-scheduler may give out: more than there is, by the queue depth.

    A waiting pod needs at most all CPUs and all memory of the site, so ``queue_depth``
    such pods find room beside those that run. A type without any device offers none.
    """
    total = capacity(config, ping, devices)
    depth = config.queue_depth
    return {
        "cpu": _cpu(parse(total["cpu"]) * (1 + depth)),
        "memory": f"{math.ceil(parse(total['memory']) * (1 + depth) / 1024)}Ki",
        "pods": str(ceil(total["pods"]) + depth),
        **{
            key: str(count + depth if count else 0)
            for key, count in _totals(devices).items()
        },
    }


def _totals(devices: Iterable[Accelerator]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for device in devices:
        totals[device.resource_type] += device.total
    return totals


def _cpu(cores: Fraction) -> str:
    return str(cores) if cores.denominator == 1 else f"{math.ceil(cores * 1000)}m"


def labels(
    config: NodeConfig, ping: Ping, devices: list[Accelerator], tunnel: bool
) -> dict[str, str]:
    """Labels to select by; those of the settings win over all but our own."""
    own = {
        names.VIRTUAL_NODE_LABEL: names.VIRTUAL_NODE_VALUE,
        "kubernetes.io/hostname": config.name,
        names.BACKEND: ping.backend or config.backend,
        names.SITE: config.site,
        **({names.NODE_TUNNEL: "ilt"} if tunnel else {}),
    }
    models: dict[str, str] = {}
    for device in devices:
        if device.model:
            model = _label(device.model)
            key = names.MODEL_LABEL_PREFIX + model
            models[key] = device.resource_type.replace("/", "_")
            if device.resource_type in names.UPSTREAM_MODEL_LABELS:
                models[names.UPSTREAM_MODEL_LABELS[device.resource_type]] = model
    return {
        "kubernetes.io/os": "virtual-kubelet",
        "kubernetes.io/arch": config.architecture,
        "kubernetes.io/role": "agent",
        "alpha.service-controller.kubernetes.io/exclude-balancer": "true",
        "node.kubernetes.io/exclude-from-external-load-balancers": "true",
        **models,
        **config.labels,
        **{key: value for key, value in own.items() if value},
    }


def _label(text: str) -> str:
    """A model's name as a part of a label: at most 63 characters of the legal ones."""
    return re.sub(r"[^a-z0-9_.-]", "-", text.lower())[:63].strip("-_.")


def taints(config: NodeConfig, ping: Ping) -> list[Taint]:
    """Our own taint, the administrator's, and those that the sidecar asks for."""
    own = Taint(key=names.TAINT, value="true", effect="NoSchedule")
    wanted = [own, *config.taints, *(ping.taints or [])]
    return list({(taint.key, taint.effect): taint for taint in wanted}.values())


def conditions(report: Report) -> list[JSON]:
    """Ready as the site is; a virtual node is never short of memory, disk or pids."""
    ready = {
        "type": "Ready",
        "status": "True" if report.ready else "False",
        "reason": report.reason,
        "message": report.message,
    }
    pressures = [
        {
            "type": kind,
            "status": "False",
            "reason": "VirtualNode",
            "message": "the site takes care of its own machines",
        }
        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")
    ]
    return [ready, *pressures]


def _node_info(config: NodeConfig, ping: Ping) -> JSON:
    return {
        "architecture": config.architecture,
        "operatingSystem": "linux",
        "osImage": f"interLink site {config.site or config.name}",
        "kubeletVersion": VERSION,
        "containerRuntimeVersion": f"interlink://{ping.backend or config.backend}",
        "kernelVersion": "",
        "kubeProxyVersion": "",
        "bootID": "",
        "machineID": "",
        "systemUUID": "",
    }
