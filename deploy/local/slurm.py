"""A one-node Slurm with two A100 and two U55C, private to one directory.

Owns its configuration, its three daemons and the search for a Slurm that is there
already. Runs with the rights of whoever starts it: as root for every account of the
machine, as anybody else for that user's own jobs only. Must not touch the machine's
own Slurm (other ports, other munge key) and knows nothing of pods.
Source: Debian's slurm-wlm 22.05, slurm.conf(5), gres.conf(5), munged(8).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import secrets
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from . import leftovers
from .processes import Probe, Process, ProcessError, free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEVICES = {"gpu": ("a100", "nvidia"), "fpga": ("u55c", "xclmgmt")}
DEVICES_PER_MODEL = 2
# More than a laptop has, so that several notebooks run at once; nothing enforces it.
CPUS = 16
MEMORY_MB = 64_000


@dataclass(frozen=True)
class Ports:
    """Where the two Slurm daemons listen."""

    slurmctld: int
    slurmd: int


def slurm_conf(directory: Path, user: str, ports: Ports) -> str:
    """slurm.conf(5) of the private node, owned by ``user``.

    The scheduler looks at the queue after 1-2 s instead of the usual minute, and
    finished jobs stay visible for a minute; the completion log keeps them for ever.
    """
    gres = ",".join(
        f"{kind}:{model}:{DEVICES_PER_MODEL}" for kind, (model, _) in DEVICES.items()
    )
    return f"""\
ClusterName=interlinkspawner
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports.slurmctld}
SlurmdPort={ports.slurmd}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={directory}/munge/socket
CredType=cred/munge
StateSaveLocation={directory}/slurmctld
SlurmdSpoolDir={directory}/slurmd
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={directory}/jobcomp.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=256
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=60
KillWait=5
JobRequeue=0
GresTypes={",".join(DEVICES)}
NodeName=localhost NodeAddr=127.0.0.1 CPUs={CPUS} RealMemory={MEMORY_MB} Gres={gres}
PartitionName=main Nodes=localhost Default=YES MaxTime=1-00:00:00 State=UP
"""


def gres_conf(directory: Path) -> str:
    """gres.conf(5): plain files stand for the devices."""
    lines = ["AutoDetect=off"]
    lines += [
        f"Name={kind} Type={model} "
        f"File={directory}/devices/{device}[0-{DEVICES_PER_MODEL - 1}]"
        for kind, (model, device) in DEVICES.items()
    ]
    return "\n".join(lines) + "\n"


def installed() -> bool:
    """Whether Slurm's commands and daemons are on this machine."""
    return all(shutil.which(program, path=search_path()) for program in PROGRAMS)


def search_path() -> str:
    """The PATH and the directories where Debian puts daemons."""
    return f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"


class Slurm:
    """The machine's own Slurm: it runs already, so there is nothing to start.

    Attributes:
        env: what a client needs beside the PATH to reach this Slurm and no other.
        processes: the daemons that are ours, by name.
    """

    env: Mapping[str, str]
    processes: Mapping[str, Process]

    def __init__(self) -> None:
        self.env = {
            name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ
        }
        self.processes = {}

    async def start(self) -> None:
        """Start the daemons that are ours."""

    async def stop(self) -> None:
        """Stop the daemons that are ours; jobs of others are not touched."""


async def found(directory: Path) -> Slurm | None:
    """The machine's Slurm if it will do, a private one in ``directory``, or None."""
    if await _serves_here():
        return Slurm()
    return PrivateSlurm(directory) if installed() else None


async def _serves_here() -> bool:
    """Whether a Slurm of the machine answers and all of its nodes are this machine.

    The demo's tunnel listens on the loopback address, which jobs on other hosts
    cannot reach.
    """
    if shutil.which("sinfo") is None:
        return False
    nodes = await _output("sinfo", "--noheader", "--format=%n", env=os.environ)
    here = {"localhost", socket.gethostname(), socket.gethostname().split(".")[0]}
    return bool(nodes.split()) and set(nodes.split()) <= here


