"""The scripts of a job: golden texts, and bash's own opinion of hostile values."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlink_sidecars.api.errors import InvalidRequestError
from interlink_sidecars.backends.supervisor import start_time
from interlink_sidecars.job import ContainerName, JobSpec
from interlink_sidecars.runtimes.base import Command
from interlink_sidecars.script import container_script, job_files, job_script
from interlink_sidecars.staging import JobDirectory

SPEC = JobSpec(
    uid="0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
    namespace="jupyter",
    name="jupyter-alice",
    containers=(
        ContainerName(name="fetch", init=True),
        ContainerName(name="notebook"),
        ContainerName(name="proxy"),
    ),
)
HOSTILE = 'it\'s "here" $(id) `id` \\ $HOME *\n\ttwo ü \N{SNAKE} ; exit 9 #'


def test_golden(golden: Callable[[str, Any], None]) -> None:
    golden("sidecars/job.sh", job_script(SPEC, Path("/state dir/jobs/0f1e"), 25))
    command = Command(
        argv=["jupyterhub-singleuser", "--ip=127.0.0.1", HOSTILE],
        env={"TOKEN": HOSTILE, "my.var": "x", "SECONDS": "y", "EMPTY": ""},
        path=["/opt/lab/bin"],
        cwd="/scratch/alice's",
    )
    golden("sidecars/container.sh", container_script("notebook", command))


def test_values_that_no_process_can_be_given() -> None:
    for command in (
        Command(argv=["a\0b"]),
        Command(argv=["a"], env={"X": "\0"}),
        Command(argv=["\ud800"]),
    ):
        with pytest.raises(InvalidRequestError, match="notebook"):
            job_files(SPEC, Path("/x"), {"notebook": command}, 1)


text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
variable = st.from_regex(r"X_[A-Za-z0-9_]{0,8}", fullmatch=True)
DUMP = "import json,os,sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"


@settings(max_examples=60, deadline=None)
@given(st.lists(text, max_size=4), st.dictionaries(variable, text, max_size=4))
def test_bash_hands_on_every_byte(args: list[str], env: dict[str, str]) -> None:
    command = Command(argv=[sys.executable, "-c", DUMP, *args], env=env, cwd="/")
    with tempfile.NamedTemporaryFile() as script:
        Path(script.name).write_text(container_script("c", command), newline="")
        result = subprocess.run(
            ["bash", script.name], check=True, capture_output=True, timeout=30
        )
    assert result.stderr == b""
    got_args, got_env = json.loads(result.stdout)
    assert got_args == args
    assert {name: got_env[name] for name in env} == env


@asynccontextmanager
async def job(
    directory: Path, grace: int = 5, **scripts: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """``job.sh`` in a session of its own, with these scripts as containers."""
    commands = {name: Command(["bash", "-c", text]) for name, text in scripts.items()}
    spec = SPEC.model_copy(
        update={
            "containers": tuple(
                ContainerName(name=name, init=name.startswith("init"))
                for name in scripts
            )
        }
    )
    staged = JobDirectory(directory / "job")
    staged.write(job_files(spec, staged.path, commands, grace), ["logs", "status"])
    process = await asyncio.create_subprocess_exec(
        "bash", str(staged.path / "job.sh"), start_new_session=True
    )
    yield process
    await process.wait()


def told(directory: Path) -> dict[str, str]:
    """The marks without their times."""
    return {
        path.name: path.read_text().split()[0]
        for path in (directory / "job" / "status").iterdir()
        if path.is_file() and not path.name.endswith(".started")
    }


def logged(directory: Path, name: str) -> str:
    return (directory / "job" / "logs" / f"{name}.log").read_text()


async def until(directory: Path, name: str, line: str) -> None:
    path = directory / "job" / "logs" / f"{name}.log"
    async with asyncio.timeout(10):
        while not path.exists() or line not in path.read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_init_containers_come_first(tmp_path: Path) -> None:
    scripts = {"init-a": f"echo a >>{tmp_path}/x", "init-b": f"echo b >>{tmp_path}/x"}
    async with job(tmp_path, **scripts, main=f"cat {tmp_path}/x; exit 3", side="true"):
        pass
    assert logged(tmp_path, "main") == "a\nb\n"
    ends = {"init-a.exit": "0", "init-b.exit": "0", "main.exit": "3", "side.exit": "0"}
    assert told(tmp_path) == {**ends, "exit": "3"}


async def test_a_failed_init_container_is_the_end(tmp_path: Path) -> None:
    async with job(tmp_path, **{"init-a": "exit 4"}, main="true") as process:
        assert await process.wait() == 4
    assert told(tmp_path) == {"init-a.exit": "4", "exit": "4"}


async def test_term_reaches_the_group_and_kill_follows(tmp_path: Path) -> None:
    obeys = "trap 'echo bye; exit 5' TERM; echo up; sleep 60 & wait"
    resists = "trap '' TERM; echo up; sleep 61"
    async with job(tmp_path, grace=1, a=obeys, b=resists) as process:
        await until(tmp_path, "a", "up")
        await until(tmp_path, "b", "up")
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 137
    assert "bye" in logged(tmp_path, "a")
    ends = {"a.exit": "5", "b.exit": "137"}
    assert told(tmp_path) == {**ends, "stopped": "cancelled", "exit": "137"}


async def test_usr1_is_the_end_of_the_walltime(tmp_path: Path) -> None:
    script = "trap 'exit 0' TERM; echo up; sleep 60 & wait"
    async with job(tmp_path, main=script) as process:
        await until(tmp_path, "main", "up")
        process.send_signal(signal.SIGUSR1)
        assert await process.wait() == 124
    expected = {"main.exit": "0", "stopped": "timeout", "exit": "124"}
    assert told(tmp_path) == expected


async def test_what_a_container_leaves_ends_with_it(tmp_path: Path) -> None:
    async with job(tmp_path, main="sleep 62 & echo $!"):
        pass
    assert start_time(int(logged(tmp_path, "main"))) is None


async def test_a_second_job_of_the_same_pod_runs_nothing_and_fails(
    tmp_path: Path,
) -> None:
    async with job(tmp_path, main=f"echo ran >>{tmp_path}/runs"):
        pass
    script = tmp_path / "job" / "job.sh"
    again = await asyncio.create_subprocess_exec(
        "bash", str(script), stderr=asyncio.subprocess.DEVNULL
    )
    assert await again.wait() == 1
    assert (tmp_path / "runs").read_text() == "ran\n"


async def test_command_that_is_not_there(tmp_path: Path) -> None:
    staged = JobDirectory(tmp_path / "job")
    spec = SPEC.model_copy(update={"containers": (ContainerName(name="c"),)})
    files = job_files(spec, staged.path, {"c": Command(["no-such-command"])}, 1)
    staged.write(files, ["logs", "status"])
    process = await asyncio.create_subprocess_exec("bash", str(staged.path / "job.sh"))
    assert await process.wait() == 127
    assert "no-such-command" in logged(tmp_path, "c")
