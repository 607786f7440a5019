"""The wire, byte by byte: what interLink sends, what it must get, what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from interlink_sidecars.api.errors import ApiError
from interlink_sidecars.api.kubernetes import JSON
from interlink_sidecars.api.messages import LogRequest, Queue
from interlink_sidecars.client import SidecarClient
from interlink_sidecars.server import make_app
from interlink_sidecars.testing import bundle, exit_code, make_pod

from .conftest import Served


async def until(served: Served, pod: JSON, expected: Callable[[Queue], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            (status,) = await served.client.statuses([pod])
            if status.queue is not None and expected(status.queue):
                return
            await asyncio.sleep(0.05)


async def until_state(served: Served, pod: JSON, state: str) -> None:
    await until(served, pod, lambda queue: queue.state == state)


def log_request(pod: JSON, **options: Any) -> JSON:
    meta = pod["metadata"]
    return {
        "Namespace": meta["namespace"],
        "PodUID": meta["uid"],
        "PodName": meta["name"],
        "ContainerName": "main",
        "Opts": {
            "Tail": 0,
            "Bytes": 0,
            "Timestamps": False,
            "Follow": False,
            "Previous": False,
            "SinceSeconds": 0,
            "SinceTime": "0001-01-01T00:00:00Z",
            **options,
        },
    }


@pytest.mark.parametrize("wrap", [lambda body: body, lambda body: [body]])
async def test_create_is_200_and_one_object(
    served: Served, wrap: Callable[[JSON], Any]
) -> None:
    pod = make_pod()
    body = {"pod": pod, "container": None, "jobConfig": {"x": 1}, "jobScript": ""}
    response = await served.call("POST", "/create", wrap(body))
    assert response.code == 200
    uid = pod["metadata"]["uid"]
    expected = {"PodUID": uid, "PodJID": "il-" + uid.replace("-", "")[:12]}
    assert json.loads(response.body) == expected


async def test_create_as_a_virtual_kubelet_sends_it(served: Served) -> None:
    mounts = [
        {"name": "settings", "mountPath": "/settings"},
        {"name": "merged", "mountPath": "/merged"},
    ]
    pod = make_pod("cat /settings/a /merged/b")
    pod["spec"]["containers"][0]["volumeMounts"] = mounts
    pod["spec"]["volumes"] = [
        {"name": "settings", "configMap": {"name": "cm"}},
        {"name": "merged", "projected": {"sources": []}},
    ]
    body = {
        "pod": pod,
        "configmaps": [{"metadata": {"name": "cm"}, "data": {"a": "1"}}],
        "secrets": None,
        "projectedvolumesmaps": [{"metadata": {"name": "merged"}, "data": {"b": "2"}}],
        "jobscriptURL": "",
    }
    assert (await served.call("POST", "/create", body)).code == 200
    await until_state(served, pod, "completed")
    response = await served.call("GET", "/getLogs", log_request(pod))
    assert response.body == b"12"


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_delete_of_a_known_and_an_unknown_pod(
    served: Served, method: str
) -> None:
    pod = make_pod("sleep 330")
    await served.client.create(bundle(pod))
    for document in (pod, pod, make_pod()):
        assert (await served.call(method, "/delete", document)).code == 200
    await until_state(served, pod, "cancelled")


async def test_every_asked_pod_is_answered(served: Served) -> None:
    known, unknown = make_pod(), make_pod()
    await served.client.create(bundle(known))
    await until_state(served, known, "completed")
    response = await served.call("GET", "/status", [unknown, known])
    first, second = json.loads(response.body)
    assert (first["UID"], first["containers"]) == (unknown["metadata"]["uid"], [])
    assert second["containers"][0]["state"]["terminated"]["exitCode"] == 0
    assert second["initContainers"] == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/status", []), ("POST", "/pinglink", None), ("GET", "/status", None)],
)
async def test_ping_is_an_inventory(
    served: Served, method: str, path: str, body: Any
) -> None:
    ping = json.loads((await served.call(method, path, body)).body)
    assert ping.pop("observedAt")
    assert ping == {
        "status": "ok",
        "message": "",
        "backend": "local",
        "resources": {
            "cpu": "4",
            "memory": "8Gi",
            "accelerators": [
                {
                    "resourceType": "xilinx.com/fpga",
                    "available": "2",
                    "model": "u55c",
                    "total": 2,
                    "used": 0,
                }
            ],
        },
        "queue": {"running": 0, "waiting": 0},
    }


async def test_followed_log_begins_at_once_and_ends(served: Served) -> None:
    holder, pod = make_pod("sleep 331", boards=2), make_pod("echo hello", boards=1)
    await served.client.create(bundle(holder))
    await served.client.create(bundle(pod))
    await until(served, pod, lambda queue: queue.reason == "Resources")
    body = json.dumps(log_request(pod, Follow=True)).encode()
    host, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"GET /getLogs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        first = await reader.readuntil(b"\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"# queued: Waiting for resources" in first
    await served.client.delete(holder)
    async with asyncio.timeout(20):
        rest = await reader.read()
    assert b"hello" in rest
    writer.close()
    await writer.wait_closed()


async def test_a_reader_that_leaves_is_noticed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = asyncio.Event()

    async def silent(_: LogRequest) -> AsyncGenerator[bytes, None]:
        try:
            yield b"up"
            await asyncio.Event().wait()
        finally:
            left.set()

    monkeypatch.setattr(served.engine, "logs", silent)
    stream = served.client.logs(LogRequest.model_validate(log_request(make_pod())))
    assert await anext(stream) == b"up"
    await stream.aclose()
    await asyncio.wait_for(left.wait(), 5)


POD_NAME = {"metadata": {"name": "x", "namespace": "n", "uid": "no"}}


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "/create", b"{", "not JSON"),
        ("POST", "/create", b"[" * 100_000, "not JSON"),
        ("POST", "/create", [], "one JSON object"),
        ("POST", "/create", [{}, {}], "one JSON object"),
        ("POST", "/create", {}, "pod: Field required"),
        ("POST", "/create", {"pod": []}, "pod: Input should be"),
        ("POST", "/create", {"pod": POD_NAME}, "metadata.uid is 'no'"),
        ("POST", "/create", {"pod": {}, "container": [{}]}, "container.0.name"),
        ("POST", "/delete", {"metadata": {"uid": "../x"}}, "metadata.uid"),
        ("GET", "/status", {"a": 1}, "list of pods"),
        ("GET", "/status", [1], "list of pods"),
        ("GET", "/status", [POD_NAME], "metadata.uid"),
        ("GET", "/getLogs", {}, "Namespace: Field required"),
        ("GET", "/getLogs", {"Namespace": "../etc"}, "Namespace"),
    ],
)
async def test_malformed_input_is_400_with_the_field(
    served: Served, method: str, path: str, body: Any, words: str
) -> None:
    response = await served.call(method, path, body)
    assert response.code == 400
    error = json.loads(response.body)
    assert words in error["message"]
    assert "Traceback" not in error["message"]
    assert error["final"] is True


@pytest.mark.parametrize(
    "options",
    [
        {"Tail": 1, "Bytes": 1},
        {"Tail": 1, "LimitBytes": 1},
        {"Tail": -1},
        {"Tail": "x"},
    ],
)
async def test_log_options_that_contradict(served: Served, options: JSON) -> None:
    response = await served.call("GET", "/getLogs", log_request(make_pod(), **options))
    assert response.code == 400


async def test_log_of_an_unknown_pod_or_container(served: Served) -> None:
    pod = make_pod()
    assert (await served.call("GET", "/getLogs", log_request(pod))).code == 404
    await served.client.create(bundle(pod))
    wrong = {**log_request(pod), "ContainerName": "other"}
    response = await served.call("GET", "/getLogs", wrong)
    assert response.code == 400
    other = {**log_request(pod), "Namespace": "other"}
    assert (await served.call("GET", "/getLogs", other)).code == 404


async def test_unknown_paths_and_methods(served: Served) -> None:
    for method, path, code in (("GET", "/nothing", 404), ("PUT", "/create", 405)):
        response = await served.call(method, path, {})
        assert response.code == code
        assert json.loads(response.body)["message"]
    assert (await served.call("GET", "/healthz")).body == b"ok"


async def test_an_inner_failure_hides_its_details(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(served.engine, "statuses", fail)
    response = await served.call("GET", "/status", [make_pod()])
    assert response.code == 500
    assert b"secret" not in response.body


async def test_token(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    server = HTTPServer(make_app(served.engine, file))
    socket, port = bind_unused_port()
    server.add_sockets([socket])
    url = f"http://127.0.0.1:{port}"
    stranger, friend = SidecarClient(url), SidecarClient(url, token_file=file)
    try:
        with pytest.raises(ApiError, match="token") as caught:
            await stranger.ping()
        assert caught.value.status == 401
        assert (await friend.ping()).status == "ok"
        file.write_text("rotated")
        assert (await friend.ping()).status == "ok"
    finally:
        server.stop()
        await server.close_all_connections()


async def test_an_api_server_client_is_served_too(served: Served) -> None:
    """Our client in its other protocol: pinglink, DELETE and the other body."""
    client = SidecarClient(served.url, protocol="api-server")
    assert (await client.ping()).backend == "local"
    pod = make_pod("exit 6")
    created = await client.create(bundle(pod))
    assert created.pod_uid == pod["metadata"]["uid"]
    await until_state(served, pod, "failed")
    (status,) = await client.statuses([pod])
    assert exit_code(status) == 6
    await client.delete(pod)
