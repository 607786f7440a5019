"""The engine where a scheduler cannot be made to behave so: cut off, lost, late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from interlink_sidecars.api.errors import (
    ApiError,
    InvalidRequestError,
    UnreachableError,
)
from interlink_sidecars.api.kubernetes import JSON, Pod
from interlink_sidecars.api.messages import CreateRequest, LogRequest, Ping, Queue
from interlink_sidecars.backend import Job, Observation, SubmitError
from interlink_sidecars.engine import Engine
from interlink_sidecars.job import JobSpec
from interlink_sidecars.testing import bundle, make_pod

from .conftest import eventually

RUNNING = Observation(queue=Queue(state="running"))
DONE = Observation(queue=Queue(state="completed"), exit_code=0)


class Memory:
    """A scheduler in memory that a test makes fail at any call."""

    name = "memory"
    isolates_users = False

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.jobs: dict[str, Observation | ApiError] = {}
        self.submitted: list[str] = []
        self.kept: set[str] = set()
        self.trouble: dict[str, Exception] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.trouble:
            raise self.trouble[name]

    def check(self) -> None:
        self._call("check")

    async def stage(self, spec: JobSpec, pod: Pod, request: CreateRequest) -> None:
        self._call("stage")
        await self.gate.wait()
        self.kept.add(spec.uid)

    async def submit(self, spec: JobSpec) -> str:
        self._call("submit")
        self.submitted.append(spec.uid)
        self.jobs[spec.uid] = RUNNING
        self._call("submitted")
        return spec.job_name

    async def find(self, spec: JobSpec) -> str | None:
        self._call("find")
        return spec.job_name if spec.uid in self.jobs else None

    async def poll(self, jobs: Sequence[Job]) -> Mapping[str, Observation | ApiError]:
        self._call("poll")
        uids = {job.spec.uid for job in jobs}
        return {uid: seen for uid, seen in self.jobs.items() if uid in uids}

    async def cancel(self, job: Job) -> None:
        self._call("cancel")
        self.jobs.pop(job.spec.uid, None)

    async def inventory(self) -> Ping:
        self._call("inventory")
        return Ping()

    async def logs(
        self, job: Job, request: LogRequest, over: Callable[[], bool]
    ) -> AsyncGenerator[bytes, None]:
        yield b"log"

    async def scrub(self, spec: JobSpec) -> None:
        self._call("scrub")

    async def forget(self, spec: JobSpec) -> None:
        self._call("forget")
        self.kept.discard(spec.uid)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    engine = make_engine(Memory(), tmp_path)
    await engine.start()
    yield engine
    await engine.stop()


def make_engine(backend: Memory, directory: Path, **settings: Any) -> Engine:
    fast = {
        "poll_interval": 0.05,
        "settle_seconds": 0.2,
        "lost_after": 0.2,
        "cancel_interval": 0.05,
    }
    return Engine(backend, directory, config=Config({"Engine": fast | settings}))


def site(engine: Engine) -> Memory:
    assert isinstance(engine.backend, Memory)
    return engine.backend


async def until(engine: Engine, pod: JSON, state: str) -> str:
    """The message of the first status in this state."""
    async with asyncio.timeout(5):
        while True:
            (status,) = engine.statuses([pod])
            assert status.queue is not None
            if status.queue.state == state:
                return status.queue.message
            await asyncio.sleep(0.02)


async def test_a_cut_off_submission_is_found(engine: Engine) -> None:
    """The scheduler has the job, and we did not hear it."""
    pod = make_pod()
    site(engine).trouble["submitted"] = UnreachableError("cut off")
    with pytest.raises(UnreachableError):
        await engine.create(bundle(pod))
    created = await engine.create(bundle(pod))
    assert created.pod_jid.startswith("il-")
    assert site(engine).submitted == [pod["metadata"]["uid"]]


async def test_a_submission_that_never_arrived_is_repeated(engine: Engine) -> None:
    pod = make_pod()
    site(engine).trouble["submit"] = UnreachableError("away")
    with pytest.raises(UnreachableError):
        await engine.create(bundle(pod))
    site(engine).trouble.clear()
    await until(engine, pod, "running")  # nobody had to ask again
    assert site(engine).submitted == [pod["metadata"]["uid"]]
    assert site(engine).calls.count("find") >= 2


async def test_a_refusal_leaves_nothing_and_may_be_repeated(engine: Engine) -> None:
    pod = make_pod()
    for call, error in (
        ("submit", SubmitError("no.")),
        ("stage", InvalidRequestError("no.")),
    ):
        site(engine).trouble = {call: error}
        with pytest.raises(type(error)):
            await engine.create(bundle(pod))
        assert site(engine).kept == set()
    site(engine).trouble = {}
    await engine.create(bundle(pod))
    assert site(engine).submitted == [pod["metadata"]["uid"]]


async def test_deleted_while_it_is_staged(engine: Engine) -> None:
    pod = make_pod()
    site(engine).gate.clear()
    creating = asyncio.create_task(engine.create(bundle(pod)))
    await asyncio.sleep(0.05)
    engine.delete(pod)
    site(engine).gate.set()
    with pytest.raises(ApiError) as caught:
        await creating
    assert caught.value.reason == "Gone"
    await until(engine, pod, "cancelled")
    assert site(engine).submitted == []


async def test_a_cancel_is_repeated_until_it_is_confirmed(engine: Engine) -> None:
    pod = make_pod()
    await engine.create(bundle(pod))
    site(engine).trouble["cancel"] = UnreachableError("away")
    engine.delete(pod)
    await eventually(lambda: site(engine).calls.count("cancel") >= 3)
    await until(engine, pod, "stopping")
    site(engine).trouble.clear()
    await until(engine, pod, "cancelled")
    assert site(engine).jobs == {}


async def test_a_wish_to_delete_outlives_the_process(tmp_path: Path) -> None:
    backend, pod = Memory(), make_pod()
    first = make_engine(backend, tmp_path)
    await first.start()
    await first.create(bundle(pod))
    backend.trouble["cancel"] = UnreachableError("away")
    first.delete(pod)
    await first.stop()
    backend.trouble.clear()
    second = make_engine(backend, tmp_path)
    await second.start()
    await until(second, pod, "cancelled")
    await second.stop()
    assert backend.jobs == {}


async def test_an_unknown_pods_job_is_cancelled_too(engine: Engine) -> None:
    """As after the loss of the state directory: the scheduler still has it."""
    pod = make_pod()
    site(engine).jobs[pod["metadata"]["uid"]] = RUNNING
    engine.delete(pod)
    await until(engine, pod, "cancelled")
    assert site(engine).jobs == {}


async def test_a_job_that_nobody_knows_is_lost_after_a_while(engine: Engine) -> None:
    pod = make_pod()
    await engine.create(bundle(pod))
    await until(engine, pod, "running")
    site(engine).jobs.clear()
    assert "left no mark" in await until(engine, pod, "lost")
    (status,) = engine.statuses([pod])
    terminated = status.containers[0].state.terminated
    assert terminated is not None
    assert terminated.exit_code == 1


async def test_an_end_is_final(engine: Engine) -> None:
    pod = make_pod()
    uid = pod["metadata"]["uid"]
    await engine.create(bundle(pod))
    site(engine).jobs[uid] = DONE
    await until(engine, pod, "completed")
    site(engine).jobs[uid] = RUNNING
    polls = site(engine).calls.count("poll")
    await eventually(lambda: site(engine).calls.count("poll") >= polls + 3)
    await until(engine, pod, "completed")
    assert "scrub" in site(engine).calls


async def test_trouble_degrades_the_ping_and_keeps_the_states(engine: Engine) -> None:
    pod = make_pod()
    await engine.create(bundle(pod))
    await until(engine, pod, "running")
    site(engine).trouble["poll"] = UnreachableError("slurmctld is away.")
    await eventually(lambda: engine.ping().status != "ok")
    ping = engine.ping()
    assert (ping.status, ping.message) == ("degraded", "slurmctld is away.")
    await until(engine, pod, "running")
    site(engine).trouble.clear()
    await eventually(lambda: engine.ping().status == "ok")


async def test_the_loop_survives_a_bug(engine: Engine) -> None:
    pod = make_pod()
    site(engine).trouble["poll"] = RuntimeError("a bug")
    await engine.create(bundle(pod))
    calls = site(engine).calls.count("poll")
    await eventually(lambda: site(engine).calls.count("poll") >= calls + 3)
    site(engine).trouble.clear()
    await until(engine, pod, "running")


async def test_questions_do_not_grow_with_the_pods(tmp_path: Path) -> None:
    backend = Memory()
    engine = make_engine(backend, tmp_path, poll_interval=0.2)
    await engine.start()
    pods = [make_pod() for _ in range(40)]
    await asyncio.gather(*(engine.create(bundle(pod)) for pod in pods))
    for pod in pods:
        await until(engine, pod, "running")
    before = len(backend.calls)
    for _ in range(50):
        engine.statuses(pods)
        engine.ping()
    assert len(backend.calls) == before
    await asyncio.sleep(0.5)
    assert len(backend.calls) - before <= 8
    assert len(backend.submitted) == 40
    await engine.stop()


async def test_logs_are_forgotten_in_the_end(tmp_path: Path) -> None:
    backend, pod = Memory(), make_pod()
    engine = make_engine(backend, tmp_path, retain_hours=0)
    await engine.start()
    await engine.create(bundle(pod))
    engine.delete(pod)
    await eventually(lambda: not backend.kept)
    await until(engine, pod, "cancelled")
    await engine.stop()


async def test_a_job_that_cannot_be_looked_at_stays_as_it_was(engine: Engine) -> None:
    pod, other = make_pod(), make_pod()
    for each in (pod, other):
        await engine.create(bundle(each))
        await until(engine, each, "running")
    site(engine).jobs[pod["metadata"]["uid"]] = ApiError("its mark cannot be read.")
    site(engine).jobs[other["metadata"]["uid"]] = DONE
    await until(engine, other, "completed")
    await until(engine, pod, "running")
    assert engine.ping().status == "ok"


async def test_what_could_not_be_removed_is_tried_again(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.log.propagate = True
    pod = make_pod()
    site(engine).trouble["scrub"] = ApiError("run/ is still there.")
    await engine.create(bundle(pod))
    site(engine).jobs[pod["metadata"]["uid"]] = DONE
    await eventually(lambda: site(engine).calls.count("scrub") >= 3)
    assert caplog.text.count("run/ is still there.") == 1
    site(engine).trouble.clear()
    calls = site(engine).calls.count("poll") + 3
    await eventually(lambda: site(engine).calls.count("poll") >= calls)
    scrubs = site(engine).calls.count("scrub")
    await eventually(lambda: site(engine).calls.count("poll") >= calls + 3)
    assert site(engine).calls.count("scrub") == scrubs


async def test_a_pod_that_never_came_is_deleted_at_once(tmp_path: Path) -> None:
    backend, pod = Memory(), make_pod()
    engine = make_engine(backend, tmp_path, settle_seconds=60)
    await engine.start()
    engine.delete(pod)
    await until(engine, pod, "cancelled")
    await engine.stop()
    assert "find" in backend.calls
