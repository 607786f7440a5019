"""One end of a tunnel: what outlives its carriers, for the agent and the gateway alike.

Local connections that ask for a service become streams of the carrier of the moment;
while there is none, some are held for a while. Streams that the other end opens are
joined to a local service of this end's own configuration. A newer carrier takes over.
It must not know how a carrier is made or checked, nor what the services are.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Awaitable, Callable, Mapping

from .carrier import Carrier
from .errors import LimitError, ProtocolError
from .messages import (
    BYE_ENDED,
    BYE_TAKEN_OVER,
    Bye,
    Data,
    Drain,
    data_parts,
    decode_message,
)
from .mux import BACKLOG, Event, Finished, GoneAway, Mux, Opened, Received
from .splice import READ_SIZE, Splice

HOLD = 15.0
"""Seconds that a local connection waits for a carrier."""
DIAL_TIMEOUT = 10.0
"""Seconds that a local service has to accept a connection."""
_TICK = 5.0

Dial = Callable[[Callable[[], Splice]], Awaitable[Any]]
"""Connects a local service with the protocol that the factory makes."""

_session_log = logging.getLogger("interlink.tunnel")


class Session:
    """The streams of one job, over one carrier after another.

    Args:
        client: whether this is the agent's end.
        on_change: called when a carrier has come or gone.
        hold: seconds that a local connection waits for a carrier.

    Attributes:
        farewell: what the other end said when it ended the last carrier, if anything.
    """

    def __init__(
        self, *, client: bool, on_change: Callable[[], None], hold: float = HOLD
    ) -> None:
        self.farewell: Bye | Drain | None = None
        self._client = client
        self._on_change = on_change
        self._hold = hold
        self._buffer = memoryview(bytearray(READ_SIZE))
        self._services: Mapping[int, Dial] = {}
        self._carrier: Carrier | None = None
        self._mux: Mux | None = None
        self._splices: dict[int, Splice] = {}
        self._held: dict[Splice, asyncio.TimerHandle] = {}
        self._dials: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._waking = False
        self._over = False

    @property
    def connected(self) -> bool:
        """Whether a carrier is attached."""
        return self._carrier is not None

    # --- carriers -------------------------------------------------------------------

    def attach(self, carrier: Carrier, services: Mapping[int, Dial]) -> None:
        """Use a carrier whose handshake is done; an older one is taken over.

        Args:
            services: what the other end may open streams to.
        """
        if self._carrier is not None:
            self._part(self._carrier, Bye(BYE_TAKEN_OVER, "a newer carrier is here"))
        loop = asyncio.get_running_loop()
        self._carrier, self._services, self._over = carrier, services, False
        self.farewell = None
        self._mux = Mux(client=self._client, now=loop.time())
        carrier.closed.add_done_callback(lambda _: self._lost(carrier))
        self._timer = loop.call_later(_TICK, self._tick)
        held, self._held = self._held, {}
        for splice, timer in held.items():
            timer.cancel()
            self._ask(splice)
        carrier.attach(self._received, self._flush)
        self._flush()
        self._on_change()

    def close(self, farewell: Bye | Drain) -> None:
        """Say why, end the carrier and every connection, held ones too."""
        self._over = True
        if self._carrier is not None:
            self._part(self._carrier, farewell)
        held, self._held = self._held, {}
        for splice, timer in held.items():
            timer.cancel()
            splice.abort()

    def _part(self, carrier: Carrier, farewell: Bye | Drain) -> None:
        carrier.send(farewell.encode())
        carrier.close(farewell.text)
        self._lost(carrier)

    def _lost(self, carrier: Carrier) -> None:
        """Without a carrier, no stream survives."""
        if carrier is not self._carrier:
            return
        carrier.detach()
        self._carrier = self._mux = None
        if self._timer is not None:
            self._timer.cancel()
        for task in self._dials:
            task.cancel()
        splices, self._splices = self._splices, {}
        for splice in splices.values():
            splice.abort()
        self._on_change()

    # --- the local side: what splices and listeners call ------------------------------

    def listener(
        self,
        service: int,
        admit: Callable[[asyncio.BaseTransport], bool] | None = None,
    ) -> Callable[[], Splice]:
        """A protocol factory for a server whose connections become streams."""
        return lambda: Splice(self, self._buffer, service, admit=admit)

    def joined(self, splice: Splice) -> None:
        """A local connection has come, or a dialled one is made."""
        if splice.stream is not None:
            if self._mux is not None:
                self._mux.accept(splice.stream)
                self._wake()
        elif self._carrier is not None:
            self._ask(splice)
            self._wake()
        elif self._over or len(self._held) >= BACKLOG:
            splice.abort()
        else:
            splice.wait()
            loop = asyncio.get_running_loop()
            self._held[splice] = loop.call_later(self._hold, splice.abort)

    def write(self, splice: Splice, data: bytes) -> bool:
        """See :meth:`~.splice.Streams.write`."""
        more = True
        if self._mux is not None and splice.stream is not None:
            more = self._mux.write(splice.stream, data)
            self._wake()
        return more

    def finish(self, splice: Splice) -> None:
        """See :meth:`~.splice.Streams.finish`."""
        if self._mux is not None and splice.stream is not None:
            self._mux.finish(splice.stream)
            self._wake()

    def consumed(self, splice: Splice, size: int) -> None:
        """See :meth:`~.splice.Streams.consumed`."""
        if self._mux is not None and splice.stream is not None:
            self._mux.consumed(splice.stream, size)
            self._wake()

    def left(self, splice: Splice, *, clean: bool) -> None:
        """See :meth:`~.splice.Streams.left`."""
        timer = self._held.pop(splice, None)
        if timer is not None:
            timer.cancel()
        if splice.stream is not None and self._splices.get(splice.stream) is splice:
            del self._splices[splice.stream]
            if self._mux is not None and not clean:
                self._mux.reset(splice.stream)
                self._wake()

    def _ask(self, splice: Splice) -> None:
        """Open a stream for a local connection."""
        assert self._mux is not None
        try:
            splice.stream = self._mux.open(splice.service)
        except LimitError as error:
            _session_log.warning("Connection refused: %s", error)
            splice.abort()
            return
        self._splices[splice.stream] = splice
        splice.resume()

    # --- the carrier's side -----------------------------------------------------------

    def _received(self, message: bytes) -> None:
        decoded = decode_message(message)
        if isinstance(decoded, Data):
            self._received_data(decoded.body)
        elif isinstance(decoded, (Bye, Drain)):
            self._ended_by_peer(decoded)
        else:
            raise ProtocolError("A message came out of turn.")

    def _received_data(self, body: memoryview) -> None:
        assert self._mux is not None
        try:
            events = self._mux.receive(body, asyncio.get_running_loop().time())
        except ProtocolError:
            self._mux.abandon()
            self._flush()
            raise
        for event in events:
            self._on_event(event)
        self._flush()

    def _ended_by_peer(self, farewell: Bye | Drain) -> None:
        assert self._carrier is not None
        self.farewell = farewell
        self._over = isinstance(farewell, Bye) and farewell.code == BYE_ENDED
        self._carrier.close(farewell.text)
        self._lost(self._carrier)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Opened):
            self._opened(event.stream, event.service)
        elif isinstance(event, GoneAway):
            raise ProtocolError(f"The other side went away with code {event.code}.")
        else:
            splice = self._splices.get(event.stream)
            if splice is None:
                return
            if isinstance(event, Received):
                splice.deliver(event.data)
            elif isinstance(event, Finished):
                splice.end()
            else:
                del self._splices[event.stream]
                splice.abort()

    def _opened(self, stream: int, service: int) -> None:
        dial = self._services.get(service)
        if dial is None:
            assert self._mux is not None
            self._mux.reset(stream)
            return
        splice = Splice(self, self._buffer, service, stream=stream)
        self._splices[stream] = splice
        task = asyncio.get_running_loop().create_task(self._dial(dial, splice))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _dial(self, dial: Dial, splice: Splice) -> None:
        try:
            await asyncio.wait_for(dial(lambda: splice), DIAL_TIMEOUT)
        except (OSError, asyncio.TimeoutError) as error:
            _session_log.warning("Service %d did not answer: %r", splice.service, error)
            self.left(splice, clean=False)

    def _tick(self) -> None:
        if self._mux is None or self._carrier is None:
            return
        loop = asyncio.get_running_loop()
        if self._mux.is_silent(loop.time()):
            self._carrier.abort("silence")
            return
        for event in self._mux.tick(loop.time()):
            self._on_event(event)
        self._flush()
        self._timer = loop.call_later(_TICK, self._tick)

    def _wake(self) -> None:
        """Send soon: everything of this turn of the event loop goes out together."""
        if not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._waking = False
        if self._carrier is None or self._mux is None:
            return
        while self._carrier.writable:
            parts = self._mux.data_to_send()
            if not parts:
                break
            self._carrier.send(data_parts(parts))
        for stream in self._mux.drained():
            splice = self._splices.get(stream)
            if splice is not None:
                splice.resume()
