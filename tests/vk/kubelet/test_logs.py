"""From kubectl's arguments to the wire's."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from interlink_sidecars.api.errors import InvalidRequestError
from interlink_sidecars.api.kubernetes import JSON
from interlink_vk.kubelet.logs import log_request

POD: JSON = {
    "metadata": {
        "name": "p",
        "namespace": "n",
        "uid": "6f1c2d3e-4b5a-4c6d-8e7f-0a1b2c3d4e5f",
    }
}


def options(**query: str) -> JSON:
    wire: JSON = log_request(POD, "main", query).to_json()["Opts"]
    return wire


def test_every_argument_of_kubectl_has_its_place() -> None:
    wire = options(
        tailLines="10",
        follow="true",
        previous="true",
        timestamps="true",
        sinceTime="2026-11-22T12:00:00Z",
    )
    assert wire == {
        "Tail": 10,
        "Bytes": 0,
        "Timestamps": True,
        "Follow": True,
        "Previous": True,
        "SinceSeconds": 0,
        "SinceTime": "2026-11-22T12:00:00Z",
    }
    assert options(limitBytes="100", sinceSeconds="5")["Bytes"] == 100


def test_a_byte_limit_beside_a_line_limit_stays_here() -> None:
    assert options(tailLines="10", limitBytes="100")["Bytes"] == 0


def test_no_line_is_what_came_since_now() -> None:
    since = log_request(POD, "main", {"tailLines": "0"}).options.since_time
    assert since is not None
    assert abs((datetime.now(UTC) - since).total_seconds()) < 5


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"tailLines": "many"}, "Tail"),
        ({"tailLines": "-1"}, "Tail"),
        ({"sinceTime": "yesterday"}, "SinceTime"),
        ({"sinceSeconds": "1", "sinceTime": "2026-11-22T12:00:00Z"}, "SinceSeconds"),
    ],
)
def test_a_wrong_argument_is_named(query: dict[str, str], word: str) -> None:
    with pytest.raises(InvalidRequestError, match=word):
        log_request(POD, "main", query)


def test_a_wrong_container_name_never_reaches_the_site() -> None:
    with pytest.raises(InvalidRequestError):
        log_request(POD, "../../etc", {})
