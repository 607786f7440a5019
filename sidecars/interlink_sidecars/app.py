"""The command ``interlink-sidecar``: builds the pieces, starts and stops them.

Every setting is a trait, on the command line or in a file. What keeps the sidecar
from starting is said in one sentence.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Final

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets, bind_unix_socket
from traitlets import Bool, Int, TraitError, Unicode, default
from traitlets.config import Application, catch_config_error
from typing_extensions import override

from .api.errors import ApiError
from .backend import Backend
from .engine import Engine
from .entrypoints import EntryPoint, installed, load
from .server import MAX_BODY, make_app

BACKENDS: Final = "interlink_sidecars.backends"
RUNTIMES: Final = "interlink_sidecars.runtimes"


class Sidecar(Application):
    """Runs pods of a virtual node as jobs of this site."""

    name = Unicode("interlink-sidecar")
    description = Unicode(__doc__)
    examples = Unicode(
        "interlink-sidecar --backend=slurm --port=4000 --state-dir=/var/lib/interlink"
    )

    backend = EntryPoint(
        BACKENDS, default="local", help="The scheduler that runs the jobs."
    ).tag(config=True)

    runtime = EntryPoint(
        RUNTIMES, default="process", help="How a container becomes a command."
    ).tag(config=True)

    ip = Unicode("127.0.0.1", help="Address to listen on.").tag(config=True)

    port = Int(4000, min=0, max=65535, help="Port to listen on.").tag(config=True)

    socket_path = Unicode(
        help="""
        Unix socket to listen on instead of a port. Only the sidecar's account can
        connect to it, where anybody on this machine can connect to a port.
        """,
    ).tag(config=True)

    token_file = Unicode(
        help="""
        File with a token that every call must bring as ``Authorization: Bearer``.
        """,
    ).tag(config=True)

    state_dir = Unicode(
        "~/.interlink-sidecar",
        help="Directory for records, on a local disk; made with mode 0700.",
    ).tag(config=True)

    config_file = Unicode(
        "interlink_sidecar_config.py", help="Settings; the default may be missing."
    ).tag(config=True)

    generate_config = Bool(
        False, help="Print every setting with its meaning, then end."
    ).tag(config=True)

    aliases = {  # noqa: RUF012 - as traitlets declares it
        "backend": "Sidecar.backend",
        "config": "Sidecar.config_file",
        "ip": "Sidecar.ip",
        "log-level": "Sidecar.log_level",
        "port": "Sidecar.port",
        "runtime": "Sidecar.runtime",
        "socket": "Sidecar.socket_path",
        "state-dir": "Sidecar.state_dir",
        "token-file": "Sidecar.token_file",
    }
    flags = {  # noqa: RUF012
        "generate-config": (
            {"Sidecar": {"generate_config": True}},
            "Print every setting with its meaning, then end.",
        ),
    }

    @default("log_format")
    def _default_log_format(self) -> str:
        return "%(asctime)s %(levelname)s %(message)s"

    raise_config_file_errors = True

    @default("log_level")
    def _default_log_level(self) -> int:
        return logging.INFO

    @override
    @catch_config_error
    def initialize(self, argv: Any = None) -> None:
        """Read the command line, then the file; the command line wins."""
        self.classes = [type(self), Engine, *installed(BACKENDS), *installed(RUNTIMES)]
        self.parse_command_line(argv)
        path = Path(self.config_file).expanduser().absolute()
        if path.exists():
            self._read(path)
        elif "config_file" in self.cli_config.get("Sidecar", {}):
            raise SystemExit(f"There is no configuration file {path}.")

    def _read(self, path: Path) -> None:
        try:
            self.load_config_file(path.name, str(path.parent))
        except TraitError:
            raise
        except Exception as error:
            raise SystemExit(f"The settings in {path} are wrong: {error}") from None

    @override
    def start(self) -> None:
        """Serve until TERM or INT."""
        if self.generate_config:
            sys.stdout.write(self.generate_config_file())
            return
        try:
            asyncio.run(self._serve())
        except ApiError as error:
            raise SystemExit(error.message) from None
        except TraitError as error:
            raise SystemExit(f"A setting is wrong: {error}") from None

    async def _serve(self) -> None:
        stop = _asked_to_stop()
        for name in ("interlink_sidecars", "tornado"):
            logging.getLogger(name).handlers = self.log.handlers
        state_dir = self._open_state_dir()
        sockets = self._bind()
        runtime = load(RUNTIMES, self.runtime)(parent=self)
        backend: Backend = load(BACKENDS, self.backend)(runtime, state_dir, parent=self)
        engine = Engine(backend, state_dir, parent=self)
        token_file = Path(self.token_file).expanduser() if self.token_file else None
        server = HTTPServer(make_app(engine, token_file), max_body_size=MAX_BODY)
        try:
            await engine.start()
            server.add_sockets(sockets)
            where = sockets[0].getsockname()
            address = where if self.socket_path else f"http://{where[0]}:{where[1]}"
            self.log.info("backend %s, listening on %s", self.backend, address)
            await stop.wait()
        finally:
            server.stop()
            await engine.stop()

    def _open_state_dir(self) -> Path:
        """The state directory, ours alone as long as this process lives."""
        path = Path(self.state_dir).expanduser().absolute()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ApiError(
                f"Another sidecar uses the state directory {path}."
                " Stop it, or give this one a directory of its own with --state-dir."
            ) from None
        except OSError as error:
            raise ApiError(
                f"The state directory {path} cannot be used: {error.strerror}."
                " Choose one that this account can write with --state-dir."
            ) from None
        return path

    def _bind(self) -> list[socket.socket]:
        try:
            if self.socket_path:
                return [bind_unix_socket(self.socket_path, mode=0o600)]
            return bind_sockets(self.port, self.ip)
        except OSError as error:
            where = self.socket_path or f"{self.ip}:{self.port}"
            raise ApiError(
                f"The sidecar cannot listen on {where}: {error.strerror}."
                " Choose another place with --port or --socket."
            ) from None


def _asked_to_stop() -> asyncio.Event:
    """Set by the first TERM or INT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def main() -> None:
    """The console script."""
    Sidecar.launch_instance()
