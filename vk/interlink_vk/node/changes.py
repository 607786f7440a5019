"""The Node as it should be and as it is -> the patches between them (pure).

Owns the rule that a write needs a reason: a change, or a heartbeat that is due. Labels
and taints of others stay as they are. Must not know where either document comes from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON
from interlink_sidecars.api.messages import Taint
from interlink_sidecars.api.quantity import parse

_OWN_LABELS = (names.MODEL_LABEL_PREFIX, "interlinkspawner/")
_OWN_LABEL_KEYS = frozenset(names.UPSTREAM_MODEL_LABELS.values())
_TAINTS = TypeAdapter(list[Taint])


def status_patch(wanted: JSON, live: JSON, now: datetime, heartbeat: float) -> JSON:
    """Strategic merge patch for ``nodes/status``, labels and annotations included.

    Empty where nothing changed and the last heartbeat is younger than ``heartbeat``
    seconds.
    """
    status = _status_changes(wanted["status"], live.get("status") or {})
    labels = _label_changes(wanted, live)
    if not (
        status
        or labels
        or _inventory_changed(wanted, live)
        or _age(live, now) >= heartbeat
    ):
        return {}
    annotation = wanted["metadata"]["annotations"][names.INVENTORY]
    patch: JSON = {
        "metadata": {"annotations": {names.INVENTORY: annotation}},
        "status": {**status, "conditions": timed_conditions(wanted, live, now)},
    }
    if labels:
        patch["metadata"]["labels"] = labels
    return patch


def taint_patch(wanted: JSON, live: JSON) -> JSON:
    """Merge patch for the taints, on the condition that the node is unchanged since.

    Only taints that the virtual kubelet once set are ever removed.
    """
    annotations = (live.get("metadata") or {}).get("annotations") or {}
    previous = {(taint.key, taint.effect) for taint in _taints(annotations)}
    ours = wanted["spec"]["taints"]
    mine = {_taint_id(taint) for taint in ours} | previous
    present = (live.get("spec") or {}).get("taints") or []
    others = [taint for taint in present if _taint_id(taint) not in mine]
    mark = wanted["metadata"]["annotations"][names.NODE_TAINTS]
    recorded = annotations.get(names.NODE_TAINTS) == mark
    if recorded and _comparable(others + ours) == _comparable(present):
        return {}
    return {
        "metadata": {
            "resourceVersion": live["metadata"]["resourceVersion"],
            "annotations": {names.NODE_TAINTS: mark},
        },
        "spec": {"taints": others + ours},
    }


def timed_conditions(wanted: JSON, live: JSON, now: datetime) -> list[JSON]:
    """The conditions with times; a transition keeps its time until the next one."""
    before = {item["type"]: item for item in _conditions(live)}
    timed = []
    for condition in wanted["status"]["conditions"]:
        old = before.get(condition["type"], {})
        same = old.get("status") == condition["status"]
        timed.append(
            {
                **condition,
                "lastHeartbeatTime": timestamp(now),
                "lastTransitionTime": (same and old.get("lastTransitionTime"))
                or timestamp(now),
            }
        )
    return timed


def timestamp(moment: datetime) -> str:
    """A moment as Kubernetes writes it, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _status_changes(wanted: JSON, live: JSON) -> JSON:
    changes: JSON = {}
    for key in ("capacity", "allocatable"):
        resources = live.get(key) or {}
        gone = dict.fromkeys(set(resources) - set(wanted[key]))
        if gone or _exact(wanted[key]) != _exact(resources):
            changes[key] = wanted[key] | gone
    if wanted["addresses"] != live.get("addresses"):
        changes["addresses"] = [{"$patch": "replace"}, *wanted["addresses"]]
    if wanted["daemonEndpoints"] != live.get("daemonEndpoints"):
        changes["daemonEndpoints"] = wanted["daemonEndpoints"]
    info = live.get("nodeInfo") or {}
    if any(info.get(key, "") != value for key, value in wanted["nodeInfo"].items()):
        changes["nodeInfo"] = wanted["nodeInfo"]
    if not _same_conditions(wanted["conditions"], _conditions({"status": live})):
        changes["conditions"] = wanted["conditions"]
    return changes


def _exact(resources: Mapping[str, str]) -> dict[str, Any]:
    """Quantities by value: the API server rewrites ``1024Ki`` to ``1Mi``."""
    return {key: parse(value) for key, value in resources.items()}


def _same_conditions(wanted: list[JSON], live: list[JSON]) -> bool:
    before = {item["type"]: item for item in live}
    return all(
        condition.items() <= before.get(condition["type"], {}).items()
        for condition in wanted
    )


def _label_changes(wanted: JSON, live: JSON) -> dict[str, str | None]:
    """New values, and None for labels of ours that say nothing any more."""
    labels: dict[str, str] = wanted["metadata"]["labels"]
    present: dict[str, str] = (live.get("metadata") or {}).get("labels") or {}
    changed = {k: v for k, v in labels.items() if present.get(k) != v}
    stale = [
        key
        for key in present
        if key not in labels and (key.startswith(_OWN_LABELS) or key in _OWN_LABEL_KEYS)
    ]
    return {**changed, **dict.fromkeys(stale)}


def _inventory_changed(wanted: JSON, live: JSON) -> bool:
    def without_time(node: JSON) -> JSON:
        annotations = (node.get("metadata") or {}).get("annotations") or {}
        try:
            inventory = json.loads(annotations.get(names.INVENTORY, ""))
        except ValueError:
            return {}
        return {k: v for k, v in inventory.items() if k != "observed_at"}

    return without_time(wanted) != without_time(live)


def _age(live: JSON, now: datetime) -> float:
    """Seconds since the last heartbeat."""
    for condition in _conditions(live):
        if condition["type"] == "Ready" and condition.get("lastHeartbeatTime"):
            written = datetime.fromisoformat(condition["lastHeartbeatTime"])
            return (now - written).total_seconds()
    return float("inf")


def _conditions(node: JSON) -> list[JSON]:
    return (node.get("status") or {}).get("conditions") or []


def _taints(annotations: Mapping[str, str]) -> list[Taint]:
    """The recorded taints; none where somebody wrote something else over them."""
    try:
        return _TAINTS.validate_json(annotations.get(names.NODE_TAINTS, "[]"))
    except ValidationError:
        return []


def _taint_id(taint: JSON) -> tuple[str, str]:
    return taint["key"], taint["effect"]


def _comparable(taints: list[JSON]) -> list[tuple[str, str, str]]:
    return sorted((t["key"], t["effect"], t.get("value", "")) for t in taints)
