"""Running another program: the only module that starts processes.

Commands are argv lists, never text for a shell. What a program printed and its exit
status are returned; whether that is good or bad is the caller's to say.
"""

from __future__ import annotations

import asyncio
import os
import re
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .api.errors import ApiError, UnreachableError

_PREFIX = re.compile(r"^\s*\S+: (error|fatal): ")


@dataclass(frozen=True, slots=True)
class Result:
    """What a program left: its exit status and its two outputs."""

    status: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """What it said went wrong, in one line without its own name."""
        text = self.err.strip() or self.out.strip() or f"exit status {self.status}"
        lines = [_PREFIX.sub("", line).strip(" .") for line in text.splitlines()]
        return "; ".join(line for line in lines if line)


async def run(
    argv: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    out: Path | None = None,
    keep_open: Sequence[int] = (),
) -> Result:
    """Run a program to its end.

    Args:
        argv: the program and its arguments.
        timeout: seconds after which it is killed.
        env: its whole environment; ours by default.
        out: file for its standard output, which then survives us.
        keep_open: file descriptors that it inherits.

    Raises:
        UnreachableError: it did not end in time; what it did is unknown.
        ApiError: it could not be started.
    """
    sink = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600) if out else PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=DEVNULL, stdout=sink, stderr=PIPE, env=env, pass_fds=keep_open
        )
    except OSError as error:
        raise ApiError(
            f"{argv[0]} could not be started: {error.strerror}."
            " Check that it is installed and on the PATH of the sidecar.",
            reason="CommandNotFound",
        ) from error
    finally:
        if sink != PIPE:
            os.close(sink)
    try:
        async with asyncio.timeout(timeout):
            stdout, stderr = await process.communicate()
    except TimeoutError:
        raise UnreachableError(
            f"{argv[0]} did not answer within {timeout:.0f} s."
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = out.read_bytes() if out else stdout
    return Result(
        process.returncode or 0,
        text.decode("utf-8", "replace"),
        stderr.decode("utf-8", "replace"),
    )
