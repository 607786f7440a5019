"""What must be on a machine before anything of ours runs: tools, Debian packages, uv.

Runs under the system's Python with the standard library alone. Owns long steps with
their progress line, and the sentence in which a failed one ends. Must not know what
the environments contain (see environments.py) nor start anything that stays.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, TypeAlias

Command: TypeAlias = Sequence[str | Path]

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
NODE_VERSION = 20
TAIL_LINES = 15
_NO_NETWORK = re.compile(
    r"error sending request|failed to fetch|temporary failure|could not resolve"
    r"|name resolution|ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN|dial tcp"
    r"|connection (refused|error)|NewConnectionError|from versions: none"
    r"|unable to fetch",
    re.IGNORECASE,
)


_ASK = """\
import os, ssl, sys
print(os.path.realpath(sys._base_executable))
sys.exit(sys.version_info < (3, 11))
"""


class SetupError(Exception):
    """One sentence: what is missing or failed, and what to do."""


# --- steps -----------------------------------------------------------------------


@contextlib.contextmanager
def progress(title: str) -> Iterator[None]:
    """Say what is being done and for how long; on a terminal in one living line."""
    started = time.monotonic()
    done = threading.Event()
    terminal = sys.stdout.isatty()

    def line() -> str:
        return f"{title} … {time.monotonic() - started:.0f} s"

    def tick() -> None:
        while not done.wait(1 if terminal else 30):
            print(f"\r{line()}" if terminal else line(), end="" if terminal else "\n")
            sys.stdout.flush()

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
        print(f"\r{line()}" if terminal else line(), flush=True)


def run(
    title: str,
    commands: Sequence[Command],
    *,
    log: Path,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run commands as one step under a progress line; their output goes to ``log``.

    Raises SetupError, which tells a download that failed from a program that did.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with progress(title), log.open("wb") as output:
        for command in commands:
            _run(title, [str(part) for part in command], output, cwd, env or {})


def _run(
    title: str,
    argv: list[str],
    output: BinaryIO,
    cwd: Path,
    env: Mapping[str, str],
) -> None:
    try:
        ended = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **env},
            check=False,
        )
    except FileNotFoundError as error:
        raise SetupError(f"{title}: {argv[0]} is not on this machine.") from error
    if ended.returncode:
        raise SetupError(failure(title, Path(output.name)))


def failure(title: str, log: Path) -> str:
    """The sentence for a step that failed, from what it wrote."""
    text = log.read_text(errors="replace")
    if _NO_NETWORK.search(text):
        return (
            f"{title}: a download failed. Check the network (and HTTPS_PROXY, if you "
            f"need one) and run the same command again; what was fetched is kept. "
            f"Details: {log}"
        )
    tail = "\n".join(text.splitlines()[-TAIL_LINES:])
    return f"{title}: failed. The end of {log}:\n{tail}"


# --- tools -----------------------------------------------------------------------


def find_python(account: pwd.struct_passwd) -> Path:
    """The first Python of at least 3.11 that the account may execute.

    Jobs run under that account, and root's own Python may lie where nobody else
    can read.
    """
    names = ["python3", *(f"python3.{minor}" for minor in range(15, 10, -1))]
    found = [f"/usr/bin/{name}" for name in names]
    found += [path for name in names if (path := shutil.which(name))]
    for candidate in found:
        if python := _usable(candidate, account):
            return python
    raise SetupError(
        f"No Python of at least 3.11 that the user {account.pw_name} may execute was "
        "found: install one for all users (Debian 12: apt install python3 "
        "python3-venv) and run the same command again."
    )


def _usable(python: str, account: pwd.struct_passwd) -> Path | None:
    """The interpreter itself, behind shims and environments, if it will do."""
    switch = os.geteuid() == 0 and account.pw_uid != 0
    try:
        ended = subprocess.run(
            [python, "-c", _ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            user=account.pw_uid if switch else None,
            group=account.pw_gid if switch else None,
            extra_groups=[] if switch else None,
            cwd="/",
            check=False,
        )
    except OSError:
        return None
    return Path(ended.stdout.strip()) if ended.returncode == 0 else None


def uv(cache: Path) -> Path:
    """uv, installed from PyPI into an environment of its own when it is not there."""
    version = re.search(r"^uv==(\S+)", CONSTRAINTS.read_text(), re.MULTILINE)
    assert version, "constraints.txt pins uv"
    directory = cache / f"uv-{version[1]}"
    program = directory / "bin" / "uv"
    if program.exists():
        return program
    if importlib.util.find_spec("ensurepip") is None:
        debian_packages({"python3-venv": None}, "Python environments")
    log = cache / "logs" / "uv.log"
    create: Command = [sys.executable, "-m", "venv", "--clear", directory]
    pip = directory / "bin" / "pip"
    install: Command = [pip, "install", "--constraint", CONSTRAINTS, "uv"]
    run("Installing uv", [create, install], log=log)
    return program


def require_node() -> None:
    """Raise SetupError unless Node.js with npm is there, and new enough."""
    try:
        said = subprocess.run(
            ["node", "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        said = ""
    version = re.match(r"v(\d+)", said)
    if not version or int(version[1]) < NODE_VERSION or not shutil.which("npm"):
        raise SetupError(
            f"Node.js {NODE_VERSION} or newer with npm is needed for the proxy in "
            f"front of JupyterHub and for the JupyterLab panel; found "
            f"{said.strip() or 'none'}. Install it and run the same command again."
        )


def public_port(word: str) -> int:
    """The port that people named; raises SetupError unless it is one and is free.

    Asked before anything is installed, which may take minutes.
    """
    if not word.isdigit() or not 0 < int(word) < 65536:
        raise SetupError(f"PORT={word} is no TCP port: take one from 1024 to 65535.")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", int(word)))
        except OSError as error:
            raise SetupError(
                f"Port {word} cannot be used ({error.strerror}): stop what listens "
                "there, or take another one, such as: make demo PORT=8123"
            ) from error
    return int(word)


# --- Debian ----------------------------------------------------------------------


def debian_packages(packages: Mapping[str, str | None], purpose: str) -> None:
    """Install the packages whose program is not on this machine.

    ``packages`` maps a package to the program by which its presence is known, or to
    None where the caller has looked. As root on Debian they are installed; otherwise
    SetupError says which to install.
    """
    missing = [name for name, program in packages.items() if not _present(program)]
    if not missing:
        return
    names = " ".join(missing)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SetupError(
            f"{purpose}: the Debian packages {names} are missing; install them "
            f"(as root: apt-get install {names}) and run the same command again."
        )
    log = Path("/var/log/interlinkspawner-apt.log")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    run(f"Installing {names}", [["apt-get", "update"], install], log=log, env=env)


def _present(program: str | None) -> bool:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return program is not None and shutil.which(program, path=path) is not None
