"""The service between a real hub and a real API server, as callers see it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from deploy.local.processes import free_port, logged
from tests.service.conftest import Service, service_process, serving
from tests.service.hub import Hub
from tests.service.site import NODE, Site
from tests.service.wire import Wire

pytestmark = pytest.mark.node

T = TypeVar("T")


@pytest.fixture
async def alice(service: Service) -> str:
    """The token in Alice's JupyterLab page: that of her default server."""
    return await service.hub.token("alice", "access:servers!server=alice/")


async def until(ask: Callable[[], Awaitable[T]], good: Callable[[T], bool]) -> T:
    """Ask until the answer is good; the test's time limit is the limit."""
    while not good(answer := await ask()):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.1)
    return answer


async def known(service: Service, uid: str, token: str, state: str) -> Any:
    """The job, once the service has seen it in a state."""

    async def ask() -> Any:
        response = await service.get(f"jobs/{uid}", token)
        return response.json() if response.status_code == 200 else {"state": None}

    return await until(ask, lambda job: job["state"] == state)


async def test_job_from_submission_to_its_end(
    service: Service, site: Site, alice: str
) -> None:
    uid = await site.submit("life", "alice")
    job = await known(service, uid, alice, "requested")
    assert (job["owner"], job["server"], job["site"]) == ("alice", "", NODE)

    queue = {"state": "queued", "reason": "Resources", "partition": "fpga"}
    await site.annotate(
        "life", JOB_ID="42", JOB_STATE="queued", JOB_QUEUE=json.dumps(queue)
    )
    job = await known(service, uid, alice, "queued")
    assert (job["job_id"], job["reason"], job["queue"]) == ("42", "Resources", "fpga")

    await site.annotate("life", JOB_STATE="running")
    await known(service, uid, alice, "running")
    await site.remove("life")
    job = await known(service, uid, alice, "cancelled")
    assert job["job_id"] == "42"
    assert job["ended_at"] is not None


async def test_list_holds_the_jobs_that_the_token_reaches(
    service: Service, site: Site
) -> None:
    uids = {
        name: await site.submit(name, owner)
        for name, owner in {"of-alice": "alice", "of-bob": "bob"}.items()
    }
    support = await service.hub.token("carol", "custom:interlink:read")
    for uid in uids.values():
        await known(service, uid, support, "requested")

    async def seen(token: str) -> set[str]:
        document = (await service.get("jobs", token)).json()
        assert document["served_at"]
        return {job["id"] for job in document["jobs"]} & set(uids.values())

    alice = await service.hub.token("alice", "custom:interlink:read!user=alice")
    page_of_bob = await service.hub.token("bob", "access:servers!server=bob/")
    other_server = await service.hub.token("bob", "access:servers!server=bob/gpu1")
    assert await seen(support) == set(uids.values())
    assert await seen(alice) == {uids["of-alice"]}
    assert await seen(page_of_bob) == {uids["of-bob"]}
    assert await seen(other_server) == set()


@pytest.mark.parametrize("path", ["", "/logs/notebook"])
async def test_others_are_refused(
    service: Service, site: Site, alice: str, path: str
) -> None:
    uid = await site.submit(f"private{len(path)}", "alice")
    await known(service, uid, alice, "requested")
    bob = await service.hub.token("bob", "inherit")
    refused = await service.get(f"jobs/{uid}{path}", bob)
    assert refused.status_code == 403
    assert refused.json()["reason"] == "Forbidden"


@pytest.mark.parametrize("token", [None, "no-such-token"])
@pytest.mark.parametrize("path", ["jobs", "jobs/1", "jobs/1/logs/notebook"])
async def test_nobody_gets_an_answer_in_json_without_a_redirect(
    service: Service, path: str, token: str | None
) -> None:
    response = await service.get(path, token)
    assert response.status_code == 401
    assert response.json()["reason"] == "Unauthorized"


