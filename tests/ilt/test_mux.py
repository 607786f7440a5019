"""The yamux session: each rule, and two ends that exchange anything in any cut."""

from __future__ import annotations

import contextlib
import itertools
from collections import defaultdict
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlink_sidecars.ilt.errors import LimitError, ProtocolError
from interlink_sidecars.ilt.frames import (
    ACK,
    FIN,
    RST,
    SYN,
    TYPE_DATA,
    TYPE_GOAWAY,
    TYPE_PING,
    TYPE_WINDOW,
    FrameDecoder,
    encode_header,
)
from interlink_sidecars.ilt.mux import (
    BACKLOG,
    HALF_CLOSED,
    HUB,
    MAX_STREAMS,
    NOTEBOOK,
    SILENCE,
    WINDOW,
    Event,
    Finished,
    GoneAway,
    Mux,
    Opened,
    Received,
    Reset,
)


def drain(mux: Mux) -> bytes:
    """Everything that the mux would send now."""
    wire = b""
    while parts := mux.data_to_send():
        wire += b"".join(parts)
    return wire


def receive(mux: Mux, wire: bytes, now: float = 0) -> list[Event]:
    return mux.receive(memoryview(wire), now)


def pair() -> tuple[Mux, Mux]:
    return Mux(client=True, now=0), Mux(client=False, now=0)


def joined() -> tuple[Mux, Mux, int]:
    """Agent, gateway, and a notebook stream that the agent has accepted."""
    agent, gateway = pair()
    stream = gateway.open(NOTEBOOK)
    assert receive(agent, drain(gateway)) == [Opened(stream, NOTEBOOK)]
    agent.accept(stream)
    assert receive(gateway, drain(agent)) == []
    return agent, gateway, stream


def test_a_stream_names_its_service_and_carries_both_ways() -> None:
    agent, gateway = pair()
    stream = agent.open(HUB)
    agent.write(stream, b"request")
    assert stream % 2 == 1
    assert receive(gateway, drain(agent)) == [
        Opened(stream, HUB),
        Received(stream, memoryview(b"request")),
    ]
    gateway.accept(stream)
    gateway.write(stream, b"response")
    gateway.finish(stream)
    assert receive(agent, drain(gateway)) == [
        Received(stream, memoryview(b"response")),
        Finished(stream),
    ]


def test_the_wire_is_yamux() -> None:
    gateway = Mux(client=False, now=0)
    gateway.write(gateway.open(NOTEBOOK), b"GET")
    frames = FrameDecoder().receive(memoryview(drain(gateway)))
    assert [frame[:4] for frame in frames] == [
        (TYPE_WINDOW, SYN, 2, 0),
        (TYPE_DATA, 0, 2, 4),
    ]
    assert bytes(frames[1].payload) == b"\x01GET"


def test_half_close_leaves_the_other_direction_open() -> None:
    agent, gateway, stream = joined()
    gateway.finish(stream)
    assert receive(agent, drain(gateway)) == [Finished(stream)]
    agent.write(stream, b"late answer")
    agent.finish(stream)
    assert receive(gateway, drain(agent)) == [
        Received(stream, memoryview(b"late answer")),
        Finished(stream),
    ]
    gateway.write(stream, b"nobody")
    assert drain(gateway) == b""


