"""The agent's pure parts; that it runs is seen in tests/vk/gateway."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from interlink_sidecars.ilt.agent import exit_code, server_environment, short_directory
from tests.ilt.test_sessionfile import SESSION


def test_the_server_finds_the_hub_at_our_listener() -> None:
    environment = {
        "JUPYTERHUB_API_URL": "http://hub.jhub.svc:8081/hub/api",
        "JUPYTERHUB_SERVICE_PREFIX": "/user/ada/",
        "JUPYTERHUB_SERVICE_URL": "http://0.0.0.0:8888/user/ada/",
        "PATH": "/bin",
    }
    assert server_environment(environment, SESSION, 4711) == {
        "JUPYTERHUB_API_URL": "http://127.0.0.1:4711/hub/api",
        "JUPYTERHUB_SERVICE_PREFIX": "/user/ada/",
        "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:8888/user/ada/",
        "PATH": "/bin",
    }
    assert server_environment({}, SESSION, 4711) == {
        "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:8888/"
    }


@pytest.mark.parametrize(
    ("code", "seen"),
    [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)],
)
def test_exit_codes_are_those_of_a_shell(code: str, seen: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", code])
    _, status = os.waitpid(process.pid, 0)
    process.returncode = status
    assert exit_code(status) == seen


def test_the_sockets_path_fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    for directory in (str(long), str(tmp_path / "missing"), ""):
        monkeypatch.setenv("TMPDIR", directory)
        assert short_directory() == "/tmp"
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    assert short_directory() == "/var/tmp"
