"""A Node object as the hub sees it: a virtual node and its accelerators.

Pure. Reads our inventory annotation, or what a stock interLink node says
(capacity, model labels, the plugin's ping). It must not know who asks or why;
that a node is unsuitable for a request is decided in ``plan``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from interlink_sidecars.api import names, quantity
from interlink_sidecars.api.errors import InvalidRequestError
from interlink_sidecars.api.inventory import Accelerator, Inventory, QueueLoad
from interlink_sidecars.api.kubernetes import JSON
from interlink_sidecars.api.messages import Ping

from .language import backend_name


@dataclass(frozen=True, slots=True)
class VirtualNode:
    """One place that a pod can be offloaded to.

    ``memory`` is in bytes. ``live`` says whether ``used`` was counted at the site;
    on a stock interLink node only the totals are known. ``message`` is the site's
    or Kubernetes' own word on a node that is not ready or degraded.
    """

    name: str
    backend: str = ""
    site: str = ""
    ready: bool = False
    cordoned: bool = False
    message: str = ""
    tunnel: bool = False
    cpus: int = 0
    memory: int = 0
    accelerators: tuple[Accelerator, ...] = ()
    queue: QueueLoad | None = None
    observed_at: datetime | None = None
    live: bool = False

    @property
    def label(self) -> str:
        """The node as people know it: ``Slurm · leonardo``."""
        parts = (backend_name(self.backend), self.site or self.name)
        return " · ".join(part for part in parts if part)

    def accelerator(self, value: str) -> Accelerator | None:
        """The accelerator with this :func:`accelerator_value`, or None."""
        return next(
            (a for a in self.accelerators if accelerator_value(a) == value), None
        )


def accelerator_value(accelerator: Accelerator) -> str:
    """How form, query and REST name an accelerator: ``xilinx.com/fpga/u55c``."""
    return f"{accelerator.resource_type}/{accelerator.model}".removesuffix("/")


def virtual_node(node: JSON) -> VirtualNode:
    """Read a Node (core/v1). Whatever is malformed reads as absent."""
    metadata = node.get("metadata") or {}
    labels = metadata.get("labels") or {}
    annotations = metadata.get("annotations") or {}
    capacity = (node.get("status") or {}).get("capacity") or {}
    ready, why = _ready(node)
    inventory = _inventory(annotations)
    ping = None if inventory else _ping(annotations)
    if inventory:
        accelerators = tuple(inventory.accelerators)
    else:
        accelerators = _counted(ping) or _declared(capacity, labels)
    return VirtualNode(
        name=metadata.get("name", ""),
        backend=labels.get(names.BACKEND) or (ping.backend if ping else ""),
        site=labels.get(names.SITE) or metadata.get("name", ""),
        ready=ready,
        cordoned=bool((node.get("spec") or {}).get("unschedulable")),
        message=why or (inventory.message if inventory else ""),
        tunnel=labels.get(names.NODE_TUNNEL) == "ilt",
        cpus=_amount(capacity.get("cpu")),
        memory=_amount(capacity.get("memory")),
        accelerators=accelerators,
        queue=inventory.queue if inventory else None,
        observed_at=inventory.observed_at if inventory else None,
        live=bool(inventory or _counted(ping)),
    )


def _ready(node: JSON) -> tuple[bool, str]:
    """The Ready condition: whether, and why not."""
    for condition in (node.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "Ready":
            ready = condition.get("status") == "True"
            return ready, "" if ready else str(condition.get("message") or "")
    return False, ""


def _inventory(annotations: dict[str, str]) -> Inventory | None:
    try:
        return Inventory.model_validate_json(annotations.get(names.INVENTORY, ""))
    except ValidationError:
        return None


def _ping(annotations: dict[str, str]) -> Ping | None:
    try:
        return Ping.model_validate_json(annotations.get(names.PING_RESPONSE, ""))
    except ValidationError:
        return None


def _counted(ping: Ping | None) -> tuple[Accelerator, ...]:
    """Our sidecar behind a stock virtual kubelet: models and counts in its ping."""
    found = ping.resources.accelerators if ping else []
    return tuple(
        Accelerator(
            resource_type=each.resource_type,
            model=each.model.lower(),
            total=max(0, each.total),
            used=max(0, each.used),
        )
        for each in found
        if each.total is not None and each.used is not None
    )


def _declared(
    capacity: dict[str, str], labels: dict[str, str]
) -> tuple[Accelerator, ...]:
    """Extended resources of the node's capacity, with upstream's model labels."""
    return tuple(
        Accelerator(
            resource_type=resource,
            model=labels.get(names.UPSTREAM_MODEL_LABELS.get(resource, ""), "").lower(),
            total=_amount(amount),
        )
        for resource, amount in sorted(capacity.items())
        if "/" in resource and _amount(amount)
    )


def _amount(text: str | None) -> int:
    try:
        return max(0, quantity.ceil(text)) if text is not None else 0
    except InvalidRequestError:
        return 0
