# mypy: disable-error-code="explicit-override"
"""One local socket joined to one stream of a tunnel.

Translates between a transport's events and a stream's: bytes, half-close, abort, and
back pressure both ways. It must not know where streams come from or go to.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Callable, Protocol, cast

READ_SIZE = 65536
"""Bytes read from a local socket at once: one frame, below malloc's mmap threshold."""


_LINGER_NOT = struct.pack("ii", 1, 0)


class Streams(Protocol):
    """What a splice needs of the tunnel it belongs to."""

    def joined(self, splice: Splice) -> None:
        """The local socket is connected."""

    def write(self, splice: Splice, data: bytes) -> bool:
        """The local socket sent ``data``; False: read no more until told."""

    def finish(self, splice: Splice) -> None:
        """The local socket will send nothing more."""

    def consumed(self, splice: Splice, size: int) -> None:
        """The local socket has taken ``size`` bytes."""

    def left(self, splice: Splice, *, clean: bool) -> None:
        """The local socket is gone; ``clean`` if both sides had finished."""


class Splice(asyncio.BufferedProtocol):
    """A local socket as an asyncio protocol.

    Args:
        buffer: ``READ_SIZE`` bytes, shared by all splices of one event loop.
        service: index of the service that its stream is for.
        stream: the stream it answers, or None for a connection that asks for one.
        admit: whether a new connection may stay.
    """

    def __init__(
        self,
        streams: Streams,
        buffer: memoryview,
        service: int,
        *,
        stream: int | None = None,
        admit: Callable[[asyncio.BaseTransport], bool] | None = None,
    ) -> None:
        self.service = service
        self.stream = stream
        self._streams = streams
        self._buffer = buffer
        self._admit = admit
        self._transport: asyncio.Transport | None = None
        self._early: list[memoryview] = []
        self._owed = 0  # bytes handed to a transport that is full
        self._full = False
        self._aborted = False
        self._local_end = False
        self._remote_end = False

    # --- the stream's side ----------------------------------------------------------

    def deliver(self, data: memoryview) -> None:
        """Bytes from the stream."""
        if self._transport is None:
            self._early.append(data)
            return
        self._transport.write(data)
        if self._full:
            self._owed += len(data)
        else:
            self._streams.consumed(self, len(data))

    def end(self) -> None:
        """The stream will bring nothing more."""
        self._remote_end = True
        if self._transport is not None and not self._transport.is_closing():
            if self._local_end:
                self._transport.close()
            else:
                self._transport.write_eof()

    def abort(self) -> None:
        """The stream is gone: a reset, lest half an answer passes for a whole one."""
        self._aborted = True
        if self._transport is not None and not self._transport.is_closing():
            local = self._transport.get_extra_info("socket")
            local.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            self._transport.abort()

    def wait(self) -> None:
        """There is no stream yet: read nothing until :meth:`resume`.

        Soon, because asyncio starts reading after ``connection_made``, and before
        Python 3.12 it does so even where that has paused the transport.
        """
        asyncio.get_running_loop().call_soon(self._wait)

    def _wait(self) -> None:
        if self._transport is not None and self.stream is None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._transport is not None:
            self._transport.resume_reading()

    # --- asyncio's side -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=READ_SIZE)
        if self._aborted or (self._admit is not None and not self._admit(transport)):
            self.abort()
            return
        self._streams.joined(self)
        early, self._early = self._early, []
        for data in early:
            self.deliver(data)
        if self._remote_end:
            self.end()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        more = self._streams.write(self, bytes(self._buffer[:nbytes]))
        if not more and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._local_end = True
        self._streams.finish(self)
        if self._remote_end and self._transport is not None:
            self._transport.close()
        return True

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        owed, self._owed = self._owed, 0
        self._streams.consumed(self, owed)

    def connection_lost(self, exc: Exception | None) -> None:
        clean = exc is None and self._local_end and self._remote_end
        self._streams.left(self, clean=clean)
