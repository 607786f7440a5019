"""The part of the JupyterHub chart that turns its values into a hub's configuration.

An imitation of zero-to-jupyterhub-k8s ``jupyterhub/files/hub/jupyterhub_config.py``
(4.x), in its order: KubeSpawner is the spawner class until told otherwise; services
get their name and their token; roles get their name; each class of ``hub.config``
updates its traits, ``JupyterHub.services`` excepted; entries of ``hub.extraConfig`` are
executed in the order of their names. It writes a configuration file rather than
loading one, so that a hub of any version can read it. What the chart takes from its
release (addresses, the proxy, the database, secrets) the tests supply; the names of
Services that only a cluster's DNS knows become an address of theirs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
SERVICE_TOKEN = "token-that-the-chart-makes"

# camelCase values of `hub` and `singleuser`, and the traits that the chart sets
_JUPYTERHUB = {"concurrentSpawnLimit": "concurrent_spawn_limit"}
_SPAWNER = {"consecutiveFailureLimit": "consecutive_failure_limit"}
_KUBESPAWNER = {"startTimeout": "start_timeout"}


def values(*names: str) -> dict[str, Any]:
    """Values files below ``deploy/``, merged as Helm merges them: later ones win."""
    merged: dict[str, Any] = {}
    for name in names:
        merged = _merge(merged, yaml.safe_load((DEPLOY / name).read_text()))
    return merged


def configuration(values: dict[str, Any], service_url: str) -> str:
    """The hub's configuration file, in Python, that follows from chart values.

    Every service of the values is at ``service_url``.
    """
    hub = values["hub"]
    lines = ["c.JupyterHub.spawner_class = 'kubespawner.KubeSpawner'"]
    lines += _traits("JupyterHub", _JUPYTERHUB, hub)
    lines += _traits("Spawner", _SPAWNER, hub)
    lines += _traits("KubeSpawner", _KUBESPAWNER, values.get("singleuser", {}))
    for name, service in hub.get("services", {}).items():
        own = {"url": service_url, "api_token": SERVICE_TOKEN}
        document = {"name": name, **service, **own}
        lines.append(f"c.JupyterHub.services.append({document!r})")
    for name, role in hub.get("loadRoles", {}).items():
        document = {"name": name, **role}
        lines.append(f"c.JupyterHub.load_roles.append({document!r})")
    for name, traits in hub.get("config", {}).items():
        kept = {key: value for key, value in traits.items() if key != "services"}
        lines.append(f"c[{name!r}].update({kept!r})")
    lines += [text for _, text in sorted(hub.get("extraConfig", {}).items())]
    return "\n".join(lines)


def _traits(name: str, traits: dict[str, str], values: dict[str, Any]) -> list[str]:
    return [
        f"c.{name}.{trait} = {values[key]!r}"
        for key, trait in traits.items()
        if values.get(key) is not None
    ]


def _merge(base: Any, over: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return {
        **base,
        **{
            key: _merge(base[key], value) if key in base else value
            for key, value in over.items()
        },
    }
