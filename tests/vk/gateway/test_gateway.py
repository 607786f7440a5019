"""Gateway and agent as they run: real processes, real sockets, real failures."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler
from tornado.websocket import websocket_connect

from interlink_sidecars.ilt import mux, session
from interlink_sidecars.ilt.credential import b64url
from interlink_vk.gateway import Gateway
from interlink_vk.gateway.gateway import NoPortError
from tests.vk.gateway.certificate import self_signed
from tests.vk.gateway.server import content
from tests.vk.gateway.site import Job, pod, until

MIB = 1 << 20
BULK = content(10 * MIB)


class HubApi(RequestHandler):
    """Stands where the hub's API stands."""

    def get(self, path: str) -> None:
        self.write(f"hub was asked for {path}")


class Site:
    """One gateway, and the jobs that dial it."""

    def __init__(self, directory: Path, hub_port: int) -> None:
        self._directory = directory
        self._hub_port = hub_port
        self._jobs: list[Job] = []
        self.listen_port = 0
        self.changes: list[str] = []
        self.gateway = self.new_gateway()

    def new_gateway(self, **settings: Any) -> Gateway:
        """Another gateway process's worth of state, with the same key file."""
        gateway = Gateway(
            listen_port=self.listen_port,
            key_file=str(self._directory / "gateway.key"),
            hub_url=f"http://127.0.0.1:{self._hub_port}/hub/api",
            **{"ports": (21000, 21999), **settings},
        )
        gateway.on_change = self.changes.append
        return gateway

    async def start(self) -> None:
        await self.gateway.start()
        self.listen_port = self.gateway.listen_port

    async def job(self, number: int = 1, **changes: Any) -> Job:
        """A started job of that user's pod."""
        document = {**self.gateway.session_document(pod(number)), **changes}
        job = Job(
            self._directory / f"job{number}-{len(self._jobs)}",
            document,
            JUPYTERHUB_API_URL="http://hub:8081/hub/api",
            JUPYTERHUB_SERVICE_PREFIX="/user/ada/",
        )
        self._jobs.append(job)
        await job.start()
        return job

    async def ready(self, number: int = 1) -> None:
        """Wait until that user's server answers through the tunnel."""
        await until(lambda: self.gateway.answers(pod(number).uid, "/api"))

    async def stop(self) -> None:
        for job in self._jobs:
            await job.stop()
        await self.gateway.stop()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    listener, hub_port = bind_unused_port()
    hub = HTTPServer(Application([(r"(/.*)", HubApi)]))
    hub.add_socket(listener)
    site = Site(tmp_path, hub_port)
    await site.start()
    yield site
    await site.stop()
    hub.stop()
    await hub.close_all_connections()


async def get(url: str, **options: Any) -> HTTPResponse:
    client = AsyncHTTPClient(force_instance=True, max_buffer_size=1 << 28)
    try:
        return await client.fetch(url, request_timeout=30, **options)
    finally:
        client.close()


