"""RFC 6455 messages, sans-IO: the bytes of one websocket after (and with) its upgrade.

Knows the framing and the HTTP prelude, not what a message means. Compression is never
negotiated. A client sends the all-zero masking key where nothing between the two ends
could read the bytes anyway (TLS, loopback), because masking costs more than TLS; over
plain TCP the key is random, as RFC 6455 §5.3 wants.
"""

from __future__ import annotations

import base64
import os
import struct
from typing import Callable

from .errors import ProtocolError
from .upgrade import (
    MAX_HEAD,
    UpgradeRefusedError,
    check_response,
    client_request,
    server_response,
)

OP_CONTINUATION, OP_BINARY, OP_CLOSE, OP_PING, OP_PONG = 0x0, 0x2, 0x8, 0x9, 0xA
_NO_MASK = b"\0\0\0\0"
_END_OF_HEAD = b"\r\n\r\n"


def encode_websocket_frame(
    opcode: int, parts: list[bytes], mask: bytes | None
) -> bytes:
    """One unfragmented frame; ``mask`` is a client's key and None on a server."""
    length = sum(map(len, parts))
    bit = 0 if mask is None else 0x80
    if length < 126:
        head = struct.pack("!BB", 0x80 | opcode, bit | length)
    elif length < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, bit | 126, length)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, bit | 127, length)
    if mask is None:
        return b"".join([head, *parts])
    if mask == _NO_MASK:
        return b"".join([head, mask, *parts])
    return b"".join([head, mask, apply_mask(b"".join(parts), mask)])


