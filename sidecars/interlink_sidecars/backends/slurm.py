"""The backend ``slurm``: each pod is one batch job of Slurm (22.05 or later).

Drives ``sbatch``, ``squeue``, ``scancel``, ``sinfo`` and ``scontrol``; ``sacct`` where
the site keeps accounts. What these print is read in :mod:`.slurm_text`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any, Final

from traitlets import Dict, List, Unicode
from typing_extensions import override

from interlink_sidecars import shell
from interlink_sidecars.api.errors import (
    ApiError,
    InvalidRequestError,
    UnreachableError,
)
from interlink_sidecars.api.kubernetes import Pod
from interlink_sidecars.api.messages import (
    CreateRequest,
    Ping,
    PingAccelerator,
    PingQueue,
    PingResources,
    Queue,
)
from interlink_sidecars.backend import EXIT_CODES, Job, Observation
from interlink_sidecars.batch import JOB_LOG
from interlink_sidecars.inventory import ping_accelerators, waiting_for
from interlink_sidecars.job import JobSpec
from interlink_sidecars.scheduler import SchedulerBackend

from . import slurm_text as text
from .slurm_text import QueuedJob

_SHORT_OPTIONS: Final = {
    "-A": "account",
    "-C": "constraint",
    "-L": "licenses",
    "-p": "partition",
    "-q": "qos",
}
_UNCLEAR: Final = (
    "timed out",
    "contact slurm controller",
    "zero bytes",
    "connection",
    "communication",
    "unexpected message",
    "standby",
    "temporarily",
    "try again",
)
_ACCOUNTING_CHUNK: Final = 200
KILL_MARGIN: Final = 2
"""Seconds before Slurm's KILL at which a job's own script has killed what is left."""


class SlurmBackend(SchedulerBackend):
    """Runs jobs in Slurm."""

    name = "slurm"
    commands = ("sbatch", "squeue", "scancel", "sinfo", "scontrol", "bash")

    partition = Unicode(
        help="Partition of the jobs and of the inventory; Slurm's default if empty."
    ).tag(config=True)

    submit_options: List[str] = List(
        Unicode(),
        help="More ``sbatch`` options of every job, e.g. ``['--account=hub']``.",
    ).tag(config=True)

    allowed_flags: List[str] = List(
        Unicode(),
        [
            "account",
            "constraint",
            "licenses",
            "nice",
            "partition",
            "qos",
            "reservation",
        ],
        help="""
        Long ``sbatch`` options that a pod may set with the annotation
        ``slurm-job.vk.io/flags``. Any other is refused.
        """,
    ).tag(config=True)

    gres: Dict[str, str] = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        default_value={"nvidia.com/gpu": "gpu", "xilinx.com/fpga": "fpga"},
        help="Name of the generic resource (GRES) by extended resource name.",
    ).tag(config=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._accelerators: list[PingAccelerator] = []
        self._gres_types: dict[str, str] = {}
        self._site = text.SiteQueue(0, 0, {})
        self._kill_wait: int | None = None

    @override
    def grace(self, spec: JobSpec) -> int:
        """What the pod wants, but less than Slurm grants between TERM and KILL."""
        granted = self._kill_wait or spec.grace
        return max(1, min(spec.grace, granted - KILL_MARGIN))

    @override
    def environment(self, *, asking: bool) -> dict[str, str]:
        """The sidecar's own without settings for Slurm's commands.

        Those would reach the job, which they are not meant for. Questions are
        answered with Unix times.
        """
        settings = ("SLURM_", "SBATCH_", "SQUEUE_", "SINFO_", "SACCT_", "SCANCEL_")
        return {
            name: value
            for name, value in super().environment(asking=asking).items()
            if name == "SLURM_CONF" or not name.startswith(settings)
        } | ({"SLURM_TIME_FORMAT": "%s"} if asking else {})

    # --- submit and find -----------------------------------------------------------

    @override
    async def stage(self, spec: JobSpec, pod: Pod, request: CreateRequest) -> None:
        """Refuse what Slurm could not be asked for, then write the files."""
        self._flags(spec)
        self._gres_option(spec)
        if self._kill_wait is None:
            config = await self.ask(["scontrol", "show", "config"])
            self._kill_wait = text.parse_kill_wait(config)
        await super().stage(spec, pod, request)

    @override
    def submit_argv(self, spec: JobSpec, directory: Path) -> list[str]:
        """The whole ``sbatch`` command.

        There is no ``--signal``: at the time limit Slurm sends TERM by itself and
        KILL after ``KillWait``, but an early signal comes up to a minute too early.
        """
        options = [
            f"--job-name={spec.job_name}",
            f"--comment={_comment(spec)}",
            f"--chdir={directory}",
            f"--output={directory / JOB_LOG}",
            "--open-mode=append",
            "--export=NONE",
            "--no-requeue",
            "--nodes=1",
            "--ntasks=1",
            f"--cpus-per-task={spec.cpus}",
        ]
        if spec.memory:
            options.append(f"--mem={ceil(spec.memory / 2**20)}M")
        if spec.walltime:
            options.append(f"--time={ceil(spec.walltime / 60)}")
        if self.partition:
            options.append(f"--partition={self.partition}")
        script = str(directory / "job.sh")
        return [
            "sbatch",
            "--parsable",
            *self.submit_options,
            *self._flags(spec),
            *options,
            *self._gres_option(spec),
            script,
        ]

    @override
    def parse_job_id(self, out: str) -> str | None:
        return text.parse_job_id(out)

    @override
    def is_refusal(self, complaint: str) -> bool:
        """Whether Slurm understood and said no; after a time-out it may do the job."""
        return not any(word in complaint.lower() for word in _UNCLEAR)

    @override
    def find_argv(self, spec: JobSpec) -> list[str]:
        return [*self._squeue(), f"--name={spec.job_name}"]

    @override
    def parse_found(self, spec: JobSpec, out: str) -> str | None:
        """The first job of that name whose comment is not another pod's."""
        jobs = text.parse_queue(out).values()
        mine = [job for job in jobs if _may_be(spec, job)]
        return min(mine, key=lambda job: int(job.job_id)).job_id if mine else None

    def _squeue(self) -> list[str]:
        """All jobs of this account, ended ones as long as Slurm remembers them."""
        return ["squeue", "--me", "-h", "--states=all", "-o", text.QUEUE_FORMAT]

    def _flags(self, spec: JobSpec) -> list[str]:
        """The pod's own options, each of them allowed, as ``--name=value``."""
        if not spec.flags.isprintable():
            raise self._refused_flag(spec, spec.flags, "it is not one line of text")
        try:
            words = shlex.split(spec.flags)
        except ValueError as error:
            raise self._refused_flag(spec, spec.flags, str(error)) from error
        options = []
        while words:
            word = words.pop(0)
            name, equals, value = word.partition("=")
            name = "--" + _SHORT_OPTIONS[name] if name in _SHORT_OPTIONS else name
            if name.removeprefix("--") not in self.allowed_flags:
                allowed = ", ".join(f"--{flag}" for flag in self.allowed_flags)
                raise self._refused_flag(spec, word, f"allowed are {allowed}")
            if not equals:
                value = words.pop(0) if words else ""
            if not value or value.startswith("-"):
                raise self._refused_flag(spec, word, "it has no usable value")
            options.append(f"{name}={value}")
        return options

    def _refused_flag(self, spec: JobSpec, word: str, why: str) -> InvalidRequestError:
        return InvalidRequestError(
            f"Pod {spec.key} may not set the Slurm option {word[:80]!r}: {why}.",
            reason="FlagNotAllowed",
        )

    def _gres_option(self, spec: JobSpec) -> list[str]:
        """``--gres`` with the type as Slurm spells it."""
        wanted = []
        for request in spec.accelerators:
            name = self.gres.get(request.resource_type)
            if name is None:
                raise InvalidRequestError(
                    f"Pod {spec.key} asks for {request.resource_type}, which this site"
                    f" has not. It has: {', '.join(sorted(self.gres))}.",
                    reason="UnknownAccelerator",
                )
            kind = self._gres_types.get(request.model, request.model)
            wanted.append(":".join(filter(None, [name, kind, str(request.count)])))
        return [f"--gres={','.join(wanted)}"] if wanted else []

    # --- poll and cancel -------------------------------------------------------------

    async def poll(self, jobs: Sequence[Job]) -> Mapping[str, Observation | ApiError]:
        """One ``squeue`` for all jobs; then those that it has forgotten."""
        if not jobs:
            return {}
        queue = text.parse_queue(await self.ask(self._squeue()))
        live = {row.comment: row for row in queue.values() if not _ended(row)}
        known = {
            job.job_id: row
            for job in jobs
            if (row := queue.get(job.job_id)) and _may_be(job.spec, row)
        }
        known |= await self._recall([job for job in jobs if job.job_id not in known])
        seen: dict[str, Observation | ApiError] = {}
        for job in jobs:
            row = known.get(job.job_id)
            if row is None or _ended(row):  # a twin of it may be what runs the pod
                row = live.get(_comment(job.spec), row)
            try:
                if found := await self._look(job, row):
                    seen[job.spec.uid] = found
            except UnreachableError:
                raise
            except ApiError as error:
                seen[job.spec.uid] = error
        return seen

    async def _look(self, job: Job, row: QueuedJob | None) -> Observation | None:
        """One job as Slurm has it, or else as its own last mark tells it."""
        if row is not None:
            return await self._observation(job, row)
        finished = self.finished(job.spec)
        return self.observation(job.spec, finished) if finished else None

    async def _recall(self, jobs: Sequence[Job]) -> dict[str, QueuedJob]:
        """Jobs that left the queue, from ``scontrol`` or the site's accounts."""
        known: dict[str, QueuedJob] = {}
        left = [job for job in jobs if not self._has_finished(job.spec)]
        for job in left:
            found = await self._show(job.job_id)
            if found and _may_be(job.spec, found):
                known[job.job_id] = found
        ids = [job.job_id for job in left if job.job_id not in known]
        for start in range(0, len(ids), _ACCOUNTING_CHUNK):
            chunk = ids[start : start + _ACCOUNTING_CHUNK]
            known |= await self._accounts(chunk)
        return known

    def _has_finished(self, spec: JobSpec) -> bool:
        """Whether the job's own last mark is there and can be read."""
        try:
            return self.finished(spec) is not None
        except ApiError:
            return False

    async def _show(self, job_id: str) -> QueuedJob | None:
        try:
            out = await self.ask(["scontrol", "show", "job", job_id, "--oneliner"])
        except UnreachableError as error:
            if "invalid job id" in error.message.lower():
                return None
            raise
        return text.parse_job(out)

    async def _accounts(self, ids: Sequence[str]) -> dict[str, QueuedJob]:
        """Nothing where the site keeps no accounts, which is no failure."""
        argv = ["sacct", "-X", "-n", "-P", "-j", ",".join(ids)]
        argv += ["--format=JobIDRaw,State,ExitCode,Start,End,NodeList"]
        try:
            return text.parse_accounting(await self.ask(argv))
        except ApiError as error:
            self.log.debug("no accounts: %s", error.message)
            return {}

    async def _observation(self, job: Job, seen: QueuedJob) -> Observation:
        """One job of Slurm in our words, with the marks that it left."""
        state = text.STATES.get(seen.state)
        if state is None:
            self.log.warning("job=%s is in unknown state %s", job.job_id, seen.state)
            state = "unknown"
        pending = state == "queued"
        ended = state in EXIT_CODES
        queue = Queue(
            state=state,
            scheduler_state=seen.state,
            # Slurm says None before its scheduler has looked at a job
            reason=seen.reason if pending and seen.reason != "None" else "",
            message=self._message(job, seen, pending=pending),
            partition=seen.partition,
            position=self._site.positions.get(job.job_id) if pending else None,
            submitted_at=seen.submitted_at,
            started_at=None if pending else seen.started_at,
            estimated_start=seen.started_at if pending else None,
            ended_at=seen.ends_at if ended else None,
            deadline=None if pending or ended else seen.ends_at,
        )
        found = self.observation(job.spec, queue, node_name=seen.node)
        if not ended or all(m.exit_code is not None for m in found.containers.values()):
            return found
        if seen.exit_code is None:
            seen = await self._show(job.job_id) or seen
        return found.model_copy(update={"exit_code": seen.exit_code})

    def _message(self, job: Job, seen: QueuedJob, *, pending: bool) -> str:
        if not pending:
            return text.ending_sentence(seen)
        if seen.reason == "Resources":
            return waiting_for(job.spec, self._accelerators)
        return text.waiting_sentence(seen.reason)

    async def cancel(self, job: Job) -> None:
        """``scancel``; Slurm sends TERM and, after ``KillWait``, KILL.

        By name, so that a job of the pod of which we never heard ends too, and never
        by an id, which Slurm may have given to somebody else's job. Where no job has
        the name, ``scancel`` says nothing and succeeds.
        """
        result = await shell.run(
            ["scancel", "--me", f"--name={job.spec.job_name}"],
            timeout=self.command_timeout,
            env=self.environment(asking=False),
        )
        if result.status != 0 and "invalid job id" not in result.complaint.lower():
            raise UnreachableError(f"scancel failed: {result.complaint}.")

    # --- inventory -------------------------------------------------------------------

    async def inventory(self) -> Ping:
        """What all usable nodes have and what everybody's jobs use of it."""
        where = [f"--partition={self.partition}"] if self.partition else []
        nodes_argv = ["sinfo", "-N", "-h", *where, "-O", text.NODE_FORMAT]
        nodes = text.parse_nodes(await self.ask(nodes_argv))
        site_argv = ["squeue", "-h", *where, "-o", text.SITE_FORMAT]
        self._site = text.parse_site_queue(await self.ask(site_argv))
        offers = text.accelerators(nodes, self.gres)
        self._gres_types = {
            key.partition(":")[2].lower(): key.partition(":")[2]
            for node in nodes
            for key in node.gres
        }
        self._accelerators = ping_accelerators(offers)
        return Ping(
            resources=PingResources(
                cpu=str(sum(node.cpus for node in nodes)),
                memory=f"{sum(node.memory for node in nodes) // 2**20}Mi",
                accelerators=self._accelerators,
            ),
            queue=PingQueue(running=self._site.running, waiting=self._site.waiting),
            observed_at=datetime.now(UTC),
        )


def _comment(spec: JobSpec) -> str:
    return f"interlink:{spec.uid}"


def _may_be(spec: JobSpec, row: QueuedJob) -> bool:
    """Whether a job is the pod's, as far as its comment tells.

    Slurm gives ids again after it lost its state, and sites may drop comments.
    """
    return row.comment in {_comment(spec), "", "(null)"}


def _ended(row: QueuedJob) -> bool:
    return text.STATES.get(row.state) in EXIT_CODES
