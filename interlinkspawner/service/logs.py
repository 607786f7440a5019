"""Logs by byte offset: a ring for each container, fed by at most one reader.

The first viewer starts the reader, the last one's silence stops it, and the end of a
pod starts it once more, so that the tail of the log outlives the pod. Offsets count
from the first byte of the log; a reader that starts again compares what it reads with
what was read before, and where they differ the log is a new *generation*. This module
must not know who asks.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from traitlets import Float, Integer
from traitlets.config import LoggingConfigurable

from interlink_sidecars.api.errors import ApiError
from interlink_sidecars.api.kubernetes import Pod

from .jobs import Document
from .pods import Pods, Record

_RETRY_SECONDS: Final = (1, 2, 5, 15)
_FIRST_SECONDS: Final = 2


class LogChunk(Document):
    """A piece of a log. Offsets and sizes count bytes, ``data`` is UTF-8 text.

    ``offset`` is where ``data`` begins: later than asked, with ``head_lost``, where
    the ring has dropped what was asked for. ``generation`` is opaque; a new one means
    that everything shown so far is to be read again from 0. ``complete`` says that
    ``size`` will not grow. ``message`` says why there is no newer data, if not.
    """

    generation: str
    offset: int
    next_offset: int
    size: int
    data: str
    head_lost: bool
    complete: bool
    source: Literal["live", "archive"]
    message: str


class Ring:
    """The last ``capacity`` bytes of a stream, addressed from its first byte."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.generation = secrets.token_hex(8)
        self.size = 0
        self._kept = bytearray()
        self._digest = hashlib.sha256()

    @property
    def head(self) -> int:
        """Offset of the first byte that is still kept."""
        return self.size - len(self._kept)

    def append(self, data: bytes) -> None:
        """Add bytes at the end, dropping as many at the head as do not fit."""
        self.size += len(data)
        self._digest.update(data)
        self._kept += data
        del self._kept[: -self.capacity]

    def read(self, offset: int, limit: int) -> bytes:
        """At most ``limit`` bytes from ``offset``, or from the head if later."""
        start = max(offset, self.head) - self.head
        return bytes(self._kept[start : start + limit])

    def continues(self, digest: bytes) -> bool:
        """Whether the bytes with this SHA-256 are the stream so far."""
        return digest == self._digest.digest()


def chunk(
    ring: Ring, offset: int, limit: int, *, complete: bool, message: str
) -> LogChunk:
    """The part of a ring that a viewer asks for, cut between characters.

    A negative ``offset`` counts from the end.
    """
    offset = max(ring.size + offset, 0) if offset < 0 else offset
    start = min(max(offset, ring.head), ring.size)
    data = ring.read(start, limit)
    lead = _continuation_bytes(data) if start else 0
    start, data = start + lead, data[lead:]
    if not (complete and start + len(data) == ring.size):
        data = data[: len(data) - _unfinished_bytes(data)]
    return LogChunk(
        generation=ring.generation,
        offset=start,
        next_offset=start + len(data),
        size=ring.size,
        data=data.decode(errors="replace"),
        head_lost=offset < ring.head,
        complete=complete,
        source="archive" if complete else "live",
        message=message,
    )


def _continuation_bytes(data: bytes) -> int:
    """How many bytes at the start belong to a character whose head is lost."""
    return next((i for i, byte in enumerate(data[:3]) if byte & 0xC0 != 0x80), 0)


def _unfinished_bytes(data: bytes) -> int:
    """How many bytes at the end belong to a character that is not all there."""
    for back, byte in enumerate(reversed(data[-3:]), start=1):
        if byte & 0xC0 == 0x80:
            continue
        length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return back if length > back else 0
    return 0


