"""``/containerLogs``: query arguments -> a log request, and its bytes to the caller.

Source: ``k8s.io/kubernetes/pkg/kubelet/server`` and core/v1 ``PodLogOptions``. Owns
what the wire cannot say: a byte limit beside a line limit, and no line at all. Must not
know who may read.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime

from pydantic import ValidationError

from interlink_sidecars.api.errors import InvalidRequestError
from interlink_sidecars.api.kubernetes import JSON
from interlink_sidecars.api.messages import LogRequest
from interlink_sidecars.client import SidecarClient


def log_request(pod: JSON, container: str, query: Mapping[str, str]) -> LogRequest:
    """The request that asks the site for what ``kubectl logs`` asked for.

    Raises:
        InvalidRequestError: an argument has no legal value.
    """
    metadata = pod["metadata"]
    follow = query.get("follow") == "true"
    options: JSON = {
        "Tail": query.get("tailLines"),
        "Bytes": query.get("limitBytes") if "tailLines" not in query else None,
        "Timestamps": query.get("timestamps") == "true",
        "Follow": follow,
        "Previous": query.get("previous") == "true",
        "SinceSeconds": query.get("sinceSeconds"),
        "SinceTime": query.get("sinceTime"),
    }
    if query.get("tailLines") == "0":  # on the wire that says "all lines"
        options |= {"SinceSeconds": None, "SinceTime": datetime.now(UTC)}
    try:
        return LogRequest.model_validate(
            {
                "Namespace": metadata["namespace"],
                "PodUID": metadata["uid"],
                "PodName": metadata["name"],
                "ContainerName": container,
                "Opts": options,
            }
        )
    except ValidationError as error:
        wrong = error.errors()[0]
        raise InvalidRequestError(
            f"{wrong['loc'][-1] if wrong['loc'] else 'logs'}: {wrong['msg']}"
        ) from error


async def read_log(
    sidecar: SidecarClient, request: LogRequest, limit: int
) -> AsyncGenerator[bytes, None]:
    """The log's bytes as they come, at most ``limit`` of them where it is not 0."""
    left = limit
    chunks = sidecar.logs(request)
    try:
        async for chunk in chunks:
            yield chunk[:left] if limit else chunk
            left -= len(chunk)
            if limit and left <= 0:
                return
    finally:
        await chunks.aclose()
