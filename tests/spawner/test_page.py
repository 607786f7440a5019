"""The open form in a browser: what changes while it is open, and by keyboard."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, Route, async_playwright, expect

from tests.service.hub import Hub
from tests.spawner.sites import Sites

pytestmark = pytest.mark.browser
U55C = "input[value='xilinx.com/fpga/u55c']"


@pytest.fixture
async def page(hub: Hub, sites: Sites) -> AsyncIterator[Page]:
    """A browser in which a user is logged in."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed: apt install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = await browser.new_page(locale="en-GB")
        await page.goto(f"{hub.url}/hub/login?next=/hub/home")
        await page.fill("#username_input", "carol")
        await page.fill("#password_input", "x")
        await page.click("#login_submit")
        await page.wait_for_url("**/hub/home")
        yield page
        await browser.close()


async def test_the_open_form_is_live(page: Page, hub: Hub, sites: Sites) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(f"{hub.url}/hub/spawn")
    summary = page.locator("#il-summary")
    await expect(summary).to_contain_text("without accelerator")
    await expect(page.locator("#il-count")).to_be_disabled()
    await page.locator(U55C).check()
    await expect(summary).to_contain_text("1 of 2 free at Slurm · cnaf")
    await expect(page.locator("#il-count")).to_be_enabled()
    grid = page.locator("input[value='grid']")
    await expect(grid).to_be_disabled()
    await expect(page.locator("#il-backends")).to_contain_text("has no U55C")
    await sites.apply(used=2)
    await expect(summary).to_contain_text("your job will wait", timeout=10_000)
    await expect(page.locator("#il-accelerators .il-full")).to_have_text("0")
    await expect(page.locator(U55C)).to_be_checked()
    await page.locator("#il-accelerator-none").check()
    await expect(grid).to_be_enabled()
    assert not errors


async def test_a_chosen_site_that_becomes_impossible_is_automatic(
    page: Page, hub: Hub
) -> None:
    await page.goto(f"{hub.url}/hub/spawn")
    await page.locator("input[value='grid']").check()
    await page.locator(U55C).check()
    await expect(page.locator("input[value='grid']")).to_be_disabled()
    await expect(page.locator("#il-backend-auto")).to_be_checked()
    await page.locator("#il-accelerator-none").check()
    await expect(page.locator("input[value='grid']")).to_be_checked()


async def test_a_chosen_accelerator_comes_back_after_a_typing_error(
    page: Page, hub: Hub, sites: Sites
) -> None:
    await page.goto(f"{hub.url}/hub/spawn")
    await page.locator(U55C).check()
    await page.fill("#il-memory", "99999")
    await expect(page.locator(U55C)).to_be_disabled()
    await expect(page.locator("#il-accelerator-none")).to_be_checked()
    await page.fill("#il-memory", "8")
    await expect(page.locator(U55C)).to_be_checked()
    await expect(page.locator("#il-summary")).to_contain_text("1 of 2 free at Slurm")


async def test_a_proxy_without_etags_is_not_asked_in_a_tight_loop(
    page: Page, hub: Hub, sites: Sites
) -> None:
    asked = 0

    async def drop_etag(route: Route) -> None:
        nonlocal asked
        asked += 1
        response = await route.fetch()
        headers = {k: v for k, v in response.headers.items() if k != "etag"}
        await route.fulfill(response=response, headers=headers)

    await page.route("**/hub/interlink/inventory*", drop_etag)
    await page.goto(f"{hub.url}/hub/spawn")
    await page.wait_for_timeout(2000)
    assert 1 < asked <= 5
    await page.unroute_all(behavior="wait")


async def test_the_fragment_fills_the_form_and_starts_nothing(
    page: Page, hub: Hub, sites: Sites
) -> None:
    choice = "accelerator=xilinx.com/fpga/u55c&count=2&memory=8&walltime=30m"
    await page.goto(f"{hub.url}/hub/spawn#{choice}")
    await expect(page.locator(U55C)).to_be_checked()
    await expect(page.locator("#il-summary")).to_contain_text("1 free: your job will")
    assert await page.input_value("#il-memory") == "8"
    assert await page.input_value("#il-walltime") == "30m"
    assert not await sites.objects("pods")


async def test_by_keyboard_and_focus_stays(page: Page, hub: Hub, sites: Sites) -> None:
    await page.goto(f"{hub.url}/hub/spawn")
    await page.locator("#il-accelerator-none").focus()
    await page.keyboard.press("ArrowDown")
    await expect(page.locator(U55C)).to_be_checked()
    await sites.apply(used=2)
    await expect(page.locator("#il-summary")).to_contain_text("will wait")
    await expect(page.locator(U55C)).to_be_focused()


async def test_a_hub_that_is_away_is_told_and_comes_back(page: Page, hub: Hub) -> None:
    await page.goto(f"{hub.url}/hub/spawn")
    problem = page.locator("#il-problem")
    await expect(problem).to_be_hidden()
    await page.context.set_offline(True)
    await page.fill("#il-cpus", "2")  # asks at once, instead of after a long poll
    await expect(problem).to_contain_text("The hub does not answer", timeout=30_000)
    await page.context.set_offline(False)
    await expect(problem).to_be_hidden(timeout=10_000)
