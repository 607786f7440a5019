"""JobSpec and commands to the files of a job: ``job.sh`` and one script a container.

Pure. The body of ``job.sh`` is the same for every job and stands beside this module;
only its first lines differ. Environments may hold secrets: each container's script is
private to the account and removed after the job.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from .api.errors import InvalidRequestError
from .job import JobSpec
from .runtimes.base import Command
from .staging import File

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BODY: Final = files(__package__).joinpath("job.sh").read_text()

_OF_BASH = re.compile(
    "BASHOPTS|BASHPID|BASH_(ARGC|ARGV|ARGV0|COMMAND|LINENO|SOURCE|SUBSHELL|VERSINFO)"
    "|COMP_WORDBREAKS|DIRSTACK|EPOCH(REALTIME|SECONDS)|E?UID|FUNCNAME|GROUPS|HISTCMD"
    "|LINENO|PPID|S?RANDOM|SECONDS|SHELLOPTS|_"
)
"""Variables that bash itself sets; a value from a pod would not arrive."""


def job_files(
    spec: JobSpec, directory: Path, commands: Mapping[str, Command], grace: int
) -> dict[str, File]:
    """The scripts of a job, by their path below its directory.

    Args:
        spec: the job.
        directory: its directory, absolute on the compute node.
        commands: what to run, by container name.
        grace: seconds between TERM and KILL.

    Raises:
        InvalidRequestError: a value holds what no process can be given.
    """
    scripts = {"job.sh": File(job_script(spec, directory, grace).encode())}
    for name, command in commands.items():
        text = container_script(name, command)
        try:
            scripts[f"run/{name}.sh"] = File(text.encode())
        except UnicodeEncodeError as error:
            raise InvalidRequestError(
                f"Command or environment of container {name!r} is not valid text."
            ) from error
    return scripts


def job_script(spec: JobSpec, directory: Path, grace: int) -> str:
    """What the scheduler runs."""
    init = " ".join(c.name for c in spec.containers if c.init)
    main = " ".join(c.name for c in spec.containers if not c.init)
    return (
        "#!/bin/bash\n"
        f"# Pod {spec.key}, uid {spec.uid}; written by interlink-sidecar.\n"
        f"job={shlex.quote(str(directory))}\n"
        f"grace={grace}\n"
        f"init=({init})\n"
        f"main=({main})\n\n"
    ) + _BODY


def container_script(name: str, command: Command) -> str:
    """Environment, working directory and command of one container."""
    lines = ["#!/bin/bash", f"# Container {name}; its environment may hold secrets."]
    if command.home:
        home = shlex.quote(command.home)
        lines.append(f"mkdir -p -- {home} && export HOME={home} || exit 1")
    lines.append(f"cd -- {shlex.quote(command.cwd) if command.cwd else '~'} || exit 1")
    for key, value in command.env.items():
        if "\0" in key + value:
            raise InvalidRequestError(
                f"Environment variable {key!r} of container {name!r} holds a NUL."
            )
        if not _NAME.fullmatch(key) or _OF_BASH.fullmatch(key):
            note = f"interlink: environment variable {key!r} cannot be set; skipped"
            lines.append(f"printf '%s\\n' {shlex.quote(note)} >&2")
        else:
            lines.append(f"export {key}={shlex.quote(value)}")
    lines += [f'export PATH={shlex.quote(entry)}:"$PATH"' for entry in command.path]
    if any("\0" in argument for argument in command.argv):
        raise InvalidRequestError(f"An argument of container {name!r} holds a NUL.")
    lines.append(f"exec -- {shlex.join(command.argv)}")
    return "\n".join(lines) + "\n"
