"""The tests that every backend inherits."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from interlink_sidecars.api import names
from interlink_sidecars.api.errors import ApiError
from interlink_sidecars.api.kubernetes import JSON

from .pods import bundle, exit_code, make_pod
from .process import SidecarProcess


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
        pod = make_pod(volumes=volumes)
        mount = {"name": "home", "mountPath": "/home"}
        pod["spec"]["containers"][0]["volumeMounts"] = [mount]
        async with refused("UnsupportedVolume"):
            await sidecar.client.create(bundle(pod))
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
