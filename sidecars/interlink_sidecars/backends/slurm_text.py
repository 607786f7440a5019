"""What Slurm's commands print, as values; and Slurm's words, as sentences. Pure.

Formats are chosen by us (``squeue -o``, ``sinfo -O``), times are Unix times
(``SLURM_TIME_FORMAT=%s``). Sources: the manuals of Slurm 22.05 and later, squeue(1)
"JOB STATE CODES" and "JOB REASON CODES", and what a real 22.05 printed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from interlink_sidecars.api.inventory import Accelerator
from interlink_sidecars.api.messages import JobState

QUEUE_FORMAT: Final = "%i|%T|%r|%N|%P|%V|%S|%e|%j|%k"
SITE_FORMAT: Final = "%i|%T|%P|%Q|%r"
NODE_FORMAT: Final = (
    "NodeHost:256,StateLong:64,CPUsState:64,Memory:32,Gres:1024,GresUsed:1024"
)
_NODE_WIDTHS: Final = (256, 64, 64, 32, 1024, 1024)

STATES: Final[Mapping[str, JobState]] = {
    "PENDING": "queued",
    "REQUEUED": "queued",
    "REQUEUE_FED": "queued",
    "REQUEUE_HOLD": "queued",
    "RESV_DEL_HOLD": "queued",
    "SPECIAL_EXIT": "queued",
    "CONFIGURING": "starting",
    "POWER_UP_NODE": "starting",
    "RUNNING": "running",
    "RESIZING": "running",
    "SIGNALING": "running",
    "STAGE_OUT": "stopping",
    "COMPLETING": "stopping",
    "SUSPENDED": "suspended",
    "STOPPED": "suspended",
    "COMPLETED": "completed",
    "FAILED": "failed",
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    "OUT_OF_MEMORY": "out_of_memory",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
    "PREEMPTED": "preempted",
    "NODE_FAIL": "node_failed",
    "BOOT_FAIL": "node_failed",
    "LAUNCH_FAILED": "failed",
    "RECONFIG_FAIL": "failed",
}
"""Every state of Slurm in our words."""

REASONS: Final = {
    "Priority": "Waiting: jobs with a higher priority come first.",
    "Dependency": "Waiting for another job on which it depends.",
    "JobHeldUser": "Held: the account that submitted it must release it.",
    "JobHeldAdmin": "Held by an administrator of the site.",
    "BeginTime": "Waiting for the start time that was asked for.",
    "Reservation": "Waiting for its reservation to begin.",
    "ReqNodeNotAvail": "Waiting: a node that it needs is down, drained or reserved.",
    "PartitionDown": "Waiting: the partition takes no jobs to run at the moment.",
    "PartitionInactive": "Waiting: the partition is inactive.",
    "PartitionTimeLimit": "It asks for more time than the partition ever gives.",
    "PartitionNodeLimit": "It asks for more nodes than the partition ever gives.",
    "AssocGrpCpuLimit": "Waiting: the account's cores are all in use.",
    "AssocGrpGRES": "Waiting: the account's accelerators are all in use.",
    "AssocMaxJobsLimit": "Waiting: the account runs as many jobs as it may.",
    "QOSMaxJobsPerUserLimit": "Waiting: the user runs as many jobs as the QOS allows.",
    "QOSMaxGRESPerUser": "Waiting: the user has as many accelerators as allowed.",
    "QOSGrpGRES": "Waiting: the QOS's accelerators are all in use.",
    "Licenses": "Waiting for a license.",
    "NodeDown": "Waiting: a node that it needs is down.",
    "BadConstraints": "No node of the site can give what it asks for.",
    "None": "Waiting to be considered by the scheduler.",
}
"""Common reasons of waiting; ``Resources`` is told with the inventory."""

ENDINGS: Final[Mapping[str, str]] = {
    "TIMEOUT": "Slurm ended the job{where}{after}: its time limit was over.",
    "DEADLINE": "Slurm ended the job{where}: its deadline was over.",
    "OUT_OF_MEMORY": "Slurm ended the job{where}: it used more memory than it asked"
    " for.",
    "CANCELLED": "The job was cancelled.",
    "REVOKED": "The job was revoked by its federation of clusters.",
    "PREEMPTED": "Slurm ended the job{where} in favour of one with more priority.",
    "NODE_FAIL": "The node failed{where}.",
    "BOOT_FAIL": "The node did not boot{where}.",
    "LAUNCH_FAILED": "Slurm could not start the job{where}.",
    "RECONFIG_FAIL": "Slurm could not prepare the node{where}.",
    "FAILED": "The job failed{where}: Slurm's reason is {reason}.",
}


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """One job in the words of Slurm."""

    job_id: str
    state: str
    reason: str = ""
    node: str = ""
    partition: str = ""
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    ends_at: datetime | None = None
    name: str = ""
    comment: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One node: its usable cores, memory (bytes) and generic resources."""

    cpus: int
    memory: int
    gres: Counter[str]
    used: Counter[str]


