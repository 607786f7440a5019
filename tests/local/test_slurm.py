"""The private Slurm: its configuration, and real jobs on real daemons."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.local.site import account
from deploy.local.slurm import Ports, PrivateSlurm, gres_conf, installed, slurm_conf


def test_configuration(golden: Callable[[str, Any], None]) -> None:
    directory = Path("/srv/demo/slurm")
    golden("local/slurm.conf", slurm_conf(directory, "root", Ports(26817, 26818)))
    golden("local/gres.conf", gres_conf(directory))


@pytest.fixture
async def slurm() -> AsyncIterator[PrivateSlurm]:
    if not installed():
        pytest.skip("Slurm is not installed: apt-get install slurm-wlm munge")
    top = Path(tempfile.mkdtemp(prefix="slurm-"))  # tmp_path is closed to other users
    top.chmod(0o755)
    private = PrivateSlurm(top / "slurm")
    try:
        await private.start()
        yield private
    finally:
        await private.stop()
        shutil.rmtree(top)


async def submit(slurm: PrivateSlurm, script: str, *options: str) -> str:
    """The id of a job of the site's account that runs ``script``."""
    command = ["sbatch", "--parsable", f"--uid={account().pw_uid}", "--chdir=/tmp"]
    command += ["--output=/dev/null", "--mem=64", *options, f"--wrap={script}"]
    return (await slurm.run(*command)).strip()


async def state(slurm: PrivateSlurm, job: str) -> tuple[str, str]:
    """State and reason as the queue shows them."""
    shown = await slurm.run("squeue", "--noheader", f"--jobs={job}", "--format=%T %r")
    first, _, second = shown.strip().partition(" ")
    return first, second


async def until(
    slurm: PrivateSlurm, job: str, *expected: str, seconds: float = 10
) -> None:
    async with asyncio.timeout(seconds):
        while await state(slurm, job) != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@pytest.mark.slurm
async def test_boards_are_counted_and_queued_for(slurm: PrivateSlurm) -> None:
    both = await submit(slurm, "sleep 300", "--gres=fpga:u55c:2")
    await until(slurm, both, "RUNNING", "None", seconds=4)
    third = await submit(slurm, "sleep 300", "--gres=fpga:u55c:1")
    await until(slurm, third, "PENDING", "Resources")
    await slurm.run("scancel", both)
    await until(slurm, third, "RUNNING", "None")
    detail = await slurm.run("scontrol", "show", "job", "-d", third)
    assert "GRES=fpga:u55c:1" in detail
    assert f"UserId={account().pw_name}" in detail


@pytest.mark.slurm
async def test_stop_ends_the_jobs_and_logs_them(slurm: PrivateSlurm) -> None:
    job = await submit(slurm, "sleep 300", "--gres=gpu:a100:1")
    await until(slurm, job, "RUNNING", "None", seconds=4)
    await slurm.stop()
    ended = slurm.completion_log.read_text().splitlines()
    assert [line.split()[0] for line in ended] == [f"JobId={job}"]
    assert "JobState=CANCELLED" in ended[0]
    assert not any(process.running for process in slurm.processes.values())
