"""The four programs of a Kubernetes control plane: where they are, and their flags.

Owns building them once from their Go modules (see controlplane/) and the command
line of each. Must not start anything (see cluster.py).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .bootstrap import SetupError, run
from .cache import locked, readable
from .certificates import KeyPair

ETCD = "etcd"
APISERVER = "kube-apiserver"
SCHEDULER = "kube-scheduler"
CONTROLLER_MANAGER = "kube-controller-manager"
NAMES = (ETCD, APISERVER, SCHEDULER, CONTROLLER_MANAGER)

SOURCES = Path(__file__).parent / "controlplane"
LOOPBACK = "127.0.0.1"


def programs(cache: Path) -> dict[str, list[str]]:
    """The argv prefix of each component, built first if need be.

    A directory in ``$KUBEBUILDER_ASSETS`` (the convention of envtest) is taken when
    it has all four. Raises SetupError when they can neither be found nor built.
    """
    assets = Path(os.environ.get("KUBEBUILDER_ASSETS", "/nowhere"))
    if all((assets / name).is_file() for name in NAMES):
        return {name: [str(assets / name)] for name in NAMES}
    program = str(_built(cache))
    return {name: [program, name] for name in NAMES}


def _built(cache: Path) -> Path:
    """The program of the four components, by the digest of what it is made of."""
    sources = sorted(path for path in SOURCES.iterdir() if path.is_file())
    home = readable(cache / "controlplane")
    # Another Go makes another program, but one that is there needs no Go at all.
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources))
    program = home / f"controlplane-{digest.hexdigest()[:16]}"
    if not program.exists():  # else a cache that cannot be written to will do
        with locked(home / "lock"):
            if not program.exists():
                _build(program)
    return program


def _build(program: Path) -> None:
    unfinished = program.with_suffix(".unfinished")
    # kubectl and Helm refuse a server whose version is not that of a release.
    major, minor, patch = _version()
    version = "k8s.io/component-base/version"
    stamps = {
        "gitVersion": f"v{major}.{minor}.{patch}",
        "gitMajor": major,
        "gitMinor": minor,
    }
    flags = [
        "-s",
        "-w",
        *(f"-X {version}.{key}={word}" for key, word in stamps.items()),
    ]
    command = [_go(), "build", "-trimpath", "-ldflags", " ".join(flags)]
    run(
        f"Building the Kubernetes {major}.{minor} control plane (once, some minutes)",
        [[*command, "-o", unfinished, "."]],
        log=program.parent / "build.log",
        cwd=SOURCES,
        env={"CGO_ENABLED": "0"},  # needs no C compiler, and runs on any Linux
    )
    unfinished.chmod(0o755)
    unfinished.rename(program)
    for other in program.parent.glob("controlplane-*"):
        if other != program:
            other.unlink()


def _version() -> tuple[str, ...]:
    """The release of Kubernetes that go.mod requires."""
    required = re.search(
        r"\tk8s\.io/kubernetes v(\d+)\.(\d+)\.(\d+)", (SOURCES / "go.mod").read_text()
    )
    assert required, "go.mod requires k8s.io/kubernetes"
    return required.groups()


def _go() -> str:
    """The go command; raises SetupError unless it can build the control plane."""
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    problem = "there is none on this machine"
    if go:
        asked = subprocess.run(
            [go, "env", "GOVERSION"],
            cwd=SOURCES,
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0:
            return go
        problem = asked.stderr.strip()
    raise SetupError(
        "Go is needed to build the local Kubernetes control plane once, but "
        f"{problem}. Install Go from go.dev (or put etcd, kube-apiserver, "
        "kube-scheduler and kube-controller-manager into one directory and name it in "
        "KUBEBUILDER_ASSETS) and run the same command again."
    )


# --- command lines -----------------------------------------------------------------


@dataclass(frozen=True)
class Files:
    """What the components read: certificates, keys and each one's kubeconfig."""

    authority: Path
    etcd_data: Path
    serving: Mapping[str, KeyPair]
    etcd_client: KeyPair
    kubelet_client: KeyPair
    service_account_key: Path
    kubeconfigs: Mapping[str, Path]


def arguments(
    files: Files, ports: Mapping[str, int], peer_port: int
) -> dict[str, list[str]]:
    """The flags of each component; all of them listen on the loopback only."""
    return {
        ETCD: _etcd(files, ports[ETCD], peer_port),
        APISERVER: _apiserver(files, ports[APISERVER], ports[ETCD]),
        SCHEDULER: _client(files, SCHEDULER, ports[SCHEDULER]),
        CONTROLLER_MANAGER: [
            *_client(files, CONTROLLER_MANAGER, ports[CONTROLLER_MANAGER]),
            f"--service-account-private-key-file={files.service_account_key}",
            f"--root-ca-file={files.authority}",
            "--use-service-account-credentials",
            # At 20 requests a second it would need 5 s to make these accounts.
            "--kube-api-qps=1000",
            "--kube-api-burst=1000",
        ],
    }


def _etcd(files: Files, port: int, peer_port: int) -> list[str]:
    """TLS with client certificates: etcd holds every Secret of the cluster."""
    client, peer = f"https://{LOOPBACK}:{port}", f"https://{LOOPBACK}:{peer_port}"
    return [
        f"--data-dir={files.etcd_data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        *_etcd_tls("", files),
        *_etcd_tls("peer-", files),
        "--enable-grpc-gateway=false",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _etcd_tls(prefix: str, files: Files) -> Sequence[str]:
    return (
        f"--{prefix}cert-file={files.serving[ETCD].certificate}",
        f"--{prefix}key-file={files.serving[ETCD].key}",
        f"--{prefix}trusted-ca-file={files.authority}",
        f"--{prefix}client-cert-auth",
    )


def _apiserver(files: Files, port: int, etcd_port: int) -> list[str]:
    return [
        f"--bind-address={LOOPBACK}",
        f"--advertise-address={LOOPBACK}",
        # The Service "kubernetes" cannot have the loopback as its endpoint.
        "--endpoint-reconciler-type=none",
        *_serving(files, APISERVER, port),
        f"--client-ca-file={files.authority}",
        f"--etcd-servers=https://{LOOPBACK}:{etcd_port}",
        f"--etcd-cafile={files.authority}",
        f"--etcd-certfile={files.etcd_client.certificate}",
        f"--etcd-keyfile={files.etcd_client.key}",
        f"--kubelet-certificate-authority={files.authority}",
        f"--kubelet-client-certificate={files.kubelet_client.certificate}",
        f"--kubelet-client-key={files.kubelet_client.key}",
        "--kubelet-preferred-address-types=InternalIP,Hostname",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={files.service_account_key}",
        f"--service-account-signing-key-file={files.service_account_key}",
    ]


def _client(files: Files, name: str, port: int) -> list[str]:
    """The flags that scheduler and controller manager have in common."""
    return [
        f"--kubeconfig={files.kubeconfigs[name]}",
        f"--authentication-kubeconfig={files.kubeconfigs[name]}",
        f"--authorization-kubeconfig={files.kubeconfigs[name]}",
        "--authentication-skip-lookup",  # there is no aggregation layer to ask about
        f"--bind-address={LOOPBACK}",
        *_serving(files, name, port),
        "--leader-elect=false",
    ]


def _serving(files: Files, name: str, port: int) -> Sequence[str]:
    return (
        f"--secure-port={port}",
        f"--tls-cert-file={files.serving[name].certificate}",
        f"--tls-private-key-file={files.serving[name].key}",
    )
