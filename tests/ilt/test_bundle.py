"""The one-file agent: old syntax, the standard library only, and no clash of names.

That it behaves as the package does is seen in tests/vk/gateway, which run it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from interlink_sidecars.ilt.bundle import agent_source, bundle


def test_the_agent_is_one_file_of_old_syntax_and_standard_modules() -> None:
    tree = ast.parse(agent_source(), feature_version=(3, 8))
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


def test_the_agent_fits_into_a_config_map_with_room_to_spare() -> None:
    assert len(agent_source().encode()) < 200_000


def test_the_agent_runs_alone(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(agent_source())
    command = [sys.executable, "-I", "agent.py", "--session", "missing", "--", "true"]
    result = subprocess.run(
        command, cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 78
    assert "No such file or directory: 'missing'" in result.stderr


SOURCES = {
    "main": '"""Main."""\n\nimport os\n\nfrom .part import a\n\nprint(a(), os.sep)\n',
    "part": "from .deep import (\n    B,\n)\n\n\ndef a():\n    return B\n",
    "deep": '"""Deep."""\n\nimport os\n\nB = 1\n',
    "unused": "raise SystemExit\n",
}


def test_modules_stand_after_what_they_need() -> None:
    source = bundle(SOURCES, "main")
    assert source.count("import os") == 1
    assert "unused" not in source
    assert source.index("B = 1") < source.index("def a()") < source.index("print(")
    exec(compile(source, "bundle", "exec"), {})


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("from . import deep\n", "cannot bundle"),
        ("from .deep import B as C\n", "cannot bundle"),
        ("from .deep import B\nB = 2\n", "B is in both deep and part"),
    ],
)
def test_what_has_no_meaning_in_one_file_is_refused(part: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bundle({**SOURCES, "part": part}, "main")
