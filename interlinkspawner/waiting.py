"""How long a start may wait, and when it is hopeless. Pure: the clock is handed in.

A start has two budgets, one for the site's queue and one from the job's start to
the server's first answer. It must not know JupyterHub or the Kubernetes API.
"""

from __future__ import annotations

from dataclasses import dataclass

from interlink_sidecars.api.kubernetes import Pod

from . import progress
from .language import Message, duration


@dataclass(slots=True)
class Wait:
    """One start. Times are in seconds of one clock, ``begun`` on that clock."""

    begun: float
    queue_limit: float
    start_limit: float
    _started: float | None = None
    _last: Pod | None = None

    def verdict(self, pod: Pod | None, now: float) -> Message | None:
        """Why the start cannot succeed any more, or None to go on waiting."""
        if pod is None or pod.metadata.deletion_timestamp:
            gone = pod or self._last
            return Message("job_removed", pod=gone.metadata.name) if gone else None
        self._last = pod
        stage = progress.stage(pod)
        if stage == "ended":
            return _over("job_failed", pod, why=progress.why_ended(pod).rstrip("."))
        if stage in ("pending", "queued"):
            self._started = None
            if now - self.begun > self.queue_limit:
                return _over("queue_too_long", pod, limit=duration(self.queue_limit))
            return None
        if self._started is None:
            self._started = now
        if now - self._started > self.start_limit:
            return _over("start_too_long", pod, limit=duration(self.start_limit))
        return None


def _over(key: str, pod: Pod, **values: str) -> Message:
    return Message(key, job=progress.job(pod), site=progress.site(pod), **values)
