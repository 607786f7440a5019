"""Reading logs: which bytes, and when a followed log ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlink_sidecars import logs
from interlink_sidecars.api.messages import LogOptions
from interlink_sidecars.logs import announced, read_log


async def read(path: Path, *, ended: bool = True, **options: Any) -> bytes:
    chunks = read_log(path, LogOptions(**options), ended=lambda: ended)
    return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize(
    ("tail", "expected"),
    [(1, b"c"), (2, b"b\nc"), (3, b"a\nb\nc"), (9, b"a\nb\nc")],
)
async def test_tail(tmp_path: Path, tail: int, expected: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a\nb\nc")
    assert await read(path, tail=tail) == expected
    path.write_bytes(b"a\nb\nc\n")
    assert await read(path, tail=tail) == expected + b"\n"


@given(st.lists(st.sampled_from([b"", b"a", b"bc"])), st.integers(1, 6), st.booleans())
async def test_tail_is_what_splitlines_says(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[bytes],
    tail: int,
    newline: bool,
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    data = b"\n".join(lines) + (b"\n" if newline and lines else b"")
    path.write_bytes(data)
    expected = b"".join(data.splitlines(keepends=True)[-tail:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "CHUNK", 2)  # several blocks even here
        assert await read(path, tail=tail) == expected


async def test_limit_is_from_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"abcdef")
    assert await read(path, limit_bytes=4) == b"abcd"
    assert await read(path, limit_bytes=6) == b"abcdef"
    assert await read(path, limit_bytes=4, follow=True, ended=False) == b"abcd"


async def test_since(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"old")
    os.utime(path, (0, 1000))
    assert await read(path, since_seconds=60) == b""
    assert await read(path, since_time=datetime.fromtimestamp(999, UTC)) == b"old"


async def test_no_log_yet(tmp_path: Path) -> None:
    assert await read(tmp_path / "log", ended=False) == b""
    assert await read(tmp_path / "log", follow=True) == b""


async def test_follow_loses_nothing_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "FOLLOW_SECONDS", 0.01)
    path = tmp_path / "log"
    over = False
    stream = read_log(path, LogOptions(follow=True), ended=lambda: over)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.05)
    path.write_bytes(b"first")
    assert await waiting == b"first"
    with path.open("ab") as file:
        file.write(b"last")
    over = True
    assert await anext(stream) == b"last"
    assert await anext(stream, None) is None


async def test_silence_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "SILENT_SECONDS", 0.01)
    go_on = asyncio.Event()

    async def stream() -> AsyncIterator[bytes]:
        await go_on.wait()
        yield b"a"
        yield b"b"

    found = announced(stream(), lambda: b"# queued\n")
    assert await anext(found) == b"# queued\n"
    go_on.set()
    assert [chunk async for chunk in found] == [b"a", b"b"]
    at_once = announced(stream(), lambda: b"# queued\n")
    assert [chunk async for chunk in at_once] == [b"a", b"b"]


async def test_leaving_an_announced_log_ends_its_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "SILENT_SECONDS", 0.01)
    left = asyncio.Event()

    async def stream() -> AsyncIterator[bytes]:
        try:
            await asyncio.Event().wait()
            yield b""
        finally:
            left.set()

    found = announced(stream(), lambda: b"#")
    await anext(found)
    await found.aclose()
    await asyncio.wait_for(left.wait(), 1)
