"""One session: its port, where the hub and its proxy connect, and its tunnel.

It must not know how the port was chosen, nor how a carrier proved itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

from interlink_sidecars.ilt.carrier import Carrier
from interlink_sidecars.ilt.messages import BYE_CLOSED, Bye, Drain
from interlink_sidecars.ilt.mux import HUB, NOTEBOOK
from interlink_sidecars.ilt.session import Session
from interlink_sidecars.ilt.splice import Splice

PROBE_TIMEOUT = 10.0
"""Seconds that a server has to answer a probe."""
_BACKLOG = 1024


class SessionPort:
    """A bound port whose connections go to the notebook server of one pod.

    Args:
        hub_url: the hub's API; the agent's streams reach its host and port only.
        hold: seconds that a connection waits while no carrier is attached.
        on_change: called when a carrier has come or gone.
    """

    def __init__(
        self, *, hub_url: str, hold: float, on_change: Callable[[], None]
    ) -> None:
        url = urlsplit(hub_url)
        if url.hostname is None:
            raise ValueError(f"Gateway.hub_url {hub_url!r} names no host.")
        self._hub = (url.hostname, url.port or (443 if url.scheme == "https" else 80))
        self._session = Session(client=False, on_change=on_change, hold=hold)
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def connected(self) -> bool:
        """Whether an agent is attached."""
        return self._session.connected

    async def bind(self, address: str, port: int) -> None:
        """Listen for the hub and its proxy.

        Raises:
            OSError: the port is not free on this host.
        """
        self._server = await asyncio.get_running_loop().create_server(
            self._session.listener(NOTEBOOK), address, port, backlog=_BACKLOG
        )
        self.port = port

    def attach(self, carrier: Carrier) -> None:
        """Use a welcomed carrier; an older one is told that it is taken over."""
        self._session.attach(carrier, {HUB: self._dial_hub})

    async def answers(self, address: str, path: str) -> bool:
        """Whether ``GET path`` on this port, through the tunnel, is answered 200."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                reader, writer = await asyncio.open_connection(address, self.port)
                try:
                    writer.write(
                        f"GET {path} HTTP/1.1\r\n"
                        f"Host: 127.0.0.1:{self.port}\r\n"
                        "Connection: close\r\n\r\n".encode("ascii")
                    )
                    status = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError):  # the last: an endless line
            return False
        return status.split()[1:2] == [b"200"]

    async def close(self) -> None:
        """The pod is gone: end the port, the tunnel and every connection."""
        await self._end(Bye(BYE_CLOSED, "the pod is gone"))

    async def drain(self) -> None:
        """The gateway stops: the agent shall dial again."""
        await self._end(Drain(0))

    async def _end(self, farewell: Bye | Drain) -> None:
        if self._server is not None:
            self._server.close()
        self._session.close(farewell)
        if self._server is not None:
            await self._server.wait_closed()

    async def _dial_hub(self, factory: Callable[[], Splice]) -> None:
        host, port = self._hub
        await asyncio.get_running_loop().create_connection(factory, host, port)
