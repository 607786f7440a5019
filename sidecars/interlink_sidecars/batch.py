"""What all backends share whose jobs are a script in a directory.

Owns the job directory: what is staged there, the marks that the job leaves, and its
logs. How a script becomes a job is the scheduler's, in :mod:`.scheduler` and
:mod:`.backends`.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from traitlets import Unicode
from traitlets.config import LoggingConfigurable

from .api.errors import ApiError
from .api.kubernetes import Pod
from .api.messages import CreateRequest, LogRequest, Queue
from .backend import ContainerMark, Job, Observation, SubmitError
from .job import JobSpec
from .logs import read_log
from .runtimes.base import Runtime
from .script import job_files
from .staging import JobDirectory, mounts, volume_directories, volume_files

JOB_LOG = "logs/_job.log"
"""What the job's own script and the scheduler said."""


class BatchBackend(LoggingConfigurable):
    """Stages jobs in directories and reads what they left there."""

    name = ""

    job_root = Unicode(
        help="""
        Directory of the job directories, seen under the same path by edge and compute
        nodes; ``jobs`` in the state directory by default.
        """,
    ).tag(config=True)

    def __init__(self, runtime: Runtime, state_dir: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.runtime = runtime
        self._root = Path(self.job_root or state_dir / "jobs").expanduser().absolute()
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def isolates_users(self) -> bool:
        """Users are as isolated as the runtime makes them."""
        return self.runtime.isolates_users

    #: Programs without which the backend cannot work.
    commands: tuple[str, ...] = ("bash",)

    def check(self) -> None:
        """Whether the commands are on the PATH."""
        missing = [name for name in self.commands if shutil.which(name) is None]
        if missing:
            raise ApiError(
                f"{missing[0]} is not on the PATH of the sidecar, and the backend"
                f" {self.name} needs it. Install it, or start the sidecar where it is.",
                reason="CommandNotFound",
            )

    def directory(self, spec: JobSpec) -> JobDirectory:
        """The directory of a pod's job, whether it exists or not."""
        return JobDirectory(self._root / spec.uid)

    def grace(self, spec: JobSpec) -> int:
        """Seconds between TERM and KILL inside the job."""
        return spec.grace

    async def stage(self, spec: JobSpec, pod: Pod, request: CreateRequest) -> None:
        """Write volumes and scripts of a job."""
        directory = self.directory(spec)
        commands = {
            container.name: self.runtime.command(
                container, mounts(pod, container), directory.path, spec.owner
            )
            for container in (*pod.spec.init_containers, *pod.spec.containers)
        }
        files = volume_files(pod, request) | job_files(
            spec, directory.path, commands, self.grace(spec)
        )
        directories = ["logs", "status", *volume_directories(pod)]
        await asyncio.to_thread(directory.write, files, directories)

    def check_staged(self, spec: JobSpec) -> None:
        """Refuse a job whose staging was cut off; its directory is not there."""
        if not self.directory(spec).path.exists():
            raise SubmitError(
                f"Pod {spec.key} was not handed over completely. Send it again.",
                reason="NotStaged",
                status=503,
                final=False,
            )

    def observation(self, spec: JobSpec, queue: Queue, **known: Any) -> Observation:
        """What the scheduler said, completed by the marks that the job left."""
        directory = self.directory(spec)
        _, stopped_at = _mark(directory.read("status/stopped"))
        marks = {
            container.name: _container_mark(directory, container.name)
            for container in spec.containers
        }
        if queue.state == "running" and not any(m.started_at for m in marks.values()):
            queue = queue.model_copy(update={"state": "starting"})
        return Observation(
            queue=queue, stopped_at=stopped_at, containers=marks, **known
        )

    def finished(self, spec: JobSpec) -> Queue | None:
        """The end as the job's own last mark tells it, or None before that."""
        code, ended_at = _mark(self.directory(spec).read("status/exit"))
        if not code:
            return None
        why, _ = _mark(self.directory(spec).read("status/stopped"))
        state = {"timeout": "timeout", "cancelled": "cancelled"}.get(
            why, "completed" if code == "0" else "failed"
        )
        return Queue.model_validate({"state": state, "ended_at": ended_at})

    def logs(
        self, job: Job, request: LogRequest, over: Callable[[], bool]
    ) -> AsyncGenerator[bytes, None]:
        """The log of one container, or the job's own where that never began."""
        directory = self.directory(job.spec)
        name = request.container_name

        def ended() -> bool:
            marks = (f"status/{name}.exit", "status/exit")
            return over() or any((directory.path / mark).exists() for mark in marks)

        path = directory.path / "logs" / f"{name}.log"
        if ended() and not path.exists():
            path = directory.path / JOB_LOG
        return read_log(path, request.options, ended=ended)

    async def scrub(self, spec: JobSpec) -> None:
        """Remove scripts and volumes."""
        await asyncio.to_thread(self.directory(spec).scrub)

    async def forget(self, spec: JobSpec) -> None:
        """Remove the job directory."""
        await asyncio.to_thread(self.directory(spec).remove)


def _container_mark(directory: JobDirectory, name: str) -> ContainerMark:
    started, _ = _mark(directory.read(f"status/{name}.started"))
    code, finished_at = _mark(directory.read(f"status/{name}.exit"))
    return ContainerMark(
        started_at=_time(started), finished_at=finished_at, exit_code=_integer(code)
    )


def _mark(text: str | None) -> tuple[str, datetime | None]:
    """``word seconds`` as word and time; a job may write anything here."""
    words = (text or "").split()[:2]
    return (words[0] if words else "", _time(words[1]) if len(words) > 1 else None)


def _integer(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 12 else None


def _time(text: str) -> datetime | None:
    seconds = _integer(text)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
