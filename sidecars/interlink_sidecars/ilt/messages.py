"""What one websocket message of a carrier means: the R-layer of ``ilt.v1``.

The first byte is the kind; the format is final::

    0x01 CTRL   JSON object              handshake documents, see ``handshake``
    0x02 DATA   bytes                    the next part of the mux's byte stream
    0x03 ACK    u64 received             only where the handshake agreed on resume
    0x04 BYE    u16 code, UTF-8 reason   this carrier ends, and why
    0x05 DRAIN  u32 milliseconds         the gateway goes away: dial again within

It must not know handshakes or streams.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .errors import ProtocolError

KIND_CTRL, KIND_DATA, KIND_ACK, KIND_BYE, KIND_DRAIN = 1, 2, 3, 4, 5

MAX_CTRL = 8192
MAX_DATA = 131072
MAX_REASON = 256
MAX_MESSAGE = 1 + MAX_DATA
"""Bytes of one message at most, its kind included."""

BYE_ENDED = 1
"""BYE of the agent: the server has ended, so nobody will dial again."""
BYE_CLOSED = 2
"""BYE of the gateway: the pod is gone."""
BYE_TAKEN_OVER = 3
"""BYE of the gateway: a newer carrier of the same session has taken over."""


@dataclass(frozen=True)
class Ctrl:
    """One handshake document, as JSON."""

    body: bytes

    def encode(self) -> list[bytes]:
        """The message, in parts to be joined once."""
        return [bytes([KIND_CTRL]), self.body]


@dataclass(frozen=True)
class Data:
    """Part of the mux's byte stream; frames may be split anywhere."""

    body: memoryview


@dataclass(frozen=True)
class Ack:
    """How many bytes of the mux's stream have arrived since its start."""

    received: int

    def encode(self) -> list[bytes]:
        """The message, in parts to be joined once."""
        return [struct.pack("!BQ", KIND_ACK, self.received)]


@dataclass(frozen=True)
class Bye:
    """A wanted end, with one of the codes above and a sentence for the log."""

    code: int
    reason: str

    @property
    def text(self) -> str:
        """For the log."""
        return f"goodbye, {self.reason!r}"

    def encode(self) -> list[bytes]:
        """The message, in parts to be joined once."""
        return [struct.pack("!BH", KIND_BYE, self.code), self.reason.encode()]


@dataclass(frozen=True)
class Drain:
    """The gateway stops in so many milliseconds."""

    within: int

    @property
    def text(self) -> str:
        """For the log."""
        return "goodbye, the gateway restarts"

    def encode(self) -> list[bytes]:
        """The message, in parts to be joined once."""
        return [struct.pack("!BI", KIND_DRAIN, self.within)]


def data_parts(parts: list[bytes]) -> list[bytes]:
    """A DATA message around parts of the mux's stream, without joining them."""
    return [bytes([KIND_DATA]), *parts]


def decode_message(message: bytes) -> Ctrl | Data | Ack | Bye | Drain:
    """One message.

    Raises:
        ProtocolError: unknown kind, or a length that its kind forbids.
    """
    if not message:
        raise ProtocolError("A message is empty.")
    kind, size = message[0], len(message) - 1
    if kind == KIND_DATA and 0 < size <= MAX_DATA:
        return Data(memoryview(message)[1:])
    if kind == KIND_CTRL and 0 < size <= MAX_CTRL:
        return Ctrl(message[1:])
    if kind == KIND_ACK and size == 8:
        return Ack(*struct.unpack_from("!Q", message, 1))
    if kind == KIND_BYE and 2 <= size <= 2 + MAX_REASON:
        (code,) = struct.unpack_from("!H", message, 1)
        return Bye(code, message[3:].decode("utf-8", "replace"))
    if kind == KIND_DRAIN and size == 4:
        return Drain(*struct.unpack_from("!I", message, 1))
    raise ProtocolError(f"A message of kind {kind} has {size} bytes.")