def parse_job_id(text: str) -> str | None:
    """The id in the output of ``sbatch --parsable``, whatever banners surround it."""
    for line in reversed(text.split()):
        if match := re.fullmatch(r"(\d+)(;[\w.-]+)?", line):
            return match[1]
    return None


def parse_queue(text: str) -> dict[str, QueuedJob]:
    """The output of ``squeue -o QUEUE_FORMAT`` by job id; other lines are banners."""
    jobs = {}
    for line in text.splitlines():
        fields = line.split("|", 9)
        if len(fields) == 10 and fields[0].isdecimal():
            jobs[fields[0]] = QueuedJob(
                job_id=fields[0],
                state=fields[1],
                reason=fields[2],
                node=fields[3],
                partition=fields[4],
                submitted_at=_time(fields[5]),
                started_at=_time(fields[6]),
                ends_at=_time(fields[7]),
                name=fields[8],
                comment=fields[9],
            )
    return jobs


@dataclass(frozen=True, slots=True)
class SiteQueue:
    """Everybody's jobs: how many, and who is next (1 is) in each partition."""

    running: int
    waiting: int
    positions: Mapping[str, int]


def parse_site_queue(text: str) -> SiteQueue:
    """The output of ``squeue -o SITE_FORMAT``.

    A job that is held or depends on another has no position.
    """
    rows = [line.split("|") for line in text.splitlines()]
    states = [STATES.get(row[1]) for row in rows if len(row) == 5]
    contenders = [
        (-int(priority), job_id, partition)
        for job_id, state, partition, priority, reason in (
            r for r in rows if len(r) == 5
        )
        if STATES.get(state) == "queued"
        and reason in {"None", "Priority", "Resources"}
        and priority.isdecimal()
    ]
    positions: dict[str, int] = {}
    counts: Counter[str] = Counter()
    for _, job_id, partition in sorted(contenders, key=lambda c: (c[0], _number(c[1]))):
        counts[partition] += 1
        positions[job_id] = counts[partition]
    return SiteQueue(
        running=sum(state not in {None, "queued"} for state in states),
        waiting=states.count("queued"),
        positions=positions,
    )


def _number(job_id: str) -> int:
    digits = re.match(r"\d*", job_id)
    return int(digits[0] or 0) if digits else 0


def parse_job(text: str) -> QueuedJob | None:
    """The output of ``scontrol show job ID --oneliner``."""
    fields = dict(re.findall(r"(?:^|\s)(\w+)=(\S*)", text))
    if "JobState" not in fields:
        return None
    return QueuedJob(
        job_id=fields.get("JobId", ""),
        state=fields["JobState"],
        reason=fields.get("Reason", ""),
        node=_known(fields.get("NodeList", "")),
        partition=fields.get("Partition", ""),
        submitted_at=_time(fields.get("SubmitTime", "")),
        started_at=_time(fields.get("StartTime", "")),
        ends_at=_time(fields.get("EndTime", "")),
        comment=fields.get("Comment", ""),
        exit_code=parse_exit_code(fields.get("ExitCode", "")),
    )


def parse_accounting(text: str) -> dict[str, QueuedJob]:
    """``sacct -XnP --format=JobIDRaw,State,ExitCode,Start,End,NodeList``, by id."""
    jobs = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) == 6 and fields[0].isdecimal():
            jobs[fields[0]] = QueuedJob(
                job_id=fields[0],
                state=fields[1].partition(" ")[0],  # "CANCELLED by 1000"
                exit_code=parse_exit_code(fields[2]),
                started_at=_time(fields[3]),
                ends_at=_time(fields[4]),
                node=_known(fields[5]),
            )
    return jobs


