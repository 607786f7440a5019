"""Everything at once: cluster, Slurm, sidecars, virtual kubelets, proxy, hub, service.

Owns which program runs with which files, ports and account, and the order in which
they start and stop. Used by the demo and by the end-to-end tests. Must not know how
any of the programs works, nor talk to people.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from . import leftovers, settings
from .cluster import NAMESPACE, Cluster, ClusterError
from .daemon import Daemon
from .environments import Environments
from .processes import (
    Probe,
    Process,
    answering,
    fixed_port,
    free_port,
    hold,
    listening,
    logged,
)
from .site import account
from .slurm import Slurm

HUB_CONFIG = Path(__file__).with_name("jupyterhub_config.py")
STATE_VARIABLE = "INTERLINKSPAWNER_STATE"
"""In the environment of every process: the directory to which it belongs."""
SOCKET = "sidecar.sock"
_DELETE_SECONDS = 40

Report = Callable[[str, float], None]
"""Hears that a part serves, and after how many seconds."""


class Stack:
    """One installation in one directory, on the loopback address of this machine.

    Attributes:
        url: where a browser goes.
        password: what every user name signs in with.
        operator_token: token of the hub's API with rights over users and servers.
        cluster: the Kubernetes API and its kubeconfigs.
        slurm: the Slurm behind the node ``slurm``, None without one.
        components: by name, in the order of their start: ``sidecar-local``,
            ``vk-local``, ``sidecar-slurm``, ``vk-slurm``, ``proxy``, ``hub``,
            ``service``.
    """

    def __init__(
        self,
        directory: Path,
        environments: Environments,
        *,
        slurm: Slurm | None,
        port: int | None = None,
    ) -> None:
        """``port`` is the public one, any free one when None.

        Raises PortBusyError when it is taken.
        """
        if not directory.is_dir():
            directory.mkdir(parents=True)
            directory.chmod(0o755)  # the site's account passes through
        self.directory = directory
        self.slurm = slurm
        self._environments = environments
        self._lock: TextIO | None = None
        self.cluster = Cluster.from_environment(directory / "cluster")
        self.url = _loopback(fixed_port(port) if port else free_port())
        self._hub_url = _loopback(free_port())
        self._proxy_api_url = _loopback(free_port())
        self._service_url = _loopback(free_port())
        self._proxy_token = self._secret("proxy-token")
        self._service_token = self._secret("service-token")
        self.operator_token = self._secret("operator-token")
        self.password = self._secret("password", size=4)
        self._files: dict[Path, str] = {}
        self.components: dict[str, Daemon] = {}
        for backend in ["local", "slurm"] if slurm else ["local"]:
            self._sidecar(backend)
            self._virtual_kubelet(backend)
        self._proxy()
        self._hub()
        self._service()

    async def start(self, report: Report = lambda name, seconds: None) -> None:
        """Start everything until it serves.

        Raises SetupError or ProcessError; then nothing is left running.
        """
        self._lock = hold(
            self.directory / "lock",
            f"An installation already runs in {self.directory}: stop it first.",
        )
        try:
            leftovers.end(self.directory)
            await _timed("cluster", self.cluster.start, report)
            if self.slurm:
                await _timed("Slurm", self.slurm.start, report)
            self._write_files()
            for stage in (("sidecar", "proxy"), ("vk", "hub", "service")):
                await asyncio.gather(
                    *(
                        _timed(name, component.start, report)
                        for name, component in self.components.items()
                        if name.startswith(stage)
                    )
                )
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Delete the pods, wait until their jobs are gone, then stop everything.

        May be called again. What still belongs to the directory is killed.
        """
        for name in ("service", "hub", "proxy"):
            await self.components[name].stop()
        await self._delete_pods()
        for component in reversed(list(self.components.values())):
            await component.stop()
        if self.slurm:
            await self.slurm.stop()
        await self.cluster.stop()
        await asyncio.to_thread(leftovers.end, self.directory)
        if self._lock:
            self._lock.close()

    # --- the components ------------------------------------------------------------

    def _sidecar(self, backend: str) -> None:
        """As the site's account, with nothing of the starter's environment.

        Its socket lies where only that account and root can reach it.
        """
        directory = self.directory / "site" / backend
        config = directory.with_suffix(".py")
        self._files[config] = settings.python_config(
            settings.sidecar(
                self._environments.notebook, self.directory / "site" / "notebooks"
            )
        )
        slurm = self.slurm.env if self.slurm and backend == "slurm" else {}
        self._add(
            f"sidecar-{backend}",
            [
                str(self._environments.site / "bin" / "interlink-sidecar"),
                f"--backend={backend}",
                f"--socket={directory / SOCKET}",
                f"--state-dir={directory}",
                f"--config={config}",
            ],
            logged("listening on"),
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **slurm},
            user=account().pw_name,
        )

    def _virtual_kubelet(self, backend: str) -> None:
        name = f"vk-{backend}"
        config = self.directory / name / "config.py"
        node = settings.VirtualNode(
            backend=backend,
            sidecar_url=f"unix://{self.directory / 'site' / backend / SOCKET}",
            hub_url=f"{self._hub_url}/hub/api",
            kubelet_port=free_port(),
            gateway_port=free_port(),
            gateway_key=config.with_name("gateway.key"),
            serving=self.cluster.serving_certificate("127.0.0.1"),
            client_ca=self.cluster.client_ca,
        )
        self._files[config] = settings.python_config(settings.virtual_kubelet(node))
        self._add(
            name,
            [
                str(self._environments.hub / "bin" / "interlink-vk"),
                f"--config={config}",
            ],
            self._ready(backend, listening(node.kubelet_port)),
            env={**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig("vk"))},
        )

    def _proxy(self) -> None:
        self._add(
            "proxy",
            [
                "node",
                str(self._environments.proxy),
                *("--ip=127.0.0.1", f"--port={_port(self.url)}"),
                *("--api-ip=127.0.0.1", f"--api-port={_port(self._proxy_api_url)}"),
                f"--default-target={self._hub_url}",
                f"--error-target={self._hub_url}/hub/error",
            ],
            listening(_port(self.url)),
            env={**os.environ, "CONFIGPROXY_AUTH_TOKEN": self._proxy_token},
        )

    def _hub(self) -> None:
        directory = self.directory / "hub"
        values = {
            "directory": str(directory),
            "public_url": self.url,
            "hub_url": self._hub_url,
            "proxy_api_url": self._proxy_api_url,
            "proxy_token": self._proxy_token,
            "service_url": self._service_url,
            "service_token": self._service_token,
            "operator_token": self.operator_token,
            "password": self.password,
            "namespace": NAMESPACE,
            "images": settings.IMAGES,
        }
        self._files[directory / "values.json"] = json.dumps(values, indent=2)
        self._add(
            "hub",
            [
                str(self._environments.hub / "bin" / "jupyterhub"),
                f"--config={HUB_CONFIG}",
            ],
            answering(f"{self.url}/hub/health"),
            env={
                **os.environ,
                "KUBECONFIG": str(self.cluster.kubeconfig("hub")),
                "INTERLINKSPAWNER_HUB": str(directory / "values.json"),
            },
        )

    def _service(self) -> None:
        """What the hub would tell a service that it starts itself stands in env."""
        self._add(
            "service",
            [
                str(self._environments.hub / "bin" / "interlinkspawner-service"),
                f"--namespace={NAMESPACE}",
            ],
            listening(_port(self._service_url)),
            env={
                **os.environ,
                "KUBECONFIG": str(self.cluster.kubeconfig("service")),
                "JUPYTERHUB_API_TOKEN": self._service_token,
                "JUPYTERHUB_API_URL": f"{self._hub_url}/hub/api",
                "JUPYTERHUB_BASE_URL": "/",
                "JUPYTERHUB_CLIENT_ID": "service-interlink",
                "JUPYTERHUB_SERVICE_NAME": "interlink",
                "JUPYTERHUB_SERVICE_PREFIX": "/services/interlink/",
                "JUPYTERHUB_SERVICE_URL": self._service_url,
            },
        )

    def _add(
        self,
        name: str,
        argv: Sequence[str],
        probe: Probe,
        *,
        env: Mapping[str, str],
        user: str | None = None,
    ) -> None:
        process = Process(
            name,
            argv,
            self.directory / "logs" / f"{name}.log",
            env={**env, STATE_VARIABLE: str(self.directory)},
            cwd=self.directory,
            user=user,
        )
        self.components[name] = Daemon(process, probe)

    def _ready(self, node: str, served: Probe) -> Probe:
        """The kubelet API is served, and Kubernetes has seen the node Ready."""

        async def probe(process: Process) -> bool:
            if not await served(process):
                return False
            ready = ("wait", "--for=condition=Ready", f"node/{node}", "--timeout=2s")
            with contextlib.suppress(ClusterError):
                await self.cluster.kubectl(*ready)
                return True
            return False

        return probe

    async def _delete_pods(self) -> None:
        """Delete what runs on our nodes; a finalizer holds each until its job ended."""
        deletions = [
            self.cluster.kubectl(
                *("delete", "pods", "--all-namespaces", "--grace-period=1"),
                f"--field-selector=spec.nodeName={name.removeprefix('vk-')}",
                f"--timeout={_DELETE_SECONDS}s",
            )
            for name, component in self.components.items()
            if name.startswith("vk-") and component.running
        ]
        await asyncio.gather(*deletions, return_exceptions=True)

    # --- the files -----------------------------------------------------------------

    def _secret(self, name: str, size: int = 32) -> str:
        """A random word that stays the same in this directory."""
        path = self.directory / "secrets" / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            _write(path, secrets.token_hex(size))
        return path.read_text()

    def _write_files(self) -> None:
        """Write the configurations, and give the site's part to the site's account."""
        for path, text in self._files.items():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _write(path, text)
        site, owner = self.directory / "site", account()
        (site / "notebooks").mkdir(exist_ok=True)
        for path in (site, *site.iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)


async def _timed(
    name: str, start: Callable[[], Awaitable[None]], report: Report
) -> None:
    started = time.monotonic()
    await start()
    report(name, time.monotonic() - started)


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from the first byte on."""
    path.touch(mode=0o600)
    path.write_text(text)


def _loopback(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port, url
    return port
