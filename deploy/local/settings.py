"""What the demo's programs are told: their configuration documents, as pure functions.

Owns the values that a demo needs and nothing else sets: loopback addresses, short
intervals, accelerators that do not exist. Must not write files nor start anything.
"""

from __future__ import annotations

import pprint
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .certificates import KeyPair

IMAGE = "interlinkspawner/notebook:demo"
SITE = "demo"
IMAGES = [{"name": IMAGE, "display_name": "JupyterLab"}]
ACCELERATORS = [
    {"resource_type": "nvidia.com/gpu", "model": "a100", "total": 2},
    {"resource_type": "xilinx.com/fpga", "model": "u55c", "total": 2},
]
SECONDS = 2.0
# Neither among the ports that processes.py gives nor among the kernel's own.
SESSION_PORTS = {"local": (10000, 14999), "slurm": (15000, 19999)}


def python_config(settings: Mapping[str, Any]) -> str:
    """A traitlets configuration file from values by ``Class.trait``."""
    lines = ["c = get_config()"]
    lines += [f"c.{name} = {pprint.pformat(settings[name])}" for name in settings]
    return "\n".join(lines) + "\n"


def sidecar(notebook: Path, workspace: Path) -> dict[str, Any]:
    """The site's settings: the image is an environment, jobs are plain processes."""
    return {
        "ProcessRuntime.images": {IMAGE: str(notebook)},
        "ProcessRuntime.workspace": f"{workspace}/{{user}}",
        # The demo's users share one account of this machine, and nothing else.
        "ProcessRuntime.allow_shared_account": True,
        "LocalBackend.accelerators": ACCELERATORS,
        "Engine.poll_interval": SECONDS,
        "Engine.inventory_interval": SECONDS,
        "Engine.settle_seconds": 10.0,
    }


@dataclass(frozen=True)
class VirtualNode:
    """Where the virtual kubelet of one backend listens and whom it trusts."""

    backend: str
    sidecar_url: str
    hub_url: str
    kubelet_port: int
    gateway_port: int
    gateway_key: Path
    serving: KeyPair
    client_ca: Path | None


def virtual_kubelet(node: VirtualNode) -> dict[str, Any]:
    """The settings of one virtual node, named after its backend."""
    return {
        "VirtualKubelet.node": {
            "name": node.backend,
            "site": SITE,
            "backend": node.backend,
            "ping_interval": SECONDS,
            "status_interval": SECONDS,
        },
        "VirtualKubelet.sidecar_url": node.sidecar_url,
        "KubeletServer.port": node.kubelet_port,
        "KubeletServer.cert_file": str(node.serving.certificate),
        "KubeletServer.key_file": str(node.serving.key),
        "KubeletServer.client_ca_file": str(node.client_ca or ""),
        "Gateway.listen_port": node.gateway_port,
        "Gateway.ports": SESSION_PORTS[node.backend],
        "Gateway.key_file": str(node.gateway_key),
        "Gateway.hub_url": node.hub_url,
    }
