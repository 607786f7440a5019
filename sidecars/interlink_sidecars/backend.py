"""The seam that a scheduler fills: submit, find, poll, cancel, inventory.

Third parties implement :class:`Backend`, usually by extending
:class:`~interlink_sidecars.scheduler.SchedulerBackend`, and register it in the
entry-point group ``interlink_sidecars.backends``. Everything durable about jobs is
kept by the engine; a backend may forget all it knows when its process ends.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict

from .api.errors import ApiError
from .api.kubernetes import Pod
from .api.messages import CreateRequest, JobState, LogRequest, Ping, Queue
from .job import JobSpec

EXIT_CODES: Final[Mapping[JobState, int]] = {
    "completed": 0,
    "failed": 1,
    "cancelled": 143,
    "timeout": 124,
    "out_of_memory": 137,
    "preempted": 1,
    "node_failed": 1,
    "lost": 1,
}
"""The states in which a job has ended, and the exit code where none is known."""


class SubmitError(ApiError):
    """The scheduler refused the job; asking again would be refused again."""

    status = 422
    reason = "SubmitFailed"
    final = True


class ContainerMark(BaseModel):
    """What is known of one container; a time or code is absent until it happened."""

    model_config = ConfigDict(frozen=True)

    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None


class Observation(BaseModel):
    """One job as its scheduler and its own marks show it at one moment."""

    model_config = ConfigDict(frozen=True)

    queue: Queue = Queue()
    node_name: str = ""
    exit_code: int | None = None
    stopped_at: datetime | None = None
    containers: dict[str, ContainerMark] = {}

    @property
    def ended(self) -> bool:
        """Whether the job is over for good."""
        return self.queue.state in EXIT_CODES


@dataclass(frozen=True, slots=True)
class Job:
    """A submitted job: what was asked and the scheduler's id."""

    spec: JobSpec
    job_id: str


class Backend(Protocol):
    """One scheduler, or whatever else runs jobs.

    Every method may raise :class:`~.api.errors.UnreachableError`: nothing is known
    then, and the call is made again later.
    """

    @property
    def name(self) -> str:
        """The word shown to people, e.g. ``slurm``."""
        ...

    @property
    def isolates_users(self) -> bool:
        """Whether jobs of two hub users may run under one account."""
        ...

    def check(self) -> None:
        """Whether what the backend needs is installed here.

        Raises:
            ApiError: with a sentence that says what is missing.
        """
        ...

    async def stage(self, spec: JobSpec, pod: Pod, request: CreateRequest) -> None:
        """Keep all that ``submit`` needs, durably; refuse what cannot run here.

        Raises:
            InvalidRequestError: with a sentence for the user.
        """
        ...

    async def submit(self, spec: JobSpec) -> str:
        """Start a staged job and return its id.

        Raises:
            SubmitError: there is no job: the scheduler refused it, or it was never
                staged to the end.
            UnreachableError: there may be a job; ``find`` will tell.
        """
        ...

    async def find(self, spec: JobSpec) -> str | None:
        """The id of the pod's job, running or not, or None where there is none.

        Must not answer while an earlier ``submit`` of this pod, even of a process
        that was killed, may still be at work.
        """
        ...

    async def poll(self, jobs: Sequence[Job]) -> Mapping[str, Observation | ApiError]:
        """The states of these jobs by pod uid, in as few questions as possible.

        A job that the scheduler does not know and that left no mark is omitted; for
        one that alone cannot be looked at now, its error stands.
        """
        ...

    async def cancel(self, job: Job) -> None:
        """Ask for a job's end; a job that is gone is a success. May be repeated."""
        ...

    async def inventory(self) -> Ping:
        """What the site has and what is used, over all users."""
        ...

    def logs(
        self, job: Job, request: LogRequest, over: Callable[[], bool]
    ) -> AsyncGenerator[bytes, None]:
        """The log of one container; with ``Follow`` until the container has ended.

        ``over`` says whether the whole job has ended.
        """
        ...

    async def scrub(self, spec: JobSpec) -> None:
        """Remove a finished job's secrets; its logs stay."""
        ...

    async def forget(self, spec: JobSpec) -> None:
        """Remove all that is kept of a job; nothing kept is a success."""
        ...
