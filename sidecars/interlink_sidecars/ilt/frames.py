"""yamux frames: a 12-byte header, and a payload after DATA.

Source: hashicorp/yamux ``spec.md``, version 0; nothing is added to it. Stricter in one
thing: a DATA frame holds at most 64 KiB, because larger buffers cost page faults.
It must not know what a stream's state allows.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from .errors import ProtocolError

TYPE_DATA, TYPE_WINDOW, TYPE_PING, TYPE_GOAWAY = 0, 1, 2, 3
SYN, ACK, FIN, RST = 1, 2, 4, 8

GOAWAY_PROTOCOL_ERROR = 1
"""The one code of GOAWAY that is sent here; a wanted end is a BYE."""

FRAME_HEADER_SIZE = 12
MAX_FRAME = 65536
"""Bytes of one DATA frame at most, header excluded."""

_FRAME_HEADER = struct.Struct("!BBHII")


class Frame(NamedTuple):
    """One frame; ``length`` is a window delta, a ping value or a GOAWAY code too."""

    type: int
    flags: int
    stream: int
    length: int
    payload: memoryview = memoryview(b"")


def encode_header(kind: int, flags: int, stream: int, length: int) -> bytes:
    """The header of a frame; the payload of DATA follows it."""
    return _FRAME_HEADER.pack(0, kind, flags, stream, length)


class FrameDecoder:
    """Splits a byte stream into frames, however the stream was cut."""

    def __init__(self) -> None:
        self._rest = b""

    def receive(self, data: memoryview) -> list[Frame]:
        """The frames that ``data`` completes.

        Raises:
            ProtocolError: a header breaks the specification; the decoder is spent.
        """
        source = memoryview(self._rest + bytes(data)) if self._rest else data
        frames: list[Frame] = []
        start, size = 0, len(source)
        while size - start >= FRAME_HEADER_SIZE:
            kind, flags, stream, length = _check_header(
                _FRAME_HEADER.unpack_from(source, start)
            )
            end = start + FRAME_HEADER_SIZE
            if kind == TYPE_DATA:
                if size < end + length:
                    break
                end += length
            payload = source[start + FRAME_HEADER_SIZE : end]
            frames.append(Frame(kind, flags, stream, length, payload))
            start = end
        self._rest = bytes(source[start:])
        return frames


def _check_header(header: tuple[int, int, int, int, int]) -> tuple[int, int, int, int]:
    version, kind, flags, stream, length = header
    problem: str | None = None
    if version != 0:
        problem = f"version {version}"
    elif kind > TYPE_GOAWAY:
        problem = f"type {kind}"
    elif flags > SYN | ACK | FIN | RST:
        problem = f"flags {flags:#x}"
    elif kind in (TYPE_DATA, TYPE_WINDOW) and stream == 0:
        problem = "stream 0"
    elif kind in (TYPE_PING, TYPE_GOAWAY) and stream != 0:
        problem = "a stream where there is none"
    elif kind == TYPE_DATA and length > MAX_FRAME:
        problem = f"a payload of {length} bytes"
    if problem is not None:
        raise ProtocolError(f"A yamux frame has {problem}.")
    return kind, flags, stream, length
