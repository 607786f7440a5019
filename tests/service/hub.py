"""A real JupyterHub with a real proxy, as one process tree."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from deploy.local import environments
from deploy.local.bootstrap import SetupError
from deploy.local.processes import Process, answering, free_port

ADMIN_TOKEN = "token-of-the-tests"

_CONFIG = """\
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_ip = "127.0.0.1"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.JupyterHub.db_url = "sqlite:///{directory}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{directory}/cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.services = [{{"name": "tests", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [
    {{"name": "tests", "services": ["tests"], "scopes": [
        "admin:users", "admin:servers", "tokens", "read:hub", "list:users"]}}
]
"""


@dataclass
class Hub:
    """One hub in a directory of its own; ``config`` follows the tests' defaults."""

    directory: Path
    config: str
    env: dict[str, str] | None = None

    def __post_init__(self) -> None:
        try:
            proxy = environments.proxy(environments.tools())
        except SetupError as error:
            pytest.skip(str(error))
        self.port, self.hub_port = free_port(), free_port()
        file = self.directory / "jupyterhub_config.py"
        defaults = _CONFIG.format(
            port=self.port,
            hub_port=self.hub_port,
            proxy_port=free_port(),
            proxy=str(proxy),
            directory=self.directory,
            token=ADMIN_TOKEN,
        )
        file.write_text(f"{defaults}\n{self.config}\n")
        self.process = Process(
            "jupyterhub",
            [sys.executable, "-m", "jupyterhub", "-f", str(file)],
            self.directory / "hub.log",
            env=self.env,
            cwd=self.directory,
        )

    @property
    def url(self) -> str:
        """The proxy, where browsers go; no slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        """The hub's API, where services go."""
        return f"http://127.0.0.1:{self.hub_port}/hub/api"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """The hub, from its first answer on."""
        try:
            self.process.start()
            await self.process.ready(answering(f"{self.url}/hub/health"), timeout=60)
            yield self
        finally:
            await self.process.stop()

    async def api(self, method: str, path: str, json: Any = None) -> Any:
        """Call the hub's REST API as its administrator."""
        headers = {"Authorization": f"token {ADMIN_TOKEN}"}
        async with httpx.AsyncClient(headers=headers, timeout=30) as client:
            response = await client.request(method, self.api_url + path, json=json)
            response.raise_for_status()
            return response.json() if response.content else None

    async def token(self, user: str, *scopes: str) -> str:
        """A token of the user with these scopes, as a page or a person has it."""
        document = await self.api(
            "POST", f"/users/{user}/tokens", {"scopes": list(scopes)}
        )
        return str(document["token"])

    @asynccontextmanager
    async def browser(self, user: str) -> AsyncIterator[httpx.AsyncClient]:
        """A browser in which the user is logged in."""
        async with httpx.AsyncClient(
            base_url=self.url, follow_redirects=True, timeout=30
        ) as client:
            home = {"next": "/hub/home"}
            await client.get("/hub/login", params=home)
            form = {"username": user, "password": "", "_xsrf": client.cookies["_xsrf"]}
            response = await client.post("/hub/login", params=home, data=form)
            response.raise_for_status()
            yield client
