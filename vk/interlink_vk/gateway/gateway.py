"""The gateway of one virtual kubelet: sessions by pod UID, and their settings.

Runs in the virtual kubelet's event loop. After a restart the virtual kubelet opens the
sessions of its pods first and starts the gateway then, so that every port is bound
again before the first agent is back. Nothing but the key file is kept on disk.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from traitlets import Float, Integer, List, Tuple, Unicode, default
from traitlets.config import LoggingConfigurable

from interlink_sidecars.api.errors import ApiError
from interlink_sidecars.api.kubernetes import JSON, Pod
from interlink_sidecars.api.names import TUNNEL_URL
from interlink_sidecars.ilt.carrier import Carrier
from interlink_sidecars.ilt.credential import Payload, derive_key
from interlink_sidecars.ilt.errors import DeniedError
from interlink_sidecars.ilt.handshake import UNKNOWN
from interlink_sidecars.ilt.mux import HUB, NOTEBOOK
from interlink_sidecars.ilt.sessionfile import SessionFile
from interlink_vk.config import naming

from .carriers import CarrierListener
from .keys import load_keys
from .ports import Ports
from .sessions import SessionPort

HUB_VARIABLES = ("JUPYTERHUB_API_URL", "JUPYTERHUB_ACTIVITY_URL")
"""Environment variables of a notebook server that hold URLs of the hub's API."""


class NoPortError(ApiError):
    """A session cannot have the port it needs."""

    status = 503
    reason = "NoTunnelPort"


