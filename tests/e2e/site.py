"""The real Slurm behind the node ``slurm``, as its other users and its admin see it.

Also a gate at ``sbatch`` and ``scancel``: wrappers of the real commands that, when
armed, stop just after a submission and just before a cancellation, so that a test can
crash a process at exactly that moment.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from deploy.local.site import account
from deploy.local.slurm import PrivateSlurm
from tests.e2e.hub import until

_SBATCH = """#!/bin/sh
# The real sbatch; while armed, nobody hears of the job before the release.
answer=$({real} "$@"); code=$?
if [ -e {gate}/armed ]; then
    rm {gate}/armed; touch {gate}/held
    while [ ! -e {gate}/open ]; do sleep 0.05; done
fi
printf '%s\\n' "$answer"
exit $code
"""
_SCANCEL = """#!/bin/sh
# The real scancel; while armed, nothing is cancelled before the release.
if [ -e {gate}/armed ]; then
    rm {gate}/armed; touch {gate}/held
    while [ ! -e {gate}/open ]; do sleep 0.05; done
fi
exec {real} "$@"
"""


class Gate:
    """One wrapped command; passes everything through until it is armed."""

    def __init__(self, directory: Path, command: str, text: str) -> None:
        self._directory = directory / f"{command}.gate"
        self._directory.mkdir(parents=True)
        os.chown(self._directory, account().pw_uid, account().pw_gid)
        program = directory / "bin" / command
        program.parent.mkdir(exist_ok=True)
        real = shutil.which(command, path=os.defpath)
        program.write_text(text.format(real=real, gate=self._directory))
        program.chmod(0o755)
        self.path = str(program.parent)

    def arm(self) -> None:
        """Hold the next call."""
        for name in ("held", "open"):
            (self._directory / name).unlink(missing_ok=True)
        (self._directory / "armed").touch()

    async def held(self) -> None:
        """Wait until a call is held."""

        async def is_held() -> bool:
            return (self._directory / "held").exists()

        await until(is_held, f"a call held in {self._directory}", 30)

    def open(self) -> None:
        """Release the call; later ones pass."""
        (self._directory / "armed").unlink(missing_ok=True)
        (self._directory / "open").touch()


def gates(directory: Path) -> tuple[Gate, Gate]:
    """Gates at ``sbatch`` and ``scancel``."""
    return (
        Gate(directory, "sbatch", _SBATCH),
        Gate(directory, "scancel", _SCANCEL),
    )


class Others:
    """Other people's jobs at the site, and what its admin can look up."""

    def __init__(self, slurm: PrivateSlurm) -> None:
        self.slurm = slurm

    async def take(self, gres: str) -> str:
        """Take devices by a job that is not ours; its id, once it runs."""
        job = (
            await self.slurm.run(
                "sbatch",
                "--parsable",
                "--job-name=somebody",
                "--chdir=/",
                "--output=/dev/null",
                f"--gres={gres}",
                "--wrap=exec sleep 3600",
            )
        ).strip()
        assert job.isdigit(), job

        async def runs() -> bool:
            return "RUNNING" in await self.slurm.run("squeue", "-h", "-j", job, "-o%T")

        await until(runs, f"job {job} runs")
        return job

    async def give_back(self, job: str) -> None:
        """End such a job."""
        await self.slurm.run("scancel", job)

    async def ours(self) -> list[str]:
        """The ids of jobs in the queue that are ours."""
        listed = await self.slurm.run("squeue", "-h", "-o%i %j")
        pairs = [line.split() for line in listed.splitlines()]
        return [job for job, name in pairs if name != "somebody"]

    async def describe(self, job: str) -> str:
        """``scontrol show job -d``."""
        return await self.slurm.run("scontrol", "show", "job", "-d", job)

    def completed(self, pod_uid: str) -> list[str]:
        """Lines of the completion log about one pod's jobs, retries included."""
        log = self.slurm.completion_log
        lines = log.read_text().splitlines() if log.exists() else []
        name = re.compile(rf"Name=il-{pod_uid.replace('-', '')[:12]}\b")
        return [line for line in lines if name.search(line)]