def apply_mask(data: bytes, key: bytes) -> bytes:
    """``data`` XOR the repeated 4-byte ``key``."""
    size = len(data)
    pad = (key * (size // 4 + 1))[:size]
    number = int.from_bytes(data, "little") ^ int.from_bytes(pad, "little")
    return number.to_bytes(size, "little")


class MessageDecoder:
    """Splits bytes into ``(opcode, payload)``, joining fragmented messages.

    Args:
        masked: whether the peer is a client, whose frames must be masked.
        limit: bytes of one message at most.
    """

    def __init__(self, *, masked: bool, limit: int) -> None:
        self._masked = masked
        self._limit = limit
        self._buffer = bytearray()
        self._fragments: bytearray | None = None

    def receive(self, data: memoryview) -> list[tuple[int, bytes]]:
        """Everything that ``data`` completes, in order.

        Raises:
            ProtocolError: RFC 6455 or the limit is broken; the decoder is then spent.
        """
        self._buffer += data
        messages: list[tuple[int, bytes]] = []
        start = 0
        with memoryview(self._buffer) as view:
            while True:
                parsed = self._frame(view, start)
                if parsed is None:
                    break
                start, first, payload = parsed
                message = self._assemble(first, payload)
                if message is not None:
                    messages.append(message)
        del self._buffer[:start]
        return messages

    def _frame(self, view: memoryview, start: int) -> tuple[int, int, bytes] | None:
        """``(end, first byte, unmasked payload)`` of the frame at ``start``."""
        available = len(view) - start
        if available < 2:
            return None
        first, second = view[start], view[start + 1]
        self._check(first, second)
        length, header = second & 0x7F, 2
        if length >= 126:
            code, size = ("!H", 2) if length == 126 else ("!Q", 8)
            header += size
            if available < header:
                return None
            (length,) = struct.unpack_from(code, view, start + 2)
        if length > self._limit:
            raise ProtocolError(f"A websocket message is larger than {self._limit}.")
        body = start + header + (4 if self._masked else 0)
        if len(view) < body + length:
            return None
        payload = bytes(view[body : body + length])
        if self._masked:
            key = bytes(view[body - 4 : body])
            if key != _NO_MASK:
                payload = apply_mask(payload, key)
        return body + length, first, payload

    def _check(self, first: int, second: int) -> None:
        if first & 0x70:
            raise ProtocolError("A websocket frame has reserved bits set.")
        if bool(second & 0x80) != self._masked:
            raise ProtocolError("A websocket frame is masked the wrong way.")
        opcode = first & 0x0F
        if opcode not in (OP_CONTINUATION, OP_BINARY, OP_CLOSE, OP_PING, OP_PONG):
            raise ProtocolError(f"Websocket opcode {opcode} is not expected here.")
        if opcode >= OP_CLOSE and (not first & 0x80 or second & 0x7F > 125):
            raise ProtocolError("A websocket control frame is fragmented or too long.")

    def _assemble(self, first: int, payload: bytes) -> tuple[int, bytes] | None:
        """The message that this frame completes."""
        opcode, final = first & 0x0F, bool(first & 0x80)
        if opcode >= OP_CLOSE:
            return opcode, payload
        if (opcode == OP_CONTINUATION) != (self._fragments is not None):
            raise ProtocolError("A websocket continuation is missing or unexpected.")
        if final and self._fragments is None:
            return opcode, payload
        fragments = self._fragments = self._fragments or bytearray()
        fragments += payload
        if len(fragments) > self._limit:
            raise ProtocolError(f"A websocket message is larger than {self._limit}.")
        if not final:
            return None
        self._fragments = None
        return OP_BINARY, bytes(fragments)


class WebSocket:
    """One end of a websocket: bytes in, binary messages out, and the replies due.

    Attributes:
        open: the upgrade is done and nobody has closed.
        closed_by_peer: what the peer said in its Close frame, or None.
    """

    def __init__(
        self,
        greeting: bytes,
        upgrade: Callable[[bytes], bytes],
        *,
        mask: Callable[[], bytes] | None,
        limit: int,
    ) -> None:
        self.open = False
        self.closed_by_peer: str | None = None
        self._upgrade = upgrade
        self._mask = mask
        self._head: bytearray | None = bytearray()
        self._decoder = MessageDecoder(masked=mask is None, limit=limit)
        self._output = [greeting]

    def receive(self, data: memoryview) -> list[bytes]:
        """The binary messages that ``data`` completes.

        Raises:
            ProtocolError: send :meth:`output`, then close the connection.
        """
        if self._head is not None:
            self._head += data
            end = self._head.find(_END_OF_HEAD)
            if end > MAX_HEAD or (end < 0 and len(self._head) > MAX_HEAD):
                raise ProtocolError(f"The HTTP head is larger than {MAX_HEAD} bytes.")
            if end < 0:
                return []
            head, data = bytes(self._head[:end]), memoryview(self._head)[end + 4 :]
            self._head = None
            try:
                self._output.append(self._upgrade(head))
            except UpgradeRefusedError as error:
                self._output.append(error.response)
                raise
            self.open = True
        messages = []
        for opcode, payload in self._decoder.receive(data):
            if opcode == OP_BINARY:
                messages.append(payload)
            elif opcode == OP_PING:
                self._output.append(self.encode([payload], OP_PONG))
            elif opcode == OP_CLOSE:
                self.closed_by_peer = payload[2:].decode("utf-8", "replace")
                self.close(1000)
                break
        return messages

    def output(self) -> bytes:
        """Bytes that must be sent: the upgrade, Pong and Close frames."""
        output, self._output = b"".join(self._output), []
        return output

    def encode(self, parts: list[bytes], opcode: int = OP_BINARY) -> bytes:
        """One message in the direction of this end."""
        return encode_websocket_frame(opcode, parts, self._mask and self._mask())

    def close(self, code: int, reason: str = "") -> None:
        """Queue a Close frame, once."""
        if self.open:
            self.open = False
            payload = struct.pack("!H", code) + reason.encode()[:120]
            self._output.append(self.encode([payload], OP_CLOSE))


def client_websocket(host: str, path: str, *, private: bool, limit: int) -> WebSocket:
    """The end that dials; :meth:`WebSocket.output` has the request.

    Args:
        private: nothing on the way can read the bytes, so they need no mask.
    """
    key = base64.b64encode(os.urandom(16)).decode()

    def upgrade(head: bytes) -> bytes:
        check_response(head, key)
        return b""

    mask = (lambda: _NO_MASK) if private else (lambda: os.urandom(4))
    request = client_request(host, path, key)
    return WebSocket(request, upgrade, mask=mask, limit=limit)


def server_websocket(path: str, *, limit: int) -> WebSocket:
    """The end that is dialled, at ``path``."""

    def upgrade(head: bytes) -> bytes:
        return server_response(head, path)

    return WebSocket(b"", upgrade, mask=None, limit=limit)
