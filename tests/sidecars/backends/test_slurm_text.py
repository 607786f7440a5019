"""Slurm's outputs as values: recorded from a real 22.05, and hostile ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest

from interlink_sidecars.api.inventory import Accelerator
from interlink_sidecars.api.messages import JobState
from interlink_sidecars.backend import EXIT_CODES
from interlink_sidecars.backends import slurm_text as text

QUEUE = """\
Welcome to the cluster! | maintenance on | Monday
2|CANCELLED|Resources||main|1795393219|1795393222|1795393222|il-abd|interlink:uid-2
3|FAILED|BadConstraints||main|1795393219|1795393219|1795393219|j.sh|weird|com ment
5|PENDING|PartitionTimeLimit||main|1795393219|N/A|N/A|j.sh|(null)
1|RUNNING|None|n[1-2]|main|1795393219|1795393219|1795393279|il-abc|interlink:uid-1
"""
JOB = (
    "JobId=1 JobName=il-abc UserId=root(0) JobState=TIMEOUT Reason=TimeLimit Requeue=0"
    " ExitCode=0:15 SubmitTime=1795393219 StartTime=1795393219 EndTime=1795393279"
    " Partition=main AllocNode:Sid=localhost:3598 ReqNodeList=(null) NodeList=n1"
    " SchedNodeList=localhost Comment=interlink:uid-1 Power="
)


def test_queue() -> None:
    jobs = text.parse_queue(QUEUE)
    assert set(jobs) == {"1", "2", "3", "5"}
    running = jobs["1"]
    assert (running.state, running.node, running.partition) == (
        "RUNNING",
        "n[1-2]",
        "main",
    )
    assert running.started_at == datetime.fromtimestamp(1795393219, UTC)
    assert (running.name, running.comment) == ("il-abc", "interlink:uid-1")
    assert jobs["5"].started_at is None
    assert jobs["3"].comment == "weird|com ment"


def test_site_queue() -> None:
    queue = text.parse_site_queue(
        "9|PENDING|main|10|Priority\n7|PENDING|main|20|Resources\n"
        "8|PENDING|main|20|Priority\n6|PENDING|main|99|JobHeldUser\n"
        "5|PENDING|fpga|1|None\n4_[1-3]|PENDING|fpga|0|Priority\n"
        "3|RUNNING|main|1|None\n2|COMPLETING|main|1|None\nbanner\n"
    )
    assert (queue.running, queue.waiting) == (2, 6)
    assert queue.positions == {"7": 1, "8": 2, "9": 3, "5": 1, "4_[1-3]": 2}


def test_job() -> None:
    job = text.parse_job(JOB)
    assert job is not None
    assert (job.state, job.exit_code, job.node) == ("TIMEOUT", 143, "n1")
    sentence = "Slurm ended the job on node n1 after 0:01:00: its time limit was over."
    assert text.ending_sentence(job) == sentence
    assert text.parse_job("slurm_load_jobs error: Invalid job id specified") is None


def test_accounting() -> None:
    jobs = text.parse_accounting(
        "7|CANCELLED by 1000|0:0|1795393219|1795393222|None assigned\n"
        "7.batch|CANCELLED|0:15|1|2|n1\n8|FAILED|7:0|Unknown|Unknown|n1\nbanner\n"
    )
    assert set(jobs) == {"7", "8"}
    assert (jobs["7"].state, jobs["7"].node) == ("CANCELLED", "")
    assert (jobs["8"].exit_code, jobs["8"].started_at) == (7, None)


@pytest.mark.parametrize(
    ("printed", "job_id"),
    [
        ("17\n", "17"),
        ("17;cluster-1\n", "17"),
        ("sbatch: welcome to 2026\n17\n", "17"),
        ("17\nthank you\n", "17"),
        ("", None),
        ("Submitted\n", None),
    ],
)
def test_job_id(printed: str, job_id: str | None) -> None:
    assert text.parse_job_id(printed) == job_id


@pytest.mark.parametrize(
    ("printed", "code"),
    [("0:0", 0), ("7:0", 7), ("0:9", 137), ("1:15", 1), ("", None), ("x", None)],
)
def test_exit_code(printed: str, code: int | None) -> None:
    assert text.parse_exit_code(printed) == code


def node(host: str, state: str, cpus: str, gres: str, used: str) -> str:
    columns = (host, state, cpus, "20000", gres, used)
    widths = (256, 64, 64, 32, 1024, 1024)
    return "".join(c.ljust(w) for c, w in zip(columns, widths, strict=True)) + "\n"


def test_nodes_and_accelerators() -> None:
    gres = "gpu:a100:2(S:0-1),fpga:U55C:2,gpu:4,license:9"
    used = "gpu:a100:1(IDX:0),fpga:U55C:2(IDX:0-1),gpu:0,license:0"
    nodes = text.parse_nodes(
        node("n1", "mixed", "1/1/0/2", gres, used)
        + node("n1", "mixed", "1/1/0/2", gres, used)  # in a second partition
        + node("n2", "drained", "0/2/0/2", gres, used)
        + node("n3", "idle*", "0/2/0/2", gres, used)
        + node("n4", "idle", "0/8/0/8", "(null)", "(null)")
    )
    assert sum(n.cpus for n in nodes) == 10
    assert sum(n.memory for n in nodes) == 2 * 20000 * 2**20
    names = {"nvidia.com/gpu": "gpu", "amd.com/gpu": "gpu", "xilinx.com/fpga": "fpga"}
    assert text.accelerators(nodes, names) == [
        Accelerator(resource_type="xilinx.com/fpga", model="u55c", total=2, used=2),
        Accelerator(resource_type="nvidia.com/gpu", model="", total=4, used=0),
        Accelerator(resource_type="nvidia.com/gpu", model="a100", total=2, used=1),
    ]


@pytest.mark.parametrize(
    "state", ["idle", "mixed", "allocated", "idle~", "mixed#", "planned"]
)
def test_usable(state: str) -> None:
    assert text.is_usable(state)


@pytest.mark.parametrize(
    "state",
    ["down", "down*", "idle*", "drained", "draining", "idle$", "maint", "", "fail"],
)
def test_not_usable(state: str) -> None:
    assert not text.is_usable(state)


def test_every_state_has_a_word_and_every_bad_end_a_sentence() -> None:
    assert set(text.STATES.values()) <= set(get_args(JobState))
    for state, word in text.STATES.items():
        job = text.QueuedJob("1", state, "NonZeroExitCode")
        bad = word in EXIT_CODES and word != "completed"
        assert bool(text.ending_sentence(job)) == bad


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Priority", "higher priority"),
        ("(QOSMaxJobsPerUserLimit)", "as many jobs"),
        ("ReqNodeNotAvail, UnavailableNodes:n1", "down, drained"),
        ("SomethingNew", "SomethingNew"),
    ],
)
def test_reasons(reason: str, words: str) -> None:
    assert words in text.waiting_sentence(reason)


def test_kill_wait() -> None:
    assert text.parse_kill_wait("KillOnBadExit = 0\nKillWait  = 5 sec\n") == 5
    assert text.parse_kill_wait("") == 30
