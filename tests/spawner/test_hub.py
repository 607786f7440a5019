"""A real hub with a real API server: the form, refusals, starts, a hub that dies.

The test plays the virtual kubelet. Whole paths with real sites are in tests/e2e.
"""

from __future__ import annotations

import asyncio
import html
import json
import time
from typing import Any

import httpx
import jupyterhub
import pytest
from tornado import httpserver, netutil, web

from deploy.local.processes import answering
from interlink_sidecars.api import names
from tests.service.hub import ADMIN_TOKEN, Hub
from tests.spawner.sites import Sites

U55C = "xilinx.com/fpga/u55c"


async def inventory(
    browser: httpx.AsyncClient, headers: dict[str, str] | None = None, **choice: str
) -> httpx.Response:
    return await browser.get(
        "/hub/interlink/inventory", params=choice, headers=headers or {}
    )


async def rest_start(hub: Hub, user: str, options: Any) -> httpx.Response:
    """``POST /users/:name/server`` as this version of JupyterHub wants it."""
    six = int(jupyterhub.__version__.split(".")[0]) >= 6
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.post(
            f"{hub.api_url}/users/{user}/server",
            json={"user_options": options} if six else options,
            headers={"Authorization": f"token {ADMIN_TOKEN}"},
        )


async def test_the_form_and_its_files(hub: Hub, sites: Sites) -> None:
    async with hub.browser("ada") as browser:
        page = await browser.get("/hub/spawn", headers={"Accept-Language": "it"})
        assert "U55C" in page.text
        assert "Esegui su" in page.text
        assert "HTCondor" in page.text
        for name in ("form.css", "form.js"):
            start = page.text.index(f"/hub/interlink/static/{name}?v=")
            asset = await browser.get(page.text[start : page.text.index('"', start)])
            assert asset.status_code == 200
            assert "max-age" in asset.headers["Cache-Control"]


async def test_the_inventory_of_an_open_form(hub: Hub, sites: Sites) -> None:
    async with hub.browser("ada") as browser:
        first = await inventory(browser, accelerator=U55C)
        known = {"If-None-Match": first.headers["ETag"]}
        again = await inventory(browser, known, accelerator=U55C)
        assert again.status_code == 304
        known["Prefer"] = "wait=20"
        waiting = asyncio.ensure_future(inventory(browser, known, accelerator=U55C))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await sites.apply(used=2)
        news = await asyncio.wait_for(waiting, 5)
        assert news.status_code == 200
        assert "0 free: your job will wait" in news.json()["summary"]


async def test_the_inventory_is_for_users(hub: Hub) -> None:
    async with httpx.AsyncClient(base_url=hub.url) as nobody:
        assert (await inventory(nobody)).status_code == 403


REFUSED: list[tuple[dict[str, str], str]] = [
    ({"cpus": "many"}, "cpus: 'many' is not a whole number"),
    ({"image": "lab:1; rm -rf /"}, "image: 'lab:1; rm -rf /' is not an image"),
    ({"accelerator": "xilinx.com/fpga/u999"}, "accelerator: no site has"),
    ({"backend": "$(reboot)"}, "backend: '$(reboot)' is not a site"),
    (
        {"accelerator": U55C, "count": "3"},
        "count: no site can run this:",
    ),
    ({"walltime": "-5"}, "walltime: '-5' is not a time"),
    ({"walltime": "9999h"}, "walltime: 9999h is more than the 1d"),
    ({"gpus": "1"}, "gpus: there is no such option"),
]


@pytest.mark.parametrize(("options", "sentence"), REFUSED)
async def test_a_refused_form_is_shown_again_with_the_reason(
    hub: Hub, sites: Sites, options: dict[str, str], sentence: str
) -> None:
    async with hub.browser("ada") as browser:
        await browser.get("/hub/spawn")
        xsrf = {"_xsrf": browser.cookies["_xsrf"]}
        data = {"cpus": "7", **options}
        page = await browser.post("/hub/spawn/ada", params=xsrf, data=data)
    text = html.unescape(page.text)
    assert page.status_code == 400
    assert sentence in text
    assert 'id="interlink-form"' in text
    assert 'value="7"' in text or "cpus" in options  # what was typed is still there
    assert not await sites.objects("pods")


