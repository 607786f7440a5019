"""One end of a yamux session, sans-IO: bytes and the time in, events and bytes out.

Owns streams, windows, the order of frames and the verdict about silence. It has no
clock and no socket, so every case can be tested. Source: hashicorp/yamux ``spec.md``;
ours on top: the first byte that a stream carries names the service it wants, and the
side that is asked decides from its own configuration what that is.

Rules that keep 1000 streams alive beside one slow reader:

- Received data is handed on at once; only *credit* waits until the local reader has
  taken it, so one window is the most that a stream can hold up.
- Streams take turns; one alone sends frames of 64 KiB, several 16 KiB each.
- Nothing but ``SILENCE`` is a dead peer; a write that is merely slow is not.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Union

from .errors import LimitError, ProtocolError
from .frames import (
    ACK,
    FIN,
    FRAME_HEADER_SIZE,
    GOAWAY_PROTOCOL_ERROR,
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

NOTEBOOK, HUB, CTL, ECHO, EXEC = 1, 2, 3, 4, 5
"""Service indexes; 3 to 5 are reserved, declared ports follow from 16."""

WINDOW = 262144
"""Bytes that a stream may be ahead of its reader; yamux's initial window."""
MAX_STREAMS = 1024
"""Open streams of one session at most, both directions together."""
BACKLOG = 256
"""Streams of one side at most that the other has not accepted yet."""
PING_INTERVAL = 10.0
SILENCE = 25.0
"""Seconds without a byte after which the peer counts as gone."""
HALF_CLOSED = 300.0
"""Seconds that a stream with one end closed may rest without a byte."""

_QUEUE_HIGH, _QUEUE_LOW = 131072, 65536
_SHARED_FRAME = 16384
_CONTROL_FRAMES = MAX_FRAME // FRAME_HEADER_SIZE
"""Frames without payload sent at once, and owed to a peer that asks, at most."""


@dataclass(frozen=True)
class Opened:
    """The peer wants a new stream to ``service``: accept or reset it."""

    stream: int
    service: int


@dataclass(frozen=True)
class Received:
    """Bytes for the local reader; report them with :meth:`Mux.consumed`."""

    stream: int
    data: memoryview


@dataclass(frozen=True)
class Finished:
    """The peer will send nothing more on this stream."""

    stream: int


@dataclass(frozen=True)
class Reset:
    """The stream has ended abruptly and is already forgotten."""

    stream: int


@dataclass(frozen=True)
class GoneAway:
    """The peer ends the session because of what we sent; ``code`` is yamux's."""

    code: int


Event = Union[Opened, Received, Finished, Reset, GoneAway]


