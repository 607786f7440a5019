"""The in-job agent: ``agent.py --session FILE -- COMMAND...``.

The first process of the container and the parent of two others: the *tunnel*, which
may die and is started again, and the *server*, whose life is the job's. The parent
itself does almost nothing, so that nothing in it can fail: it holds the listening
socket for calls to the hub (its port stands in the server's environment, so nobody
else may have it), passes signals on, and exits with the server's code.

The server is started only after the gateway's first welcome, because a single-user
server gives up after five failed calls to the hub. It listens on a unix socket in a
directory of ours, so no other user of the node can reach it and no port can collide.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import logging
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from typing import Callable, NoReturn
from urllib.parse import urlsplit

from .sessionfile import SessionFile
from .tunnel import Tunnel

SERVER_URL = "http://127.0.0.1:8888"
"""Port 8888 exactly: jupyter_server refuses any other one beside a socket."""

_RESTART_DELAYS = (0.2, 10.0)
_LONGEST_DIRECTORY = 80
_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

_agent_log = logging.getLogger("interlink.agent")


class Agent:
    """The parent process."""

    def __init__(self, file: SessionFile, command: list[str]) -> None:
        self._file = file
        self._command = command
        self._directory = ""
        self._hub_listener = socket.socket()
        self._wake, self._wake_writer = socket.socketpair()
        self._link: socket.socket | None = None  # to the tunnel: welcome and end
        self._tunnel = 0
        self._tunnel_started = 0.0
        self._restart_delay = _RESTART_DELAYS[0]
        self._restart_at: float | None = None
        self._server = 0
        self._exit_code: int | None = None

    def run(self) -> int:
        """Run the command to its end; its exit code, 128 + n after signal n."""
        self._directory = tempfile.mkdtemp(prefix="ilt-", dir=short_directory())
        self._hub_listener.bind(("127.0.0.1", 0))
        self._hub_listener.listen(128)
        self._catch_signals()
        try:
            self._start_tunnel()
            while self._exit_code is None:
                self._wait()
        finally:
            self._end_tunnel()
            shutil.rmtree(self._directory, ignore_errors=True)
        return self._exit_code

    # --- events ---------------------------------------------------------------------

    def _catch_signals(self) -> None:
        for end in (self._wake, self._wake_writer):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake_writer.fileno())
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)

    def _wait(self) -> None:
        """Handle what comes next: a signal, the tunnel's word, or the time."""
        timeout = None
        if self._restart_at is not None:
            timeout = max(0.0, self._restart_at - time.monotonic())
        sources = [self._wake] if self._link is None else [self._wake, self._link]
        ready, _, _ = select.select(sources, [], [], timeout)
        if self._wake in ready:
            for number in self._wake.recv(64):
                if number != signal.SIGCHLD:
                    self._pass_on(number)
            self._reap()
        if self._link is not None and self._link in ready:
            self._hear_tunnel(self._link)
        if self._restart_at is not None and time.monotonic() >= self._restart_at:
            self._start_tunnel()

    def _pass_on(self, number: int) -> None:
        if self._server:
            os.killpg(self._server, number)
        else:
            self._exit_code = 128 + number

    def _reap(self) -> None:
        """Also of strangers: in a container, the first process adopts orphans."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._server:
                self._server = 0
                self._exit_code = exit_code(status)
            elif pid == self._tunnel:
                self._plan_restart()

    # --- the tunnel -----------------------------------------------------------------

    def _start_tunnel(self) -> None:
        self._restart_at = None
        self._link, child_link = socket.socketpair()
        self._tunnel_started = time.monotonic()
        self._tunnel = fork(lambda: self._be_tunnel(child_link), signal.SIG_IGN)
        child_link.close()

    def _be_tunnel(self, link: socket.socket) -> NoReturn:
        """The child: no signal ends it, the closing of the parent's end does."""
        if self._link is not None:
            self._link.close()
        tunnel = Tunnel(
            self._file,
            server_socket=self._server_socket,
            hub_listener=self._hub_listener,
            welcomed=lambda: link.sendall(b"W"),
        )
        asyncio.run(run_until_closed(tunnel, link))
        shutil.rmtree(self._directory, ignore_errors=True)  # the parent may be killed
        sys.exit(0)

    def _hear_tunnel(self, link: socket.socket) -> None:
        if not link.recv(64):
            link.close()
            self._link = None
        elif not self._server and self._exit_code is None:
            self._start_server()

    def _plan_restart(self) -> None:
        """Soon, but ever later for a tunnel that dies ever again."""
        shortest, longest = _RESTART_DELAYS
        lived = time.monotonic() - self._tunnel_started
        delay = shortest if lived > longest else self._restart_delay
        self._restart_delay = min(2 * delay, longest)
        self._restart_at = time.monotonic() + delay
        self._tunnel = 0
        _agent_log.warning("The tunnel has died; starting it again in %.1f s", delay)

    def _end_tunnel(self) -> None:
        """Let it say goodbye."""
        if self._link is not None:
            self._link.close()
        deadline = time.monotonic() + 2
        while self._tunnel and os.waitpid(self._tunnel, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(self._tunnel, signal.SIGKILL)
            time.sleep(0.02)

    # --- the server -----------------------------------------------------------------

    @property
    def _server_socket(self) -> str:
        return os.path.join(self._directory, "nb.sock")  # noqa: PTH118

    def _start_server(self) -> None:
        port = self._hub_listener.getsockname()[1]
        environment = server_environment(dict(os.environ), self._file, port)
        command = [*self._command, f"--ServerApp.sock={self._server_socket}"]
        self._server = fork(lambda: be_server(command, environment), signal.SIG_DFL)
        with contextlib.suppress(OSError):  # it has done so itself, or is gone
            os.setpgid(self._server, self._server)
        _agent_log.info("started the server, pid %d", self._server)


def server_environment(
    environment: dict[str, str], file: SessionFile, hub_port: int
) -> dict[str, str]:
    """The server's environment: it reaches the hub through our listener."""
    changed = dict(environment)
    prefix = environment.get("JUPYTERHUB_SERVICE_PREFIX", "/")
    changed["JUPYTERHUB_SERVICE_URL"] = SERVER_URL + prefix
    for name in file.hub_variables:
        if name in environment:
            url = urlsplit(environment[name])
            changed[name] = url._replace(netloc=f"127.0.0.1:{hub_port}").geturl()
    return changed


def be_server(command: list[str], environment: dict[str, str]) -> NoReturn:
    """The child: its own process group, and gone if the parent is killed."""
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606
    except OSError as error:
        _agent_log.error("%s cannot be started: %s", command[0], error.strerror)
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


def fork(child: Callable[[], NoReturn], on_signal: signal.Handlers) -> int:
    """The pid of a new process that does ``child`` and nothing of ours after it.

    Signals that would end us are blocked around the fork, so that none is handled by
    the parent's handlers in the child; there ``on_signal`` says what they do.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return pid
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        child()
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
    os._exit(code)


async def run_until_closed(tunnel: Tunnel, link: socket.socket) -> None:
    """Run the tunnel until the parent closes its end of ``link``, or has died."""
    loop = asyncio.get_running_loop()
    running = loop.create_task(tunnel.run())

    def stop() -> None:
        loop.remove_reader(link)
        running.cancel()

    loop.add_reader(link, stop)
    with contextlib.suppress(asyncio.CancelledError):
        await running


def exit_code(status: int) -> int:
    """What a shell would say of a wait status."""
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status)


def short_directory() -> str:
    """Where to make the socket's directory; a socket's path has 107 bytes at most."""
    directory = os.environ.get("TMPDIR", "")
    short = len(os.fsencode(directory)) <= _LONGEST_DIRECTORY
    return directory if short and os.access(directory, os.W_OK) else "/tmp"  # noqa: S108


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Runs a notebook server behind a tunnel to its JupyterHub."
    )
    parser.add_argument("--session", required=True, help="session.json of the gateway")
    parser.add_argument("command", nargs="+", help="the server, after --")
    arguments = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr
    )
    try:
        file = SessionFile.read(arguments.session)
    except (OSError, ValueError) as error:
        _agent_log.error("%s", error)
        return 78
    return Agent(file, arguments.command).run()


if __name__ == "__main__":
    sys.exit(main())
