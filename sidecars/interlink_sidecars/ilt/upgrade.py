"""The HTTP prelude of a carrier: RFC 6455 §4, both sides, as pure functions.

Only ``GET``, version 13 and the subprotocol ``ilt.v1``; no extensions, so nothing is
ever compressed. It must not know what the websocket then carries.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from .errors import ProtocolError

SUBPROTOCOL = "ilt.v1"
MAX_HEAD = 8192
"""Bytes of request or status line and headers that are read at most."""

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_REASONS = {400: "Bad Request", 404: "Not Found", 426: "Upgrade Required"}


class UpgradeRefusedError(ProtocolError):
    """The request cannot become a carrier; ``response`` says so in HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        body = (message + "\n").encode()
        self.response = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
            "Content-Type: text/plain\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            "Connection: close\r\n\r\n"
        ).encode() + body


def client_request(host: str, path: str, key: str) -> bytes:
    """The request for a carrier; ``key`` is base64 of 16 random bytes."""
    return (
        f"GET {path} HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\n"
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    ).encode("ascii")


def check_response(head: bytes, key: str) -> None:
    """Check the gateway's answer, up to and without the empty line.

    Raises:
        ProtocolError: it is not a switch to ``ilt.v1``.
    """
    status_line, headers = _parse_head(head)
    parts = status_line.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.1"):
        raise ProtocolError("The answer is not HTTP/1.1.")
    if parts[1] != "101":
        raise ProtocolError(f"The gateway answered {' '.join(parts[1:])[:80]!r}.")
    if (
        not _has_token(headers, "upgrade", "websocket")
        or not _has_token(headers, "connection", "upgrade")
        or headers.get("sec-websocket-accept") != _accept(key)
        or headers.get("sec-websocket-protocol") != SUBPROTOCOL
        or "sec-websocket-extensions" in headers
    ):
        raise ProtocolError(f"The answer does not switch to {SUBPROTOCOL}.")


def server_response(head: bytes, path: str) -> bytes:
    """The gateway's answer to a request for ``path``.

    Raises:
        UpgradeRefusedError: with the HTTP response to send instead.
    """
    try:
        request_line, headers = _parse_head(head)
        method, target, version = request_line.split(" ")
    except (ProtocolError, ValueError):
        raise UpgradeRefusedError(400, "This is not an HTTP request.") from None
    if method != "GET" or version != "HTTP/1.1":
        raise UpgradeRefusedError(400, "Only HTTP/1.1 GET is answered here.")
    if target.split("?")[0] != path:
        raise UpgradeRefusedError(404, "There is nothing here.")
    if not _has_token(headers, "upgrade", "websocket") or not _has_token(
        headers, "connection", "upgrade"
    ):
        raise UpgradeRefusedError(426, "Only websockets are answered here.")
    if headers.get("sec-websocket-version") != "13" or not _has_token(
        headers, "sec-websocket-protocol", SUBPROTOCOL
    ):
        raise UpgradeRefusedError(426, f"Only {SUBPROTOCOL} is spoken here.")
    key = headers.get("sec-websocket-key", "")
    if not _is_key(key):
        raise UpgradeRefusedError(400, "Sec-WebSocket-Key is not 16 bytes.")
    return (
        "HTTP/1.1 101 Switching Protocols\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {_accept(key)}\r\n"
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    ).encode("ascii")


def _parse_head(head: bytes) -> tuple[str, dict[str, str]]:
    """First line, and headers by lower-case name."""
    try:
        lines = head.decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    except ValueError:
        raise ProtocolError("A header line has no colon.") from None
    return lines[0], headers


def _has_token(headers: dict[str, str], name: str, token: str) -> bool:
    return token in (part.strip().lower() for part in headers.get(name, "").split(","))


def _accept(key: str) -> str:
    # RFC 6455 names SHA-1; it proves that the peer read the key, and nothing else.
    digest = hashlib.sha1((key + _GUID).encode()).digest()  # noqa: S324
    return base64.b64encode(digest).decode()


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
