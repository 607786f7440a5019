"""The handshake's format, which is final: vectors, and everything that is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlink_sidecars.ilt.credential import (
    AGENT,
    GATEWAY,
    Payload,
    b64url,
    b64url_decode,
    derive_key,
    make_proof,
)
from interlink_sidecars.ilt.errors import DeniedError, ProtocolError
from interlink_sidecars.ilt.handshake import (
    BAD_PROOF,
    WRONG_REPLICA,
    Challenge,
    Deny,
    Document,
    Hello,
    Resume,
    Resumed,
    Welcome,
    check_hello,
    check_welcome,
    decode_document,
    encode_document,
    say_hello,
)

GATEWAY_KEY = bytes(range(32))
UID = "0b5e4b3a-0000-4000-8000-000000000001"
PAYLOAD = Payload("jhub", "jupyter-ada", UID, (1, 2), "gateway-0")
KEY = derive_key(GATEWAY_KEY, PAYLOAD.encode())
CHALLENGE = Challenge(b"c" * 32)

DOCUMENTS = (
    CHALLENGE,
    Hello(UID, PAYLOAD.encode(), b"h" * 32, b"p" * 32, ("resume",), "Python 3.8"),
    Welcome(b"p" * 32, 120),
    Resume(UID, PAYLOAD.encode(), b"h" * 32, 7, 2**63, b"p" * 32),
    Resumed(8, 0, b"p" * 32),
    Deny("unknown", "No such session.", 2),
)


def hello(**changes: Any) -> Hello:
    said = say_hello(CHALLENGE, sid=UID, payload=PAYLOAD.encode(), key=KEY, agent="x")
    return dataclasses.replace(said, **changes)


def check(said: Hello, *keys: bytes) -> tuple[Payload, Welcome]:
    return check_hello(said, CHALLENGE, keys or (GATEWAY_KEY,), "gateway-0")


def test_format_is_final(golden: Callable[[str, Any], None]) -> None:
    """A change here breaks the agents of jobs that are running now."""
    nonces = CHALLENGE.nonce + b"h" * 32
    golden(
        "ilt/handshake.json",
        {
            "documents": [json.loads(encode_document(d)) for d in DOCUMENTS],
            "payload": PAYLOAD.encode().decode(),
            "key": KEY.hex(),
            "agent_proof": make_proof(KEY, nonces, UID, AGENT).hex(),
            "gateway_proof": make_proof(KEY, nonces, UID, GATEWAY).hex(),
        },
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: type(d).__name__)
def test_documents_survive_and_unknown_fields_do_not_matter(document: Document) -> None:
    raw = json.loads(encode_document(document))
    assert decode_document(json.dumps({**raw, "new": [1]}).encode()) == document


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("wrong", [None, -1, 1.5, 2**64, "=", "é", ["a", 1], {}])
def test_every_field_is_checked(document: Document, wrong: object) -> None:
    raw = json.loads(encode_document(document))
    for name in raw:
        if isinstance(wrong, str) and isinstance(getattr(document, name, b""), str):
            continue
        with pytest.raises(ProtocolError):
            decode_document(json.dumps({**raw, name: wrong}).encode())
    for name in raw:
        less = {key: value for key, value in raw.items() if key != name}
        with pytest.raises(ProtocolError):
            decode_document(json.dumps(less).encode())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.binary(max_size=100) | json_values.map(lambda v: json.dumps(v).encode()))
def test_garbage_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_document(body)
    with pytest.raises(ProtocolError):
        Payload.decode(body)


@given(
    st.sampled_from(DOCUMENTS),
    st.dictionaries(
        st.sampled_from(["sid", "payload", "nonce", "proof", "caps", "t", "v", "rx"]),
        json_values,
    ),
)
def test_tampered_documents_are_read_or_refused(
    document: Document, changes: dict[str, Any]
) -> None:
    raw = {**json.loads(encode_document(document)), **changes}
    with contextlib.suppress(ProtocolError):
        read = decode_document(json.dumps(raw).encode())
        if isinstance(read, Hello):
            with pytest.raises((DeniedError, ProtocolError)):
                check(read)


@pytest.mark.parametrize(
    "changes",
    [
        {"uid": "not-a-uid"},
        {"uid": UID.upper()},
        {"namespace": "../etc"},
        {"pod": ""},
        {"services": [2, 1]},
        {"services": [1, 1]},
        {"services": [True]},
        {"services": [256]},
        {"extra": 1},
    ],
)
def test_payload_is_strict(changes: dict[str, Any]) -> None:
    document = {**json.loads(PAYLOAD.encode()), **changes}
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(ProtocolError):
        Payload.decode(text)


def test_payload_is_canonical() -> None:
    assert Payload.decode(PAYLOAD.encode()) == PAYLOAD
    with pytest.raises(ProtocolError):
        Payload.decode(PAYLOAD.encode() + b" ")
    with pytest.raises(ProtocolError):
        Payload.decode(PAYLOAD.encode().replace(b"{", b'{"uid":"x",'))
    with pytest.raises(ProtocolError):
        Payload.decode(b'{"pod":"' + b"a" * 3000)


@given(st.binary(max_size=40))
def test_base64url_is_canonical(data: bytes) -> None:
    text = b64url(data)
    assert b64url_decode(text) == data
    assert not set(text) & set("+/=")
    for other in (text + "=", text + "\n", " " + text, text + "é"):
        with pytest.raises(ValueError, match=r".*"):
            b64url_decode(other)


def test_both_ends_prove_the_key_without_sending_it() -> None:
    said = hello()
    payload, welcome = check(said)
    assert payload == PAYLOAD
    check_welcome(welcome, said, CHALLENGE, KEY)
    for wire in (encode_document(said), encode_document(welcome)):
        assert b64url(KEY).encode() not in wire


def test_the_old_key_is_accepted_while_keys_are_rotated() -> None:
    said = hello()
    _, welcome = check(said, b"n" * 32, GATEWAY_KEY)
    check_welcome(welcome, said, CHALLENGE, KEY)


@pytest.mark.parametrize(
    "said",
    [
        hello(proof=b"p" * 32),
        hello(proof=b""),
        hello(nonce=b"h" * 32),
        hello(nonce=b""),
        hello(sid="0b5e4b3a-0000-4000-8000-000000000002"),
        hello(sid="\ud800"),
        hello(payload=dataclasses.replace(PAYLOAD, services=(1, 2, 3)).encode()),
        hello(payload=dataclasses.replace(PAYLOAD, pod="jupyter-bob").encode()),
    ],
)
def test_what_was_not_made_with_the_key_is_denied(said: Hello) -> None:
    with pytest.raises(DeniedError) as denial:
        check(said)
    assert denial.value.code == BAD_PROOF


def test_a_hello_for_another_challenge_is_denied() -> None:
    with pytest.raises(DeniedError):
        check_hello(hello(), Challenge(b"d" * 32), (GATEWAY_KEY,), "gateway-0")


def test_another_replica_says_so() -> None:
    with pytest.raises(DeniedError) as denial:
        check_hello(hello(), CHALLENGE, (GATEWAY_KEY,), "gateway-1")
    assert denial.value.code == WRONG_REPLICA


def test_the_agent_believes_only_who_knows_the_key() -> None:
    said = hello()
    _, welcome = check(said)
    echo = Welcome(said.proof, 0)
    for answer in (Welcome(b"p" * 32, 0), echo, CHALLENGE):
        with pytest.raises(ProtocolError):
            check_welcome(answer, said, CHALLENGE, KEY)
    with pytest.raises(ProtocolError):
        check_welcome(welcome, hello(), CHALLENGE, KEY)
    with pytest.raises(DeniedError) as denial:
        check_welcome(Deny("unknown", "not yet", 2), said, CHALLENGE, KEY)
    assert (denial.value.code, denial.value.retry) == ("unknown", 2)
