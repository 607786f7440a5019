"""The R-layer's format, which is final: vectors, round trips and refusals."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlink_sidecars.ilt.errors import ProtocolError
from interlink_sidecars.ilt.messages import (
    MAX_CTRL,
    MAX_DATA,
    Ack,
    Bye,
    Ctrl,
    Data,
    Drain,
    data_parts,
    decode_message,
)

VECTORS = {
    b"\x01{}": Ctrl(b"{}"),
    b"\x02abc": Data(memoryview(b"abc")),
    b"\x03\0\0\0\1\0\0\0\2": Ack(2**32 + 2),
    b"\x04\0\1gone": Bye(1, "gone"),
    b"\x05\0\0\x03\xe8": Drain(1000),
}


@pytest.mark.parametrize(("wire", "message"), VECTORS.items())
def test_vectors(wire: bytes, message: Ctrl | Data | Ack | Bye | Drain) -> None:
    assert decode_message(wire) == message
    parts = data_parts([b"a", b"bc"]) if isinstance(message, Data) else message.encode()
    assert b"".join(parts) == wire


@given(st.binary(max_size=400))
def test_garbage_is_a_message_or_a_protocol_error(wire: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        message = decode_message(wire)
        if isinstance(message, Ack | Drain):
            assert b"".join(message.encode()) == wire


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\x00",
        b"\x06x",
        b"\x01",
        b"\x01" + bytes(MAX_CTRL + 1),
        b"\x02",
        b"\x02" + bytes(MAX_DATA + 1),
        b"\x03" + bytes(7),
        b"\x04\0",
        b"\x04" + bytes(300),
        b"\x05" + bytes(5),
    ],
)
def test_wrong_kinds_and_lengths_are_refused(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_message(wire)
