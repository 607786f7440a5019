"""The panel in a real JupyterLab and a real browser, with a service that obeys.

The answers of the hub service are made here, so that the panel meets what the real
path shows only by accident: a long log, a restarting hub, a session that has ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.async_api import (
    Browser,
    Locator,
    Page,
    Route,
    async_playwright,
    expect,
)

from deploy.local import environments
from tests.conftest import DATA

pytestmark = [pytest.mark.browser, pytest.mark.node, pytest.mark.timeout(900)]

# What JupyterHub puts into the page; and no question about news above the panel.
PAGE_CONFIG = {
    "hubPrefix": "/hub/",
    "hubServerUser": "alice",
    "disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True},
}
CHUNK = 256 * 1024


class Service:
    """What the hub service answers; a test changes it at any time."""

    def __init__(self) -> None:
        self.job: dict[str, Any] = json.loads((DATA / "service/job.json").read_text())
        now = datetime.now(UTC)
        self.job["started_at"] = now.isoformat()
        self.job["deadline"] = (now + timedelta(hours=2)).isoformat()
        self.log = "".join(f"line {number}\n" for number in range(1000))
        self.failure: int | None = None

    async def answer(self, route: Route) -> None:
        """One request of the page."""
        url = urlparse(route.request.url)
        if self.failure == 401:
            error = {"reason": "Unauthorized", "message": "Log in again."}
            await route.fulfill(status=401, json=error)
        elif self.failure:  # the proxy's page, as while the service restarts
            await route.fulfill(status=self.failure, body="<html>Unavailable</html>")
        elif "/logs/" in url.path:
            offset = int(parse_qs(url.query)["offset"][0])
            await route.fulfill(json=self._chunk(offset))
        else:
            now = datetime.now(UTC).isoformat()
            jobs = [{**self.job, "observed_at": now}]
            await route.fulfill(json={"jobs": jobs, "served_at": now})

    def _chunk(self, asked: int) -> dict[str, Any]:
        size = len(self.log)
        offset = max(0, size + asked) if asked < 0 else asked
        end = min(size, offset + CHUNK)
        return {
            "generation": "a",
            "offset": offset,
            "next_offset": end,
            "size": size,
            "data": self.log[offset:end],
            "head_lost": False,
            "complete": False,
            "source": "live",
            "message": "",
        }


@pytest.fixture(scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """URL of a JupyterLab that believes a hub has started it."""
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    home = tmp_path_factory.mktemp("lab")
    page_config = home / "etc" / "labconfig" / "page_config.json"
    page_config.parent.mkdir(parents=True)
    page_config.write_text(json.dumps(PAGE_CONFIG))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    notebook = environments.notebook(environments.tools())
    process = await asyncio.create_subprocess_exec(
        notebook / "bin" / "jupyter-lab",
        "--allow-root",
        "--no-browser",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        f"--ServerApp.root_dir={home}",
        env={**os.environ, "HOME": str(home), "JUPYTER_CONFIG_PATH": f"{home}/etc"},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr
    started = b""
    while b"is running at" not in started:
        line = await process.stderr.readline()
        assert line, started.decode()
        started += line
    drain = asyncio.create_task(process.stderr.read())
    yield f"http://127.0.0.1:{port}/lab"
    process.terminate()
    await process.wait()
    await drain


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    expect.set_options(timeout=30_000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        yield browser
        await browser.close()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def page(lab: str, browser: Browser, service: Service) -> AsyncIterator[Page]:
    """A fresh JupyterLab whose time a test can move on."""
    page = await browser.new_page(viewport={"width": 1200, "height": 800})
    await page.route("**/services/interlink/**", service.answer)
    await page.clock.install()
    await page.goto(f"{lab}/workspaces/{id(page)}?reset")
    await expect(page.locator(".jp-Launcher")).to_be_visible(timeout=60_000)
    yield page
    await page.close()


@pytest.fixture
def panel(page: Page) -> Locator:
    return page.get_by_role("region", name="Job")


async def is_at_end(log: Locator) -> bool:
    """Whether the last line of the log is on screen."""
    end: bool = await log.evaluate(
        "log => log.scrollTop + log.clientHeight >= log.scrollHeight - 1"
    )
    return end


async def test_opens_by_itself_once(page: Page, panel: Locator) -> None:
    await expect(panel.get_by_text("Running")).to_be_visible()
    await expect(panel.get_by_text("1234567")).to_be_visible()
    await expect(panel.get_by_role("progressbar")).to_be_visible()
    await expect(panel.get_by_text("line 999")).to_be_in_viewport()

    saved = page.expect_response(lambda answer: answer.request.method == "PUT")
    async with saved:
        await page.locator('[data-id="jp-interlink-job"]').click()
    await expect(panel).to_be_hidden()
    await page.goto(page.url.replace("?reset", ""))
    await expect(page.locator(".jp-Launcher")).to_be_visible()
    await page.clock.run_for(15_000)
    await expect(panel).to_be_hidden()


async def test_works_with_the_keyboard(page: Page, panel: Locator) -> None:
    await expect(panel).to_be_visible()
    await page.locator('[data-id="jp-interlink-job"]').click()
    await expect(panel).to_be_hidden()
    await page.keyboard.press("Control+Shift+C")
    await page.locator(".lm-CommandPalette-input").fill("Show Job")
    await page.keyboard.press("Enter")
    await expect(panel).to_be_visible()

    await panel.get_by_role("link").focus()
    for control in (panel.get_by_role("checkbox"), panel.get_by_role("log")):
        await page.keyboard.press("Tab")
        await expect(control).to_be_focused()
        outline = await control.evaluate("it => getComputedStyle(it).outlineWidth")
        assert outline == "2px"
    await page.keyboard.press("Tab")
    await expect(panel.locator(":focus")).to_have_count(0)


async def test_follows_the_log_until_scrolled(
    page: Page, panel: Locator, service: Service
) -> None:
    log = panel.get_by_role("log")
    await expect(log).to_contain_text("line 999")
    service.log += "".join(f"line {number}\n" for number in range(1000, 30_000))
    await page.clock.run_for(2500)
    await expect(log).to_contain_text("line 29999")
    assert await is_at_end(log)

    await log.hover()
    await page.mouse.wheel(0, -300)
    jump = panel.get_by_role("button", name="Jump to end")
    await expect(jump).to_be_visible()
    top = await log.evaluate("log => log.scrollTop")
    service.log += "the last line\n"
    await page.clock.run_for(2500)
    await expect(log).to_contain_text("the last line")
    assert await log.evaluate("log => log.scrollTop") == top
    await jump.click()
    await expect(panel.get_by_text("the last line")).to_be_in_viewport()
    await expect(jump).to_be_hidden()


async def test_keeps_the_card_when_the_service_is_lost(
    page: Page, panel: Locator, service: Service
) -> None:
    await expect(panel.get_by_text("Running")).to_be_visible()
    service.failure = 503
    await page.clock.run_for(11_000)
    await expect(panel.get_by_text("The hub does not answer")).to_be_visible()
    await expect(panel.get_by_text("1234567")).to_be_visible()

    service.failure = 401
    await page.clock.run_for(61_000)
    ended = panel.get_by_role("link", name="Open the job page")
    path = f"/services/interlink/jobs/{service.job['id']}"
    assert urlparse(await ended.get_attribute("href")).path == path

    service.failure = None
    service.job |= {"state": "timeout", "reason": "TimeLimit"}
    await page.clock.run_for(61_000)
    await expect(ended).to_be_hidden()
    await expect(panel.locator("p", has_text="TimeLimit")).to_be_visible()
    announced = panel.get_by_role("status")
    await expect(announced).to_have_text("Default server: Ended: time limit reached.")