async def test_revoked_token_is_refused_soon(
    service: Service, site: Site, tmp_path: Path
) -> None:
    document = await service.hub.api(
        "POST", "/users/alice/tokens", {"scopes": ["access:servers!server=alice/"]}
    )
    option = "--Authorization.cache_max_age=1"
    async with serving(service.hub, tmp_path, site.kubeconfig, option) as there:

        async def status() -> int:
            return (await there.get("jobs", document["token"])).status_code

        await until(status, lambda code: code == 200)
        await service.hub.api("DELETE", f"/users/alice/tokens/{document['id']}")
        await until(status, lambda code: code == 401)


async def test_unknown_things_are_told_in_json(
    service: Service, site: Site, alice: str
) -> None:
    uid = await site.submit("known", "alice")
    await known(service, uid, alice, "requested")
    for path in ("jobs/none", f"jobs/{uid}/logs/none", "nothing"):
        response = await service.get(path, alice)
        assert response.status_code == 404, path
        assert response.json()["reason"] == "NotFound"
    response = await service.get(f"jobs/{uid}/logs/notebook?offset=x", alice)
    assert (response.status_code, response.json()["reason"]) == (400, "InvalidRequest")


async def test_unchanged_documents_are_not_sent_again(
    service: Service, site: Site, alice: str
) -> None:
    uid = await site.submit("same", "alice")
    await known(service, uid, alice, "requested")

    async def repeated() -> int:
        first = await service.get("jobs", alice)
        tag = first.headers["etag"]
        return (await service.get("jobs", alice, **{"If-None-Match": tag})).status_code

    # now and then Kubernetes confirms the jobs in between, which is news
    await until(repeated, lambda code: code == 304)
    before = (await service.get("jobs", alice)).headers["etag"]
    await site.annotate("same", JOB_STATE="queued")
    await known(service, uid, alice, "queued")
    after = await service.get("jobs", alice, **{"If-None-Match": before})
    assert after.status_code == 200


async def test_log_grows_by_offset_and_outlives_the_pod(
    service: Service, site: Site, alice: str
) -> None:
    uid = await site.submit("logging", "alice")
    await site.annotate("logging", JOB_STATE="running")
    await site.set_status("logging", {"phase": "Running"})
    await known(service, uid, alice, "running")
    log = site.logs["logging"]

    async def read(offset: int) -> Any:
        path = f"jobs/{uid}/logs/notebook?offset={offset}"
        return (await service.get(path, alice)).json()

    await log.write(b"one\n")
    first = await until(lambda: read(0), lambda chunk: chunk["size"] > 0)
    assert first["data"] == "one\n"
    assert (first["complete"], first["source"]) == (False, "live")

    await log.write("zwölf\n".encode())
    second = await until(
        lambda: read(first["next_offset"]), lambda chunk: chunk["data"] != ""
    )
    assert second["data"] == "zwölf\n"
    assert second["generation"] == first["generation"]

    await log.write(b"bye\n", end=True)
    await site.set_status("logging", {"phase": "Succeeded"})
    await until(lambda: read(0), lambda chunk: chunk["complete"])
    await site.remove("logging")
    await until(
        lambda: service.job(uid, alice), lambda job: job["ended_at"] is not None
    )
    last = await read(second["next_offset"])
    assert (last["data"], last["source"]) == ("bye\n", "archive")


async def test_log_that_nobody_read_is_kept_all_the_same(
    service: Service, site: Site, alice: str
) -> None:
    uid = await site.submit("unread", "alice")
    await known(service, uid, alice, "requested")
    await site.logs["unread"].write(b"Traceback: why it failed\n", end=True)
    await site.set_status("unread", {"phase": "Failed"})
    await known(service, uid, alice, "failed")
    response = await until(
        lambda: service.get(f"jobs/{uid}/logs/notebook", alice),
        lambda response: response.json()["complete"],
    )
    await site.remove("unread")
    assert response.json()["data"] == "Traceback: why it failed\n"


