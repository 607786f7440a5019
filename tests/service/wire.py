"""A TCP connection that a test can cut and mend."""

from __future__ import annotations

import asyncio
import contextlib


class Wire:
    """Carries bytes from a port of its own to one of this machine."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._whole = True
        self._writers: set[asyncio.StreamWriter] = set()

    async def listen(self) -> int:
        """The port to connect to."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self) -> None:
        """Break every connection, and each new one at once."""
        self._whole = False
        for writer in self._writers:
            writer.close()

    def mend(self) -> None:
        """Carry new connections again."""
        self._whole = True

    async def close(self) -> None:
        """Stop listening."""
        self.cut()
        self._server.close()
        await self._server.wait_closed()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.ExitStack() as ends:
            self._hold(writer, ends)
            if not self._whole:
                return
            far_reader, far_writer = await asyncio.open_connection(
                "127.0.0.1", self._target
            )
            self._hold(far_writer, ends)
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    def _hold(self, writer: asyncio.StreamWriter, ends: contextlib.ExitStack) -> None:
        self._writers.add(writer)
        ends.callback(self._writers.discard, writer)
        ends.callback(writer.close)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()
    writer.close()
