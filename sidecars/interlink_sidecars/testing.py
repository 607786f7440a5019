"""What a backend must do, as tests that it inherits.

A third party proves a backend by a class that extends :class:`BackendContract` and a
pytest fixture ``sidecar`` that yields a running :class:`SidecarProcess`. The sidecar
is the real command in a process of its own, spoken to over its unix socket, so that it
can be killed at any moment. Needs pytest with pytest-asyncio in auto mode, and imports
neither.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import uuid
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from .api import names
from .api.errors import ApiError, UnreachableError
from .api.kubernetes import JSON
from .api.messages import (
    ContainerVolumes,
    CreateRequest,
    CreateResponse,
    LogOptions,
    LogRequest,
    PodStatus,
)
from .client import SidecarClient

FPGA: Final = "xilinx.com/fpga"
OVER: Final = frozenset({"completed", "failed", "cancelled", "timeout"})


class SidecarProcess:
    """The command ``interlink-sidecar``, to be killed and started again.

    Args:
        directory: short path for its state, configuration, socket and log.
        options: command line, ``--backend=…`` at least.
        config: settings by class, beside those that make a test fast.
        env: variables on top of ours.
    """

    def __init__(
        self,
        directory: Path,
        options: Sequence[str],
        config: Mapping[str, JSON],
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.state_dir = directory / "state"
        self._socket = directory / "sidecar.sock"
        self.client = SidecarClient(f"unix://{self._socket}")
        self.env = {**os.environ, **(env or {})}
        fast = {
            "Engine": {
                "poll_interval": 0.3,
                "inventory_interval": 0.5,
                "settle_seconds": 1.0,
                "cancel_interval": 3.0,
            },
            "ProcessRuntime": {"images": {"host": ""}},
        }
        file = directory / "config.json"
        file.write_text(json.dumps(fast | dict(config)))
        program = Path(sys.executable).with_name("interlink-sidecar")
        places = [f"--socket={self._socket}", f"--state-dir={self.state_dir}"]
        self._argv = [str(program), *options, *places, f"--config={file}"]
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.directory / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv, stdin=DEVNULL, stdout=log, stderr=log, env=self.env
            )
        async with asyncio.timeout(30):
            while True:
                with suppress(UnreachableError):
                    await self.client.ping()
                    return
                assert self._process.returncode is None, self.log()
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """Kill it as a power cut would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to stop; its jobs go on."""
        await self._end(signal.SIGTERM)

    async def restart(self) -> None:
        """Start it again after it was killed, by us or by somebody else."""
        await self._end(signal.SIGKILL)
        await self.start()

    async def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
            async with asyncio.timeout(30):
                await self._process.wait()

    def log(self) -> str:
        """What it said."""
        return (self.directory / "log").read_text()

    async def create(self, pod: JSON) -> CreateResponse:
        """Create a pod as a virtual kubelet does: again while that is not final."""
        async with asyncio.timeout(30):
            while True:
                try:
                    return await self.client.create(bundle(pod))
                except ApiError as error:
                    if error.final:
                        raise
                    await asyncio.sleep(0.2)

    async def status(self, pod: JSON) -> PodStatus:
        """The status of one pod."""
        (status,) = await self.client.statuses([pod])
        return status

    async def until(
        self, pod: JSON, expected: Callable[[PodStatus], bool], seconds: float = 30
    ) -> PodStatus:
        """The first status that is as expected."""
        status = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    status = await self.status(pod)
                    if expected(status):
                        return status
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"still {status}\n{self.log()}") from None

    async def until_state(self, pod: JSON, *states: str) -> PodStatus:
        """The first status whose job is in one of these states."""
        return await self.until(
            pod, lambda s: s.queue is not None and s.queue.state in states
        )

    async def read_log(self, pod: JSON, container: str = "main", **options: Any) -> str:
        """The log of one container."""
        meta = pod["metadata"]
        request = LogRequest(
            namespace=meta["namespace"],
            pod_uid=meta["uid"],
            pod_name=meta["name"],
            container_name=container,
            options=LogOptions(**options),
        )
        chunks = [chunk async for chunk in self.client.logs(request)]
        return b"".join(chunks).decode()


def make_pod(
    script: str = "true", *, boards: int = 0, image: str = "host", **spec: Any
) -> JSON:
    """A pod with one container ``main`` that runs a line of bash."""
    uid = str(uuid.uuid4())
    container: JSON = {"name": "main", "image": image}
    container["command"] = ["bash", "-c", script]
    annotations = {names.HUB_USERNAME: "alice"}
    if boards:
        wanted = {"resource_type": FPGA, "model": "u55c", "count": boards}
        annotations[names.ACCELERATORS] = json.dumps([wanted])
        container["resources"] = {"limits": {FPGA: str(boards)}}
    return {
        "metadata": {
            "name": f"pod-{uid[:8]}",
            "namespace": "default",
            "uid": uid,
            "annotations": annotations,
        },
        "spec": {"containers": [container], "restartPolicy": "Never", **spec},
    }


def bundle(pod: JSON, **objects: Any) -> CreateRequest:
    """The pod as it is sent, with the same objects for its container ``main``."""
    return CreateRequest(pod=pod, container=[ContainerVolumes(name="main", **objects)])


def exit_code(status: PodStatus, container: int = 0) -> int | None:
    """The exit code of a container, None before its end."""
    ended = status.containers[container].state.terminated
    return None if ended is None else ended.exit_code


@asynccontextmanager
async def refused(*reasons: str) -> AsyncIterator[None]:
    """The call inside must be refused for one of these reasons, with a sentence."""
    caught: ApiError | None = None
    try:
        yield
    except ApiError as error:
        caught = error
    assert caught is not None, f"it was not refused for {reasons}"
    assert caught.reason in reasons, f"{caught.reason}: {caught.message}"
    assert caught.message[-1] in ".)", caught.message
    assert caught.final


class BackendContract:
    """The tests; the site has two U55C and nobody else uses it."""

    #: How the site says why a job waits for boards.
    waiting_reason = "Resources"

    async def jobs_ever(self, sidecar: SidecarProcess, pod: JSON) -> int:
        """How many jobs the scheduler ever had for a pod."""
        raise NotImplementedError

    # --- life of a job ---------------------------------------------------------------

    async def test_success(self, sidecar: SidecarProcess) -> None:
        pod = make_pod("echo out; echo err >&2")
        created = await sidecar.client.create(bundle(pod))
        assert created.pod_uid == pod["metadata"]["uid"]
        assert created.pod_jid
        status = await sidecar.until_state(pod, "completed")
        assert status.jid == created.pod_jid
        assert status.node_name
        assert status.observed_at
        assert exit_code(status) == 0
        assert await sidecar.read_log(pod) == "out\nerr\n"

    async def test_failure_has_a_code_and_a_sentence(
        self, sidecar: SidecarProcess
    ) -> None:
        pod = make_pod("exit 7")
        await sidecar.client.create(bundle(pod))
        status = await sidecar.until_state(pod, "failed")
        ended = status.containers[0].state.terminated
        assert ended is not None
        assert ended.exit_code == 7
        assert ended.message

    async def test_containers_and_volumes(self, sidecar: SidecarProcess) -> None:
        mount = {"name": "shared", "mountPath": "/shared"}
        pod = make_pod("cat /shared/note /etc/settings/a.txt; cat $FILE")
        main = pod["spec"]["containers"][0]
        main["volumeMounts"] = [
            mount,
            {"name": "settings", "mountPath": "/etc/settings"},
            {"name": "keys", "mountPath": "/keys"},
        ]
        main["env"] = [{"name": "FILE", "value": "/keys/token"}]
        other = {**main, "name": "other", "command": ["bash", "-c", "exit 0"]}
        first = {**main, "name": "first", "volumeMounts": [mount]}
        first["command"] = ["bash", "-c", "echo init > /shared/note"]
        pod["spec"] |= {
            "containers": [main, other],
            "initContainers": [first],
            "volumes": [
                {"name": "shared", "emptyDir": {}},
                {"name": "settings", "configMap": {"name": "settings"}},
                {"name": "keys", "secret": {"secretName": "keys"}},
            ],
        }
        settings = {"metadata": {"name": "settings"}, "data": {"a.txt": "à\n"}}
        keys = {"metadata": {"name": "keys"}, "data": {"token": "dG9rZW4="}}
        await sidecar.client.create(bundle(pod, config_maps=[settings], secrets=[keys]))
        status = await sidecar.until_state(pod, "completed")
        assert [exit_code(status, index) for index in (0, 1)] == [0, 0]
        assert status.init_containers[0].state.terminated is not None
        assert await sidecar.read_log(pod) == "init\nà\ntoken"

    async def test_followed_log(self, sidecar: SidecarProcess) -> None:
        pod = make_pod("for i in 1 2 3; do echo $i; sleep 0.4; done")
        await sidecar.client.create(bundle(pod))
        await sidecar.until_state(pod, "running", "stopping", "completed")
        assert (await sidecar.read_log(pod, follow=True)).endswith("1\n2\n3\n")
        assert await sidecar.read_log(pod, tail=1) == "3\n"
        assert await sidecar.read_log(pod, limit_bytes=3) == "1\n2"

    async def test_cancel(self, sidecar: SidecarProcess) -> None:
        pod = make_pod("trap 'echo bye; exit 0' TERM; echo up; sleep 300 & wait")
        await sidecar.client.create(bundle(pod))
        await self._until_log(sidecar, pod, "up")
        await sidecar.client.delete(pod)
        await sidecar.client.delete(pod)
        status = await sidecar.until_state(pod, "cancelled")
        assert exit_code(status) == 143
        assert "bye" in await sidecar.read_log(pod)
        async with refused("Gone"):
            await sidecar.client.create(bundle(pod))
        assert await self.jobs_ever(sidecar, pod) == 1

    async def test_stubborn_job_is_killed(self, sidecar: SidecarProcess) -> None:
        pod = make_pod(
            "trap '' TERM; echo up; sleep 301", terminationGracePeriodSeconds=1
        )
        await sidecar.client.create(bundle(pod))
        await self._until_log(sidecar, pod, "up")
        await sidecar.client.delete(pod)
        status = await sidecar.until_state(pod, "cancelled")
        assert exit_code(status) == 137
        assert not _running("sleep", "301")

    # --- the queue -------------------------------------------------------------------

    async def test_boards_are_waited_for(self, sidecar: SidecarProcess) -> None:
        first, second = make_pod("sleep 302", boards=2), make_pod("exit 0", boards=1)
        await sidecar.client.create(bundle(first))
        await sidecar.until_state(first, "running")
        await sidecar.client.create(bundle(second))
        status = await sidecar.until(
            second,
            lambda s: s.queue is not None and s.queue.reason == self.waiting_reason,
        )
        waiting = status.containers[0].state.waiting
        assert waiting is not None
        assert "1 x U55C asked, 0 of 2 free" in waiting.message
        assert (await sidecar.client.ping()).queue is not None
        assert await self._used(sidecar) == 2
        await sidecar.client.delete(first)
        await sidecar.until_state(second, "completed")
        await sidecar.until_state(first, "cancelled")
        assert await self._used(sidecar) == 0

    async def test_cancel_in_the_queue(self, sidecar: SidecarProcess) -> None:
        first, second = make_pod("sleep 303", boards=2), make_pod("exit 0", boards=1)
        await sidecar.client.create(bundle(first))
        await sidecar.client.create(bundle(second))
        await sidecar.until_state(second, "queued")
        await sidecar.client.delete(second)
        status = await sidecar.until_state(second, "cancelled")
        assert exit_code(status) == 143
        await sidecar.client.delete(first)
        await sidecar.until_state(first, "cancelled")

    # --- refusals --------------------------------------------------------------------

    async def test_refusals(self, sidecar: SidecarProcess) -> None:
        async with refused("UnknownImage"):
            await sidecar.client.create(bundle(make_pod(image="nowhere")))
        volumes = [{"name": "home", "persistentVolumeClaim": {"claimName": "x"}}]
        async with refused("UnsupportedVolume"):
            await sidecar.client.create(bundle(make_pod(volumes=volumes)))
        bob = make_pod()
        bob["metadata"]["annotations"][names.HUB_USERNAME] = "bob"
        await sidecar.client.create(bundle(make_pod()))
        async with refused("AccountNotShared"):
            await sidecar.client.create(bundle(bob))

    async def test_impossible_job(self, sidecar: SidecarProcess) -> None:
        pod = make_pod(boards=3)
        async with refused("NotEnoughAccelerators", "SubmitFailed"):
            await sidecar.client.create(bundle(pod))
        assert (await sidecar.status(pod)).containers == []

    # --- exactly one job -------------------------------------------------------------

    async def test_repeated_create_is_one_job(self, sidecar: SidecarProcess) -> None:
        pod = make_pod("sleep 1")
        answers = await asyncio.gather(
            *(sidecar.client.create(bundle(pod)) for _ in range(8))
        )
        assert len({answer.pod_jid for answer in answers}) == 1
        await sidecar.until_state(pod, "completed")
        again = await sidecar.client.create(bundle(pod))
        assert again.pod_jid == answers[0].pod_jid
        assert await self.jobs_ever(sidecar, pod) == 1

    async def test_deleted_before_created(self, sidecar: SidecarProcess) -> None:
        pod = make_pod()
        await sidecar.client.delete(pod)
        async with refused("Gone"):
            await sidecar.client.create(bundle(pod))
        await sidecar.until_state(pod, "cancelled")
        assert await self.jobs_ever(sidecar, pod) == 0

    async def test_killed_while_running(self, sidecar: SidecarProcess) -> None:
        pod = make_pod("echo $$; sleep 2; echo end")
        created = await sidecar.client.create(bundle(pod))
        await self._until_log(sidecar, pod, "\n")
        await sidecar.restart()
        assert (await sidecar.status(pod)).jid == created.pod_jid
        await sidecar.until_state(pod, "completed")
        pid, end = (await sidecar.read_log(pod)).split()
        assert pid.isdecimal()
        assert end == "end"
        assert await self.jobs_ever(sidecar, pod) == 1

    async def test_killed_while_queued_and_deleting(
        self, sidecar: SidecarProcess
    ) -> None:
        first, second = make_pod("sleep 304", boards=2), make_pod(boards=1)
        await sidecar.client.create(bundle(first))
        await sidecar.client.create(bundle(second))
        await sidecar.until_state(second, "queued")
        await sidecar.restart()
        await sidecar.until_state(second, "queued")
        await sidecar.client.delete(first)
        await sidecar.restart()
        await sidecar.until_state(first, "cancelled")
        await sidecar.until_state(second, "completed")
        assert await self.jobs_ever(sidecar, first) == 1
        assert await self.jobs_ever(sidecar, second) == 1

    async def test_killed_at_any_moment(self, sidecar: SidecarProcess) -> None:
        """Ten rounds: killed while submitting, then while deleting."""
        chance = random.Random(20240717)  # noqa: S311 - a seed, not a secret
        for _ in range(10):
            runs = sidecar.directory / f"runs-{uuid.uuid4()}"
            pod = make_pod(f"echo ran | tee -a {runs}; sleep 305")
            creating = asyncio.create_task(sidecar.client.create(bundle(pod)))
            await asyncio.sleep(chance.uniform(0, 0.15))
            await sidecar.kill()
            await asyncio.gather(creating, return_exceptions=True)
            await sidecar.start()
            await sidecar.create(pod)
            await self._until_log(sidecar, pod, "ran\n")
            deleting = asyncio.create_task(sidecar.client.delete(pod))
            await asyncio.sleep(chance.uniform(0, 0.15))
            await sidecar.kill()
            await asyncio.gather(deleting, return_exceptions=True)
            await sidecar.start()
            await sidecar.client.delete(pod)
            await sidecar.until_state(pod, "cancelled")
            assert runs.read_text() == "ran\n"
            assert await self.jobs_ever(sidecar, pod) == 1
        assert not _running("sleep", "305")

    async def _until_log(self, sidecar: SidecarProcess, pod: JSON, text: str) -> None:
        async with asyncio.timeout(30):
            while text not in await sidecar.read_log(pod):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def _used(self, sidecar: SidecarProcess) -> int | None:
        """Boards in use, once the inventory has been refreshed."""
        seen = (await sidecar.client.ping()).observed_at
        async with asyncio.timeout(10):
            while (  # noqa: ASYNC110
                ping := await sidecar.client.ping()
            ).observed_at == seen:
                await asyncio.sleep(0.05)
        (used,) = [a.used for a in ping.resources.accelerators if a.model == "u55c"]
        return used


def _running(*argv: str) -> bool:
    """Whether a process with exactly this command line is alive."""
    wanted = b"".join(word.encode() + b"\0" for word in argv)
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if entry.read_bytes() == wanted:
                return True
    return False
