"""yamux headers: the specification's layout, any cut, and nothing beyond it."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlink_sidecars.ilt.errors import ProtocolError
from interlink_sidecars.ilt.frames import (
    MAX_FRAME,
    RST,
    SYN,
    TYPE_DATA,
    TYPE_GOAWAY,
    TYPE_PING,
    TYPE_WINDOW,
    Frame,
    FrameDecoder,
    encode_header,
)

data_frames = st.builds(
    lambda flags, stream, payload: Frame(
        TYPE_DATA, flags, stream, len(payload), memoryview(payload)
    ),
    st.integers(0, 15),
    st.integers(1, 2**32 - 1),
    st.binary(max_size=200),
)
window_frames = st.builds(
    Frame,
    st.just(TYPE_WINDOW),
    st.integers(0, 15),
    st.integers(1, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.just(memoryview(b"")),
)
session_frames = st.builds(
    Frame,
    st.sampled_from([TYPE_PING, TYPE_GOAWAY]),
    st.integers(0, 15),
    st.just(0),
    st.integers(0, 2**32 - 1),
    st.just(memoryview(b"")),
)


def encode(frame: Frame) -> bytes:
    return encode_header(*frame[:4]) + bytes(frame.payload)


def test_layout_is_that_of_the_specification() -> None:
    header = encode_header(TYPE_WINDOW, SYN | RST, 3, 0x01020304)
    assert header == bytes.fromhex("00 01 0009 00000003 01020304")


@given(
    st.lists(data_frames | window_frames | session_frames, max_size=10),
    st.lists(st.integers(0), max_size=20),
)
def test_frames_survive_any_cut(frames: list[Frame], cuts: list[int]) -> None:
    wire = b"".join(map(encode, frames))
    edges = [0, *sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]
    decoder = FrameDecoder()
    got = [
        frame
        for a, b in pairwise(edges)
        for frame in decoder.receive(memoryview(wire)[a:b])
    ]
    assert got == frames


@given(st.binary(max_size=500))
def test_garbage_is_frames_or_a_protocol_error(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        for frame in FrameDecoder().receive(memoryview(data)):
            assert encode(frame) in data


@pytest.mark.parametrize(
    "header",
    [
        "01 00 0000 00000001 00000000",  # version
        "00 04 0000 00000001 00000000",  # type
        "00 01 0010 00000001 00000000",  # flag
        "00 00 0000 00000000 00000000",  # data without a stream
        "00 02 0001 00000001 00000000",  # ping with a stream
        f"00 00 0000 00000001 {MAX_FRAME + 1:08x}",
    ],
)
def test_broken_headers_are_protocol_errors(header: str) -> None:
    with pytest.raises(ProtocolError):
        FrameDecoder().receive(memoryview(bytes.fromhex(header)))
