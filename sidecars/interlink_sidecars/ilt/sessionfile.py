"""``session.json``: all that the agent is told, written by the gateway.

Read once, at start; the key stays in memory. It must not know how the file came here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .credential import b64url, b64url_decode


@dataclass(frozen=True)
class SessionFile:
    """Which session this is, its key, and where to dial.

    Attributes:
        payload: public half of the token, as the gateway encoded it.
        endpoints: ``ws://`` or ``wss://`` URLs, tried in turn.
        ca: PEM of the authority that signed the gateway's certificate, or None for
            the system's.
        hub_variables: environment variables with URLs of the hub's API.
    """

    sid: str
    payload: bytes
    key: bytes
    endpoints: tuple[str, ...]
    ca: str | None
    hub_variables: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The document of the file."""
        return {
            "sid": self.sid,
            "payload": b64url(self.payload),
            "key": b64url(self.key),
            "endpoints": list(self.endpoints),
            "ca": self.ca,
            "env": {"hub": list(self.hub_variables)},
        }

    @classmethod
    def read(cls, path: str) -> SessionFile:
        """The session of the file at ``path``.

        Raises:
            OSError, ValueError: it is missing or not a session.
        """
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            document = json.load(file)
        try:
            session = cls(
                sid=document["sid"],
                payload=b64url_decode(document["payload"]),
                key=b64url_decode(document["key"]),
                endpoints=tuple(document["endpoints"]),
                ca=document["ca"],
                hub_variables=tuple(document["env"]["hub"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a session file: {error!r}") from None
        if not session.endpoints:
            raise ValueError(f"{path} names no endpoint to dial.")
        return session