class Gateway(LoggingConfigurable):
    """Accepts the agents' carriers and serves one port for each session."""

    listen_address = Unicode(
        "127.0.0.1", help="Address at which agents are accepted."
    ).tag(config=True)

    listen_port = Integer(
        7443, min=0, max=65535, help="Port at which agents are accepted; 0 for any."
    ).tag(config=True)

    path = Unicode("/ilt/connect", help="URL path of the agents' websocket.").tag(
        config=True
    )

    endpoints = List(
        Unicode(),
        help="""ws:// or wss:// URLs that agents dial in turn, as seen from the site.
        Empty: the address and port of this gateway itself.""",
    ).tag(config=True)

    certfile = Unicode(
        "", help="TLS certificate chain (PEM) for agents; empty for plain TCP."
    ).tag(config=True)

    keyfile = Unicode("", help="Private key (PEM) of `certfile`.").tag(config=True)

    cafile = Unicode(
        "",
        help="""Certificate authority (PEM) that agents shall trust instead of their
        system's, e.g. of a self-signed `certfile`.""",
    ).tag(config=True)

    key_file = Unicode(
        help="""File with the key that all session keys are derived from: one line
        of base64url, or two while the key is rotated (new, old). Created if absent.

        Defaults to ``interlink-vk/gateway.key`` in ``$XDG_STATE_HOME``, else in
        ``~/.local/state``.""",
    ).tag(config=True)

    replica = Unicode(
        "gateway-0",
        help="Name of this gateway in tokens; differs between replicas only.",
    ).tag(config=True)

    host = Unicode(
        "127.0.0.1",
        help="""Host in the URLs of sessions, as the hub and its proxy reach it: the
        stable DNS name of this pod in a cluster.""",
    ).tag(config=True)

    session_address = Unicode(
        "", help="Address that session ports are bound to; empty for `host`."
    ).tag(config=True)

    ports = Tuple(
        Integer(min=1, max=65535),
        Integer(min=1, max=65535),
        default_value=(20000, 24999),
        help="First and last port of sessions; each session has one.",
    ).tag(config=True)

    quarantine = Float(
        600,
        min=0,
        help="""Seconds for which the port of an ended session is not used again. A
        stale route of the hub's proxy lives for up to 330 s.""",
    ).tag(config=True)

    hold = Float(
        15,
        min=0,
        help="""Seconds that a connection to a session waits while no agent is
        connected, before it is closed.""",
    ).tag(config=True)

    hub_url = Unicode(
        "http://127.0.0.1:8081",
        help="URL of the hub's API. Agents reach its host and port, and nothing else.",
    ).tag(config=True)

    hello_timeout = Float(
        5, min=0.1, help="Seconds that an agent has to prove who it is."
    ).tag(config=True)

    max_strangers = Integer(
        128, min=1, help="Connections at most that have not proven who they are."
    ).tag(config=True)

    @default("key_file")
    def _key_file(self) -> str:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
        return str(Path(state).absolute() / "interlink-vk" / "gateway.key")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_change: Callable[[str], None] = lambda uid: None
        with naming("Gateway.key_file", self.key_file):
            self._keys = load_keys(Path(self.key_file))
        self._ports = Ports(*self.ports, rest=self.quarantine, clock=time.monotonic)
        self._sessions: dict[str, SessionPort] = {}
        self._binding = asyncio.Lock()
        self._carriers = CarrierListener(
            path=self.path,
            keys=self._keys,
            replica=self.replica,
            find=self._find,
            hello_timeout=self.hello_timeout,
            max_strangers=self.max_strangers,
            log=self.log,
        )

    # --- life -----------------------------------------------------------------------

    async def start(self) -> None:
        """Accept agents. Sessions of old pods should have been opened before.

        Raises:
            ConfigError: the port is taken, or the certificate cannot be read.
        """
        tls = None
        if self.certfile:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            with naming("Gateway.certfile", self.certfile):
                tls.load_cert_chain(self.certfile, self.keyfile or None)
        place = f"{self.listen_address}:{self.listen_port}"
        with naming("Gateway.listen_port", place):
            self.listen_port = await self._carriers.start(
                self.listen_address, self.listen_port, tls
            )
        self.log.info("Accepting agents at %s", ", ".join(self._endpoints()))

    async def stop(self) -> None:
        """Close everything; agents dial again until somebody answers."""
        await self._carriers.stop()
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.drain()

    # --- sessions -------------------------------------------------------------------

    def session_document(self, pod: Pod) -> JSON:
        """``session.json`` of the pod's agent; the same at every call."""
        payload = Payload(
            namespace=pod.metadata.namespace,
            pod=pod.metadata.name,
            uid=pod.uid,
            services=(NOTEBOOK, HUB),
            replica=self.replica,
        ).encode()
        return SessionFile(
            sid=pod.uid,
            payload=payload,
            key=derive_key(self._keys[0], payload),
            endpoints=tuple(self._endpoints()),
            ca=Path(self.cafile).read_text("ascii") if self.cafile else None,
            hub_variables=HUB_VARIABLES,
        ).to_json()

    async def open(self, pod: Pod) -> str:
        """Bind the pod's port and return its URL; again returns the same.

        A pod that has a URL already keeps it.

        Raises:
            NoPortError: that port, or every port, is taken; try again later.
        """
        async with self._binding:
            session = self._sessions.get(pod.uid)
            if session is None:
                session = await self._bind(pod)
                self._sessions[pod.uid] = session
            return f"http://{self.host}:{session.port}"

    async def close(self, uid: str) -> None:
        """End the session and let its port rest; an unknown one is none."""
        async with self._binding:
            session = self._sessions.pop(uid, None)
            if session is not None:
                await session.close()
                self._ports.free(session.port)

    def connected(self, uid: str) -> bool:
        """Whether the pod's agent is connected."""
        session = self._sessions.get(uid)
        return session is not None and session.connected

    async def answers(self, uid: str, path: str) -> bool:
        """Whether the pod's server answers ``GET path`` with 200."""
        session = self._sessions.get(uid)
        return (
            session is not None
            and session.connected
            and await session.answers(self._session_address(), path)
        )

    async def _bind(self, pod: Pod) -> SessionPort:
        session = SessionPort(
            hub_url=self.hub_url,
            hold=self.hold,
            on_change=lambda: self.on_change(pod.uid),
        )
        kept = self._kept_port(pod)
        for port in self._ports.candidates() if kept is None else [kept]:
            try:
                await session.bind(self._session_address(), port)
            except OSError as error:
                self.log.info("Port %d cannot be bound: %s", port, error.strerror)
                continue
            self._ports.take(port)
            self.log.info(
                "Session opened: pod=%s uid=%s port=%d", pod.key, pod.uid, port
            )
            return session
        if kept is not None:
            self._ports.take(kept)  # the pod comes back for it; nobody else may have it
        what = f"Port {kept}" if kept else f"Every port of {self.ports}"
        raise NoPortError(
            f"{what} for the tunnel of pod {pod.key} is taken on {self.host}."
            " Free it, or widen Gateway.ports."
        )

    def _kept_port(self, pod: Pod) -> int | None:
        """The port that the hub knows the pod by, after a restart of ours.

        Anybody may write an annotation: it is no way to a port that rests.
        """
        url = pod.metadata.annotations.get(TUNNEL_URL, "")
        try:
            port = urlsplit(url).port
        except ValueError:
            port = None
        if port is None or port not in self._ports or self._ports.rests(port):
            return None
        return port

    def _find(self, payload: Payload) -> Callable[[Carrier], None]:
        session = self._sessions.get(payload.uid)
        if session is None:
            raise DeniedError(UNKNOWN, "No such session is open here.", 2)
        if session.connected:
            self.log.warning(
                "Another agent takes over: pod=%s/%s uid=%s",
                payload.namespace,
                payload.pod,
                payload.uid,
            )
        return session.attach

    def _session_address(self) -> str:
        return self.session_address or self.host

    def _endpoints(self) -> list[str]:
        scheme = "wss" if self.certfile else "ws"
        own = f"{scheme}://{self.listen_address}:{self.listen_port}{self.path}"
        return list(self.endpoints) or [own]
