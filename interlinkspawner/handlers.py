"""The form on a hub's pages: as it opens, its changing parts, and its static files.

``c.JupyterHub.extra_handlers.extend(interlinkspawner.extra_handlers)`` serves them
below the hub's prefix. It must not know how the form is made.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from functools import partial
from pathlib import Path
from typing import Any

from jupyterhub.handlers import BaseHandler
from jupyterhub.utils import url_path_join
from tornado import web

from . import form
from .language import language_of, negotiate

STATIC = Path(__file__).parent / "static"
_FIRST_ANSWER_SECONDS = 5.0  # that the form waits for the API server's first answer
_LONGEST_WAIT = 30  # seconds; proxies close idle connections after a minute


async def render_form(spawner: Any) -> str:
    """``options_form``: the form as the user of an InterLinkSpawner gets it now."""
    table = await spawner.node_watcher.loaded(_FIRST_ANSWER_SECONDS)
    refused, spawner.refused = spawner.refused, None
    saved = refused or spawner.user_options or spawner.orm_spawner.user_options or {}
    handler = spawner.handler  # a GET's or a start's; there may have been neither
    return form.render(
        {key: value for key, value in saved.items() if value != ""},
        spawner.policy(),
        table,
        negotiate(handler.request.headers.get("Accept-Language", ""))
        if handler
        else language_of(saved),
        now=time.time(),
        asset=partial(asset_url, spawner.hub.base_url),
        inventory_url=inventory_url(spawner.hub.base_url),
    )


class InventoryHandler(BaseHandler):
    """``GET <hub>/interlink/inventory``: the form's changing parts as JSON.

    The query holds the fields of the form as they are. With ``If-None-Match`` and
    ``Prefer: wait=20`` (RFC 7240) the answer comes when it is a new one, or after
    20 seconds as 304.
    """

    async def get(self) -> None:
        """Answer for the user's own form; 403 without a login."""
        spawner: Any = getattr(self.current_user, "spawner", None)
        if not hasattr(spawner, "node_watcher"):
            raise web.HTTPError(403)
        language = negotiate(self.request.headers.get("Accept-Language", ""))
        chosen = {
            key: self.get_query_argument(key) for key in self.request.query_arguments
        }
        watcher = spawner.node_watcher
        table = await watcher.loaded()
        deadline = time.monotonic() + self._wait()
        while True:
            parts = form.fragments(chosen, spawner.policy(), table, language)
            body = json.dumps(parts, sort_keys=True)
            version = hashlib.sha256(body.encode()).hexdigest()[:32]
            self.set_header("Etag", f'"{version}"')
            left = deadline - time.monotonic()
            if left <= 0 or not self.check_etag_header():
                break
            table = await watcher.changed(table, left)
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("Vary", "Accept-Language, Cookie")
        if self.check_etag_header():
            self.set_status(304)
            self.finish()
        else:
            self.set_header("Content-Type", "application/json")
            self.finish(body)

    def _wait(self) -> int:
        match = re.search(r"\bwait=(\d{1,3})\b", self.request.headers.get("Prefer", ""))
        return min(_LONGEST_WAIT, int(match[1])) if match else 0


def inventory_url(hub: str) -> str:
    """Where :class:`InventoryHandler` is, below the hub's base URL."""
    return str(url_path_join(hub, "interlink/inventory"))


def asset_url(hub: str, name: str) -> str:
    """URL of a file in ``static/``, another one whenever its content is."""
    version = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:16]
    return str(url_path_join(hub, "interlink/static", f"{name}?v={version}"))


extra_handlers: list[tuple[Any, ...]] = [
    (r"/interlink/inventory", InventoryHandler),
    (r"/interlink/static/(.*)", web.StaticFileHandler, {"path": str(STATIC)}),
]
