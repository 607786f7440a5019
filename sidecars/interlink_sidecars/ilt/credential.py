"""A session's token: its public half, its secret half, and proofs of the latter.

The gateway's key makes every secret, so no session secret is ever stored: who knows
``Kgw`` can derive it from the public payload. It must not know how proofs travel.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from dataclasses import dataclass
from typing import Any

from .errors import ProtocolError

MAX_PAYLOAD = 2048
"""Bytes of a payload at most."""

AGENT, GATEWAY = "agent", "gateway"
"""The roles in a proof."""

_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True)
class Payload:
    """The public half of a token: which pod, and what its streams may reach."""

    namespace: str
    pod: str
    uid: str
    services: tuple[int, ...]
    replica: str

    def encode(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces."""
        document = {
            "namespace": self.namespace,
            "pod": self.pod,
            "uid": self.uid,
            "services": list(self.services),
            "replica": self.replica,
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Payload:
        """The payload, if it is exactly what :meth:`encode` makes of it.

        Raises:
            ProtocolError: anything else.
        """
        if len(data) > MAX_PAYLOAD:
            raise ProtocolError("The payload is too long.")
        document = json_object(data)
        try:
            payload = cls(
                namespace=document["namespace"],
                pod=document["pod"],
                uid=document["uid"],
                services=tuple(document["services"]),
                replica=document["replica"],
            )
            valid = payload._is_valid() and payload.encode() == data
        except (KeyError, TypeError, ValueError):
            valid = False
        if not valid:
            raise ProtocolError("The payload is not canonical.")
        return payload

    def _is_valid(self) -> bool:
        names = (self.namespace, self.pod, self.replica)
        return (
            all(isinstance(name, str) and _NAME.fullmatch(name) for name in names)
            and isinstance(self.uid, str)
            and _UID.fullmatch(self.uid) is not None
            and all(type(s) is int and 0 < s < 256 for s in self.services)
            and list(self.services) == sorted(set(self.services))
        )


def derive_key(gateway_key: bytes, payload: bytes) -> bytes:
    """The secret half of the token whose public half is ``payload``."""
    return hmac.digest(gateway_key, payload, "sha256")


def make_proof(key: bytes, nonces: bytes, sid: str, role: str) -> bytes:
    """What only a holder of ``key`` can answer in the handshake of these nonces."""
    return hmac.digest(key, nonces + sid.encode() + role.encode(), "sha256")


def b64url(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64url_decode(text: str) -> bytes:
    """The bytes of canonical base64url without padding.

    Raises:
        ValueError: anything else.
    """
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if b64url(data) != text:
        raise ValueError("not canonical base64url")
    return data


def json_object(data: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ProtocolError: anything else.
    """
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ProtocolError("A handshake document is not JSON.") from None
    if not isinstance(document, dict):
        raise ProtocolError("A handshake document is not a JSON object.")
    return document
