"""A daemon of the installation: a process, and the sign by which it serves.

Owns starting it until it serves, and crashing it for a test. Must not know which
program it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from .processes import Probe, Process

_PATIENCE_SECONDS = 60


@dataclass
class Daemon:
    """One process with its probe."""

    process: Process
    probe: Probe

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self.process.running

    async def start(self) -> None:
        """Start it and wait until it serves; raises ProcessError if it does not."""
        self.process.start()
        await self.process.ready(self.probe, timeout=_PATIENCE_SECONDS)

    async def stop(self) -> None:
        """End it as its administrator would; may be called again."""
        await self.process.stop()

    async def kill(self) -> None:
        """Crash it (SIGKILL); jobs and other daemons go on."""
        await self.process.kill()

    async def restart(self) -> None:
        """Stop it and start it again."""
        await self.stop()
        await self.start()
