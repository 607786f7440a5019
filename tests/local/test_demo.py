"""What the demo takes from its environment."""

from __future__ import annotations

import pytest

from deploy.local.bootstrap import SetupError
from deploy.local.demo import port


def test_the_port_is_8000_unless_told() -> None:
    assert port({}) == 8000
    assert port({"PORT": ""}) == 8000  # make exports it empty
    assert port({"PORT": "8123"}) == 8123


@pytest.mark.parametrize("word", ["http", "-1", "0", "65536", "80 80", "8000;ls"])
def test_a_wrong_port_is_refused(word: str) -> None:
    with pytest.raises(SetupError, match="is no TCP port"):
        port({"PORT": word})
