"""A queue of keys to work on: merges duplicates, one worker per key, backs off.

The semantics of client-go's rate-limited work queue, as dask-gateway has them in
``workqueue.py``: a key that is put while it is worked on is worked on once more
afterwards. Must not know what a key means.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Let it not happen."""


class Clock(Protocol):
    """What the queue needs of an event loop; a test has its own."""

    def time(self) -> float:
        """Seconds, from any beginning."""

    def call_at(self, when: float, callback: Callable[..., None], key: str) -> Timer:
        """Call ``callback(key)`` at that time."""


class WorkQueue:
    """Keys that wait for a worker, now or after a delay.

    Args:
        first_delay: seconds before the first retry of a key; doubled for each more.
        longest_delay: seconds that no retry waits longer than.
    """

    def __init__(
        self, *, first_delay: float = 0.5, longest_delay: float = 10.0, clock: Clock
    ) -> None:
        self._first_delay = first_delay
        self._longest_delay = longest_delay
        self._clock = clock
        self._waiting: deque[str] = deque()
        self._working: set[str] = set()
        self._again: set[str] = set()
        self._timers: dict[str, tuple[float, Timer]] = {}
        self._failures: dict[str, int] = {}
        self._available = asyncio.Semaphore(0)

    def put(self, key: str) -> None:
        """Let a worker have the key as soon as one is free."""
        self._drop_timer(key)
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.append(key)
            self._available.release()

    def put_after(self, key: str, delay: float) -> None:
        """The same after ``delay`` seconds, unless it is due earlier already."""
        when = self._clock.time() + delay
        if key in self._timers:
            if self._timers[key][0] <= when:
                return
            self._drop_timer(key)
        self._timers[key] = when, self._clock.call_at(when, self.put, key)

    def put_backoff(self, key: str) -> None:
        """The same after a delay that doubles from call to call until `forget`."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = self._first_delay * 2.0 ** min(failures, 30)
        self.put_after(key, min(delay, self._longest_delay))

    def forget(self, key: str) -> None:
        """The key's work succeeded: its next failure is a first one again."""
        self._failures.pop(key, None)

    async def get(self) -> str:
        """The next key; nobody else gets it until `done`."""
        await self._available.acquire()
        key = self._waiting.popleft()
        self._working.add(key)
        return key

    def done(self, key: str) -> None:
        """The worker is through with the key."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.put(key)

    def close(self) -> None:
        """Cancel every delayed put."""
        for key in list(self._timers):
            self._drop_timer(key)

    def _drop_timer(self, key: str) -> None:
        if key in self._timers:
            self._timers.pop(key)[1].cancel()
