"""kill -9 of every daemon at every step: the session goes on, and one job ever existed.

The steps are held open by gates at ``sbatch`` and ``scancel`` and by taken boards, not
by waiting; which daemon dies at which step is shuffled by a seed (``CRASH_SEED``).
"""

from __future__ import annotations

import itertools
import json
import os
import random
from dataclasses import dataclass

import pytest

from deploy.local.stack import Stack
from interlink_sidecars.api import names
from tests.e2e.hub import JSON, Hub, Kernel, until
from tests.e2e.site import Gate, Others

pytestmark = [pytest.mark.cluster, pytest.mark.slurm]

SEED = int(os.environ.get("CRASH_SEED", "20261122"))
VICTIMS = ("vk-slurm", "sidecar-slurm", "hub")  # the gateway lives in vk-slurm
STEPS = ("submitted", "queued", "running", "deleting")
ROUNDS = list(itertools.product(VICTIMS, STEPS))
random.Random(SEED).shuffle(ROUNDS)

OPTIONS = {
    "accelerator": "xilinx.com/fpga/u55c",
    "count": 1,
    "backend": "slurm",
    "memory": "1Gi",
    "walltime": "30m",
}


@dataclass
class Session:
    """What must stay the same through a crash."""

    uid: str
    url: str
    job: str
    kernel: Kernel
    pid: str


async def pod(stack: Stack, user: str) -> JSON | None:
    """The user's pod, or None."""
    listed = await stack.cluster.kubectl("get", "pods", "-n=jhub", "-ojson")
    for found in json.loads(listed)["items"]:
        if found["metadata"]["annotations"].get(names.HUB_USERNAME) == user:
            return dict(found)
    return None


async def session(stack: Stack, hub: Hub, user: str) -> Session:
    """The user's session once it answers, with a kernel that remembers something."""
    await hub.ready(user)
    found = await pod(stack, user)
    assert found is not None
    annotations = found["metadata"]["annotations"]
    kernel = Kernel(hub, user, await hub.token(user))
    await kernel.start()
    pid = await kernel.execute("import os; kept = 'still here'; print(os.getpid())")
    return Session(
        uid=found["metadata"]["uid"],
        url=annotations[names.TUNNEL_URL],
        job=annotations[names.JOB_ID],
        kernel=kernel,
        pid=pid,
    )


async def crash(stack: Stack, victim: str) -> None:
    """kill -9, then start again as its supervisor would."""
    await stack.components[victim].kill()
    await stack.components[victim].start()


async def nothing_left(stack: Stack, others: Others, user: str, uid: str) -> None:
    """No pod, no Secret, no job; and exactly one job in the site's own log."""

    async def pod_gone() -> bool:
        return await pod(stack, user) is None

    async def jobs_gone() -> bool:
        return await others.ours() == []

    async def secrets_gone() -> bool:
        return not await stack.cluster.kubectl("get", "secrets", "-n=jhub", "-oname")

    await until(pod_gone, f"pod of {user} gone")
    await until(jobs_gone, "queue empty")
    await until(secrets_gone, "no Secret left")

    async def logged() -> bool:
        return bool(others.completed(uid))

    await until(logged, "job in the completion log", 30)
    lines = others.completed(uid)
    assert len(lines) == 1, lines


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("victim", "step"), ROUNDS)
async def test_crash(
    victim: str,
    step: str,
    stack: Stack,
    hub: Hub,
    others: Others,
    slurm_gates: tuple[Gate, Gate],
) -> None:
    submission, cancellation = slurm_gates
    user = f"crash-{victim.removesuffix('-slurm')}-{step}"
    await hub.add(user)
    taken = await others.take("fpga:u55c:2") if step == "queued" else ""
    if step == "submitted":
        submission.arm()
    code, answer = await hub.start(user, **OPTIONS)
    assert code in (201, 202), answer

    if step == "submitted":
        await submission.held()
        await crash(stack, victim)
        submission.open()
    if step == "queued":

        async def queued() -> bool:
            found = await pod(stack, user)
            annotations = (found or {"metadata": {}})["metadata"].get("annotations", {})
            return bool(annotations.get(names.JOB_STATE) == "queued")

        await until(queued, f"job of {user} queued")
        await crash(stack, victim)
        await others.give_back(taken)

    before = await session(stack, hub, user)
    if step == "running":
        await crash(stack, victim)
        await hub.ready(user)
        assert await before.kernel.execute("print(os.getpid(), kept)") == (
            f"{before.pid} still here"
        )
        after = await pod(stack, user)
        assert after is not None
        assert after["metadata"]["uid"] == before.uid
        assert after["metadata"]["annotations"][names.TUNNEL_URL] == before.url
        assert after["metadata"]["annotations"][names.JOB_ID] == before.job

    if step == "deleting":
        cancellation.arm()
    code = await hub.stop(user)
    assert code in (202, 204), code
    if step == "deleting":
        await cancellation.held()
        await crash(stack, victim)
        cancellation.open()
    await nothing_left(stack, others, user, before.uid)
    await hub.stopped(user)
