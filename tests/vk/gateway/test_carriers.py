"""Strangers at the gateway: none of them harms more than its own connection."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from interlink_sidecars.ilt.carrier import Carrier
from interlink_sidecars.ilt.dial import dial
from interlink_sidecars.ilt.errors import DeniedError, TunnelError
from interlink_sidecars.ilt.handshake import (
    Challenge,
    Deny,
    Resume,
    decode_document,
    encode_document,
)
from interlink_sidecars.ilt.messages import MAX_MESSAGE, Ctrl, decode_message
from interlink_sidecars.ilt.sessionfile import SessionFile
from interlink_sidecars.ilt.upgrade import client_request
from interlink_sidecars.ilt.websocket import client_websocket, encode_websocket_frame
from interlink_vk.gateway import Gateway
from tests.vk.gateway.certificate import self_signed
from tests.vk.gateway.site import pod, until

UPGRADE = client_request("gateway", "/ilt/connect", "dGhlIHNhbXBsZSBub25jZQ==")


def new_gateway(directory: Path, **settings: Any) -> Gateway:
    key_file = str(directory / "gateway.key")
    settings = {"hello_timeout": 0.5, "ports": (22000, 22999), **settings}
    return Gateway(listen_port=0, key_file=key_file, max_strangers=4, **settings)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    gateway = new_gateway(tmp_path)
    await gateway.start()
    await gateway.open(pod())
    yield gateway
    await gateway.stop()


def session(gateway: Gateway, tmp_path: Path, number: int = 1) -> SessionFile:
    path = tmp_path / "session.json"
    path.write_text(json.dumps(gateway.session_document(pod(number))))
    return SessionFile.read(str(path))


async def welcome(gateway: Gateway, tmp_path: Path) -> Carrier:
    file = session(gateway, tmp_path)
    return await dial(file.endpoints[0], file)


async def say(gateway: Gateway, data: bytes) -> bytes:
    """All that the gateway answers to ``data`` until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.listen_port)
    writer.write(data)
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 404 "),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"HTTP/1.1 400 "),
        (UPGRADE[:-2], b""),  # a head that never ends
        (UPGRADE[:-2] + b"X: " + b"x" * 10_000, b""),
        (UPGRADE, b"HTTP/1.1 101 "),  # no hello in time
        (UPGRADE + b"\x00" * 100, b"HTTP/1.1 101 "),
        (UPGRADE + b"\x82\xff" + b"\xff" * 12, b"HTTP/1.1 101 "),
        (
            UPGRADE + encode_websocket_frame(2, [b"\x02" + bytes(100)], bytes(4)) * 99,
            b"HTTP/1.1 101 ",
        ),
        (
            UPGRADE + encode_websocket_frame(2, [b'\x01{"t":"hello"}'], bytes(4)),
            b"HTTP/1.1 101 ",
        ),
    ],
)
async def test_garbage_ends_that_connection_alone(
    gateway: Gateway, tmp_path: Path, data: bytes, answer: bytes
) -> None:
    carrier = await welcome(gateway, tmp_path)
    assert (await say(gateway, data)).startswith(answer)
    assert gateway.connected(pod().uid)
    carrier.close("done")
    await carrier.closed


async def test_strangers_are_few(tmp_path: Path) -> None:
    gateway = new_gateway(tmp_path, hello_timeout=60)
    await gateway.start()
    await gateway.open(pod())
    address = ("127.0.0.1", gateway.listen_port)
    strangers = [await asyncio.open_connection(*address) for _ in range(4)]
    for reader, writer in strangers:
        writer.write(UPGRADE)
        await reader.readuntil(b"challenge")
    assert await say(gateway, UPGRADE) == b"", "the fifth is sent away at once"
    _, first = strangers.pop()
    first.close()
    await until(lambda: admitted(gateway))
    carrier = await welcome(gateway, tmp_path)
    carrier.close("done")
    await carrier.closed
    for _, writer in strangers:
        writer.close()
    await gateway.stop()


async def admitted(gateway: Gateway) -> bool:
    return await say(gateway, b"\r\n\r\n") != b""


async def test_an_unknown_session_is_denied(gateway: Gateway, tmp_path: Path) -> None:
    file = session(gateway, tmp_path, 2)
    with pytest.raises(DeniedError, match="No such session"):
        await dial(file.endpoints[0], file)


async def test_a_resume_is_answered_gone(gateway: Gateway, tmp_path: Path) -> None:
    """An agent of a newer version asks; it shall then say hello."""
    loop = asyncio.get_running_loop()
    websocket = client_websocket(
        "gateway", "/ilt/connect", private=True, limit=MAX_MESSAGE
    )
    _, carrier = await loop.create_connection(
        lambda: Carrier(websocket), "127.0.0.1", gateway.listen_port
    )
    assert isinstance(await document(carrier), Challenge)
    resume = Resume(pod().uid, b"{}", b"n" * 32, 1, 0, b"p" * 32)
    carrier.send(Ctrl(encode_document(resume)).encode())
    denial = await document(carrier)
    assert isinstance(denial, Deny)
    assert denial.code == "gone"
    await carrier.closed


async def document(carrier: Carrier) -> object:
    message = decode_message(await carrier.receive())
    assert isinstance(message, Ctrl)
    return decode_document(message.body)


async def test_a_gateway_without_the_key_is_not_believed(
    gateway: Gateway, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = new_gateway(tmp_path / "other")
    await other.start()
    await other.open(pod())
    file = session(gateway, tmp_path)
    with pytest.raises(DeniedError, match="bad_proof"):
        await dial(session(other, tmp_path).endpoints[0], file)
    await other.stop()


async def test_wss_with_an_authority_of_our_own(tmp_path: Path) -> None:
    certfile, keyfile = self_signed(tmp_path)
    tls = {"certfile": str(certfile), "keyfile": str(keyfile)}
    gateway = new_gateway(tmp_path, **tls, cafile=str(certfile))
    await gateway.start()
    await gateway.open(pod())
    file = session(gateway, tmp_path)
    assert file.endpoints[0].startswith("wss://127.0.0.1:")
    carrier = await dial(file.endpoints[0], file)
    assert gateway.connected(pod().uid)
    carrier.close("done")
    await carrier.closed
    await gateway.stop()
    stranger = new_gateway(tmp_path, **tls)
    await stranger.start()
    mistrusting = session(stranger, tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        await dial(mistrusting.endpoints[0], mistrusting)
    await stranger.stop()


async def test_an_endpoint_of_another_kind_is_refused(
    gateway: Gateway, tmp_path: Path
) -> None:
    with pytest.raises(TunnelError, match=r"not a ws:// or wss:// URL"):
        await dial("http://127.0.0.1:1/", session(gateway, tmp_path))
