"""From requests to jobs and back: exactly one job for each pod, and none after.

Owns the records and the one loop that asks the scheduler; answers come from the
records alone. It must not know HTTP or any particular scheduler.

Before a job is submitted an *intent* is on the disk, and before one is cancelled the
wish is. Whoever is killed in between leaves a record that is not settled, and the
loop moves each such record on: an intent is looked up at the scheduler and adopted,
or submitted again; a wish is repeated until the scheduler says that the job is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from traitlets import Float
from traitlets.config import LoggingConfigurable

from .api.errors import ApiError, InvalidRequestError, UnreachableError
from .api.kubernetes import JSON, Pod
from .api.messages import (
    CreateRequest,
    CreateResponse,
    LogRequest,
    Ping,
    PodStatus,
)
from .backend import Backend, Observation, SubmitError
from .job import JobSpec, identity, job_spec, read_pod
from .logs import announced
from .records import Kept, Record, Records
from .status import ended, pod_status, silence, unknown_status

SUBMISSIONS_AT_ONCE = 8
MISSES_UNTIL_LOST = 3
TOMBSTONE_SECONDS = 30 * 24 * 3600


class Engine(LoggingConfigurable):
    """Runs the pods of one sidecar on one backend."""

    poll_interval = Float(
        3.0, min=0.05, help="Seconds between two questions about our jobs."
    ).tag(config=True)

    inventory_interval = Float(
        5.0, min=0.05, help="Seconds between two questions about the whole site."
    ).tag(config=True)

    settle_seconds = Float(
        60.0,
        min=0,
        help="""
        How long a job whose submission was cut off may stay invisible at the scheduler
        before it is submitted again. Must exceed the scheduler's own message timeout:
        one that is slow may take a job long after its command gave up.
        """,
    ).tag(config=True)

    cancel_interval = Float(
        15.0, min=0.05, help="Seconds until an unconfirmed cancel is repeated."
    ).tag(config=True)

    lost_after = Float(
        60.0,
        min=0,
        help="Seconds after which a job that the scheduler does not know is lost.",
    ).tag(config=True)

    retain_hours = Float(
        24.0, min=0, help="How long logs are kept after their pod was deleted."
    ).tag(config=True)

    def __init__(self, backend: Backend, state_dir: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.backend = backend
        self._records = Records(state_dir / "jobs.sqlite")
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._submitting = asyncio.Semaphore(SUBMISSIONS_AT_ONCE)
        self._wake = asyncio.Event()
        self._sought: dict[str, float] = {}
        self._missed: dict[str, list[float]] = {}
        self._cancelled: dict[str, float] = {}
        self._warned: dict[str, str] = {}
        self._inventory = Ping()
        self._inventory_due = 0.0
        self._observed_at: datetime | None = None
        self._trouble = {"inventory": "The scheduler was not asked yet."}
        self._loop: asyncio.Task[None] | None = None

    # --- lifecycle -------------------------------------------------------------

    async def start(self) -> None:
        """Ask the scheduler once, then keep asking until :meth:`stop`.

        Raises:
            ApiError: the backend cannot work on this machine.
        """
        self.backend.check()
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                await self._refresh_inventory()
        self._loop = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop asking. Jobs go on; the next start finds them on record."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        self._records.close()

    # --- requests --------------------------------------------------------------

    async def create(self, request: CreateRequest) -> CreateResponse:
        """Submit a pod; a repeat, at any time and however often, is the same job."""
        pod = read_pod(request.pod)
        async with self._lock(pod.uid):
            if self._records.get(pod.uid) is None:
                await self._begin(pod, request)
        while record := self._records.get(pod.uid):
            self._refuse_deleted(record)
            if record.job_id:
                return CreateResponse(pod_uid=pod.uid, pod_jid=record.job_id)
            await self._settle(pod.uid)
            await asyncio.sleep(min(self.settle_seconds / 4, 1))
        raise UnreachableError(
            f"An earlier try to submit pod {pod.key} was cut off and left no job."
            " Send it again."
        )

    def delete(self, document: JSON) -> None:
        """See to it that a pod has no job, from now on and whatever happens."""
        spec = identity(read_pod(document))
        if self._records.get(spec.uid) is None:
            self._sought[spec.uid] = float("-inf")  # no submission was cut off
        self._records.delete(spec)
        self._wake.set()

    def statuses(self, documents: Sequence[JSON]) -> list[PodStatus]:
        """One status for each pod asked about, from the records alone."""
        pods = [read_pod(document) for document in documents]
        return [
            pod_status(record, self._observed_at)
            if (record := self._records.get(pod.uid))
            else unknown_status(pod)
            for pod in pods
        ]

    def ping(self) -> Ping:
        """Health and inventory as last seen; never waits for the scheduler."""
        trouble = next(iter(self._trouble.values()), "")
        return self._inventory.model_copy(
            update={
                "status": "degraded" if trouble else "ok",
                "message": trouble,
                "backend": self.backend.name,
            }
        )

    def logs(self, request: LogRequest) -> AsyncGenerator[bytes, None]:
        """The log of one container of a pod that is or was here.

        A followed log that has nothing to say at once begins with the reason.
        """
        record = self._records.get(request.pod_uid)
        if record is None or record.spec.namespace != request.namespace:
            raise ApiError(
                f"There is no log of pod {request.namespace}/{request.pod_name}:"
                " it was never created here, or its log is no longer kept.",
                reason="NotFound",
                status=404,
            )
        if request.container_name not in {c.name for c in record.spec.containers}:
            raise InvalidRequestError(
                f"Pod {record.spec.key} has no container {request.container_name!r}."
            )
        uid = request.pod_uid
        stream = self.backend.logs(record.job, request, lambda: self._is_over(uid))
        if not request.options.follow:
            return stream
        return announced(stream, lambda: silence(record))

    # --- one record ------------------------------------------------------------

    def _lock(self, uid: str) -> asyncio.Lock:
        """The lock of one pod; it lives as long as somebody holds or awaits it."""
        return self._locks.setdefault(uid, asyncio.Lock())

    def _is_over(self, uid: str) -> bool:
        """Whether nothing more will be heard of a pod's job."""
        record = self._records.get(uid)
        return record is None or record.phase in {"terminal", "deleted"}

    async def _begin(self, pod: Pod, request: CreateRequest) -> None:
        """Record, stage and submit a new pod; under its lock."""
        spec = job_spec(pod)
        if not self._records.intend(spec):
            return
        try:
            await self.backend.stage(spec, pod, request)
            self._check_owner(spec)
        except ApiError:
            await self._withdraw(spec)
            raise
        record = self._records.get(spec.uid)
        if record is not None and record.phase == "intent":
            await self._submit(spec)

    async def _withdraw(self, spec: JobSpec) -> None:
        """There is no job and will be none of this try."""
        self._records.withdraw(spec.uid)
        try:
            await self.backend.forget(spec)
        except ApiError as error:  # whoever submits the pod again replaces it
            self._warn_once(spec, error)

    async def _submit(self, spec: JobSpec) -> None:
        """Hand a staged job whose intent is on record to the scheduler."""
        self._sought.pop(spec.uid, None)
        try:
            async with self._submitting:
                job_id = await self.backend.submit(spec)
        except SubmitError as error:
            self.log.warning("pod=%s uid=%s refused: %s", spec.key, spec.uid, error)
            await self._withdraw(spec)
            raise
        self._adopt(spec, job_id)

    def _adopt(self, spec: JobSpec, job_id: str) -> None:
        self._records.submitted(spec.uid, job_id)
        self.log.info("pod=%s uid=%s job=%s submitted", spec.key, spec.uid, job_id)
        self._wake.set()

    async def _settle(self, uid: str) -> None:
        """Move one unsettled record a step on; harmless for any other."""
        async with self._lock(uid):
            record = self._records.get(uid)
            if record is None or record.phase not in {"intent", "deleting"}:
                return
            if record.job_id:
                await self._cancel(record)
            elif job_id := await self.backend.find(record.spec):
                self._adopt(record.spec, job_id)
                await self._cancel(record)
            elif self._may_conclude(uid):
                if record.phase == "intent":
                    await self._submit(record.spec)
                else:
                    self._observed(record, ended(record, "never_started"))

    def _may_conclude(self, uid: str) -> bool:
        """Whether a job has been invisible for long enough to say there is none."""
        first = self._sought.setdefault(uid, time.monotonic())
        return time.monotonic() - first >= self.settle_seconds

    async def _cancel(self, record: Record) -> None:
        """Ask for the job's end, again only after a while."""
        uid, now = record.spec.uid, time.monotonic()
        current = self._records.get(uid)
        if current is None or current.phase != "deleting":
            return
        if (
            now - self._cancelled.get(uid, -self.cancel_interval)
            >= self.cancel_interval
        ):
            await self.backend.cancel(current.job)
            self._cancelled[uid] = now

    def _looked_at(self, record: Record, seen: Observation | ApiError) -> None:
        """Take over what was seen; where nothing was, what is on record stays."""
        if isinstance(seen, ApiError):
            self._warn_once(record.spec, seen)
        else:
            self._observed(record, seen)

    def _warn_once(self, spec: JobSpec, error: ApiError) -> None:
        if self._warned.get(spec.uid) != error.message:
            self.log.warning("pod=%s uid=%s: %s", spec.key, spec.uid, error.message)
        self._warned[spec.uid] = error.message

    def _observed(self, record: Record, seen: Observation) -> None:
        if seen == record.observation:
            return
        spec, was, now = record.spec, record.observation.queue, seen.queue
        self._records.observed(spec.uid, seen)
        if seen.ended:
            for memory in (self._sought, self._missed, self._cancelled):
                memory.pop(spec.uid, None)
        if was.state != now.state:
            self._inventory_due = 0.0  # it took or gave back what others may have
            self.log.info(
                "pod=%s uid=%s job=%s %s: %s",
                *(spec.key, spec.uid, record.job_id, now.state, now.message or "-"),
            )

    def _refuse_deleted(self, record: Record) -> None:
        if record.phase in {"deleting", "deleted"}:
            raise ApiError(
                f"Pod {record.spec.key} was deleted here and is not started again."
                " Make a new pod.",
                reason="Gone",
                status=410,
                final=True,
            )

    def _check_owner(self, spec: JobSpec) -> None:
        if not spec.owner or self.backend.isolates_users:
            return
        owner = self._records.claim_account(spec.owner)
        if owner != spec.owner:
            raise ApiError(
                f"All jobs of this site run under one account, which belongs to hub"
                f" user {owner!r}; {spec.owner!r} could read their files. An"
                " administrator can give each user a sidecar of their own, or accept it"
                " with c.ProcessRuntime.allow_shared_account = True.",
                reason="AccountNotShared",
                status=403,
                final=True,
            )

    # --- the loop --------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                await self._tick()
            except Exception:
                self.log.exception("the loop goes on after a failure")
            with suppress(TimeoutError):
                async with asyncio.timeout(self.poll_interval):
                    await self._wake.wait()

    async def _tick(self) -> None:
        """One round: settle, ask about our jobs, ask about the site, tidy up."""
        if self._wake.is_set():
            self._wake.clear()
            self._inventory_due = 0.0
        await self._settle_all()
        await self._poll()
        if time.monotonic() >= self._inventory_due:
            await self._refresh_inventory()
        await self._tidy()

    async def _settle_all(self) -> None:
        for record in self._records.in_phase("intent", "deleting"):
            try:
                await self._settle(record.spec.uid)
            except ApiError as error:
                self.log.warning("pod=%s not settled: %s", record.spec.key, error)
                if isinstance(error, UnreachableError):
                    return  # the others would wait for the same answer

    async def _poll(self) -> None:
        records = self._records.in_phase("submitted", "deleting")
        known = [record for record in records if record.job_id]
        try:
            seen = await self.backend.poll([record.job for record in known])
        except ApiError as error:
            self._degraded("jobs", error)
            return
        self._trouble.pop("jobs", None)
        self._observed_at = datetime.now(UTC)
        for record in known:
            uid = record.spec.uid
            if uid in seen:
                self._missed.pop(uid, None)
                self._looked_at(record, seen[uid])
            elif record.phase == "deleting":
                self._observed(record, ended(record, "cancelled"))
            elif self._is_lost(uid):
                self._observed(record, ended(record, "lost"))

    def _is_lost(self, uid: str) -> bool:
        """Whether the scheduler has not known a job often and long enough."""
        misses = self._missed.setdefault(uid, [])
        misses.append(time.monotonic())
        return (
            len(misses) >= MISSES_UNTIL_LOST
            and misses[-1] - misses[0] >= self.lost_after
        )

    async def _refresh_inventory(self) -> None:
        self._inventory_due = time.monotonic() + self.inventory_interval
        try:
            self._inventory = await self.backend.inventory()
        except ApiError as error:
            self._degraded("inventory", error)
        else:
            self._trouble.pop("inventory", None)

    async def _remove(
        self, spec: JobSpec, remove: Callable[[JobSpec], Awaitable[None]], kept: Kept
    ) -> None:
        """Remove something of a job; what cannot go now is tried again next time."""
        try:
            await remove(spec)
        except ApiError as error:
            self._warn_once(spec, error)
        else:
            self._records.keep(spec.uid, kept)
            self._warned.pop(spec.uid, None)

    def _degraded(self, source: str, error: ApiError) -> None:
        if self._trouble.get(source) != error.message:
            self.log.warning("degraded: %s", error.message)
        self._trouble[source] = error.message

    async def _tidy(self) -> None:
        """Remove secrets of ended jobs, then old logs, then old rows."""
        for record in self._records.with_secrets():
            await self._remove(record.spec, self.backend.scrub, "logs")
        now = time.time()
        for record in self._records.with_logs(now - self.retain_hours * 3600):
            await self._remove(record.spec, self.backend.forget, "nothing")
        self._records.prune(now - self.retain_hours * 3600 - TOMBSTONE_SECONDS)
