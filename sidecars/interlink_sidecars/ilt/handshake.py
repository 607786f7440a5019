"""Who is at the other end: the handshake documents of ``ilt.v1`` and their proofs.

The format is final. Each document is one CTRL message: a JSON object with its kind in
``t`` and the version 1 in ``v``. Unknown fields are ignored, so that either side may be
the newer one. Binary values are base64url without padding::

    gateway  challenge  nonce (32 bytes)
    agent    hello      sid, payload, nonce (32 bytes), proof, caps, agent
    gateway  welcome    proof, resume (seconds, 0: never)
      or     deny       code, message, retry (seconds)

``payload`` is the token's public half, ``{namespace, pod, uid, services, replica}`` as
canonical JSON; ``sid`` is the pod's UID. Its secret half, which never travels here, is
``key = HMAC-SHA256(Kgw, payload)``. With ``nonces`` = the challenge's, then the
hello's, and ``role`` = ``agent`` or ``gateway``::

    proof = HMAC-SHA256(key, nonces ‖ sid ‖ role)

A session that both ends declared resumable (``"resume"`` in ``caps``, ``resume`` > 0)
goes on over a new carrier with ``resume_key = HMAC-SHA256(key, nonces ‖ sid ‖
"resume")`` of its hello, whose epoch is 1; ``epoch`` and ``rx`` (bytes received) are
u64, big-endian::

    agent    resume     sid, payload, nonce, epoch, rx, proof
    gateway  resumed    epoch, rx, proof

    proof = HMAC-SHA256(resume_key, nonces ‖ sid ‖ role ‖ epoch ‖ rx)

A gateway that cannot resume answers ``deny`` with the code ``gone``: say hello again.
"""

from __future__ import annotations

import hmac
import json
import secrets
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any, Callable, Sequence, Union

from .credential import (
    AGENT,
    GATEWAY,
    Payload,
    b64url,
    b64url_decode,
    derive_key,
    json_object,
    make_proof,
)
from .errors import DeniedError, ProtocolError

VERSION = 1
NONCE_SIZE = 32

BAD_PROOF = "bad_proof"
"""Deny: payload, key or sid are not ours."""
UNKNOWN = "unknown"
"""Deny: no such session is open here, perhaps not yet."""
GONE = "gone"
"""Deny: nothing is left to resume; say hello."""
WRONG_REPLICA = "wrong_replica"
"""Deny: the payload names another gateway."""


# --- documents ----------------------------------------------------------------------


@dataclass(frozen=True)
class Challenge:
    """The gateway speaks first."""

    nonce: bytes


@dataclass(frozen=True)
class Hello:
    """A new session; ``agent`` is a line for the gateway's log."""

    sid: str
    payload: bytes
    nonce: bytes
    proof: bytes
    caps: tuple[str, ...]
    agent: str


@dataclass(frozen=True)
class Resume:
    """The old session over a new carrier."""

    sid: str
    payload: bytes
    nonce: bytes
    epoch: int
    rx: int
    proof: bytes


@dataclass(frozen=True)
class Welcome:
    """The gateway knows the key too; ``resume`` is in seconds, 0 for never."""

    proof: bytes
    resume: int


@dataclass(frozen=True)
class Resumed:
    """Both ends send again what the other has not received."""

    epoch: int
    rx: int
    proof: bytes


@dataclass(frozen=True)
class Deny:
    """The handshake failed; the carrier is closed. ``retry`` is in seconds."""

    code: str
    message: str
    retry: int


Document = Union[Challenge, Hello, Resume, Welcome, Resumed, Deny]

_DOCUMENTS: dict[str, type[Any]] = {
    kind.__name__.lower(): kind
    for kind in (Challenge, Hello, Resume, Welcome, Resumed, Deny)
}


def encode_document(document: Document) -> bytes:
    """The document as the body of a CTRL message."""
    fields = {
        name: b64url(value) if isinstance(value, bytes) else value
        for name, value in vars(document).items()
    }
    kind = type(document).__name__.lower()
    return json.dumps({"t": kind, "v": VERSION, **fields}).encode()


def decode_document(body: bytes) -> Document:
    """The document in the body of a CTRL message; unknown fields are ignored.

    Raises:
        ProtocolError: unknown kind or version, or a field is missing or wrong.
    """
    raw = json_object(body)
    kind = _DOCUMENTS.get(str(raw.get("t")))
    if kind is None or raw.get("v") != VERSION:
        raise ProtocolError("The handshake is not of ilt.v1.")
    try:
        values = {f.name: _READERS[f.type](raw[f.name]) for f in dataclass_fields(kind)}
    except (KeyError, TypeError, ValueError):
        raise ProtocolError(f"A {raw['t']} is incomplete or malformed.") from None
    document: Document = kind(**values)
    return document


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _read_number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise ValueError
    return value


def _read_texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(map(_read_text, value))


_READERS: dict[Any, Callable[[Any], Any]] = {
    "str": _read_text,
    "int": _read_number,
    "bytes": lambda value: b64url_decode(_read_text(value)),
    "tuple[str, ...]": _read_texts,
}
"""By the annotation of a document's field."""


# --- the two ends -------------------------------------------------------------------


def say_hello(
    challenge: Challenge, *, sid: str, payload: bytes, key: bytes, agent: str
) -> Hello:
    """The agent's answer to a challenge."""
    nonce = secrets.token_bytes(NONCE_SIZE)
    proof = make_proof(key, challenge.nonce + nonce, sid, AGENT)
    return Hello(sid, payload, nonce, proof, caps=(), agent=agent)


def check_hello(
    hello: Hello, challenge: Challenge, gateway_keys: Sequence[bytes], replica: str
) -> tuple[Payload, Welcome]:
    """Whose hello this is, and the welcome that proves who answers.

    Args:
        gateway_keys: the keys accepted now; more than one while they are rotated.

    Raises:
        DeniedError: the hello was not made with one of the keys, or for ``replica``.
        ProtocolError: the payload is not one.
    """
    payload = Payload.decode(hello.payload)
    if len(hello.nonce) != NONCE_SIZE or hello.sid != payload.uid:
        raise DeniedError(BAD_PROOF, "The hello is for another pod.", 30)
    nonces = challenge.nonce + hello.nonce
    for gateway_key in gateway_keys:
        key = derive_key(gateway_key, hello.payload)
        expected = make_proof(key, nonces, hello.sid, AGENT)
        if hmac.compare_digest(expected, hello.proof):
            break
    else:
        raise DeniedError(BAD_PROOF, "The session's key is not one of ours.", 30)
    if payload.replica != replica:
        raise DeniedError(WRONG_REPLICA, f"This is gateway {replica}.", 5)
    return payload, Welcome(make_proof(key, nonces, hello.sid, GATEWAY), resume=0)


def check_welcome(
    answer: Document, hello: Hello, challenge: Challenge, key: bytes
) -> None:
    """Whether the gateway knows the key, too.

    Raises:
        DeniedError: it refuses the hello.
        ProtocolError: it does not know the key, or answers out of turn.
    """
    if isinstance(answer, Deny):
        raise DeniedError(answer.code, answer.message, answer.retry)
    if not isinstance(answer, Welcome):
        raise ProtocolError("The gateway answered a hello out of turn.")
    expected = make_proof(key, challenge.nonce + hello.nonce, hello.sid, GATEWAY)
    if not hmac.compare_digest(expected, answer.proof):
        raise ProtocolError("The gateway does not know this session's key.")