class ContainerLog:
    """One container's ring, and how it is filled.

    Args:
        stream: opens the log anew, from its first byte.
        capacity: bytes to keep.
    """

    def __init__(
        self, stream: Callable[[], AsyncGenerator[bytes, None]], *, capacity: int
    ) -> None:
        self._stream = stream
        self._news = asyncio.Event()
        self._ended = False
        self._gone = False
        self.ring = Ring(capacity)
        self.answered = asyncio.Event()
        """Set once the log, its end or an error has been seen."""
        self.complete = False
        self.message = ""

    def pod_changed(self, *, ended: bool, gone: bool) -> None:
        """Something happened to the pod; ``ended`` and ``gone`` are for good."""
        self._ended = ended
        self._gone = gone
        self._news.set()

    async def read(self) -> None:
        """Feed the ring until the log is complete; may be cancelled and repeated."""
        waits = iter(_RETRY_SECONDS)
        while True:
            self._news.clear()
            size = self.ring.size
            await self._pass()
            self.answered.set()
            if self.complete:
                return
            if self.ring.size > size:
                waits = iter(_RETRY_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(next(waits, _RETRY_SECONDS[-1])):
                    await self._news.wait()

    async def _pass(self) -> None:
        """Read the log once, from its first byte to wherever it stops now.

        A pass that began after the container's end and reached the end of the log
        has seen all of it. Of a pod that is gone nothing is read any more: the next
        server of the same user has a pod of the same name.
        """
        if self._gone:
            self.complete = True
            return
        ended = self._ended
        try:
            async with aclosing(self._stream()) as stream:
                same = await self._take(stream)
            self.message = ""
            self.complete = ended and same
        except ApiError as error:
            self.message = error.message

    async def _take(self, stream: AsyncGenerator[bytes, None]) -> bool:
        """Append what is new; False where the log is another one than before."""
        known = self.ring.size
        prefix = hashlib.sha256()
        async for data in stream:
            old = data[:known]
            if old:
                prefix.update(old)
                known -= len(old)
                if known == 0 and not self.ring.continues(prefix.digest()):
                    self.ring = Ring(self.ring.capacity)
                    return False
            if new := data[len(old) :]:
                self.ring.append(new)
                self.answered.set()
        return True


@dataclass(slots=True)
class _Reader:
    """A log, the task that reads it, and when it was last asked for (loop time)."""

    log: ContainerLog
    asked_at: float = 0.0
    kept: bool = False
    task: asyncio.Task[None] | None = None


class Logs(LoggingConfigurable):
    """The logs of all containers that were asked for or have ended."""

    capacity = Integer(
        256 * 1024, help="Bytes kept of each container's log, the last ones."
    ).tag(config=True)

    idle = Float(
        60, help="Seconds without a viewer after which a log is no longer followed."
    ).tag(config=True)

    def __init__(self, pods: Pods, **kwargs: object) -> None:
        """Take part in ``pods``: its changes tell which logs to keep."""
        super().__init__(**kwargs)
        self._pods = pods
        self._readers: dict[tuple[str, str], _Reader] = {}
        self._tasks = asyncio.TaskGroup()
        pods.on_change = self._pod_changed

    async def run(self) -> None:
        """Own the readers until cancelled."""
        async with self._tasks:
            while True:
                await asyncio.sleep(self.idle / 4)
                self._sweep()

    async def chunk(
        self, pod: Pod, container: str, offset: int, limit: int
    ) -> LogChunk:
        """What the log holds from ``offset``; begins to follow it if nobody does."""
        reader = self._reader(pod, container)
        reader.asked_at = asyncio.get_running_loop().time()
        if self._start(reader):
            with suppress(TimeoutError):
                async with asyncio.timeout(_FIRST_SECONDS):
                    await reader.log.answered.wait()
        log = reader.log
        return chunk(
            log.ring, offset, limit, complete=log.complete, message=log.message
        )

    def _reader(self, pod: Pod, container: str) -> _Reader:
        key = (pod.uid, container)
        if key not in self._readers:
            stream = partial(self._pods.follow_log, pod.metadata.name, container)
            log = ContainerLog(stream, capacity=self.capacity)
            self._readers[key] = _Reader(log)
        return self._readers[key]

    def _start(self, reader: _Reader) -> bool:
        """Begin to read unless that is going on or over."""
        task = reader.task
        if reader.log.complete or (task and not task.done() and not task.cancelling()):
            return False
        reader.task = self._tasks.create_task(reader.log.read())
        return True

    def _pod_changed(self, record: Record) -> None:
        """Tell the readers, and secure the logs of a pod that leaves or has ended."""
        pod = Pod.model_validate(record.pod)
        gone = record.gone_at is not None
        ended = gone or pod.phase in {"Succeeded", "Failed"}
        leaving = ended or pod.metadata.deletion_timestamp is not None
        for container in pod.spec.containers:
            if not leaving and (pod.uid, container.name) not in self._readers:
                continue
            reader = self._reader(pod, container.name)
            reader.log.pod_changed(ended=ended, gone=gone)
            if leaving:
                reader.kept = True
                self._start(reader)

    def _sweep(self) -> None:
        """Stop readers without viewers, and forget the logs of forgotten pods."""
        oldest = asyncio.get_running_loop().time() - self.idle
        for key, reader in list(self._readers.items()):
            known = key[0] in self._pods
            unseen = reader.asked_at < oldest and not reader.kept
            if reader.task is not None and (unseen or not known):
                reader.task.cancel()
            if not known:
                del self._readers[key]
