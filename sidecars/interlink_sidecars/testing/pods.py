"""Pods for tests of backends: one line of bash, and boards of one model."""

from __future__ import annotations

import json
import uuid
from typing import Any, Final

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON
from interlink_sidecars.api.messages import ContainerVolumes, CreateRequest, PodStatus

FPGA: Final = "xilinx.com/fpga"


def make_pod(
    script: str = "true", *, boards: int = 0, image: str = "host", **spec: Any
) -> JSON:
    """A pod with one container ``main`` that runs a line of bash."""
    uid = str(uuid.uuid4())
    container: JSON = {"name": "main", "image": image}
    container["command"] = ["bash", "-c", script]
    annotations = {names.HUB_USERNAME: "alice"}
    if boards:
        wanted = {"resource_type": FPGA, "model": "u55c", "count": boards}
        annotations[names.ACCELERATORS] = json.dumps([wanted])
        container["resources"] = {"limits": {FPGA: str(boards)}}
    return {
        "metadata": {
            "name": f"pod-{uid[:8]}",
            "namespace": "default",
            "uid": uid,
            "annotations": annotations,
        },
        "spec": {"containers": [container], "restartPolicy": "Never", **spec},
    }


def bundle(pod: JSON, **objects: Any) -> CreateRequest:
    """The pod as it is sent, with the same objects for its container ``main``."""
    return CreateRequest(pod=pod, container=[ContainerVolumes(name="main", **objects)])


def exit_code(status: PodStatus, container: int = 0) -> int | None:
    """The exit code of a container, None before its end."""
    ended = status.containers[container].state.terminated
    return None if ended is None else ended.exit_code
