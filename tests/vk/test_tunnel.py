"""A server in a job is reached through the tunnel, and counts as ready only then.

Virtual kubelet, gateway, agent and sidecar are real; the server is a few lines that
listen on the agent's socket, as a notebook server does.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from interlink_sidecars.api import names
from interlink_sidecars.api.kubernetes import JSON
from tests.vk.site import Site
from tests.vk.virtualnode import VirtualNode, waiting_reason

SERVER = """
import os, socketserver, sys, time
from http.server import BaseHTTPRequestHandler

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        found = self.path == "/user/alice/api"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())

    def address_string(self):
        return "gateway"

while not os.path.exists(sys.argv[1]):
    time.sleep(0.1)
path = sys.argv[-1].partition("=")[2]
socketserver.ThreadingUnixStreamServer(path, Handler).serve_forever()
"""


async def run_notebook(node: VirtualNode, go_on: Path) -> None:
    manifest = node.manifest("notebook")
    manifest["metadata"]["annotations"] = {names.TUNNEL: "ilt"}
    container = manifest["spec"]["containers"][0]
    del container["command"]
    container["args"] = ["python3", "-c", SERVER, str(go_on)]
    container["env"] = [
        {"name": "JUPYTERHUB_SERVICE_PREFIX", "value": "/user/alice/"},
        {"name": "JUPYTERHUB_API_URL", "value": "http://127.0.0.1:8081/hub/api"},
    ]
    await node.create(manifest)


def is_ready(pod: JSON) -> bool:
    statuses = pod["status"].get("containerStatuses") or [{}]
    conditions = pod["status"].get("conditions") or []
    ready = {item["type"]: item["status"] for item in conditions}.get("Ready")
    return bool(statuses[0].get("ready")) and ready == "True"


def session_url(pod: JSON) -> str:
    return str(pod["metadata"]["annotations"][names.TUNNEL_URL])


async def answer(pod: JSON) -> str:
    url = session_url(pod) + "/user/alice/api"
    client = AsyncHTTPClient(force_instance=True)
    try:
        return (await client.fetch(url)).body.decode()
    finally:
        client.close()


async def test_ready_when_the_server_answers(node: VirtualNode, site: Site) -> None:
    go_on = site.directory / "go-on"
    await run_notebook(node, go_on)
    silent = await node.phase("notebook", "Running")
    assert not is_ready(silent)
    assert session_url(silent).startswith("http://127.0.0.1:")
    conditions = {c["type"]: c for c in silent["status"]["conditions"]}
    assert conditions["Ready"]["reason"] == "TunnelNotReady"
    go_on.touch()
    ready = await node.pod("notebook", is_ready)
    assert int(await answer(ready)) in site.living()
    await node.event("notebook", "TunnelUp")
    stored = ready["spec"]
    assert "volumes" not in stored
    assert "agent" not in json.dumps(stored)


async def test_the_session_survives_a_crash_and_ends_with_the_pod(
    node: VirtualNode, site: Site
) -> None:
    go_on = site.directory / "go-on"
    go_on.touch()
    await run_notebook(node, go_on)
    before = await node.pod("notebook", is_ready)
    pid = await answer(before)
    await node.process.kill()
    await node.start()
    assert await answer(before) == pid  # held until the agent is back
    after = await node.pod("notebook", is_ready)
    assert session_url(after) == session_url(before)
    assert "TunnelDown" not in await node.events("notebook")
    await node.delete("notebook")
    await node.gone("notebook")
    assert site.living() == []
    with pytest.raises((OSError, HTTPClientError)):
        await answer(before)


async def test_a_node_without_tunnel_refuses_a_pod_that_wants_one(
    node: VirtualNode,
) -> None:
    await node.process.stop()
    settings = json.loads(node.config.read_text())
    settings["VirtualKubelet"]["tunnel"] = False
    node.config.write_text(json.dumps(settings))
    await node.start()
    await node.run("plain", "true")
    await node.phase("plain", "Succeeded")
    await run_notebook(node, Path("/nowhere"))
    failed = await node.phase("notebook", "Failed")
    assert failed["status"]["reason"] == "NoTunnel"
    assert waiting_reason(failed) is None
