"""The client against servers that are not ours: stock answers, broken ones, none."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interlink_sidecars.api.errors import ApiError, UnreachableError
from interlink_sidecars.api.messages import CreateRequest, LogRequest
from interlink_sidecars.client import SidecarClient
from interlink_sidecars.testing import make_pod

LOGS = LogRequest(
    namespace="n",
    pod_uid="0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
    pod_name="p",
    container_name="c",
)
OK = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def answering(
    answer: bytes, path: Path, *, abort: bool = False
) -> AsyncIterator[tuple[SidecarClient, list[bytes]]]:
    """A server that reads one request and answers these bytes."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])
        requests.append(head + await reader.readexactly(length))
        writer.write(answer)
        await writer.drain()
        await asyncio.sleep(0.05)  # the answer is read before the end is
        if abort:
            writer.transport.abort()
        else:
            writer.close()

    server = await asyncio.start_unix_server(serve, path / "s")
    client = SidecarClient(f"unix://{path / 's'}")
    try:
        yield client, requests
    finally:
        await client.close()
        server.close()
        await server.wait_closed()


def body(text: str) -> bytes:
    return OK + f"Content-Length: {len(text)}\r\n\r\n{text}".encode()


async def test_create_of_an_older_plugin_answers_a_list(tmp_path: Path) -> None:
    async with answering(body('[{"PodUID":"u","PodJID":"7"}]'), tmp_path) as (
        client,
        got,
    ):
        created = await client.create(CreateRequest(pod=make_pod()))
    assert (created.pod_uid, created.pod_jid) == ("u", "7")
    (request,) = got
    assert request.startswith(b"POST /create HTTP/1.1\r\n")
    assert b"Interlink-Http-Session: CreatePod#1\r\n" in request


async def test_status_sends_no_environment(tmp_path: Path) -> None:
    pod = make_pod()
    pod["spec"]["containers"][0]["env"] = [{"name": "T", "value": "s3cret"}]
    async with answering(body("null"), tmp_path) as (client, got):
        assert await client.statuses([pod]) == []
    head, _, sent = got[0].partition(b"\r\n\r\n")
    assert head.startswith(b"GET /status ")
    assert b"s3cret" not in sent
    assert json.loads(sent)[0]["metadata"]["uid"] == pod["metadata"]["uid"]


@pytest.mark.parametrize("text", ["", "[]", "healthy", '"x"'])
async def test_ping_of_a_stock_plugin(tmp_path: Path, text: str) -> None:
    async with answering(body(text), tmp_path) as (client, _):
        ping = await client.ping()
    assert (ping.status, ping.taints, ping.resources.accelerators) == ("ok", None, [])


async def test_refusal_in_the_sidecars_words(tmp_path: Path) -> None:
    text = '{"reason": "UnknownImage", "message": "No such image.", "final": true}'
    head = b"HTTP/1.1 400 Bad Request\r\n"
    async with answering(head + body(text).removeprefix(OK), tmp_path) as (client, _):
        with pytest.raises(ApiError, match=r"No such image\.") as caught:
            await client.create(CreateRequest(pod=make_pod()))
    assert (caught.value.reason, caught.value.status) == ("UnknownImage", 400)
    assert caught.value.final


async def test_refusal_of_a_stock_plugin_is_text(tmp_path: Path) -> None:
    head = b"HTTP/1.1 500 Internal Server Error\r\n"
    answer = head + body("sbatch failed").removeprefix(OK)
    async with answering(answer, tmp_path) as (client, _):
        with pytest.raises(ApiError, match="sbatch failed") as caught:
            await client.delete(make_pod())
    assert (caught.value.status, caught.value.final) == (500, False)


@pytest.mark.parametrize("text", ["{", "{}", "7"])
async def test_answers_that_are_not_interlinks(tmp_path: Path, text: str) -> None:
    async with answering(body(text), tmp_path) as (client, _):
        with pytest.raises(ApiError, match="not an interLink document"):
            await client.create(CreateRequest(pod=make_pod()))


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[", b"nonsense\r\n\r\n"],
)
async def test_a_connection_that_breaks(tmp_path: Path, answer: bytes) -> None:
    async with answering(answer, tmp_path, abort=True) as (client, _):
        with pytest.raises(UnreachableError):
            await client.statuses([make_pod()])


async def test_a_log_that_breaks_off_is_not_a_log_that_ends(tmp_path: Path) -> None:
    answer = OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    async with answering(answer, tmp_path) as (client, _):
        stream = client.logs(LOGS)
        assert await anext(stream) == b"abc"
        with pytest.raises(UnreachableError):
            await anext(stream)


async def test_log_of_a_server_without_chunks(tmp_path: Path) -> None:
    async with answering(b"HTTP/1.0 200 OK\r\n\r\nabc", tmp_path) as (client, _):
        assert b"".join([chunk async for chunk in client.logs(LOGS)]) == b"abc"


@pytest.mark.parametrize(
    "url",
    [
        lambda directory, port: f"http://127.0.0.1:{port}",
        lambda directory, port: f"unix://{directory}/nobody",
    ],
)
async def test_nobody_answers(tmp_path: Path, url: Callable[[Path, int], str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = SidecarClient(url(tmp_path, unused.getsockname()[1]))
        with pytest.raises(UnreachableError, match="does not answer") as caught:
            await client.ping()
        assert client.url in caught.value.message


def test_urls_that_cannot_be() -> None:
    for url in ("sidecar:4000", "ftp://x", "http://"):
        with pytest.raises(ValueError, match=r"must begin|no host"):
            SidecarClient(url)