async def test_log_without_viewers_is_no_longer_followed(
    service: Service, site: Site, alice: str, tmp_path: Path
) -> None:
    uid = await site.submit("idle", "alice")
    log = site.logs["idle"]
    await log.write(b"one\n")
    path = f"jobs/{uid}/logs/notebook?offset="

    async def followers() -> int:
        return log.followers

    option = "--Logs.idle=0.5"
    async with serving(service.hub, tmp_path, site.kubeconfig, option) as there:
        await known(there, uid, alice, "requested")
        first = (await there.get(path + "0", alice)).json()
        assert first["data"] == "one\n"
        assert log.followers == 1
        await until(followers, lambda count: count == 0)
        await log.write(b"two\n")
        again = await until(
            lambda: there.get(path + "4", alice),
            lambda response: response.json()["data"] != "",
        )
    assert again.json()["data"] == "two\n"
    assert again.json()["generation"] == first["generation"]


async def test_log_says_why_there_is_none(
    service: Service, site: Site, alice: str
) -> None:
    uid = await site.submit("silent", "alice")
    site.logs["silent"].refused = "The site does not answer."
    await known(service, uid, alice, "requested")
    chunk = (await service.get(f"jobs/{uid}/logs/notebook", alice)).json()
    assert chunk["data"] == ""
    assert "The site does not answer." in chunk["message"]


async def test_pages_of_a_job_after_login(
    service: Service, site: Site, alice: str
) -> None:
    uid = await site.submit("paged", "alice", {"interlinkspawner/job-id": "77"})
    await site.logs["paged"].write(b"<script>alert(1)</script>\n", end=True)
    await site.set_status("paged", {"phase": "Succeeded"})
    await known(service, uid, alice, "completed")
    async with service.hub.browser("alice") as browser:
        listing = await browser.get("/services/interlink/")
        link = re.search(rf'href="([^"]*jobs/{uid})"', listing.text)
        assert link, listing.text
        page = await browser.get(link[1])
    assert page.status_code == 200
    assert "Job 77: completed" in page.text
    assert "&lt;script&gt;alert(1)" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_pages_send_others_away(service: Service, site: Site, alice: str) -> None:
    uid = await site.submit("hidden", "alice")
    await known(service, uid, alice, "requested")
    async with httpx.AsyncClient(base_url=service.hub.url) as client:
        login = await client.get(f"/services/interlink/jobs/{uid}")
    assert login.status_code == 302
    assert "/hub/api/oauth2/authorize" in login.headers["location"]
    async with service.hub.browser("bob") as browser:
        refused = await browser.get(f"/services/interlink/jobs/{uid}")
    assert refused.status_code == 403
    assert "may not see" in refused.text


async def test_outage_of_kubernetes_shows_in_the_age_of_the_jobs(
    service: Service, site: Site, alice: str, tmp_path: Path
) -> None:
    access = json.loads(site.kubeconfig.read_text())
    cluster = access["clusters"][0]["cluster"]
    wire = Wire(int(cluster["server"].rpartition(":")[2]))
    cluster["server"] = f"https://127.0.0.1:{await wire.listen()}"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(access))
    uid = await site.submit("outage", "alice")
    async with serving(service.hub, tmp_path, kubeconfig) as there:
        before = await known(there, uid, alice, "requested")
        wire.cut()
        await there.process.ready(logged("Next try in"))
        assert await there.job(uid, alice) == before
        await site.annotate("outage", JOB_STATE="running")
        wire.mend()
        after = await known(there, uid, alice, "running")
    assert after["observed_at"] >= before["observed_at"]
    await wire.close()


async def test_hub_that_does_not_answer_is_told_in_json(
    site: Site, alice: str, tmp_path: Path
) -> None:
    nobody = Hub(tmp_path, "")
    async with serving(nobody, tmp_path, site.kubeconfig) as there:
        response = await there.get("jobs", alice)
    assert response.status_code == 503
    assert response.json()["reason"] == "HubUnreachable"
    assert response.headers["retry-after"]


async def test_service_without_kubernetes_ends_in_one_sentence(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    process = service_process(tmp_path, url, "http://127.0.0.1:1", tmp_path / "none")
    process.start()
    assert await process.wait() == 1
    last = process.logged_bytes().decode().splitlines()[-1]
    assert "Nothing says where Kubernetes is" in last
    await process.stop()
