"""The tunnel agent -> into the copy of the pod that goes to the site (pure).

Owns the two volumes, their mounts and the prefix of the command. The stored pod stays
as its user wrote it, and any plugin that writes ConfigMaps and Secrets into a job can
carry the agent. Must not know how the agent or the gateway work.
"""

from __future__ import annotations

import base64
import copy
import json
from typing import Final

from interlink_sidecars.api.kubernetes import JSON
from interlink_sidecars.api.messages import ContainerVolumes, CreateRequest

AGENT_VOLUME: Final = "interlinkspawner-agent"
AGENT_FILE: Final = "agent.py"
SESSION_VOLUME: Final = "interlinkspawner-session"
SESSION_FILE: Final = "session.json"
MOUNTS: Final = {
    AGENT_VOLUME: "/run/interlinkspawner/agent",
    SESSION_VOLUME: "/run/interlinkspawner/session",
}


def inject(request: CreateRequest, agent: str, session: JSON) -> CreateRequest:
    """The request whose first container runs its command below the agent.

    Args:
        agent: source of the one-file agent.
        session: what it needs to reach the gateway, its key included.
    """
    pod = copy.deepcopy(request.pod)
    spec = pod["spec"]
    container = spec["containers"][0]
    namespace = pod["metadata"]["namespace"]
    spec["volumes"] = [
        *(spec.get("volumes") or []),
        {"name": AGENT_VOLUME, "configMap": {"name": AGENT_VOLUME}},
        {
            "name": SESSION_VOLUME,
            "secret": {"secretName": SESSION_VOLUME, "defaultMode": 0o400},
        },
    ]
    container["volumeMounts"] = [
        *(container.get("volumeMounts") or []),
        *(
            {"name": name, "mountPath": path, "readOnly": True}
            for name, path in MOUNTS.items()
        ),
    ]
    # KubeSpawner's command stands in args, so that the image keeps its entrypoint
    key = "command" if container.get("command") else "args"
    container[key] = [*_prefix(), *(container.get(key) or [])]
    entries = [
        _with_objects(entry, namespace, agent, session)
        if entry.name == container["name"]
        else entry
        for entry in request.container
    ]
    return request.model_copy(update={"pod": pod, "container": entries})


def _prefix() -> list[str]:
    return [
        "python3",
        f"{MOUNTS[AGENT_VOLUME]}/{AGENT_FILE}",
        "--session",
        f"{MOUNTS[SESSION_VOLUME]}/{SESSION_FILE}",
        "--",
    ]


def _with_objects(
    entry: ContainerVolumes, namespace: str, agent: str, session: JSON
) -> ContainerVolumes:
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": AGENT_VOLUME, "namespace": namespace},
        "data": {AGENT_FILE: agent},
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SESSION_VOLUME, "namespace": namespace},
        "type": "Opaque",
        "data": {SESSION_FILE: base64.b64encode(json.dumps(session).encode()).decode()},
    }
    return entry.model_copy(
        update={
            "config_maps": [*entry.config_maps, config_map],
            "secrets": [*entry.secrets, secret],
        }
    )
