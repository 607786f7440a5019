"""``session.json``: what the gateway writes is what the agent reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interlink_sidecars.ilt.sessionfile import SessionFile

SESSION = SessionFile(
    sid="u",
    payload=b"{}",
    key=b"k" * 32,
    endpoints=("ws://gateway:7443/ilt/connect",),
    ca=None,
    hub_variables=("JUPYTERHUB_API_URL",),
)


def read(path: Path, document: Any) -> SessionFile:
    path.write_text(json.dumps(document))
    return SessionFile.read(str(path))


def test_it_survives(tmp_path: Path) -> None:
    assert read(tmp_path / "session.json", SESSION.to_json()) == SESSION


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {**SESSION.to_json(), "key": "="},
        {**SESSION.to_json(), "env": {}},
        {**SESSION.to_json(), "endpoints": []},
    ],
)
def test_anything_else_is_refused(tmp_path: Path, document: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read(tmp_path / "session.json", document)
