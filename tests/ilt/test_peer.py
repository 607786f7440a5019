"""Whose connection it is, from the kernel's own table."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from interlink_sidecars.ilt.peer import find_uid, is_ours

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 0100007F:9C40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000
   1: 0100007F:9C41 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  1001
   2: 0100007F:9C40 0100007F:9C41 01 00000000:00000000 00:00000000 00000000  1000
""".splitlines()


@pytest.mark.skipif(sys.byteorder != "little", reason="the table is of such a machine")
def test_the_row_of_the_peers_own_socket_counts() -> None:
    ours, theirs = ("127.0.0.1", 40000), ("127.0.0.1", 40001)
    assert find_uid(TABLE, theirs, ours) == 1001
    assert find_uid(TABLE, ours, theirs) == 1000
    assert find_uid(TABLE, ("127.0.0.1", 40002), ours) is None


@pytest.mark.parametrize(("shift", "ours"), [(0, True), (1, False)])
async def test_a_real_connection(
    monkeypatch: pytest.MonkeyPatch, shift: int, ours: bool
) -> None:
    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    uid = os.getuid() + shift
    monkeypatch.setattr(os, "getuid", lambda: uid)

    class Asked(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            answer.set_result(is_ours(transport))
            transport.close()

    server = await asyncio.get_running_loop().create_server(Asked, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    _, writer = await asyncio.open_connection(*address)
    assert await answer is ours
    writer.close()
    server.close()
    await server.wait_closed()
