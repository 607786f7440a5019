"""``interlink-vk``: one process, one virtual node.

Owns the settings of the process, the pieces it is made of, and the order in which they
start and stop. Must not know what any piece does.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from traitlets import Bool, Dict, Enum, TraitError, Unicode, default
from traitlets.config import Application, catch_config_error
from typing_extensions import override

from interlink_sidecars.client import SidecarClient
from interlink_sidecars.ilt.bundle import agent_source

from .config import ConfigError, NodeConfig, load_node, naming
from .gateway import Gateway
from .kube import KubeClient, KubeError
from .kubelet.server import KubeletServer
from .node.controller import NodeController
from .node.lease import Lease
from .node.spec import VERSION, Endpoint
from .pods.controller import PodController
from .pods.tunnel import Tunnel

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0


class VirtualKubelet(Application):
    """Runs the pods of one virtual node as jobs, through one sidecar."""

    name = "interlink-vk"
    description = __doc__
    version = VERSION
    raise_config_file_errors = True
    classes = [KubeletServer, Gateway]  # noqa: RUF012 (traitlets' own way)
    aliases = {  # noqa: RUF012
        "config": "VirtualKubelet.config_file",
        "node-name": "VirtualKubelet.node_name",
        "sidecar-url": "VirtualKubelet.sidecar_url",
        "log-level": "Application.log_level",
    }

    config_file = Unicode(
        help="File with the settings, Python (`c = get_config()`) or JSON."
    ).tag(config=True)
    node = Dict(
        help="""The virtual node: `name`, `site`, `backend`, `cpus`, `memory`, `pods`,
        `accelerators` = `[{"resource_type", "model", "available"}]`, `queue_depth`,
        `architecture`, `labels`, `taints`, intervals in seconds. What the sidecar
        reports wins over cpus, memory, pods and accelerators that stand here."""
    ).tag(config=True)
    node_name = Unicode(help="Name of the node; wins over the one in `node`.").tag(
        config=True
    )
    sidecar_url = Unicode(
        "http://127.0.0.1:4000",
        help="The sidecar: `http://host:port`, `https://host:port` or `unix:///path`.",
    ).tag(config=True)
    sidecar_protocol: Enum[Any] = Enum(
        ["plugin", "api-server"],
        "plugin",
        help="`api-server` where an interLink API server stands before the plugin.",
    ).tag(config=True)
    sidecar_token_file = Unicode(
        help="File with a bearer token for the sidecar, read again at each call."
    ).tag(config=True)
    sidecar_ca_file = Unicode(
        help="PEM file of the authority of an https sidecar; the system's where empty."
    ).tag(config=True)
    delete_node_on_stop = Bool(
        False,
        help="Delete the node at a clean stop; its pods are then removed, too.",
    ).tag(config=True)
    tunnel = Bool(
        True, help="Serve tunnels to the notebook servers in jobs; see `Gateway`."
    ).tag(config=True)

    @default("log_level")
    def _log_level(self) -> int:
        return logging.INFO

    @default("log_format")
    def _log_format(self) -> str:
        return "%(asctime)s %(levelname).1s %(name)s: %(message)s"

    @default("logging_config")
    def _logging_config(self) -> dict[str, Any]:
        """The package's loggers say what the application's says, as loudly."""
        ours = {"level": "DEBUG", "handlers": ["console"], "propagate": False}
        return {"loggers": {"interlink_vk": ours}}

    @override
    @catch_config_error
    def initialize(self, argv: list[str] | None = None) -> None:
        self.parse_command_line(argv)
        if self.config_file:
            path = Path(self.config_file).absolute()
            if not path.exists():
                raise ConfigError(f"There is no configuration file {path}.")
            self._read(path)
            self.parse_command_line(argv)  # which wins over the file

    def _read(self, path: Path) -> None:
        try:
            self.load_config_file(path.name, str(path.parent))
        except Exception as error:  # the file is a program
            raise ConfigError(f"The settings in {path} are wrong: {error}") from error

    @override
    def start(self) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self.run())

    def node_config(self) -> NodeConfig:
        """The validated node.

        Raises:
            ConfigError: with a sentence for each wrong setting.
        """
        document: dict[str, Any] = dict(self.node)
        if self.node_name:
            document["name"] = self.node_name
        return load_node(document)

    def _sidecar_tls(self) -> ssl.SSLContext | None:
        if not self.sidecar_ca_file:
            return None
        with naming("VirtualKubelet.sidecar_ca_file", self.sidecar_ca_file):
            return ssl.create_default_context(cafile=self.sidecar_ca_file)

    async def run(self) -> None:
        """Start everything in order, run until told to stop, stop it in reverse."""
        config = self.node_config()
        _cancel_on_signal()
        _allow_connections()
        async with AsyncExitStack() as stack:
            kube = await KubeClient.from_environment()
            stack.push_async_callback(kube.close)
            sidecar = SidecarClient(
                self.sidecar_url,
                token_file=self.sidecar_token_file or None,
                protocol=self.sidecar_protocol,
                ssl_context=self._sidecar_tls(),
            )
            stack.push_async_callback(sidecar.close)
            gateway = Gateway(parent=self) if self.tunnel else None
            tunnel = Tunnel(gateway, agent_source()) if gateway else None
            pods = PodController(kube, sidecar, config, tunnel)
            node = NodeController(kube, sidecar, config)

            await _persist(pods.restore)  # binds the sessions that agents come back to
            if gateway is not None:
                gateway.on_change = pods.queue.put
                await gateway.start()
                stack.push_async_callback(gateway.stop)
            kubelet = KubeletServer(parent=self)
            port = kubelet.start(config.name, pods.informer, sidecar)
            stack.push_async_callback(kubelet.stop)
            endpoint = Endpoint(kubelet.address, port, tunnel=gateway is not None)
            await _persist(lambda: node.register(endpoint))
            if self.delete_node_on_stop:
                stack.push_async_callback(node.remove)
            log.info("node=%s serves on port %d", config.name, port)

            lease = Lease(kube, config.name, config.lease_seconds)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(node.run(endpoint))
                tasks.create_task(lease.run(lambda: node.uid))
                tasks.create_task(pods.run())


def _cancel_on_signal() -> None:
    """SIGTERM and SIGINT stop the running task wherever it is, also at the start."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def _allow_connections() -> None:
    """Every connection through a tunnel is an open file: take all that we may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _persist(step: Callable[[], Awaitable[None]]) -> None:
    """Try until the API server answers: it may start later than we do."""
    while True:
        try:
            return await step()
        except KubeError as error:
            log.warning("not started yet: %s", error.message)
            await asyncio.sleep(RETRY_SECONDS)


def main() -> None:
    """The console script. What an administrator can put right ends in a sentence."""
    app = VirtualKubelet()
    wrong: Exception | None = None
    try:
        app.initialize(sys.argv[1:])
        app.start()
    except* (KubeError, TraitError, ValueError, OSError) as group:
        wrong = _first(group)
    if wrong is not None:
        sys.exit(f"interlink-vk: {wrong}")


def _first(error: Exception) -> Exception:
    """What went wrong first in a group of tasks."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
