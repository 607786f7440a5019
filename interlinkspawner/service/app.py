"""The ``interlinkspawner-service`` command: builds the parts, listens, stops cleanly.

JupyterHub tells a service who it is through the environment: ``JUPYTERHUB_API_TOKEN``,
``JUPYTERHUB_API_URL``, ``JUPYTERHUB_SERVICE_PREFIX``, ``JUPYTERHUB_SERVICE_URL``; where
the service is no child of the hub, its deployment sets them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from typing import Any, Final
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.web import Application as WebApplication
from traitlets import Unicode, default
from traitlets.config import Application
from typing_extensions import override

from interlink_sidecars.api.errors import ApiError

from .authorization import Authorization
from .handlers import routes
from .logs import Logs
from .pods import Pods

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class InterLinkService(Application):
    """Shows state and logs of offloaded servers to their owners."""

    name = "interlinkspawner-service"
    classes = [Authorization, Pods, Logs]  # noqa: RUF012 - traitlets' own way
    aliases = {  # noqa: RUF012
        "config": "InterLinkService.config_file",
        "namespace": "Pods.namespace",
        "log-level": "Application.log_level",
    }

    config_file = Unicode(help="Configuration file, in Python.").tag(config=True)

    listen_url = Unicode(
        help="Where to listen: `http://address:port`. Default: JUPYTERHUB_SERVICE_URL."
    ).tag(config=True)

    @default("listen_url")
    def _default_listen_url(self) -> str:
        return os.environ.get("JUPYTERHUB_SERVICE_URL") or "http://127.0.0.1:10101"

    @default("log_level")
    def _default_log_level(self) -> str:
        return "INFO"

    @override
    def initialize(self, argv: list[str] | None = None) -> None:
        self.parse_command_line(argv)
        if self.config_file:
            self.load_config_file(self.config_file)

    @override
    def start(self) -> None:
        """Run until SIGTERM or SIGINT."""
        try:
            asyncio.run(self._run())
        except ApiError as error:
            self.log.critical("%s", error.message)
            self.exit(1)

    async def _run(self) -> None:
        stop = asyncio.Event()
        for number in _STOP_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        pods = Pods(parent=self)
        await pods.connect()
        logs = Logs(pods, parent=self)
        # The singleton, because JupyterHub's OAuth callback asks for it by class.
        server = self._serve(Authorization.instance(parent=self), pods, logs)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(pods.run()), group.create_task(logs.run())]
            await stop.wait()
            for task in tasks:
                task.cancel()
        server.stop()
        await server.close_all_connections()

    def _serve(
        self, authorization: Authorization, pods: Pods, logs: Logs
    ) -> HTTPServer:
        parts: dict[str, Any] = {
            "authorization": authorization,
            "pods": pods,
            "logs": logs,
        }
        web = WebApplication(
            routes(**parts),
            cookie_secret=secrets.token_bytes(32),
        )
        server = HTTPServer(web)
        url = urlsplit(self.listen_url)
        server.listen(url.port or 80, url.hostname or "")
        self.log.info(
            "Jobs of namespace %s at http://%s:%s%s",
            pods.namespace,
            url.hostname,
            url.port,
            authorization.base_url,
        )
        return server


def main() -> None:
    """Console script."""
    InterLinkService.launch_instance()
