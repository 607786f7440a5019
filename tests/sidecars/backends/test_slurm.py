"""The Slurm backend on a real Slurm: the contract, and what may go wrong there."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local.slurm import PrivateSlurm, installed
from interlink_sidecars.api import names
from interlink_sidecars.api.errors import ApiError, UnreachableError
from interlink_sidecars.api.kubernetes import JSON
from interlink_sidecars.testing import (
    BackendContract,
    SidecarProcess,
    bundle,
    make_pod,
    refused,
)

pytestmark = pytest.mark.slurm


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def slurm() -> AsyncIterator[PrivateSlurm]:
    if not installed():
        pytest.skip("Slurm is not installed: apt-get install slurm-wlm munge")
    top = Path(tempfile.mkdtemp(prefix="slurm-"))
    top.chmod(0o755)
    private = PrivateSlurm(top / "slurm")
    try:
        await private.start()
        yield private
    finally:
        await private.stop()
        shutil.rmtree(top)


@pytest.fixture
async def sidecar(slurm: PrivateSlurm) -> AsyncIterator[SidecarProcess]:
    directory = Path(tempfile.mkdtemp(prefix="sidecar-"))
    commands = directory / "commands"  # where a test puts a faulty sbatch
    commands.mkdir()
    env = {**slurm.env, "PATH": f"{commands}:{slurm.env['PATH']}"}
    sidecar = SidecarProcess(directory, ["--backend=slurm"], {}, env)
    await sidecar.start()
    yield sidecar
    await sidecar.stop()
    await sidecar.client.close()
    await slurm.cancel_all()
    shutil.rmtree(directory)


@pytest.fixture(autouse=True)
def this_slurm(request: pytest.FixtureRequest, slurm: PrivateSlurm) -> None:
    """What a test class needs beside its sidecar."""
    if request.instance is not None:
        request.instance.slurm = slurm


class TestSlurmBackend(BackendContract):
    slurm: PrivateSlurm

    async def jobs_ever(self, sidecar: SidecarProcess, pod: JSON) -> int:
        """Jobs of that name in the queue and in the completion log."""
        name = "il-" + pod["metadata"]["uid"].replace("-", "")[:12]
        queued = await self.slurm.run("squeue", "-ah", f"--name={name}", "-o", "%i")
        logged = self.slurm.completion_log.read_text()
        ended = re.findall(rf"^JobId=(\d+) .*\bName={name}\b", logged, re.MULTILINE)
        return len({*queued.split(), *ended})

    async def test_the_job_is_what_the_pod_asked_for(
        self, sidecar: SidecarProcess
    ) -> None:
        pod = make_pod("env; sleep 320", boards=1, activeDeadlineSeconds=90)
        limits = pod["spec"]["containers"][0]["resources"]["limits"]
        limits |= {"cpu": "1500m", "memory": "300Mi"}
        pod["metadata"]["annotations"][names.SLURM_FLAGS] = "-p main --nice=3"
        created = await sidecar.client.create(bundle(pod))
        status = await sidecar.until_state(pod, "running")
        job = await self.slurm.run("scontrol", "show", "job", "-d", created.pod_jid)
        for expected in (
            f"Comment=interlink:{pod['metadata']['uid']}",
            "GRES=fpga:u55c:1(IDX:0)",
            "CPUs/Task=2",
            "MinMemoryNode=300M",
            "TimeLimit=00:02:00",
            "Requeue=0",
            "Nice=3",
        ):
            assert expected in job
        assert status.queue is not None
        assert status.queue.partition == "main"
        assert status.queue.deadline
        log = await sidecar.read_log(pod)
        assert f"SLURM_JOB_ID={created.pod_jid}" in log
        assert "SLURM_TIME_FORMAT" not in log
        await sidecar.client.delete(pod)

    async def test_flags_that_are_not_allowed(self, sidecar: SidecarProcess) -> None:
        for flags in (
            "--uid=0",
            "--wrap=id",
            "-p main --output=/x",
            "-p\n#SBATCH",
            "'",
        ):
            pod = make_pod()
            pod["metadata"]["annotations"][names.SLURM_FLAGS] = flags
            async with refused("FlagNotAllowed"):
                await sidecar.client.create(bundle(pod))

    async def test_a_refused_job_leaves_nothing(self, sidecar: SidecarProcess) -> None:
        pod = make_pod()
        pod["metadata"]["annotations"][names.SLURM_FLAGS] = "--partition=nowhere"
        async with refused("SubmitFailed"):
            await sidecar.client.create(bundle(pod))
        assert not (sidecar.state_dir / "jobs" / pod["metadata"]["uid"]).exists()
        assert await self.jobs_ever(sidecar, pod) == 0

    @pytest.mark.parametrize(
        "fault",
        [
            pytest.param('kill -9 $PPID; sleep 1; "$real" "$@"', id="killed-before"),
            pytest.param('"$real" "$@"; kill -9 $PPID', id="killed-after"),
            pytest.param('"$real" "$@" >/dev/null; kill -9 $PPID', id="id-lost"),
            pytest.param("kill -9 $PPID; exit 1", id="killed-and-never-submitted"),
        ],
    )
    async def test_killed_while_sbatch_runs(
        self, sidecar: SidecarProcess, fault: str
    ) -> None:
        self._break_once(sidecar, "sbatch", fault)
        pod = make_pod("echo ran")
        with pytest.raises(UnreachableError):
            await sidecar.client.create(bundle(pod))
        await sidecar.restart()
        created = await sidecar.create(pod)
        status = await sidecar.until_state(pod, "completed")
        assert status.jid == created.pod_jid
        assert await self.jobs_ever(sidecar, pod) == 1

    async def test_sbatch_is_killed(self, sidecar: SidecarProcess) -> None:
        self._break_once(sidecar, "sbatch", '"$real" "$@" >/dev/null; kill -9 $$')
        pod = make_pod("echo ran")
        with pytest.raises(ApiError) as caught:
            await sidecar.client.create(bundle(pod))
        assert caught.value.status == 503
        await sidecar.create(pod)
        await sidecar.until_state(pod, "completed")
        assert await self.jobs_ever(sidecar, pod) == 1

    async def test_a_twin_runs_the_pod_and_ends_with_it(
        self, sidecar: SidecarProcess
    ) -> None:
        """A submission that arrived late: the job that we know loses the claim."""
        twice = '"$real" "$@" >/dev/null; sleep 2; "$real" "$@"'
        self._break_once(sidecar, "sbatch", twice)
        pod = make_pod("echo up; sleep 323")
        created = await sidecar.client.create(bundle(pod))
        loser = ["squeue", "-h", "-tF", f"--jobs={created.pod_jid}", "-o", "%i"]
        async with asyncio.timeout(20):
            while not await self.slurm.run(*loser):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        seen = (await sidecar.status(pod)).observed_at
        status = await sidecar.until(pod, lambda s: s.observed_at != seen)
        assert status.queue is not None
        assert status.queue.state == "running"
        await sidecar.client.delete(pod)
        await sidecar.until_state(pod, "cancelled", "failed")
        assert not await self.slurm.run("squeue", "-h", "-tR,CG,PD")

    async def test_an_id_that_slurm_gave_again(self, sidecar: SidecarProcess) -> None:
        """As after a loss of its state: the id is another pod's now."""
        pod = make_pod("sleep 324")
        created = await sidecar.client.create(bundle(pod))
        await sidecar.until_state(pod, "running")
        job = f"jobid={created.pod_jid}"
        foreign = ("update", job, "comment=interlink:another", "name=another")
        await self.slurm.run("scontrol", *foreign)
        await sidecar.client.delete(pod)
        await sidecar.until_state(pod, "cancelled")
        running = ("squeue", "-h", "-tR", "-o", "%i")
        assert (await self.slurm.run(*running)).split() == [created.pod_jid]

    async def test_an_unclear_answer_of_sbatch(self, sidecar: SidecarProcess) -> None:
        unclear = "echo 'Socket timed out on send/recv operation' >&2; exit 1"
        self._break_once(sidecar, "sbatch", f'"$real" "$@" >/dev/null; {unclear}')
        pod = make_pod("echo ran")
        with pytest.raises(ApiError, match="Socket timed out") as caught:
            await sidecar.client.create(bundle(pod))
        assert caught.value.status == 503
        assert not caught.value.final
        await sidecar.client.create(bundle(pod))
        await sidecar.until_state(pod, "completed")
        assert await self.jobs_ever(sidecar, pod) == 1

    @pytest.mark.parametrize(
        "fault",
        [
            pytest.param("kill -9 $PPID; exit 1", id="killed-before"),
            pytest.param('"$real" "$@"; kill -9 $PPID', id="killed-after"),
            pytest.param("exit 1", id="failed"),
        ],
    )
    async def test_killed_while_scancel_runs(
        self, sidecar: SidecarProcess, fault: str
    ) -> None:
        pod = make_pod("echo up; sleep 321")
        await sidecar.client.create(bundle(pod))
        await sidecar.until_state(pod, "running")
        broken = self._break_once(sidecar, "scancel", fault)
        await sidecar.client.delete(pod)
        async with asyncio.timeout(10):
            while broken.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await sidecar.restart()
        await sidecar.until_state(pod, "cancelled")
        assert await self.jobs_ever(sidecar, pod) == 1

    async def test_the_controller_is_away(self, sidecar: SidecarProcess) -> None:
        pod = make_pod("sleep 322")
        await sidecar.client.create(bundle(pod))
        before = await sidecar.until_state(pod, "running")
        controller = self.slurm.processes["slurmctld"]
        await controller.stop()
        async with asyncio.timeout(40):
            while (ping := await sidecar.client.ping()).status == "ok":  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        assert ping.status == "degraded"
        assert "controller" in ping.message
        assert (await sidecar.status(pod)).queue == before.queue
        await sidecar.client.delete(pod)
        await self.slurm.start()
        await sidecar.until_state(pod, "cancelled")
        assert (await sidecar.client.ping()).status == "ok"

    async def test_a_job_that_slurm_has_forgotten(
        self, sidecar: SidecarProcess
    ) -> None:
        """It ended and was purged while the sidecar was down: its marks tell."""
        pod = make_pod("sleep 1; exit 3")
        created = await sidecar.client.create(bundle(pod))
        await sidecar.kill()
        forget = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
        async with asyncio.timeout(20):
            while await self.slurm.run("squeue", "-h"):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        for command, script in (("squeue", "exit 0"), ("scontrol", forget)):
            self._replace(sidecar, command, script)
        await sidecar.start()
        status = await sidecar.until_state(pod, "failed")
        assert status.jid == created.pod_jid
        ended = status.containers[0].state.terminated
        assert ended is not None
        assert ended.exit_code == 3

    def _break_once(self, sidecar: SidecarProcess, command: str, fault: str) -> Path:
        return self._replace(sidecar, command, f'rm "$0"; {fault}')

    def _replace(self, sidecar: SidecarProcess, command: str, script: str) -> Path:
        """Put a program before Slurm's own on the sidecar's PATH."""
        real = shutil.which(command, path=self.slurm.env["PATH"])
        path = sidecar.directory / "commands" / command
        path.write_text(f"#!/bin/bash\nreal={real}\n{script}\n")
        path.chmod(0o755)
        return path