class PrivateSlurm(Slurm):
    """A Slurm in a directory of its own; start and stop may be called again."""

    def __init__(self, directory: Path) -> None:
        if len(str(directory)) > 80:  # sun_path is 108 bytes
            raise ProcessError(f"The path {directory} is too long for Slurm's sockets.")
        self.directory = directory
        self.ports = Ports(free_port(), free_port())
        self.env = {"SLURM_CONF": str(directory / "slurm.conf"), "PATH": search_path()}
        self.processes = {
            "munged": self._process("munged", *self._munged_options()),
            "slurmctld": self._process("slurmctld", "-D"),
            "slurmd": self._process("slurmd", "-D", "-N", "localhost"),
        }

    @property
    def completion_log(self) -> Path:
        """One line for each job that ended, whoever submitted it."""
        return self.directory / "jobcomp.log"

    @override
    async def start(self) -> None:
        """Write the configuration and start the daemons until the node is idle."""
        self._write()
        probes: dict[str, Probe] = {
            "munged": self._munged_answers,
            "slurmctld": self._controller_answers,
            "slurmd": self._node_usable,
        }
        for name, process in self.processes.items():
            if not process.running:
                process.start()
                await process.ready(probes[name])

    @override
    async def stop(self) -> None:
        """Cancel every job, wait for its end, and stop the daemons."""
        if self.processes["slurmctld"].running:
            await self.cancel_all()
        for process in reversed(list(self.processes.values())):
            await process.stop()
        leftovers.end(self.directory)  # steps outlive their slurmd

    async def cancel_all(self, timeout: float = 15) -> None:
        """Cancel every job and wait ``timeout`` seconds at most until none is left."""
        await self.run("scancel", "--partition=main")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while await self.run("squeue", "--noheader"):  # noqa: ASYNC110
                    await asyncio.sleep(0.2)

    async def run(self, *argv: str) -> str:
        """The output of a Slurm command of this Slurm; empty when it fails."""
        return await _output(*argv, env={**os.environ, **self.env})

    def _process(self, program: str, *options: str) -> Process:
        path = shutil.which(program, path=search_path()) or program
        return Process(
            name=program,
            argv=[path, *options],
            log=self.directory / f"{program}.log",
            env={**os.environ, **self.env},
            cwd=self.directory,
        )

    def _munged_options(self) -> list[str]:
        munge = self.directory / "munge"
        # Everybody must be able to reach its socket, unless it is for one user only,
        # whose home directory may be closed to others.
        only_mine = ["--force"] if os.geteuid() else []
        return [
            *only_mine,
            "--foreground",
            f"--key-file={munge}/key",
            f"--socket={munge}/socket",
            f"--pid-file={munge}/pid",
            f"--seed-file={munge}/seed",
        ]

    def _write(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        # munged wants a world-searchable directory; jobs read slurm.conf as users.
        self.directory.chmod(0o755)
        for part in ("munge", "slurmctld", "slurmd", "devices"):
            (self.directory / part).mkdir(exist_ok=True)
        (self.directory / "munge").chmod(0o755)
        for _, device in DEVICES.values():
            for index in range(DEVICES_PER_MODEL):
                (self.directory / "devices" / f"{device}{index}").touch()
        key = self.directory / "munge" / "key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_bytes(secrets.token_bytes(128))
        configuration = slurm_conf(self.directory, _me(), self.ports)
        (self.directory / "slurm.conf").write_text(configuration)
        (self.directory / "gres.conf").write_text(gres_conf(self.directory))

    async def _munged_answers(self, _: Process) -> bool:
        socket_option = f"--socket={self.directory}/munge/socket"
        return bool(await self.run("munge", "--no-input", socket_option))

    async def _controller_answers(self, _: Process) -> bool:
        return "UP" in await self.run("scontrol", "ping")

    async def _node_usable(self, _: Process) -> bool:
        state = await self.run("sinfo", "--noheader", "--format=%T")
        return state.strip() in {"idle", "mixed", "allocated"}


def _me() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


async def _output(*argv: str, env: Mapping[str, str]) -> str:
    """Standard output of a command, empty when it fails or takes over 10 s."""
    path = shutil.which(argv[0], path=env.get("PATH")) or argv[0]
    process = await asyncio.create_subprocess_exec(
        path,
        *argv[1:],
        env=dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(10):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return ""
    return output.decode() if process.returncode == 0 else ""