class _Stream:
    """The state of one stream."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.named = False  # whether the service byte has passed
        self.queue: deque[bytes] = deque()
        self.queued = 0
        self.full = False
        self.ready = False  # whether it stands in the order of turns
        self.send_window = WINDOW
        self.receive_window = WINDOW
        self.credit = 0
        self.finishing = False
        self.fin_sent = False
        self.fin_received = False
        self.last_byte = 0.0

    @property
    def sendable(self) -> bool:
        """Whether a frame could be sent now."""
        if self.queued:
            return self.send_window > 0
        return self.finishing and not self.fin_sent


class Mux:
    """A yamux session; the agent is its client and opens odd streams."""

    def __init__(self, *, client: bool, now: float) -> None:
        self._next = 1 if client else 2
        self._last_peer = 0
        self._peer_parity = 0 if client else 1
        self._decoder = FrameDecoder()
        self._streams: dict[int, _Stream] = {}
        self._opening: set[int] = set()  # ours, not yet accepted by the peer
        self._asked: set[int] = set()  # the peer's, not yet accepted by us
        self._turns: deque[_Stream] = deque()
        self._control: list[bytes] = []
        self._drained: list[int] = []
        self._now = self._heard = self._pinged = now

    # --- what the local side does ---------------------------------------------------

    def open(self, service: int) -> int:
        """A new stream to the peer's ``service``; data may follow at once.

        Raises:
            LimitError: too many streams are open, or wait to be accepted.
        """
        if len(self._streams) >= MAX_STREAMS or len(self._opening) >= BACKLOG:
            raise LimitError(f"{len(self._streams)} streams are open already.")
        stream, self._next = self._next, self._next + 2
        self._streams[stream] = _Stream(stream)
        self._opening.add(stream)
        self._send_control(TYPE_WINDOW, SYN, stream, 0)
        self.write(stream, bytes([service]))
        return stream

    def accept(self, stream: int) -> None:
        """Tell the peer that its stream has reached the service."""
        if stream in self._streams:
            self._asked.discard(stream)
            self._send_control(TYPE_WINDOW, ACK, stream, 0)

    def write(self, stream: int, data: bytes) -> bool:
        """Queue bytes; False when the writer should wait for :meth:`drained`."""
        state = self._streams.get(stream)
        if state is None:
            return True
        state.queue.append(data)
        state.queued += len(data)
        state.full = state.full or state.queued >= _QUEUE_HIGH
        self._take_turn(state)
        return not state.full

    def finish(self, stream: int) -> None:
        """Say, after what is queued, that no more will come."""
        state = self._streams.get(stream)
        if state is not None:
            state.finishing = True
            self._take_turn(state)

    def reset(self, stream: int) -> None:
        """End a stream abruptly; nothing happens if it has ended."""
        if stream in self._streams:
            self._forget(self._streams[stream])
            self._send_control(TYPE_WINDOW, RST, stream, 0)

    def consumed(self, stream: int, size: int) -> None:
        """Give the peer credit for bytes that the local reader has taken."""
        state = self._streams.get(stream)
        if state is None or state.fin_received:
            return
        state.credit += size
        if state.credit >= WINDOW // 4:
            self._send_control(TYPE_WINDOW, 0, stream, state.credit)
            state.receive_window += state.credit
            state.credit = 0

    def abandon(self) -> None:
        """Queue the GOAWAY that tells the peer of its protocol error."""
        self._send_control(TYPE_GOAWAY, 0, 0, GOAWAY_PROTOCOL_ERROR)

    def is_silent(self, now: float) -> bool:
        """Whether the peer has been silent for so long that it counts as gone."""
        return now - self._heard > SILENCE

    def tick(self, now: float) -> list[Event]:
        """Do what the time demands: ping, and reset half-closed streams that rest."""
        self._now = now
        if now - self._pinged >= PING_INTERVAL and self._heard >= self._pinged:
            self._pinged = now
            self._send_control(TYPE_PING, SYN, 0, 0)
        resting = [
            state.number
            for state in self._streams.values()
            if state.fin_sent and now - state.last_byte > HALF_CLOSED
        ]
        for stream in resting:
            self.reset(stream)
        return [Reset(stream) for stream in resting]

    # --- bytes out ------------------------------------------------------------------

    def data_to_send(self) -> list[bytes]:
        """The next part of the byte stream, as parts to be joined once.

        About one frame of 64 KiB at most, control frames first; empty when there is
        nothing to send or every window is used up.
        """
        parts = self._control[:_CONTROL_FRAMES]
        del self._control[:_CONTROL_FRAMES]
        size = len(parts) * FRAME_HEADER_SIZE
        while self._turns and size < MAX_FRAME - FRAME_HEADER_SIZE:
            state = self._turns.popleft()
            state.ready = False
            if state.sendable:
                limit = _SHARED_FRAME if self._turns else MAX_FRAME
                size += self._send_data(state, limit, parts)
                self._take_turn(state)
        return parts

    def drained(self) -> list[int]:
        """Streams that asked their writer to wait and now have room again."""
        drained, self._drained = self._drained, []
        return drained

    def _take_turn(self, state: _Stream) -> None:
        if not state.ready and state.sendable:
            state.ready = True
            self._turns.append(state)

    def _send_data(self, state: _Stream, limit: int, parts: list[bytes]) -> int:
        """Append one DATA frame of the stream to ``parts``; its size."""
        room = min(limit, state.send_window)
        payload: list[bytes] = []
        size = 0
        while state.queue and size < room:
            chunk = state.queue.popleft()
            if len(chunk) > room - size:
                state.queue.appendleft(chunk[room - size :])
                chunk = chunk[: room - size]
            payload.append(chunk)
            size += len(chunk)
        state.queued -= size
        state.send_window -= size
        state.last_byte = self._now
        flags = 0
        if state.finishing and not state.queued:
            flags, state.fin_sent = FIN, True
        if state.full and state.queued <= _QUEUE_LOW:
            state.full = False
            self._drained.append(state.number)
        parts.append(encode_header(TYPE_DATA, flags, state.number, size))
        parts += payload
        self._forget_if_done(state)
        return FRAME_HEADER_SIZE + size

    def _send_control(self, kind: int, flags: int, stream: int, length: int) -> None:
        self._control.append(encode_header(kind, flags, stream, length))

    # --- bytes in -------------------------------------------------------------------

    def receive(self, data: memoryview, now: float) -> list[Event]:
        """What the peer's bytes mean, in order.

        Raises:
            ProtocolError: the peer broke a rule; :meth:`abandon` the session.
        """
        self._now = self._heard = now
        events: list[Event] = []
        for frame in self._decoder.receive(data):
            if frame.type == TYPE_PING:
                if frame.flags & SYN:
                    self._send_control(TYPE_PING, ACK, 0, frame.length)
            elif frame.type == TYPE_GOAWAY:
                events.append(GoneAway(frame.length))
            else:
                self._receive_on_stream(frame, events)
        if len(self._control) > _CONTROL_FRAMES:
            raise ProtocolError("The peer asks more than it reads.")
        return events

    def _receive_on_stream(self, frame: Frame, events: list[Event]) -> None:
        if frame.flags & SYN:
            self._receive_open(frame.stream)
        state = self._streams.get(frame.stream)
        if state is None:
            self._check_ended(frame.stream)
            return
        if frame.flags & RST:
            self._forget(state)
            events.append(Reset(frame.stream))
            return
        if frame.flags & ACK:
            self._opening.discard(frame.stream)
        if frame.type == TYPE_WINDOW:
            self._receive_credit(state, frame.length)
        elif not self._receive_data(state, frame.payload, events):
            return
        if frame.flags & FIN:
            self._receive_end(state, events)

    def _receive_open(self, stream: int) -> None:
        if stream % 2 != self._peer_parity or stream <= self._last_peer:
            raise ProtocolError(f"The peer may not open stream {stream}.")
        self._last_peer = stream
        if len(self._streams) >= MAX_STREAMS or len(self._asked) >= BACKLOG:
            self._send_control(TYPE_WINDOW, RST, stream, 0)
        else:
            self._streams[stream] = _Stream(stream)
            self._asked.add(stream)

    def _check_ended(self, stream: int) -> None:
        """Late frames of an ended stream are dropped; of an unopened one, refused."""
        opened_by_peer = stream % 2 == self._peer_parity
        if stream > (self._last_peer if opened_by_peer else self._next - 2):
            raise ProtocolError(f"Stream {stream} was never opened.")

    def _receive_credit(self, state: _Stream, delta: int) -> None:
        state.send_window += delta
        if state.send_window > 0xFFFFFFFF:
            raise ProtocolError(f"The window of stream {state.number} overflows.")
        self._take_turn(state)

    def _receive_data(
        self, state: _Stream, data: memoryview, events: list[Event]
    ) -> bool:
        """Whether the stream still exists afterwards."""
        state.last_byte = self._now
        state.receive_window -= len(data)
        if state.fin_received or state.receive_window < 0:
            self.reset(state.number)
            events.append(Reset(state.number))
            return False
        if len(data) and not state.named and state.number % 2 == self._peer_parity:
            state.named = True
            events.append(Opened(state.number, data[0]))
            self.consumed(state.number, 1)
            data = data[1:]
        if len(data):
            events.append(Received(state.number, data))
        return True

    def _receive_end(self, state: _Stream, events: list[Event]) -> None:
        if state.fin_received:
            return
        state.fin_received = True
        if state.number % 2 == self._peer_parity and not state.named:
            self.reset(state.number)
            return
        events.append(Finished(state.number))
        self._forget_if_done(state)

    def _forget_if_done(self, state: _Stream) -> None:
        if state.fin_sent and state.fin_received:
            self._forget(state)

    def _forget(self, state: _Stream) -> None:
        del self._streams[state.number]
        self._opening.discard(state.number)
        self._asked.discard(state.number)
        state.queue.clear()
        state.queued = 0
        state.finishing = False
