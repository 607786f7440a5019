"""What can go wrong on a tunnel, by who is to blame."""

from __future__ import annotations


class TunnelError(Exception):
    """Base of every error of the tunnel; its text holds no secret."""


class ProtocolError(TunnelError):
    """The other side broke a rule of ``ilt.v1``; its carrier is closed."""


class LimitError(TunnelError):
    """This side may not open another stream now."""


class DeniedError(TunnelError):
    """The gateway refused a handshake; ``retry`` is in seconds."""

    def __init__(self, code: str, message: str, retry: float) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry = retry
