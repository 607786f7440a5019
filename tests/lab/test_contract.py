"""What the front end shares with the Python side, compared in its sources."""

from __future__ import annotations

import json
import re
import tomllib
from typing import get_args

from interlink_sidecars.api.messages import JobState
from tests.lab.frontend import LABEXTENSION


def test_job_states() -> None:
    """The words of ``JobState``, in the order of the wire documents."""
    source = (LABEXTENSION / "src" / "tokens.ts").read_text()
    union = re.search(r"export type JobState =(.*?);", source, re.DOTALL)
    assert union
    assert tuple(re.findall(r"'(\w+)'", union[1])) == get_args(JobState)


def test_versions() -> None:
    package = json.loads((LABEXTENSION / "package.json").read_text())
    project = tomllib.loads((LABEXTENSION / "pyproject.toml").read_text())["project"]
    for key in ("name", "version", "description", "license"):
        assert package[key] == project[key]


def test_lock_names_no_host() -> None:
    """The lock file holds for every registry."""
    assert "://" not in (LABEXTENSION / "yarn.lock").read_text()


def test_colours_come_from_the_theme() -> None:
    style = (LABEXTENSION / "style" / "base.css").read_text()
    literal = re.findall(r"#[0-9a-fA-F]{3,8}\b|\brgba?\(|\bhsla?\(", style)
    assert literal == []
