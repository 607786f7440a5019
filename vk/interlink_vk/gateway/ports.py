"""Which port a new session may have.

A port that has just been freed rests: a stale route of the hub's proxy to it must not
reach another user's session. It must not know sockets; whether a port is free on this
host is seen when it is bound.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator


class Ports:
    """The ports from ``first`` to ``last``.

    Args:
        rest: seconds for which a freed port is not given again.
        clock: monotonic seconds.
    """

    def __init__(
        self, first: int, last: int, *, rest: float, clock: Callable[[], float]
    ) -> None:
        self._first = first
        self._count = last - first + 1
        self._rest = rest
        self._clock = clock
        # Freed ports are forgotten in a restart; a random start keeps them apart.
        self._next = random.randrange(self._count)  # noqa: S311
        self._used: set[int] = set()
        self._freed: dict[int, float] = {}

    def __contains__(self, port: int) -> bool:
        return self._first <= port < self._first + self._count

    def candidates(self) -> Iterator[int]:
        """Ports that may be taken now, beginning after the last one given."""
        start = self._next
        for offset in range(self._count):
            port = self._first + (start + offset) % self._count
            if port not in self._used and not self.rests(port):
                self._next = (start + offset + 1) % self._count
                yield port

    def take(self, port: int) -> None:
        """The port is bound, or kept for whom the hub knows by it."""
        self._used.add(port)

    def free(self, port: int) -> None:
        """The session has ended; the port rests from now on."""
        self._used.discard(port)
        self._freed[port] = self._clock()

    def rests(self, port: int) -> bool:
        """Whether the port was freed a short while ago."""
        freed = self._freed.get(port)
        return freed is not None and self._clock() - freed < self._rest
