# mypy: disable-error-code="explicit-override"
"""One websocket connection between agent and gateway, from TCP to close.

Owns the transport and its back pressure; hands whole messages to whoever has attached.
It must not know what a message means, nor what outlives the connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Callable, cast

from .errors import ProtocolError, TunnelError
from .websocket import WebSocket

_CARRIER_READ = 131072
CLOSE_TIMEOUT = 5.0
"""Seconds that a peer has to take the last bytes of a carrier."""

_WRITE_HIGH, _WRITE_LOW = 262144, 65536
_UNREAD = 16
"""Messages kept for nobody before reading pauses."""


class Carrier(asyncio.BufferedProtocol):
    """A websocket as an asyncio protocol.

    Attributes:
        closed: resolved with the reason, a phrase for the log, once all is over.
        writable: whether :meth:`send` would not pile up bytes.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.writable = True
        self.peer = ""
        self._websocket = websocket
        self._buffer = memoryview(bytearray(_CARRIER_READ))
        self._transport: asyncio.Transport | None = None
        self._unread: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._reason = ""
        self._received: Callable[[bytes], None] = self._keep
        self._writable_again: Callable[[], None] = lambda: None

    # --- for the handshake ----------------------------------------------------------

    async def receive(self) -> bytes:
        """The next message, before anybody has attached.

        Raises:
            TunnelError: the carrier is closed.
        """
        while not self._unread:
            await self._change()
        return self._unread.popleft()

    async def opened(self) -> None:
        """Wait until the websocket is open.

        Raises:
            TunnelError: the carrier is closed.
        """
        while not self._websocket.open:
            await self._change()

    async def _change(self) -> None:
        if self.closed.done():
            raise TunnelError(self.closed.result())
        self._changed.clear()
        await self._changed.wait()

    def attach(
        self, received: Callable[[bytes], None], writable: Callable[[], None]
    ) -> None:
        """Hand every message to ``received``, those that have arrived already first.

        ``received`` may raise :class:`ProtocolError`, which closes the carrier;
        ``writable`` is called when :attr:`writable` becomes true again.
        """
        self._received, self._writable_again = received, writable
        while self._unread and self._received is received:
            self._deliver(self._unread.popleft())
        if self._transport is not None:
            self._transport.resume_reading()

    def detach(self) -> None:
        """Drop what still arrives; nobody is told of anything any more."""
        self._received, self._writable_again = lambda message: None, lambda: None

    # --- bytes out ------------------------------------------------------------------

    def send(self, parts: list[bytes]) -> None:
        """Send one message, given in parts that are joined here, once."""
        if self._transport is not None and self._websocket.open:
            self._transport.write(self._websocket.encode(parts))

    def close(self, reason: str, *, code: int = 1000) -> None:
        """Send what is queued and a Close frame, then close; again does nothing."""
        if self._transport is None or self._transport.is_closing():
            return
        self._reason = self._reason or reason
        self._websocket.close(code, reason)
        self._write_output()
        self._transport.close()
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self._transport.abort)

    def abort(self, reason: str) -> None:
        """Close without waiting for the peer to take anything."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    def _write_output(self) -> None:
        output = self._websocket.output()
        if output and self._transport is not None:
            self._transport.write(output)

    # --- asyncio's side -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH, low=_WRITE_LOW)
        self.peer = str(transport.get_extra_info("peername"))
        if self._reason:
            self._transport.abort()
        self._write_output()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            messages = self._websocket.receive(self._buffer[:nbytes])
        except ProtocolError as error:
            self._write_output()
            self.close(str(error), code=1002)
            return
        self._write_output()
        self._changed.set()
        for message in messages:
            self._deliver(message)
        if self._websocket.closed_by_peer is not None:
            self.close(f"closed by the other side {self._websocket.closed_by_peer!r}")

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._writable_again()

    def connection_lost(self, exc: Exception | None) -> None:
        self.writable = False
        if not self.closed.done():
            self.closed.set_result(self._reason or str(exc or "connection lost"))
        self._changed.set()

    def _deliver(self, message: bytes) -> None:
        try:
            self._received(message)
        except ProtocolError as error:
            self.detach()
            self.close(str(error), code=1002)

    def _keep(self, message: bytes) -> None:
        self._unread.append(message)
        if len(self._unread) >= _UNREAD and self._transport is not None:
            self._transport.pause_reading()
