"""Two sessions in one event loop, joined by a real websocket on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from interlink_sidecars.ilt.carrier import Carrier
from interlink_sidecars.ilt.messages import BYE_CLOSED, MAX_MESSAGE, Bye
from interlink_sidecars.ilt.mux import NOTEBOOK
from interlink_sidecars.ilt.session import Session
from interlink_sidecars.ilt.websocket import client_websocket, server_websocket

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Ends:
    """An agent's and a gateway's session, and the gateway's local port."""

    def __init__(self, *, hold: float = 15) -> None:
        self.changes: list[bool] = []
        self.agent = Session(client=True, on_change=lambda: None)
        self.gateway = Session(client=False, on_change=self._changed, hold=hold)
        self.port = 0
        self.agent_carrier: Carrier | None = None
        self._service_port = 0
        self._servers: list[asyncio.Server] = []

    def _changed(self) -> None:
        self.changes.append(self.gateway.connected)

    async def start(self, serve: Serve) -> None:
        """Listen for the hub's side; ``serve`` is the notebook server."""
        loop = asyncio.get_running_loop()
        service = await asyncio.start_server(serve, "127.0.0.1", 0)
        front = await loop.create_server(
            self.gateway.listener(NOTEBOOK), "127.0.0.1", 0
        )
        self._service_port = service.sockets[0].getsockname()[1]
        self.port = front.sockets[0].getsockname()[1]
        self._servers = [service, front]

    async def attach(self) -> tuple[Carrier, Carrier]:
        """Join the two with a new carrier: the agent's end of it, the gateway's."""
        loop = asyncio.get_running_loop()
        accepted: list[Carrier] = []

        def accept() -> Carrier:
            accepted.append(Carrier(server_websocket("/c", limit=MAX_MESSAGE)))
            return accepted[0]

        listener = await loop.create_server(accept, "127.0.0.1", 0)
        _, dialled = await loop.create_connection(
            lambda: Carrier(
                client_websocket("gateway", "/c", private=True, limit=MAX_MESSAGE)
            ),
            *listener.sockets[0].getsockname(),
        )
        await dialled.opened()
        listener.close()
        self.gateway.attach(accepted[0], {})
        self.agent.attach(
            dialled,
            {
                NOTEBOOK: lambda factory: loop.create_connection(
                    factory, "127.0.0.1", self._service_port
                )
            },
        )
        return dialled, accepted[0]

    async def open(self) -> Streams:
        """A connection of the hub's side."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for session in (self.gateway, self.agent):
            session.close(Bye(BYE_CLOSED, "the test is over"))
        for server in self._servers:
            await server.wait_closed()


@asynccontextmanager
async def ends(serve: Serve, *, hold: float = 15) -> AsyncIterator[Ends]:
    """Two joined sessions around a notebook server."""
    both = Ends(hold=hold)
    await both.start(serve)
    try:
        yield both
    finally:
        await both.stop()


async def close(writer: asyncio.StreamWriter) -> None:
    """Close a connection for good; what its other end did to it does not matter."""
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with a TCP reset."""
    transport = writer.transport
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    transport.abort()
