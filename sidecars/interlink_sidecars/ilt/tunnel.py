"""The agent's tunnel child: dials the gateway for as long as the server lives.

Owns one :class:`~.session.Session`, the endpoints' order and the waiting between two
attempts. It may be killed at any time: the parent starts another one, which inherits
the hub listener and finds the server where it was.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import socket
from typing import Callable

from .dial import dial
from .errors import DeniedError, TunnelError
from .messages import BYE_ENDED, BYE_TAKEN_OVER, Bye
from .mux import HUB, NOTEBOOK
from .peer import is_ours
from .session import Session
from .sessionfile import SessionFile
from .splice import Splice

_DELAYS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_STEADY = 10.0
"""Seconds after which a carrier counts as good, so that the next dial is at once."""
_REPLACED = 300.0
"""Seconds to stay away after another agent took over: two would take turns for ever."""
_BACKLOG_DELAY = 0.05

_tunnel_log = logging.getLogger("interlink.tunnel")


class Tunnel:
    """Streams between the server's unix socket, the hub listener and the gateway.

    Args:
        server_socket: path of the unix socket that the server listens on.
        hub_listener: listening socket for the server's calls to the hub.
        welcomed: called after each welcome.
    """

    def __init__(
        self,
        file: SessionFile,
        *,
        server_socket: str,
        hub_listener: socket.socket,
        welcomed: Callable[[], None],
    ) -> None:
        self._file = file
        self._server_socket = server_socket
        self._hub_listener = hub_listener
        self._welcomed = welcomed
        self._session = Session(client=True, on_change=lambda: None)

    async def run(self) -> None:
        """Serve until cancelled; cancelling says goodbye to the gateway."""
        loop = asyncio.get_running_loop()
        hub = await loop.create_server(
            self._session.listener(HUB, admit=is_ours), sock=self._hub_listener
        )
        try:
            await self._dial_for_ever()
        finally:
            hub.close()
            self._session.close(Bye(BYE_ENDED, "The server has ended."))

    async def _dial_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        for endpoint in itertools.cycle(self._file.endpoints):
            began, delay = loop.time(), _delay(attempt)
            try:
                reason = await self._serve(endpoint)
                if loop.time() - began > _STEADY:
                    attempt, delay = 0, _delay(0)
                if self._is_replaced():
                    delay = _REPLACED
            except DeniedError as error:
                reason, delay = str(error), max(delay, error.retry)
            except (OSError, TunnelError, asyncio.TimeoutError) as error:
                reason = str(error) or type(error).__name__
            attempt += 1
            _tunnel_log.info(
                "%s: %s; dialling again in %.1f s", endpoint, reason, delay
            )
            await asyncio.sleep(delay)

    async def _serve(self, endpoint: str) -> str:
        """Use one carrier until it closes; the reason."""
        carrier = await dial(endpoint, self._file)
        _tunnel_log.info("%s: welcomed", endpoint)
        self._session.attach(carrier, {NOTEBOOK: self._dial_server})
        self._welcomed()
        # Shielded: being cancelled must not look like the carrier's end, which would
        # leave nobody to say goodbye to.
        return await asyncio.shield(carrier.closed)

    async def _dial_server(self, factory: Callable[[], Splice]) -> None:
        """Connect to the server; while its backlog is full, Linux says EAGAIN."""
        local = socket.socket(socket.AF_UNIX)
        local.setblocking(False)
        try:
            while True:
                try:
                    local.connect(self._server_socket)
                    break
                except BlockingIOError:
                    await asyncio.sleep(_BACKLOG_DELAY)
        except BaseException:
            local.close()
            raise
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(factory, sock=local)

    def _is_replaced(self) -> bool:
        farewell = self._session.farewell
        return isinstance(farewell, Bye) and farewell.code == BYE_TAKEN_OVER


def _delay(attempt: int) -> float:
    """Seconds to wait after so many failures, ±50 % so that agents do not march."""
    return _DELAYS[min(attempt, len(_DELAYS) - 1)] * random.uniform(0.5, 1.5)  # noqa: S311
