"""Child processes that are ready when they say so and never outlive their parent.

Owns starting, probing, stopping and crashing one program, its log file and its port.
Must not know what the program is: argv, environment and probe come from the caller.
Linux only: it waits for the end of a process by a pidfd, so that a `Process` belongs
to no event loop and one started by a session's fixture may be used by every test.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pwd
import random
import signal
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

POLL_SECONDS = 0.05
TAIL_LINES = 15
# Below the range from which Linux takes the ports of outgoing connections, which
# could otherwise take a chosen port before its server listens.
PORTS = range(20000, 32768)

_given: set[int] = set()


class ProcessError(Exception):
    """A process that did not start, with a sentence and the end of its log."""


class PortBusyError(ProcessError):
    """Somebody else listens on the port that was asked for."""


@dataclass
class Process:
    """One program under supervision, in its own session and process group.

    Attributes:
        name: what people call it in messages, e.g. ``kube-apiserver``.
        argv: program and arguments.
        log: file that gets stdout and stderr; appended to by every start.
        env: the whole environment, the parent's when None.
        cwd: working directory, the parent's when None.
        user: account to run as where the parent is root; anybody else runs
            everything as himself.
    """

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    user: str | None = None
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _groups: list[_Group] = field(default_factory=list, init=False, repr=False)
    _log_start: int = field(default=0, init=False, repr=False)

    @property
    def pid(self) -> int | None:
        """Process id of the last start, None before the first."""
        return self._child.pid if self._child else None

    @property
    def returncode(self) -> int | None:
        """Exit code, minus the signal if one ended it; None while it runs."""
        return self._child.poll() if self._child else None

    @property
    def running(self) -> bool:
        """Whether the process itself is alive, whatever became of its children."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start the program; raises ProcessError if it cannot even be executed.

        What an earlier life left in its process group (after `kill`) goes on.
        """
        if self.running:
            raise ProcessError(f"{self.name} is already running as pid {self.pid}.")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._log_start = os.fstat(descriptor).st_size
            self._child = self._spawn(descriptor)
        except OSError as error:
            raise ProcessError(
                f"{self.name} cannot be started: {error.strerror}: {error.filename}"
            ) from error
        finally:
            os.close(descriptor)
        self._groups = [group for group in self._groups if group.alive()]
        self._groups.append(_Group.guarded(self._child.pid))

    async def ready(self, probe: Probe, *, timeout: float = 30) -> None:
        """Wait until the probe is true.

        Raises ProcessError with the tail of the log when the process ends first
        or ``timeout`` seconds pass.
        """
        try:
            async with asyncio.timeout(timeout):
                while self.running:
                    if await probe(self):
                        return
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise ProcessError(
                f"{self.name} was not ready after {timeout:g} s.{self._tail()}"
            ) from None
        raise ProcessError(
            f"{self.name} ended with code {self.returncode} before it was ready."
            f"{self._tail()}"
        )

    async def wait(self) -> int:
        """Wait for the end of the process itself and return its exit code."""
        assert self._child is not None, f"{self.name} was never started"
        if self._child.poll() is None:
            async with _ended(self._child.pid) as ended:
                await ended.wait()
        return self._child.wait()

    async def stop(self, grace: float = 10) -> None:
        """SIGTERM, and after ``grace`` seconds SIGKILL, to the whole group.

        Whatever is left of the group when the process itself has ended is killed.
        May be called again, and for a process that was never started.
        """
        for group in self._groups:
            group.signal(signal.SIGTERM)
        if self.running:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self.wait()
        for group in self._groups:
            group.close()
        self._groups.clear()
        if self._child:
            await self.wait()

    async def kill(self) -> None:
        """Crash the process itself by SIGKILL; its children go on until `stop`."""
        if self.running:
            assert self._child is not None
            self._child.kill()
            await self.wait()

    async def restart(self, grace: float = 10) -> None:
        """Stop it with all its children, and start it again."""
        await self.stop(grace)
        self.start()

    def logged_bytes(self) -> bytes:
        """What the process has written since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read()

    def _spawn(self, log: int) -> subprocess.Popen[bytes]:
        env = dict(os.environ if self.env is None else self.env)
        account = self._account()
        if account:
            env |= {
                "HOME": account.pw_dir,
                "USER": account.pw_name,
                "LOGNAME": account.pw_name,
            }
        return subprocess.Popen(
            list(self.argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.cwd,
            env=env,
            start_new_session=True,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=(
                os.getgrouplist(account.pw_name, account.pw_gid) if account else None
            ),
        )

    def _account(self) -> pwd.struct_passwd | None:
        """The account to change to, None where there is nothing to change."""
        if self.user is None or os.geteuid() != 0:
            return None
        try:
            return pwd.getpwnam(self.user)
        except KeyError:
            raise ProcessError(
                f"{self.name} cannot be started: there is no user {self.user!r}."
            ) from None

    def _tail(self) -> str:
        lines = self.logged_bytes().decode(errors="replace").splitlines()
        if not lines:
            return f" It wrote nothing to {self.log}."
        return f" The end of {self.log}:\n" + "\n".join(lines[-TAIL_LINES:])


@dataclass
class _Group:
    """A process group, and a guard that kills it if this program just disappears.

    The guard is a shell that reads a pipe whose other end only this program holds:
    it wakes up when that end is closed, however this program ended. Linux' own
    PR_SET_PDEATHSIG would reach the process but none of its children, and is
    forgotten when the process changes its user.
    """

    leader: int
    guard: subprocess.Popen[bytes]

    @classmethod
    def guarded(cls, leader: int) -> _Group:
        guard = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _; kill -s KILL -- "-$0"', str(leader)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return cls(leader, guard)

    def alive(self) -> bool:
        """Whether the group has members; closes it when it has none."""
        try:
            os.killpg(self.leader, 0)
        except ProcessLookupError:
            self.close()
            return False
        return True

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.leader, number)

    def close(self) -> None:
        """Kill what is left of the group, and let the guard go."""
        self.signal(signal.SIGKILL)
        self.guard.kill()
        self.guard.communicate()