def parse_exit_code(text: str) -> int | None:
    """``code:signal`` as a shell would report it."""
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if match is None:
        return None
    code, number = int(match[1]), int(match[2])
    return 128 + number if number and not code else code


def parse_kill_wait(text: str) -> int:
    """Seconds between TERM and KILL in ``scontrol show config``; 30 by default."""
    match = re.search(r"^KillWait\s*=\s*(\d+)", text, re.MULTILINE)
    return int(match[1]) if match else 30


def parse_nodes(text: str) -> list[Node]:
    """``sinfo -N -O NODE_FORMAT``: each usable node once, in whatever partitions."""
    nodes: dict[str, Node] = {}
    for line in text.splitlines():
        columns, start = [], 0
        for width in _NODE_WIDTHS:
            columns.append(line[start : start + width].strip())
            start += width
        host, state, cpus, memory, gres, used = columns
        shares = cpus.split("/")  # allocated/idle/other/total
        if is_usable(state) and len(shares) == 4 and memory.isdecimal():
            nodes[host] = Node(
                cpus=int(shares[3]),
                memory=int(memory) * 2**20,
                gres=parse_gres(gres),
                used=parse_gres(used),
            )
    return list(nodes.values())


def is_usable(state: str) -> bool:
    """Whether a node in this state can run jobs, now or when it is free again.

    The suffixes ``*`` (does not answer), ``$`` (maintenance), ``@`` and ``^`` (about
    to reboot), ``!`` and ``%`` (powering down) stand behind the state.
    """
    match = re.fullmatch(r"([a-z]+)([^a-z]*)", state)
    return (
        match is not None
        and match[1] in {"idle", "mixed", "allocated", "completing", "planned"}
        and not set(match[2]) & set("*$@^!%")
    )


def parse_gres(text: str) -> Counter[str]:
    """``gpu:a100:4(S:0-1),fpga:u55c:2`` as devices by ``name:type``."""
    counts: Counter[str] = Counter()
    for entry in re.sub(r"\([^)]*\)", "", text).split(","):
        parts = entry.strip().split(":")
        if len(parts) >= 2 and parts[-1].isdecimal():
            name, kind = parts[0], parts[1] if len(parts) > 2 else ""
            counts[f"{name}:{kind}"] += int(parts[-1])
    return counts


def accelerators(nodes: list[Node], names: Mapping[str, str]) -> list[Accelerator]:
    """The devices of all nodes by model; ``names``: GRES name by resource type."""
    totals, used = Counter[str](), Counter[str]()
    for node in nodes:
        totals += node.gres
        used += node.used
    resource_types: dict[str, str] = {}
    for resource, name in names.items():
        resource_types.setdefault(name, resource)
    found = []
    for key in sorted(totals):
        name, _, kind = key.partition(":")
        if name in resource_types:
            found.append(
                Accelerator(
                    resource_type=resource_types[name],
                    model=kind.lower(),
                    total=totals[key],
                    used=min(used[key], totals[key]),
                )
            )
    return found


def waiting_sentence(reason: str) -> str:
    """A reason of waiting for people; an uncommon one in Slurm's word."""
    word = reason.partition(",")[0].strip("()")
    return REASONS.get(word, f"Waiting; Slurm's reason is {reason}.")


def ending_sentence(job: QueuedJob) -> str:
    """How a job ended, for people; empty for a success."""
    after = ""
    if job.started_at and job.ends_at:
        after = f" after {job.ends_at - job.started_at}"
    where = f" on node {job.node}" if job.node else ""
    text = ENDINGS.get(job.state, "")
    return text.format(where=where, after=after, reason=job.reason or "unknown")


def _time(text: str) -> datetime | None:
    if not text.isdecimal() or len(text) > 11 or int(text) == 0:
        return None
    return datetime.fromtimestamp(int(text), UTC)


def _known(text: str) -> str:
    return "" if text in {"(null)", "None assigned", "Unknown"} else text
