"""Streams over a real websocket: half-close, slow readers, resets, hold, takeover."""

from __future__ import annotations

import asyncio
import hashlib
import os

import pytest

from interlink_sidecars.ilt import session
from interlink_sidecars.ilt.frames import SYN, TYPE_WINDOW, encode_header
from interlink_sidecars.ilt.messages import BYE_ENDED, BYE_TAKEN_OVER, Bye, data_parts
from interlink_sidecars.ilt.mux import HUB
from interlink_sidecars.ilt.session import Session
from tests.ilt.ends import close, ends, reset

MIB = 1 << 20
BULK = os.urandom(10 * MIB)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def answer_at_end(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Sends 10 MiB and the request's digest, once the request has ended."""
    request = await reader.read()
    writer.write(BULK + hashlib.sha256(request).digest())
    await writer.drain()
    writer.close()


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """10 MiB to who says ``bulk``; everybody else is echoed."""
    if await reader.readline() == b"bulk\n":
        writer.write(BULK)
        await asyncio.gather(writer.drain(), return_exceptions=True)
        writer.close()
    else:
        await echo(reader, writer)


async def test_half_close_then_ten_mib() -> None:
    async with ends(answer_at_end) as both:
        await both.attach()
        reader, writer = await both.open()
        writer.write(b"question")
        writer.write_eof()
        answer = await reader.read()
        assert answer == BULK + hashlib.sha256(b"question").digest()
        await close(writer)


async def test_transfers_both_ways_at_once_are_byte_exact() -> None:
    async with ends(echo) as both:
        await both.attach()

        async def transfer(number: int) -> None:
            data = bytes([number]) + BULK
            reader, writer = await both.open()
            sending = asyncio.create_task(send(writer, data))
            assert await reader.read() == data
            await sending
            await close(writer)

        async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
            for start in range(0, len(data), 100_000):
                writer.write(data[start : start + 100_000])
                await writer.drain()
            writer.write_eof()

        await asyncio.gather(*map(transfer, range(4)))


async def test_a_slow_reader_does_not_delay_another_stream() -> None:
    async with ends(pour) as both:
        await both.attach()
        slow_reader, slow_writer = await both.open()
        slow_writer.transport.pause_reading()
        slow_writer.write(b"bulk\n")
        reader, writer = await both.open()
        writer.write(b"echo\n")
        for _ in range(50):
            writer.write(b"key\n")
            async with asyncio.timeout(1):
                assert await reader.readline() == b"key\n"
        slow_writer.transport.resume_reading()
        assert await slow_reader.read() == BULK
        await close(writer)
        await close(slow_writer)


async def test_two_hundred_connections_at_once() -> None:
    async with ends(echo) as both:
        await both.attach()

        async def talk(number: int) -> bytes:
            reader, writer = await both.open()
            writer.write(b"%d\n" % number)
            line = await reader.readline()
            await close(writer)
            return line

        lines = await asyncio.gather(*map(talk, range(200)))
        assert lines == [b"%d\n" % number for number in range(200)]


async def test_a_reset_reaches_the_server_and_that_stream_alone() -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline() == b"fragile\n":
            try:
                await reader.read()
            except ConnectionResetError:
                ended.set()
            writer.close()
        else:
            await echo(reader, writer)

    async with ends(serve) as both:
        await both.attach()
        _, fragile = await both.open()
        fragile.write(b"fragile\n")
        reader, writer = await both.open()
        writer.write(b"echo\n" * 2)
        assert await reader.readline() == b"echo\n"
        reset(fragile)
        async with asyncio.timeout(5):
            await ended.wait()
        writer.write(b"alive\n")
        assert await reader.readline() == b"alive\n"
        await close(writer)


async def test_a_server_that_is_not_there_resets_the_client() -> None:
    async with ends(echo) as both:
        await both.attach()
        both._servers[0].close()
        reader, writer = await both.open()
        with pytest.raises(ConnectionError):
            await reader.read()
        await close(writer)


async def test_a_connection_waits_for_a_carrier() -> None:
    async with ends(echo) as both:
        reader, writer = await both.open()
        writer.write(b"early\n")
        await both.attach()
        assert await reader.readline() == b"early\n"
        await close(writer)


async def test_a_connection_does_not_wait_for_ever() -> None:
    async with ends(echo, hold=0.1) as both:
        reader, writer = await both.open()
        with pytest.raises(ConnectionError):
            await reader.read()
        await close(writer)


async def test_a_lost_carrier_ends_its_streams_and_the_next_one_serves() -> None:
    async with ends(echo) as both:
        dialled, _ = await both.attach()
        reader, writer = await both.open()
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        dialled.abort("cut")
        with pytest.raises(ConnectionError):
            await reader.read()
        await close(writer)
        assert both.changes == [True, False]
        await both.attach()
        reader, writer = await both.open()
        writer.write(b"two\n")
        assert await reader.readline() == b"two\n"
        await close(writer)


async def test_a_newer_carrier_takes_over() -> None:
    async with ends(echo) as both:
        old, _ = await both.attach()
        former, both.agent = both.agent, Session(client=True, on_change=lambda: None)
        await both.attach()
        assert "a newer carrier is here" in await old.closed
        assert isinstance(former.farewell, Bye)
        assert former.farewell.code == BYE_TAKEN_OVER
        assert both.gateway.connected
        reader, writer = await both.open()
        writer.write(b"new\n")
        assert await reader.readline() == b"new\n"
        await close(writer)


async def test_after_the_servers_end_nobody_waits() -> None:
    async with ends(echo) as both:
        _, accepted = await both.attach()
        both.agent.close(Bye(BYE_ENDED, "the server has ended"))
        assert "the server has ended" in await accepted.closed
        reader, writer = await both.open()
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(5):
                await reader.read()
        await close(writer)


async def test_a_service_that_is_not_offered_is_reset() -> None:
    """An agent asks the gateway for the hub, which this gateway does not offer."""
    async with ends(echo) as both:
        await both.attach()
        loop = asyncio.get_running_loop()
        hub = await loop.create_server(both.agent.listener(HUB), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*hub.sockets[0].getsockname())
        with pytest.raises(ConnectionError):
            await reader.read()
        await close(writer)
        hub.close()


async def test_a_foreigner_is_not_admitted() -> None:
    async with ends(echo) as both:
        await both.attach()
        listener = both.agent.listener(HUB, admit=lambda transport: False)
        hub = await asyncio.get_running_loop().create_server(listener, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*hub.sockets[0].getsockname())
        with pytest.raises(ConnectionError):
            await reader.read()
        await close(writer)
        hub.close()


@pytest.mark.parametrize(
    "parts",
    [
        [b"\x07unknown"],
        [b"\x01{}"],
        data_parts([encode_header(TYPE_WINDOW, SYN, 3, 0) * 2]),
        data_parts([b"\xff" * 12]),
    ],
)
async def test_a_protocol_error_ends_that_carrier_alone(parts: list[bytes]) -> None:
    async with ends(echo) as both:
        dialled, accepted = await both.attach()
        dialled.send(parts)
        await dialled.closed
        await accepted.closed
        assert not both.gateway.connected
        await both.attach()
        reader, writer = await both.open()
        writer.write(b"again\n")
        assert await reader.readline() == b"again\n"
        await close(writer)


async def test_no_more_connections_are_held_than_can_be_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "BACKLOG", 2)
    async with ends(echo) as both:
        held = [await both.open() for _ in range(2)]
        for _, writer in held:
            writer.write(b"kept\n")
        reader, refused = await both.open()
        with pytest.raises(ConnectionError):
            await reader.read()
        await close(refused)
        await both.attach()
        for reader, writer in held:
            assert await reader.readline() == b"kept\n"
            await close(writer)