@contextlib.asynccontextmanager
async def _ended(pid: int) -> AsyncIterator[asyncio.Event]:
    """An event of the running loop that is set when the process ends."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    descriptor = os.pidfd_open(pid)
    try:
        loop.add_reader(descriptor, event.set)
        yield event
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


Probe = Callable[[Process], Awaitable[bool]]
"""Tells whether a running process serves yet; asked every `POLL_SECONDS`."""


def listening(port: int, host: str = "127.0.0.1") -> Probe:
    """The process accepts TCP connections."""

    async def probe(_process: Process) -> bool:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    return probe


def answering(url: str, *, tls: ssl.SSLContext | None = None) -> Probe:
    """The process answers a GET with status 200."""

    async def probe(_process: Process) -> bool:
        client = AsyncHTTPClient(force_instance=True)
        try:
            request = HTTPRequest(url, ssl_options=tls, request_timeout=2)
            return (await client.fetch(request)).code == 200
        except (HTTPClientError, OSError):
            return False
        finally:
            client.close()

    return probe


def logged(text: str) -> Probe:
    """The process has written ``text`` to its log since its last start."""

    async def probe(process: Process) -> bool:
        return text.encode() in process.logged_bytes()

    return probe


def hold(path: Path, taken: str) -> TextIO:
    """Hold a lock file until it is closed or this program ends, however it ends.

    Raises ProcessError with the sentence ``taken`` when somebody else holds it.
    """
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise ProcessError(taken) from None
    return lock


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port on which nobody listens; never the same one twice."""
    for port in random.sample(PORTS, len(PORTS)):
        if port not in _given and _bindable(host, port):
            _given.add(port)
            return port
    raise PortBusyError(f"No TCP port of {PORTS[0]}-{PORTS[-1]} is free on {host}.")


def fixed_port(port: int, host: str = "127.0.0.1") -> int:
    """The port itself; raises PortBusyError naming it when it is in use."""
    if not _bindable(host, port):
        raise PortBusyError(
            f"Port {port} on {host} is already in use: stop what listens there, "
            "or choose another port."
        )
    return port


def _bindable(host: str, port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True
