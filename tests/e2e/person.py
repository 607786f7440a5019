"""A scientist at a browser: what they click, and what they then read.

Finds things as people do, by labels and roles; it knows no ids of ours.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from playwright.async_api import Locator, Page, expect

_PATIENCE = 90_000  # milliseconds
expect.set_options(timeout=30_000)


class Person:
    """Somebody signed in to the hub in a browser of their own."""

    def __init__(self, name: str, page: Page, url: str) -> None:
        self.name = name
        self.page = page
        self.url = url
        page.set_default_timeout(_PATIENCE)

    async def sign_in(self, password: str) -> None:
        """Log in by name and password."""
        await self.page.goto(f"{self.url}/hub/login")
        await self.page.get_by_label("Username").fill(self.name)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Sign in").click()
        await self.page.wait_for_url(f"{self.url}/hub/**")

    async def open_form(self) -> None:
        """Open the server options."""
        await self.page.goto(f"{self.url}/hub/spawn")
        await expect(self.page.get_by_role("button", name="Start")).to_be_visible()

    def row(self, model: str) -> Locator:
        """The row of the accelerator table with the total over all sites."""
        return self.page.get_by_role("row", name=re.compile(model, re.IGNORECASE)).first

    def site_row(self, model: str, backend: str) -> Locator:
        """The row of one model at one site."""
        table = self.page.locator("tbody").filter(
            has=self.page.get_by_role("radio", name=re.compile(model, re.IGNORECASE))
        )
        return table.get_by_role("row", name=re.compile(backend, re.IGNORECASE))

    async def free(self, model: str, backend: str, count: int) -> None:
        """Wait until the open form shows this many free."""
        cell = self.site_row(model, backend).get_by_role("cell").last
        await expect(cell).to_have_text(str(count), timeout=10_000)

    async def choose(self, model: str, backend: str, memory: str) -> None:
        """Fill in the form."""
        await self.row(model).locator("label").click()
        await expect(self.row(model).get_by_role("radio")).to_be_checked()
        await self.page.get_by_label("Memory").fill(memory)
        offload = self.page.get_by_role("group", name="Enable offloading to")
        await offload.get_by_text(re.compile(backend, re.IGNORECASE)).click()
        summary = self.page.get_by_role("status")
        await expect(summary).to_contain_text(model)
        await expect(summary).to_contain_text(backend)

    async def start(self) -> None:
        """Press Start and wait for the pending page."""
        await self.page.get_by_role("button", name="Start").click()
        await self.page.wait_for_url("**/hub/spawn-pending/**")

    async def told(self, text: str | re.Pattern[str]) -> None:
        """Wait until the pending page's message says this."""
        message = self.page.locator("#progress-message")
        await expect(message).to_contain_text(text, timeout=30_000)

    async def in_lab(self) -> None:
        """Wait until JupyterLab is there."""
        await self.page.wait_for_url(f"**/user/{self.name}/lab**", timeout=_PATIENCE)
        await expect(self.page.locator(".jp-Launcher")).to_be_visible()

    async def run_cell(self, code: str) -> str:
        """What a cell of a new notebook prints."""
        page = self.page
        await page.locator('.jp-LauncherCard[data-category="Notebook"]').first.click()
        notebook = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        # JupyterLab drops what is run before its kernel has introduced itself
        await expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle")
        await notebook.locator(".jp-Cell .cm-content").first.click()
        await page.keyboard.type(code)
        await page.keyboard.press("Shift+Enter")
        output = notebook.locator(".jp-OutputArea-output").first
        await expect(output).to_be_visible()
        return (await output.inner_text()).strip()

    async def panel(self) -> Locator:
        """The job panel, opened if it is not."""
        region = self.page.get_by_role("region", name="Job")
        if not await region.is_visible():
            await self.page.locator('[data-id="jp-interlink-job"]').click()
        await expect(region).to_be_visible()
        return region

    async def stop_server(self) -> None:
        """Press Stop on the hub's home page and wait for the Start button."""
        # the hub's page gives its buttons their meaning after it has loaded
        await self.page.goto(f"{self.url}/hub/home", wait_until="networkidle")
        await self.page.get_by_role("button", name="Stop My Server").click()
        stopped = self.page.locator("#start")
        await expect(stopped).to_have_text(re.compile("Start"), timeout=_PATIENCE)

    async def look(self, name: str) -> None:
        """Keep a screenshot where SCREENSHOTS says, for people to look at."""
        directory = os.environ.get("SCREENSHOTS")
        if directory:
            Path(directory).mkdir(parents=True, exist_ok=True)
            await self.page.screenshot(path=Path(directory) / f"{name}.png")
