"""``interlinkspawner plan|inventory|doctor``: what a hub would do, from a terminal.

Reads the hub's own configuration file and asks the Kubernetes API with the same
account. Starts nothing and changes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kubernetes_asyncio.client import ApiException
from kubernetes_asyncio.config import ConfigException
from kubespawner.clients import shared_client
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from interlink_sidecars.api.kubernetes import JSON

from . import doctor, nodes
from .errors import InvalidOptionsError
from .inventory import VirtualNode
from .language import Message, backend_name, duration
from .spawner import InterLinkSpawner


def main(argv: Sequence[str] | None = None) -> None:
    """Console script. Exit code 1: refused, or something is wrong."""
    arguments = _parser().parse_args(argv)
    try:
        code = asyncio.run(arguments.command(arguments))
    except (ConfigException, OSError) as error:
        code = _complain(f"Cannot reach a Kubernetes API: {error}")
    except ApiException as error:
        code = _complain(f"The Kubernetes API refused: {error.status} {error.reason}")
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("interlinkspawner", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "-f", "--config", type=Path, help="the hub's jupyterhub_config.py"
    )
    plan = commands.add_parser(
        "plan", parents=[common], help="print the pod that options would become"
    )
    plan.add_argument(
        "--options", type=json.loads, default={}, help="user_options, JSON"
    )
    plan.add_argument("--user", default="somebody", help="name of the hub's user")
    plan.set_defaults(command=_plan)
    inventory = commands.add_parser(
        "inventory", parents=[common], help="print the sites and what is free"
    )
    inventory.set_defaults(command=_inventory)
    checks = commands.add_parser(
        "doctor", parents=[common], help="say what is wrong, and what to do"
    )
    checks.set_defaults(command=_doctor)
    return parser


async def _plan(arguments: argparse.Namespace) -> int:
    spawner = _spawner(arguments.config, arguments.user)
    spawner.user_options = arguments.options
    try:
        await spawner.load_user_options()
    except InvalidOptionsError as refusal:
        return _complain(refusal.jupyterhub_message)
    pod = await spawner.get_pod_manifest()
    document = spawner.api.api_client.sanitize_for_serialization(pod)
    _say(json.dumps(document, indent=2))
    return 0


async def _inventory(arguments: argparse.Namespace) -> int:
    table = await _spawner(arguments.config).node_watcher.loaded()
    head = ("NODE", "BACKEND", "SITE", "READY", "MODEL", "TOTAL", "USED", "FREE", "AGE")
    rows = [head, *(row for node in table.nodes for row in _rows(node))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        _say("  ".join(cells).rstrip())
    return _complain(Message(table.problem).say("en")) if table.problem else 0


def _rows(node: VirtualNode) -> list[tuple[str, ...]]:
    age = (
        duration(time.time() - node.observed_at.timestamp())
        if node.observed_at
        else "?"
    )
    ready = "yes" if node.ready else "no"
    place = (node.name, backend_name(node.backend) or "?", node.site, ready)
    return [
        (
            *place,
            accelerator.model or accelerator.resource_type,
            str(accelerator.total),
            str(accelerator.used) if node.live else "?",
            str(accelerator.free) if node.live else "?",
            age,
        )
        for accelerator in node.accelerators
    ] or [(*place, "-", "-", "-", "-", age)]


async def _doctor(arguments: argparse.Namespace) -> int:
    spawner = _spawner(arguments.config)
    namespace = spawner.namespace
    allowed = await _allowed(namespace)
    found = doctor.findings(
        allowed,
        namespace,
        (await nodes.list_nodes(spawner.api))[0] if allowed["nodes", "list"] else [],
        await _objects(spawner, "pod") if allowed["pods", "list"] else [],
        await _objects(spawner, "secret") if allowed["secrets", "list"] else [],
    )
    for finding in found:
        _say(f"{'ok ' if finding.good else 'BAD'}  {finding.what}.")
        if finding.advice:
            _say(f"     {finding.advice}")
    return int(not all(finding.good for finding in found))


async def _allowed(namespace: str) -> dict[tuple[str, str], bool]:
    """Ask the API server what this account may do."""
    api = shared_client("AuthorizationV1Api")
    allowed = {}
    for resource, verbs in doctor.RIGHTS:
        for verb in verbs:
            attributes = {"resource": resource, "verb": verb}
            if resource != "nodes":
                attributes["namespace"] = namespace
            review = await api.create_self_subject_access_review(
                {"spec": {"resourceAttributes": attributes}}
            )
            allowed[resource, verb] = bool(review.status.allowed)
    return allowed


async def _objects(spawner: InterLinkSpawner, kind: str) -> list[JSON]:
    """All objects of a kind in the hub's namespace, as raw JSON."""
    list_method = getattr(spawner.api, f"list_namespaced_{kind}")
    response = await list_method(spawner.namespace, _preload_content=False)
    items: list[JSON] = json.loads(await response.read())["items"]
    return items


def _spawner(config_file: Path | None, user: str = "somebody") -> InterLinkSpawner:
    """A spawner with the hub's settings, but without a hub."""
    config = Config()
    if config_file:
        path = config_file.resolve()
        config = PyFileConfigLoader(path.name, path=str(path.parent)).load_config()
    nobody: Any = SimpleNamespace(
        name=user, id=0, escaped_name=user, url=f"/user/{user}/"
    )
    return InterLinkSpawner(config=config, user=nobody, _mock=True)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _complain(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 1
