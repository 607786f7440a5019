"""Certificates as TLS sees them, with real handshakes."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from deploy.local.certificates import Authority, KeyPair


async def shake_hands(authority: Authority, server: KeyPair, client: KeyPair) -> str:
    """Connect over TLS to 127.0.0.1; what the server reads in the client's CN."""
    seen: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        subject = writer.get_extra_info("peercert")["subject"]
        seen.set_result(dict(name[0] for name in subject)["commonName"])
        writer.close()
        await writer.wait_closed()

    accepts = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate)
    )
    accepts.verify_mode = ssl.CERT_REQUIRED
    accepts.load_cert_chain(server.certificate, server.key)
    connects = ssl.create_default_context(cafile=str(authority.certificate))
    connects.verify_flags |= ssl.VERIFY_X509_STRICT
    connects.load_cert_chain(client.certificate, client.key)
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=accepts) as served:
        port = served.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=connects)
        try:
            return await seen
        finally:
            writer.close()
            await writer.wait_closed()


async def test_both_sides_know_each_other(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.serving("server", ["127.0.0.1", "localhost"])
    client = authority.client("client", "system:somebody", ["some:group"])
    assert await shake_hands(authority, server, client) == "system:somebody"


async def test_an_authority_outlives_its_process(tmp_path: Path) -> None:
    server = Authority(tmp_path).serving("server", ["127.0.0.1"])
    key = Authority(tmp_path).signing_key("tokens").read_bytes()
    later = Authority(tmp_path)
    assert await shake_hands(later, server, later.client("client", "me")) == "me"
    assert later.signing_key("tokens").read_bytes() == key


async def test_another_host_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.serving("server", ["localhost", "10.0.0.1"])
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        await shake_hands(authority, server, authority.client("client", "me"))


async def test_a_server_is_no_client(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.serving("server", ["127.0.0.1"])
    client = authority.client("client", "me")
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate purpose"):
        await shake_hands(authority, client, client)
    assert await shake_hands(authority, server, client)


def test_private_keys_are_their_owners(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    authority.client("client", "me")
    authority.signing_key("tokens")
    assert (tmp_path / "pki").stat().st_mode & 0o777 == 0o700
    keys = list((tmp_path / "pki").glob("*.key"))
    assert {key.name for key in keys} == {"ca.key", "client.key", "tokens.key"}
    assert all(key.stat().st_mode & 0o777 == 0o600 for key in keys)
