"""Which scopes open which job."""

from __future__ import annotations

import pytest

from interlinkspawner.service.authorization import may_read


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("access:servers!server=alice/gpu1", True),
        ("access:servers!user=alice", True),
        ("access:servers", True),
        ("custom:interlink:read!user=alice", True),
        ("custom:interlink:read", True),
        ("access:servers!server=alice/", False),
        ("access:servers!server=bob/gpu1", False),
        ("custom:interlink:read!user=bob", False),
        ("custom:interlink:write!user=alice", False),
        ("access:services!service=interlink", False),
        ("read:users!user=alice", False),
    ],
)
def test_scope(scope: str, allowed: bool) -> None:
    assert may_read({"scopes": [scope]}, "alice", "gpu1") is allowed
