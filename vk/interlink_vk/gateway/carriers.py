"""Lets agents in: the listener for carriers, and the gateway's half of the handshake.

A stranger gets a few seconds, a few kilobytes and one of few places, whatever it sends;
what it does ends at most its own connection. It must not know pods or ports.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
from collections.abc import Callable

from interlink_sidecars.ilt.carrier import Carrier
from interlink_sidecars.ilt.credential import Payload
from interlink_sidecars.ilt.errors import DeniedError, ProtocolError, TunnelError
from interlink_sidecars.ilt.handshake import (
    GONE,
    NONCE_SIZE,
    Challenge,
    Deny,
    Document,
    Hello,
    Resume,
    check_hello,
    decode_document,
    encode_document,
)
from interlink_sidecars.ilt.messages import MAX_MESSAGE, Ctrl, decode_message
from interlink_sidecars.ilt.websocket import server_websocket


class CarrierListener:
    """Accepts carriers at ``path`` and hands the welcomed ones on.

    Args:
        keys: the gateway keys accepted.
        replica: the gateway that payloads must name.
        find: the place of a payload's session; raises DeniedError if there is none.
        hello_timeout: seconds from the TCP connection to the end of the handshake.
        max_strangers: connections at most whose handshake is not done.
    """

    def __init__(
        self,
        *,
        path: str,
        keys: tuple[bytes, ...],
        replica: str,
        find: Callable[[Payload], Callable[[Carrier], None]],
        hello_timeout: float,
        max_strangers: int,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self._path = path
        self._keys = keys
        self._replica = replica
        self._find = find
        self._hello_timeout = hello_timeout
        self._max_strangers = max_strangers
        self._log = log
        self._server: asyncio.Server | None = None
        self._greetings: set[asyncio.Task[None]] = set()

    async def start(self, address: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Listen; the port, which the system has chosen if ``port`` is 0."""
        self._server = await asyncio.get_running_loop().create_server(
            self._accept,
            address,
            port,
            ssl=tls,
            ssl_handshake_timeout=self._hello_timeout if tls else None,
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and send strangers away."""
        if self._server is not None:
            self._server.close()
        for task in self._greetings:
            task.cancel()
        await asyncio.gather(*self._greetings, return_exceptions=True)

    def _accept(self) -> Carrier:
        carrier = Carrier(server_websocket(self._path, limit=MAX_MESSAGE))
        if len(self._greetings) >= self._max_strangers:
            carrier.abort("too many strangers")
        else:
            task = asyncio.get_running_loop().create_task(self._greet(carrier))
            self._greetings.add(task)
            task.add_done_callback(self._greetings.discard)
        return carrier

    async def _greet(self, carrier: Carrier) -> None:
        try:
            async with asyncio.timeout(self._hello_timeout):
                attach = await self._check(carrier)
        except DeniedError as error:
            self._log.warning("Carrier from %s denied: %s", carrier.peer, error)
            deny = Deny(error.code, error.message, int(error.retry))
            carrier.send(Ctrl(encode_document(deny)).encode())
            carrier.close(error.code)
        except (TunnelError, TimeoutError) as error:
            reason = str(error) or "no hello in time"
            self._log.info("Carrier from %s dropped: %s", carrier.peer, reason)
            carrier.close(reason, code=1002)
        except BaseException:
            carrier.abort("stopping")
            raise
        else:
            attach(carrier)

    async def _check(self, carrier: Carrier) -> Callable[[Carrier], None]:
        """Challenge, hello, welcome; what the carrier is then to be attached to."""
        await carrier.opened()
        challenge = Challenge(secrets.token_bytes(NONCE_SIZE))
        carrier.send(Ctrl(encode_document(challenge)).encode())
        hello = _hello(await carrier.receive())
        payload, welcome = check_hello(hello, challenge, self._keys, self._replica)
        attach = self._find(payload)
        self._log.info(
            "Carrier from %s welcomed: pod=%s/%s uid=%s, %r",
            carrier.peer,
            payload.namespace,
            payload.pod,
            payload.uid,
            hello.agent[:100],
        )
        carrier.send(Ctrl(encode_document(welcome)).encode())
        return attach


def _hello(message: bytes) -> Hello:
    ctrl = decode_message(message)
    if not isinstance(ctrl, Ctrl):
        raise ProtocolError("A message came before the handshake was done.")
    document: Document = decode_document(ctrl.body)
    if isinstance(document, Resume):
        raise DeniedError(GONE, "Nothing is kept here; say hello.", 0)
    if not isinstance(document, Hello):
        raise ProtocolError("The agent did not say hello.")
    return document