@pytest.mark.parametrize(("options", "sentence"), REFUSED)
async def test_a_refused_query_shows_the_form_with_the_reason(
    hub: Hub, sites: Sites, options: dict[str, str], sentence: str
) -> None:
    query = {f"opt-{name}": value for name, value in options.items()}
    if jupyterhub.version_info[0] < 6:
        query = options
    async with hub.browser("ada") as browser:
        page = await browser.get("/hub/spawn", params=query)
    assert page.status_code == 400
    assert sentence in html.unescape(page.text)
    assert not await sites.objects("pods")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        *REFUSED,
        ({"cpus": True}, "cpus: True"),
        ({"count": {"a": 1}}, "count: {'a': 1}"),
    ],
)
async def test_a_refused_rest_start_answers_400(
    hub: Hub, sites: Sites, options: dict[str, Any], sentence: str
) -> None:
    answer = await rest_start(hub, "ada", options)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(sentence)
    assert not await sites.objects("pods")
    # two failures in a row end a hub that counts them
    assert (await hub.api("GET", "/users/ada"))["server"] is None


async def test_start_and_cancel(hub: Hub, sites: Sites) -> None:
    options = {"accelerator": U55C, "memory": "4Gi"}
    assert (await rest_start(hub, "bob", options)).status_code == 202
    pod = (await sites.objects("pods"))["jupyter-bob"]
    secret = (await sites.objects("secrets"))["jupyter-bob-hub-token"]
    versions = [int(o["metadata"]["resourceVersion"]) for o in (secret, pod)]
    assert versions == sorted(versions)
    assert pod["metadata"]["annotations"][names.TUNNEL] == "ilt"
    assert pod["spec"]["activeDeadlineSeconds"] == 7200
    limits = pod["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "1", "memory": str(4 * 2**30), "xilinx.com/fpga": "1"}
    queue = {"state": "queued", "reason": "Resources"}
    await sites.report("jupyter-bob", "Pending", **{names.JOB_QUEUE: json.dumps(queue)})
    progress = await progress_until(hub, "bob", "is waiting: Resources.")
    assert progress["progress"] == 25
    await hub.api("DELETE", "/users/bob/server")
    await sites.end("jupyter-bob")
    async with asyncio.timeout(20):
        while "jupyter-bob-hub-token" in await sites.objects("secrets"):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_a_hub_that_dies_while_a_job_is_queued(hub: Hub, sites: Sites) -> None:
    assert (await rest_start(hub, "eve", {"backend": "hpc"})).status_code == 202
    uid = (await sites.objects("pods"))["jupyter-eve"]["metadata"]["uid"]
    await sites.report("jupyter-eve", "Pending", **{names.JOB_STATE: "queued"})
    await hub.process.kill()
    hub.process.start()
    await hub.process.ready(answering(f"{hub.url}/hub/health"), timeout=60)
    assert (await sites.objects("pods"))["jupyter-eve"]["metadata"]["uid"] == uid
    server, url = notebook_server("/user/eve/")
    try:
        running = {names.JOB_STATE: "running", names.TUNNEL_URL: url}
        await sites.report("jupyter-eve", "Running", **running)
        deadline = time.monotonic() + 30
        while not (await hub.api("GET", "/users/eve"))["server"]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{hub.url}/user/eve/api")
        assert answer.text == "here"
        await hub.api("DELETE", "/users/eve/server")
        await sites.end("jupyter-eve")
    finally:
        server.stop()
        await server.close_all_connections()


def notebook_server(prefix: str) -> tuple[httpserver.HTTPServer, str]:
    """What a tunnel ends at: something that answers below the user's prefix."""

    class Here(web.RequestHandler):
        def get(self) -> None:
            self.finish("here")

    sockets = netutil.bind_sockets(0, "127.0.0.1")
    server = httpserver.HTTPServer(web.Application([(rf"{prefix}.*", Here)]))
    server.add_sockets(sockets)
    return server, f"http://127.0.0.1:{sockets[0].getsockname()[1]}"


async def progress_until(hub: Hub, user: str, text: str) -> dict[str, Any]:
    """The first line of the pending page that contains a text."""
    headers = {"Authorization": f"token {ADMIN_TOKEN}"}
    url = f"{hub.api_url}/users/{user}/server/progress"
    async with (
        httpx.AsyncClient(timeout=30, headers=headers) as client,
        client.stream("GET", url) as response,
    ):
        async for line in response.aiter_lines():
            if line.startswith("data:") and text in line:
                event: dict[str, Any] = json.loads(line.removeprefix("data:"))
                return event
    pytest.fail(f"the pending page never said {text!r}")
