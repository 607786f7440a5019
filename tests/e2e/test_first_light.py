"""The whole path: from the hub's form to a cell that runs in a real job, and back."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import expect

from deploy.local.stack import Stack
from tests.e2e.hub import Hub, until
from tests.e2e.person import Person
from tests.e2e.site import Others

pytestmark = [pytest.mark.browser, pytest.mark.cluster, pytest.mark.slurm]
SignIn = Callable[[str], Awaitable[Person]]


async def no_pods(stack: Stack) -> None:
    """Wait until no pod of a notebook is left."""

    async def gone() -> bool:
        return not await stack.cluster.kubectl("get", "pods", "-n=jhub", "-oname")

    await until(gone, "all pods gone")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("model", "gres"), [("U55C", "fpga:u55c"), ("A100", "gpu:a100")]
)
async def test_a_notebook_in_a_slurm_job(
    model: str, gres: str, stack: Stack, hub: Hub, others: Others, person: SignIn
) -> None:
    taken = await others.take(f"{gres}:2")
    ada = await person(f"ada-{model.lower()}")
    await ada.open_form()
    await ada.free(model, "Slurm", 0)
    await ada.choose(model, "Slurm", memory="4")
    await ada.look(f"form-{model}")
    await ada.start()
    await ada.told(re.compile("Resources"))
    await ada.look(f"pending-{model}")

    bob = await person(f"bob-{model.lower()}")
    await bob.open_form()
    await others.give_back(taken)
    await ada.in_lab()
    await bob.free(model, "Slurm", 1)

    job = await ada.run_cell("import os; print(os.environ['SLURM_JOB_ID'])")
    assert await others.ours() == [job]
    described = await others.describe(job)
    assert re.search(rf"(GRES|TresPerNode)=\S*{gres}:1\b", described), described

    panel = await ada.panel()
    await expect(panel).to_contain_text(job)
    await expect(panel).to_contain_text("Running")
    await expect(panel.get_by_role("log")).to_contain_text("ServerApp")
    await ada.look(f"lab-{model}")

    await ada.stop_server()
    await no_pods(stack)
    assert await others.ours() == []
    await bob.free(model, "Slurm", 2)


@pytest.mark.timeout(300)
async def test_a_notebook_in_a_local_job(
    stack: Stack, hub: Hub, person: SignIn
) -> None:
    """Both boards are taken by somebody's pod; the queue is the sidecar's own."""
    hog = {"accelerator": "xilinx.com/fpga/u55c", "count": 2, "backend": "local"}
    await hub.add("hog")
    code, answer = await hub.start("hog", **hog)
    assert code in (201, 202), answer
    await hub.ready("hog")

    ada = await person("ada-local")
    await ada.open_form()
    await ada.free("U55C", "Local", 0)
    await ada.choose("U55C", "Local", memory="4")
    await ada.start()
    await ada.told(re.compile("Resources"))
    bob = await person("bob-local")
    await bob.open_form()
    await hub.stop("hog")
    await ada.in_lab()
    await bob.free("U55C", "Local", 1)
    assert await ada.run_cell("print(6 * 7)") == "42"
    panel = await ada.panel()
    await expect(panel).to_contain_text("Running")
    await expect(panel.get_by_role("log")).to_contain_text("ServerApp")
    await ada.stop_server()
    await no_pods(stack)
    await bob.free("U55C", "Local", 2)
