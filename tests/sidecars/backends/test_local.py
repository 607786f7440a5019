"""The local backend: the whole contract, and what only it promises."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from traitlets.config import Config

from interlink_sidecars.api.kubernetes import JSON
from interlink_sidecars.backend import Job
from interlink_sidecars.backends import supervisor
from interlink_sidecars.backends.local import LocalBackend
from interlink_sidecars.job import job_spec, read_pod
from interlink_sidecars.runtimes.process import ProcessRuntime
from interlink_sidecars.testing import (
    FPGA,
    BackendContract,
    SidecarProcess,
    bundle,
    exit_code,
    make_pod,
)

BOARDS = [{"resource_type": FPGA, "model": "u55c", "total": 2}]


@pytest.fixture
async def sidecar() -> AsyncIterator[SidecarProcess]:
    directory = Path(tempfile.mkdtemp(prefix="sidecar-"))  # a socket's path is short
    config = {"LocalBackend": {"accelerators": BOARDS, "memory": "4Gi"}}
    sidecar = SidecarProcess(directory, ["--backend=local"], config)
    await sidecar.start()
    yield sidecar
    await sidecar.stop()
    await sidecar.client.close()
    shutil.rmtree(directory)


class TestLocalBackend(BackendContract):
    async def jobs_ever(self, sidecar: SidecarProcess, pod: JSON) -> int:
        """One at most: there is one place in the queue for each directory."""
        directory = sidecar.state_dir / "jobs" / pod["metadata"]["uid"]
        return int((directory / "queued").exists())

    async def test_walltime(self, sidecar: SidecarProcess) -> None:
        pod = make_pod("trap 'exit 0' TERM; sleep 306 & wait", activeDeadlineSeconds=2)
        await sidecar.client.create(bundle(pod))
        running = await sidecar.until_state(pod, "running")
        assert running.queue is not None
        assert running.queue.started_at
        assert running.queue.deadline
        assert (running.queue.deadline - running.queue.started_at).seconds == 2
        status = await sidecar.until_state(pod, "timeout")
        assert exit_code(status) == 124

    @pytest.mark.parametrize("mark", ["claim", "status/main.started"])
    async def test_a_spoilt_mark_affects_one_job(
        self, sidecar: SidecarProcess, mark: str
    ) -> None:
        pod, other = make_pod("sleep 308"), make_pod("true")
        await sidecar.client.create(bundle(pod))
        await sidecar.until_state(pod, "running")
        path = sidecar.state_dir / "jobs" / pod["metadata"]["uid"] / mark
        kept = path.read_bytes()
        path.unlink()
        path.mkdir()
        await sidecar.client.create(bundle(other))
        await sidecar.until_state(other, "completed")
        await sidecar.until_state(pod, "running")
        path.rmdir()
        path.write_bytes(kept)
        await sidecar.client.delete(pod)
        await sidecar.until_state(pod, "cancelled")

    async def test_nothing_of_a_job_is_left(self, sidecar: SidecarProcess) -> None:
        pod = make_pod("setsid sleep 307 & disown; nohup sleep 307 & echo $!")
        await sidecar.client.create(bundle(pod))
        await sidecar.until_state(pod, "completed")
        pid = (await sidecar.read_log(pod)).strip()
        assert not Path(f"/proc/{pid}").exists()

    async def test_secrets_are_private_and_removed(
        self, sidecar: SidecarProcess
    ) -> None:
        pod = make_pod("umask; sleep 1")
        pod["spec"]["containers"][0]["env"] = [{"name": "TOKEN", "value": "s3cret"}]
        await sidecar.client.create(bundle(pod))
        directory = sidecar.state_dir / "jobs" / pod["metadata"]["uid"]
        assert (directory / "run" / "main.sh").stat().st_mode & 0o777 == 0o600
        assert directory.stat().st_mode & 0o777 == 0o700
        await sidecar.until_state(pod, "completed")
        await sidecar.until(pod, lambda _: not (directory / "run").exists())
        assert "s3cret" not in sidecar.log()
        database = (sidecar.state_dir / "jobs.sqlite").read_bytes()
        assert b"s3cret" not in database


async def test_a_job_that_does_not_start_waits_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config({"ProcessRuntime": {"images": {"host": ""}}})
    backend = LocalBackend(ProcessRuntime(config=config), tmp_path, config=config)
    jobs = []
    for document in (make_pod(), make_pod()):
        pod = read_pod(document)
        await backend.stage(job_spec(pod), pod, bundle(document))
        jobs.append(Job(job_spec(pod), await backend.submit(job_spec(pod))))
    real = supervisor.__file__
    monkeypatch.setattr(supervisor, "__file__", str(tmp_path / "absent"))
    seen = await backend.poll(jobs)
    assert [s.queue.state for s in seen.values()] == ["queued", "queued"]  # type: ignore[union-attr]
    monkeypatch.setattr(supervisor, "__file__", real)
    seen = await backend.poll(jobs)
    assert "queued" not in [s.queue.state for s in seen.values()]  # type: ignore[union-attr]


def test_a_supervisor_that_claims_nothing_has_failed(tmp_path: Path) -> None:
    argv = [sys.executable, "-I", supervisor.__file__, str(tmp_path / "absent")]
    result = subprocess.run([*argv, "1", "1"], check=False, capture_output=True)
    assert result.returncode == 1
    assert b"FileNotFoundError" in result.stderr
