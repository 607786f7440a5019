"""Who may read what from the kubelet's HTTPS server."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPResponse

from deploy.local.certificates import Authority, KeyPair
from interlink_sidecars.api import names
from interlink_sidecars.api.errors import UnreachableError
from interlink_sidecars.api.kubernetes import JSON
from interlink_sidecars.api.messages import LogRequest
from interlink_sidecars.client import SidecarClient
from interlink_vk.kube import KubeClient
from interlink_vk.kubelet.server import KubeletServer
from interlink_vk.pods.informer import PodInformer

POD: JSON = {
    "metadata": {
        "name": "p",
        "namespace": "n",
        "uid": "6f1c2d3e-4b5a-4c6d-8e7f-0a1b2c3d4e5f",
        "resourceVersion": "1",
        "annotations": {names.JOB_ID: "42"},
    }
}


class Lister:
    """An API server with one pod."""

    async def list_items(self, path: str, **query: str) -> tuple[list[JSON], str]:
        return [POD], "1"


class Logs:
    """A site whose log is what the test puts into it; None is its end."""

    def __init__(self) -> None:
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.left = asyncio.Event()
        self.requests: list[LogRequest] = []
        self.away = False

    async def logs(self, request: LogRequest) -> AsyncIterator[bytes]:
        self.requests.append(request)
        if self.away:
            raise UnreachableError("The sidecar at http://site does not answer.")
        try:
            while (chunk := await self.chunks.get()) is not None:
                yield chunk
        finally:
            self.left.set()


class Kubelet:
    """The server and a client that shows one certificate or none."""

    def __init__(self, port: int, authority: Authority, logs: Logs) -> None:
        self.port, self.authority, self.logs = port, authority, logs

    async def get(
        self, path: str, user: str | None = "kube-apiserver-kubelet-client", **more: Any
    ) -> HTTPResponse:
        client = AsyncHTTPClient(force_instance=True)
        try:
            return await client.fetch(
                f"https://127.0.0.1:{self.port}{path}",
                ssl_options=self.context(user),
                raise_error=False,
                **more,
            )
        finally:
            client.close()

    def context(self, user: str | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        if user is not None:
            pair = self.authority.client(user, user, ["system:masters"])
            context.load_cert_chain(pair.certificate, pair.key)
        return context


def server(certificate: KeyPair, client_ca: Path | str) -> KubeletServer:
    return KubeletServer(
        port=0,
        cert_file=str(certificate.certificate),
        key_file=str(certificate.key),
        client_ca_file=str(client_ca),
    )


async def informer() -> PodInformer:
    informer = PodInformer(cast("KubeClient", Lister()), "site-a", lambda uid: None)
    await informer.list()
    return informer


@pytest.fixture
async def kubelet(tmp_path: Path) -> AsyncIterator[Kubelet]:
    authority = Authority(tmp_path / "pki")
    certificate = authority.serving("kubelet", ["127.0.0.1"])
    logs = Logs()
    kubelet = server(certificate, authority.certificate)
    port = kubelet.start("site-a", await informer(), cast("SidecarClient", logs))
    yield Kubelet(port, authority, logs)
    await kubelet.stop()


PROTECTED = ["/pods", "/containerLogs/n/p/main", "/exec/n/p/main"]


@pytest.mark.parametrize("path", PROTECTED)
async def test_nobody_without_a_certificate(kubelet: Kubelet, path: str) -> None:
    answer = await kubelet.get(path, user=None)
    assert answer.code == 401
    assert "client certificate" in answer.body.decode()


@pytest.mark.parametrize("path", PROTECTED)
async def test_nobody_else_of_the_same_authority(kubelet: Kubelet, path: str) -> None:
    answer = await kubelet.get(path, user="alice")
    assert answer.code == 403
    assert kubelet.logs.requests == []


async def test_nobody_at_all_without_an_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    certificate = authority.serving("kubelet", ["127.0.0.1"])
    closed = server(certificate, "")
    logs = Logs()
    port = closed.start("site-a", await informer(), cast("SidecarClient", logs))
    answer = await Kubelet(port, authority, logs).get("/pods")
    assert answer.code == 401
    await closed.stop()


async def test_a_probe_needs_no_certificate(kubelet: Kubelet) -> None:
    assert (await kubelet.get("/healthz", user=None)).body == b"ok"


async def test_the_api_server_sees_the_pods(kubelet: Kubelet) -> None:
    answer = await kubelet.get("/pods")
    assert b'"PodList"' in answer.body
    assert POD["metadata"]["uid"].encode() in answer.body


async def test_exec_is_a_plain_sentence(kubelet: Kubelet) -> None:
    answer = await kubelet.get("/exec/n/p/main?command=ls", method="POST", body="")
    assert answer.code == 501
    assert "no exec" in answer.body.decode()


async def test_each_piece_is_passed_on_at_once(kubelet: Kubelet) -> None:
    read: asyncio.Queue[bytes] = asyncio.Queue()
    reading = asyncio.ensure_future(
        kubelet.get(
            "/containerLogs/n/p/main?follow=true", streaming_callback=read.put_nowait
        )
    )
    for piece in (b"first\n", b"second\n"):
        kubelet.logs.chunks.put_nowait(piece)
        assert await read.get() == piece
    assert not reading.done()
    kubelet.logs.chunks.put_nowait(None)
    assert (await reading).code == 200
    assert kubelet.logs.requests[0].options.follow


async def test_who_leaves_lets_the_site_go(kubelet: Kubelet) -> None:
    path = "/containerLogs/n/p/main?follow=true"
    kubelet.logs.chunks.put_nowait(b"first\n")
    client = AsyncHTTPClient(force_instance=True)
    with pytest.raises(HTTPClientError):
        await client.fetch(
            f"https://127.0.0.1:{kubelet.port}{path}",
            ssl_options=kubelet.context("kube-apiserver-kubelet-client"),
            request_timeout=0.5,
        )
    client.close()
    async with asyncio.timeout(5):
        await kubelet.logs.left.wait()


async def test_a_byte_limit_cuts_and_ends(kubelet: Kubelet) -> None:
    kubelet.logs.chunks.put_nowait(b"0123456789")
    answer = await kubelet.get("/containerLogs/n/p/main?limitBytes=4&tailLines=9")
    assert answer.body == b"0123"


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("/containerLogs/n/other/main", 404, "no pod n/other"),
        ("/containerLogs/n/p/main?tailLines=x", 400, "Tail"),
        ("/containerLogs/n/p/main?limitBytes=x", 400, "Bytes"),
        ("/containerLogs/n/p/UP", 400, "ContainerName"),
    ],
)
async def test_a_wrong_question_is_told_so(
    kubelet: Kubelet, path: str, code: int, words: str
) -> None:
    answer = await kubelet.get(path)
    assert answer.code == code
    assert words in answer.body.decode()


async def test_a_site_that_is_away_is_a_sentence(kubelet: Kubelet) -> None:
    kubelet.logs.away = True
    answer = await kubelet.get("/containerLogs/n/p/main")
    assert answer.code == 500
    assert "does not answer" in answer.body.decode()
