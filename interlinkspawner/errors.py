"""Refusals and failures of a start, as JupyterHub wants them.

All are the user's or the site's affair: status below 500 and
``jupyterhub_message`` for the page, so that the hub shows the sentence and does not
count one toward ``consecutive_failure_limit``, at which it exits. On JupyterHub 6
they are ``SpawnException``, whose reason becomes a metric label; JupyterHub 5 counts
every failed start, see :func:`do_not_count`.
"""

from __future__ import annotations

from tornado import web

from .language import Language, Message

try:
    from jupyterhub.spawner import SpawnException

    _COUNTS_ALL = False
except ImportError:  # JupyterHub 5
    _COUNTS_ALL = True

    class SpawnException(web.HTTPError):  # type: ignore[no-redef]
        """What JupyterHub 6 has under this name, as far as it is used here."""

        def __init__(self, message: str, *, reason: str, status_code: int = 400):
            super().__init__(status_code, message, reason=reason)


class StartError(SpawnException):
    """A start that was refused or failed, with a sentence for its user.

    Attributes:
        reason: CamelCase word for programs and metrics.
        jupyterhub_message: the sentence; JupyterHub shows it as it is.
    """

    reason = "StartFailed"

    def __init__(self, message: Message, language: Language) -> None:
        sentence = message.say(language)
        super().__init__(sentence, reason=type(self).reason)
        self.jupyterhub_message = sentence


class InvalidOptionsError(StartError):
    """The server options are wrong or impossible; no pod was made."""

    reason = "InvalidOptions"


class JobError(StartError):
    """The job ended, was cancelled, or took longer than the hub allows."""

    reason = "JobFailed"


class AddressError(StartError):
    """The pod names an address that cannot be a remote job's."""

    reason = "InvalidAddress"


def do_not_count(handler: web.RequestHandler | None) -> None:
    """Keep JupyterHub 5 from counting the failure of a start that ``handler`` began.

    It adds one to ``failure_count`` of its settings when the start is over.
    """
    if _COUNTS_ALL and handler is not None:
        count = handler.settings.get("failure_count", 0)
        handler.settings["failure_count"] = count - 1
