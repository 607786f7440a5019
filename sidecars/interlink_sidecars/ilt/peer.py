"""Whose socket is at the other end of a loopback connection.

Source: proc(5), ``/proc/net/tcp``. On a shared compute node anybody may connect to
127.0.0.1, so the agent asks the kernel before it lets a connection reach the hub.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Iterable

_TABLE = "/proc/net/tcp"


def is_ours(transport: asyncio.BaseTransport) -> bool:
    """Whether an accepted loopback connection was made under our own UID."""
    peer = transport.get_extra_info("peername")
    local = transport.get_extra_info("sockname")
    try:
        with open(_TABLE, encoding="ascii") as table:  # noqa: PTH123
            return find_uid(table, peer, local) == os.getuid()
    except OSError:
        return False


def find_uid(
    table: Iterable[str], local: tuple[str, int], remote: tuple[str, int]
) -> int | None:
    """The UID that owns the socket ``local`` connected to ``remote``, or None."""
    wanted = [_hex_address(local), _hex_address(remote)]
    for line in table:
        fields = line.split()
        if fields[1:3] == wanted:
            return int(fields[7])
    return None


def _hex_address(address: tuple[str, int]) -> str:
    """As the kernel prints it: the address as a native integer, then the port."""
    number = int.from_bytes(socket.inet_aton(address[0]), sys.byteorder)
    return f"{number:08X}:{address[1]:04X}"
