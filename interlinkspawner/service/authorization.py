"""Who is calling, and whose job may they see.

The only module of the service that talks to JupyterHub. A caller is a token's owner:
the page token of JupyterLab, any API token, or the cookie of this service's own pages.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from jupyterhub.services.auth import HubOAuth, check_scopes
from tornado.web import HTTPError, RequestHandler
from traitlets import Integer

from interlink_sidecars.api.errors import ApiError, UnreachableError

Caller: TypeAlias = dict[str, Any]
"""JupyterHub's model of a token: ``name``, ``kind``, ``scopes`` …"""


class UnauthorizedError(ApiError):
    """No token, or one that the hub does not know (any more)."""

    status = 401
    reason = "Unauthorized"


class ForbiddenError(ApiError):
    """The token is known and its scopes do not reach this job."""

    status = 403
    reason = "Forbidden"


class Authorization(HubOAuth):
    """JupyterHub's client, asked from the service's own event loop."""

    # A stopped server's page token is refused by the hub at once; the pages of others
    # should not see its logs for five minutes more, which is the default.
    cache_max_age = Integer(
        60, help="Seconds for which the hub's word on a token is believed."
    ).tag(config=True)

    async def caller(self, handler: RequestHandler) -> Caller | None:
        """Whose token came with the request; None if none that the hub knows.

        Raises:
            UnreachableError: the hub did not say.
        """
        try:
            caller: Caller | None = await self.get_user(handler, sync=False)
        except HTTPError as error:
            raise UnreachableError(
                "JupyterHub could not say who is calling. Try again in a moment.",
                reason="HubUnreachable",
            ) from error
        return caller


def may_read(caller: Caller, owner: str, server: str) -> bool:
    """Whether the caller may use this server, or was granted the owner's jobs.

    Page tokens hold ``access:servers!server=…`` for their own server without any
    configuration; ``custom:interlink:read`` is for support staff and for the pages of
    this service. The scope is asked for with its filter: an unfiltered question would
    refuse those who hold it for one user only.
    """
    wanted = {
        f"access:servers!server={owner}/{server}",
        f"custom:interlink:read!user={owner}",
    }
    return bool(check_scopes(wanted, set(caller["scopes"])))
