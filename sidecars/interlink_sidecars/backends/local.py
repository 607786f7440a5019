"""The backend ``local``: jobs are processes of this machine.

The reference backend: everything that the engine expects of a scheduler, without one.
A small supervisor is each job's parent and outlives the sidecar. Accelerators are what
the configuration says; a job waits in order of arrival while one that it needs is
taken. Cores and memory are not counted: the kernel shares them.
"""

from __future__ import annotations

import os
import pwd
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from traitlets import Int, List, TraitError, Unicode, validate
from typing_extensions import override

from interlink_sidecars import shell
from interlink_sidecars.api.errors import ApiError, InvalidRequestError
from interlink_sidecars.api.inventory import Accelerator
from interlink_sidecars.api.kubernetes import JSON, Pod
from interlink_sidecars.api.messages import (
    CreateRequest,
    Ping,
    PingQueue,
    PingResources,
    Queue,
)
from interlink_sidecars.api.quantity import ceil
from interlink_sidecars.backend import Job, Observation
from interlink_sidecars.batch import BatchBackend
from interlink_sidecars.inventory import ping_accelerators, waiting_for
from interlink_sidecars.job import AcceleratorRequest, JobSpec, invalid

from . import supervisor

_INHERITED: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
_OFFERS: Final = TypeAdapter(list[Accelerator])
_START_SECONDS: Final = 20.0


class _Claim(BaseModel):
    """What :mod:`.supervisor` writes; without ``pid`` the job was never started."""

    at: float = Field(ge=0, lt=2**36)
    pid: int | None = None
    start: str | None = None


