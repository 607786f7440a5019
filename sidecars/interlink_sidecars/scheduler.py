"""Schedulers that are driven by commands: argv out, text in.

Owns the one dangerous moment, between the submit command's success and the record of
the job's id. A lock is inherited by that command, so that whoever comes after a killed
sidecar waits until the command has ended; its output stands in a file that outlives
the sidecar; and only then the scheduler is asked by job name.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from traitlets import Float
from typing_extensions import override

from . import shell
from .api.errors import UnreachableError
from .backend import SubmitError
from .batch import BatchBackend
from .job import JobSpec
from .runtimes.base import Runtime

LOCK_SECONDS = 0.1


class SchedulerBackend(BatchBackend):
    """A batch backend whose scheduler has a submit command."""

    command_timeout = Float(
        45.0, min=1, help="Seconds after which a command of the scheduler is given up."
    ).tag(config=True)

    def __init__(self, runtime: Runtime, state_dir: Path, **kwargs: Any) -> None:
        super().__init__(runtime, state_dir, **kwargs)
        self._locks = state_dir / "locks"
        self._locks.mkdir(mode=0o700, exist_ok=True)

    # --- what a scheduler supplies ---------------------------------------------

    @abstractmethod
    def submit_argv(self, spec: JobSpec, directory: Path) -> list[str]:
        """The command that submits ``job.sh`` and prints the job's id."""

    @abstractmethod
    def parse_job_id(self, text: str) -> str | None:
        """The id in the submit command's output, None where there is none."""

    @abstractmethod
    def is_refusal(self, complaint: str) -> bool:
        """Whether a failed submit command surely left no job."""

    @abstractmethod
    def find_argv(self, spec: JobSpec) -> list[str]:
        """The command that lists the jobs of a pod."""

    @abstractmethod
    def parse_found(self, spec: JobSpec, text: str) -> str | None:
        """The id of the pod's job in the output of ``find_argv``."""

    def environment(self, *, asking: bool) -> dict[str, str]:
        """The environment of a command that only asks, or of one that acts."""
        return dict(os.environ)

    # --- what every scheduler needs ----------------------------------------------

    async def submit(self, spec: JobSpec) -> str:
        """Submit the staged script."""
        self.check_staged(spec)
        directory = self.directory(spec).path
        argv = self.submit_argv(spec, directory)
        async with self._alone(spec) as lock:
            result = await shell.run(
                argv,
                timeout=self.command_timeout,
                env=self.environment(asking=False),
                out=directory / "submitted",
                keep_open=[lock],
            )
        if result.status == 0 and (job_id := self.parse_job_id(result.out)):
            return job_id
        sentence = f"{argv[0]} refused pod {spec.key}: {result.complaint}."
        # a command that was ended by a signal (negative) may have submitted the job
        if result.status > 0 and self.is_refusal(result.complaint):
            raise SubmitError(sentence)
        raise UnreachableError(sentence)

    async def find(self, spec: JobSpec) -> str | None:
        """The id that an earlier submit command printed, or the scheduler knows."""
        async with self._alone(spec):
            printed = self.directory(spec).read("submitted") or ""
        return self.parse_job_id(printed) or self.parse_found(
            spec, await self.ask(self.find_argv(spec))
        )

    async def ask(self, argv: Sequence[str]) -> str:
        """The output of a command that only asks.

        Raises:
            UnreachableError: it failed, so nothing is known.
        """
        result = await shell.run(
            argv, timeout=self.command_timeout, env=self.environment(asking=True)
        )
        if result.status != 0:
            raise UnreachableError(f"{argv[0]} failed: {result.complaint}.")
        return result.out

    @override
    async def forget(self, spec: JobSpec) -> None:
        """Remove the job directory and the lock."""
        await super().forget(spec)
        self._lock_file(spec).unlink(missing_ok=True)

    @asynccontextmanager
    async def _alone(self, spec: JobSpec) -> AsyncIterator[int]:
        """Hold the pod's lock, also against a submit command that outlived us.

        The file stands in the state directory, which is on a local disk: on NFS a
        lock is not inherited.
        """
        lock = os.open(self._lock_file(spec), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(LOCK_SECONDS)
            yield lock
        finally:
            os.close(lock)

    def _lock_file(self, spec: JobSpec) -> Path:
        return self._locks / spec.uid
