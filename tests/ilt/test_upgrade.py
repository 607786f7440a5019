"""The HTTP prelude: what is accepted, and what is refused with which status."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlink_sidecars.ilt.errors import ProtocolError
from interlink_sidecars.ilt.upgrade import (
    UpgradeRefusedError,
    check_response,
    client_request,
    server_response,
)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
REQUEST = client_request("gateway", "/ilt/connect", KEY).removesuffix(b"\r\n\r\n")
RESPONSE = server_response(REQUEST, "/ilt/connect").removesuffix(b"\r\n\r\n")


def test_both_sides_agree_as_in_the_example_of_rfc_6455() -> None:
    assert f"Sec-WebSocket-Accept: {ACCEPT}".encode() in RESPONSE
    check_response(RESPONSE, KEY)


def test_query_and_order_of_tokens_do_not_matter() -> None:
    head = REQUEST.replace(b"/connect ", b"/connect?x=1 ").replace(
        b"Connection: Upgrade", b"connection: keep-alive, upgrade"
    )
    assert server_response(head, "/ilt/connect").startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        ("GET ", "POST ", 400),
        ("HTTP/1.1", "HTTP/1.0", 400),
        ("/ilt/connect", "/etc/passwd", 404),
        ("Upgrade: websocket", "Upgrade: h2c", 426),
        ("Version: 13", "Version: 8", 426),
        ("ilt.v1", "ilt.v2", 426),
        (KEY, "c2hvcnQ=", 400),
        (KEY, "no base64", 400),
        ("Host: ", "Host ", 400),
    ],
)
def test_other_requests_are_refused(old: str, new: str, status: int) -> None:
    head = REQUEST.replace(old.encode(), new.encode())
    with pytest.raises(UpgradeRefusedError) as refusal:
        server_response(head, "/ilt/connect")
    assert refusal.value.response.startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("101 Switching", "200 OK"),
        ("HTTP/1.1", "HTTP/1.0"),
        (ACCEPT, ACCEPT.lower()),
        ("ilt.v1", "ilt.v2"),
        ("Upgrade: websocket", "Sec-WebSocket-Extensions: permessage-deflate"),
    ],
)
def test_other_responses_are_refused(old: str, new: str) -> None:
    with pytest.raises(ProtocolError):
        check_response(RESPONSE.replace(old.encode(), new.encode()), KEY)


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_but_a_refusal(head: bytes) -> None:
    with pytest.raises(UpgradeRefusedError):
        server_response(head, "/ilt/connect")
    with pytest.raises(ProtocolError):
        check_response(head, KEY)
