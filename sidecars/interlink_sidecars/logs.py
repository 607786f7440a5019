"""Reading a log file as Kubernetes reads one: tail, limit, since, follow.

Owns no file: the writer is the job. Memory stays bounded whatever the file's size.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from .api.messages import LogOptions

CHUNK: Final = 64 * 1024
FOLLOW_SECONDS: Final = 0.5
SILENT_SECONDS: Final = 0.2


async def read_log(
    path: Path, options: LogOptions, *, ended: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    """The bytes of a log that ``options`` ask for.

    ``ended`` says whether the writer has finished; a followed log goes on until then.
    ``Bytes`` limits from the beginning, as Kubernetes does. Lines carry no time, so
    ``Since`` can only leave out a log that was not written to since then.
    """
    while not path.exists():
        if not options.follow or ended():
            return
        await asyncio.sleep(FOLLOW_SECONDS)
    left = options.limit_bytes or None
    with path.open("rb") as file:
        file.seek(_start(file, options))
        while True:
            over = ended()  # asked before reading: what is written before it is read
            while chunk := file.read(CHUNK if left is None else min(CHUNK, left)):
                yield chunk
                if left is not None:
                    left -= len(chunk)
            if over or not options.follow or left == 0:
                return
            await asyncio.sleep(FOLLOW_SECONDS)


async def announced(
    stream: AsyncIterator[bytes], line: Callable[[], bytes]
) -> AsyncGenerator[bytes, None]:
    """The stream, after a line of its own where it has nothing to say at once.

    interLink gives up on a log whose first byte does not come soon.
    """
    first = asyncio.ensure_future(anext(stream, None))
    try:
        await asyncio.wait({first}, timeout=SILENT_SECONDS)
        if not first.done():
            yield line()
        chunk = await first
        while chunk is not None:
            yield chunk
            chunk = await anext(stream, None)
    finally:
        first.cancel()


def _start(file: BinaryIO, options: LogOptions) -> int:
    since = options.since(datetime.now(UTC))
    if since and os.fstat(file.fileno()).st_mtime < since.timestamp():
        return file.seek(0, os.SEEK_END)
    return _tail(file, options.tail) if options.tail else 0


def _tail(file: BinaryIO, lines: int) -> int:
    """Where the last ``lines`` lines begin; a last line without newline counts."""
    position = end = file.seek(0, os.SEEK_END)
    wanted = lines
    while position > 0:
        size = min(CHUNK, position)
        position -= size
        file.seek(position)
        block = file.read(size)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            if position + at == end - 1:
                continue
            wanted -= 1
            if wanted == 0:
                return position + at + 1
    return 0