class LocalBackend(BatchBackend):
    """Runs jobs as processes of this machine."""

    name = "local"

    accelerators: List[JSON] = List(
        help="""
        What this machine offers, e.g.
        ``[{"resource_type": "xilinx.com/fpga", "model": "u55c", "total": 2}]``.
        """,
    ).tag(config=True)

    cpus = Int(os.cpu_count() or 1, min=1, help="Cores to offer.").tag(config=True)

    memory = Unicode(
        f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 2**20}Mi",
        help="Memory to offer, a Kubernetes quantity.",
    ).tag(config=True)

    @validate("accelerators")
    def _check_accelerators(self, proposal: JSON) -> list[JSON]:
        try:
            _OFFERS.validate_python(proposal["value"])
        except ValidationError as error:
            what = f"c.{type(self).__name__}.accelerators"
            raise TraitError(invalid(error, what).message) from None
        return list(proposal["value"])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._offers = _OFFERS.validate_python(self.accelerators)
        self._used: Counter[Accelerator] = Counter()
        self._load = PingQueue()

    # --- jobs ----------------------------------------------------------------------

    @override
    async def stage(self, spec: JobSpec, pod: Pod, request: CreateRequest) -> None:
        """Refuse what this machine never has, then write the files."""
        for wanted in spec.accelerators:
            offer = self._offer(wanted)
            if offer is None or wanted.count > offer.total:
                raise InvalidRequestError(
                    f"Pod {spec.key} asks for {wanted.count} x"
                    f" {wanted.model or wanted.resource_type};"
                    f" this machine has {offer.total if offer else 0}.",
                    reason="NotEnoughAccelerators",
                )
        if spec.cpus > self.cpus or spec.memory > ceil(self.memory):
            raise InvalidRequestError(
                f"Pod {spec.key} asks for {spec.cpus} cores and {spec.memory} bytes of"
                f" memory; this machine offers {self.cpus} and {self.memory}.",
                reason="NotEnoughResources",
            )
        await super().stage(spec, pod, request)

    async def submit(self, spec: JobSpec) -> str:
        """Put a job into the queue: one file, so a repeat changes nothing."""
        self.check_staged(spec)
        path = self.directory(spec).path
        draft = path / ".queued"
        draft.write_text(str(time.time_ns()))
        with suppress(FileExistsError):
            (path / "queued").hardlink_to(draft)
        draft.unlink()
        return spec.job_name

    async def find(self, spec: JobSpec) -> str | None:
        """The name of a job that is or was in the queue."""
        return spec.job_name if self.directory(spec).read("queued") else None

    async def poll(self, jobs: Sequence[Job]) -> Mapping[str, Observation | ApiError]:
        """Start what fits, in order of arrival, and look at every job.

        A job that cannot be looked at keeps its boards: it may run.
        """
        seen: dict[str, Observation | ApiError] = {}
        arrivals: dict[str, int] = {}
        running, waiting = [], []
        for job in jobs:
            try:
                arrival = self._arrival(job.spec)
                if arrival is None:
                    continue
                arrivals[job.spec.uid] = arrival
                if self._claim(job.spec) is None:
                    waiting.append(job)
                elif self._is_running(job.spec):
                    running.append(job)
            except ApiError as error:
                seen[job.spec.uid] = error
                running.append(job)
        waiting.sort(key=lambda job: arrivals[job.spec.uid])
        positions = await self._start_what_fits(waiting, running)
        self._load = PingQueue(running=len(running), waiting=len(positions))
        for job in jobs:
            uid = job.spec.uid
            if uid in arrivals and uid not in seen:
                try:
                    seen[uid] = (
                        self._waiting(job.spec, positions[uid])
                        if uid in positions
                        else self._started(job.spec)
                    )
                except ApiError as error:
                    seen[uid] = error
        return seen

    async def _start_what_fits(
        self, waiting: Sequence[Job], running: list[Job]
    ) -> dict[str, int]:
        """Move jobs from waiting to running; the places of those that stay, by uid."""
        taken = sum((self._devices(job.spec) for job in running), Counter())
        positions: dict[str, int] = {}
        for job in waiting:
            devices = self._devices(job.spec)
            taken += devices  # whoever comes later waits behind this one
            if all(taken[offer] <= offer.total for offer in devices):
                try:
                    await self._start(job.spec)
                except ApiError as error:
                    self.log.warning("pod=%s waits: %s", job.spec.key, error.message)
                else:
                    running.append(job)
                    continue
            positions[job.spec.uid] = len(positions) + 1
        self._used = sum((self._devices(job.spec) for job in running), Counter())
        return positions

    async def cancel(self, job: Job) -> None:
        """Take the job before it starts, or send its supervisor TERM."""
        directory = self.directory(job.spec)
        if directory.read("queued") is None:
            return
        if supervisor.claim(directory.path, {"at": time.time()}):
            return
        pid = self._pid(job.spec)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    async def inventory(self) -> Ping:
        """What is configured, and what our jobs use of it."""
        return Ping(
            resources=PingResources(
                cpu=str(self.cpus),
                memory=self.memory,
                accelerators=ping_accelerators(self._in_use()),
            ),
            queue=self._load,
            observed_at=datetime.now(UTC),
        )

    # --- one job ---------------------------------------------------------------------

    async def _start(self, spec: JobSpec) -> None:
        """Start the supervisor; it has claimed the job when this returns."""
        argv = [sys.executable, "-I", supervisor.__file__]
        argv += [str(self.directory(spec).path), str(spec.walltime), str(spec.grace)]
        result = await shell.run(argv, timeout=_START_SECONDS, env=_login_environment())
        if result.status != 0:
            raise ApiError(f"Pod {spec.key} did not start: {result.complaint}.")

    def _claim(self, spec: JobSpec) -> _Claim | None:
        """Who took the job; its directory is the job's too and may hold anything."""
        text = self.directory(spec).read("claim")
        try:
            return None if text is None else _Claim.model_validate_json(text)
        except ValidationError:
            raise self._unreadable(spec, "claim") from None

    def _unreadable(self, spec: JobSpec, name: str) -> ApiError:
        path = self.directory(spec).path / name
        return ApiError(
            f"{path} of pod {spec.key} was changed and cannot be read. Delete the pod.",
            reason="Unreadable",
            status=503,
        )

    def _pid(self, spec: JobSpec) -> int | None:
        """The supervisor's pid while it lives."""
        claim = self._claim(spec)
        if claim is None or claim.pid is None:
            return None
        return claim.pid if supervisor.start_time(claim.pid) == claim.start else None

    def _is_running(self, spec: JobSpec) -> bool:
        return self._pid(spec) is not None

    def _arrival(self, spec: JobSpec) -> int | None:
        """When a job came into the queue, in nanoseconds since 1970."""
        text = self.directory(spec).read("queued")
        try:
            return int(text) if text else None
        except ValueError:
            raise self._unreadable(spec, "queued") from None

    def _waiting(self, spec: JobSpec, position: int) -> Observation:
        message = waiting_for(spec, ping_accelerators(self._in_use()))
        return Observation(
            queue=Queue(
                state="queued",
                scheduler_state="PENDING",
                reason="Resources",
                message=message,
                position=position,
                submitted_at=self._submitted_at(spec),
            )
        )

    def _started(self, spec: JobSpec) -> Observation:
        """A job that was claimed, as its marks show it."""
        claim = self._claim(spec)
        if claim is None:
            raise self._unreadable(spec, "claim")
        alive = self._is_running(spec)  # asked before the marks are read
        started_at = datetime.fromtimestamp(claim.at, UTC)
        queue = self._end(spec, alive=alive, never_began=claim.pid is None)
        known: dict[str, Any] = {"submitted_at": self._submitted_at(spec)}
        if claim.pid is not None:
            known["started_at"] = started_at
            if spec.walltime:
                known["deadline"] = started_at + timedelta(seconds=spec.walltime)
        return self.observation(
            spec, queue.model_copy(update=known), node_name=socket.gethostname()
        )

    def _end(self, spec: JobSpec, *, alive: bool, never_began: bool) -> Queue:
        """How far a claimed job is, and how it ended."""
        if never_began:
            message = "The job was cancelled before it started."
            return Queue(state="cancelled", scheduler_state="ENDED", message=message)
        finished = self.finished(spec)
        if alive:
            state = "stopping" if finished else "running"
            return Queue.model_validate({"state": state, "scheduler_state": "RUNNING"})
        why = next(iter((self.directory(spec).read("ended") or "").split()), "killed")
        if finished is None:
            state = why if why in {"cancelled", "timeout"} else "failed"
            finished = Queue.model_validate({"state": state})
        message = _ENDINGS.get(finished.state, "")
        if why == "killed":
            message = "The job's supervisor was killed; what it ran may still run."
        return finished.model_copy(
            update={"scheduler_state": "ENDED", "message": message}
        )

    def _submitted_at(self, spec: JobSpec) -> datetime:
        return datetime.fromtimestamp((self._arrival(spec) or 0) / 1e9, UTC)

    # --- accelerators ----------------------------------------------------------------

    def _offer(self, wanted: AcceleratorRequest) -> Accelerator | None:
        """What the machine has of it; any model will do where none is named."""
        matching = (
            offer
            for offer in self._offers
            if offer.resource_type == wanted.resource_type
            and wanted.model in {"", offer.model}
        )
        return next(matching, None)

    def _devices(self, spec: JobSpec) -> Counter[Accelerator]:
        counts: Counter[Accelerator] = Counter()
        for wanted in spec.accelerators:
            if offer := self._offer(wanted):
                counts[offer] += wanted.count
        return counts

    def _in_use(self) -> list[Accelerator]:
        return [
            offer.model_copy(update={"used": self._used[offer]})
            for offer in self._offers
        ]


_ENDINGS: Final = {
    "timeout": "The job was ended because its walltime was over.",
    "cancelled": "The job was cancelled.",
}


def _login_environment() -> dict[str, str]:
    """What a login would set; nothing else of the sidecar's reaches a job."""
    account = pwd.getpwuid(os.getuid())
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | {
        "HOME": account.pw_dir,
        "LOGNAME": account.pw_name,
        "USER": account.pw_name,
        "SHELL": account.pw_shell,
    }
