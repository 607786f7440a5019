"""The runtime ``process``: containers are plain processes of the account.

An image names an environment directory (a virtualenv, a conda prefix, a module's
tree) instead of a root file system. There is no mount namespace, so mount paths are
rewritten to the places where the volumes really are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from traitlets import Bool, Dict, Unicode
from traitlets.config import LoggingConfigurable

from interlink_sidecars.api.errors import InvalidRequestError
from interlink_sidecars.api.kubernetes import Container
from interlink_sidecars.staging import Mount

from .base import Command


class ProcessRuntime(LoggingConfigurable):
    """Runs containers as processes of the account that runs the job."""

    images: Dict[str, str] = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""
        Environment directory by image name, e.g. ``{"jupyter": "/opt/jupyter"}``.
        Its ``bin`` comes first on the PATH of the container. An empty value means the
        node's own PATH. A pod with any other image is refused.
        """,
    ).tag(config=True)

    workspace = Unicode(
        help="""
        Working directory of the containers, absolute; the account's home by default.
        Where it holds ``{user}``, as in ``/data/notebooks/{user}``, each hub user has
        one of their own, which is made if absent and is their ``HOME``, too: people
        who share an account then keep their own settings.
        """,
    ).tag(config=True)

    allow_shared_account = Bool(
        False,
        help="""
        Let several hub users run under the one Unix account of this sidecar. They can
        then read and change each other's files and processes.
        """,
    ).tag(config=True)

    @property
    def isolates_users(self) -> bool:
        """Processes of one account are never isolated; an admin may accept that."""
        return self.allow_shared_account

    def command(
        self,
        container: Container,
        mounts: Sequence[Mount],
        directory: Path,
        owner: str,
    ) -> Command:
        """The container's own command with its paths rewritten."""
        if container.image not in self.images:
            raise InvalidRequestError(
                f"This site has no image {container.image[:200]!r}."
                f" It has: {', '.join(sorted(self.images)) or 'none yet'}."
                " An administrator can add it to c.ProcessRuntime.images.",
                reason="UnknownImage",
            )
        argv = [*container.command, *container.args]
        if not argv:
            raise InvalidRequestError(
                f"Container {container.name!r} names no command, and here an image"
                " has no entry point of its own. Give it a command.",
                reason="NoCommand",
            )
        places = {mount.mount_path: str(directory / mount.path) for mount in mounts}
        rewrite = _Rewriting(places)
        environment = self.images[container.image]
        env = {var.name: rewrite(var.value) for var in container.env}
        return Command(
            argv=[rewrite(arg) for arg in argv],
            env=env,
            path=[str(PurePosixPath(environment) / "bin")] if environment else [],
            cwd=self._cwd(container, rewrite, owner),
            home=self._workspace(owner) if "{user}" in self.workspace else "",
        )

    def _cwd(self, container: Container, rewrite: _Rewriting, owner: str) -> str:
        """The image's working directory exists here only where a volume is."""
        rewritten = rewrite(container.working_dir)
        if rewritten != container.working_dir:
            return rewritten
        return self._workspace(owner)

    def _workspace(self, owner: str) -> str:
        """The owner's name as one path component, never ``..`` and never shared."""
        name = quote(owner, safe="@").replace(".", "%2E") or "_nobody"
        return self.workspace.replace("{user}", name)


class _Rewriting:
    """Replaces mount paths where they stand as whole paths or begin one."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places
        longest_first = sorted(places, key=len, reverse=True)
        self._pattern = re.compile(
            rf"(?<![\w./~-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w.-])"
            if places
            else r"(?!)"
        )

    def __call__(self, text: str) -> str:
        return self._pattern.sub(lambda match: self._places[match[0]], text)
