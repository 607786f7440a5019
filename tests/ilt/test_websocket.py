"""RFC 6455 framing: round trips, hostile bytes, and a real tornado peer's habits."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlink_sidecars.ilt.errors import ProtocolError
from interlink_sidecars.ilt.websocket import (
    OP_BINARY,
    OP_CLOSE,
    OP_PING,
    OP_PONG,
    MessageDecoder,
    WebSocket,
    apply_mask,
    client_websocket,
    encode_websocket_frame,
    server_websocket,
)

LIMIT = 70_000
KEY = b"\x37\xfa\x21\x3d"


def pieces(data: bytes, cuts: list[int]) -> list[memoryview]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [memoryview(data)[a:b] for a, b in pairwise(edges)]


def pair(*, private: bool = True) -> tuple[WebSocket, WebSocket]:
    client = client_websocket("gateway", "/c", private=private, limit=LIMIT)
    server = server_websocket("/c", limit=LIMIT)
    assert server.receive(memoryview(client.output())) == []
    assert client.receive(memoryview(server.output())) == []
    assert client.open
    assert server.open
    return client, server


@given(
    st.lists(st.binary(max_size=300) | st.integers(65_530, 65_540).map(bytes)),
    st.sampled_from([None, b"\0\0\0\0", KEY]),
    st.lists(st.integers(0), max_size=20),
)
def test_messages_survive_any_cut(
    messages: list[bytes], mask: bytes | None, cuts: list[int]
) -> None:
    decoder = MessageDecoder(masked=mask is not None, limit=LIMIT)
    wire = b"".join(encode_websocket_frame(OP_BINARY, [m], mask) for m in messages)
    got = [found for part in pieces(wire, cuts) for found in decoder.receive(part)]
    assert got == [(OP_BINARY, message) for message in messages]


@given(st.binary(max_size=2000), st.booleans())
def test_garbage_ends_in_a_protocol_error_or_in_waiting(
    data: bytes, masked: bool
) -> None:
    decoder = MessageDecoder(masked=masked, limit=100)
    with contextlib.suppress(ProtocolError):
        for _, payload in decoder.receive(memoryview(data)):
            assert len(payload) <= 100


def test_mask_is_the_example_of_rfc_6455() -> None:
    assert apply_mask(b"Hello", KEY) == b"\x7f\x9f\x4d\x51\x58"


def test_fragments_are_joined_around_a_ping() -> None:
    decoder = MessageDecoder(masked=False, limit=LIMIT)
    wire = b"\x02\x01a" + b"\x89\x01p" + b"\x00\x01b" + b"\x80\x01c"
    assert decoder.receive(memoryview(wire)) == [(OP_PING, b"p"), (OP_BINARY, b"abc")]


@pytest.mark.parametrize(
    "wire",
    [
        b"\xc2\x01a",  # a reserved bit: compression was not agreed on
        b"\x81\x01a",  # text
        b"\x83\x00",  # an unknown opcode
        b"\x80\x01a",  # a continuation of nothing
        b"\x02\x01a\x82\x01b",  # a message within a message
        b"\x09\x00",  # a fragmented ping
        b"\x89\x7e\x00\x7e" + bytes(126),  # a long ping
        b"\x82\x81\0\0\0\0a",  # masked by a server
        b"\x82\x7f\x7f" + b"\xff" * 7,  # longer than memory
        b"\x02\x7e\x00\x60" + bytes(96) + b"\x80\x05aaaaa",  # too long in parts
    ],
)
def test_broken_rules_are_protocol_errors(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        MessageDecoder(masked=False, limit=100).receive(memoryview(wire))


def test_frames_of_a_client_must_be_masked() -> None:
    with pytest.raises(ProtocolError):
        MessageDecoder(masked=True, limit=100).receive(memoryview(b"\x82\x01a"))


@pytest.mark.parametrize("private", [True, False])
def test_a_client_masks_where_bytes_can_be_read_on_the_way(private: bool) -> None:
    client, server = pair(private=private)
    wire = client.encode([b"se", b"cret"])
    assert (b"secret" in wire) is private
    assert server.receive(memoryview(wire)) == [b"secret"]
    assert client.receive(memoryview(server.encode([b"answer"]))) == [b"answer"]


def test_pings_are_answered_and_a_close_is_returned_once() -> None:
    client, server = pair()
    wire = encode_websocket_frame(OP_PING, [b"x"], None)
    wire += encode_websocket_frame(OP_CLOSE, [b"\x03\xe8bye"], None)
    assert client.receive(memoryview(wire)) == []
    assert client.closed_by_peer == "bye"
    decoder = MessageDecoder(masked=True, limit=LIMIT)
    replies = decoder.receive(memoryview(client.output()))
    assert replies == [(OP_PONG, b"x"), (OP_CLOSE, b"\x03\xe8")]
    client.close(1000)
    assert client.output() == b""
    assert not client.open
    assert server.open


def test_a_message_right_behind_the_upgrade_is_not_lost() -> None:
    client = client_websocket("gateway", "/c", private=True, limit=LIMIT)
    server = server_websocket("/c", limit=LIMIT)
    server.receive(memoryview(client.output()))
    wire = server.output() + server.encode([b"first"])
    assert client.receive(memoryview(wire[:100])) == []
    assert client.receive(memoryview(wire[100:])) == [b"first"]


def test_an_endless_head_is_refused() -> None:
    server = server_websocket("/c", limit=LIMIT)
    with pytest.raises(ProtocolError):
        server.receive(memoryview(b"GET /c HTTP/1.1\r\nX: " + b"x" * 9000))


def test_a_refused_upgrade_answers_in_http() -> None:
    server = server_websocket("/c", limit=LIMIT)
    with pytest.raises(ProtocolError):
        server.receive(memoryview(b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert server.output().startswith(b"HTTP/1.1 404 ")
    assert not server.open
