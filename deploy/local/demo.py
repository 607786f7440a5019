"""``make demo``: the whole installation on a terminal, until Ctrl-C.

Owns what people read: a line for each part that serves, the URL and the login, a line
for each noteworthy event, and the end. Must not know how the parts are run.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from . import cache, components, environments, leftovers, slurm, state
from .bootstrap import SetupError
from .cluster import NAMESPACE, ClusterError
from .processes import ProcessError
from .stack import Stack

_LOOK_SECONDS = 1.0


def run(public: int) -> int:
    """Run the demo on a public port; the exit code of the command."""
    made = environments.everything(environments.tools())
    components.programs(cache.directory())
    try:
        return asyncio.run(_run(made, public))
    except (ProcessError, ClusterError) as error:
        raise SetupError(str(error)) from error


async def _run(made: environments.Environments, public: int) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    directory = state.directory()
    stack = Stack(
        directory, made, slurm=await slurm.found(directory / "slurm"), port=public
    )
    begun = time.monotonic()
    starting = asyncio.create_task(stack.start(_report))
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})
        return _ended(directory)
    await starting
    try:
        _welcome(stack, time.monotonic() - begun)
        async with asyncio.TaskGroup() as tasks:
            watching = [
                tasks.create_task(_watch_daemons(stack)),
                tasks.create_task(_watch_events(stack)),
            ]
            await waiting
            for task in watching:
                task.cancel()
    finally:
        _say("Stopping: servers are deleted and their jobs ended first.")
        await stack.stop()
    return _ended(directory)


def _report(name: str, seconds: float) -> None:
    _say(f"{name:<14} ready in {seconds:.1f} s")


def _welcome(stack: Stack, seconds: float) -> None:
    if stack.slurm is None:
        _say(
            "There is no Slurm here; on Debian, as root, `make demo SLURM=1` adds a "
            "node that runs on a real one."
        )
    _say(f"Everything serves after {seconds:.0f} s. Logs: {stack.directory / 'logs'}")
    _say(f"KUBECONFIG={stack.cluster.kubeconfig('admin')} kubectl get nodes")
    print(
        f"\n    {stack.url}\n    any user name, password {stack.password}\n\n"
        "Ctrl-C stops everything.\n",
        flush=True,
    )


def _ended(directory: Path) -> int:
    left = leftovers.find(directory)
    if left:
        _say(f"Still running after all: processes {', '.join(map(str, left))}.")
        return 1
    _say("Everything has stopped.")
    return 0


async def _watch_daemons(stack: Stack) -> None:
    """Say when a daemon ends by itself; the others go on."""
    told: set[str] = set()
    while True:
        for name, daemon in stack.components.items():
            if not daemon.running and name not in told:
                told.add(name)
                code = daemon.process.returncode
                _say(f"{name} ended with code {code}: see {daemon.process.log}")
        await asyncio.sleep(_LOOK_SECONDS)


async def _watch_events(stack: Stack) -> None:
    """Say what Kubernetes says about the servers' pods, each thing once."""
    kubectl = await asyncio.create_subprocess_exec(
        *("kubectl", "get", "events", "--watch-only", f"--namespace={NAMESPACE}"),
        r'--output=jsonpath={.involvedObject.name}{": "}{.message}{"\n"}',
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "KUBECONFIG": str(stack.cluster.kubeconfig("hub"))},
    )
    assert kubectl.stdout
    said: set[bytes] = set()
    try:
        async for line in kubectl.stdout:
            if line not in said:
                said.add(line)
                _say(line.decode().strip())
    finally:
        kubectl.kill()
        await kubectl.wait()


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
