"""The seam of the runtimes: a container in, a command out.

Third parties implement :class:`Runtime` and register it in the entry-point group
``interlink_sidecars.runtimes``. A runtime must not know schedulers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from interlink_sidecars.api.kubernetes import Container
from interlink_sidecars.staging import Mount


@dataclass(frozen=True, slots=True)
class Command:
    """What to execute on the node for one container.

    ``cwd`` empty means the account's home; ``path`` are directories put before the
    node's ``PATH``. ``home`` is made if absent and becomes ``HOME``; empty leaves the
    account's. The job's environment, such as ``SLURM_*``, is inherited and ``env``
    comes on top.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    path: Sequence[str] = ()
    cwd: str = ""
    home: str = ""


class Runtime(Protocol):
    """Turns containers into commands."""

    @property
    def isolates_users(self) -> bool:
        """Whether jobs of two hub users under one account may run here."""
        ...

    def command(
        self,
        container: Container,
        mounts: Sequence[Mount],
        directory: Path,
        owner: str,
    ) -> Command:
        """The command of one container.

        Args:
            container: as the pod has it; ``valueFrom`` is already resolved.
            mounts: where its volumes are, relative to ``directory``.
            directory: the job directory, absolute on edge and compute node.
            owner: the hub user, untrusted text; empty for a pod that no hub made.

        Raises:
            InvalidRequestError: the container cannot run here, with the reason.
        """
        ...
