"""From an endpoint's URL to a carrier whose both ends have proven who they are."""

from __future__ import annotations

import asyncio
import platform
import socket
import ssl
from urllib.parse import urlsplit

from .carrier import Carrier
from .errors import ProtocolError
from .handshake import (
    Challenge,
    Document,
    check_welcome,
    decode_document,
    encode_document,
    say_hello,
)
from .messages import MAX_MESSAGE, Ctrl, decode_message
from .sessionfile import SessionFile
from .websocket import client_websocket

CONNECT_TIMEOUT = 10.0
"""Seconds from the first packet to the welcome."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


async def dial(endpoint: str, session: SessionFile) -> Carrier:
    """A welcomed carrier to ``endpoint``.

    Raises:
        OSError, asyncio.TimeoutError: nobody answers.
        TunnelError: who answers is not the gateway, or refuses.
    """
    carrier = await asyncio.wait_for(_connect(endpoint, session), CONNECT_TIMEOUT)
    try:
        await asyncio.wait_for(_introduce(carrier, session), CONNECT_TIMEOUT)
    except BaseException:
        carrier.abort("handshake failed")
        raise
    return carrier


async def _connect(endpoint: str, session: SessionFile) -> Carrier:
    url = urlsplit(endpoint)
    secure = url.scheme == "wss"
    if not url.hostname or url.scheme not in ("ws", "wss"):
        raise ProtocolError(f"{endpoint} is not a ws:// or wss:// URL.")
    websocket = client_websocket(
        url.netloc.rpartition("@")[2],
        url.path or "/",
        private=secure or url.hostname in _LOOPBACK,
        limit=MAX_MESSAGE,
    )
    _, carrier = await asyncio.get_running_loop().create_connection(
        lambda: Carrier(websocket),
        url.hostname,
        url.port or (443 if secure else 80),
        ssl=ssl.create_default_context(cadata=session.ca) if secure else None,
    )
    return carrier


async def _introduce(carrier: Carrier, session: SessionFile) -> None:
    challenge = await _receive_document(carrier)
    if not isinstance(challenge, Challenge):
        raise ProtocolError("The gateway did not begin with a challenge.")
    hello = say_hello(
        challenge,
        sid=session.sid,
        payload=session.payload,
        key=session.key,
        agent=f"Python {platform.python_version()} on {socket.gethostname()}",
    )
    carrier.send(Ctrl(encode_document(hello)).encode())
    answer = await _receive_document(carrier)
    check_welcome(answer, hello, challenge, session.key)


async def _receive_document(carrier: Carrier) -> Document:
    message = decode_message(await carrier.receive())
    if not isinstance(message, Ctrl):
        raise ProtocolError("A message came before the handshake was done.")
    return decode_document(message.body)
