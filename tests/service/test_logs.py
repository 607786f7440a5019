"""Offsets, generations and ends of a log that comes in pieces and breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlink_sidecars.api.errors import ApiError
from interlinkspawner.service import logs
from interlinkspawner.service.logs import ContainerLog, LogChunk, Ring, chunk

LOST = ApiError("The connection broke.")


def read(ring: Ring, offset: int, limit: int, *, complete: bool = True) -> LogChunk:
    return chunk(ring, offset, limit, complete=complete, message="")


@given(st.lists(st.binary(max_size=40)), st.integers(1, 60))
def test_ring_keeps_the_last_bytes(pieces: list[bytes], capacity: int) -> None:
    ring = Ring(capacity)
    for piece in pieces:
        ring.append(piece)
    stream = b"".join(pieces)
    assert ring.size == len(stream)
    assert ring.read(0, capacity) == stream[-capacity:]


@given(st.text(max_size=60), st.integers(4, 20))
def test_reader_in_steps_gets_the_whole_text(text: str, limit: int) -> None:
    ring = Ring(1000)
    ring.append(text.encode())
    offset, got = 0, ""
    while offset < ring.size:
        piece = read(ring, offset, limit)
        assert piece.next_offset > offset
        offset, got = piece.next_offset, got + piece.data
    assert got == text


@given(st.binary(max_size=60), st.integers(4, 20))
def test_reader_in_steps_ends_whatever_the_bytes(data: bytes, limit: int) -> None:
    ring = Ring(40)
    ring.append(data)
    offset = 0
    while offset < ring.size:
        piece = read(ring, offset, limit)
        assert piece.next_offset > offset
        offset = piece.next_offset


def test_half_a_character_waits_for_its_rest() -> None:
    ring = Ring(100)
    ring.append("a€".encode()[:-1])
    assert read(ring, 0, 100, complete=False).data == "a"
    assert read(ring, 0, 100, complete=True).data == "a\N{REPLACEMENT CHARACTER}"


def test_late_reader_is_told_that_the_head_is_lost() -> None:
    ring = Ring(4)
    ring.append("é-é-é".encode())
    late = read(ring, 0, 100)
    assert (late.data, late.offset, late.head_lost) == ("-é", 5, True)
    assert not read(ring, 5, 100).head_lost


def test_negative_offset_counts_from_the_end() -> None:
    ring = Ring(100)
    ring.append(b"one\ntwo\n")
    assert read(ring, -4, 100).data == "two\n"
    assert read(ring, -50, 100).data == "one\ntwo\n"


def test_offset_beyond_the_end_reads_nothing() -> None:
    ring = Ring(100)
    ring.append(b"abc")
    beyond = read(ring, 10, 100)
    assert (beyond.data, beyond.offset, beyond.next_offset) == ("", 3, 3)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_RETRY_SECONDS", (0,))


class Upstream:
    """A log that is read in passes: each ends, or breaks off with an error."""

    def __init__(self, *passes: list[bytes | ApiError]) -> None:
        self.passes = list(passes)

    async def __call__(self) -> AsyncGenerator[bytes, None]:
        for part in self.passes.pop(0):
            if isinstance(part, ApiError):
                raise part
            yield part


def log_of(*passes: list[bytes | ApiError]) -> ContainerLog:
    return ContainerLog(Upstream(*passes), capacity=100)


async def test_log_of_an_ended_container_is_complete_after_one_pass() -> None:
    log = log_of([b"one\n", b"two\n"])
    log.pod_changed(ended=True, gone=False)
    await log.read()
    assert log.complete
    assert log.ring.read(0, 100) == b"one\ntwo\n"


async def test_broken_log_goes_on_where_it_was() -> None:
    log = log_of([b"one\n", LOST], [b"one", b"\ntwo\n"])
    log.pod_changed(ended=True, gone=False)
    generation = log.ring.generation
    await log.read()
    assert log.ring.read(0, 100) == b"one\ntwo\n"
    assert log.ring.generation == generation


async def test_log_that_reads_differently_is_a_new_generation() -> None:
    log = log_of([b"one\n", LOST], [b"ONE\ntwo\n"], [b"ONE\ntwo\n"])
    log.pod_changed(ended=True, gone=False)
    generation = log.ring.generation
    await log.read()
    assert log.ring.read(0, 100) == b"ONE\ntwo\n"
    assert log.ring.generation != generation


async def test_pass_that_began_before_the_end_is_read_again() -> None:
    upstream = Upstream([b"one\n"], [b"one\ntwo\n"])
    log = ContainerLog(upstream, capacity=100)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(log.read())
        await log.answered.wait()
        log.pod_changed(ended=True, gone=False)
    assert log.ring.read(0, 100) == b"one\ntwo\n"


async def test_log_of_a_pod_that_is_gone_is_what_was_read_of_it() -> None:
    log = log_of([b"one\n", LOST], [b"of the next pod with this name\n"])
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(log.read())
        await log.answered.wait()
        log.pod_changed(ended=True, gone=True)
    assert log.complete
    assert log.ring.read(0, 100) == b"one\n"


async def test_error_is_told_until_the_log_answers() -> None:
    upstream = Upstream([ApiError("The container is waiting to start.")], [b"hello"])
    log = ContainerLog(upstream, capacity=100)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(log.read())
        await log.answered.wait()
        assert log.message == "The container is waiting to start."
        log.pod_changed(ended=True, gone=False)
    assert log.message == ""
    assert log.ring.read(0, 100) == b"hello"
