"""The work queue on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from interlink_vk.pods.queue import WorkQueue


@dataclass(eq=False)
class Call:
    when: float
    callback: Callable[..., None]
    key: str
    clock: FakeClock

    def cancel(self) -> None:
        self.clock.calls.discard(self)


@dataclass
class FakeClock:
    now: float = 100.0
    calls: set[Call] = field(default_factory=set)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], key: str) -> Call:
        call = Call(when, callback, key, self)
        self.calls.add(call)
        return call

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for call in sorted(self.calls, key=lambda call: call.when):
            if call.when <= self.now:
                self.calls.discard(call)
                call.callback(call.key)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> WorkQueue:
    return WorkQueue(clock=clock, first_delay=1.0, longest_delay=5.0)


async def taken(queue: WorkQueue) -> str | None:
    """The key that is ready now, or None."""
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if waiting.done():
        return waiting.result()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return None


async def test_merges_a_key_that_waits_already(queue: WorkQueue) -> None:
    queue.put("a")
    queue.put("a")
    queue.put("b")
    assert [await taken(queue), await taken(queue), await taken(queue)] == [
        "a",
        "b",
        None,
    ]


async def test_gives_a_key_to_one_worker_at_a_time(queue: WorkQueue) -> None:
    queue.put("a")
    assert await taken(queue) == "a"
    queue.put("a")
    assert await taken(queue) is None
    queue.done("a")
    assert await taken(queue) == "a"


async def test_done_alone_does_not_bring_a_key_back(queue: WorkQueue) -> None:
    queue.put("a")
    assert await taken(queue) == "a"
    queue.done("a")
    assert await taken(queue) is None


async def test_waits_for_a_delay(queue: WorkQueue, clock: FakeClock) -> None:
    queue.put_after("a", 3.0)
    clock.advance(2.9)
    assert await taken(queue) is None
    clock.advance(0.2)
    assert await taken(queue) == "a"


async def test_keeps_the_earliest_delay(queue: WorkQueue, clock: FakeClock) -> None:
    queue.put_after("a", 3.0)
    queue.put_after("a", 1.0)
    queue.put_after("a", 2.0)
    clock.advance(1.0)
    assert await taken(queue) == "a"
    queue.done("a")
    clock.advance(10.0)
    assert await taken(queue) is None


async def test_a_put_makes_a_delay_needless(queue: WorkQueue, clock: FakeClock) -> None:
    queue.put_after("a", 3.0)
    queue.put("a")
    assert await taken(queue) == "a"
    queue.done("a")
    clock.advance(3.0)
    assert await taken(queue) is None


async def test_backs_off_up_to_the_longest_delay(
    queue: WorkQueue, clock: FakeClock
) -> None:
    for delay in (1.0, 2.0, 4.0, 5.0, 5.0):
        queue.put_backoff("a")
        clock.advance(delay - 0.1)
        assert await taken(queue) is None
        clock.advance(0.2)
        assert await taken(queue) == "a"
        queue.done("a")


async def test_a_success_makes_the_next_failure_a_first_one(
    queue: WorkQueue, clock: FakeClock
) -> None:
    queue.put_backoff("a")
    clock.advance(1.0)
    await taken(queue)
    queue.done("a")
    queue.forget("a")
    queue.put_backoff("a")
    clock.advance(1.0)
    assert await taken(queue) == "a"


async def test_close_cancels_what_is_delayed(
    queue: WorkQueue, clock: FakeClock
) -> None:
    queue.put_after("a", 1.0)
    queue.close()
    assert not clock.calls