async def facts(url: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((await get(f"{url}/facts")).body)
    return document


async def test_browser_and_hub_reach_each_other_through_the_tunnel(site: Site) -> None:
    url = await site.gateway.open(pod())
    assert await site.gateway.open(pod()) == url
    job = await site.job()
    await site.ready()
    assert site.gateway.connected(pod().uid)
    assert site.changes == [pod().uid]
    assert (await get(f"{url}/hub")).body == b"hub was asked for /hub/api"
    seen = await facts(url)
    assert seen["argv"][1] == "--flag=a b"
    assert seen["environment"]["JUPYTERHUB_SERVICE_URL"] == (
        "http://127.0.0.1:8888/user/ada/"
    )
    assert await job.stop() == 128 + signal.SIGTERM
    await until(lambda: not site.gateway.connected(pod().uid))
    assert not await site.gateway.answers(pod().uid, "/api")
    assert [p.name for p in job.log.parent.glob("ilt-*")] == []


async def test_probe_is_true_only_for_200(site: Site) -> None:
    assert not await site.gateway.answers(pod().uid, "/api")
    await site.gateway.open(pod())
    assert not await site.gateway.answers(pod().uid, "/api")
    await site.job()
    await site.ready()
    assert not await site.gateway.answers(pod().uid, "/nothing")


async def test_several_ten_mib_each_way_at_once_are_byte_exact(site: Site) -> None:
    url = await site.gateway.open(pod())
    await site.job()
    await site.ready()
    digest = hashlib.sha256(BULK).hexdigest().encode()

    async def down() -> bool:
        return (await get(f"{url}/bytes/{len(BULK)}")).body == BULK

    async def up() -> bool:
        answer = await get(f"{url}/digest", method="PUT", body=BULK)
        return answer.body == digest

    results = await asyncio.gather(*(f() for f in (down, up) * 3))
    assert all(results)


async def test_the_same_over_tls(site: Site, tmp_path: Path) -> None:
    certfile, keyfile = map(str, self_signed(tmp_path))
    await site.gateway.stop()
    site.listen_port = 0
    site.gateway = site.new_gateway(certfile=certfile, keyfile=keyfile, cafile=certfile)
    await site.start()
    url = await site.gateway.open(pod())
    await site.job()
    await site.ready()
    assert (await get(f"{url}/bytes/{len(BULK)}")).body == BULK
    answer = await get(f"{url}/digest", method="PUT", body=BULK)
    assert answer.body == hashlib.sha256(BULK).hexdigest().encode()


async def test_websockets_and_two_hundred_connections(site: Site) -> None:
    url = await site.gateway.open(pod())
    await site.job()
    await site.ready()

    async def chat(number: int) -> bool:
        socket = await websocket_connect(f"{url}/echo".replace("http", "ws", 1))
        await socket.write_message(str(number))
        answer = await socket.read_message()
        socket.close()
        await socket.read_message()
        return answer == str(number)

    assert all(await asyncio.gather(*map(chat, range(200))))


async def test_a_killed_tunnel_comes_back_and_the_server_never_notices(
    site: Site,
) -> None:
    url = await site.gateway.open(pod())
    job = await site.job()
    await site.ready()
    before = await facts(url)
    for _ in range(2):
        os.kill(job.children()["tunnel"], signal.SIGKILL)
        await until(lambda: not site.gateway.connected(pod().uid))
        await site.ready()
        assert (await facts(url))["pid"] == before["pid"]
        assert (await get(f"{url}/hub")).body == b"hub was asked for /hub/api"


async def test_a_frozen_agent_is_given_up_and_comes_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is heard of it any more: no FIN, no RST."""
    with monkeypatch.context() as patch:
        patch.setattr(session, "_TICK", 0.05)
        url = await site.gateway.open(pod())
        job = await site.job()
        await site.ready()
        before = await facts(url)
        os.kill(job.children()["tunnel"], signal.SIGSTOP)
        patch.setattr(mux, "SILENCE", 0.2)
        await until(lambda: not site.gateway.connected(pod().uid))
    os.kill(job.children()["tunnel"], signal.SIGCONT)
    assert await facts(url) == before, "held until the agent is back"


async def test_a_restarted_gateway_serves_the_same_url(site: Site) -> None:
    url = await site.gateway.open(pod())
    await site.job()
    await site.ready()
    before = await facts(url)
    await site.gateway.stop()
    site.gateway = site.new_gateway()
    assert await site.gateway.open(pod(url=url)) == url
    await site.gateway.start()
    # The connection is held until the agent is back.
    assert (await facts(url))["pid"] == before["pid"]


async def test_the_agent_exits_with_the_servers_code(site: Site) -> None:
    url = await site.gateway.open(pod())
    job = await site.job()
    await site.ready()
    await asyncio.gather(get(f"{url}/exit/7"), return_exceptions=True)
    async with asyncio.timeout(10):
        assert await job.process.wait() == 7
    await until(lambda: not site.gateway.connected(pod().uid))
    async with asyncio.timeout(5):  # it said goodbye: nobody is held for it
        with pytest.raises((HTTPClientError, OSError)):
            await get(f"{url}/api")


async def test_a_killed_agent_leaves_nothing_behind(site: Site) -> None:
    url = await site.gateway.open(pod())
    job = await site.job()
    await site.ready()
    server = (await facts(url))["pid"]
    job.process.kill()
    await job.process.wait()
    await until(lambda: not Path(f"/proc/{server}").exists())
    await until(lambda: not list(job.log.parent.glob("ilt-*")))
    await until(lambda: not site.gateway.connected(pod().uid))


async def test_a_command_that_is_not_there_exits_127(site: Site) -> None:
    await site.gateway.open(pod())
    job = Job(site._directory / "none", site.gateway.session_document(pod()))
    await job.start("/no/such/server")
    async with asyncio.timeout(10):
        assert await job.process.wait() == 127
    assert "/no/such/server cannot be started" in job.log.read_text()


async def test_the_server_waits_for_the_first_welcome(site: Site) -> None:
    job = await site.job()
    await until(lambda: b"unknown: No such session" in job.log.read_bytes())
    assert set(job.children()) == {"tunnel"}
    job.process.send_signal(signal.SIGTERM)
    assert await job.process.wait() == 128 + signal.SIGTERM


async def test_a_second_agent_takes_over_and_the_first_stays_away(site: Site) -> None:
    url = await site.gateway.open(pod())
    first = await site.job()
    await site.ready()
    old = (await facts(url))["pid"]
    await site.job()
    await until(lambda: b"a newer carrier is here" in first.log.read_bytes())
    await site.ready()
    assert (await facts(url))["pid"] != old


@pytest.mark.parametrize(
    "changes",
    [
        {"key": b64url(b"x" * 32)},
        {"payload": b64url(b'{"uid":"x"}')},
        {"sid": pod(2).uid},
    ],
)
async def test_an_impostor_is_refused_and_changes_nothing(
    site: Site, changes: dict[str, str]
) -> None:
    url = await site.gateway.open(pod(1))
    await site.gateway.open(pod(2))
    await site.job(1)
    await site.ready(1)
    before = await facts(url)
    impostor = await site.job(1, **changes)
    await until(lambda: b"dialling again" in impostor.log.read_bytes())
    assert set(impostor.children()) == {"tunnel"}
    assert not site.gateway.connected(pod(2).uid)
    assert await facts(url) == before


async def test_users_have_ports_of_their_own(site: Site) -> None:
    urls = [await site.gateway.open(pod(n)) for n in (1, 2)]
    await site.job(1)
    await site.job(2)
    await site.ready(1)
    await site.ready(2)
    pids = [(await facts(url))["pid"] for url in urls]
    assert len(set(urls)) == len(set(pids)) == 2
    await site.gateway.close(pod(1).uid)
    with pytest.raises(ConnectionRefusedError):
        await get(f"{urls[0]}/api")
    assert (await facts(urls[1]))["pid"] == pids[1]
    assert await site.gateway.open(pod(1)) != urls[0]
    await site.gateway.close("unknown")


async def test_a_kept_port_is_kept_or_an_error(site: Site) -> None:
    holder, port = bind_unused_port()
    gateway = site.new_gateway(ports=(port, port))
    kept = pod(url=f"http://127.0.0.1:{port}")
    with pytest.raises(NoPortError, match=f"Port {port} for the tunnel of pod jhub/"):
        await gateway.open(kept)
    with pytest.raises(NoPortError, match="Every port"):
        await gateway.open(pod())
    holder.close()
    assert await gateway.open(kept) == f"http://127.0.0.1:{port}"
    await gateway.stop()


@pytest.mark.parametrize("url", ["http://127.0.0.1:22", "http://[", "x", "http://a:b"])
async def test_a_url_that_is_not_ours_is_not_kept(site: Site, url: str) -> None:
    assert (await site.gateway.open(pod(url=url))).startswith("http://127.0.0.1:21")


async def test_the_session_document_is_the_same_after_a_restart(site: Site) -> None:
    document = site.gateway.session_document(pod())
    assert site.new_gateway().session_document(pod()) == document
    assert site.gateway.session_document(pod(2))["key"] != document["key"]


async def test_no_secret_is_logged(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    await site.gateway.open(pod())
    job = await site.job()
    await site.ready()
    key = site.gateway.session_document(pod())["key"]
    await job.stop()
    assert key not in job.log.read_text()
    assert key not in caplog.text


async def test_a_port_that_rests_is_not_had_by_naming_it(site: Site) -> None:
    url = await site.gateway.open(pod(1))
    await site.gateway.close(pod(1).uid)
    assert await site.gateway.open(pod(2, url=url)) != url


async def test_a_kept_port_stays_reserved_while_it_is_taken(site: Site) -> None:
    holder, port = bind_unused_port()
    gateway = site.new_gateway(ports=(port, port))
    kept = pod(url=f"http://127.0.0.1:{port}")
    with pytest.raises(NoPortError):
        await gateway.open(kept)
    holder.close()
    with pytest.raises(NoPortError):
        await gateway.open(pod(2))
    assert await gateway.open(kept) == f"http://127.0.0.1:{port}"
    await gateway.stop()


def test_the_key_is_kept_with_the_account_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = Path(Gateway().key_file)
    assert path == tmp_path / "state/interlink-vk/gateway.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
