"""Errors that cross a process boundary: a machine word, an HTTP status, a sentence.

Source of the convention: Kubernetes' ``metav1.Status`` (CamelCase ``reason`` and a
human ``message``). The sidecar answers them as JSON, its client raises them again.
"""

from __future__ import annotations


class ApiError(Exception):
    """A refusal or failure with a sentence that may be shown to a person.

    Attributes:
        reason: CamelCase word for programs, e.g. ``SubmitFailed``.
        message: what happened, to which pod or job, and what to do.
        status: HTTP status code that says the same.
        final: whether trying the same call again is pointless.
    """

    status = 500
    reason = "InternalError"
    final = False

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        status: int | None = None,
        final: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason
        if status is not None:
            self.status = status
        if final is not None:
            self.final = final

    def to_json(self) -> dict[str, object]:
        """The error as a JSON body."""
        return {"reason": self.reason, "message": self.message, "final": self.final}


class InvalidRequestError(ApiError):
    """The request itself is wrong; it will be refused again however often."""

    status = 400
    reason = "InvalidRequest"
    final = True


class UnreachableError(ApiError):
    """The other side did not answer; nothing is known about the request's fate."""

    status = 503
    reason = "Unreachable"
