"""One installation for all end-to-end tests of a run, and browsers to look at it.

Everything is real: control plane, Slurm, sidecars, virtual kubelets, tunnel, proxy,
JupyterHub, JupyterLab, Chromium.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from deploy.local import environments
from deploy.local.slurm import PrivateSlurm, installed
from deploy.local.stack import Stack
from tests.e2e.hub import Hub
from tests.e2e.person import Person
from tests.e2e.site import Gate, Others, gates

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
async def directory() -> AsyncIterator[Path]:
    """A directory that the site's account can enter, unlike pytest's own."""
    top = Path(tempfile.mkdtemp(prefix="e2e-"))
    top.chmod(0o755)
    yield top
    shutil.rmtree(top, ignore_errors=True)


@pytest.fixture(scope="session")
def slurm_gates(directory: Path) -> tuple[Gate, Gate]:
    """Gates at the sidecar's ``sbatch`` and ``scancel``."""
    return gates(directory)


@pytest.fixture(scope="session")
async def stack(
    directory: Path, slurm_gates: tuple[Gate, Gate]
) -> AsyncIterator[Stack]:
    """The whole installation, with both nodes."""
    if not installed():
        pytest.skip("Slurm is not installed: apt-get install slurm-wlm munge")
    slurm = PrivateSlurm(directory / "slurm")
    slurm.env = {**slurm.env, "PATH": f"{slurm_gates[0].path}:{slurm.env['PATH']}"}
    made = environments.everything(environments.tools())
    whole = Stack(directory / "stack", made, slurm=slurm)
    try:
        await whole.start()
        yield whole
    finally:
        await whole.stop()


@pytest.fixture(scope="session")
def hub(stack: Stack) -> Hub:
    """The hub's REST API, as its operator."""
    return Hub(stack.url, stack.operator_token)


@pytest.fixture(scope="session")
def others(stack: Stack) -> Others:
    """Other people's jobs at the Slurm site."""
    assert isinstance(stack.slurm, PrivateSlurm)
    return Others(stack.slurm)


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium, without a window."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, args=CHROMIUM_FLAGS
        )
        yield browser
        await browser.close()


@pytest.fixture
async def person(
    chromium: Browser, stack: Stack
) -> AsyncIterator[Callable[[str], Awaitable[Person]]]:
    """Make somebody with a browser of their own, signed in."""
    people: list[Person] = []

    async def sign_in(name: str) -> Person:
        context = await chromium.new_context(
            viewport={"width": 1280, "height": 900}, locale="en-GB"
        )
        somebody = Person(name, await context.new_page(), stack.url)
        people.append(somebody)
        await somebody.sign_in(stack.password)
        return somebody

    yield sign_in
    for somebody in people:
        await somebody.look(f"{somebody.name}-last")
        await somebody.page.context.close()