def test_a_window_is_the_most_that_travels_without_credit() -> None:
    agent, gateway, stream = joined()
    assert not agent.write(stream, bytes(WINDOW + 10_000))
    events = receive(gateway, drain(agent))
    assert sum(len(e.data) for e in events if isinstance(e, Received)) == WINDOW
    assert drain(agent) == b""
    gateway.consumed(stream, WINDOW // 4 - 1)
    assert drain(gateway) == b""
    gateway.consumed(stream, 1)
    receive(agent, drain(gateway))
    assert sum(map(len, agent.data_to_send())) > 10_000


def test_a_writer_waits_and_is_told_when_there_is_room() -> None:
    agent, _, stream = joined()
    assert agent.write(stream, bytes(60_000))
    assert agent.drained() == []
    assert not agent.write(stream, bytes(80_000))
    drain(agent)
    assert agent.drained() == [stream]
    assert agent.drained() == []


def test_streams_take_turns() -> None:
    agent, gateway, bulk = joined()
    agent.write(bulk, bytes(200_000))
    other = gateway.open(NOTEBOOK)
    receive(agent, drain(gateway))
    agent.write(other, b"keystroke")
    first = receive(gateway, b"".join(agent.data_to_send()))
    assert Received(other, memoryview(b"keystroke")) in first
    assert max(len(e.data) for e in first if isinstance(e, Received)) <= 65536


def test_more_than_the_window_resets_that_stream_alone() -> None:
    agent, gateway, stream = joined()
    other = gateway.open(NOTEBOOK)
    drain(gateway)
    data = encode_header(TYPE_DATA, 0, stream, 65536) + bytes(65536)
    events = receive(gateway, data * 4)
    assert all(isinstance(event, Received) for event in events)
    late = encode_header(TYPE_DATA, 0, stream, 1) + b"x"
    assert receive(gateway, late) == [Reset(stream)]
    assert drain(gateway) == encode_header(TYPE_WINDOW, RST, stream, 0)
    assert receive(gateway, late) == []
    gateway.write(other, b"alive")
    assert drain(gateway).endswith(b"alive")
    assert receive(agent, encode_header(TYPE_WINDOW, RST, stream, 0)) == [Reset(stream)]


def test_a_reset_forgets_what_is_queued() -> None:
    agent, gateway, stream = joined()
    agent.write(stream, b"never sent")
    agent.reset(stream)
    assert receive(gateway, drain(agent)) == [Reset(stream)]
    agent.reset(stream)
    assert drain(agent) == b""


def test_too_many_streams_are_refused_on_both_sides() -> None:
    agent, gateway = pair()
    for _ in range(MAX_STREAMS):
        stream = gateway.open(NOTEBOOK)
        receive(agent, drain(gateway))
        agent.accept(stream)
        receive(gateway, drain(agent))
    with pytest.raises(LimitError):
        gateway.open(NOTEBOOK)
    intruder = encode_header(TYPE_WINDOW, SYN, stream + 2, 0)
    assert receive(agent, intruder) == []
    assert drain(agent) == encode_header(TYPE_WINDOW, RST, stream + 2, 0)


def test_streams_that_nobody_accepts_are_limited() -> None:
    agent, gateway = pair()
    for _ in range(BACKLOG):
        gateway.open(NOTEBOOK)
    with pytest.raises(LimitError):
        gateway.open(NOTEBOOK)
    assert len(receive(agent, drain(gateway))) == BACKLOG
    refused = 2 * BACKLOG + 2
    receive(agent, encode_header(TYPE_WINDOW, SYN, refused, 0))
    assert drain(agent) == encode_header(TYPE_WINDOW, RST, refused, 0)


@pytest.mark.parametrize(
    "frame",
    [
        encode_header(TYPE_WINDOW, SYN, 1, 0),  # of the wrong parity
        encode_header(TYPE_DATA, 0, 4, 0),  # never opened by the peer
        encode_header(TYPE_WINDOW, 0, 7, 0),  # never opened by us
        encode_header(TYPE_WINDOW, 0, 2, 2**32 - 1),  # more than a window can be
        encode_header(TYPE_WINDOW, SYN, 2, 0),  # opened twice
        encode_header(TYPE_PING, SYN, 0, 0) * 10_000,  # asks without listening
    ],
)
def test_broken_rules_end_the_session(frame: bytes) -> None:
    agent, gateway = pair()
    gateway.open(NOTEBOOK)
    receive(agent, drain(gateway))
    with pytest.raises(ProtocolError):
        receive(agent, frame)
    agent.abandon()
    assert drain(agent).endswith(encode_header(TYPE_GOAWAY, 0, 0, 1))


def test_a_goaway_is_an_event() -> None:
    agent, gateway = pair()
    gateway.abandon()
    assert receive(agent, drain(gateway)) == [GoneAway(1)]


def test_a_stream_that_ends_before_it_names_a_service_is_reset() -> None:
    agent, _ = pair()
    assert receive(agent, encode_header(TYPE_WINDOW, SYN | FIN, 2, 0)) == []
    assert drain(agent) == encode_header(TYPE_WINDOW, RST, 2, 0)


def test_pings_are_sent_and_answered_and_silence_is_the_verdict() -> None:
    agent, gateway = pair()
    agent.tick(9)
    assert drain(agent) == b""
    agent.tick(10)
    ping = drain(agent)
    assert ping == encode_header(TYPE_PING, SYN, 0, 0)
    agent.tick(20)
    assert drain(agent) == b"", "one ping at a time"
    receive(gateway, ping, 10)
    assert drain(gateway) == encode_header(TYPE_PING, ACK, 0, 0)
    assert not agent.is_silent(SILENCE)
    assert agent.is_silent(SILENCE + 1)
    assert not gateway.is_silent(10 + SILENCE)


def test_a_half_closed_stream_that_rests_is_reset() -> None:
    agent, _, stream = joined()
    other = agent.open(HUB)
    agent.finish(stream)
    drain(agent)
    receive(agent, encode_header(TYPE_DATA, 0, stream, 1) + b"x", HALF_CLOSED)
    assert agent.tick(HALF_CLOSED + 5) == []
    drain(agent)
    assert agent.tick(2 * HALF_CLOSED + 1) == [Reset(stream)]
    assert drain(agent) == encode_header(TYPE_WINDOW, RST, stream, 0)
    agent.write(other, b"still open")
    assert drain(agent).endswith(b"still open")


chunks = st.lists(st.binary(min_size=1, max_size=40_000), max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), chunks, chunks), max_size=6),
    st.lists(st.integers(1, 70_000), min_size=1, max_size=10),
)
def test_every_byte_arrives_once_and_in_order(
    streams: list[tuple[bool, list[bytes], list[bytes]]], cuts: list[int]
) -> None:
    """Both ends write on all streams; the wire is cut anywhere."""
    ends = pair()
    sent: dict[tuple[int, int], bytes] = {}
    for from_agent, request, response in streams:
        opener = ends[0 if from_agent else 1]
        stream = opener.open(HUB)
        sent[(0 if from_agent else 1), stream] = b"".join(request)
        sent[(1 if from_agent else 0), stream] = b"".join(response)
        for chunk in request:
            opener.write(stream, chunk)
        opener.finish(stream)
    answers = {
        stream: response
        for (_, stream), (_, _, response) in zip(list(sent)[::2], streams, strict=True)
    }
    got: dict[tuple[int, int], bytes] = defaultdict(bytes)
    finished: set[tuple[int, int]] = set()
    sizes = itertools.cycle(cuts)

    def cut(wire: bytes) -> Iterator[bytes]:
        start = 0
        while start < len(wire):
            size = next(sizes)
            yield wire[start : start + size]
            start += size

    while wires := [wire for wire in enumerate(map(drain, ends)) if wire[1]]:
        for writer, wire in wires:
            reader = ends[1 - writer]
            for piece in cut(wire):
                for event in receive(reader, piece):
                    if isinstance(event, Opened):
                        reader.accept(event.stream)
                        for chunk in answers[event.stream]:
                            reader.write(event.stream, chunk)
                        reader.finish(event.stream)
                    elif isinstance(event, Received):
                        got[writer, event.stream] += bytes(event.data)
                        reader.consumed(event.stream, len(event.data))
                    else:
                        assert isinstance(event, Finished)
                        finished.add((writer, event.stream))
    assert finished == set(sent)
    assert {key: got[key] for key in sent} == sent


@given(st.binary(max_size=500))
def test_garbage_ends_in_events_or_a_protocol_error(data: bytes) -> None:
    agent, gateway, _ = joined()
    with contextlib.suppress(ProtocolError):
        receive(agent, data)
    drain(agent)
    with contextlib.suppress(ProtocolError):
        receive(gateway, data)
